//! Operators, who take the steps of a window over what they read a while ago, and the loop that keeps drains running.

use std::time::Duration;

use millrace::core::{Core, Input, PaceSettings, Settings};
use millrace::ledger::Gate;
use millrace::window::{Begin, End, GateView, Next, Phase, PhaseView, Step};

use super::super::backlog::DrainInbox;
use super::super::catalog::MESSAGE_BYTES;
use super::super::ledger::Pass;
use super::super::ms;
use super::super::tally::Kind;
use super::instance::Instance;
use super::{Event, World};

/// How long a drain keeps its lease without renewing it.
const DRAIN_LEASE: Duration = ms(200);

/// A command at work. It may die anywhere, and another one is run then.
#[derive(Debug)]
pub struct Operator {
    command: Command,
    gate: Option<GateView>,
    phase: Option<PhaseView>,
}

/// What an operator runs, and how far it is.
#[derive(Debug, Clone, Copy)]
enum Command {
    ToBegin,
    Begin(Begin),
    ToEnd,
    End(End),
}

/// Whether a command goes on.
#[derive(PartialEq)]
enum Turn {
    On,
    Over,
}

impl World {
    /// Somebody begins or ends a window.
    pub fn window(&mut self) {
        if !self.faults.on {
            return;
        }
        let next = self.soon(20, 500);
        self.event(next, Event::Window);
        if self.operators.len() < 2 {
            let begin = if self.ledger.gate.state == Gate::Open { 700 } else { 200 };
            let command = if self.chance.permille(begin) { Command::ToBegin } else { Command::ToEnd };
            self.operate(command);
        }
    }

    fn operate(&mut self, command: Command) {
        let id = self.next_operator;
        self.next_operator += 1;
        self.operators.insert(id, Operator { command, gate: None, phase: None });
        let when = self.soon(0, 10);
        self.event(when, Event::Operate(id));
    }

    pub fn begin_window(&mut self) {
        self.operate(Command::ToBegin);
    }

    /// The window is ended for good.
    pub fn end_windows(&mut self) {
        self.ending = true;
        self.operate(Command::ToEnd);
    }

    /// One thing that a command does: a look at one of the stores, or a step.
    pub fn operates(&mut self, id: u64) {
        let Some(operator) = self.operators.remove(&id) else { return };
        if self.strikes(Kind::OperatorDied) {
            return;
        }
        let again = match operator.command {
            Command::ToBegin | Command::Begin(_) => Command::ToBegin,
            Command::ToEnd | Command::End(_) => Command::ToEnd,
        };
        let (operator, turn) = self.goes_on(operator);
        if self.effects.kills() {
            self.operate(again);
        } else if turn == Turn::On {
            self.operators.insert(id, operator);
            let when = self.soon(0, 25);
            self.event(when, Event::Operate(id));
        } else if self.ending && self.operators.is_empty() && !self.is_open() {
            self.operate(Command::ToEnd);
        }
    }

    /// No window is on.
    pub fn is_open(&self) -> bool {
        let gate = &self.ledger.gate;
        gate.state == Gate::Open && gate.announced == gate.epoch && self.backlog.phase == Phase::Sealed
    }

    fn goes_on(&mut self, mut operator: Operator) -> (Operator, Turn) {
        let (Some(gate), Some(phase)) = (&operator.gate, &operator.phase) else {
            // In any order, and with any time between them.
            if operator.phase.is_some() || (operator.gate.is_none() && self.chance.permille(500)) {
                operator.gate = (self.now >= self.ledger_away_until).then(|| self.ledger.gate.view());
            } else {
                operator.phase = (self.now >= self.backlog_away_until).then(|| self.backlog.view());
            }
            return (operator, Turn::On);
        };
        let little_left = self.backlog.rows.len() <= self.chance.below(8);
        let next = match operator.command {
            Command::ToBegin => {
                operator.command = Command::Begin(Begin::new(gate, phase));
                return (operator, Turn::On);
            }
            Command::ToEnd => {
                operator.command = Command::End(End::new(gate));
                return (operator, Turn::On);
            }
            Command::Begin(begin) => begin.next(gate, phase),
            Command::End(end) => end.next(gate, phase, little_left),
        };
        let began = matches!(operator.command, Command::Begin(_));
        (operator.gate, operator.phase) = (None, None);
        match next {
            Next::Take(step) => self.takes(step),
            Next::Wait => {}
            Next::Done => {
                if !began {
                    self.faults.tally.note(Kind::Windows);
                }
                if began && self.strikes(Kind::ServerStopped) {
                    // What the window is for: the server is stopped. What it was doing is over by that.
                    self.rest_all(true);
                    self.ledger_away_until = self.soon(50, 900);
                }
                return (operator, Turn::Over);
            }
            // Overtaken; or it takes what it read apart for inconsistent. What holds at one moment never is.
            Next::Stop(_) => {
                let (gate, phase) = (self.ledger.gate.view(), self.backlog.view());
                let next = End::new(&gate).next(&gate, &phase, true);
                assert!(!matches!(next, Next::Stop(_)), "{next:?}");
                return (operator, Turn::Over);
            }
        }
        (operator, Turn::On)
    }

