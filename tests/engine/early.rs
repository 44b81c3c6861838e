//! Orders that come before their predecessors.

use std::time::Duration;

use millrace::metrics;
use millrace::order::Ordering;

use super::bench::{Bench, SOON, Store};
use super::messages::{order, orders};
use super::on_both_ledgers;
use crate::random::Random;
use crate::servers::eventually;

on_both_ledgers!(one_customer_backwards, many_customers_shuffled, gap);

/// Two hundred orders, the last one first, with room for fifty in memory: most of them have to be parked.
async fn one_customer_backwards(store: Store) {
    let mut bench = Bench::with(Ordering::Gapless, store, |config| config.flow.messages_max = 50).await;
    let bodies: Vec<String> = (1..=200).rev().map(|sequence| order("ada", sequence)).collect();
    bench.send(&bodies).await;
    let worker = bench.start();
    bench.finished(200).await;
    let (_, status) = worker.stop().await;
    assert!(status.outcomes.parked >= 50, "{:?}", status.outcomes);
    assert_eq!(status.outcomes.quarantined, 0);
    assert_eq!(bench.number("SELECT count(*) FROM parked_orders").await, 0);
    assert_eq!(bench.number("SELECT parked FROM customers").await, 0);
    bench.is_clean(200).await;
}

async fn many_customers_shuffled(store: Store) {
    let mut random = Random::seeded();
    let mut bench = Bench::with(Ordering::Gapless, store, |config| {
        config.flow.messages_max = 200;
        config.inbox.early_wait = Duration::from_millis(20);
        config.ledger.run_max = 7;
    })
    .await;
    let bodies = orders(30, 20);
    bench.send(&random.scatter(&bodies, 5)).await;
    let worker = bench.start();
    bench.finished(bodies.len()).await;
    let (_, status) = worker.stop().await;
    assert!(status.outcomes.parked > 0, "{:?}", status.outcomes);
    assert_eq!(status.outcomes.quarantined, 0);
    assert_eq!(bench.number("SELECT count(*) FROM parked_orders").await, 0);
    bench.is_clean(bodies.len()).await;
}

fn gap_alarms() -> f64 {
    let status = millrace::status::Status::starting(Ordering::Gapless, millrace::status::LocksState::Local);
    let text = metrics::render(&status);
    let line = text.lines().find(|line| line.starts_with("millrace_alarms_total{kind=\"gap\"}")).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// What follows a missing number is parked and reported, and commits when the number comes.
async fn gap(store: Store) {
    let mut bench =
        Bench::with(Ordering::Gapless, store, |config| config.ledger.gap_after = Duration::from_millis(500)).await;
    let alarms = gap_alarms();
    bench.send(&[order("ada", 1), order("ada", 3), order("ada", 4), order("bob", 1)]).await;
    let worker = bench.start();
    worker.until("what follows is parked", |status| status.outcomes.parked == 2).await;
    bench.drained().await;
    assert_eq!(bench.committed("ada").await, ["ada-1"]);
    assert_eq!(bench.parked("ada").await, ["ada-3", "ada-4"]);
    assert_eq!(bench.committed("bob").await, ["bob-1"]);
    eventually("the gap raises an alarm", SOON, || std::future::ready(gap_alarms() > alarms)).await;

    bench.send(&[order("ada", 2)]).await;
    bench.finished(5).await;
    worker.stop().await;
    assert_eq!(bench.committed("ada").await, ["ada-1", "ada-2", "ada-3", "ada-4"]);
    assert_eq!(bench.parked("ada").await, [""; 0]);
    bench.is_clean(5).await;
}

/// An engine that died has left parked orders behind that stand next: the sweep of another one finds them.
#[tokio::test]
async fn parked_orders_of_a_dead_engine() {
    let mut bench = Bench::new(Ordering::Gapless, Store::Postgres).await;
    bench.send(&[order("ada", 2), order("ada", 3)]).await;
    let worker = bench.start();
    worker.until("both are parked", |status| status.outcomes.parked == 2).await;
    bench.drained().await;
    worker.stop().await;
    // As if the commit of the first had not been followed by the load of the run.
    bench.send(&[order("ada", 1)]).await;
    bench
        .run(
            "CREATE TABLE kept AS SELECT * FROM parked_orders; DELETE FROM parked_orders; \
             UPDATE customers SET parked = 0",
        )
        .await;
    let worker = bench.start();
    bench.finished(1).await;
    worker.stop().await;
    bench.run("INSERT INTO parked_orders SELECT * FROM kept; UPDATE customers SET parked = 2; DROP TABLE kept").await;

    let worker = bench.start();
    bench.finished(3).await;
    let (_, status) = worker.stop().await;
    assert_eq!(status.outcomes.committed, 0, "nothing was delivered: {:?}", status.outcomes);
    bench.is_clean(3).await;
}
