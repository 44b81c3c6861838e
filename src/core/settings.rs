//! The settings that the core decides by.

use std::time::Duration;

use super::PaceSettings;
use crate::config::Config;
use crate::order::{MAX_BODY_BYTES, Ordering};
use crate::window::Gate;

/// SQS takes at most so many entries in one call.
const SQS_CALL_MAX: usize = 10;

/// How many rows of the backlog are read, and removed, at once.
const DRAIN_READ: u32 = 1_000;

/// How long a read of an empty backlog waits for orders.
const DRAIN_WAIT: Duration = Duration::from_millis(250);

/// A row of the backlog does not come back by itself, so it is under no heartbeat.
const DRAIN_HELD: Duration = Duration::from_hours(24 * 365);

/// What [`crate::config`] says, as far as the core needs it. The names are those of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is documented in crate::config")]
pub struct Settings {
    pub ordering: Ordering,
    pub wait: Duration,
    pub receive_max: u32,
    /// The most bytes that one receive may bring.
    pub receive_bytes: u64,
    /// The most entries of one delete or visibility call.
    pub call_max: usize,
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
    /// The state of the gate in which this engine works.
    pub gate: Gate,
    /// 0: there is no backlog to append to.
    pub appenders: usize,
    pub append_max: usize,
    /// How often the backlog's phase is looked at while orders go there.
    pub look: Duration,
    /// Of a drain.
    pub pace: Option<PaceSettings>,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let Config { inbox, locks, ledger, backlog, flow, hold, shutdown, .. } = config;
        Self {
            ordering: inbox.ordering,
            wait: inbox.wait,
            receive_max: inbox.batch,
            receive_bytes: u64::from(inbox.batch) * MAX_BODY_BYTES as u64,
            call_max: SQS_CALL_MAX,
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
            gate: Gate::Open,
            appenders: if backlog.url.is_some() { backlog.appenders as usize } else { 0 },
            append_max: backlog.append_max as usize,
            look: backlog.look / 10,
            pace: None,
        }
    }
}

impl Settings {
    /// For the engine that drains the backlog: the same ledger under another gate, paced, and an inbox whose messages
    /// need no heartbeats.
    #[must_use]
    pub fn of_drain(config: &Config) -> Self {
        let maintenance = &config.maintenance;
        // Two reads fit into what may be held, so that one is read while the other is written.
        let receive_max = DRAIN_READ.min(maintenance.messages_max / 2).max(1);
        Self {
            wait: DRAIN_WAIT,
            receive_max,
            receive_bytes: maintenance.bytes_max / 4,
            call_max: receive_max as usize,
            polls_max: 1,
            visibility_timeout: DRAIN_HELD,
            hold_max: DRAIN_HELD,
            calls_max: 1,
            // What is missing here may be appended any moment, but most of it lies in the backlog already.
            early_wait: config.inbox.early_wait.min(DRAIN_WAIT),
            messages_max: maintenance.messages_max as usize,
            bytes_max: maintenance.bytes_max,
            gate: Gate::Draining,
            appenders: 0,
            pace: Some(PaceSettings {
                rate_max: maintenance.rate_max,
                rate_min: maintenance.rate_min,
                commit_target: maintenance.commit_target,
            }),
            ..Self::from(config)
        }
    }
}