    /// Takes a step, if its store can be reached. Nobody looks at the answer: it is read again.
    fn takes(&mut self, step: Step) {
        match step {
            Step::Announce(_) | Step::Close { .. } | Step::Grant(_) | Step::Reopen(_) => {
                if self.now < self.ledger_away_until.max(self.ledger_read_only_until) {
                    return;
                }
                if !matches!(step, Step::Announce(_)) {
                    let held = self.zombies.values().any(|zombie| !zombie.rows.is_empty());
                    if held && self.chance.permille(400) {
                        // The lock timeout.
                        return;
                    }
                    // It waits for the writes in flight.
                    self.rest_all(true);
                }
                for _ in 0..self.effects.done(name_of(step)) {
                    self.ledger.gate.step(step);
                }
            }
            Step::StartSpooling(_) | Step::AnnounceSeal { .. } | Step::Seal { .. } | Step::Sealed(_) => {
                if self.now < self.backlog_away_until {
                    return;
                }
                if let Step::StartSpooling(epoch) = step
                    && self.strikes(Kind::AnnouncerDied)
                {
                    return self.backlog.announce_window(epoch);
                }
                for _ in 0..self.effects.done(name_of(step)) {
                    if self.backlog.step(step) && matches!(step, Step::Seal { .. }) {
                        self.faults.tally.note(Kind::Seals);
                    }
                }
            }
        }
    }

    /// Starts, stops and unseals, as the loop of every worker does.
    pub fn tend(&mut self) {
        if self.closing {
            return;
        }
        let next = self.soon(5, 40);
        self.event(next, Event::Tend);
        if self.now < self.backlog_away_until {
            return;
        }
        let view = self.backlog.view();
        let drains: Vec<u64> = self.instances.iter().map(|i| i.boot).filter(|boot| self.is_drain(*boot)).collect();
        for boot in &drains {
            let over = view.phase == Phase::Sealed || self.drains[boot].epoch != view.epoch;
            let lost = self.backlog.lease != Some(*boot);
            // Sometimes nobody tells it in time, and it drains on through seal and reopen.
            if (over || lost) && !self.strikes(Kind::DrainsOn) {
                self.stops(*boot);
            }
        }
        self.take_seal_back(&view);
        let epoch = view.epoch;
        let reachable = self.now >= self.ledger_away_until.max(self.ledger_read_only_until);
        let granted = reachable && self.ledger.gate.read(Pass::Drain(epoch)) == Gate::Draining;
        if view.phase == Phase::Sealed || !granted {
            return;
        }
        let alive = self.backlog.lease.is_some_and(|owner| {
            drains.contains(&owner)
                && self.drains[&owner].epoch == epoch
                && !self.is_stopping(owner)
                && !self.lost_its_lease(owner)
        });
        // Now and then a lease is lost under a drain that works.
        if !alive || self.strikes(Kind::LeaseStolen) {
            // Taken again by the same worker it is the same lease.
            let taken = self.effects.done("lease") > 0;
            if taken {
                self.boot_drain(epoch);
            }
            self.falls();
        }
    }

    /// It stood still for longer than the lease lasts.
    fn lost_its_lease(&self, boot: u64) -> bool {
        let pause = self.index(boot).and_then(|index| self.instances[index].pause.as_ref());
        pause.is_some_and(|pause| self.now.since(pause.since) > DRAIN_LEASE)
    }

    fn take_seal_back(&mut self, view: &PhaseView) {
        if view.accepts() || view.phase == Phase::Sealed {
            self.sealing = None;
            return;
        }
        let now = self.now;
        let (_, since) = *self.sealing.filter(|(turn, _)| *turn == view.turn).get_or_insert((view.turn, now));
        self.sealing = Some((view.turn, since));
        let limit = if self.faults.on { ms(100) } else { ms(1_000) };
        if now.since(since) >= limit
            && let Some(owner) = self.backlog.lease
        {
            for _ in 0..self.effects.done("unseal") {
                if self.backlog.unseal(view.epoch, owner) {
                    self.faults.tally.note(Kind::Unseals);
                }
            }
            self.falls();
        }
    }

