//! What the ledger's answers mean.

use super::batch::{Batch, Busy, Pending, Suspect};
use super::lane::{Held, Place};
use super::time::backoff;
use super::{Action, Alarm, Core, Written};
use crate::ledger::{ErrorClass, LedgerError, Verdict};
use crate::order::{CustomerId, Ordering};
use crate::outcome::Outcome;

/// A batch that stalled so often is taken apart even when nothing else was committed meanwhile: perhaps there is
/// nothing else, and all but one of its orders could go on.
const STALLS_TOGETHER: u32 = 8;

const GATE_CLOSED: &str = "the ledger's gate is closed";

impl<P: Clone> Core<P> {
    pub(super) fn wrote(&mut self, slot: usize, written: Written<P>) {
        let Some(job) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        if let (Some(pace), Written::Commit(result)) = (&mut self.pace, &written) {
            match result {
                Ok(_) => pace.committed(self.now.since(self.begun[slot])),
                Err(error) if matches!(error.class, ErrorClass::Fault | ErrorClass::Taken) => {}
                Err(_) => pace.failed(),
            }
        }
        match (job, written) {
            (Busy::Commit(batch), Written::Commit(Ok(verdicts))) => self.committed(batch, verdicts),
            (Busy::Commit(batch), Written::Commit(Err(error))) => self.commit_failed(batch, &error),
            (Busy::Probe, Written::Probe(Ok(gate))) if gate == self.settings.gate => {
                self.routing.half_open(self.deliveries.len() == 0);
            }
            (Busy::Probe, Written::Probe(Ok(_))) => self.gate_closed(),
            (Busy::Probe, Written::Probe(Err(error))) => self.ledger_fails(&error),
            (Busy::Park(orders), Written::Park(result)) => self.parked(&orders, result),
            (Busy::LookUp(suspects), Written::LookUp(result)) => self.looked_up(suspects, result),
            (Busy::Load(customers), Written::Load(result)) => self.loaded(&customers, result),
            (Busy::Quarantine(customer, place), Written::Quarantine(result)) => {
                self.quarantined(&customer, place, result);
            }
            (Busy::Case(case), Written::Quarantine(result)) => self.case_closed(case, result),
            (Busy::Sweep(_), Written::Sweep(Ok((ready, gaps)))) => self.swept(ready, gaps),
            (Busy::Sweep(_), Written::Sweep(Err(error))) => self.stumbled(&error),
            (job, _) => unreachable!("the shell answered other work than it was given: {}", job_name(&job)),
        }
    }

    pub(super) fn hold(&mut self, reason: &str) {
        self.routing.hold(self.now, reason, &self.settings, &mut self.seed);
    }

    /// The ledger said so itself: what the backlog says is meant.
    pub(super) fn gate_closed(&mut self) {
        self.routing.unbar();
        self.hold(GATE_CLOSED);
    }

    /// Something was written, or could have been.
    pub(super) fn went_well(&mut self) {
        self.stumbles.0 = 0;
        self.routing.succeeded();
    }

    fn committed(&mut self, batch: Batch, verdicts: Vec<Verdict>) {
        debug_assert_eq!(batch.runs.len(), verdicts.len(), "one verdict for each run");
        if verdicts.contains(&Verdict::GateClosed) {
            self.gate_closed();
        } else {
            self.went_well();
        }
        for ((customer, places), verdict) in batch.runs.into_iter().zip(verdicts) {
            self.judged(&customer, &places, verdict, batch.parked);
            self.free(&customer);
        }
    }

