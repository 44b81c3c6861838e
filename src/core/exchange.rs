//! What goes into the core and what comes out of it.

use std::time::Duration;

use super::{LockCall, Report};
use crate::backlog::BacklogError;
use crate::inbox::{InboxError, Settled};
use crate::ledger::{CaseKind, CaseVerdict, Found, Gap, Gate, LedgerError, ParkVerdict, Verdict};
use crate::locks::LocksAway;
use crate::order::{CustomerId, Digest, EntryId, Rank};
use crate::outcome::Outcome;
use crate::window::Epoch;

/// An order (or a malformed message) on its way into the core. `P` stands for it; the core never looks inside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arrival<P> {
    /// What the shell knows it by.
    pub payload: P,
    /// Whose line it stands in; nobody's for a malformed message without a group.
    pub customer: Option<CustomerId>,
    /// The name of the entry.
    pub id: EntryId,
    /// What makes two deliveries the same entry.
    pub digest: Digest,
    /// Its place at the source (`gapless`: the sequence, `fifo`: the `SequenceNumber`, `none`: 0).
    pub rank: Rank,
    /// It is no order.
    pub malformed: bool,
    /// The size of its body.
    pub bytes: u32,
}

/// A customer's parked run, loaded from the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Loaded<P> {
    /// Whose it is.
    pub customer: CustomerId,
    /// The last position (mark) that it follows.
    pub upto: Rank,
    /// How many of the customer's orders are parked, these included.
    pub parked: u64,
    /// Ascending by rank.
    pub orders: Vec<Arrival<P>>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<P> {
    /// Nothing but time passed.
    Wake,
    /// A poll ended.
    Received {
        /// Which.
        poll: u64,
        /// What came.
        result: Result<Vec<Arrival<P>>, InboxError>,
    },
    /// A delete or visibility call ended; one answer for each of its payloads.
    Settled {
        /// Which.
        call: u64,
        /// What came.
        result: Result<Vec<Settled>, InboxError>,
    },
    /// A call to the locks ended; one answer for each of its customers (`Release`: any).
    Locked {
        /// Which.
        call: LockCall,
        /// What came.
        result: Result<Vec<bool>, LocksAway>,
    },
    /// A committer is done.
    Wrote {
        /// Which.
        slot: usize,
        /// What came.
        written: Written<P>,
    },
    /// An appender is done.
    Spooled {
        /// Which.
        slot: usize,
        /// What came.
        spooled: Spooled,
    },
    /// The process is to end.
    Shutdown,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action<P> {
    /// Receive messages; answered by [`Input::Received`].
    Receive {
        /// Its number.
        poll: u64,
        /// The most messages.
        max: u32,
        /// How long to wait for the first.
        wait: Duration,
    },
    /// Delete messages; answered by [`Input::Settled`].
    Delete {
        /// Its number.
        call: u64,
        /// At most 10.
        payloads: Vec<P>,
    },
    /// Change the visibility timeout of messages; answered by [`Input::Settled`].
    SetVisibility {
        /// Its number.
        call: u64,
        /// At most 10.
        payloads: Vec<P>,
        /// From now; zero hands them back.
        timeout: Duration,
    },
    /// Call the locks; answered by [`Input::Locked`].
    Lock {
        /// What to do.
        call: LockCall,
        /// For whom.
        customers: Vec<CustomerId>,
    },
    /// Give a committer something to do; answered by [`Input::Wrote`].
    Write {
        /// Which committer.
        slot: usize,
        /// What.
        work: Work<P>,
    },
    /// Give an appender something to do; answered by [`Input::Spooled`].
    Spool {
        /// Which appender.
        slot: usize,
        /// What.
        work: SpoolWork<P>,
    },
    /// A delivery ended.
    Ended {
        /// The delivery.
        payload: P,
        /// How.
        outcome: Outcome,
    },
    /// A parked order was committed; its delivery ended before, as parked.
    Unparked {
        /// The order.
        payload: P,
    },
    /// An entry went to quarantine.
    Quarantined {
        /// The entry.
        payload: P,
        /// Why.
        kind: CaseKind,
    },
    /// An operator should know.
    Alarm(Alarm),
    /// The engine is done. Nothing comes after it.
    Stop(Report),
}

/// Work for a committer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Work<P> {
    /// Ask for the gate.
    Probe,
    /// Commit runs: [`crate::ledger::Session::commit`].
    Commit {
        /// One run a customer.
        runs: Vec<(CustomerId, Vec<(Rank, P)>)>,
        /// They were loaded from the parked orders.
        parked: bool,
        /// An earlier try has an unknown outcome.
        resolve: bool,
    },
    /// Park orders.
    Park(Vec<(Rank, P)>),
    /// Look orders up.
    LookUp(Vec<(Rank, P)>),
    /// Load parked runs.
    Load {
        /// Whose.
        customers: Vec<CustomerId>,
        /// The most orders of each.
        limit: u32,
    },
    /// Put an entry into quarantine.
    Quarantine {
        /// Its place at the source.
        rank: Rank,
        /// The entry.
        payload: P,
        /// Why, in a word.
        kind: CaseKind,
        /// Why, in a sentence; a malformed message knows its own reason.
        reason: Option<String>,
        /// Its customer is to be blocked.
        blocks: bool,
    },
    /// Look for what a crash left behind.
    Sweep {
        /// The most customers.
        limit: u32,
        /// Ask for the gaps too that are older than this.
        gap_after: Option<Duration>,
    },
}

