//! The locks: asked for, renewed and released in batches; one call of each kind at a time, so that calls grow with
//! the load instead of multiplying.

use std::collections::{BTreeSet, VecDeque};

use super::time::{Time, backoff};
use super::{Action, Settings};
use crate::locks::MAX_CUSTOMERS_A_CALL;
use crate::order::CustomerId;

/// What a call to the locks does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockCall {
    /// Takes locks.
    Take,
    /// Renews locks.
    Renew,
    /// Releases locks.
    Release,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leases {
    take: VecDeque<CustomerId>,
    renew: VecDeque<CustomerId>,
    release: BTreeSet<CustomerId>,
    /// Customers whose lock is elsewhere, asked for again at `retry_at` in one go.
    pub elsewhere: Vec<CustomerId>,
    retry_at: Time,
    /// The calls on their way, with when they began: take, renew, release.
    on_way: [Option<(Time, Vec<CustomerId>)>; 3],
    /// While the locks are away nothing is asked before this time.
    away: Option<Away>,
    pub renew_at: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Away {
    since: Time,
    retry_at: Time,
    failures: u32,
}

impl Leases {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            take: VecDeque::new(),
            renew: VecDeque::new(),
            release: BTreeSet::new(),
            elsewhere: Vec::new(),
            retry_at: Time::ZERO,
            on_way: [None, None, None],
            away: None,
            renew_at: Time::ZERO.after(settings.lease / 3),
        }
    }

    /// Since when the locks are away.
    pub(super) fn away_since(&self) -> Option<Time> {
        self.away.map(|away| away.since)
    }

    /// Whether it makes no sense to ask now.
    pub(super) fn unreachable(&self, now: Time) -> bool {
        self.away.is_some_and(|away| now < away.retry_at)
    }

    pub(super) fn ask(&mut self, customer: CustomerId) {
        // A release that comes after the take would give away what was just taken.
        self.release.remove(&customer);
        self.take.push_back(customer);
    }

    pub(super) fn renew(&mut self, customer: CustomerId) {
        self.renew.push_back(customer);
    }

    pub(super) fn release(&mut self, customer: CustomerId) {
        self.release.insert(customer);
    }

    /// Puts a customer whose lock is elsewhere on the list for the next round.
    pub(super) fn wait(&mut self, customer: CustomerId, now: Time, settings: &Settings) {
        if self.elsewhere.is_empty() {
            self.retry_at = now.after(settings.lock_retry);
        }
        self.elsewhere.push(customer);
    }

    /// The customers that wait, when it is time to look after them.
    pub(super) fn round(&mut self, now: Time) -> Vec<CustomerId> {
        if self.elsewhere.is_empty() || now < self.retry_at { Vec::new() } else { std::mem::take(&mut self.elsewhere) }
    }

    /// Nothing more is asked for.
    pub(super) fn stop_asking(&mut self) {
        self.take.clear();
        self.elsewhere.clear();
    }

    /// Whether every release was answered, and no lock is still to come.
    pub(super) fn is_released(&self) -> bool {
        let on_way = |call: LockCall| self.on_way[call as usize].is_some();
        self.release.is_empty() && !on_way(LockCall::Release) && !on_way(LockCall::Take)
    }

    pub(super) fn pump<P>(&mut self, now: Time, actions: &mut VecDeque<Action<P>>) {
        for call in [LockCall::Take, LockCall::Renew, LockCall::Release] {
            if self.on_way[call as usize].is_some() {
                continue;
            }
            let next = || match call {
                LockCall::Take => self.take.pop_front(),
                LockCall::Renew => self.renew.pop_front(),
                LockCall::Release => self.release.pop_first(),
            };
            let customers: Vec<CustomerId> = std::iter::from_fn(next).take(MAX_CUSTOMERS_A_CALL).collect();
            if !customers.is_empty() {
                self.on_way[call as usize] = Some((now, customers.clone()));
                actions.push_back(Action::Lock { call, customers });
            }
        }
    }

    /// Takes back what a call was about, and when it began: leases are counted from before they were asked for.
    pub(super) fn answered(&mut self, call: LockCall) -> Option<(Time, Vec<CustomerId>)> {
        self.on_way[call as usize].take()
    }

    pub(super) fn came_back(&mut self) {
        self.away = None;
    }

    /// The locks did not answer: whoever waits for one goes on without. Returns those.
    pub(super) fn went_away(&mut self, now: Time, settings: &Settings, seed: &mut u64) -> Vec<CustomerId> {
        let failures = self.away.map_or(1, |away| away.failures + 1);
        let pause = backoff(settings.lock_away_retry, settings.lock_away_retry * 10, failures, seed);
        let since = self.away.map_or(now, |away| away.since);
        self.away = Some(Away { since, retry_at: now.after(pause), failures });
        self.release.clear();
        self.renew.clear();
        let mut waiting: Vec<CustomerId> = self.take.drain(..).collect();
        waiting.append(&mut self.elsewhere);
        waiting
    }

    pub(super) fn rebase(&mut self, now: Time) {
        self.retry_at = if self.elsewhere.is_empty() { Time::ZERO } else { self.retry_at.from(now) };
        for (begun, _) in self.on_way.iter_mut().flatten() {
            *begun = begun.from(now);
        }
        if let Some(away) = &mut self.away {
            *away = Away { since: away.since.from(now), retry_at: away.retry_at.from(now), failures: 1 };
        }
        self.renew_at = self.renew_at.from(now);
    }

    pub(super) fn wake_at(&self) -> Time {
        if self.elsewhere.is_empty() { self.renew_at } else { self.renew_at.min(self.retry_at) }
    }
}
