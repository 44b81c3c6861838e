//! What an idle committer does next. It takes what is ready at once; while all are busy the next batch grows.

use std::collections::BTreeMap;

use super::batch::{Batch, Busy, Pending};
use super::lane::{Lane, Next, Place, Step};
use super::{Action, Core, Work};
use crate::ledger::CaseKind;
use crate::order::{CustomerId, EntryId, Ordering, Rank};

/// The most orders of a write while it is not sure that the ledger is back.
const HALF_OPEN_BATCH: usize = 10;

/// The most customers whose parked runs are loaded at once; it bounds what is loaded and not yet committed.
const LOADS_MAX: usize = 50;

/// The kinds of work, taken in turn so that none starves.
const KINDS: usize = 8;

impl<P: Clone> Core<P> {
    pub(super) fn assign(&mut self) {
        while let Some(slot) = self.slots.iter().position(Option::is_none) {
            let busy = self.slots.iter().flatten().count();
            let job = if self.routing.probe(self.now) {
                Busy::Probe
            } else if !self.routing.admits(busy) {
                return;
            } else if let Some(job) = self.choose() {
                job
            } else {
                return;
            };
            let work = self.work(&job);
            self.slots[slot] = Some(job);
            self.begun[slot] = self.now;
            self.actions.push_back(Action::Write { slot, work });
        }
    }

    fn choose(&mut self) -> Option<Busy<P>> {
        if let Some(batch) = self.take_pending() {
            return Some(Busy::Commit(batch));
        }
        if self.stop.is_some() {
            return None;
        }
        for offset in 0..KINDS {
            let kind = (self.turn + offset) % KINDS;
            if let Some(job) = self.choose_kind(kind) {
                self.turn = kind + 1;
                return Some(job);
            }
        }
        self.press_early_orders().then(|| self.choose_park()).flatten()
    }

    fn choose_kind(&mut self, kind: usize) -> Option<Busy<P>> {
        let commit_only = self.stumbles.1 > self.now;
        match kind {
            0 => self.choose_commit(Step::Commit),
            1 => self.choose_commit(Step::CommitParked),
            _ if commit_only => None,
            2 => self.choose_park(),
            3 => self.choose_load(),
            4 => self.choose_quarantine(),
            5 => self.cases.pop_front().map(Busy::Case),
            6 => self.choose_look_up(),
            _ => self.choose_sweep(),
        }
    }

    fn batch_max(&self) -> usize {
        if self.routing.route == super::Route::Direct {
            self.settings.batch_max
        } else {
            self.settings.batch_max.min(HALF_OPEN_BATCH)
        }
    }

    /// How many of `most` orders the pace of a drain lets through; all of them elsewhere.
    fn granted(&mut self, most: usize) -> usize {
        let now = self.now;
        self.pace.as_mut().map_or(most, |pace| pace.grants(most, now))
    }

    fn spend(&mut self, orders: usize, granted: usize) {
        if let Some(pace) = &mut self.pace {
            pace.spend(orders, orders >= granted && granted < self.settings.batch_max);
        }
    }

    /// Commits to be sent again go first: their customers wait for nothing else. A single order that keeps stalling
    /// has one committer at most, so that it cannot take them all.
    fn take_pending(&mut self) -> Option<Batch> {
        let lonely_now = self.slots.iter().flatten().any(|busy| matches!(busy, Busy::Commit(batch) if batch.lonely));
        let due = |pending: &Pending| pending.not_before <= self.now && !(lonely_now && pending.batch.lonely);
        let index = self.pending.iter().position(due)?;
        self.pending.remove(index).map(|pending| pending.batch)
    }

    /// The next lane that still wants `step`. One that wants something else by now is queued for that.
    pub(super) fn next_ready(&mut self, step: Step) -> Option<CustomerId> {
        let spooling = self.spooling();
        while let Some(customer) = self.ready[step as usize].pop_front() {
            let Some(lane) = self.lanes.get_mut(&customer) else { continue };
            if lane.queued != Some(step) {
                continue;
            }
            lane.queued = None;
            if lane.next(&self.settings, spooling, self.now) == Next::Write(step) {
                return Some(customer);
            }
            self.review(&customer);
        }
        None
    }

    /// The lane of a customer that [`Self::next_ready`] named.
    pub(super) fn lane(&mut self, customer: &CustomerId) -> &mut Lane<P> {
        self.lanes.get_mut(customer).expect("a ready customer has a lane")
    }

    fn choose_commit(&mut self, step: Step) -> Option<Busy<P>> {
        if self.ready[step as usize].is_empty() {
            return None;
        }
        // Of one customer no more than so many in a batch, however long its line is (I10).
        let (ordering, run_max) = (self.settings.ordering, self.settings.run_max);
        let batch_max = self.granted(self.batch_max());
        let parked = step == Step::CommitParked;
        let mut runs: Vec<(CustomerId, Vec<Place>)> = Vec::new();
        let mut seen: BTreeMap<EntryId, usize> = BTreeMap::new();
        let mut later = Vec::new();
        let mut count = 0;
        while count < batch_max {
            let Some(customer) = self.next_ready(step) else { break };
            let lane = self.lane(&customer);
            let run = lane.run(ordering, parked, run_max.min(batch_max - count), &mut seen, runs.len());
            if run.is_empty() {
                // Its order_id is in this batch for another customer: one of the two is wrong, the ledger tells.
                later.push(customer);
            } else {
                lane.busy = true;
                count += run.len();
                runs.push((customer, run));
            }
        }
        for customer in later {
            self.review(&customer);
        }
        self.spend(count, batch_max);
        (!runs.is_empty()).then(|| Busy::Commit(Batch::new(runs, parked)))
    }

