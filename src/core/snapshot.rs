//! What an operator may see of the core.

use std::time::Duration;

use super::lane::{Lane, Lock, Next};
use super::{Core, PaceSeen, Route};
use crate::backlog::Limit;

/// The core at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Where orders go now.
    pub route: Route,
    /// Messages held, until SQS has answered their delete or return.
    pub messages: usize,
    /// The bytes of their bodies.
    pub bytes: u64,
    /// Customers in memory.
    pub lanes: usize,
    /// Customers whose lock is asked for or elsewhere.
    pub lanes_waiting_for_lock: usize,
    /// Customers that go on without a lock.
    pub lanes_without_lock: usize,
    /// Customers known to be blocked.
    pub lanes_blocked: usize,
    /// Orders parked in the ledger, as far as the customers in memory are known.
    pub parked: u64,
    /// Orders that wait in memory for a predecessor.
    pub early: usize,
    /// Of the messages: those that ended, and whose delete or return SQS has not answered yet.
    pub ending: usize,
    /// Polls on their way.
    pub polls: usize,
    /// Committers at work.
    pub committers_busy: usize,
    /// Commits that wait to be sent again; their outcome may be unknown.
    pub commits_pending: usize,
    /// How long the locks have been away.
    pub locks_away_for: Option<Duration>,
    /// The pace of a drain.
    pub pace: Option<PaceSeen>,
    /// The shutdown has begun.
    pub stopping: bool,
}

impl<P: Clone> Core<P> {
    /// Looks at everything that is held; meant for once a second.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let count = |test: &dyn Fn(&Lane<P>) -> bool| self.lanes.values().filter(|lane| test(lane)).count();
        let early = |lane: &&Lane<P>| {
            lane.early_since.is_some()
                && matches!(lane.next(&self.settings, self.spooling(), self.now), Next::Wait(Some(_)))
        };
        Snapshot {
            route: self.routing.route.clone(),
            messages: self.deliveries.len(),
            bytes: self.deliveries.bytes(),
            lanes: self.lanes.len(),
            lanes_waiting_for_lock: count(&|lane| matches!(lane.lock, Lock::Asked | Lock::Elsewhere { .. })),
            lanes_without_lock: count(&|lane| matches!(lane.lock, Lock::Without { .. })),
            lanes_blocked: count(&|lane| lane.blocked),
            early: self.lanes.values().filter(early).map(|lane| lane.orders.len()).sum(),
            parked: self.lanes.values().map(|lane| lane.parked).sum(),
            ending: self.deliveries.ending(),
            polls: self.flow.polls(),
            committers_busy: self.slots.iter().flatten().count(),
            commits_pending: self.pending.len(),
            locks_away_for: self.leases.away_since().map(|since| self.now.since(since)),
            pace: self.pace.as_ref().map(|pace| pace.seen(self.route_limit(), self.limit())),
            stopping: self.stop.is_some(),
        }
    }

    /// What limits a drain for which the ledger cannot be written freely.
    fn route_limit(&self) -> Option<Limit> {
        match self.routing.route {
            // Whatever limited it before: there is nothing to drain now.
            Route::Direct | Route::HalfOpen { .. } if self.deliveries.len() == 0 => Some(Limit::Empty),
            Route::Direct => None,
            Route::HalfOpen { .. } => Some(Limit::RampUp),
            _ => Some(Limit::LedgerAway),
        }
    }

    /// What limits a drain whose pace would allow more.
    fn limit(&self) -> Limit {
        let waiting = self.lanes.values().filter(|lane| !lane.orders.is_empty()).count();
        if waiting == 0 {
            Limit::Empty
        } else if waiting < self.settings.committers {
            Limit::HotCustomer
        } else {
            Limit::DatabaseLatency
        }
    }

    /// The payloads of all deliveries that are held, the oldest first.
    pub fn held(&self) -> impl Iterator<Item = &P> {
        self.deliveries.payloads()
    }
}
