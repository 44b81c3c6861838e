//! The ledger: the database where orders take effect. This file is the promise; `ledger/` has two ways to keep it.
//!
//! What always holds, whoever calls and however often (I1, I2, I5, I8, I9 in ARCHITECTURE.md):
//!
//! - Every write is gated: it changes nothing unless the gate allows it, and says so.
//! - A commit writes an order, its lines, its event, the team's effects and the customer's position together or not
//!   at all, and only in sequence. The judge is the locked row, never what the caller believes.
//! - Every customer of a commit gets exactly one [`Verdict`], every order of another call exactly one answer, in the
//!   order in which they were asked.
//! - Every call may be repeated; repeating it changes nothing more.
//! - An error says what the caller does next ([`ErrorClass`]); an unknown outcome is said to be unknown.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::order::{CustomerId, Entry, EntryId, Ordering, Rank};
use crate::window::Epoch;

pub mod any;
pub mod bench;
pub mod decisions;
pub mod effects;
pub mod gatekeeper;
pub mod postgres;
pub mod report;
pub mod sqlite;

pub use crate::window::Gate;
pub use any::{AnyLedger, open};

/// Opens sessions. One committer owns one session.
pub trait Ledger: Clone + Send + Sync + 'static {
    /// What a committer works with.
    type Session: Session;
    /// What an operator's window works with.
    type Gatekeeper: gatekeeper::Gatekeeper;
    /// What an operator's decisions work with.
    type Decisions: decisions::Decisions;

    /// The same ledger for the drain of the backlog under this epoch: its sessions commit and park while the gate is
    /// draining under exactly this epoch, and never else. (Sessions of the ledger as it was opened commit and park
    /// live orders: only while the gate is open.)
    #[must_use]
    fn draining(&self, epoch: Epoch) -> Self;

    /// Opens a connection that is proven to be the writer, of the schema that this program needs, with its
    /// statements prepared (effects included), under a deadline of its own.
    ///
    /// # Errors
    ///
    /// [`ErrorClass::Away`] when there is none to be had; [`ErrorClass::Broken`] when the schema or the effects do
    /// not fit the program.
    fn connect(&self) -> impl Future<Output = Result<Self::Session, LedgerError>> + Send;

    /// Brings the schema up to date; says how many steps were taken. Safe beside running workers of the version
    /// before, and by two operators at once.
    fn migrate(&self) -> impl Future<Output = Result<usize, LedgerError>> + Send;

    /// Remembers the source at the first call, and compares it at every later one: the ordering always, the queue's
    /// ARN and creation time in `fifo`, where marks belong to one queue.
    fn bind(&self, source: &Source) -> impl Future<Output = Result<Binding, LedgerError>> + Send;

    /// Opens a connection for the steps of a window; proven to be the writer, of a schema that fits.
    ///
    /// # Errors
    ///
    /// As [`Ledger::connect`].
    fn gatekeeper(&self) -> impl Future<Output = Result<Self::Gatekeeper, LedgerError>> + Send;

    /// Opens a connection for decisions; proven to be the writer, of a schema that fits.
    ///
    /// # Errors
    ///
    /// As [`Ledger::connect`].
    fn decisions(&self) -> impl Future<Output = Result<Self::Decisions, LedgerError>> + Send;

    /// An operator's word that the orders come from another source now: sets every mark to 0. Refused while any
    /// order is parked or any customer blocked, whose ranks belong to the source before.
    fn rebind(&self, source: &Source, actor: &str) -> impl Future<Output = Result<Binding, LedgerError>> + Send;
}

/// Where a ledger's orders come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `inbox.ordering`.
    pub ordering: Ordering,
    /// The queue's ARN.
    pub queue_arn: String,
    /// When the queue was created, in seconds since 1970.
    pub queue_created_at: i64,
}

/// The answer to [`Ledger::bind`] and [`Ledger::rebind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// The ledger belongs to this source.
    Bound,
    /// The ledger belongs to another one.
    Other(Source),
    /// Not now: so many orders are parked and customers blocked.
    Pending(u64),
}

