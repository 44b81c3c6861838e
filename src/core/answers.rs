//! What the ledger's answers to everything but commits mean: parked, looked up, loaded, quarantined, swept.

use super::batch::{LooseCase, Suspect};
use super::lane::{Held, ParkedRun, Place};
use super::{Action, Alarm, Core, Loaded};
use crate::ledger::{CaseKind, CaseVerdict, Found, Gap, LedgerError, ParkVerdict};
use crate::order::{CustomerId, Ordering, Rank};
use crate::outcome::Outcome;

impl<P: Clone> Core<P> {
    pub(super) fn parked(&mut self, orders: &[(CustomerId, Place)], result: Result<Vec<ParkVerdict>, LedgerError>) {
        let verdicts = match result {
            Ok(verdicts) => verdicts,
            Err(error) => {
                self.stumbled(&error);
                Vec::new()
            }
        };
        if verdicts.contains(&ParkVerdict::GateClosed) {
            self.gate_closed();
        } else if !verdicts.is_empty() {
            self.went_well();
        }
        for ((customer, place), verdict) in orders.iter().zip(verdicts) {
            let lane = self.lanes.get_mut(customer).expect("a busy lane stays");
            match verdict {
                ParkVerdict::Parked => {
                    lane.tries = 0;
                    lane.pressed = false;
                    if let Some(held) = lane.orders.remove(place) {
                        self.finish(&held, Outcome::Parked);
                    }
                }
                ParkVerdict::Taken => {
                    if let Some(held) = lane.orders.remove(place) {
                        self.suspect(customer, vec![(*place, held)]);
                    }
                }
                ParkVerdict::NotEarly | ParkVerdict::Again => {
                    if verdict == ParkVerdict::NotEarly {
                        lane.doubt();
                    }
                    if lane.not_before.is_none_or(|at| at <= self.now) {
                        lane.tries += 1;
                        self.again_later(customer);
                    }
                }
                ParkVerdict::GateClosed => {}
            }
        }
        for (customer, _) in orders {
            self.free(customer);
        }
    }

    pub(super) fn looked_up(&mut self, suspects: Vec<Suspect<P>>, result: Result<Vec<Found>, LedgerError>) {
        let found = match result {
            Ok(found) => found,
            Err(error) => {
                self.stumbled(&error);
                suspects.into_iter().rev().for_each(|suspect| self.suspects.push_front(suspect));
                return;
            }
        };
        self.stumbles.0 = 0;
        for (suspect, found) in suspects.into_iter().zip(found) {
            let Suspect { customer, place, held } = suspect;
            match found {
                Found::Ended => self.finish(&held, Outcome::Duplicate),
                Found::Parked => self.finish(&held, Outcome::Parked),
                Found::Quarantined => self.finish(&held, Outcome::Quarantined),
                Found::Conflict(reason) => self.accuse(held, place.0, CaseKind::Conflict, reason),
                Found::OutOfSequence => {
                    let reason = format!("out of sequence: {} is below the customer's mark", place.0);
                    self.accuse(held, place.0, CaseKind::OutOfSequence, reason);
                }
                Found::Absent => self.unsuspect(&customer, place, held),
            }
        }
    }

    fn accuse(&mut self, held: Box<Held<P>>, rank: Rank, kind: CaseKind, reason: String) {
        self.cases.push_back(LooseCase { held, rank, kind, reason: Some(reason) });
    }

    /// The ledger knows nothing of it: back into its lane, to be judged there again.
    fn unsuspect(&mut self, customer: &CustomerId, place: Place, mut held: Box<Held<P>>) {
        held.parked = false;
        held.tries += 1;
        // The place that it had may be another's by now.
        self.arrivals += 1;
        let place = (place.0, if place.1 == 0 { self.arrivals } else { place.1 });
        let tries = held.tries;
        let lane = self.lanes.of(customer);
        lane.upto = None;
        match lane.same(place.0, &held.id, held.digest) {
            Some(same) => same.copies.extend(held.deliveries()),
            None if held.delivery.is_some() => {
                lane.orders.insert(place, held);
            }
            // Nobody waits for it.
            None => {}
        }
        if tries > 1 {
            lane.tries = tries;
            self.again_later(customer);
        }
        self.review(customer);
    }

