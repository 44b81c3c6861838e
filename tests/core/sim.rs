//! The simulator: cores over stand-ins for SQS, the locks, the ledger and the backlog that keep the ports' promises to the letter
//! and use every freedom that these leave. One seed is one run.

pub mod backlog;
pub mod catalog;
pub mod chance;
pub mod end;
pub mod faults;
pub mod ledger;
pub mod locks;
pub mod plan;
pub mod proof;
pub mod sqs;
pub mod tally;
pub mod world;

use std::time::Duration;

use millrace::core::{Settings, Time};
use millrace::ledger::Gate;
use millrace::order::Ordering;

/// `n` milliseconds.
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// `n` milliseconds after the start.
pub fn at(n: u64) -> Time {
    Time::at(ms(n))
}

/// Small bounds and short times, so that everything happens often.
pub fn settings(ordering: Ordering) -> Settings {
    Settings {
        ordering,
        wait: ms(100),
        receive_max: 10,
        receive_bytes: 10 << 18,
        call_max: 10,
        polls_max: 3,
        visibility_timeout: ms(2_000),
        hold_max: ms(60_000),
        ack_linger: ms(5),
        calls_max: 2,
        delete_tries: 3,
        inbox_backoff: ms(5),
        inbox_backoff_max: ms(100),
        early_wait: ms(50),
        lease: ms(600),
        lock_linger: ms(30),
        lock_retry: ms(10),
        lock_wait_max: ms(100),
        lock_away_retry: ms(50),
        committers: 2,
        batch_max: 20,
        run_max: 8,
        statement_timeout: ms(50),
        ledger_backoff: ms(2),
        ledger_backoff_max: ms(40),
        alarm_tries: 20,
        sweep: ms(200),
        sweep_max: 10,
        gap_after: ms(500),
        messages_max: 60,
        bytes_max: 1 << 30,
        hold_keep: ms(300),
        hold_probe: ms(10),
        hold_probe_max: ms(80),
        shutdown_budget: ms(3_000),
        gate: Gate::Open,
        appenders: 0,
        append_max: 20,
        look: ms(20),
        pace: None,
    }
}
