//! The house rules, as tests: what no compiler and no lint holds.

use std::collections::BTreeSet;

use millrace::outcome::Outcome;

use self::source::{File, line, read, tree, words};

mod imports;
mod source;

/// No file is longer than this: a longer one holds two nouns.
const LINES_MAX: usize = 400;

/// Fails with every violation, and with the rule.
fn hold(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}\n", violations.join("\n  "));
}

#[test]
fn imports_go_one_way() {
    hold("a module uses only what is below it (the list is in tests/tidy/imports.rs)", &imports::violations(&tree()));
}

/// Which files may name which technology: a path prefix each.
const TECHNOLOGIES: &[(&str, &[&str])] = &[
    ("aws_config", &["src/inbox/sqs"]),
    ("aws_sdk_sqs", &["src/inbox/sqs"]),
    ("aws_smithy_types", &["src/inbox/sqs"]),
    ("redis::", &["src/locks/redis"]),
    ("sqlx::", &["src/sql", "src/ledger/", "src/backlog/", "src/verify"]),
    // Unmaintained (RUSTSEC-2025-0012): one module, easy to replace.
    ("backoff::", &["src/reconnect.rs"]),
];

fn strays(file: &File) -> Vec<String> {
    let code = file.code();
    let modules = imports::paths_from("crate::", &code);
    let mut found = Vec::new();
    for (technology, homes) in TECHNOLOGIES {
        if homes.iter().any(|home| file.path.starts_with(home)) {
            continue;
        }
        for at in words(&code, technology) {
            let before = code[..at].trim_end_matches("::");
            // `locks::redis::…` is our module; `::redis::…` is the crate again.
            let ours = before.len() < at && before.ends_with(|c: char| c.is_alphanumeric());
            // Whoever brings our module into view may go on with its name.
            let named = *technology == "redis::"
                && before.len() == at
                && modules.iter().any(|(_, path)| path == "crate::locks::redis");
            if !ours && !named {
                found.push(format!("{}:{}: {technology}", file.path, line(&code, at)));
            }
        }
    }
    found
}

#[test]
fn technologies_stay_in_their_own_files() {
    let found: Vec<_> = tree().iter().filter(|file| file.is_rust_in("src/")).flat_map(strays).collect();
    hold("AWS, Redis, sqlx and backoff stay in the files that are made for them", &found);
}

#[test]
fn a_stray_technology_is_found() {
    let found = |text: &str| strays(&File { path: "src/cli/run.rs".into(), text: text.into() }).len();
    assert_eq!(
        found("use crate::locks::redis::RedisLocks; use crate::locks::{local, redis};\nredis::RedisLocks::new()"),
        0
    );
    assert_eq!(found("/// sqlx::Pool\nlet redis = config.backoff; \"aws_config\""), 0);
    assert_eq!(found("use redis::Client;\nuse ::redis::Client;\nuse sqlx::PgPool;\nuse aws_sdk_sqs as sqs;"), 4);
}

/// What the history checker may use, beside its own files.
const OF_HISTORY: &[&str] = &["std", "serde", "serde_json", "sha2", "crate", "super"];

/// Every use of something else: by its name, or a file that is taken in by its path.
fn borrowed(file: &File, own: &[&str]) -> Vec<String> {
    let code = file.code();
    let named =
        words(&code, "millrace").chain(words(&code, "include!")).chain(code.match_indices("#[path").map(|(at, _)| at));
    let imported = words(&code, "use").filter(|at| {
        let root = code[at + 4..].split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        !OF_HISTORY.contains(&root) && !own.contains(&root)
    });
    let places: BTreeSet<usize> = named.chain(imported).map(|at| line(&code, at)).collect();
    places.into_iter().map(|line| format!("{}:{line}", file.path)).collect()
}

#[test]
fn the_history_checker_shares_nothing_with_the_engine() {
    let files = tree();
    let checker: Vec<_> = files.iter().filter(|file| file.is_rust_in("history/")).collect();
    let own: Vec<_> =
        checker.iter().map(|file| file.path.trim_start_matches("history/").trim_end_matches(".rs")).collect();
    assert!(own.contains(&"main"), "it is not where it was");
    let found: Vec<_> = checker.iter().flat_map(|file| borrowed(file, &own)).collect();
    hold("history/ uses nothing of the library: a mistake of both would have to be made twice", &found);
}

