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

use crate::config;
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

/// The locks that `locks.url` names.
#[derive(Debug, Clone)]
pub enum AnyLocks {
    /// `redis://` and `rediss://`: for a fleet.
    Redis(redis::RedisLocks),
    /// `local:`: for one process.
    Local(local::LocalLocks),
}

/// Opens the locks for a new owner, without waiting for a server. Call it inside a tokio runtime.
///
/// # Errors
///
/// Only for settings that cannot work. A server that is away is not an error here: see [`AnyLocks::prove`].
pub fn open(settings: &config::Locks) -> Result<AnyLocks, OpenError> {
    match settings.url.split_once(':') {
        Some(("local", "")) => Ok(AnyLocks::Local(local::LocalLocks::new())),
        Some(("redis" | "rediss", _)) => redis::RedisLocks::open(settings).map(AnyLocks::Redis),
        _ => Err(OpenError::Url("is none of redis://…, rediss://… and local:".into())),
    }
}

impl AnyLocks {
    /// Asks the server for a sign of life, and for the fleet's number of buckets. Bounded in time.
    ///
    /// # Errors
    ///
    /// [`Unproven::Away`] allows a start without locks, [`Unproven::Buckets`] does not.
    pub async fn prove(&self) -> Result<(), Unproven> {
        match self {
            AnyLocks::Redis(locks) => locks.prove().await,
            AnyLocks::Local(_) => Ok(()),
        }
    }
}

impl Locks for AnyLocks {
    async fn take(&self, customers: &[CustomerId], lease: Duration) -> Result<Vec<bool>, LocksAway> {
        match self {
            AnyLocks::Redis(locks) => locks.take(customers, lease).await,
            AnyLocks::Local(locks) => locks.take(customers, lease).await,
        }
    }

    async fn renew(&self, customers: &[CustomerId], lease: Duration) -> Result<Vec<bool>, LocksAway> {
        match self {
            AnyLocks::Redis(locks) => locks.renew(customers, lease).await,
            AnyLocks::Local(locks) => locks.renew(customers, lease).await,
        }
    }

    async fn release(&self, customers: &[CustomerId]) -> Result<(), LocksAway> {
        match self {
            AnyLocks::Redis(locks) => locks.release(customers).await,
            AnyLocks::Local(locks) => locks.release(customers).await,
        }
    }
}
