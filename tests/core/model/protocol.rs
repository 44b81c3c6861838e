//! The model: what may happen in a state, and what state it leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use millrace::core::{Core, Settings, Time};
use millrace::order::{CustomerId, Ordering};
use stateright::{Model, Property};

use super::super::sim::backlog::Backlog;
use super::super::sim::catalog::{Catalog, Parcel};
use super::super::sim::faults::Faults;
use super::super::sim::ledger::Ledger;
use super::super::sim::sqs::Sqs;
use super::reach::Edges;
use super::state::{Message, Part, State, Worker};
use super::{Seen, bounds};

/// What is explored.
#[derive(Debug, Clone)]
pub struct Setup {
    pub ordering: Ordering,
    /// How many orders each customer has.
    pub customers: Vec<usize>,
    /// The first customer's first order fails by its own fault until a person repairs it.
    pub poison: bool,
    /// How many faults may come together.
    pub faults: u8,
    /// How many windows may begin.
    pub begins: u8,
    /// How many operators there are at once.
    pub operators: usize,
    /// How many seals may be taken back.
    pub unseals: u8,
    /// How many messages one receive may bring.
    pub receive_max: usize,
    pub committers: usize,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let orders = self.customers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ");
        write!(f, "{}, {orders} orders, {} faults", self.ordering, self.faults)?;
        for (what, there) in [("poison", self.poison), ("two committers", self.committers == 2)] {
            if there {
                write!(f, ", {what}")?;
            }
        }
        if self.begins > 0 {
            write!(f, ", {} windows, {} operators, {} unseals", self.begins, self.operators, self.unseals)?;
        }
        Ok(())
    }
}

/// What may go wrong with a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It fails, and is not executed.
    Away,
    /// Its answer is lost; it may be executed, at any later moment.
    LostAnswer,
    /// A commit does not see the parked copies of its orders.
    OldSnapshot,
    /// A commit is rolled back by a timeout.
    Timeout,
}

/// A worker, or the drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Worker(usize),
    Drain,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// A poll brings these messages.
    Receive(usize, Vec<usize>),
    /// A poll of the drain brings these rows.
    Read(Vec<u64>),
    /// A statement of a slot ends, well or by a fault.
    Write(Who, usize, Option<Fault>),
    Spool(usize, usize, Option<Fault>),
    /// A delete is executed, or not, and its answer comes, or not.
    Delete(Who, bool, bool),
    /// The next deadline is due.
    Wake(Who),
    /// A process dies; its statements in flight may still be executed, at any later moment.
    Crash(Who),
    /// A message becomes visible: nobody holds it any more, or a heartbeat was lost, or the holder stood still.
    Expire(usize),
    /// A deleted message comes again.
    Redeliver(usize),
    /// A statement that nobody waits for is executed.
    Ghost(usize),
    StartDrain,
    /// A drain whose window is over ends. There is one at a time: a second one beside it is the simulator's.
    StopDrain,
    Unseal,
    BeginWindow,
    EndWindow,
    /// An operator reads the gate, later the backlog, and decides what to do.
    ReadGate(usize),
    ReadBacklog(usize),
    /// And does it.
    Step(usize),
    /// A command dies.
    Die(usize),
    Retry(CustomerId),
    Skip(CustomerId),
}

pub struct Protocol {
    pub setup: Setup,
    pub settings: Settings,
    /// As it is until the poisoned order is repaired, and afterwards.
    catalogs: [Catalog; 2],
    /// What was sent; only looked at.
    pub sqs: Sqs,
    pub edges: Edges,
    /// What happened at all.
    pub seen: Mutex<Seen>,
}

