//! The pure core: it decides, the shell acts.
//!
//! Lanes, batches, locks, retries, the route, visibility deadlines and the shutdown are decided here, without a
//! clock, randomness or I/O: inputs and the time go in ([`Core::handle`]), actions come out ([`Core::poll`]), and
//! [`Core::wake_at`] says when it wants to be called without an input. The same inputs give the same actions.
//!
//! What always holds (numbers as in ARCHITECTURE.md):
//!
//! - One write a lane at a time; after an unknown commit nothing of its customers starts until it is resolved (I11).
//! - A lane's orders go to the ledger in order, and nothing passes an order without an end (I2, I8).
//! - A delivery ends once, in an [`Outcome`](crate::outcome::Outcome); it is deleted only behind a durable answer (I3).
//! - Only an order's own fault, met alone and at its place, sends it to quarantine (I7).
//! - What is held is bounded, and at the bound nothing more is received (I12).

use std::collections::{BTreeSet, VecDeque};

use crate::inbox::{InboxError, InboxErrorClass};
use crate::ledger::Gap;
use crate::order::CustomerId;

mod answers;
mod arrivals;
mod assign;
mod batch;
mod deliveries;
mod exchange;
mod flow;
mod lane;
mod lanes;
mod leases;
mod locking;
mod pace;
mod rebase;
mod route;
mod settings;
mod snapshot;
mod spool;
mod stop;
mod time;
mod verdicts;

use batch::{Busy, LooseCase, Pending, Suspect};
use deliveries::Deliveries;
pub use exchange::{Action, Alarm, Appended, Arrival, Input, Loaded, SpoolWork, Spooled, Work, Written};
use flow::Flow;
use lanes::Lanes;
use leases::Leases;
pub use leases::LockCall;
use pace::Pace;
pub use pace::{PaceSeen, PaceSettings};
use route::Routing;
pub use route::{Probe, Route};
pub use settings::Settings;
pub use snapshot::Snapshot;
use spool::SpoolBusy;
pub use stop::Report;
use stop::Stop;
pub use time::Time;

/// The core of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Core<P> {
    settings: Settings,
    now: Time,
    seed: u64,
    actions: VecDeque<Action<P>>,
    deliveries: Deliveries<P>,
    flow: Flow,
    leases: Leases,
    routing: Routing,
    lanes: Lanes<P>,
    /// When a lane is to be looked at again.
    timers: BTreeSet<(Time, CustomerId)>,
    /// Lanes that want something of the ledger, one queue for each [`lane::Step`].
    ready: [VecDeque<CustomerId>; 6],
    suspects: VecDeque<Suspect<P>>,
    cases: VecDeque<LooseCase<P>>,
    pending: VecDeque<Pending>,
    /// The committers.
    slots: Vec<Option<Busy<P>>>,
    /// When each committer's job began.
    begun: Vec<Time>,
    /// What each appender does, and what [`Routing::opened`] was when it began.
    appenders: Vec<Option<(u64, SpoolBusy<P>)>>,
    /// Of a drain.
    pace: Option<Pace>,
    /// Which kind of work goes first next time.
    turn: usize,
    /// Orders committed so far.
    progress: u64,
    arrivals: u64,
    sweep_at: Time,
    /// The gaps that are known: each is reported once.
    gaps: BTreeSet<Gap>,
    gaps_at: Time,
    /// Writes other than commits failed so often in a row; none before this time.
    stumbles: (u32, Time),
    stop: Option<Stop>,
}

