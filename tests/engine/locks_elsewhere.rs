//! Several engines, and locks that somebody else has.

use std::time::Duration;

use millrace::config;
use millrace::locks::Locks as _;
use millrace::locks::redis::RedisLocks;
use millrace::order::{CustomerId, Ordering};

use super::bench::{Bench, SOON, Store, ends};
use super::messages::{order, orders};
use crate::random::Random;
use crate::servers::rustack::{Fault, Operation, When};
use crate::servers::{eventually, redis_prefix, redis_url};

fn in_redis(locks: &mut config::Locks) {
    locks.url = redis_url();
    locks.prefix = redis_prefix();
}

/// Two engines share the queue and the ledger.
async fn two_engines(ordering: Ordering) {
    let mut random = Random::seeded();
    let mut bench = Bench::with(ordering, Store::Postgres, |config| in_redis(&mut config.locks)).await;
    let bodies = orders(25, 16);
    let sent = if ordering == Ordering::Fifo { bodies.clone() } else { random.scatter(&bodies, 5) };
    bench.sqs.faults().set(Operation::ReceiveMessage, When::Every(10), Fault::DeliverAgain);
    let workers = [bench.start(), bench.start()];
    for worker in &workers {
        // Or the first one has done everything before the other is there.
        worker.until("it asks for messages", |status| status.polls > 0).await;
    }
    bench.send(&sent).await;
    bench.finished(bodies.len()).await;
    // A copy that arrives in a stop is handed back, and its message is gone by then: rightly told as at risk.
    let deliveries = sent.len() as u64 + bench.sqs.faults().copies();
    eventually("all deliveries have their end", SOON, || {
        let ended = workers.iter().map(|worker| ends(&worker.outcomes())).sum::<u64>();
        std::future::ready(ended >= deliveries)
    })
    .await;
    let mut shares = Vec::new();
    for worker in workers {
        let (report, status) = worker.stop().await;
        assert_eq!(report.at_risk, 0);
        assert_eq!(status.outcomes.quarantined, 0, "{:?}", status.last_errors);
        shares.push(status.outcomes.committed + status.outcomes.parked);
    }
    assert!(shares.iter().all(|share| *share > 0), "one of them did nothing: {shares:?}");
    bench.is_clean(bodies.len()).await;
}

#[tokio::test]
async fn two_engines_in_gapless() {
    two_engines(Ordering::Gapless).await;
}

#[tokio::test]
async fn two_engines_in_fifo() {
    two_engines(Ordering::Fifo).await;
}

const LONG: Duration = Duration::from_mins(5);

/// Somebody has Ada's lock. Bob goes on, and Ada too when her lock is released.
#[tokio::test]
async fn customer_waits_for_a_lock_that_is_elsewhere() {
    let mut bench = Bench::with(Ordering::Gapless, Store::Postgres, |config| {
        in_redis(&mut config.locks);
        config.locks.wait_max = LONG;
    })
    .await;
    let ada = [CustomerId::new("ada")];
    let somebody = RedisLocks::open(&bench.config.locks).unwrap();
    assert_eq!(somebody.take(&ada, LONG).await, Ok(vec![true]));
    let worker = bench.start();
    bench.send(&[order("ada", 1), order("ada", 2), order("bob", 1)]).await;
    worker.until("Ada waits", |status| status.lanes_waiting_for_lock == 1 && status.outcomes.committed == 1).await;
    assert_eq!(bench.committed("ada").await, [""; 0]);
    assert_eq!(bench.committed("bob").await, ["bob-1"]);
    eventually("Bob's is deleted, and Ada's are left", SOON, || async { bench.in_flight().await == 2 }).await;
    assert_eq!(bench.visible().await, 0, "they wait in memory and not in the queue");
    assert_eq!(somebody.release(&ada).await, Ok(()));
    bench.finished(3).await;
    worker.until("nobody waits", |status| status.lanes_waiting_for_lock == 0).await;
    worker.stop().await;
    // The engine has given back what it had.
    assert_eq!(somebody.take(&ada, LONG).await, Ok(vec![true]));
    bench.is_clean(3).await;
}

/// Somebody has Ada's lock and never gives it back: after `locks.wait_max` the ledger alone decides.
#[tokio::test]
async fn customer_goes_on_without_a_lock_after_a_while() {
    let mut bench = Bench::with(Ordering::Gapless, Store::Postgres, |config| {
        in_redis(&mut config.locks);
        config.locks.wait_max = Duration::from_millis(600);
    })
    .await;
    let ada = [CustomerId::new("ada")];
    let somebody = RedisLocks::open(&bench.config.locks).unwrap();
    assert_eq!(somebody.take(&ada, LONG).await, Ok(vec![true]));
    let worker = bench.start();
    bench.send(&[order("ada", 1), order("ada", 2)]).await;
    bench.finished(2).await;
    worker.stop().await;
    assert_eq!(somebody.renew(&ada, LONG).await, Ok(vec![true]), "the lock is still somebody's");
    bench.is_clean(2).await;
}
