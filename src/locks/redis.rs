//! Locks in Redis (or Valkey), one node or a cluster, for a fleet.
//!
//! A lock is the key `<prefix>:{b<bucket>}:lock:<customer>` whose value is its owner: this boot of this instance. One
//! Lua script answers for many customers of one bucket, because on a cluster a script may touch one slot only, and a
//! bucket is one slot. `<prefix>:buckets` holds the fleet's number of buckets.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::Script;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::link::{Link, Server, Up};
use super::{Locks, LocksAway, MAX_CUSTOMERS_A_CALL, OpenError, Unproven};
use crate::config;
use crate::metrics::{self, Answer, Request};
use crate::order::CustomerId;

mod link;

/// The most scripts that one call has under way at once. Above it more of them only queue in the connection.
const SCRIPTS_AT_ONCE: usize = 32;

/// The slots of a cluster: with more buckets than these some would share a slot anyway.
const BUCKETS_MAX: u32 = 16_384;

/// The locks of one owner. A clone is the same owner and shares the connection.
#[derive(Debug, Clone)]
pub struct RedisLocks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    owner: String,
    prefix: String,
    buckets: u32,
    timeout: Duration,
    link: Link,
    take: Script,
    renew: Script,
    release: Script,
}

impl RedisLocks {
    /// Begins to connect in the background, and goes on trying for as long as a clone lives.
    ///
    /// For `rediss://` it installs rustls's aws-lc-rs as the process's cryptography unless another one is installed:
    /// redis-rs takes the process's default.
    ///
    /// # Errors
    ///
    /// When `locks.url`, `locks.buckets` or `locks.prefix` cannot be used.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn open(settings: &config::Locks) -> Result<Self, OpenError> {
        if !(1..=BUCKETS_MAX).contains(&settings.buckets) {
            return Err(OpenError::Buckets(settings.buckets));
        }
        let breaks_key = |letter: char| letter.is_whitespace() || matches!(letter, '{' | '}');
        if settings.prefix.is_empty() || settings.prefix.contains(breaks_key) {
            return Err(OpenError::Prefix(settings.prefix.clone()));
        }
        let server = Server::from_url(&settings.url, settings.prefix.clone(), settings.buckets)?;
        Ok(Self(Arc::new(Inner {
            owner: owner_of_this_boot(),
            prefix: settings.prefix.clone(),
            buckets: settings.buckets,
            timeout: settings.timeout,
            link: Link::keep(server),
            take: Script::new(include_str!("take.lua")),
            renew: Script::new(include_str!("renew.lua")),
            release: Script::new(include_str!("release.lua")),
        })))
    }

    /// The value of every lock that this owner has, to be found again in Redis.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// Waits for the first connection, which is proven by a PING and by the fleet's number of buckets.
    ///
    /// # Errors
    ///
    /// See [`Unproven`].
    pub async fn prove(&self) -> Result<(), Unproven> {
        self.0.link.prove().await
    }

    /// Asks for each customer in its bucket; the answers come in the order of the customers. Either every bucket
    /// answers in time, or the locks are away; whatever was granted then is ours, and granted again when asked again.
    async fn ask(&self, ask: Ask, customers: &[CustomerId], lease: Option<Duration>) -> Result<Vec<bool>, LocksAway> {
        assert!(customers.len() <= MAX_CUSTOMERS_A_CALL, "the caller splits what it asks for");
        let mut answers = vec![false; customers.len()];
        if customers.is_empty() {
            return Ok(answers);
        }
        let deadline = Instant::now() + self.0.timeout;
        let up = self.0.link.up(deadline).await?;
        let mut buckets: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (place, customer) in customers.iter().enumerate() {
            buckets.entry(bucket(customer, self.0.buckets)).or_default().push(place);
        }
        let mut waiting = buckets.into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < SCRIPTS_AT_ONCE
                && let Some((bucket, places)) = waiting.next()
            {
                let keys = places.iter().map(|place| self.0.key(bucket, &customers[*place])).collect();
                let script = Arc::clone(&self.0).run_script(ask, keys, lease, up.clone(), deadline);
                running.spawn(async move { (places, script.await) });
            }
            let Some(done) = running.join_next().await else { return Ok(answers) };
            let (places, granted) = done.expect("a script's task neither panics nor is it aborted");
            let granted = granted.inspect_err(|_| self.0.link.broken(&up))?;
            for (place, granted) in places.into_iter().zip(granted) {
                answers[place] = granted;
            }
        }
    }
}

