//! The backlog: where orders are accepted while the ledger is closed, in a database of its own. This file is the
//! promise; `backlog/` has two ways to keep it.
//!
//! What always holds, whoever calls and however often (I3, I4, I6 in ARCHITECTURE.md):
//!
//! - Orders are appended only while the backlog is spooling under the caller's epoch, in the same transaction as that
//!   check: all of a call or none. An answer names every order.
//! - The same `order_id` with the same digest is one row; with another digest it is another row, judged by the drain.
//! - It is sealed only when it is empty, and sealed is final until the next window.
//! - Every call may be repeated; repeating it changes nothing more. So no error here is worse than "not now".

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::order::{CustomerId, Entry, Rank};
use crate::window::{Epoch, Notice, PhaseView};

pub mod any;
pub mod postgres;
pub mod sqlite;
mod words;

pub use any::{AnyBacklog, open};

/// Opens sessions.
pub trait Backlog: Clone + Send + Sync + 'static {
    /// One connection.
    type Session: Session;

    /// Opens a connection that is proven to be the writer, of the schema that this program needs, under a deadline of
    /// its own.
    ///
    /// # Errors
    ///
    /// [`ErrorClass::Away`] when there is none to be had; [`ErrorClass::Broken`] when the schema does not fit.
    fn connect(&self) -> impl Future<Output = Result<Self::Session, BacklogError>> + Send;

    /// Brings the schema up to date; says how many steps were taken. Safe beside running workers of the version
    /// before, and by two operators at once.
    fn migrate(&self) -> impl Future<Output = Result<usize, BacklogError>> + Send;
}

/// One connection to the backlog. After any error it must be dropped. Every call has a client-side timeout of its own.
///
/// # Cancel safety
///
/// None: a call that was begun is awaited to its end.
pub trait Session: Send + 'static {
    /// Reads the phase, and by that proves that the backlog answers.
    fn phase(&mut self) -> impl Future<Output = Result<PhaseView, BacklogError>> + Send;

    /// Appends orders, in their order, if the backlog is spooling under `epoch` and neither a seal nor another window
    /// is announced.
    fn append(&mut self, epoch: Epoch, orders: &[Spooled])
    -> impl Future<Output = Result<Append, BacklogError>> + Send;

    /// How much there is. Cheap, however many rows there are.
    fn depth(&mut self) -> impl Future<Output = Result<Depth, BacklogError>> + Send;

    /// Reads orders for the drain: customers in the order of their names (byte by byte) after `read.after`, each
    /// customer's next `read.share` orders above its floor, ascending by rank, then by arrival; at most `read.limit` in
    /// all. What is nobody's comes behind the last name. An empty answer means the end of the names: go on from the
    /// beginning.
    fn read(&mut self, read: &Read) -> impl Future<Output = Result<Vec<Row>, BacklogError>> + Send;

    /// Removes rows whose orders are durable in the ledger. Rows that are gone already do no harm.
    fn remove(&mut self, rows: &[i64]) -> impl Future<Output = Result<(), BacklogError>> + Send;

    /// Takes the drain lease, or renews it, and leaves word of the drain. One owner at a time, by the database's clock.
    fn lease(&mut self, claim: &Claim) -> impl Future<Output = Result<Lease, BacklogError>> + Send;

    /// Gives the drain lease back, if `owner` has it.
    fn release(&mut self, owner: &str) -> impl Future<Output = Result<(), BacklogError>> + Send;

    /// Who drains, and how it goes. None when nobody does.
    fn drainer(&mut self) -> impl Future<Output = Result<Option<Drainer>, BacklogError>> + Send;

    /// [`crate::window::Step::StartSpooling`]. Announced first by itself, so that it waits only for appends in flight.
    /// False: the backlog is at this epoch or a later one already.
    fn start_spooling(
        &mut self,
        epoch: Epoch,
        notice: &Notice,
    ) -> impl Future<Output = Result<bool, BacklogError>> + Send;

    /// [`crate::window::Step::AnnounceSeal`]. False: it comes too late.
    fn announce_seal(&mut self, epoch: Epoch, turn: u64) -> impl Future<Output = Result<bool, BacklogError>> + Send;

    /// [`crate::window::Step::Seal`]. False: it comes too late.
    fn seal(&mut self, epoch: Epoch, turn: u64) -> impl Future<Output = Result<bool, BacklogError>> + Send;

    /// Sealing, or an announced seal, goes back to spooling under a new turn, if `owner` has the drain lease.
    /// False: it has not, or there is nothing to take back.
    fn unseal(&mut self, epoch: Epoch, owner: &str) -> impl Future<Output = Result<bool, BacklogError>> + Send;

    /// [`crate::window::Step::Sealed`]: the phase's row is locked first, then the rows are looked at with a new
    /// snapshot. False: rows are left, or it is not sealing under this epoch.
    fn sealed(&mut self, epoch: Epoch) -> impl Future<Output = Result<bool, BacklogError>> + Send;
}

