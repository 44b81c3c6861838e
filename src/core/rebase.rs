//! The origin of time moves to now.

use super::batch::{Batch, Busy};
use super::lane::{Lane, Lock, Place};
use super::time::Time;
use super::{Core, Pace};

impl<P: Clone> Core<P> {
    /// Counts time from now on, and polls and calls from the oldest one on its way (its number becomes 0); forgets how
    /// often in a row something failed, and what is counted for people only; while nothing is written, the kinds of
    /// work take their turns from the first one. Arrivals are counted from the newest in a lane on, not from one that is
    /// looked up meanwhile: of use where no two orders have one place. But for that a core whose back-offs are zero does
    /// the same with and without it, and two that do the same compare equal. So a model checker, which lets any deadline fall due at any
    /// moment, comes to an end.
    pub fn rebase(&mut self) {
        let now = std::mem::replace(&mut self.now, Time::ZERO);
        self.deliveries.rebase(now);
        self.flow.rebase(now);
        self.leases.rebase(now);
        self.routing.rebase(now, self.appenders.iter_mut().flatten().map(|(opened, _)| opened));
        self.lanes.values_mut().for_each(|lane| lane.rebase(now));
        self.timers = self.timers.iter().map(|(at, customer)| (at.from(now), customer.clone())).collect();
        for pending in &mut self.pending {
            pending.not_before = pending.not_before.from(now);
        }
        self.begun.fill(Time::ZERO);
        self.pace = self.settings.pace.map(Pace::new);
        if self.slots.iter().all(Option::is_none) {
            self.turn = 0;
        }
        self.sweep_at = self.sweep_at.from(now);
        self.gaps_at = self.gaps_at.from(now);
        self.stumbles = (0, self.stumbles.1.from(now));
        if let Some(stop) = &mut self.stop {
            stop.deadline = stop.deadline.from(now);
        }
        self.rebase_numbers();
    }

    fn rebase_numbers(&mut self) {
        let places = self.lanes.values().flat_map(|lane| lane.orders.keys());
        let places = places.chain(self.suspects.iter().map(|suspect| &suspect.place));
        self.arrivals = places.map(|(_, arrival): &Place| *arrival).max().unwrap_or_default();
        let slots = self.slots.iter_mut().flatten().filter_map(|busy| match busy {
            Busy::Commit(batch) => Some(batch),
            _ => None,
        });
        let batches: Vec<&mut Batch> = slots.chain(self.pending.iter_mut().map(|pending| &mut pending.batch)).collect();
        let mut since_stall = false;
        for batch in batches {
            batch.tries = 0;
            // Only whether something was committed since it stalled is ever asked.
            batch.progress = u64::from(batch.stalls > 0 && batch.progress == self.progress);
            since_stall |= batch.stalls > 0;
        }
        self.progress = u64::from(since_stall);
    }
}

impl<P> Lane<P> {
    fn rebase(&mut self, now: Time) {
        match &mut self.lock {
            Lock::Wanted | Lock::Asked => {}
            Lock::Elsewhere { since: at } | Lock::Held { until: at } | Lock::Without { again_at: at } => {
                *at = at.from(now);
            }
        }
        for at in [&mut self.early_since, &mut self.idle_since, &mut self.timer] {
            *at = at.map(|at| at.from(now));
        }
        self.not_before = self.not_before.map(|at| at.from(now)).filter(|at| *at > Time::ZERO);
        self.tries = 0;
        for held in self.orders.values_mut() {
            held.tries = held.tries.min(2);
        }
    }
}
