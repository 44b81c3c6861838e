//! New connections to the ledger, looked over as the shell does it (`src/engine/guard.rs`): three looks, with any time
//! between them.

use millrace::core::{Input, Work};
use millrace::ledger::{ErrorClass, Gate};
use millrace::window::{Epoch, Phase};

use super::super::ledger::{Pass, error};
use super::super::tally::Kind;
use super::write::fail;
use super::{Event, Parcel, World};

/// What is to be looked at next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    Phase,
    /// The backlog was not sealed, under this epoch.
    Gate(Epoch),
    PhaseAgain(Epoch),
}

impl World {
    /// Whether the connection of this committer is a new one.
    pub fn connects(&self, boot: u64, slot: usize) -> bool {
        let knows_backlog = self.plan.backlog && !self.is_drain(boot);
        knows_backlog && self.index(boot).is_some_and(|index| !self.instances[index].sessions.contains(&slot))
    }

    /// One look. The backlog is asked first; when it does not answer, the ledger's word counts.
    pub fn checks(&mut self, boot: u64, slot: usize, work: Work<Parcel>, check: Check) {
        let sealed = self.now < self.backlog_away_until || self.backlog.phase == Phase::Sealed;
        let next = match check {
            Check::Phase | Check::PhaseAgain(_) if sealed => None,
            Check::Phase => Some(Check::Gate(self.backlog.epoch)),
            Check::Gate(_) if self.now < self.ledger_away_until => {
                let written = fail(&work, error(ErrorClass::Away, "connection refused"));
                return self.answer(boot, Input::Wrote { slot, written });
            }
            Check::Gate(_) if self.ledger.gate.read(Pass::Live) != Gate::Open => None,
            Check::Gate(epoch) => Some(Check::PhaseAgain(epoch)),
            Check::PhaseAgain(epoch) if epoch != self.backlog.epoch => {
                self.faults.tally.note(Kind::NextWindow);
                None
            }
            Check::PhaseAgain(_) => panic!("I4: a new connection finds the gate open beside {:?}", self.backlog),
        };
        let slowly = self.faults.on && self.chance.permille(100);
        let when = self.soon(0, if slowly { 400 } else { 4 });
        if let Some(check) = next {
            self.event(when, Event::Check { boot, slot, work, check });
        } else {
            if let Some(index) = self.index(boot) {
                self.instances[index].sessions.insert(slot);
            }
            self.event(when, Event::Write { boot, slot, work });
        }
    }
}
