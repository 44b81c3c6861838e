//! From a delivery into its customer's lane, and from a lane into the queue for what it needs next.

use std::collections::BTreeSet;

use super::batch::{LooseCase, Suspect};
use super::deliveries::DeliveryNo;
use super::lane::{Held, Lane, Lock, Next, ParkedRun, Place, Step};
use super::time::Time;
use super::{Arrival, Core};
use crate::ledger::CaseKind;
use crate::order::{CustomerId, Ordering};
use crate::outcome::Outcome;

/// Has a lane looked at again at this time, or not any more.
fn set_timer<P>(
    timers: &mut BTreeSet<(Time, CustomerId)>,
    lane: &mut Lane<P>,
    customer: &CustomerId,
    timer: Option<Time>,
) {
    if lane.timer == timer {
        return;
    }
    if let Some(at) = lane.timer.take() {
        timers.remove(&(at, customer.clone()));
    }
    if let Some(at) = timer {
        timers.insert((at, customer.clone()));
    }
    lane.timer = timer;
}

impl<P: Clone> Core<P> {
    pub(super) fn received(&mut self, poll: u64, arrivals: Vec<Arrival<P>>) {
        let Some(polled) = self.flow.received(poll, arrivals.len(), &self.settings) else { return };
        for arrival in arrivals {
            let no = self.deliveries.take(arrival.payload.clone(), arrival.bytes, polled, &self.settings);
            if self.stop.is_some() || self.flow.is_handed_back(poll) {
                // Nothing new is begun: straight back, for another instance, or behind what went back before it.
                self.deliveries.end(no, Outcome::Returned, self.now, &mut self.actions);
            } else {
                self.arrive(arrival, Some(no));
            }
        }
    }

    /// Puts an entry into its lane: a delivery, or (`None`) a parked order that was loaded.
    pub(super) fn arrive(&mut self, arrival: Arrival<P>, delivery: Option<DeliveryNo>) {
        self.arrivals += 1;
        let Arrival { payload, customer, id, digest, rank, malformed, .. } = arrival;
        let parked = delivery.is_none();
        let held = Held { id, digest, payload, malformed, parked, delivery, copies: Vec::new(), fault: None, tries: 0 };
        let held = Box::new(held);
        let ordering = self.settings.ordering;
        // A malformed message stands in a line only where its group says in which (fifo).
        let Some(customer) = customer.filter(|_| !malformed || ordering == Ordering::Fifo) else {
            let kind = CaseKind::Malformed;
            self.cases.push_back(LooseCase { held, rank, kind, reason: None });
            return;
        };
        let spooling = self.spooling();
        let place = (rank, if parked { 0 } else { self.arrivals });
        let lane = self.lanes.of(&customer);
        if !spooling && lane.is_over(ordering, rank) {
            // In `fifo` a parked one stays below the mark until it is judged: its name is known, with another content
            // maybe, and whoever heard that of its commit is gone. Nothing behind it would ever go (L4). In `gapless`
            // the sweep judges it.
            if !parked || ordering == Ordering::Fifo {
                self.suspects.push_back(Suspect { customer, place, held });
            }
            return;
        }
        match (lane.same(rank, &held.id, held.digest), delivery) {
            (Some(same), Some(no)) if same.delivery.is_none() => same.delivery = Some(no),
            (Some(same), Some(no)) => same.copies.push(no),
            // Loaded, and delivered again meanwhile: one is enough, and it goes where parked orders go.
            (Some(_), None) => lane.park_same(place, &held.id, held.digest, self.arrivals),
            (None, _) => {
                lane.make_room(place, self.arrivals);
                lane.orders.insert(place, held);
            }
        }
        self.review(&customer);
    }

