//! One run: up to three cores over one SQS, one set of locks and one ledger; weather; crashes; and the properties.

mod calls;
mod count;
pub mod effect;
mod event;
mod guard;
mod instance;
mod pause;
mod spool;
mod weather;
mod window;
pub mod write;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use millrace::core::{Action, Core, Input, Settings, Time};
use millrace::inbox::InboxErrorClass;
use millrace::outcome::Outcome;

use super::at;
use super::backlog::{Backlog, DrainInbox};
use super::catalog::{Catalog, Parcel};
use super::chance::Chance;
use super::faults::Faults;
use super::ledger::{Ledger, Rates};
use super::locks::Locks;
use super::plan::Plan;
use super::sqs::{DEDUPLICATION, Sqs};
use super::tally::Kind;
use effect::Effects;
pub use event::{Event, Zombie};
pub use instance::Instance;
use window::Operator;

/// From the beginning of a poll to its receive: its wait, and the way.
const POLL: Duration = Duration::from_millis(120);

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
    /// Which faults come, and how often each came.
    pub faults: Faults,
    pub effects: Effects,
    /// What each drain has in memory.
    drains: BTreeMap<u64, DrainInbox>,
    operators: BTreeMap<u64, Operator>,
    next_operator: u64,
    /// Somebody ends the window, and tries again until it is over.
    ending: bool,
    /// Since when the backlog takes no orders, and under which turn.
    sealing: Option<(u64, Time)>,
    pub instances: Vec<Instance>,
    events: BTreeMap<(Time, u64), Event>,
    next_event: u64,
    next_boot: u64,
    zombies: BTreeMap<usize, Zombie>,
    /// Since when no faults come.
    calm_since: Time,
    /// The end of the run: whoever stops is not replaced.
    pub closing: bool,
    ledger_away_until: Time,
    ledger_broken_until: Time,
    ledger_read_only_until: Time,
    locks_away_until: Time,
    sqs_away_until: Time,
    sqs_away: InboxErrorClass,
    backlog_away_until: Time,
    backlog_broken_until: Time,
    /// Everything is told as it happens.
    pub told: bool,
    pub trace: u64,
    pub steps: usize,
}

impl World {
    /// A world of chance.
    pub fn new(plan: Plan) -> Self {
        let mut chance = Chance::new(plan.seed);
        let catalog = Catalog::draw(plan.ordering, plan.customers, plan.orders, plan.planted, &mut chance);
        let mut world = Self::bare(plan, catalog, chance);
        if world.plan.faults {
            let belongs = |kind: Kind| kind.belongs(world.plan.ordering, world.plan.windows);
            world.faults = Faults::draw(belongs, &mut world.chance);
            world.ledger.faults = true;
            world.ledger.rates =
                Rates { locked: world.faults.rate(Kind::RowsLocked), unseen: world.faults.rate(Kind::CopyUnseen) };
            world.event(at(10), Event::Storm);
        }
        let mut send_at = Time::ZERO;
        for (name, entry) in world.catalog.sending.clone().into_iter().enumerate() {
            send_at = send_at.after(world.chance.millis(0, 15));
            world.event(send_at, Event::Send(entry, name));
        }
        if world.plan.windows {
            world.event(at(20), Event::Window);
        }
        world.start();
        world
    }

    /// A world in which nothing happens that is not asked for, before the workers are started.
    pub fn bare(plan: Plan, catalog: Catalog, mut chance: Chance) -> Self {
        let settings = plan.settings();
        let mut world = Self {
            now: Time::ZERO,
            sqs: Sqs::new(plan.ordering, settings.visibility_timeout, settings.hold_max + plan.invisible_more),
            locks: Locks::new(settings.lease),
            ledger: Ledger::new(plan.ordering, chance.permille(500)),
            backlog: Backlog::new(),
            faults: Faults::none(),
            effects: Effects::default(),
            drains: BTreeMap::new(),
            operators: BTreeMap::new(),
            next_operator: 0,
            ending: false,
            sealing: None,
            instances: Vec::new(),
            events: BTreeMap::new(),
            next_event: 0,
            next_boot: 1,
            zombies: BTreeMap::new(),
            calm_since: Time::ZERO,
            closing: false,
            ledger_away_until: Time::ZERO,
            ledger_broken_until: Time::ZERO,
            ledger_read_only_until: Time::ZERO,
            locks_away_until: Time::ZERO,
            sqs_away_until: Time::ZERO,
            sqs_away: InboxErrorClass::Away,
            backlog_away_until: Time::ZERO,
            backlog_broken_until: Time::ZERO,
            told: false,
            trace: 0,
            steps: 0,
            catalog,
            settings,
            chance,
            plan,
        };
        world.ledger.faults = false;
        if world.plan.windows {
            world.event(at(1), Event::Tend);
        }
        world
    }