/// An order for the backlog, or a message that is none: whatever was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooled {
    /// Its place at the source: the sequence (`gapless`), the `SequenceNumber` (`fifo`), 0 (`none`).
    pub rank: Rank,
    /// What it is. The digest makes two deliveries the same row.
    pub entry: Arc<Entry>,
    /// SQS's name of the message.
    pub message_id: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent_at_ms: Option<i64>,
}

/// The answer to an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Append {
    /// All of them are durable: one answer for each, in the order in which they were asked.
    Spooled(Vec<Kept>),
    /// Nothing was appended: this is the phase.
    Refused(PhaseView),
}

/// The answer to one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    /// It is durable now.
    New,
    /// It was there already.
    Known,
}

/// How much there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// Rows now.
    pub rows: u64,
    /// Rows ever appended; with the time between two looks this is the arrival rate.
    pub appended: u64,
    /// Rows ever removed; with the time between two looks this is the drain rate.
    pub removed: u64,
    /// When the row that was appended first, of those that are left, was appended.
    pub oldest: Option<Timestamp>,
    /// The database's clock, for the age of the oldest.
    pub now: Timestamp,
}

/// What the drain wants to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// Customers after this name; empty: from the beginning.
    pub after: String,
    /// Of these customers only rows above this (rank, row), because those below are in memory. Each once; the empty name
    /// stands for what is nobody's.
    pub floors: Vec<(CustomerId, Rank, i64)>,
    /// The most rows of one customer.
    pub share: u32,
    /// The most rows.
    pub limit: u32,
    /// The most bytes of bodies, after the first row.
    pub bytes_max: u32,
    /// This customer alone, whatever `after` says.
    pub only: Option<CustomerId>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number, which grows with arrival and is never used again.
    pub row: i64,
    /// Whose it is; none for a malformed message that names nobody.
    pub customer: Option<CustomerId>,
    /// Its place at the source.
    pub rank: Rank,
    /// Whether it was no order when it was spooled.
    pub malformed: bool,
    /// SQS's name of the message.
    pub message_id: String,
    /// The message body as it came.
    pub body: String,
    /// When it was sent, in milliseconds since 1970.
    pub sent_at_ms: Option<i64>,
}

/// Who wants to drain, or goes on draining.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// One boot of one worker.
    pub owner: String,
    /// For how long.
    pub lease: Duration,
    /// How it goes.
    pub progress: Progress,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lease {
    /// The claimant has it.
    Held,
    /// Another one has it.
    Elsewhere,
}

/// Who drains.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drainer {
    /// Which worker.
    pub owner: String,
    /// Until when, by the database's clock. In the past when nobody drains.
    pub until: Timestamp,
    /// How it goes.
    pub progress: Progress,
}

/// How the drain goes, as its owner says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The rate that the pace allows now, in orders a second.
    pub allowed_per_second: f64,
    /// How long a commit took lately (the slowest of twenty), in seconds.
    pub commit_seconds: f64,
    /// What limits it.
    pub limited_by: Option<Limit>,
}

/// What limits the drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The database answers too slowly for more.
    DatabaseLatency,
    /// `maintenance.rate_max`.
    Ceiling,
    /// What is left belongs to few customers, and one customer's orders go one after another.
    HotCustomer,
    /// The ledger does not answer, or is not draining.
    LedgerAway,
    /// It is still growing towards its ceiling.
    RampUp,
    /// Nothing: it waits for orders.
    Empty,
}

/// What the caller does about an error. Every call may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// It cannot be reached, takes no writes, was too slow, or the call was rolled back; or nobody knows: hold, and
    /// ask again.
    Away,
    /// The deployment is broken (a table, a column, a privilege is missing): hold and alarm.
    Broken,
    /// A code that this program does not know: hold and alarm.
    Unrecognised,
}

impl ErrorClass {
    /// The label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            ErrorClass::Away => "away",
            ErrorClass::Broken => "broken",
            ErrorClass::Unrecognised => "unrecognised",
        }
    }
}

/// An error of the backlog.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("backlog ({}): {message}", class.label())]
pub struct BacklogError {
    /// What to do.
    pub class: ErrorClass,
    /// What happened, with the database's own code where it gave one.
    pub message: String,
}
