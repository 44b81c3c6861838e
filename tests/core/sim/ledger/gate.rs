//! The gate of the stand-in, and an operator's steps on it.

use jiff::Timestamp;
use millrace::core::Time;
use millrace::ledger::Gate;
use millrace::window::{Epoch, GateView, Notice, Step};

/// For whom a session writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Live orders.
    Live,
    /// The drain of the backlog under this epoch.
    Drain(Epoch),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LedgerGate {
    pub state: Gate,
    pub epoch: Epoch,
    pub announced: Epoch,
    /// The last time at which live orders could not be written. Only the properties look at it.
    pub shut_at: Option<Time>,
}

impl LedgerGate {
    pub fn new() -> Self {
        Self { state: Gate::Open, epoch: 0, announced: 0, shut_at: None }
    }

    /// As a session reads it.
    pub fn read(&self, pass: Pass) -> Gate {
        match pass {
            _ if self.announced > self.epoch => Gate::Closed,
            Pass::Drain(epoch) if epoch != self.epoch => Gate::Closed,
            _ => self.state,
        }
    }

    /// Whether it lets a write pass. `settled`: it only moves what is in the ledger already.
    pub fn admits(&self, pass: Pass, settled: bool) -> bool {
        match (pass, self.read(pass)) {
            (Pass::Live, Gate::Open) | (Pass::Drain(_), Gate::Draining) => true,
            (Pass::Live, Gate::Draining) => settled,
            _ => false,
        }
    }

    /// I5, said once more, for the moment of the write.
    pub fn check(&self, pass: Pass, settled: bool) {
        let current = self.announced <= self.epoch;
        let fits = match (self.state, pass) {
            (Gate::Open, Pass::Live) => true,
            (Gate::Draining, Pass::Live) => settled,
            (Gate::Draining, Pass::Drain(epoch)) => epoch == self.epoch,
            (Gate::Closed, _) | (Gate::Open, Pass::Drain(_)) => false,
        };
        assert!(current && fits, "I5: {pass:?} writes through {self:?}");
    }

    pub fn view(&self) -> GateView {
        GateView {
            gate: self.state,
            epoch: self.epoch,
            announced: self.announced,
            since: Timestamp::UNIX_EPOCH,
            notice: Notice::default(),
        }
    }

    /// A step of a window; false when it comes too late.
    pub fn step(&mut self, step: Step) -> bool {
        match step {
            Step::Announce(epoch) if self.announced < epoch => self.announced = epoch,
            Step::Close { from, to } if self.epoch == from && from < to => {
                (self.state, self.epoch) = (Gate::Closed, to);
            }
            Step::Grant(epoch) if self.is(Gate::Closed, epoch) => self.state = Gate::Draining,
            Step::Reopen(epoch) if self.is(Gate::Draining, epoch) => self.state = Gate::Open,
            _ => return false,
        }
        true
    }

    fn is(&self, state: Gate, epoch: Epoch) -> bool {
        self.state == state && self.epoch == epoch
    }
}