#[test]
fn a_borrowing_checker_is_found() {
    let found = |text: &str| borrowed(&File { path: "history/main.rs".into(), text: text.into() }, &["sent"]).len();
    assert_eq!(found("use std::fmt;\nuse crate::sent::Source;\nuse sent::Place;\n// millrace::order\n\"millrace\""), 0);
    assert_eq!(found("use millrace::order::Order;\nlet found = ::millrace::verify::verify(question);"), 2);
    assert_eq!(
        found("#[path = \"../src/order.rs\"]\nmod order;\ninclude!(\"../src/order.rs\");\nextern crate millrace;"),
        3
    );
    assert_eq!(found("use sqlx::Row as _;\nuse ::jiff::Timestamp;"), 2);
}

/// What the core may not know: time, chance, tasks, the outside world, and iteration in an order of chance.
const NOT_IN_CORE: &[&str] = &["tokio", "rand", "jiff", "async", "await", "tracing::", "metrics::"];

/// The same in the standard library; whole modules (a glob, or `use std::time`) where they would hide it.
const NOT_IN_CORE_OF_STD: &[&str] = &[
    "std::time",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::collections",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::hash::RandomState",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
];

fn impurities(file: &File) -> Vec<String> {
    let code = file.code();
    let named = NOT_IN_CORE.iter().flat_map(|word| words(&code, word).map(move |at| (at, (*word).to_owned())));
    // Every module that a path goes through, so that std::fs::read is found by std::fs; std::time::Duration is fine.
    let standard = imports::paths_from("std::", &code).into_iter().filter(|(_, path)| {
        NOT_IN_CORE_OF_STD.iter().any(|banned| {
            let below = path.strip_prefix(banned).is_some_and(|rest| rest.starts_with("::"));
            path == banned || below && !["std::time", "std::collections"].contains(banned)
        })
    });
    named.chain(standard).map(|(at, word)| format!("{}:{}: {word}", file.path, line(&code, at))).collect()
}

#[test]
fn the_core_is_pure() {
    let found: Vec<_> = tree()
        .iter()
        .filter(|file| file.path == "src/core.rs" || file.is_rust_in("src/core/"))
        .flat_map(impurities)
        // The lanes are hashed; nobody but this file sees in which order they lie.
        .filter(|found| !(found.starts_with("src/core/lanes.rs:") && found.ends_with("::HashMap")))
        .collect();
    hold("the core decides, and does nothing else: time enters as `now`, order is never a hash map's", &found);
}

#[test]
fn an_impure_core_is_found() {
    let found = |text: &str| impurities(&File { path: "src/core.rs".into(), text: text.into() }).len();
    assert_eq!(found("use std::time::Duration;\nuse std::collections::{BTreeMap, VecDeque}; // rand, tokio"), 0);
    assert_eq!(found("use std::time::{Duration, Instant};\nuse std::collections::{BTreeMap, HashMap};"), 2);
    assert_eq!(found("use std::time;\nuse std::collections::*;\nstd::fs::read(x); std::time::SystemTime::now()"), 4);
    assert_eq!(found("async fn f() { tokio::time::sleep(rand::random()).await }"), 4);
}

#[test]
fn files_are_short() {
    let long = |file: &File| {
        let count = file.text.lines().count();
        (file.extension() == "rs" && count > LINES_MAX).then(|| format!("{}: {count} lines", file.path))
    };
    let found: Vec<_> = tree().iter().filter_map(long).collect();
    hold(&format!("a file has at most {LINES_MAX} lines; a new noun gets a file of its own"), &found);
}

#[test]
fn file_names_are_nouns_of_the_flow() {
    const BANNED: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "misc", "mod"];
    let mut found = Vec::new();
    for file in tree() {
        let stem = file.path.trim_end_matches(".rs");
        let banned = stem.split(['/', '_', '-', '.']).any(|word| BANNED.contains(&word));
        if banned {
            found.push(file.path);
        }
    }
    hold(&format!("no file is named by one of {BANNED:?}: it says nothing"), &found);
}