/// What came of [`Work`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written<P> {
    /// The gate.
    Probe(Result<Gate, LedgerError>),
    /// One verdict for each run.
    Commit(Result<Vec<Verdict>, LedgerError>),
    /// One verdict for each order.
    Park(Result<Vec<ParkVerdict>, LedgerError>),
    /// One answer for each order.
    LookUp(Result<Vec<Found>, LedgerError>),
    /// One answer for each customer.
    Load(Result<Vec<Loaded<P>>, LedgerError>),
    /// The verdict.
    Quarantine(Result<CaseVerdict, LedgerError>),
    /// Customers whose parked orders stand next; and the gaps, where they were asked for.
    Sweep(Result<(Vec<CustomerId>, Option<Vec<Gap>>), LedgerError>),
}

impl<P> Written<P> {
    /// Why it failed, if it did.
    #[must_use]
    pub fn error(&self) -> Option<&LedgerError> {
        match self {
            Written::Probe(result) => result.as_ref().err(),
            Written::Commit(result) => result.as_ref().err(),
            Written::Park(result) => result.as_ref().err(),
            Written::LookUp(result) => result.as_ref().err(),
            Written::Load(result) => result.as_ref().err(),
            Written::Quarantine(result) => result.as_ref().err(),
            Written::Sweep(result) => result.as_ref().err(),
        }
    }
}

/// Work for an appender.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SpoolWork<P> {
    /// Look at the backlog's phase.
    Look,
    /// Append orders: [`crate::backlog::Session::append`].
    Append {
        /// The window.
        epoch: Epoch,
        /// Each customer's in source order.
        orders: Vec<(Rank, P)>,
    },
}

/// What came of [`SpoolWork`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spooled {
    /// Under which epoch the backlog takes orders; `None`: it takes none.
    Look(Result<Option<Epoch>, BacklogError>),
    /// Whether it took them.
    Append(Result<Appended, BacklogError>),
}

/// The answer to an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Appended {
    /// All of them are durable.
    All,
    /// None of them: as [`Spooled::Look`].
    Refused(Option<Epoch>),
}

/// What an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// The deployment is broken: the engine holds.
    LedgerBroken(String),
    /// The ledger gave an error that this program does not know: the engine holds.
    LedgerUnrecognised(String),
    /// The queue refuses us.
    InboxRefused(String),
    /// A customer could not be written for so many tries.
    CustomerStuck(CustomerId, u32),
    /// A single order keeps running into timeouts; it is tried alone.
    OrderStalls(EntryId, u32),
    /// The backlog's deployment is broken, or it gave an error that this program does not know.
    BacklogBroken(String),
    /// The ledger's gate is open beside a backlog that is not sealed; the worker holds until a person decides.
    Inconsistent(String),
    /// The locks do not answer; the engine goes on without them.
    LocksAway(String),
    /// A customer's order went to quarantine at its place: nothing of the customer commits until a person decides.
    Blocked(CustomerId),
    /// A number does not come.
    Gap(Gap),
}
