//! What the engine says about itself: one snapshot, for `/status`, the status page, `/metrics` and `millrace status`.
//!
//! The engine publishes a new one a few times a second through a `tokio::sync::watch` channel; whoever shows it only
//! reads. All counts are this process's, since its start.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backlog::Progress;
use crate::order::Ordering;
use crate::outcome::Outcome;

pub mod backlog;
pub mod pulse;

use backlog::BacklogStatus;

/// One snapshot of the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// When the process started.
    pub started_at: Timestamp,
    /// When this snapshot was made.
    pub at: Timestamp,
    /// Starting, running or stopping.
    pub phase: Phase,
    /// `inbox.ordering`.
    pub ordering: Ordering,
    /// Where orders go now.
    pub route: Route,
    /// Since when.
    pub route_since: Timestamp,
    /// Why, in a sentence, when it is not `direct`.
    pub route_reason: Option<String>,
    /// Messages in memory whose order has no end yet.
    pub held_messages: u64,
    /// The bytes of their bodies.
    pub held_bytes: u64,
    /// `flow.messages_max`: at this bound receiving stops.
    pub held_messages_max: u64,
    /// `flow.bytes_max`: at this bound receiving stops.
    pub held_bytes_max: u64,
    /// Of the held messages: orders that came before their predecessor.
    pub early: u64,
    /// Messages whose order has its end, and which are not deleted yet.
    pub pending_deletes: u64,
    /// The age since sending of the oldest held message, in seconds.
    pub oldest_order_seconds: Option<f64>,
    /// Customers with an order in memory.
    pub lanes: u64,
    /// Of these: customers whose lock another instance has.
    pub lanes_waiting_for_lock: u64,
    /// Of these: customers that go on without a lock.
    pub lanes_without_lock: u64,
    /// Who keeps the locks.
    pub locks: LocksState,
    /// Orders parked in the ledger, as far as this instance's customers were last seen.
    pub parked_known: u64,
    /// Customers that are known to be blocked by a quarantined order.
    pub blocked_customers: u64,
    /// Long polls under way.
    pub polls: u64,
    /// Committers at work.
    pub committers_busy: u64,
    /// Committers in all.
    pub committers: u64,
    /// How many deliveries ended in which way.
    pub outcomes: Outcomes,
    /// Parked orders that were committed; their deliveries ended before, as parked.
    pub unparked: u64,
    /// Orders of the backlog that this worker drained, by how they ended; none of them counts in `outcomes`.
    pub drained: Outcomes,
    /// How the drain goes that this worker runs. None while it runs none.
    pub drain: Option<Progress>,
    /// The backlog, as it was last looked at. None without one, and until it was reached.
    pub backlog: Option<BacklogStatus>,
    /// Requests made to each server.
    pub requests: Requests,
    /// CPU that the process has used so far, in seconds: all threads, user and system.
    #[serde(default)]
    pub cpu_seconds: f64,
    /// The last error of each kind.
    pub last_errors: Vec<LastError>,
}

impl Status {
    /// The status of a process that has not begun to receive.
    #[must_use]
    pub fn starting(ordering: Ordering, locks: LocksState) -> Self {
        let now = Timestamp::now();
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            started_at: now,
            at: now,
            phase: Phase::Starting,
            ordering,
            route: Route::Direct,
            route_since: now,
            route_reason: None,
            held_messages: 0,
            held_bytes: 0,
            held_messages_max: 0,
            held_bytes_max: 0,
            early: 0,
            pending_deletes: 0,
            oldest_order_seconds: None,
            lanes: 0,
            lanes_waiting_for_lock: 0,
            lanes_without_lock: 0,
            locks,
            parked_known: 0,
            blocked_customers: 0,
            polls: 0,
            committers_busy: 0,
            committers: 0,
            outcomes: Outcomes::default(),
            unparked: 0,
            drained: Outcomes::default(),
            drain: None,
            backlog: None,
            requests: Requests::default(),
            cpu_seconds: 0.0,
            last_errors: Vec::new(),
        }
    }
}

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It does not receive yet.
    Starting,
    /// It works.
    Running,
    /// It finishes what it has begun, and hands the rest back.
    Stopping,
}

impl Phase {
    /// The label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
        }
    }
}

/// Where orders go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Into the ledger.
    Direct,
    /// Into the backlog: a maintenance window is on.
    Spool,
    /// Nowhere: they stay in SQS, because the ledger is closed or away.
    Hold,
    /// Nowhere yet: the ledger is being asked whether it is back.
    Probing,
    /// One small batch is on its way into the ledger, to see whether it really is back.
    HalfOpen,
}

impl Route {
    /// The label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Route::Direct => "direct",
            Route::Spool => "spool",
            Route::Hold => "hold",
            Route::Probing => "probing",
            Route::HalfOpen => "half_open",
        }
    }
}

/// Who keeps the locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kept_by", rename_all = "snake_case")]
pub enum LocksState {
    /// The lock server, for the fleet.
    Redis,
    /// This process, for itself.
    Local,
    /// Nobody: the lock server does not answer, and the engine goes on without locks.
    Away {
        /// Since when.
        since: Timestamp,
        /// Why.
        reason: String,
    },
}

/// How many deliveries ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// See [`Outcome::Committed`].
    pub committed: u64,
    /// See [`Outcome::Duplicate`].
    pub duplicate: u64,
    /// See [`Outcome::Parked`].
    pub parked: u64,
    /// See [`Outcome::Spooled`].
    pub spooled: u64,
    /// See [`Outcome::Returned`].
    pub returned: u64,
    /// See [`Outcome::Quarantined`].
    pub quarantined: u64,
}

impl Outcomes {
    /// These and those.
    #[must_use]
    pub fn and(self, more: Outcomes) -> Outcomes {
        Outcomes {
            committed: self.committed + more.committed,
            duplicate: self.duplicate + more.duplicate,
            parked: self.parked + more.parked,
            spooled: self.spooled + more.spooled,
            returned: self.returned + more.returned,
            quarantined: self.quarantined + more.quarantined,
        }
    }

    /// Counts one delivery.
    pub fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Committed => &mut self.committed,
            Outcome::Duplicate => &mut self.duplicate,
            Outcome::Parked => &mut self.parked,
            Outcome::Spooled => &mut self.spooled,
            Outcome::Returned => &mut self.returned,
            Outcome::Quarantined => &mut self.quarantined,
        } += 1;
    }
}

/// Requests made to each server; what a thousand orders cost is theirs over the outcomes'.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Calls of the SQS API, which are billed.
    pub sqs: u64,
    /// Scripts and proofs sent to Redis.
    pub redis: u64,
    /// Transactions and queries of the ledger.
    pub sql: u64,
    /// Transactions and queries of the backlog.
    #[serde(default)]
    pub backlog: u64,
}

/// The last error of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// `inbox`, `locks` or `ledger`.
    pub from: String,
    /// The class, as in `millrace_errors_total`.
    pub class: String,
    /// What happened.
    pub message: String,
    /// When.
    pub at: Timestamp,
}
