//! The end of a process: finish what has begun, hand the rest back, say what came of it.

use super::time::Time;
use super::{Action, Core};
use crate::order::CustomerId;
use crate::outcome::Outcome;

/// What came of the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Report {
    /// Deliveries that were finished since the shutdown began, and deleted.
    pub finished: u64,
    /// Deliveries that were handed back: visible at once.
    pub returned: u64,
    /// Deliveries whose visibility timeout has to end before they come again.
    pub at_risk: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stop {
    pub deadline: Time,
    finished_before: u64,
    returned_before: u64,
    at_risk_before: u64,
    done: bool,
}

impl Stop {
    pub(super) fn is_done(&self) -> bool {
        self.done
    }
}

impl<P: Clone> Core<P> {
    pub(super) fn begin_stop(&mut self) {
        if self.stop.is_some() {
            return;
        }
        let counts = self.deliveries.counts;
        self.stop = Some(Stop {
            deadline: self.now.after(self.settings.shutdown_budget),
            finished_before: counts.finished,
            returned_before: counts.returned,
            at_risk_before: counts.at_risk,
            done: false,
        });
        self.leases.stop_asking();
        for customer in self.lanes.customers() {
            self.close_lane(&customer);
        }
    }

    /// Hands a lane back, unless a write of it is on its way. Says whether the lane is gone.
    pub(super) fn close_lane(&mut self, customer: &CustomerId) -> bool {
        match self.lanes.get_mut(customer) {
            None => true,
            Some(lane) if lane.busy => false,
            Some(lane) => {
                let orders = std::mem::take(&mut lane.orders);
                for held in orders.values() {
                    self.finish(held, Outcome::Returned);
                }
                self.remove_lane(customer);
                true
            }
        }
    }

    /// Hands back what no write is on its way for. A commit that would have to wait is not waited for; with the
    /// ledger away what is unknown stays unknown, and whoever gets the messages next finds out.
    pub(super) fn abandon(&mut self) {
        if self.stop.is_none() {
            return;
        }
        let loose = self.suspects.drain(..).map(|suspect| suspect.held);
        let loose: Vec<_> = loose.chain(self.cases.drain(..).map(|case| case.held)).collect();
        for held in loose {
            self.finish(&held, Outcome::Returned);
        }
        let admitted = self.routing.admits(0);
        let idle = self.slots.iter().all(Option::is_none);
        for pending in std::mem::take(&mut self.pending) {
            let keep =
                if pending.batch.resolve { admitted || !idle } else { admitted && pending.not_before <= self.now };
            if keep {
                self.pending.push_back(pending);
            } else {
                self.release_lanes(&pending.batch);
            }
        }
    }

    /// Ends the engine when nothing is left to do, or no time.
    pub(super) fn end_stop(&mut self) {
        let Some(stop) = self.stop.as_ref().filter(|stop| !stop.done) else { return };
        let late = stop.deadline <= self.now;
        let done = self.slots.iter().all(Option::is_none)
            && self.appenders.iter().all(Option::is_none)
            && self.pending.is_empty()
            && self.flow.polls() == 0
            && self.deliveries.is_settled()
            && self.leases.is_released();
        if !(done || late) {
            return;
        }
        let counts = self.deliveries.counts;
        let stop = self.stop.as_mut().expect("looked at above");
        stop.done = true;
        let report = Report {
            finished: counts.finished - stop.finished_before,
            returned: counts.returned - stop.returned_before,
            at_risk: counts.at_risk - stop.at_risk_before + self.deliveries.len() as u64,
        };
        self.actions.push_back(Action::Stop(report));
    }
}