impl Protocol {
    pub fn new(setup: Setup) -> Self {
        let mut catalog = Catalog { ordering: setup.ordering, entries: Vec::new(), sending: Vec::new() };
        for (customer, orders) in setup.customers.iter().enumerate() {
            let name = CustomerId::new(format!("c{customer}"));
            for sequence in 1..=*orders {
                let id = format!("o-{customer}-{sequence}");
                let entry = catalog.add(Some(name.clone()), &id, 0, sequence as u128);
                catalog.sending.push(entry);
            }
        }
        if setup.poison {
            (catalog.entries[0].poison, catalog.entries[0].was_poison) = (true, true);
        }
        let settings = bounds(&setup);
        let mut sqs = Sqs::new(setup.ordering, settings.visibility_timeout, settings.hold_max);
        for entry in &catalog.sending {
            sqs.send(*entry, *entry, Time::ZERO, &catalog, &mut Faults::none());
        }
        let mut repaired = catalog.clone();
        repaired.entries.iter_mut().for_each(|entry| entry.poison = false);
        Self { setup, settings, catalogs: [catalog, repaired], sqs, edges: Edges::default(), seen: Mutex::default() }
    }

    pub fn catalog(&self, state: &State) -> &Catalog {
        &self.catalogs[usize::from(state.repaired)]
    }

    /// What is delivered of a message. A message has one receipt: one that came again keeps it, and deletes with it
    /// succeed, which is the most that SQS allows.
    pub fn parcel(&self, message: usize) -> Parcel {
        let sent = &self.sqs.messages[message];
        Parcel { entry: sent.entry, rank: sent.rank, receipt: message as u64 + 1 }
    }

    fn first(&self) -> State {
        let mut backlog = Backlog::new();
        // Whoever takes a seal back holds the lease then.
        backlog.lease = Some(0);
        let ledger = Part::new(Ledger { faults: false, ..Ledger::new(self.setup.ordering, false) });
        let blank = Part::new(self.boot(None));
        let mut state = State {
            workers: [blank.clone(), blank],
            drain: None,
            messages: vec![Message::Visible; self.sqs.messages.len()],
            ledger,
            backlog: Part::new(backlog),
            ghosts: Vec::new(),
            operators: Vec::new(),
            repaired: false,
            faults: self.setup.faults,
            begins: self.setup.begins,
            unseals: self.setup.unseals,
            broken: None,
            print: 0,
        };
        for who in [Who::Worker(0), Who::Worker(1)] {
            self.wakes_up(&mut state, who);
        }
        state.settle();
        state
    }

    /// A process that has not begun.
    pub fn boot(&self, epoch: Option<u64>) -> Worker {
        let mut settings = self.settings.clone();
        if epoch.is_some() {
            settings = super::bounds_of_drain(&settings);
        }
        Worker {
            core: Core::new(settings, 0),
            epoch,
            polls: BTreeSet::new(),
            writes: BTreeMap::new(),
            spools: BTreeMap::new(),
            deletes: BTreeMap::new(),
            rows: BTreeSet::new(),
            frozen: BTreeSet::new(),
            spools_to: None,
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_none() {
            self.offer(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let fault = is_fault(last, &action);
        state.faults -= u8::from(fault);
        // The stand-ins and the core panic where an invariant does not hold.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.take(&mut state, &action);
            self.check(&state)
        }));
        state.broken = match outcome {
            Ok(broken) => broken,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                Some(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
            }
        };
        state.settle();
        if state.print == last.print {
            return None;
        }
        self.seen.lock().unwrap().action(&action);
        self.edges.add(last.print, state.print, fault, self.is_finished(&state));
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the invariants hold", |_, state: &State| state.broken.is_none()),
            Property::sometimes("everything is finished", |model: &Protocol, state: &State| model.is_finished(state)),
        ]
    }
}

/// Whether an action is a fault.
fn is_fault(state: &State, action: &Action) -> bool {
    match action {
        Action::Write(_, _, fault) | Action::Spool(_, _, fault) => fault.is_some(),
        Action::Delete(_, executed, answered) => !executed || !answered,
        Action::Expire(message) => matches!(state.messages[*message], Message::InFlight(Some(_))),
        Action::Crash(_) | Action::Redeliver(_) => true,
        _ => false,
    }
}
