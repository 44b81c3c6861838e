//! Settings from damaged files and variables: taken, or refused with a key, and no secret is told.

use millrace::config::Config;

use super::load;
use crate::mangle::Mangle;
use crate::random::Random;

const WORDS: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "=",
    "\"",
    "'''",
    "\"\"\"",
    "\n",
    "#",
    ".",
    ",",
    "inbox",
    "locks",
    "ledger",
    "backlog",
    "maintenance",
    "queue_url",
    "url",
    "ordering",
    "gapless",
    "fifo",
    "true",
    "\"10s\"",
    "\"-1s\"",
    "\"1 year\"",
    "0",
    "-1",
    "1.5",
    "18446744073709551616",
    "\"\"",
    "postgres://",
    "sqlite://",
    "redis://",
    "mysql://",
    "\u{0}",
    "{",
    "}",
    "\\u0000",
];

/// The password of the corpus. No message may tell it.
const SECRET: &str = "hunter2hunter2";

const VARIABLES: &[&str] = &[
    "MILLRACE__INBOX__QUEUE_URL",
    "MILLRACE__INBOX__WAIT",
    "MILLRACE__LEDGER__URL",
    "MILLRACE__LEDGER__COMMITTERS",
    "MILLRACE__LOCKS__URL",
    "MILLRACE__FLOW__MESSAGES_MAX",
    "MILLRACE__NO__SUCH",
    "MILLRACE__",
    "MILLRACE__INBOX",
];

#[test]
fn damaged_settings_are_taken_or_refused_by_name() {
    let mut random = Random::seeded();
    let mangle = Mangle::of("config", WORDS);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..6_000 {
        let text = mangle.text(&mut random);
        let value = mangle.text(&mut random);
        // What is behind the equals sign of some line, or a line without one.
        let lines: Vec<&str> = value.lines().collect();
        let line = lines.get(random.index(lines.len().max(1))).copied().unwrap_or_default();
        let value = line.split_once('=').map_or(line, |(_, value)| value).trim().replace('\0', "");
        let variable = VARIABLES[random.index(VARIABLES.len())];
        let variables: &[(&str, &str)] = if random.one_in(3) { &[(variable, &value)] } else { &[] };
        match load(&text, variables) {
            Ok(config) => {
                taken += 1;
                assert!(!config.inbox.queue_url.is_empty() && !config.ledger.url.is_empty(), "{text}");
                assert!(config.ledger.committers >= 1 && config.flow.messages_max >= 1, "{text}");
            }
            Err(error) => {
                refused += 1;
                let said = error.to_string();
                assert!(!said.trim().is_empty() && said.len() < 20_000, "{text}: {said}");
                assert!(!said.contains(SECRET), "a secret is told: {said}\nof\n{text}");
            }
        }
    }
    println!("{taken} taken, {refused} refused");
    assert!(taken > 300 && refused > 2_000, "VOID: {taken} taken, {refused} refused");
}

/// The corpus itself is taken, with what a file leaves to the environment.
#[test]
fn the_corpus_is_taken() {
    let left = [
        ("MILLRACE__INBOX__QUEUE_URL", "http://127.0.0.1:1/0/orders"),
        ("MILLRACE__LEDGER__URL", "sqlite://orders.db"),
        ("MILLRACE__BACKLOG__URL", "sqlite://backlog.db"),
        ("MILLRACE__LOCKS__URL", "local:"),
    ];
    for text in Mangle::of("config", WORDS).whole() {
        let config: Config = load(text, &left).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert!(!config.ledger.url.is_empty());
    }
}
