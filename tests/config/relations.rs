//! Each range and each relation, broken once: the message names every key that takes part, and its value.

use super::{MINIMAL, load};

mod window;

/// Breaks one thing by variables; exactly one problem is found, and it says all of these.
pub fn broken(vars: &[(&str, &str)], says: &[&str]) {
    let vars: Vec<(String, &str)> = vars
        .iter()
        .map(|(key, value)| (format!("MILLRACE__{}", key.replace('.', "__").to_uppercase()), *value))
        .collect();
    let vars: Vec<(&str, &str)> = vars.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let problems = load(MINIMAL, &vars).expect_err(&format!("{vars:?} is accepted")).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    for part in says {
        assert!(problems[0].contains(part), "{:?} does not say {part:?}", problems[0]);
    }
}

#[test]
fn deadlines() {
    broken(&[("ledger.lock_timeout", "5s")], &["ledger.lock_timeout = 5s", "ledger.statement_timeout = 5s"]);
    broken(&[("locks.lease", "5s")], &["ledger.statement_timeout = 5s", "locks.lease = 5s"]);
    broken(&[("locks.lease", "30s")], &["locks.lease = 30s", "inbox.visibility_timeout = 30s"]);
    broken(&[("inbox.visibility_timeout", "18s")], &["inbox.wait = 20s", "inbox.visibility_timeout = 18s"]);
    broken(
        &[("ledger.statement_timeout", "6s")],
        &["inbox.wait = 20s", "ledger.statement_timeout = 6s", "shutdown.budget = 28s"],
    );
    broken(&[("shutdown.budget", "30s")], &["shutdown.budget = 30s", "shutdown.stop_timeout = 30s"]);
    broken(&[("hold.keep", "11h")], &["hold.keep = 11h", "inbox.hold_max = 11h"]);
    broken(
        &[("inbox.visibility_timeout", "20m"), ("inbox.hold_max", "15m")],
        &["inbox.visibility_timeout = 20m", "inbox.hold_max = 15m"],
    );
    broken(&[("locks.timeout", "15s")], &["locks.timeout = 15s", "locks.lease = 15s"]);
    broken(&[("locks.linger", "15s")], &["locks.linger = 15s", "locks.lease = 15s"]);
    broken(&[("locks.retry", "6s")], &["locks.retry = 6s", "locks.wait_max = 5s"]);
}

#[test]
fn bounds() {
    broken(&[("inbox.backoff", "21s")], &["inbox.backoff = 21s", "inbox.backoff_max = 20s"]);
    broken(&[("ledger.backoff", "3s")], &["ledger.backoff = 3s", "ledger.backoff_max = 2s"]);
    broken(&[("hold.probe", "11s")], &["hold.probe = 11s", "hold.probe_max = 10s"]);
    broken(&[("ledger.run_max", "501")], &["ledger.run_max = 501", "ledger.batch_max = 500"]);
    broken(&[("flow.messages_max", "9")], &["inbox.batch = 10", "flow.messages_max = 9"]);
    broken(&[("flow.bytes_max", "1000")], &["flow.bytes_max = 1000", "inbox.batch = 10"]);
}

#[test]
fn ranges() {
    for (key, value, says) in [
        ("inbox.batch", "0", "1 to 10"),
        ("inbox.batch", "11", "1 to 10"),
        ("inbox.wait", "1500ms", "whole seconds"),
        ("inbox.hold_max", "12h", "below 12h"),
        ("inbox.polls_max", "0", "at least 1"),
        ("inbox.calls_max", "0", "at least 1"),
        ("inbox.delete_tries", "0", "at least 1"),
        ("inbox.attempt_timeout", "0s", "at least 1ms"),
        ("ledger.committers", "1", "2 to 16"),
        ("ledger.committers", "17", "2 to 16"),
        ("ledger.alarm_tries", "0", "at least 1"),
        ("ledger.sweep_max", "0", "at least 1"),
        ("ledger.sweep", "0s", "at least 1ms"),
        ("ledger.connect_timeout", "0s", "at least 1ms"),
        ("locks.buckets", "0", "1 to 16384"),
        ("locks.buckets", "16385", "1 to 16384"),
        ("locks.prefix", "a{b}", "braces"),
        ("locks.away_retry", "0s", "at least 1ms"),
        ("hold.probe", "0s", "at least 1ms"),
        ("http.listen", "localhost", "address and a port"),
        ("log.level", "millrace=loud", "directives"),
    ] {
        broken(&[(key, value)], &[key, says]);
    }
    let problems = load(MINIMAL, &[("MILLRACE__INBOX__WAIT", "21s")]).unwrap_err().problems;
    assert!(
        problems.iter().any(|problem| problem.starts_with("inbox.wait = 21s: must be at most 20s")),
        "{problems:?}"
    );
    let problems = load(MINIMAL, &[("MILLRACE__INBOX__VISIBILITY_TIMEOUT", "1s")]).unwrap_err().problems;
    assert!(problems.iter().any(|problem| problem.contains("must be 2s to 12h")), "{problems:?}");
}

#[test]
fn urls() {
    broken(&[("inbox.queue_url", "orders")], &["inbox.queue_url = orders", "https://"]);
    broken(&[("inbox.ordering", "fifo")], &["inbox.ordering = fifo", "inbox.queue_url = http://", ".fifo"]);
    broken(&[("locks.url", "memcached://h")], &["locks.url = memcached://h", "redis://", "rediss://", "local:"]);
    broken(&[("locks.url", "redis://")], &["locks.url = redis://"]);
    broken(
        &[("ledger.url", "mysql://h/d")],
        &["ledger.url = mysql://h/d", "later version", "postgres://", "sqlite://"],
    );
    broken(&[("ledger.url", "oracle://h/d")], &["ledger.url = oracle://h/d", "postgres://", "sqlite://"]);
    broken(&[("ledger.url", "sqlite://:memory:")], &["ledger.url = sqlite://:memory:", "must be a file"]);
    broken(
        &[("ledger.reader_url", "postgres://h/d")],
        &["ledger.reader_url = postgres://h/d", "ledger.url = sqlite://orders.db"],
    );
}

#[test]
fn every_problem_is_told_at_once() {
    let vars =
        [("MILLRACE__INBOX__BATCH", "0"), ("MILLRACE__LEDGER__COMMITTERS", "1"), ("MILLRACE__HTTP__LISTEN", "x")];
    assert_eq!(load(MINIMAL, &vars).unwrap_err().problems.len(), 3);
}
