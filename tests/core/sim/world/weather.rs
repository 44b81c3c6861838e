//! Bad weather, and how it clears up.

use millrace::inbox::InboxErrorClass;
use millrace::ledger::Gate;
use millrace::order::CustomerId;

use super::super::ledger::Pass;
use super::super::tally::Kind;
use super::{Event, World};

impl World {
    /// Something bad happens now and then.
    pub fn storm(&mut self) {
        if !self.faults.on {
            return;
        }
        let next = self.soon(20, self.faults.storms_every);
        self.event(next, Event::Storm);
        let kind = self.faults.storms[self.chance.below(self.faults.storms.len())];
        if self.breaks_out(kind) {
            self.faults.tally.note(kind);
        }
    }

    /// Whether it found whom to strike.
    fn breaks_out(&mut self, kind: Kind) -> bool {
        let until = self.soon(5, 600);
        let long = self.soon(200, 3_000);
        match kind {
            Kind::QueueAway => (self.sqs_away_until, self.sqs_away) = (until, InboxErrorClass::Away),
            Kind::QueueThrottled => (self.sqs_away_until, self.sqs_away) = (until, InboxErrorClass::Throttled),
            Kind::QueueRefused => (self.sqs_away_until, self.sqs_away) = (until, InboxErrorClass::Refused),
            Kind::LocksAway => self.locks_away_until = until,
            Kind::LocksFlushed => self.locks.flush(),
            Kind::LedgerAway => self.ledger_away_until = until,
            Kind::LedgerAwayLong => self.ledger_away_until = long,
            Kind::LedgerReadOnly => self.ledger_read_only_until = until,
            Kind::LedgerBroken => self.ledger_broken_until = until,
            Kind::GateToggled => {
                self.ledger.gate.state = if self.ledger.gate.state == Gate::Open { Gate::Closed } else { Gate::Open };
            }
            Kind::BacklogAway => self.backlog_away_until = until,
            Kind::BacklogBroken => self.backlog_broken_until = until,
            Kind::BothAway => (self.ledger_away_until, self.backlog_away_until) = (until, until),
            Kind::PersonDecides => {
                let names: Vec<CustomerId> = self.ledger.customers.keys().cloned().collect();
                for name in names {
                    self.person_decides(&name);
                }
            }
            Kind::Killed | Kind::Terminated | Kind::Paused => return self.strikes_one(kind, false),
            Kind::DrainKilled | Kind::DrainPaused => return self.strikes_one(kind, true),
            _ => unreachable!("{kind:?} is no storm"),
        }
        true
    }

    /// What strikes one instance: a live one, or a drain.
    fn strikes_one(&mut self, kind: Kind, drain: bool) -> bool {
        let standing = |index: &usize| {
            self.is_drain(self.instances[*index].boot) == drain && self.instances[*index].pause.is_none()
        };
        let candidates: Vec<usize> = (0..self.instances.len()).filter(standing).collect();
        if candidates.is_empty() {
            return false;
        }
        let victim = candidates[self.chance.below(candidates.len())];
        match kind {
            Kind::Paused | Kind::DrainPaused => self.pauses(victim),
            Kind::Terminated => self.stops(self.instances[victim].boot),
            _ => {
                // SIGKILL.
                self.instances.remove(victim);
                if !drain {
                    self.boot();
                }
            }
        }
        true
    }

    /// A person decides about a customer, as chance will have it.
    pub fn person_decides(&mut self, name: &CustomerId) {
        if self.now < self.ledger_away_until.max(self.ledger_read_only_until) {
            return;
        }
        if let Some(retried) = self.ledger.decide(name, &mut self.catalog, &mut self.chance) {
            self.faults.tally.note(if retried { Kind::Retried } else { Kind::Skipped });
        }
    }

    /// A person waits until there is something to decide, and decides by a command that is run again when it dies.
    pub fn decides(&mut self, name: &CustomerId, retries: bool) {
        let blocked = self.ledger.customers.get(name).is_some_and(|customer| customer.blocked_by.is_some());
        let mut times = 0;
        if blocked && self.ledger.gate.read(Pass::Live) != Gate::Closed {
            times = self.effects.done(if retries { "retry" } else { "skip" });
            self.effects.kills();
        }
        for _ in 0..times {
            if retries {
                self.ledger.retry(name, &mut self.catalog);
            } else {
                self.ledger.skip(name, &self.catalog);
            }
        }
        if times == 0 {
            let again = self.soon(10, 20);
            self.event(again, Event::Decide(name.clone(), retries));
        }
    }

    /// The weather clears up.
    pub fn calm(&mut self) {
        self.faults.on = false;
        self.calm_since = self.now;
        self.ledger.faults = false;
        self.ledger_away_until = self.now;
        self.ledger_broken_until = self.now;
        self.ledger_read_only_until = self.now;
        self.locks_away_until = self.now;
        self.sqs_away_until = self.now;
        self.resume_all();
        self.rest_all(false);
        if self.plan.windows {
            self.calm_windows();
        } else {
            self.ledger.gate.state = Gate::Open;
        }
    }
}