    /// Looks at what a lane needs next, and queues it for that. Called whenever something about the lane changed.
    pub(super) fn review(&mut self, customer: &CustomerId) {
        if self.stop.is_some() && self.close_lane(customer) {
            return;
        }
        let spooling = self.spooling();
        let Some(lane) = self.lanes.get_mut(customer) else { return };
        if lane.queued.is_some() {
            // It is asked again when its turn comes.
            return;
        }
        let mut next = lane.next(&self.settings, spooling, self.now);
        let again_at = self.now.after(self.settings.lease);
        if next == Next::Lock && self.leases.unreachable(self.now) {
            lane.lock = Lock::Without { again_at };
            next = lane.next(&self.settings, spooling, self.now);
        }
        if matches!(next, Next::Write(step) if step != Step::Spool)
            && matches!(lane.lock, Lock::Without { again_at } if again_at <= self.now)
            && !self.leases.unreachable(self.now)
        {
            lane.lock = Lock::Without { again_at };
            self.leases.ask(customer.clone());
        }
        let timer = match next {
            Next::Idle => {
                let idle_since = *lane.idle_since.get_or_insert(self.now);
                let at = idle_since.after(self.settings.lock_linger);
                if at <= self.now {
                    self.remove_lane(customer);
                    return;
                }
                Some(at)
            }
            Next::Wait(at) => {
                if at.is_some() && lane.not_before.is_none_or(|before| before <= self.now) {
                    lane.early_since.get_or_insert(self.now);
                }
                at
            }
            Next::Lock => {
                lane.lock = Lock::Asked;
                self.leases.ask(customer.clone());
                None
            }
            Next::Write(step) => {
                lane.queued = Some(step);
                self.ready[step as usize].push_back(customer.clone());
                None
            }
        };
        if next != Next::Idle {
            lane.idle_since = None;
        }
        set_timer(&mut self.timers, lane, customer, timer);
    }

    pub(super) fn remove_lane(&mut self, customer: &CustomerId) {
        let Some(mut lane) = self.lanes.remove(customer) else { return };
        set_timer(&mut self.timers, &mut lane, customer, None);
        if matches!(lane.lock, Lock::Held { .. }) {
            self.leases.release(customer.clone());
        }
    }

    /// Ends an order with all its deliveries. The first delivery gets `outcome`; the copies are duplicates of it
    /// where it was committed.
    pub(super) fn finish(&mut self, held: &Held<P>, outcome: Outcome) {
        let copies = if outcome == Outcome::Committed { Outcome::Duplicate } else { outcome };
        for (index, no) in held.deliveries().enumerate() {
            let outcome = if index == 0 && !held.parked { outcome } else { copies };
            self.deliveries.end(no, outcome, self.now, &mut self.actions);
        }
    }

    /// Sends what the ledger has passed to be looked up. A parked order that nobody delivered needs no answer.
    pub(super) fn suspect(&mut self, customer: &CustomerId, over: Vec<(Place, Box<Held<P>>)>) {
        for (place, held) in over {
            if held.delivery.is_some() {
                self.suspects.push_back(Suspect { customer: customer.clone(), place, held });
            }
        }
    }

    /// Hands everything back that is held: the ledger stays away. A commit whose outcome is unknown keeps its lane
    /// until it is resolved (I11), but not its deliveries.
    pub(super) fn give_back(&mut self) {
        let mut ended: Vec<DeliveryNo> = Vec::new();
        for suspect in self.suspects.drain(..) {
            ended.extend(suspect.held.deliveries());
        }
        for case in self.cases.drain(..) {
            ended.extend(case.held.deliveries());
        }
        for lane in self.lanes.values_mut() {
            for held in lane.orders.values_mut() {
                ended.extend(held.delivery.take());
                ended.append(&mut held.copies);
            }
            if !lane.busy {
                lane.orders.clear();
                lane.doubt();
                lane.parked_run = ParkedRun::None;
                lane.early_since = None;
            }
        }
        ended.sort_unstable();
        for no in ended {
            self.deliveries.end(no, Outcome::Returned, self.now, &mut self.actions);
        }
        self.flow.hand_back();
        for customer in self.lanes.customers() {
            self.review(&customer);
        }
    }
}
