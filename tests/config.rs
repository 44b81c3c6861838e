//! Settings: what is refused at start, and in which words.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use millrace::config::{Config, ConfigError, redacted};

mod fuzz;
mod relations;

const MINIMAL: &str = "[inbox]\nqueue_url = 'http://127.0.0.1:1/0/orders'\n[ledger]\nurl = 'sqlite://orders.db'\n";

/// Loads the text as a file, with these variables.
fn load(text: &str, vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("millrace.toml");
    std::fs::write(&path, text).expect("the folder is writable");
    Config::load_from(Some(&path), environment(vars))
}

fn environment(vars: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    vars.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

/// The message, without the folder of the test's file.
fn refusal(text: &str, vars: &[(&str, &str)]) -> String {
    let error = load(text, vars).expect_err("refused").to_string();
    let at = std::env::temp_dir().display().to_string();
    let mut said = String::new();
    let mut rest = error.as_str();
    while let Some((before, after)) = rest.split_once(&format!("{at}/")) {
        said.push_str(before);
        rest = after.split_once('/').map_or(after, |(_, name)| name);
    }
    said + rest
}

/// The minimal file with one more line in a section.
fn with(section: &str, line: &str) -> String {
    let head = format!("[{section}]\n");
    if MINIMAL.contains(&head) {
        MINIMAL.replace(&head, &format!("{head}{line}\n"))
    } else {
        format!("{MINIMAL}{head}{line}\n")
    }
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

#[test]
fn a_minimal_file_is_the_defaults() {
    let config = load(MINIMAL, &[]).unwrap();
    assert_eq!(config, Config::new("http://127.0.0.1:1/0/orders", "sqlite://orders.db"));
}

#[test]
fn the_environment_alone_is_enough() {
    let vars = environment(&[
        ("MILLRACE__INBOX__QUEUE_URL", "http://127.0.0.1:1/0/orders"),
        ("MILLRACE__LEDGER__URL", "sqlite://orders.db"),
        ("PATH", "/bin"),
        ("MILLRACE_CONFIG", "not a key of a section"),
    ]);
    let config = Config::load_from(None, vars).unwrap();
    assert_eq!(config, Config::new("http://127.0.0.1:1/0/orders", "sqlite://orders.db"));
}

#[test]
fn the_environment_wins_over_the_file() {
    let text = with("inbox", "wait = '10s'\nbatch = 3");
    let vars = [
        ("MILLRACE__INBOX__WAIT", "1 second"),
        ("MILLRACE__LEDGER__COMMITTERS", "7"),
        ("MILLRACE__INBOX__ALLOW_REDRIVE", "true"),
        ("MILLRACE__LOCKS__PREFIX", "12345"),
    ];
    let config = load(&text, &vars).unwrap();
    assert_eq!(config.inbox.wait.as_secs(), 1);
    assert_eq!((config.inbox.batch, config.ledger.committers), (3, 7));
    assert!(config.inbox.allow_redrive);
    assert_eq!(config.locks.prefix, "12345", "text stays text, whatever it looks like");
}

#[test]
fn unknown_keys_are_named_with_what_was_possible() {
    insta::assert_snapshot!(refusal(&with("hold", "kep = '1m'"), &[]), @"hold.kep: unknown key in millrace.toml, expected one of keep, probe, probe_max");
    insta::assert_snapshot!(refusal(&format!("{MINIMAL}[spool]\nurl = 'sqlite://backlog.db'\n"), &[]), @"spool: unknown key in millrace.toml, expected one of inbox, locks, ledger, backlog, maintenance, flow, hold, shutdown, http, log");
    insta::assert_snapshot!(refusal(MINIMAL, &[("MILLRACE__HOLD__KEP", "1m")]), @"MILLRACE__HOLD__KEP: unknown key, expected one of MILLRACE__HOLD__KEEP, MILLRACE__HOLD__PROBE, MILLRACE__HOLD__PROBE_MAX");
    insta::assert_snapshot!(refusal(MINIMAL, &[("MILLRACE__SPOOL__URL", "postgres://u:hunter2@h/d")]), @"MILLRACE__SPOOL__URL: unknown key, expected MILLRACE__SECTION__KEY with one of the sections BACKLOG, FLOW, HOLD, HTTP, INBOX, LEDGER, LOCKS, LOG, MAINTENANCE, SHUTDOWN");
    insta::assert_snapshot!(refusal(MINIMAL, &[("MILLRACE__HOLD", "1m")]), @"MILLRACE__HOLD: unknown key, expected one of MILLRACE__HOLD__KEEP, MILLRACE__HOLD__PROBE, MILLRACE__HOLD__PROBE_MAX");
    insta::assert_snapshot!(refusal(MINIMAL, &[("MILLRACE__hold__keep", "1m")]), @"MILLRACE__hold__keep: unknown variable, expected MILLRACE__HOLD__KEEP");
}

#[test]
fn missing_keys_are_named_with_both_ways_to_set_them() {
    insta::assert_snapshot!(refusal("[ledger]\nurl = 'sqlite://orders.db'\n", &[]), @"inbox.queue_url: missing; set it in millrace.toml or as MILLRACE__INBOX__QUEUE_URL");
    insta::assert_snapshot!(refusal("[inbox]\nqueue_url = 'http://h/q'\n", &[]), @"ledger.url: missing; set it in millrace.toml or as MILLRACE__LEDGER__URL");
    insta::assert_snapshot!(Config::load_from(None, environment(&[])).unwrap_err(), @"inbox.queue_url: missing; set it in the file that --config names or as MILLRACE__INBOX__QUEUE_URL");
}

#[test]
fn wrong_types_say_what_is_expected_and_where_it_came_from() {
    insta::assert_snapshot!(refusal(&with("inbox", "batch = 'ten'"), &[]), @"inbox.batch: wrong type in millrace.toml, expected a whole number from 0, found text");
    insta::assert_snapshot!(refusal(&with("inbox", "batch = -1"), &[]), @"inbox.batch: -1 is out of range in millrace.toml, expected a whole number from 0");
    insta::assert_snapshot!(refusal(&with("inbox", "wait = 20"), &[]), @r#"inbox.wait: wrong type in millrace.toml, expected a duration such as "30s" or "10 minutes", found a whole number"#);
    insta::assert_snapshot!(refusal(&with("inbox", "wait = 'soon'"), &[]), @r#"inbox.wait: not understood in millrace.toml, expected a duration such as "30s" or "10 minutes""#);
    insta::assert_snapshot!(refusal(&with("inbox", "wait = '-3s'"), &[]), @r#"inbox.wait: not understood in millrace.toml, expected a duration such as "30s" or "10 minutes""#);
    insta::assert_snapshot!(refusal(&with("inbox", "wait = '1 month'"), &[]), @r#"inbox.wait: not understood in millrace.toml, expected a duration such as "30s" or "10 minutes""#);
    insta::assert_snapshot!(refusal(&with("inbox", "allow_redrive = 'yes'"), &[]), @"inbox.allow_redrive: wrong type in millrace.toml, expected true or false, found text");
    insta::assert_snapshot!(refusal(&with("inbox", "ordering = 'loose'"), &[]), @"inbox.ordering: unknown value in millrace.toml, expected one of gapless, fifo, none");
    insta::assert_snapshot!(refusal(&format!("locks = 'redis://u:hunter2@h'\n{MINIMAL}"), &[]), @"locks: wrong type in millrace.toml, expected a table of keys, found text");
    insta::assert_snapshot!(refusal(MINIMAL, &[("MILLRACE__INBOX__BATCH", "ten")]), @"inbox.batch: wrong type in MILLRACE__INBOX__BATCH, expected a whole number from 0, found text");
    insta::assert_snapshot!(refusal(MINIMAL, &[("MILLRACE__INBOX__WAIT", "soon")]), @r#"inbox.wait: not understood in MILLRACE__INBOX__WAIT, expected a duration such as "30s" or "10 minutes""#);
    insta::assert_snapshot!(refusal(MINIMAL, &[("MILLRACE__INBOX__ORDERING", "GAPLESS")]), @"inbox.ordering: unknown value in MILLRACE__INBOX__ORDERING, expected one of gapless, fifo, none");
    insta::assert_snapshot!(refusal(MINIMAL, &[("MILLRACE__LOG__FORMAT", "xml")]), @"log.format: unknown value in MILLRACE__LOG__FORMAT, expected one of text, json");
    insta::assert_snapshot!(refusal(MINIMAL, &[("MILLRACE__FLOW__MESSAGES_MAX", "5000000000")]), @"flow.messages_max: 5000000000 is too large in MILLRACE__FLOW__MESSAGES_MAX");
}

#[test]
fn a_file_that_is_no_toml_is_named_without_its_secrets() {
    insta::assert_snapshot!(refusal("[ledger]\nurl = \"postgres://u:hunter2@h/d\n", &[]), @"millrace.toml: TOML parse error at line 2, column 32: invalid basic string");
    let missing = Config::load_from(Some(Path::new("/nowhere/millrace.toml")), environment(&[]));
    insta::assert_snapshot!(missing.unwrap_err(), @"/nowhere/millrace.toml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn passwords_never_show() {
    for (url, shown) in [
        ("postgres://hunter2@h/orders", "postgres://***@h/orders"),
        ("postgres://u:hunter2@h:5432/orders", "postgres://u:***@h:5432/orders"),
        ("postgres://u:hun@ter:2@h/orders", "postgres://u:***@h/orders"),
        ("postgres://u:hun/te?r2@h/orders", "postgres://u:***@h/orders"),
        ("redis://:hunter2@h:6379/0", "redis://:***@h:6379/0"),
        ("postgres://h/d?user=u&password=hunter2", "postgres://h/d?user=u&password=***"),
        ("postgres://h/d?sslkey=hunter2&sslmode=require", "postgres://h/d?sslkey=***&sslmode=require"),
        ("u:hunter2@h", "***"),
        ("postgres:/u:hunter2@h/d?proxy=http://h", "***"),
        ("postgres:/h/d?password=hunter2", "***"),
        ("u:hunter2", "***"),
        ("rediss:/u:hunter2sqlite://h:6379/0", "***"),
        ("rediss://u:hunter2", "rediss://***"),
        ("postgres://h:5432,u:hunter2/orders", "postgres://***"),
        ("local:", "local:"),
        ("localhost:6379", "localhost:6379"),
        ("sqlite:orders.db", "sqlite:orders.db"),
        ("sqlite://orders.db", "sqlite://orders.db"),
        ("sqlite:///orders:eu.db", "sqlite:///orders:eu.db"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("postgres://a:5432,b:5432/orders", "postgres://a:5432,b:5432/orders"),
    ] {
        assert_eq!(redacted(url), shown);
    }
    for url in ["mysql://u:hunter2@h/d", "oracle://u:hunter2@h/d", "postgres:u:hunter2@h"] {
        let said = refusal(MINIMAL, &[("MILLRACE__LEDGER__URL", url)]);
        assert!(said.contains("ledger.url") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn every_shipped_file_loads() {
    let secrets = environment(&[
        ("MILLRACE__INBOX__QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/1/orders"),
        ("MILLRACE__LEDGER__URL", "postgres://u:hunter2@h/orders"),
        ("MILLRACE__LEDGER__READER_URL", "postgres://u:hunter2@r/orders"),
        ("MILLRACE__BACKLOG__URL", "postgres://u:hunter2@b/backlog"),
        ("MILLRACE__LOCKS__URL", "rediss://h:6379/?cluster=true"),
    ]);
    let mut seen = 0;
    for entry in std::fs::read_dir(shipped("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let vars = if path.ends_with("production.toml") { secrets.clone() } else { Vec::new() };
            Config::load_from(Some(&path), vars).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            seen += 1;
        }
    }
    assert!(seen >= 3);
    let production = Config::load_from(Some(&shipped("production.toml")), environment(&[])).unwrap_err().to_string();
    assert!(production.contains("MILLRACE__INBOX__QUEUE_URL"), "{production}");
}

/// The reference names every key, and what it comments out are the code's own defaults.
#[test]
fn the_reference_is_complete_and_true() {
    let text = std::fs::read_to_string(shipped("millrace.toml")).unwrap();
    let is_key =
        |line: &str| line.starts_with('#') && line[1..].starts_with(|letter: char| letter.is_ascii_lowercase());
    let open: Vec<&str> = text.lines().map(|line| if is_key(line) { &line[1..] } else { line }).collect();
    let mut said = serde_json::to_value(load(&open.join("\n"), &[]).unwrap()).unwrap();
    let commented = load(&text, &[]).unwrap();
    let defaults = Config::new(&commented.inbox.queue_url, &commented.ledger.url);
    assert_eq!(commented, defaults);

    let defaults = serde_json::to_value(defaults).unwrap();
    for (section, keys) in defaults.as_object().unwrap() {
        let (_, after) = text.split_once(&format!("\n[{section}]\n")).unwrap_or_else(|| panic!("no section {section}"));
        let part = after.split("\n[").next().unwrap();
        for (key, value) in keys.as_object().unwrap() {
            let named = part.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{key} =")));
            assert!(named, "[{section}] of config/millrace.toml does not name {key}");
            if value.is_null() {
                // Without a default the reference shows an example.
                assert!(!said[section][key].is_null(), "{section}.{key} has no example");
                said[section][key] = serde_json::Value::Null;
            }
        }
    }
    assert_eq!(said, defaults);
}