    /// Starts the workers.
    pub fn start(&mut self) {
        for _ in 0..self.plan.instances {
            self.boot();
        }
    }

    /// Whether this fault comes now.
    fn strikes(&mut self, kind: Kind) -> bool {
        self.faults.strike(kind, &mut self.chance)
    }

    pub fn event(&mut self, at: Time, event: Event) {
        self.next_event += 1;
        self.events.insert((at.max(self.now), self.next_event), event);
    }

    fn soon(&mut self, low: usize, high: usize) -> Time {
        let wait = self.chance.millis(low, high);
        self.now.after(wait)
    }

    /// Starts an instance.
    fn boot(&mut self) {
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
            if self.told {
                eprintln!("{:?} {boot} wants {action:?}", self.now);
            }
            self.counts(boot, &action);
            let asks = name_of(&action).is_none_or(|name| self.effects.asked(name) > 0);
            if asks {
                self.act(index, action);
            }
            if self.falls() {
                return;
            }
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
        let weather = self.faults.on || instance.stopping < Some(self.calm_since);
        // What grew too old in its hands, as when it stood still, comes back by itself alone. It counts from before the poll.
        let too_old = instance.deliveries.iter().filter(|(receipt, end)| {
            **end == Some(Outcome::Returned) && self.sqs.age(**receipt, self.now) + POLL >= self.settings.hold_max
        });
        let explained = at_risk <= too_old.count() as u64;
        assert!(weather || late || explained || instance.had_faults, "{at_risk} at risk without a fault");
        if !self.closing {
            self.boot();
        }
    }

    /// One step of time. False when nothing will happen any more.
    pub fn step(&mut self) -> bool {
        self.steps += 1;
        let event = self.events.first_key_value().map(|(key, _)| key.0);
        let wake = (0..self.instances.len())
            .filter(|i| self.instances[*i].pause.is_none())
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
                if self.told {
                    eprintln!("{at:?} {event:?}");
                }
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
            Event::Send(entry, name) => self.sends(entry, name),
            Event::Storm => self.storm(),
            Event::Poll { boot, poll, max, until } => self.polled(boot, poll, max, until),
            Event::Delete { boot, call, payloads } => self.deletes(boot, call, &payloads),
            Event::SetVisibility { boot, call, payloads, timeout } => self.visible(boot, call, &payloads, timeout),
            Event::Lock { boot, call, customers } => self.locks_asked(boot, call, &customers),
            Event::Write { boot, slot, work } => self.writes(boot, slot, work),
            Event::Check { boot, slot, work, check } => self.checks(boot, slot, work, check),
            Event::Spool { boot, slot, work } => self.spools(boot, slot, work),
            Event::LateAppend { epoch, orders } => {
                self.backlog.append(epoch, &orders, &self.catalog);
            }
            Event::Window => self.window(),
            Event::Begin => self.begin_window(),
            Event::End => self.end_windows(),
            Event::Operate(id) => self.operates(id),
            Event::Decide(name, retries) => self.decides(&name, retries),
            Event::Tend => self.tend(),
            Event::Zombie(id) => self.lay_to_rest(id),
            Event::Answer { boot, input } => self.answered(boot, input),
            Event::Resume(boot) => self.resumes(boot),
            Event::Terminate => self.stops_all(),
        }
    }

    fn sends(&mut self, entry: usize, name: usize) {
        self.sqs.send(entry, name, self.now, &self.catalog, &mut self.faults);
        // (A malformed message is named by SQS, so that sent again it would be another one.)
        if !self.catalog.entries[entry].malformed && self.strikes(Kind::SendReplyLost) {
            let window = usize::try_from(DEDUPLICATION.as_millis()).unwrap();
            let again = self.soon(1, 2 * window);
            self.event(again, Event::Send(entry, name));
        }
    }

    fn answered(&mut self, boot: u64, input: Input<Parcel>) {
        let Some(index) = self.index(boot) else { return };
        if let Some(pause) = &mut self.instances[index].pause {
            pause.waiting.push(input);
            return;
        }
        self.instances[index].answered(&input);
        self.input(boot, input);
    }
}

/// What the shell is asked for, if anything leaves the process by it.
fn name_of(action: &Action<Parcel>) -> Option<&'static str> {
    match action {
        Action::Receive { .. } => Some("receive"),
        Action::Delete { .. } => Some("delete"),
        Action::SetVisibility { .. } => Some("set visibility"),
        Action::Lock { .. } => Some("lock"),
        Action::Write { .. } => Some("write"),
        Action::Spool { .. } => Some("spool"),
        Action::Stop(_) => Some("stop"),
        Action::Ended { .. } | Action::Unparked { .. } | Action::Quarantined { .. } | Action::Alarm(_) => None,
    }
}