    fn judged(&mut self, customer: &CustomerId, places: &[Place], verdict: Verdict, parked_batch: bool) {
        let ordering = self.settings.ordering;
        let lane = self.lanes.get_mut(customer).expect("a busy lane stays");
        match verdict {
            Verdict::Committed { upto, parked, known } => {
                self.progress += (places.len() - known.len()) as u64;
                let ended: Vec<(Place, Box<Held<P>>)> =
                    places.iter().filter_map(|place| Some((*place, lane.orders.remove(place)?))).collect();
                let over = lane.advance(ordering, upto);
                lane.blocked = false;
                lane.contested &= parked > 0;
                lane.learn_parked(parked);
                if known.len() < places.len() {
                    lane.tries = 0;
                } else if parked > 0 {
                    // Copies of ended orders: a sweep removes them.
                    lane.tries += 1;
                    self.again_later(customer);
                }
                self.suspect(customer, over);
                for (place, held) in ended {
                    if known.contains(&held.id) {
                        self.suspects.push_back(Suspect { customer: customer.clone(), place, held });
                    } else {
                        if held.parked {
                            self.actions.push_back(Action::Unparked { payload: held.payload.clone() });
                        }
                        self.finish(&held, Outcome::Committed);
                    }
                }
            }
            Verdict::GateClosed => {}
            Verdict::Locked => {
                lane.tries += 1;
                self.again_later(customer);
            }
            Verdict::Behind(upto) => {
                lane.tries = 0;
                let over = lane.advance(ordering, upto);
                self.suspect(customer, over);
            }
            Verdict::Ahead { upto, parked } => {
                lane.upto = Some(upto);
                // It stands next, and yet something goes first: another order is parked for a place of the run.
                lane.contested =
                    ordering == Ordering::Gapless && places.first().is_some_and(|(first, _)| *first == upto + 1);
                // What was loaded may be another order than what is parked now.
                if parked_batch || lane.contested {
                    lane.unload();
                }
                lane.learn_parked(parked);
                if parked_batch {
                    lane.tries += 1;
                    self.again_later(customer);
                }
            }
            Verdict::Blocked => {
                lane.tries = 0;
                lane.blocked = true;
                lane.unload();
            }
        }
    }

    /// A lane has its answer: nothing of it is on its way any more.
    pub(super) fn free(&mut self, customer: &CustomerId) {
        let spooling = self.spooling();
        if let Some(lane) = self.lanes.get_mut(customer) {
            lane.busy = false;
            if spooling {
                lane.forget_ledger();
            }
            lane.prune();
        }
        self.review(customer);
    }

    pub(super) fn release_lanes(&mut self, batch: &Batch) {
        for (customer, _) in &batch.runs {
            self.free(customer);
        }
    }

    /// Tries a lane again after a pause that grows, and says so when it grows too long.
    pub(super) fn again_later(&mut self, customer: &CustomerId) {
        let Some(lane) = self.lanes.get_mut(customer) else { return };
        let (first, longest) = (self.settings.ledger_backoff, self.settings.ledger_backoff_max);
        lane.not_before = Some(self.now.after(backoff(first, longest, lane.tries, &mut self.seed)));
        if lane.tries.is_multiple_of(self.settings.alarm_tries) {
            self.actions.push_back(Action::Alarm(Alarm::CustomerStuck(customer.clone(), lane.tries)));
        }
    }

    fn commit_failed(&mut self, mut batch: Batch, error: &LedgerError) {
        match error.class {
            ErrorClass::Fault | ErrorClass::Taken => {
                // The server answered: nothing was written by this try, and an earlier one would have been found.
                self.went_well();
                batch.resolve = false;
                self.bisect(&batch, error);
            }
            ErrorClass::Unknown => {
                batch.resolve = true;
                self.send_again(batch);
            }
            ErrorClass::Retry | ErrorClass::Timeout => self.stalled(batch),
            ErrorClass::Away | ErrorClass::Broken | ErrorClass::Unrecognised | ErrorClass::Inconsistent => {
                self.ledger_fails(error);
                if batch.resolve {
                    self.send_again(batch);
                } else {
                    self.release_lanes(&batch);
                }
            }
        }
    }

    fn send_again(&mut self, mut batch: Batch) {
        if self.spooling() {
            // The gate is closed for good: whatever came of it, its orders go to the backlog.
            self.release_lanes(&batch);
            return;
        }
        batch.tries += 1;
        let (first, longest) = (self.settings.ledger_backoff, self.settings.ledger_backoff_max);
        // A single order that keeps stalling may be the one that makes the database stall: its pause grows further.
        let longest = if batch.lonely { longest * 15 } else { longest };
        let not_before = self.now.after(backoff(first, longest, batch.tries, &mut self.seed));
        self.pending.push_back(Pending { batch, not_before });
    }

