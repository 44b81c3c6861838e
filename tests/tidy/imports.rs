//! Imports go one way: who may use whom, and who does.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{File, code, line, words};

/// From the bottom up. A module uses what stands on the lines above it, never its own line or one below.
/// `x::*` are the files in the folder of x. What stands nowhere here is a failure, so that a new file gets a place.
const LAYERS: &[&[&str]] = &[
    &["order", "order::*"],
    &["outcome", "window"],
    // The promises of the ports.
    &["inbox", "locks", "ledger", "backlog"],
    &["config", "config::*"],
    &["status", "status::*"],
    &["core", "core::*"],
    &["reconnect", "metrics", "metrics::*", "telemetry"],
    // What stores in SQL share.
    &["sql", "sql::*"],
    // The technologies that keep the promises.
    &["inbox::*", "locks::*", "ledger::*", "backlog::*"],
    &["http", "http::*"],
    &["engine", "engine::*"],
    &["drain"],
    // Shares nothing with the engine but the database, so that both are not wrong in the same way.
    &["verify", "verify::*"],
    &["cli", "cli::*"],
    &["main"],
];

/// The modules that use nothing of the crate at all.
const ALONE: &[&str] = &["verify"];

/// One use of a module of the crate by another.
#[derive(Debug)]
struct Use {
    from: String,
    to: String,
    place: String,
}

/// Every use that goes the wrong way, as sentences.
pub fn violations(files: &[File]) -> Vec<String> {
    let sources: Vec<_> = files.iter().filter(|file| file.is_rust_in("src/") && file.path != "src/lib.rs").collect();
    let modules: BTreeSet<String> = sources.iter().map(|file| module(&file.path)).collect();
    let mut found: Vec<String> =
        modules.iter().filter(|m| layer(m).is_none()).map(|m| format!("{m}: has no layer in tests/tidy")).collect();
    let mut siblings = BTreeMap::<String, BTreeSet<String>>::new();
    for used in sources.iter().flat_map(|file| uses(file, &modules)) {
        let (from, to) = (family(&used.from), family(&used.to));
        if from == to {
            // A child may use its parent's promise, a parent may name its child; among siblings no circles.
            if used.from != from && used.to != from {
                siblings.entry(used.from).or_default().insert(used.to);
            }
        } else if ALONE.contains(&from) {
            found.push(format!("{}: {} uses {}, but may use nothing of the crate", used.place, used.from, used.to));
        } else if layer(&used.from) <= layer(&used.to) {
            found.push(format!("{}: {} uses {}, which is not below it", used.place, used.from, used.to));
        }
    }
    found.extend(circle(&siblings).map(|names| format!("a circle of siblings: {}", names.join(" -> "))));
    found
}

/// `src/ledger/postgres.rs` is `ledger::postgres`.
fn module(path: &str) -> String {
    path.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::")
}

fn family(module: &str) -> &str {
    module.split("::").next().expect("split gives at least one part")
}

fn layer(module: &str) -> Option<usize> {
    let name = if module.contains("::") { format!("{}::*", family(module)) } else { module.to_owned() };
    LAYERS.iter().position(|layer| layer.contains(&name.as_str()))
}

fn uses(file: &File, modules: &BTreeSet<String>) -> Vec<Use> {
    let from = module(&file.path);
    let parent = from.rsplit_once("::").map(|(parent, _)| parent.to_owned());
    let code = file.code();
    let mut found = Vec::new();
    for (at, path) in paths(&code) {
        let full = match path.split_once("::") {
            // The binary reaches the library by its name.
            Some(("crate" | "millrace", rest)) => rest.to_owned(),
            Some(("self", rest)) => format!("{from}::{rest}"),
            Some(("super", rest)) => parent.as_ref().map_or_else(|| rest.to_owned(), |p| format!("{p}::{rest}")),
            _ => continue,
        };
        if let Some(to) = longest(&full, modules).filter(|to| *to != from) {
            found.push(Use { from: from.clone(), to, place: format!("{}:{}", file.path, line(&code, at)) });
        }
    }
    found
}

