//! The locks that the settings name: the one place that knows both ways to keep them.

use std::time::Duration;

use super::local::LocalLocks;
use super::redis::RedisLocks;
use super::{Locks, LocksAway, OpenError, Unproven};
use crate::config;
use crate::order::CustomerId;

/// The locks that `locks.url` names.
#[derive(Debug, Clone)]
pub enum AnyLocks {
    /// `redis://` and `rediss://`: for a fleet.
    Redis(RedisLocks),
    /// `local:`: for one process.
    Local(LocalLocks),
}

/// Opens the locks for a new owner, without waiting for a server. Call it inside a tokio runtime.
///
/// # Errors
///
/// Only for settings that cannot work. A server that is away is not an error here: see [`AnyLocks::prove`].
pub fn open(settings: &config::Locks) -> Result<AnyLocks, OpenError> {
    match settings.url.split_once(':') {
        Some(("local", "")) => Ok(AnyLocks::Local(LocalLocks::new())),
        Some(("redis" | "rediss", _)) => RedisLocks::open(settings).map(AnyLocks::Redis),
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
