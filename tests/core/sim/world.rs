//! One run: up to three cores over one SQS, one set of locks and one ledger; weather; crashes; and the properties.

mod calls;
mod instance;
mod spool;
mod weather;
mod window;
mod write;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use millrace::core::{Action, Core, Input, LockCall, Settings, SpoolWork, Time, Work};
use millrace::order::{CustomerId, Ordering, Rank};
use millrace::window::Epoch;

use super::at;
use super::backlog::{Backlog, DrainInbox};
use super::catalog::{Catalog, Parcel};
use super::chance::Chance;
use super::ledger::{Ledger, Pass};
use super::locks::Locks;
use super::sqs::Sqs;
use instance::Instance;
use window::Operator;
pub use write::{customers, fail};

/// What is drawn for a run.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub struct Plan {
    pub seed: u64,
    pub ordering: Ordering,
    pub instances: usize,
    pub customers: usize,
    pub orders: usize,
    pub planted: bool,
    pub faults: bool,
    /// Windows come and go.
    pub windows: bool,
    /// The workers know a backlog.
    pub backlog: bool,
}

#[derive(Debug)]
pub enum Event {
    Send(usize),
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
    /// An operator's command goes on.
    Operate(u64),
    /// The loop that looks after the drain.
    Tend,
    Zombie(usize),
    Answer {
        boot: u64,
        input: Input<Parcel>,
    },
}

/// A statement that nobody waits for any more.
#[derive(Debug)]
pub struct Zombie {
    work: Work<Parcel>,
    pass: Pass,
    rows: Vec<CustomerId>,
}

#[derive(Debug)]
pub struct World {
    pub plan: Plan,
    pub chance: Chance,
    pub now: Time,
    pub catalog: Catalog,
    pub settings: Settings,
    pub sqs: Sqs,
    pub locks: Locks,
    pub ledger: Ledger,
    pub backlog: Backlog,
    /// What each drain has in memory.
    drains: BTreeMap<u64, DrainInbox>,
    /// How many drains there were.
    pub drained: usize,
    operators: BTreeMap<u64, Operator>,
    next_operator: u64,
    /// Since when the backlog takes no orders, and under which turn.
    sealing: Option<(u64, Time)>,
    pub instances: Vec<Instance>,
    events: BTreeMap<(Time, u64), Event>,
    next_event: u64,
    next_boot: u64,
    zombies: BTreeMap<usize, Zombie>,
    /// Whether faults still come.
    pub faults: bool,
    /// The end of the run: whoever stops is not replaced.
    pub closing: bool,
    ledger_away_until: Time,
    ledger_broken_until: Time,
    locks_away_until: Time,
    sqs_away_until: Time,
    backlog_away_until: Time,
    backlog_broken_until: Time,
    pub trace: u64,
    pub steps: usize,
}

impl World {
    pub fn new(plan: Plan, settings: Settings) -> Self {
        let mut chance = Chance::new(plan.seed);
        let catalog = Catalog::draw(plan.ordering, plan.customers, plan.orders, plan.planted, &mut chance);
        let mut world = Self {
            now: Time::ZERO,
            sqs: Sqs::new(plan.ordering, settings.visibility_timeout),
            locks: Locks::new(settings.lease),
            ledger: Ledger::new(plan.ordering, chance.permille(500)),
            backlog: Backlog::new(),
            drains: BTreeMap::new(),
            drained: 0,
            operators: BTreeMap::new(),
            next_operator: 0,
            sealing: None,
            instances: Vec::new(),
            events: BTreeMap::new(),
            next_event: 0,
            next_boot: 1,
            zombies: BTreeMap::new(),
            faults: plan.faults,
            closing: false,
            ledger_away_until: Time::ZERO,
            ledger_broken_until: Time::ZERO,
            locks_away_until: Time::ZERO,
            sqs_away_until: Time::ZERO,
            backlog_away_until: Time::ZERO,
            backlog_broken_until: Time::ZERO,
            trace: 0,
            steps: 0,
            catalog,
            settings,
            chance,
            plan,
        };
        world.set_faults(world.plan.faults);
        let mut send_at = Time::ZERO;
        for entry in world.catalog.sending.clone() {
            send_at = send_at.after(world.chance.millis(0, 15));
            world.event(send_at, Event::Send(entry));
        }
        if world.faults {
            world.event(at(10), Event::Storm);
        }
        if world.plan.windows {
            world.event(at(20), Event::Window);
            world.event(at(1), Event::Tend);
        }
        for _ in 0..world.plan.instances {
            world.boot();
        }
        world
    }

    pub fn set_faults(&mut self, faults: bool) {
        self.faults = faults;
        self.sqs.faults = faults;
        self.ledger.faults = faults;
    }

    fn event(&mut self, at: Time, event: Event) {
        self.next_event += 1;
        self.events.insert((at.max(self.now), self.next_event), event);
    }

    fn soon(&mut self, low: usize, high: usize) -> Time {
        let wait = self.chance.millis(low, high);
        self.now.after(wait)
    }

    /// Starts an instance.
    pub fn boot(&mut self) {
        let boot = self.next_boot;
        self.next_boot += 1;
        let mut settings = self.settings.clone();
        if self.plan.backlog {
            settings.appenders = self.chance.between(1, 2);
        }
        let core = Core::new(settings.clone(), self.chance.next());
        self.instances.push(Instance::new(boot, core, self.now, settings));
        self.input(boot, Input::Wake);
    }

