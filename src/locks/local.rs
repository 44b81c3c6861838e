//! Locks of one process, for the embedded defaults: a map of leases, shared by every clone. They are never away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Locks, LocksAway, MAX_CUSTOMERS_A_CALL};
use crate::order::CustomerId;

/// The locks of one owner in this process. A clone is the same owner.
#[derive(Debug, Clone)]
pub struct LocalLocks {
    owner: u64,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    owners: AtomicU64,
    leases: Mutex<Leases>,
}

#[derive(Debug, Default)]
struct Leases {
    held: HashMap<CustomerId, Lease>,
    /// At this size leases that ran out are removed.
    swept_at: usize,
}

#[derive(Debug)]
struct Lease {
    owner: u64,
    until: Instant,
}

impl LocalLocks {
    /// No lock is held yet.
    #[must_use]
    pub fn new() -> Self {
        Self { owner: 0, shared: Arc::default() }
    }

    /// Another owner of the same locks: a second engine in this process.
    #[must_use]
    pub fn another_owner(&self) -> Self {
        let owner = self.shared.owners.fetch_add(1, Ordering::Relaxed) + 1;
        Self { owner, shared: Arc::clone(&self.shared) }
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        // Every change below is a single insert or remove, so a panic elsewhere leaves nothing half done.
        self.shared.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LocalLocks {
    fn default() -> Self {
        Self::new()
    }
}

impl Leases {
    /// Keeps the map as small as what is held, at a constant cost for each lock taken.
    fn sweep(&mut self, now: Instant) {
        if self.held.len() >= self.swept_at.max(MAX_CUSTOMERS_A_CALL) {
            self.held.retain(|_, lease| lease.until > now);
            self.swept_at = self.held.len() * 2;
        }
    }

    fn has(&self, customer: &CustomerId, owner: u64, now: Instant) -> bool {
        self.held.get(customer).is_some_and(|lease| lease.owner == owner && lease.until > now)
    }
}

impl Locks for LocalLocks {
    async fn take(&self, customers: &[CustomerId], lease: Duration) -> Result<Vec<bool>, LocksAway> {
        assert!(customers.len() <= MAX_CUSTOMERS_A_CALL, "the caller splits what it asks for");
        let now = Instant::now();
        let mut leases = self.leases();
        leases.sweep(now);
        let granted = customers.iter().map(|customer| {
            let free = leases.held.get(customer).is_none_or(|held| held.owner == self.owner || held.until <= now);
            if free {
                leases.held.insert(customer.clone(), Lease { owner: self.owner, until: now + lease });
            }
            free
        });
        Ok(granted.collect())
    }

    async fn renew(&self, customers: &[CustomerId], lease: Duration) -> Result<Vec<bool>, LocksAway> {
        assert!(customers.len() <= MAX_CUSTOMERS_A_CALL, "the caller splits what it asks for");
        let now = Instant::now();
        let mut leases = self.leases();
        let renewed = customers.iter().map(|customer| {
            let ours = leases.has(customer, self.owner, now);
            if ours {
                leases.held.insert(customer.clone(), Lease { owner: self.owner, until: now + lease });
            }
            ours
        });
        Ok(renewed.collect())
    }

    async fn release(&self, customers: &[CustomerId]) -> Result<(), LocksAway> {
        assert!(customers.len() <= MAX_CUSTOMERS_A_CALL, "the caller splits what it asks for");
        let now = Instant::now();
        let mut leases = self.leases();
        for customer in customers {
            if leases.has(customer, self.owner, now) {
                leases.held.remove(customer);
            }
        }
        Ok(())
    }
}