/// The innermost module on a path.
fn longest(path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut path = path;
    loop {
        if modules.contains(path) {
            return Some(path.to_owned());
        }
        path = path.rsplit_once("::")?.0;
    }
}

/// Every path that begins with `root` (such as `std::`), groups in braces spread out, each with its place.
pub fn paths_from(root: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in words(code, root) {
        if !code[..at].ends_with("::") {
            spread("", &code[at..], &mut |path| found.push((at, path)));
        }
    }
    found
}

/// Every path into the crate. `super` and `self` count at the start of a line only:
/// deeper in they stand in an inner module and mean the file itself.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found: Vec<_> = ["crate::", "millrace::"].iter().flat_map(|root| paths_from(root, code)).collect();
    for root in ["super::", "self::"] {
        found.extend(paths_from(root, code).into_iter().filter(|&(at, _)| {
            let start = code[..at].rsplit('\n').next().unwrap_or_default();
            start == "use " || start == "pub use "
        }));
    }
    found
}

/// Reads one use tree at the start of `text`, and returns how long it is.
fn spread(prefix: &str, text: &str, found: &mut impl FnMut(String)) -> usize {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    if !(path.ends_with("::") && text[end..].starts_with('{')) {
        found(path.trim_end_matches(':').to_owned());
        return end;
    }
    let mut at = end + 1;
    while let Some(next) = text[at..].chars().next() {
        match next {
            '}' => return at + 1,
            _ if text[at..].starts_with("as ") => at += text[at..].find([',', '}']).unwrap_or(text.len() - at),
            c if c.is_alphanumeric() || c == '_' => at += spread(&path, &text[at..], found),
            c => at += c.len_utf8(),
        }
    }
    at
}

/// One circle, if there is any.
fn circle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(at: &str, edges: &BTreeMap<String, BTreeSet<String>>, way: &mut Vec<String>) -> bool {
        let seen = way.iter().any(|name| name == at);
        way.push(at.to_owned());
        if seen || edges.get(at).into_iter().flatten().any(|next| walk(next, edges, way)) {
            return true;
        }
        way.pop();
        false
    }
    edges.keys().find_map(|start| {
        let mut way = Vec::new();
        walk(start, edges, &mut way).then_some(way)
    })
}

#[test]
fn groups_are_spread_and_inner_modules_left_alone() {
    let text = "use crate::{order::{Order, CustomerId}, ledger::{Ledger as L, Gate}};\nuse super::lane;\nfn f() { \
                crate::core::go() }\nmod tests {\n    use super::*;\n}";
    let found: Vec<_> = paths(&code(text)).into_iter().map(|(_, path)| path).collect();
    assert_eq!(
        found,
        [
            "crate::order::Order",
            "crate::order::CustomerId",
            "crate::ledger::Ledger",
            "crate::ledger::Gate",
            "crate::core::go",
            "super::lane"
        ]
    );
}

#[test]
fn wrong_ways_are_found() {
    let files: Vec<File> = [
        ("src/order.rs", "use crate::{order::Order, ledger::Ledger};"),
        ("src/ledger.rs", "pub mod postgres;\nuse crate::order::Order;"),
        ("src/ledger/postgres.rs", "use super::Ledger;\nuse crate::config::Ledger;"),
        ("src/inbox.rs", "use crate::ledger::Ledger;"),
        ("src/config.rs", "/// [`crate::engine`]\nuse crate::order::Ordering;"),
        ("src/core.rs", "use self::lane::Lane;"),
        ("src/core/lane.rs", "use super::batch::Batch;"),
        ("src/core/batch.rs", "use crate::core::lane::Lane;"),
        ("src/verify.rs", "use crate::order::Order;"),
        ("src/stray.rs", ""),
    ]
    .map(|(path, text)| File { path: path.into(), text: text.into() })
    .into();
    assert_eq!(
        violations(&files),
        [
            "stray: has no layer in tests/tidy",
            "src/order.rs:1: order uses ledger, which is not below it",
            "src/inbox.rs:1: inbox uses ledger, which is not below it",
            "src/verify.rs:1: verify uses order, but may use nothing of the crate",
            "a circle of siblings: core::batch -> core::lane -> core::batch",
        ]
    );
}
