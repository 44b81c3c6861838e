//! What the answers of the locks mean for the lanes.

use super::lane::{Lock, Next};
use super::{Action, Alarm, Core, LockCall};
use crate::locks::LocksAway;
use crate::order::CustomerId;

impl<P: Clone> Core<P> {
    pub(super) fn locked(&mut self, call: LockCall, result: Result<Vec<bool>, LocksAway>) {
        let Some((asked_at, customers)) = self.leases.answered(call) else { return };
        let granted = match result {
            Ok(granted) => granted,
            Err(LocksAway(reason)) => {
                if self.leases.away_since().is_none() {
                    self.actions.push_back(Action::Alarm(Alarm::LocksAway(reason)));
                }
                let waiting = self.leases.went_away(self.now, &self.settings, &mut self.seed);
                self.go_without(customers.into_iter().chain(waiting));
                return;
            }
        };
        self.leases.came_back();
        let until = asked_at.after(self.settings.lease);
        for (customer, granted) in customers.into_iter().zip(granted) {
            match (call, granted) {
                (LockCall::Take, true) => self.set_lock(&customer, Lock::Held { until }),
                (LockCall::Take, false) => self.lock_is_elsewhere(&customer),
                (LockCall::Renew, true) => self.renewed(&customer, Lock::Held { until }),
                // Lost: ask for it anew before the next write.
                (LockCall::Renew, false) => self.renewed(&customer, Lock::Wanted),
                (LockCall::Release, _) => {}
            }
        }
    }

    fn set_lock(&mut self, customer: &CustomerId, lock: Lock) {
        match self.lanes.get_mut(customer) {
            Some(lane) => {
                lane.lock = lock;
                self.review(customer);
            }
            // The lane is gone since: nobody else would give it back.
            None if matches!(lock, Lock::Held { .. }) => self.leases.release(customer.clone()),
            None => {}
        }
    }

    fn renewed(&mut self, customer: &CustomerId, lock: Lock) {
        if let Some(lane) = self.lanes.get_mut(customer)
            && matches!(lane.lock, Lock::Held { .. })
        {
            lane.lock = lock;
        }
    }

    fn lock_is_elsewhere(&mut self, customer: &CustomerId) {
        let Some(lane) = self.lanes.get_mut(customer) else { return };
        let since = match lane.lock {
            Lock::Elsewhere { since } => since,
            // It goes on without anyway.
            Lock::Without { .. } => return,
            _ => self.now,
        };
        lane.lock = Lock::Elsewhere { since };
        self.leases.wait(customer.clone(), self.now, &self.settings);
    }

    fn go_without(&mut self, customers: impl Iterator<Item = CustomerId>) {
        for customer in customers {
            if let Some(lane) = self.lanes.get_mut(&customer)
                && matches!(lane.lock, Lock::Asked | Lock::Elsewhere { .. })
            {
                lane.lock = Lock::Without { again_at: self.now.after(self.settings.lease) };
                self.review(&customer);
            }
        }
    }

    /// Asks again for the locks that are elsewhere, gives up on those that took too long, and renews what is held.
    pub(super) fn tend_locks(&mut self) {
        let waiting = self.leases.round(self.now);
        let (given_up, again): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|customer| {
            self.lanes.get(customer).is_some_and(|lane| match lane.lock {
                Lock::Elsewhere { since } => since.after(self.settings.lock_wait_max) <= self.now,
                _ => false,
            })
        });
        self.go_without(given_up.into_iter());
        for customer in again {
            if self.lanes.get(&customer).is_some_and(|lane| matches!(lane.lock, Lock::Elsewhere { .. })) {
                self.leases.ask(customer);
            }
        }
        if self.leases.renew_at <= self.now {
            let spooling = self.spooling();
            self.leases.renew_at = self.now.after(self.settings.lease / 3);
            let renewed = self.lanes.those(|lane| {
                // A lane without work gives its lock back soon; one with work keeps it.
                let works = || lane.busy || lane.next(&self.settings, spooling, self.now) != Next::Idle;
                matches!(lane.lock, Lock::Held { .. }) && works()
            });
            for customer in renewed {
                self.leases.renew(customer);
            }
        }
    }
}
