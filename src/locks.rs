//! Per-customer sequencing locks. This file is the promise; `locks/` has two ways to keep it.
//!
//! A lock is a lease and an efficiency: it keeps two instances from preparing the same customer's orders at once.
//! It may be lost, doubled or late, and nothing goes wrong, because the ledger decides (I5).
//!
//! What always holds:
//!
//! - Taking, renewing and releasing are answered customer by customer, never all or nothing.
//! - Only the owner renews or releases. Taking a lock that the caller has is granted and renews it, so every call may
//!   be repeated when its answer was lost.

use std::future::Future;
use std::time::Duration;

use crate::order::CustomerId;

pub mod local;
pub mod redis;

/// The most customers that one call may name.
pub const MAX_CUSTOMERS_A_CALL: usize = 256;

/// The locks of one instance of the engine: the owner is this boot of this instance.
pub trait Locks: Clone + Send + Sync + 'static {
    /// Takes the locks that are free (or held by this owner) for `lease`. True where it was granted.
    fn take(
        &self,
        customers: &[CustomerId],
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<bool>, LocksAway>> + Send;

    /// Renews the locks that this owner still has. False where it has lost one.
    fn renew(
        &self,
        customers: &[CustomerId],
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<bool>, LocksAway>> + Send;

    /// Releases the locks that this owner has. On failure the leases run out by themselves.
    fn release(&self, customers: &[CustomerId]) -> impl Future<Output = Result<(), LocksAway>> + Send;
}

/// The lock server did not answer in time. Whoever asked goes on without locks, and says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("locks away: {0}")]
pub struct LocksAway(pub String);
