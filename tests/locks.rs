//! The contract of `Locks`, over Redis and over one process, and what is Redis's own: away, back, a cluster.

use std::future::Future;
use std::time::Duration;

use millrace::config;
use millrace::locks::local::LocalLocks;
use millrace::locks::redis::RedisLocks;
use millrace::locks::{Locks, MAX_CUSTOMERS_A_CALL};
use millrace::order::CustomerId;

use crate::servers::{PATIENCE, eventually, redis_prefix, redis_url};

mod away;
mod cluster;

const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(150);

/// Two owners of the same locks, and a third thing that a contract may ask of them.
trait Pair {
    type Locks: Locks;

    fn two(&self) -> (Self::Locks, Self::Locks);
}

struct Local(LocalLocks);

impl Pair for Local {
    type Locks = LocalLocks;

    fn two(&self) -> (LocalLocks, LocalLocks) {
        (self.0.clone(), self.0.another_owner())
    }
}

struct Redis(config::Locks);

impl Pair for Redis {
    type Locks = RedisLocks;

    fn two(&self) -> (RedisLocks, RedisLocks) {
        (RedisLocks::open(&self.0).unwrap(), RedisLocks::open(&self.0).unwrap())
    }
}

/// Settings for the shared server, with a prefix of the test's own.
fn settings(buckets: u32) -> config::Locks {
    let timeout = Duration::from_secs(5);
    config::Locks { url: redis_url(), prefix: redis_prefix(), buckets, timeout, ..config::Locks::default() }
}

fn names(names: &[&str]) -> Vec<CustomerId> {
    names.iter().map(|name| CustomerId::new(*name)).collect()
}

fn many(count: usize) -> Vec<CustomerId> {
    (0..count).map(|number| CustomerId::new(format!("customer-{number}"))).collect()
}

async fn until<F: Future<Output = bool>>(what: &str, so: impl FnMut() -> F) {
    eventually(what, PATIENCE, so).await;
}

async fn one_owner_at_a_time(pair: &impl Pair) {
    let (ours, theirs) = pair.two();
    assert_eq!(ours.take(&names(&["a", "b"]), LONG).await, Ok(vec![true, true]));
    assert_eq!(theirs.take(&names(&["a", "b"]), LONG).await, Ok(vec![false, false]));
    assert_eq!(theirs.take(&names(&["x", "b", "y", "a"]), LONG).await, Ok(vec![true, false, true, false]));
    ours.release(&names(&["b"])).await.unwrap();
    assert_eq!(theirs.take(&names(&["a", "b"]), LONG).await, Ok(vec![false, true]));
    assert_eq!(ours.take(&names(&["b"]), LONG).await, Ok(vec![false]));
    assert_eq!(ours.take(&[], LONG).await, Ok(vec![]));
}

async fn only_the_owner_renews_and_releases(pair: &impl Pair) {
    let (ours, theirs) = pair.two();
    let customers = names(&["a", "b"]);
    assert_eq!(ours.take(&customers[..1], LONG).await, Ok(vec![true]));
    assert_eq!(theirs.renew(&customers, LONG).await, Ok(vec![false, false]));
    theirs.release(&customers).await.unwrap();
    assert_eq!(ours.renew(&customers, LONG).await, Ok(vec![true, false]), "renewing takes nothing");
    assert_eq!(theirs.take(&customers, LONG).await, Ok(vec![false, true]));
    // A clone is the same owner.
    assert_eq!(ours.clone().renew(&customers, LONG).await, Ok(vec![true, false]));
}

async fn taking_again_renews(pair: &impl Pair) {
    let (ours, theirs) = pair.two();
    let customers = names(&["a", "b"]);
    assert_eq!(ours.take(&customers, SHORT).await, Ok(vec![true, true]));
    assert_eq!(ours.take(&customers[..1], LONG).await, Ok(vec![true]));
    // The other one's lease runs out; the one that was taken again does not.
    until("the short lease runs out", || async { theirs.take(&customers[1..], LONG).await == Ok(vec![true]) }).await;
    assert_eq!(theirs.take(&customers, LONG).await, Ok(vec![false, true]));
}