    /// Finds the offender without blaming its neighbours.
    fn bisect(&mut self, batch: &Batch, error: &LedgerError) {
        if self.spooling() {
            // The drain will find the offender.
            self.release_lanes(batch);
            return;
        }
        if let Some(parts) = batch.split() {
            let not_before = self.now;
            self.pending.extend(parts.into_iter().map(|batch| Pending { batch, not_before }));
            return;
        }
        for (customer, places) in &batch.runs {
            let lane = self.lanes.get_mut(customer).expect("a busy lane stays");
            for place in places {
                if error.class == ErrorClass::Taken {
                    // Its order_id may stand for the very same order: look before anybody is blamed.
                    if let Some(held) = lane.orders.remove(place) {
                        self.suspects.push_back(Suspect { customer: customer.clone(), place: *place, held });
                    }
                } else if let Some(held) = lane.orders.get_mut(place) {
                    held.fault = Some(error.message.clone());
                }
            }
            self.free(customer);
        }
    }

    /// A batch that stalls again while others commit is taken apart without blame; a single order is tried alone.
    fn stalled(&mut self, mut batch: Batch) {
        if batch.stalls == 0 {
            batch.progress = self.progress;
        }
        batch.stalls += 1;
        let alone = self.progress == batch.progress && batch.stalls < STALLS_TOGETHER;
        if batch.stalls < 2 || alone {
            self.send_again(batch);
            return;
        }
        if let Some(parts) = batch.split() {
            for part in parts {
                self.send_again(part);
            }
            return;
        }
        batch.lonely = true;
        if batch.stalls == 2 || batch.stalls.is_multiple_of(self.settings.alarm_tries) {
            for (customer, places) in &batch.runs {
                let held = self.lanes.get(customer).and_then(|lane| lane.orders.get(places.first()?));
                if let Some(held) = held {
                    self.actions.push_back(Action::Alarm(Alarm::OrderStalls(held.id.clone(), batch.stalls)));
                }
            }
        }
        self.send_again(batch);
    }

    /// The ledger, not an order, is at fault: hold, and say so where a person has to act.
    fn ledger_fails(&mut self, error: &LedgerError) {
        let message = error.message.clone();
        match error.class {
            ErrorClass::Broken => self.actions.push_back(Action::Alarm(Alarm::LedgerBroken(message))),
            ErrorClass::Inconsistent => {
                self.routing.bar();
                self.actions.push_back(Action::Alarm(Alarm::Inconsistent(message)));
            }
            ErrorClass::Unrecognised | ErrorClass::Fault | ErrorClass::Taken => {
                self.actions.push_back(Action::Alarm(Alarm::LedgerUnrecognised(message)));
            }
            ErrorClass::Retry | ErrorClass::Timeout | ErrorClass::Unknown | ErrorClass::Away => {}
        }
        self.hold(&error.message);
    }

    /// A write other than a commit failed. Each of them may be repeated, so it is: after a pause, or a hold.
    pub(super) fn stumbled(&mut self, error: &LedgerError) {
        self.stumbles.0 += 1;
        let (first, longest) = (self.settings.ledger_backoff, self.settings.ledger_backoff_max);
        self.stumbles.1 = self.now.after(backoff(first, longest, self.stumbles.0, &mut self.seed));
        if !matches!(error.class, ErrorClass::Retry | ErrorClass::Timeout | ErrorClass::Unknown) {
            self.ledger_fails(error);
        }
    }
}

fn job_name<P>(job: &Busy<P>) -> &'static str {
    match job {
        Busy::Probe => "probe",
        Busy::Commit(_) => "commit",
        Busy::Park(_) => "park",
        Busy::LookUp(_) => "look up",
        Busy::Load(_) => "load",
        Busy::Quarantine(..) | Busy::Case(_) => "quarantine",
        Busy::Sweep(_) => "sweep",
    }
}
