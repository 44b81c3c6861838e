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
//! - The locks of an owner that died come free with their lease (L2).

use std::future::Future;
use std::time::Duration;

use crate::order::CustomerId;

mod any;
pub mod local;
pub mod redis;

pub use self::any::{AnyLocks, open};

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

/// Settings with which there cannot be locks. Each message names its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// `locks.url` is not understood.
    #[error("locks.url: {0}")]
    Url(String),
    /// `locks.buckets` is out of its range.
    #[error("locks.buckets: {0} is not 1 to 16384")]
    Buckets(u32),
    /// `locks.prefix` is empty or would break the hash tag of the keys.
    #[error("locks.prefix: {0:?} is empty or has a brace or a blank")]
    Prefix(String),
}

/// Why the locks could not be proven to work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// They are away now. The engine may start without them; they come back by themselves.
    #[error(transparent)]
    Away(#[from] LocksAway),
    /// Another instance of the fleet counts other buckets: the two would never see each other's locks. Stop the start.
    #[error("locks.buckets: {ours} here, but {theirs} in the fleet that uses locks.prefix {prefix:?}")]
    Buckets {
        /// What is set here.
        ours: u32,
        /// What the fleet has agreed on.
        theirs: String,
        /// Whose fleet.
        prefix: String,
    },
}
