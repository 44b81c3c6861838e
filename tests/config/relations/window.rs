//! The settings of maintenance windows.

use super::broken;
use crate::config::{MINIMAL, load};

/// As [`broken`], with a backlog.
fn refused(vars: &[(&str, &str)], says: &[&str]) {
    let mut all = vec![("backlog.url", "sqlite://backlog.db")];
    all.extend_from_slice(vars);
    broken(&all, says);
}

#[test]
fn deadlines() {
    refused(
        &[("backlog.lock_timeout", "5s"), ("maintenance.seal_limit", "6s")],
        &["backlog.lock_timeout = 5s", "backlog.statement_timeout = 5s"],
    );
    refused(
        &[("backlog.statement_timeout", "6s")],
        &["inbox.wait = 20s", "backlog.statement_timeout = 6s", "shutdown.budget = 28s"],
    );
    refused(
        &[
            ("backlog.statement_timeout", "30s"),
            ("shutdown.budget", "1m"),
            ("shutdown.stop_timeout", "2m"),
            ("maintenance.lease", "1m"),
        ],
        &["backlog.statement_timeout = 30s", "inbox.visibility_timeout = 30s"],
    );
    refused(
        &[("maintenance.lease", "5s"), ("backlog.statement_timeout", "4s")],
        &["ledger.statement_timeout = 5s", "maintenance.lease = 5s"],
    );
    refused(
        &[("maintenance.lease", "5s"), ("ledger.statement_timeout", "4s")],
        &["backlog.statement_timeout = 5s", "maintenance.lease = 5s"],
    );
    refused(&[("maintenance.seal_limit", "2s")], &["backlog.lock_timeout = 2s", "maintenance.seal_limit = 2s"]);
    refused(&[("maintenance.seal_limit", "10m")], &["maintenance.seal_limit = 10m", "hold.keep = 10m"]);
    refused(
        &[("maintenance.commit_target", "5s")],
        &["maintenance.commit_target = 5s", "ledger.statement_timeout = 5s"],
    );
}

/// Who has no backlog is not asked to make room for its statements.
#[test]
fn without_a_backlog_its_deadlines_bind_nobody() {
    let vars = [("MILLRACE__BACKLOG__STATEMENT_TIMEOUT", "6s"), ("MILLRACE__MAINTENANCE__SEAL_LIMIT", "1s")];
    load(MINIMAL, &vars).unwrap();
}

#[test]
fn ranges() {
    for (key, value, says) in [
        ("backlog.appenders", "0", "1 to 8"),
        ("backlog.appenders", "9", "1 to 8"),
        ("backlog.append_max", "0", "at least 1"),
        ("backlog.lock_timeout", "0s", "at least 1ms"),
        ("backlog.connect_timeout", "0s", "at least 1ms"),
        ("backlog.look", "9ms", "at least 10ms"),
        ("maintenance.rate_min", "0", "at least 1"),
        ("maintenance.share", "0", "at least 1"),
        ("maintenance.commit_target", "0s", "at least 1ms"),
        ("maintenance.bytes_max", "262143", "at least 262144"),
    ] {
        broken(&[(key, value)], &[key, says]);
    }
    broken(&[("maintenance.rate_min", "5001")], &["maintenance.rate_min = 5001", "maintenance.rate_max = 5000"]);
    broken(&[("maintenance.share", "4001")], &["maintenance.share = 4001", "maintenance.messages_max = 4000"]);
}

#[test]
fn the_backlog_is_a_database_of_its_own() {
    broken(&[("backlog.url", "mysql://h/d")], &["backlog.url = mysql://h/d", "MySQL comes in a later version"]);
    broken(&[("backlog.url", "oracle://h/d")], &["backlog.url = oracle://h/d", "postgres://", "sqlite://"]);
    broken(&[("backlog.url", "sqlite://:memory:")], &["backlog.url = sqlite://:memory:", "must be a file"]);
    for (ledger, backlog) in [
        ("sqlite://orders.db", "sqlite://orders.db"),
        ("sqlite://orders.db", "sqlite://./orders.db?mode=rwc"),
        ("postgres://u:hunter2@h/d", "postgresql://other@H:5432/d?sslmode=require"),
    ] {
        broken(&[("ledger.url", ledger), ("backlog.url", backlog)], &["ledger.url", "backlog.url", "same database"]);
    }
    for (ledger, backlog) in [
        ("sqlite://orders.db", "sqlite://backlog.db"),
        ("postgres://u@h/orders", "postgres://u@h/backlog"),
        ("postgres://u@h:5432/d", "postgres://u@h:5433/d"),
        ("postgres://u@h/d", "sqlite://backlog.db"),
    ] {
        let vars = [("MILLRACE__LEDGER__URL", ledger), ("MILLRACE__BACKLOG__URL", backlog)];
        load(MINIMAL, &vars).unwrap_or_else(|error| panic!("{ledger} beside {backlog}: {error}"));
    }
}