impl<P: Clone> Core<P> {
    /// A core that holds nothing. `seed` varies its jitter.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            now: Time::ZERO,
            seed,
            actions: VecDeque::new(),
            deliveries: Deliveries::new(),
            flow: Flow::new(),
            leases: Leases::new(&settings),
            routing: Routing::new(&settings),
            lanes: Lanes::new(),
            timers: BTreeSet::new(),
            ready: Default::default(),
            suspects: VecDeque::new(),
            cases: VecDeque::new(),
            pending: VecDeque::new(),
            slots: (0..settings.committers).map(|_| None).collect(),
            begun: vec![Time::ZERO; settings.committers],
            appenders: (0..settings.appenders).map(|_| None).collect(),
            pace: settings.pace.map(Pace::new),
            turn: 0,
            progress: 0,
            arrivals: 0,
            sweep_at: Time::ZERO,
            gaps: BTreeSet::new(),
            gaps_at: Time::ZERO,
            stumbles: (0, Time::ZERO),
            stop: None,
            settings,
        }
    }

    /// Takes what happened at `now`.
    pub fn handle(&mut self, now: Time, input: Input<P>) {
        if self.stop.as_ref().is_some_and(Stop::is_done) {
            return;
        }
        self.now = self.now.max(now);
        match input {
            Input::Wake => {}
            Input::Received { poll, result: Ok(arrivals) } => self.received(poll, arrivals),
            Input::Received { poll, result: Err(error) } => {
                self.inbox_failed(&error);
                self.flow.failed(poll, &self.settings, self.now, &mut self.seed);
            }
            Input::Settled { call, result } => {
                if let Err(error) = &result {
                    self.inbox_failed(error);
                }
                self.deliveries.answered(call, result, &self.settings, self.now, &mut self.seed);
            }
            Input::Locked { call, result } => self.locked(call, result),
            Input::Wrote { slot, written } => self.wrote(slot, written),
            Input::Spooled { slot, spooled } => self.spooled(slot, spooled),
            Input::Shutdown => self.begin_stop(),
        }
        self.pump();
    }

    /// What is to be done now, in order. None until the next input or the time of [`Self::wake_at`].
    pub fn poll(&mut self) -> Option<Action<P>> {
        self.actions.pop_front()
    }

    /// When the core wants an [`Input::Wake`] if nothing else happens.
    #[must_use]
    pub fn wake_at(&self) -> Option<Time> {
        if self.stop.as_ref().is_some_and(Stop::is_done) {
            return None;
        }
        // What is due already waits for an input, because everything else was done at once.
        [
            self.timers.first().map(|(at, _)| *at),
            self.deliveries.wake_at(&self.settings, self.stop.is_some()),
            self.flow.wake_at(self.now),
            Some(self.leases.wake_at()),
            self.routing.wake_at(&self.settings),
            self.pace.as_ref().filter(|_| self.routing.admits(0)).and_then(Pace::wake_at),
            self.pending.iter().map(|pending| pending.not_before).filter(|at| *at > self.now).min(),
            Some(self.stumbles.1),
            Some(self.sweep_at),
            self.stop.as_ref().map(|stop| stop.deadline),
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > self.now)
        .min()
    }

    /// Does everything that is due.
    fn pump(&mut self) {
        while let Some((at, customer)) = self.timers.first().filter(|(at, _)| *at <= self.now).cloned() {
            self.timers.remove(&(at, customer.clone()));
            if let Some(lane) = self.lanes.get_mut(&customer) {
                lane.timer = None;
            }
            self.review(&customer);
        }
        self.tend_locks();
        if self.routing.gives_back(self.now, &self.settings) {
            self.give_back();
        }
        self.abandon();
        self.assign_appenders();
        self.assign();
        if self.stop.is_none() && self.routing.receives() && self.deliveries.keep_up(&self.settings) {
            let held = (self.deliveries.len(), self.deliveries.bytes());
            self.flow.pump(&self.settings, self.now, held, &mut self.actions);
        }
        self.leases.pump(self.now, &mut self.actions);
        let flush = self.stop.is_some();
        self.deliveries.pump(&self.settings, self.now, flush, &mut self.actions);
        self.end_stop();
    }

    fn inbox_failed(&mut self, error: &InboxError) {
        if error.class == InboxErrorClass::Refused {
            self.actions.push_back(Action::Alarm(Alarm::InboxRefused(error.message.clone())));
        }
    }
}