#[test]
fn nothing_is_left_for_later() {
    // In pieces, or this file would find itself.
    let words_of_delay =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!"), concat!("unimplemented", "!")];
    let off = concat!("#[", "ignore");
    let mut found = Vec::new();
    for file in tree() {
        let written = ["rs", "sql", "lua", "sh", "toml", "yml"].contains(&file.extension())
            || file.path.starts_with("scripts/")
            || file.path.starts_with(".ci/");
        if !written {
            continue;
        }
        let places = words_of_delay.iter().flat_map(|word| words(&file.text, word).map(move |at| (at, *word)));
        let switched_off = file.text.match_indices(off);
        found.extend(
            places.chain(switched_off).map(|(at, word)| format!("{}:{}: {word}", file.path, line(&file.text, at))),
        );
    }
    hold("what is not done is an issue, not a remark; a test that does not run is none", &found);
}

#[test]
fn every_source_file_has_its_place_in_the_architecture() {
    let text = read("ARCHITECTURE.md");
    let mut found = Vec::new();
    for file in tree() {
        if let Some(name) = file.path.strip_prefix("src/")
            && words(&text, name).next().is_none()
        {
            found.push(format!("{name}: not named"));
        }
    }
    for name in text.split('`').skip(1).step_by(2).filter(|name| name.starts_with("src/") && !name.contains('*')) {
        if !std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists() {
            found.push(format!("{name}: named, but not there"));
        }
    }
    hold("ARCHITECTURE.md names every file of src/ by its path (inbox/sqs.rs)", &found);
}

#[test]
fn no_registry_is_named() {
    // In pieces, or this file would find itself.
    let hosts = [
        ["index.crates", "io"],
        ["static.crates", "io"],
        ["//crates", "io"],
        ["pypi", "org"],
        ["pythonhosted", "org"],
        ["npmjs", "org"],
        ["deb.debian", "org"],
        ["proxy.golang", "org"],
        ["docker", "io"],
        ["gcr", "io"],
        ["ghcr", "io"],
        ["quay", "io"],
    ]
    .map(|parts| parts.join("."));
    let mut found = Vec::new();
    for file in tree() {
        for host in &hosts {
            found.extend(
                file.text
                    .match_indices(host.as_str())
                    .map(|(at, _)| (host, at))
                    .map(|(host, at)| format!("{}:{}: {host}", file.path, line(&file.text, at))),
            );
        }
    }
    let index = format!("registry+https://github.com/rust-lang/{}-index", ["crates", "io"].join("."));
    for (at, text) in read("Cargo.lock").lines().enumerate().filter(|(_, text)| text.starts_with("source = ")) {
        if text != format!("source = \"{index}\"") {
            found.push(format!("Cargo.lock:{}: {text}", at + 1));
        }
    }
    hold("where packages come from is the machine's business; the lock file names the default registry only", &found);
}

#[test]
fn the_readme_lists_every_outcome() {
    let text = read("README.md");
    let missing = |outcome: &Outcome| {
        let cell = format!("| `{}` |", outcome.label());
        (!text.lines().any(|line| line.starts_with(&cell))).then(|| format!("no row begins with {cell}"))
    };
    hold("the table in README.md lists every Outcome", &Outcome::ALL.iter().filter_map(missing).collect::<Vec<_>>());
}

/// The fewest deliberate breaks (`scripts/prove mutants`).
const MUTANTS_MIN: usize = 24;

#[test]
fn every_mutant_still_fits_the_tree() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mutants: Vec<File> = tree().into_iter().filter(|file| file.path.starts_with("tests/mutants/")).collect();
    assert!(mutants.len() >= MUTANTS_MIN, "{} mutants", mutants.len());
    let mut violations = Vec::new();
    for File { path, text } in &mutants {
        let mut lines = text.lines();
        let breaks = lines.next().is_some_and(|line| line.ends_with(").") && line.contains(" ("));
        let tests = lines.next().is_some_and(|line| line.len() > 7 && line.starts_with("tests: "));
        if !breaks || !tests {
            violations.push(format!("{path}: begins with what it breaks (I1). and with tests: FILTER"));
        }
        let applies = std::process::Command::new("git").args(["apply", "--check", path]).current_dir(folder).output();
        let applies = applies.unwrap_or_else(|error| panic!("git is not there: {error}"));
        if !applies.status.success() {
            violations.push(format!("{path}: {}", String::from_utf8_lossy(&applies.stderr).trim()));
        }
    }
    hold("a mutant says what it breaks, which tests see it, and applies", &violations);
}