/// L2.
async fn a_lease_runs_out(pair: &impl Pair) {
    let (ours, theirs) = pair.two();
    let customers = names(&["a"]);
    assert_eq!(ours.take(&customers, SHORT).await, Ok(vec![true]));
    until("the lease runs out", || async { theirs.take(&customers, LONG).await == Ok(vec![true]) }).await;
    assert_eq!(ours.renew(&customers, LONG).await, Ok(vec![false]));
    ours.release(&customers).await.unwrap();
    assert_eq!(ours.take(&customers, LONG).await, Ok(vec![false]), "the late release let go of another's lock");
}

async fn a_lock_that_ran_out_is_not_renewed(pair: &impl Pair) {
    let (ours, _) = pair.two();
    assert_eq!(ours.take(&names(&["a"]), SHORT).await, Ok(vec![true]));
    // Renewing would keep it, so somebody who waits looks at a lock of the same lease beside it.
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(ours.renew(&names(&["a"]), LONG).await, Ok(vec![false]));
}

async fn a_renewed_lock_lives_on(pair: &impl Pair) {
    let (ours, theirs) = pair.two();
    let customers = names(&["renewed", "left"]);
    // Long enough to be renewed in.
    assert_eq!(ours.take(&customers, Duration::from_secs(2)).await, Ok(vec![true, true]));
    assert_eq!(ours.renew(&customers[..1], LONG).await, Ok(vec![true]));
    until("the other lease runs out", || async { theirs.take(&customers[1..], LONG).await == Ok(vec![true]) }).await;
    assert_eq!(theirs.take(&customers[..1], LONG).await, Ok(vec![false]));
}

async fn a_full_call_is_answered_in_its_order(pair: &impl Pair) {
    let (ours, theirs) = pair.two();
    let customers = many(MAX_CUSTOMERS_A_CALL);
    let odd: Vec<_> = customers.iter().skip(1).step_by(2).cloned().collect();
    assert_eq!(ours.take(&odd, LONG).await, Ok(vec![true; odd.len()]));
    let even: Vec<bool> = (0..customers.len()).map(|place| place % 2 == 0).collect();
    assert_eq!(theirs.take(&customers, LONG).await, Ok(even.clone()));
    assert_eq!(ours.renew(&customers, LONG).await, Ok(even.iter().map(|even| !even).collect()));
    ours.release(&customers).await.unwrap();
    assert_eq!(theirs.take(&odd, LONG).await, Ok(vec![true; odd.len()]));
}

async fn the_caller_splits(pair: &impl Pair) {
    let (ours, _) = pair.two();
    let customers = many(MAX_CUSTOMERS_A_CALL + 1);
    let call = tokio::spawn(async move { ours.take(&customers, LONG).await });
    assert!(call.await.unwrap_err().is_panic());
}

macro_rules! contract {
    ($($promise:ident,)+) => {
        mod local {
            $(
                #[tokio::test(start_paused = true)]
                async fn $promise() {
                    super::$promise(&super::Local(super::LocalLocks::new())).await;
                }
            )+
        }

        mod redis_one_bucket {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::$promise(&super::Redis(super::settings(1))).await;
                }
            )+
        }

        mod redis_256_buckets {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::$promise(&super::Redis(super::settings(256))).await;
                }
            )+
        }
    };
}

contract! {
    one_owner_at_a_time,
    only_the_owner_renews_and_releases,
    taking_again_renews,
    a_lease_runs_out,
    a_lock_that_ran_out_is_not_renewed,
    a_renewed_lock_lives_on,
    a_full_call_is_answered_in_its_order,
    the_caller_splits,
}