/// One connection to the ledger.
///
/// After an error with [`ErrorClass::spends_session`] the session must be dropped. Every call has a client-side
/// timeout of its own, so no call waits for ever on a silent peer.
///
/// # Cancel safety
///
/// None: a call that was begun is awaited to its end. Dropping it leaves the outcome unknown.
pub trait Session: Send + 'static {
    /// Reads the gate, and by that proves that the ledger answers. A close that is announced counts as closed. Of a
    /// draining ledger, draining under any other epoch is closed; open stays open, which says that the drain is over.
    fn gate(&mut self) -> impl Future<Output = Result<Gate, LedgerError>> + Send;

    /// Commits the runs in one transaction: one verdict for each run, in the order of the runs.
    fn commit(&mut self, batch: &Batch) -> impl Future<Output = Result<Vec<Verdict>, LedgerError>> + Send;

    /// Parks orders durably behind their predecessors or behind a blocked head. One answer for each order.
    fn park(&mut self, orders: &[Placed]) -> impl Future<Output = Result<Vec<ParkVerdict>, LedgerError>> + Send;

    /// Looks orders up with a new snapshot. One answer for each order.
    fn look_up(&mut self, orders: &[Placed]) -> impl Future<Output = Result<Vec<Found>, LedgerError>> + Send;

    /// Loads, for each customer, what may be committed next of its parked orders: in `gapless` mode the contiguous
    /// run from `last_position + 1`, otherwise the lowest ranks; at most `limit` orders a customer. Empty where the
    /// customer is blocked or nothing parked stands next. One answer for each customer.
    fn parked_runs(
        &mut self,
        customers: &[CustomerId],
        limit: u32,
    ) -> impl Future<Output = Result<Vec<ParkedRun>, LedgerError>> + Send;

    /// Puts one entry into quarantine, and blocks its customer where the case says so. Only what stands next blocks:
    /// the next position in `gapless`, unless another order is parked for it; in `fifo` what nothing is parked before.
    /// What blocks needs the gate of a new order, everything else an open or a draining one.
    fn quarantine(&mut self, case: &Case) -> impl Future<Output = Result<CaseVerdict, LedgerError>> + Send;

    /// Finds what a crash left behind: removes parked copies of orders that have an end, and entries of
    /// quarantine that are committed, and returns at most `limit` customers whose parked orders stand next.
    fn sweep(&mut self, limit: u32) -> impl Future<Output = Result<Vec<CustomerId>, LedgerError>> + Send;

    /// `gapless`: at most `limit` customers that are not blocked and have had orders parked for longer than
    /// `older_than`, while the number that stands next has not come. Empty in the other orderings.
    fn gaps(&mut self, limit: u32, older_than: Duration) -> impl Future<Output = Result<Vec<Gap>, LedgerError>> + Send;
}

/// An entry and its place at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The sequence (`gapless`), the `SequenceNumber` (`fifo`), 0 (`none`).
    pub rank: Rank,
    /// What stands there.
    pub entry: Arc<Entry>,
}

/// Consecutive orders of one customer, ascending by rank; in `gapless` mode without a gap. Never malformed ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Whose they are.
    pub customer: CustomerId,
    /// At least one.
    pub orders: Vec<Placed>,
}

/// What one transaction commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// One run a customer; no customer, and no `order_id`, twice.
    pub runs: Vec<Run>,
    /// All of them were loaded from the parked orders ([`Session::parked_runs`]). In `fifo` mode such runs are judged
    /// by what is parked below them, live ones by `parked = 0`. Gate: open or draining instead of open (of a draining
    /// ledger: draining under its epoch).
    pub parked: bool,
    /// The same batch was sent before and its outcome is unknown: wait for locks (under the lock timeout) instead of
    /// skipping locked customers, because "locked" would not say whether the first one is still running.
    pub resolve: bool,
}

/// The answer to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its orders are in the ledger now.
    Committed {
        /// The customer's last position (`gapless`) or mark (`fifo`); 0 in `none`.
        upto: Rank,
        /// How many of its orders are parked, fresh from the locked row.
        parked: u64,
        /// Orders of the run that were *not* written, because the ledger knows their `order_id` (`fifo` and `none`;
        /// always empty in `gapless`). They are to be looked up.
        known: Vec<EntryId>,
    },
    /// The gate does not allow it; nothing of the batch was written.
    GateClosed,
    /// Another transaction holds the customer's row, or has just created it.
    Locked,
    /// The run begins at or below this last position (mark); what lies below has to be looked up.
    Behind(Rank),
    /// The run begins above the next position (`gapless`), or parked orders go first: in `fifo` all of them, in
    /// `gapless` another order that was parked for one of the places of the run.
    Ahead {
        /// The last position (mark).
        upto: Rank,
        /// How many of the customer's orders are parked.
        parked: u64,
    },
    /// The customer's next order is in quarantine.
    Blocked,
}

/// The answer to an order that was to be parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParkVerdict {
    /// It is durable among the parked orders.
    Parked,
    /// It stands next, or below the last position: it is not to be parked.
    NotEarly,
    /// The place or the `order_id` is taken; look it up.
    Taken,
    /// The gate does not allow it.
    GateClosed,
    /// The customer's row appeared meanwhile, or is locked; try again.
    Again,
}

