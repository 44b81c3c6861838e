//! What happens at some time.

use std::time::Duration;

use millrace::core::{Input, LockCall, SpoolWork, Time, Work};
use millrace::order::{CustomerId, Rank};
use millrace::window::Epoch;

use super::super::catalog::Parcel;
use super::super::ledger::Pass;
use super::guard::Check;

#[derive(Debug)]
pub enum Event {
    /// The producer sends an entry; the number is its deduplication id.
    Send(usize, usize),
    Storm,
    Poll {
        boot: u64,
        poll: u64,
        max: u32,
        until: Time,
    },
    Delete {
        boot: u64,
        call: u64,
        payloads: Vec<Parcel>,
    },
    SetVisibility {
        boot: u64,
        call: u64,
        payloads: Vec<Parcel>,
        timeout: Duration,
    },
    Lock {
        boot: u64,
        call: LockCall,
        customers: Vec<CustomerId>,
    },
    Write {
        boot: u64,
        slot: usize,
        work: Work<Parcel>,
    },
    /// A new connection to the ledger is looked over before it is used.
    Check {
        boot: u64,
        slot: usize,
        work: Work<Parcel>,
        check: Check,
    },
    Spool {
        boot: u64,
        slot: usize,
        work: SpoolWork<Parcel>,
    },
    /// An append that nobody waits for any more.
    LateAppend {
        epoch: Epoch,
        orders: Vec<(Rank, Parcel)>,
    },
    /// Somebody begins or ends a window.
    Window,
    /// An operator begins a window.
    Begin,
    /// An operator ends it.
    End,
    /// An operator's command goes on.
    Operate(u64),
    /// A person decides about a customer: true repairs and retries what blocks it, false skips it.
    Decide(CustomerId, bool),
    /// The loop that looks after the drain.
    Tend,
    Zombie(usize),
    Answer {
        boot: u64,
        input: Input<Parcel>,
    },
    /// An instance that stood still goes on.
    Resume(u64),
    /// SIGTERM for everybody.
    Terminate,
}

/// A statement that nobody waits for any more.
#[derive(Debug)]
pub struct Zombie {
    pub work: Work<Parcel>,
    pub pass: Pass,
    pub rows: Vec<CustomerId>,
}