    fn index(&self, boot: u64) -> Option<usize> {
        self.instances.iter().position(|instance| instance.boot == boot)
    }

    /// Hands a core its input, and carries out what it wants.
    pub fn input(&mut self, boot: u64, input: Input<Parcel>) {
        let Some(index) = self.index(boot) else { return };
        let now = self.local(index);
        let instance = &mut self.instances[index];
        instance.core.handle(now, input);
        instance.thaw(&self.ledger);
        let mut hasher = DefaultHasher::new();
        self.trace.hash(&mut hasher);
        while let Some(action) = self.instances[index].core.poll() {
            action.hash(&mut hasher);
            self.act(index, action);
        }
        self.trace = hasher.finish();
        let instance = &self.instances[index];
        if let Some(wake) = instance.core.wake_at() {
            assert!(wake > now, "it wants to be woken in the past");
        }
        instance.check_bounds();
        if instance.stopped {
            self.ended(index);
        }
    }

    /// The time as the instance counts it: from its own start.
    fn local(&self, index: usize) -> Time {
        Time::at(self.now.since(self.instances[index].started))
    }

    fn act(&mut self, index: usize, action: Action<Parcel>) {
        let boot = self.instances[index].boot;
        self.instances[index].note(&action, (&self.ledger, &self.backlog), &self.catalog, self.now);
        match action {
            Action::Receive { poll, max, wait } => {
                let (when, until) = (self.soon(0, 10), self.now.after(wait));
                self.event(when, Event::Poll { boot, poll, max, until });
            }
            Action::Delete { call, payloads } => {
                let when = self.soon(0, 10);
                self.event(when, Event::Delete { boot, call, payloads });
            }
            Action::SetVisibility { call, payloads, timeout } => {
                let when = self.soon(0, 10);
                self.event(when, Event::SetVisibility { boot, call, payloads, timeout });
            }
            Action::Lock { call, customers } => {
                let when = self.soon(0, 3);
                self.event(when, Event::Lock { boot, call, customers });
            }
            Action::Write { slot, work } => {
                let when = self.soon(0, 8);
                self.event(when, Event::Write { boot, slot, work });
            }
            Action::Spool { slot, work } => {
                let when = self.soon(0, 8);
                self.event(when, Event::Spool { boot, slot, work });
            }
            Action::Ended { .. }
            | Action::Unparked { .. }
            | Action::Quarantined { .. }
            | Action::Alarm(_)
            | Action::Stop(_) => {}
        }
    }

    fn ended(&mut self, index: usize) {
        let instance = self.instances.remove(index);
        if self.is_drain(instance.boot) {
            // What it held is in the backlog.
            return;
        }
        let at_risk = instance.report.expect("a stopped instance has reported").at_risk;
        let late = self.now.since(instance.stopping.expect("it was asked to")) >= self.settings.shutdown_budget;
        let stranded = instance
            .deliveries
            .keys()
            .filter(|receipt| !instance.given_up.contains(receipt) && self.sqs.in_flight(**receipt, self.now));
        let stranded = stranded.count() as u64;
        // A call that failed may have been carried out, so there may be less at risk than reported, but not more.
        assert!(late || stranded <= at_risk, "{stranded} stranded, {at_risk} reported at risk");
        assert!(self.faults || late || at_risk == 0 || instance.had_faults, "{at_risk} at risk without a fault");
        if !self.closing {
            self.boot();
        }
    }

    /// One step of time. False when nothing will happen any more.
    pub fn step(&mut self) -> bool {
        self.steps += 1;
        let event = self.events.first_key_value().map(|(key, _)| key.0);
        let wake = (0..self.instances.len())
            .filter_map(|i| {
                let at = self.instances[i].core.wake_at()?;
                Some((self.instances[i].started.after(at.since(Time::ZERO)), self.instances[i].boot))
            })
            .min();
        match (event, wake) {
            (None, None) => return false,
            (Some(at), wake) if wake.is_none_or(|(wake, _)| at <= wake) => {
                self.now = at;
                let (_, event) = self.events.pop_first().unwrap();
                self.happen(event);
            }
            (_, Some((at, boot))) => {
                self.now = self.now.max(at);
                self.input(boot, Input::Wake);
            }
            (Some(_), None) => unreachable!("taken above"),
        }
        self.check_window();
        true
    }

    pub fn run_until(&mut self, end: Time) {
        while self.now < end && self.step() {}
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Send(entry) => self.sqs.send(entry, &self.catalog),
            Event::Storm => self.storm(),
            Event::Poll { boot, poll, max, until } => self.polled(boot, poll, max, until),
            Event::Delete { boot, call, payloads } => self.deletes(boot, call, &payloads),
            Event::SetVisibility { boot, call, payloads, timeout } => self.visible(boot, call, &payloads, timeout),
            Event::Lock { boot, call, customers } => self.locks_asked(boot, call, &customers),
            Event::Write { boot, slot, work } => self.writes(boot, slot, work),
            Event::Spool { boot, slot, work } => self.spools(boot, slot, work),
            Event::LateAppend { epoch, orders } => {
                self.backlog.append(epoch, &orders, &self.catalog);
            }
            Event::Window => self.window(),
            Event::Operate(id) => self.operates(id),
            Event::Tend => self.tend(),
            Event::Zombie(id) => {
                self.lay_to_rest(id);
            }
            Event::Answer { boot, input } => {
                if let Some(index) = self.index(boot) {
                    self.instances[index].answered(&input);
                    self.input(boot, input);
                }
            }
        }
    }
}
