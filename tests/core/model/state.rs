//! One state of the model: two workers with the real core, a drain, the stores, the operators, and what is left to
//! go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use millrace::core::{Core, SpoolWork, Work};
use millrace::order::CustomerId;
use millrace::window::{Begin, End, Epoch, Gate, Step};

use super::super::sim::backlog::Backlog;
use super::super::sim::catalog::Parcel;
use super::super::sim::ledger::{Ledger, Pass};

/// Something with its fingerprint, so that a state is compared without looking at what did not change.
#[derive(Debug, Clone)]
pub struct Part<T> {
    value: Arc<T>,
    print: u64,
}

impl<T: Hash + Clone> Part<T> {
    pub fn new(value: T) -> Self {
        Self { print: print(&value), value: Arc::new(value) }
    }

    pub fn get(&self) -> &T {
        &self.value
    }

    /// Changes it.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let value = Arc::make_mut(&mut self.value);
        let result = change(value);
        self.print = print(value);
        result
    }
}

pub fn print(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message {
    Visible,
    /// Received by this worker, or by one that died (`None`), and not visible yet again.
    InFlight(Option<usize>),
    Deleted,
}

/// One process; or the drain in one.
#[derive(Debug, Clone, Hash)]
pub struct Worker {
    pub core: Core<Parcel>,
    /// Of a drain: the window.
    pub epoch: Option<Epoch>,
    /// Polls on their way, by the core's number.
    pub polls: BTreeSet<u64>,
    pub writes: BTreeMap<usize, Work<Parcel>>,
    pub spools: BTreeMap<usize, SpoolWork<Parcel>>,
    /// Deletes on their way, the oldest first, by the core's number.
    pub deletes: BTreeMap<u64, Vec<Parcel>>,
    /// Of a drain: the rows in its memory.
    pub rows: BTreeSet<u64>,
    /// Customers of commits with an unknown outcome (I11).
    pub frozen: BTreeSet<CustomerId>,
    /// The window under which it sends orders to the backlog.
    pub spools_to: Option<Epoch>,
}

impl Worker {
    pub fn pass(&self) -> Pass {
        self.epoch.map_or(Pass::Live, Pass::Drain)
    }
}

/// A statement that nobody waits for any more: it is executed at any later moment, or never.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ghost {
    Write(Pass, Work<Parcel>),
    Append(SpoolWork<Parcel>),
}

/// An operator's command. It may die anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    ToBegin,
    Begin(Begin),
    ToEnd,
    End(End),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operator {
    pub command: Command,
    /// The gate as it has read it: state, epoch, and what is announced. It reads the backlog next.
    pub gate: Option<(Gate, Epoch, Epoch)>,
    /// What it decided to do by what it has read of both.
    pub step: Option<Step>,
}

#[derive(Debug, Clone)]
pub struct State {
    pub workers: [Part<Worker>; 2],
    pub drain: Option<Part<Worker>>,
    pub messages: Vec<Message>,
    pub ledger: Part<Ledger>,
    pub backlog: Part<Backlog>,
    pub ghosts: Vec<Ghost>,
    pub operators: Vec<Operator>,
    /// The poisoned order was repaired.
    pub repaired: bool,
    /// Faults that may still come.
    pub faults: u8,
    /// Windows that may still begin.
    pub begins: u8,
    /// Seals that may still be taken back.
    pub unseals: u8,
    /// The invariant that does not hold.
    pub broken: Option<String>,
    /// Of all that.
    pub print: u64,
}

impl State {
    /// Two workers, and two operators, are the same whichever comes first; then the fingerprint is taken.
    pub fn settle(&mut self) {
        if self.workers[0].print > self.workers[1].print {
            self.workers.swap(0, 1);
            for message in &mut self.messages {
                if let Message::InFlight(Some(by)) = message {
                    *by = 1 - *by;
                }
            }
        }
        self.operators.sort_unstable_by_key(print);
        self.ghosts.sort_unstable_by_key(print);
        let prints = [
            self.workers[0].print,
            self.workers[1].print,
            self.drain.as_ref().map_or(0, |drain| drain.print),
            self.ledger.print,
            self.backlog.print,
        ];
        let left = (self.repaired, self.faults, self.begins, self.unseals);
        self.print = print(&(prints, &self.messages, &self.ghosts, &self.operators, left, &self.broken));
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.print);
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for worker in self.workers.iter().chain(&self.drain) {
            let Worker { core, epoch, polls, writes, spools, deletes, rows, frozen, .. } = worker.get();
            let held: Vec<_> = core.held().collect();
            writeln!(
                f,
                "worker (drain of {epoch:?}): {:?}, held {held:?}, wakes at {:?}",
                core.snapshot(),
                core.wake_at()
            )?;
            writeln!(f, "    {polls:?} {writes:?} {spools:?} {deletes:?} {rows:?} {frozen:?}")?;
        }
        let Self { messages, ledger, backlog, ghosts, operators, .. } = self;
        writeln!(f, "{messages:?}\n{:?}\n{:?}\n{ghosts:?}\n{operators:?}", ledger.get(), backlog.get())?;
        let Self { repaired, faults, begins, unseals, .. } = self;
        writeln!(f, "repaired {repaired}, left: {faults} faults, {begins} begins, {unseals} unseals")
    }
}