/// What the ledger knows of an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Found {
    /// It is committed, or it is the order that a tombstone names: a duplicate.
    Ended,
    /// It is parked.
    Parked,
    /// It is in quarantine.
    Quarantined,
    /// It must not be committed: its `order_id` stands for another content, or its place belongs to another order or
    /// to a tombstone. The reason is a sentence.
    Conflict(String),
    /// `fifo`: unknown, and below the customer's mark.
    OutOfSequence,
    /// Nothing is known of it, and nothing stands at its place.
    Absent,
}

/// What is parked and stands next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedRun {
    /// Whose it is.
    pub customer: CustomerId,
    /// The last position (mark) that it follows.
    pub upto: Rank,
    /// How many of the customer's orders are parked, these included.
    pub parked: u64,
    /// Ascending by rank. Malformed entries may stand among them (`fifo`).
    pub orders: Vec<Placed>,
}

/// Orders that wait for a predecessor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gap {
    /// Whose.
    pub customer: CustomerId,
    /// The number that is missing.
    pub missing: u64,
    /// How many orders are parked behind it.
    pub parked: u64,
}

/// Why an entry goes to quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseKind {
    /// The message is no order.
    Malformed,
    /// It failed by its own fault while it stood next.
    Poison,
    /// Another order has its `order_id` or its place.
    Conflict,
    /// `fifo`: it came after its successors.
    OutOfSequence,
}

impl CaseKind {
    /// The label in the table `quarantined_orders`, in metrics and in JSON.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            CaseKind::Malformed => "malformed",
            CaseKind::Poison => "poison",
            CaseKind::Conflict => "conflict",
            CaseKind::OutOfSequence => "out_of_sequence",
        }
    }
}

/// One entry for quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The entry, and the rank at which it stood.
    pub placed: Placed,
    /// Why, in a word.
    pub kind: CaseKind,
    /// Why, in a sentence.
    pub reason: String,
    /// Nothing of its customer commits until a person decides. Requires that the entry still stands next, and the gate
    /// that a commit requires: while a drain is on, what stands before a live entry may still be in the backlog. (A
    /// case that does not block may be written by any session while the gate is open or draining.)
    pub blocks: bool,
}

/// The answer to a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CaseVerdict {
    /// It is in quarantine, now or since before.
    Quarantined,
    /// It does not stand next, or not any more (a stale verdict changes nothing): judge it anew. In `gapless` that is
    /// so too when another order is parked for its place: that one stands next.
    NotNext,
    /// The customer is blocked by another order: park it.
    Blocked,
    /// The gate does not allow it.
    GateClosed,
}

/// What the caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// Rolled back by a serialization failure or deadlock: send it again.
    Retry,
    /// Rolled back by a statement or lock timeout: send it again; isolate it when that repeats.
    Timeout,
    /// The connection broke, or no answer came in time, after sending: nobody knows. Resolve before anything else.
    Unknown,
    /// The ledger cannot be reached or takes no writes; nothing was written. Hold.
    Away,
    /// An order's own fault: nothing was written. Bisect.
    Fault,
    /// A unique key of `orders` is taken: nothing was written. Bisect, then look it up before anybody is blamed.
    Taken,
    /// The deployment is broken (a table, a column, a privilege is missing): Hold and alarm, blame nobody.
    Broken,
    /// A code that this program does not know: infrastructure and alarm, never poison.
    Unrecognised,
    /// The gate is open beside a backlog that is not sealed, which no window leads to: Hold and alarm, and do not spool.
    Inconsistent,
}

impl ErrorClass {
    /// Whether the session is not to be used again.
    #[must_use]
    pub fn spends_session(self) -> bool {
        match self {
            ErrorClass::Unknown
            | ErrorClass::Away
            | ErrorClass::Broken
            | ErrorClass::Unrecognised
            | ErrorClass::Inconsistent => true,
            ErrorClass::Retry | ErrorClass::Timeout | ErrorClass::Fault | ErrorClass::Taken => false,
        }
    }

    /// The label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            ErrorClass::Retry => "retry",
            ErrorClass::Timeout => "timeout",
            ErrorClass::Unknown => "unknown_outcome",
            ErrorClass::Away => "away",
            ErrorClass::Fault => "fault",
            ErrorClass::Taken => "taken",
            ErrorClass::Broken => "broken",
            ErrorClass::Unrecognised => "unrecognised",
            ErrorClass::Inconsistent => "inconsistent",
        }
    }
}

/// An error of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("ledger ({}): {message}", class.label())]
pub struct LedgerError {
    /// What to do.
    pub class: ErrorClass,
    /// What happened, with the database's own code where it gave one.
    pub message: String,
}
