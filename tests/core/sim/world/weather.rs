//! Bad weather, and how it clears up.

use millrace::core::Input;
use millrace::ledger::Gate;
use millrace::order::CustomerId;

use super::{Event, World};

impl World {
    /// Something bad happens now and then.
    pub fn storm(&mut self) {
        if !self.faults {
            return;
        }
        let next = self.soon(20, 400);
        self.event(next, Event::Storm);
        let until = self.soon(5, 600);
        let live: Vec<usize> =
            (0..self.instances.len()).filter(|index| !self.is_drain(self.instances[*index].boot)).collect();
        let victim = live[self.chance.below(live.len())];
        let kinds = if self.plan.windows { 12 } else { 9 };
        match self.chance.below(kinds) {
            0 => self.ledger_away_until = until,
            1 => self.ledger_broken_until = until,
            2 => self.locks_away_until = until,
            3 => self.sqs_away_until = until,
            4 => self.locks.flush(),
            5 if self.plan.windows => self.backlog_away_until = until,
            9 => self.backlog_broken_until = until,
            10 => self.kill_drain(),
            11 => self.ledger_away_until = self.soon(200, 1_200),
            5 => {
                self.ledger.gate.state = if self.ledger.gate.state == Gate::Open { Gate::Closed } else { Gate::Open };
            }
            6 => {
                // SIGKILL.
                self.instances.remove(victim);
                self.boot();
            }
            7 => {
                let now = self.now;
                let boot = self.instances[victim].boot;
                self.instances[victim].asked_to_stop(now);
                self.input(boot, Input::Shutdown);
            }
            _ => {
                let names: Vec<CustomerId> = self.ledger.customers.keys().cloned().collect();
                for name in names {
                    self.ledger.decide(&name, &mut self.catalog, &mut self.chance);
                }
            }
        }
    }

    /// The weather clears up.
    pub fn calm(&mut self) {
        self.set_faults(false);
        self.ledger_away_until = self.now;
        self.ledger_broken_until = self.now;
        self.locks_away_until = self.now;
        self.sqs_away_until = self.now;
        self.rest_all(false);
        if self.plan.windows {
            self.calm_windows();
        } else {
            self.ledger.gate.state = Gate::Open;
        }
    }
}