    pub(super) fn loaded(&mut self, customers: &[CustomerId], result: Result<Vec<Loaded<P>>, LedgerError>) {
        let runs = match result {
            Ok(runs) => runs,
            Err(error) => {
                self.stumbled(&error);
                Vec::new()
            }
        };
        if !runs.is_empty() {
            self.stumbles.0 = 0;
        }
        for run in runs {
            self.take_run(run);
        }
        for customer in customers {
            self.free(customer);
        }
    }

    fn take_run(&mut self, run: Loaded<P>) {
        let Loaded { customer, upto, parked, orders } = run;
        let Some(lane) = self.lanes.get_mut(&customer) else { return };
        let over = lane.advance(self.settings.ordering, upto);
        // What is parked beyond this run is asked for when the run is committed.
        lane.parked = parked;
        lane.parked_run = ParkedRun::None;
        self.suspect(&customer, over);
        if self.stop.is_none() {
            for order in orders {
                self.arrive(order, None);
            }
        }
        let Some(lane) = self.lanes.get_mut(&customer) else { return };
        if self.settings.ordering != Ordering::Gapless && parked > 0 && !lane.orders.values().any(|held| held.parked) {
            // Parked orders stand before ours, and none of them can be committed: they are copies of ended ones, which
            // a sweep removes, or the customer is blocked, which the next verdict says.
            lane.tries += 1;
            self.again_later(&customer);
        }
    }

    pub(super) fn quarantined(
        &mut self,
        customer: &CustomerId,
        place: Place,
        result: Result<CaseVerdict, LedgerError>,
    ) {
        let lane = self.lanes.get_mut(customer).expect("a busy lane stays");
        match result {
            Ok(CaseVerdict::Quarantined) => {
                lane.blocked = self.settings.ordering != Ordering::None;
                if lane.blocked {
                    self.actions.push_back(Action::Alarm(Alarm::Blocked(customer.clone())));
                }
                if let Some(held) = lane.orders.remove(&place) {
                    let kind = if held.malformed { CaseKind::Malformed } else { CaseKind::Poison };
                    self.actions.push_back(Action::Quarantined { payload: held.payload.clone(), kind });
                    self.finish(&held, Outcome::Quarantined);
                }
                self.went_well();
            }
            Ok(CaseVerdict::NotNext) => {
                // A stale verdict: it is judged anew. It keeps its place, so that nothing passes it.
                if let Some(held) = lane.orders.get_mut(&place) {
                    held.fault = None;
                }
                lane.doubt();
                lane.tries += 1;
                self.again_later(customer);
                self.went_well();
            }
            Ok(CaseVerdict::Blocked) => {
                lane.blocked = true;
                if let Some(held) = lane.orders.get_mut(&place) {
                    held.fault = None;
                }
                lane.unload();
                self.went_well();
            }
            Ok(CaseVerdict::GateClosed) => self.gate_closed(),
            Err(error) => self.stumbled(&error),
        }
        self.free(customer);
    }

    pub(super) fn case_closed(&mut self, case: LooseCase<P>, result: Result<CaseVerdict, LedgerError>) {
        match result {
            Ok(CaseVerdict::Quarantined) => {
                self.actions.push_back(Action::Quarantined { payload: case.held.payload.clone(), kind: case.kind });
                self.finish(&case.held, Outcome::Quarantined);
                self.went_well();
            }
            Ok(CaseVerdict::GateClosed) => {
                self.gate_closed();
                self.cases.push_front(case);
            }
            Ok(CaseVerdict::NotNext | CaseVerdict::Blocked) => {
                unreachable!("a case that blocks nobody does not depend on what stands next")
            }
            Err(error) => {
                self.stumbled(&error);
                self.cases.push_front(case);
            }
        }
    }

    pub(super) fn swept(&mut self, ready: Vec<CustomerId>, gaps: Option<Vec<Gap>>) {
        self.stumbles.0 = 0;
        if let Some(gaps) = gaps {
            for gap in &gaps {
                if !self.gaps.iter().any(|known| known.customer == gap.customer && known.missing == gap.missing) {
                    self.actions.push_back(Action::Alarm(Alarm::Gap(gap.clone())));
                }
            }
            self.gaps = gaps.into_iter().collect();
        }
        if self.stop.is_some() {
            return;
        }
        for customer in ready {
            let lane = self.lanes.of(&customer);
            lane.parked_run = ParkedRun::Wanted;
            lane.blocked = false;
            self.review(&customer);
        }
    }
}