    fn choose_park(&mut self) -> Option<Busy<P>> {
        let mut orders: Vec<(CustomerId, Place)> = Vec::new();
        let mut seen: BTreeMap<EntryId, CustomerId> = BTreeMap::new();
        let mut later = Vec::new();
        if self.ready[Step::Park as usize].is_empty() {
            return None;
        }
        let most = self.granted(self.settings.batch_max);
        while orders.len() < most {
            let Some(customer) = self.next_ready(Step::Park) else { break };
            let room = most - orders.len();
            let lane = self.lane(&customer);
            lane.unload();
            let places = lane.park_run(&customer, room, &mut seen);
            lane.busy = !places.is_empty();
            orders.extend(places.into_iter().map(|place| (customer.clone(), place)));
            later.push(customer);
        }
        for customer in later {
            self.review(&customer);
        }
        self.spend(orders.len(), most);
        (!orders.is_empty()).then_some(Busy::Park(orders))
    }

    fn choose_load(&mut self) -> Option<Busy<P>> {
        let waiting = self.ready[Step::Commit as usize].len() + self.ready[Step::CommitParked as usize].len();
        if waiting >= self.settings.batch_max {
            return None;
        }
        let mut customers = Vec::new();
        while customers.len() < LOADS_MAX {
            let Some(customer) = self.next_ready(Step::Load) else { break };
            self.lane(&customer).busy = true;
            customers.push(customer);
        }
        (!customers.is_empty()).then_some(Busy::Load(customers))
    }

    fn choose_quarantine(&mut self) -> Option<Busy<P>> {
        loop {
            let customer = self.next_ready(Step::Quarantine)?;
            let ordering = self.settings.ordering;
            let lane = self.lane(&customer);
            if let Some(place) = lane.spoilt_head(ordering) {
                lane.busy = true;
                return Some(Busy::Quarantine(customer, place));
            }
        }
    }

    fn choose_look_up(&mut self) -> Option<Busy<P>> {
        let count = self.suspects.len().min(self.settings.batch_max);
        (count > 0).then(|| Busy::LookUp(self.suspects.drain(..count).collect()))
    }

    /// Without it, what a crash left behind would never come to its end (L1).
    fn choose_sweep(&mut self) -> Option<Busy<P>> {
        if self.sweep_at > self.now {
            return None;
        }
        self.sweep_at = self.now.after(self.settings.sweep);
        // Looking for gaps reads more than the sweep, and they are older than a few sweeps anyway.
        let gaps = self.gaps_at <= self.now;
        if gaps {
            self.gaps_at = self.now.after(self.settings.gap_after / 5);
        }
        Some(Busy::Sweep(gaps))
    }

    /// Memory is full and nothing else is to be done: what is early is parked now instead of a moment later.
    fn press_early_orders(&mut self) -> bool {
        let held = (self.deliveries.len(), self.deliveries.bytes());
        // While a poll is on its way it may bring what they wait for, and there are too many timers to look through at
        // each step.
        let may_come = self.flow.polls() > 0 || self.flow.has_room(&self.settings, held.0, held.1);
        if may_come || self.slots.iter().any(Option::is_some) {
            return false;
        }
        let early: Vec<CustomerId> = self.timers.iter().map(|(_, customer)| customer.clone()).collect();
        for customer in early {
            if let Some(lane) = self.lanes.get_mut(&customer)
                && lane.early_since.is_some()
            {
                lane.pressed = true;
                self.review(&customer);
            }
        }
        !self.ready[Step::Park as usize].is_empty()
    }

    fn work(&self, job: &Busy<P>) -> Work<P> {
        let lane = |customer: &CustomerId| self.lanes.get(customer).expect("a busy lane stays");
        let run = |(customer, run): &(CustomerId, Vec<Place>)| {
            let lane = lane(customer);
            (customer.clone(), run.iter().map(|place| (place.0, lane.at(place).payload.clone())).collect())
        };
        let order = |(customer, place): &(CustomerId, Place)| (place.0, lane(customer).at(place).payload.clone());
        match job {
            Busy::Probe => Work::Probe,
            Busy::Commit(batch) => Work::Commit {
                runs: batch.runs.iter().map(run).collect(),
                parked: batch.parked && self.settings.ordering != Ordering::Gapless,
                resolve: batch.resolve,
            },
            Busy::Park(orders) => Work::Park(orders.iter().map(order).collect()),
            Busy::LookUp(suspects) => {
                Work::LookUp(suspects.iter().map(|suspect| (suspect.place.0, suspect.held.payload.clone())).collect())
            }
            Busy::Load(customers) => Work::Load {
                customers: customers.clone(),
                limit: u32::try_from(self.settings.run_max).unwrap_or(u32::MAX),
            },
            Busy::Quarantine(customer, place) => {
                let held = lane(customer).at(place);
                Work::Quarantine {
                    rank: place.0,
                    payload: held.payload.clone(),
                    kind: if held.malformed { CaseKind::Malformed } else { CaseKind::Poison },
                    reason: held.fault.clone(),
                    blocks: self.settings.ordering != Ordering::None,
                }
            }
            Busy::Case(case) => loose(case.rank, &case.held.payload, case.kind, case.reason.clone()),
            Busy::Sweep(gaps) => {
                Work::Sweep { limit: self.settings.sweep_max, gap_after: gaps.then_some(self.settings.gap_after) }
            }
        }
    }
}

fn loose<P: Clone>(rank: Rank, payload: &P, kind: CaseKind, reason: Option<String>) -> Work<P> {
    Work::Quarantine { rank, payload: payload.clone(), kind, reason, blocks: false }
}