    fn is_stopping(&self, boot: u64) -> bool {
        self.index(boot).is_some_and(|index| self.instances[index].stopping.is_some())
    }

    pub fn is_drain(&self, boot: u64) -> bool {
        self.drains.contains_key(&boot)
    }

    pub fn pass(&self, boot: u64) -> Pass {
        self.drains.get(&boot).map_or(Pass::Live, |inbox| Pass::Drain(inbox.epoch))
    }

    pub fn stops(&mut self, boot: u64) {
        let now = self.now;
        // Who stands still is told later, or never.
        if let Some(index) = self.index(boot).filter(|index| self.instances[*index].pause.is_none()) {
            self.instances[index].asked_to_stop(now);
            self.input(boot, Input::Shutdown);
        }
    }

    pub fn stops_all(&mut self) {
        for boot in self.instances.iter().map(|instance| instance.boot).collect::<Vec<_>>() {
            self.stops(boot);
        }
    }

    fn boot_drain(&mut self, epoch: u64) {
        let boot = self.next_boot;
        self.next_boot += 1;
        let settings = self.drain_settings();
        let core = Core::new(settings.clone(), self.chance.next());
        self.drains.insert(boot, DrainInbox::new(epoch));
        self.backlog.lease = Some(boot);
        self.faults.tally.note(Kind::Drains);
        self.instances.push(Instance::new(boot, core, self.now, settings));
        self.input(boot, Input::Wake);
    }

    /// Whether the ledger or the backlog has it (I3).
    pub fn is_durable(&self, entry: usize) -> bool {
        self.ledger.has(&self.catalog, entry) || self.backlog.has(&self.catalog, entry)
    }

    /// As `Settings::of_drain` makes them.
    fn drain_settings(&mut self) -> Settings {
        let call_max = self.chance.between(5, 30);
        let receive_bytes = call_max as u64 * u64::from(MESSAGE_BYTES);
        Settings {
            wait: ms(30),
            receive_max: u32::try_from(call_max).unwrap(),
            receive_bytes,
            bytes_max: self.settings.bytes_max + receive_bytes,
            call_max,
            polls_max: 1,
            visibility_timeout: ms(1_000_000_000),
            hold_max: ms(1_000_000_000),
            calls_max: 1,
            early_wait: self.settings.early_wait.min(ms(30)),
            messages_max: self.settings.messages_max + call_max,
            gate: Gate::Draining,
            appenders: 0,
            pace: Some(PaceSettings { rate_max: 4_000, rate_min: 50, commit_target: ms(15) }),
            ..self.settings.clone()
        }
    }

    /// The end of the bad weather for the window: a seal that waits is given its time.
    pub fn calm_windows(&mut self) {
        self.backlog_away_until = self.now;
        self.backlog_broken_until = self.now;
        self.end_windows();
    }

    /// Statements that nobody waits for end now; of those that hold `rows` alone, if so asked.
    pub fn rest_all(&mut self, rows: bool) {
        let held = |zombie: &super::Zombie| !rows || !zombie.rows.is_empty();
        let ids: Vec<usize> = self.zombies.iter().filter(|(_, zombie)| held(zombie)).map(|(id, _)| *id).collect();
        for id in ids {
            self.lay_to_rest(id);
        }
    }

    /// I4, after every step.
    pub fn check_window(&mut self) {
        let gate = &self.ledger.gate;
        if gate.state != Gate::Open || gate.announced > gate.epoch {
            self.ledger.gate.shut_at = Some(self.now);
        }
        if self.plan.windows && self.ledger.gate.state == Gate::Open {
            let (phase, rows) = (self.backlog.phase, self.backlog.rows.len());
            assert!(phase == Phase::Sealed && rows == 0, "I4: the gate is open beside {phase:?} with {rows} rows");
            assert_eq!(self.backlog.epoch, self.ledger.gate.epoch, "I4: sealed under another epoch");
        }
    }
}

fn name_of(step: Step) -> &'static str {
    match step {
        Step::Announce(_) => "announce",
        Step::Close { .. } => "close",
        Step::StartSpooling(_) => "start spooling",
        Step::Grant(_) => "grant",
        Step::AnnounceSeal { .. } => "announce seal",
        Step::Seal { .. } => "seal",
        Step::Sealed(_) => "sealed",
        Step::Reopen(_) => "reopen",
    }
}
