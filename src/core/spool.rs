//! The other way for orders: into the backlog, while a maintenance window is on.
//!
//! A worker spools because the backlog says that it is spooling, and for no other reason: that phase is only reached
//! after the ledger's gate was closed for everybody. By that, a commit of which nobody knows the outcome is over too:
//! either it was in flight when the gate was closed, which waited for it, or it is refused. So it is appended like
//! everything else that is held, and the drain finds out which of the two it was. (One that some network keeps back
//! until the gate is open again is judged then, like any late write: its orders have their ends, or stand next.)

use std::collections::VecDeque;

use super::batch::{LooseCase, Suspect};
use super::exchange::{Appended, SpoolWork, Spooled};
use super::lane::{Place, Step};
use super::{Action, Alarm, Core, Route};
use crate::backlog::{BacklogError, ErrorClass};
use crate::order::CustomerId;
use crate::outcome::Outcome;
use crate::window::Epoch;

const REFUSED: &str = "the ledger is closed, and the backlog takes no orders now";

/// What an appender is doing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum SpoolBusy<P> {
    Look,
    Append {
        /// Of lanes, which are busy meanwhile.
        orders: Vec<(CustomerId, Place)>,
        /// Entries that stand in no lane.
        suspects: Vec<Suspect<P>>,
        cases: Vec<LooseCase<P>>,
    },
}

impl<P: Clone> Core<P> {
    pub(super) fn spooling(&self) -> bool {
        matches!(self.routing.route, Route::Spool { .. })
    }

    /// Gives the appenders what is to be done: a look at the phase, or what is held.
    pub(super) fn assign_appenders(&mut self) {
        while let Some(slot) = self.appenders.iter().position(Option::is_none) {
            let Some((busy, work)) = self.choose_spool_work() else { return };
            self.appenders[slot] = Some((self.routing.opened, busy));
            self.actions.push_back(Action::Spool { slot, work });
        }
    }

    fn choose_spool_work(&mut self) -> Option<(SpoolBusy<P>, SpoolWork<P>)> {
        // One look at a time, and none at the end: what is held goes back.
        let looking = self.appenders.iter().flatten().any(|(_, busy)| matches!(busy, SpoolBusy::Look));
        if !looking && self.stop.is_none() && self.routing.look(self.now, &self.settings) {
            return Some((SpoolBusy::Look, SpoolWork::Look));
        }
        match self.routing.route {
            Route::Spool { epoch, .. } if self.stop.is_none() => self.choose_append(epoch),
            _ => None,
        }
    }

    fn choose_append(&mut self, epoch: Epoch) -> Option<(SpoolBusy<P>, SpoolWork<P>)> {
        let most = self.settings.append_max;
        let count = self.suspects.len().min(most);
        let suspects: Vec<Suspect<P>> = self.suspects.drain(..count).collect();
        let count = self.cases.len().min(most - suspects.len());
        let cases: Vec<LooseCase<P>> = self.cases.drain(..count).collect();
        let mut work: Vec<_> = suspects.iter().map(|suspect| (suspect.place.0, suspect.held.payload.clone())).collect();
        work.extend(cases.iter().map(|case| (case.rank, case.held.payload.clone())));
        let mut orders = Vec::new();
        while work.len() < most {
            let Some(customer) = self.next_ready(Step::Spool) else { break };
            let lane = self.lane(&customer);
            lane.busy = true;
            for (place, held) in lane.orders.iter().take(most - work.len()) {
                work.push((place.0, held.payload.clone()));
                orders.push((customer.clone(), *place));
            }
        }
        (!work.is_empty())
            .then(|| (SpoolBusy::Append { orders, suspects, cases }, SpoolWork::Append { epoch, orders: work }))
    }

    pub(super) fn spooled(&mut self, slot: usize, spooled: Spooled) {
        let Some((opened, job)) = self.appenders.get_mut(slot).and_then(Option::take) else { return };
        match (job, spooled) {
            (SpoolBusy::Look, Spooled::Look(Ok(accepts))) => self.looked(accepts, opened),
            (SpoolBusy::Look, Spooled::Look(Err(error))) => {
                self.backlog_fails(&error);
                self.leave_spool(&error.to_string());
                self.routing.not_spooling();
            }
            (SpoolBusy::Append { orders, suspects, cases }, Spooled::Append(answer)) => {
                let done = match answer {
                    Ok(Appended::All) => true,
                    Ok(Appended::Refused(accepts)) => {
                        self.looked(accepts, opened);
                        false
                    }
                    Err(error) => {
                        self.backlog_fails(&error);
                        self.leave_spool(&error.to_string());
                        false
                    }
                };
                self.appended(&orders, suspects, cases, done);
            }
            (SpoolBusy::Look, _) => unreachable!("the shell answered a look with something else"),
            (SpoolBusy::Append { .. }, _) => unreachable!("the shell answered an append with something else"),
        }
    }

    /// The backlog takes orders under this epoch, or (`None`) it does not, or nobody knows.
    fn looked(&mut self, accepts: Option<Epoch>, opened: u64) {
        let Some(epoch) = accepts else {
            self.leave_spool(REFUSED);
            self.routing.not_spooling();
            return;
        };
        if self.routing.spool(epoch, opened, self.now, &self.settings) {
            self.enter_spool();
        }
    }

    fn leave_spool(&mut self, reason: &str) {
        if self.spooling() {
            self.routing.stop_spooling(self.now, reason, &self.settings, &mut self.seed);
            self.queue_anew();
        }
    }

    /// What every lane needs next has changed.
    fn queue_anew(&mut self) {
        self.ready.iter_mut().for_each(VecDeque::clear);
        for customer in self.lanes.customers() {
            if let Some(lane) = self.lanes.get_mut(&customer) {
                lane.queued = None;
            }
            self.review(&customer);
        }
    }

    /// Everything that is held goes to the backlog from now on, in source order. What was believed of the ledger is
    /// forgotten: it will be another ledger when it is back.
    fn enter_spool(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            for (customer, _) in &pending.batch.runs {
                if let Some(lane) = self.lanes.get_mut(customer) {
                    lane.busy = false;
                }
            }
        }
        for lane in self.lanes.values_mut().filter(|lane| !lane.busy) {
            lane.forget_ledger();
        }
        self.queue_anew();
    }

    fn appended(
        &mut self,
        orders: &[(CustomerId, Place)],
        suspects: Vec<Suspect<P>>,
        cases: Vec<LooseCase<P>>,
        done: bool,
    ) {
        if done {
            self.routing.spooled(self.now, &self.settings);
            for held in suspects.iter().map(|suspect| &suspect.held).chain(cases.iter().map(|case| &case.held)) {
                self.finish(held, Outcome::Spooled);
            }
            for (customer, place) in orders {
                let held = self.lanes.get_mut(customer).and_then(|lane| lane.orders.remove(place));
                if let Some(held) = held {
                    self.finish(&held, Outcome::Spooled);
                }
            }
        } else {
            suspects.into_iter().rev().for_each(|suspect| self.suspects.push_front(suspect));
            cases.into_iter().rev().for_each(|case| self.cases.push_front(case));
        }
        for (customer, _) in orders {
            if self.lanes.get(customer).is_some_and(|lane| lane.busy) {
                self.free(customer);
            }
        }
    }

    fn backlog_fails(&mut self, error: &BacklogError) {
        match error.class {
            ErrorClass::Away => {}
            ErrorClass::Broken | ErrorClass::Unrecognised => {
                self.actions.push_back(Action::Alarm(Alarm::BacklogBroken(error.message.clone())));
            }
        }
    }
}
