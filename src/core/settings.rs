//! The settings that the core decides by.

use std::time::Duration;

use crate::config::Config;
use crate::order::Ordering;

/// What [`crate::config`] says, as far as the core needs it. The names are those of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is documented in crate::config")]
pub struct Settings {
    pub ordering: Ordering,
    pub wait: Duration,
    pub receive_max: u32,
    pub polls_max: usize,
    pub visibility_timeout: Duration,
    pub hold_max: Duration,
    pub ack_linger: Duration,
    pub calls_max: usize,
    pub delete_tries: u32,
    pub inbox_backoff: Duration,
    pub inbox_backoff_max: Duration,
    pub early_wait: Duration,
    pub lease: Duration,
    pub lock_linger: Duration,
    pub lock_retry: Duration,
    pub lock_wait_max: Duration,
    pub lock_away_retry: Duration,
    pub committers: usize,
    pub batch_max: usize,
    pub run_max: usize,
    pub statement_timeout: Duration,
    pub ledger_backoff: Duration,
    pub ledger_backoff_max: Duration,
    pub alarm_tries: u32,
    pub sweep: Duration,
    pub sweep_max: u32,
    pub gap_after: Duration,
    pub messages_max: usize,
    pub bytes_max: u64,
    pub hold_keep: Duration,
    pub hold_probe: Duration,
    pub hold_probe_max: Duration,
    pub shutdown_budget: Duration,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let Config { inbox, locks, ledger, flow, hold, shutdown, .. } = config;
        Self {
            ordering: inbox.ordering,
            wait: inbox.wait,
            receive_max: inbox.batch,
            polls_max: inbox.polls_max as usize,
            visibility_timeout: inbox.visibility_timeout,
            hold_max: inbox.hold_max,
            ack_linger: inbox.ack_linger,
            calls_max: inbox.calls_max as usize,
            delete_tries: inbox.delete_tries,
            inbox_backoff: inbox.backoff,
            inbox_backoff_max: inbox.backoff_max,
            early_wait: inbox.early_wait,
            lease: locks.lease,
            lock_linger: locks.linger,
            lock_retry: locks.retry,
            lock_wait_max: locks.wait_max,
            lock_away_retry: locks.away_retry,
            committers: ledger.committers as usize,
            batch_max: ledger.batch_max as usize,
            run_max: ledger.run_max as usize,
            statement_timeout: ledger.statement_timeout,
            ledger_backoff: ledger.backoff,
            ledger_backoff_max: ledger.backoff_max,
            alarm_tries: ledger.alarm_tries,
            sweep: ledger.sweep,
            sweep_max: ledger.sweep_max,
            gap_after: ledger.gap_after,
            messages_max: flow.messages_max as usize,
            bytes_max: flow.bytes_max,
            hold_keep: hold.keep,
            hold_probe: hold.probe,
            hold_probe_max: hold.probe_max,
            shutdown_budget: shutdown.budget,
        }
    }
}
