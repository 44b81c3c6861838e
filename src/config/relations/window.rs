//! What must hold between the settings of `[backlog]` and `[maintenance]`, and between them and the others.

use std::time::Duration;

use super::super::url::place;
use super::super::{Config, redacted};
use super::{Broken, SHUTDOWN_REST, Shown as _, database};
use crate::order::MAX_BODY_BYTES;

/// The shortest pause between two looks at the phase: a window's looks come ten times as often.
const LOOK_MIN: Duration = Duration::from_millis(10);

pub(super) fn broken(config: &Config, found: &mut Broken) {
    counts(config, found);
    durations(config, found);
    drain(config, found);
    if let Some(url) = &config.backlog.url {
        database("backlog.url", url, found);
        apart(config, url, found);
        deadlines(config, found);
    }
}

fn counts(config: &Config, found: &mut Broken) {
    let (backlog, maintenance) = (&config.backlog, &config.maintenance);
    let appenders = backlog.appenders;
    found.unless((1..=8).contains(&appenders), "backlog.appenders", appenders, "must be 1 to 8");
    for (key, value) in [
        ("backlog.append_max", backlog.append_max),
        ("maintenance.rate_max", maintenance.rate_max),
        ("maintenance.rate_min", maintenance.rate_min),
        ("maintenance.share", maintenance.share),
        ("maintenance.messages_max", maintenance.messages_max),
    ] {
        found.unless(value > 0, key, value, "must be at least 1");
    }
    let bytes = maintenance.bytes_max;
    found.unless(
        bytes >= MAX_BODY_BYTES as u64,
        "maintenance.bytes_max",
        bytes,
        &format!("must be at least {MAX_BODY_BYTES}, the largest order"),
    );
}

fn durations(config: &Config, found: &mut Broken) {
    let (backlog, maintenance) = (&config.backlog, &config.maintenance);
    for (key, value) in [
        ("backlog.lock_timeout", backlog.lock_timeout),
        ("backlog.connect_timeout", backlog.connect_timeout),
        ("maintenance.commit_target", maintenance.commit_target),
    ] {
        found.unless(value >= Duration::from_millis(1), key, value.shown(), "must be at least 1ms");
    }
    found.unless(backlog.look >= LOOK_MIN, "backlog.look", backlog.look.shown(), "must be at least 10ms");
}

fn drain(config: &Config, found: &mut Broken) {
    let (ledger, maintenance) = (&config.ledger, &config.maintenance);
    found.at_most(
        ("maintenance.rate_min", u64::from(maintenance.rate_min)),
        ("maintenance.rate_max", u64::from(maintenance.rate_max)),
        "the pace moves between the two",
    );
    found.at_most(
        ("maintenance.share", u64::from(maintenance.share)),
        ("maintenance.messages_max", u64::from(maintenance.messages_max)),
        "one customer's share is part of what the drain holds",
    );
    found.ordered(
        ("maintenance.commit_target", maintenance.commit_target),
        ("ledger.statement_timeout", ledger.statement_timeout),
        "the pace must slow down before commits fail",
    );
    found.ordered(
        ("ledger.statement_timeout", ledger.statement_timeout),
        ("maintenance.lease", maintenance.lease),
        "the drain lease must outlive the commit that it covers",
    );
}

fn deadlines(config: &Config, found: &mut Broken) {
    let (inbox, backlog, maintenance) = (&config.inbox, &config.backlog, &config.maintenance);
    let statement = ("backlog.statement_timeout", backlog.statement_timeout);
    found.ordered(
        ("backlog.lock_timeout", backlog.lock_timeout),
        statement,
        "a statement that waits for a lock must end by the lock's limit",
    );
    found.ordered(
        statement,
        ("inbox.visibility_timeout", inbox.visibility_timeout),
        "an append must have its answer before its messages come again",
    );
    found.ordered(
        statement,
        ("maintenance.lease", maintenance.lease),
        "the drain lease must outlive the statement that renews it",
    );
    found.ordered(
        ("backlog.lock_timeout", backlog.lock_timeout),
        ("maintenance.seal_limit", maintenance.seal_limit),
        "sealing waits for the appends in flight before it is taken back",
    );
    found.ordered(
        ("maintenance.seal_limit", maintenance.seal_limit),
        ("hold.keep", config.hold.keep),
        "sealing holds the workers up, and what they hold must not go back to SQS for that",
    );
    let budget = config.shutdown.budget;
    if inbox.wait.saturating_add(backlog.statement_timeout).saturating_add(SHUTDOWN_REST) >= budget {
        found.0.push(format!(
            "inbox.wait = {} and backlog.statement_timeout = {}, with 2s for the rest, must be below \
             shutdown.budget = {}: the last poll and the last append are let finish",
            inbox.wait.shown(),
            backlog.statement_timeout.shown(),
            budget.shown()
        ));
    }
}

/// The backlog has to be there while the ledger is not.
fn apart(config: &Config, backlog: &str, found: &mut Broken) {
    let ledger = &config.ledger.url;
    if place(backlog).is_some_and(|backlog| Some(backlog) == place(ledger)) {
        found.0.push(format!(
            "backlog.url = {} and ledger.url = {} are the same database: the backlog needs one of its own, which stays \
             up while the ledger is shut down",
            redacted(backlog),
            redacted(ledger)
        ));
    }
}
