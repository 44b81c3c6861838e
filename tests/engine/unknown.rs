//! Commits whose answer does not come: the engine finds out what became of them, and does nothing twice.

use std::time::Duration;

use millrace::order::Ordering;
use serde_json::json;

use super::bench::{Bench, Store};
use super::messages::{order, orders, with};
use super::proxy::Proxy;
use crate::random::Random;
use crate::servers::database;
use crate::servers::rustack::{Fault, Operation, When};

/// Connections break at each point of a write: before it is seen, while it is worked on, after it is committed.
async fn breaking_connections(ordering: Ordering) {
    let mut random = Random::seeded();
    let database = database().await;
    let proxy = Proxy::before(database.url()).await;
    let mut bench = Bench::new(ordering, Store::At(database.url().to_owned())).await;
    bench.run("CREATE TABLE log (order_id text)").await;
    bench.effects("INSERT INTO log SELECT order_id FROM committed");
    let bodies = orders(20, 20);
    let sent = if ordering == Ordering::Fifo { bodies.clone() } else { random.scatter(&bodies, 5) };
    bench.sqs.faults().set(Operation::ReceiveMessage, When::Every(9), Fault::DeliverAgain);
    let mut config = bench.config.clone();
    config.ledger.url = proxy.url(database.url());
    config.ledger.batch_max = 20;
    config.inbox.early_wait = Duration::from_millis(10);
    proxy.cut_every(3);
    let worker = bench.start_with(&config);
    bench.send(&sent).await;
    // Elsewhere a malformed message blocks nobody; that it is kept is a write of its own.
    let malformed = if ordering == Ordering::Fifo { 0 } else { 15 };
    let zero = with(&order("cyd", 1), "sequence", json!(0));
    bench.send_as(&vec![(String::new(), zero); malformed]).await;
    bench.finished(bodies.len()).await;
    let (_, status) = worker.stop().await;
    assert!(proxy.cuts() >= 9, "only {} connections were broken", proxy.cuts());
    assert!(
        status.last_errors.iter().any(|error| error.class == "unknown_outcome"),
        "no outcome was unknown: {:?}",
        status.last_errors
    );
    let kept = bench.quarantined().await;
    assert_eq!(kept.len(), malformed, "{kept:?}");
    assert!(kept.iter().all(|row| row.kind == "malformed"), "{kept:?}");
    bench.is_clean(bodies.len()).await;
    assert_eq!(bench.number("SELECT count(*) FROM log").await, 400);
    assert_eq!(bench.number("SELECT count(DISTINCT order_id) FROM log").await, 400);
}

#[tokio::test]
async fn breaking_connections_in_gapless() {
    breaking_connections(Ordering::Gapless).await;
}

#[tokio::test]
async fn breaking_connections_in_fifo() {
    breaking_connections(Ordering::Fifo).await;
}

#[tokio::test]
async fn breaking_connections_in_none() {
    breaking_connections(Ordering::None).await;
}

/// The very first order of a customer: committed, answer lost. There was no row to lock.
#[tokio::test]
async fn first_order_whose_answer_is_lost() {
    let database = database().await;
    let proxy = Proxy::before(database.url()).await;
    let mut bench = Bench::new(Ordering::Gapless, Store::At(database.url().to_owned())).await;
    let mut config = bench.config.clone();
    config.ledger.url = proxy.url(database.url());
    proxy.cut_every(1_000_000);
    let worker = bench.start_with(&config);
    bench.send(&[order("ada", 1)]).await;
    bench.finished(1).await;
    // The next write is the first cut, whose answer is lost.
    proxy.cut_every(2);
    bench.send(&[order("bob", 1)]).await;
    bench.finished(2).await;
    let (_, status) = worker.stop().await;
    assert_eq!(proxy.cuts(), 1);
    assert!(status.last_errors.iter().any(|error| error.class == "unknown_outcome"), "{:?}", status.last_errors);
    assert_eq!(status.outcomes.quarantined, 0);
    bench.is_clean(2).await;
}