impl Locks for RedisLocks {
    async fn take(&self, customers: &[CustomerId], lease: Duration) -> Result<Vec<bool>, LocksAway> {
        self.ask(Ask::Take, customers, Some(lease)).await
    }

    async fn renew(&self, customers: &[CustomerId], lease: Duration) -> Result<Vec<bool>, LocksAway> {
        self.ask(Ask::Renew, customers, Some(lease)).await
    }

    async fn release(&self, customers: &[CustomerId]) -> Result<(), LocksAway> {
        // A lock that was lost meanwhile needs no release.
        self.ask(Ask::Release, customers, None).await.map(drop)
    }
}

#[derive(Debug, Clone, Copy)]
enum Ask {
    Take,
    Renew,
    Release,
}

impl Inner {
    fn key(&self, bucket: u32, customer: &CustomerId) -> String {
        format!("{}:{{b{bucket}}}:lock:{customer}", self.prefix)
    }

    /// Runs one script over the keys of one bucket: by its hash, and by its text when the server lost it.
    async fn run_script(
        self: Arc<Self>,
        ask: Ask,
        keys: Vec<String>,
        lease: Option<Duration>,
        up: Up,
        deadline: Instant,
    ) -> Result<Vec<bool>, LocksAway> {
        let (script, request) = match ask {
            Ask::Take => (&self.take, Request::Take),
            Ask::Renew => (&self.renew, Request::Renew),
            Ask::Release => (&self.release, Request::Release),
        };
        let mut call = script.prepare_invoke();
        for key in &keys {
            call.key(key);
        }
        call.arg(&self.owner);
        if let Some(lease) = lease {
            // Zero would be an error of the whole script.
            call.arg(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(1));
        }
        match timeout_at(deadline, up.connection.run(&call)).await {
            Ok(Ok(answers)) if answers.len() == keys.len() => {
                metrics::request(request, Answer::Ok);
                Ok(answers)
            }
            Ok(Ok(answers)) => {
                metrics::request(request, Answer::Failed);
                Err(LocksAway(format!("{} answers to {} keys", answers.len(), keys.len())))
            }
            Ok(Err(error)) => {
                metrics::request(request, Answer::Failed);
                Err(LocksAway(error.to_string()))
            }
            Err(_) => {
                metrics::request(request, Answer::TimedOut);
                Err(LocksAway(format!("no answer within {:?}", self.timeout)))
            }
        }
    }
}

/// The bucket of a customer. It never changes for a number of buckets, because all instances have to agree on it, of
/// whatever version they are.
fn bucket(customer: &CustomerId, buckets: u32) -> u32 {
    if buckets == 1 {
        return 0;
    }
    let hash = Sha256::digest(customer.as_str());
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % buckets
}

/// Process, time and 128 random bits: no other boot of any instance has it.
fn owner_of_this_boot() -> String {
    let booted = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    // Each RandomState has keys of its own.
    let random = || RandomState::new().hash_one(booted);
    format!("{}-{booted}-{:016x}{:016x}", std::process::id(), random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_of_a_customer_never_changes() {
        let of = |name: &str, buckets| bucket(&CustomerId::new(name), buckets);
        assert_eq!([of("c-1", 256), of("c-2", 256), of("acme", 256), of("acme", 100)], [0, 0, 0, 0]);
        assert_eq!(of("acme", 1), 0);
    }

    #[test]
    fn buckets_are_about_equally_full() {
        let mut full = [0_u32; 256];
        for number in 0..25_600 {
            full[bucket(&CustomerId::new(format!("c-{number}")), 256) as usize] += 1;
        }
        assert!(full.iter().all(|count| (50..=160).contains(count)), "{full:?}");
    }

    #[test]
    fn no_two_boots_have_the_same_owner() {
        assert_ne!(owner_of_this_boot(), owner_of_this_boot());
    }
}
