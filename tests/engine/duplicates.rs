//! An order that comes more than once takes effect once.

use millrace::order::Ordering;

use super::bench::{Bench, Store};
use super::messages::{order, orders};
use super::on_both_ledgers;
use crate::random::Random;
use crate::servers::rustack::{Fault, Operation, When};

on_both_ledgers!(two_messages_in_one_receive);

async fn once(bench: &Bench) {
    assert_eq!(bench.committed("ada").await, ["ada-1"]);
    assert_eq!(bench.number("SELECT count(*) FROM order_events").await, 1);
    assert_eq!(bench.number("SELECT count(*) FROM order_lines").await, 1);
    assert_eq!(bench.quarantined().await, []);
    bench.is_clean(1).await;
}

async fn two_messages_in_one_receive(store: Store) {
    let mut bench = Bench::new(Ordering::Gapless, store).await;
    bench.send(&[order("ada", 1), order("ada", 1)]).await;
    let worker = bench.start();
    worker.ended(2).await;
    bench.drained().await;
    bench.send(&[order("ada", 1)]).await;
    worker.ended(3).await;
    bench.drained().await;
    let (_, status) = worker.stop().await;
    assert_eq!((status.outcomes.committed, status.outcomes.duplicate), (1, 2));
    once(&bench).await;
}

#[tokio::test]
async fn delivered_again_after_its_delete() {
    let mut bench = Bench::new(Ordering::Gapless, Store::Sqlite).await;
    bench.sqs.faults().set(Operation::ReceiveMessage, When::First(2), Fault::DeliverAgain);
    bench.send(&[order("ada", 1)]).await;
    let worker = bench.start();
    worker.ended(2).await;
    bench.drained().await;
    let (_, status) = worker.stop().await;
    assert_eq!((status.outcomes.committed, status.outcomes.duplicate), (1, 1));
    once(&bench).await;
}

#[tokio::test]
async fn two_messages_in_fifo() {
    let mut bench = Bench::new(Ordering::Fifo, Store::Sqlite).await;
    bench.sqs.faults().set(Operation::ReceiveMessage, When::First(1), Fault::DeliverAgain);
    bench.send(&[order("ada", 1), order("ada", 1)]).await;
    let worker = bench.start();
    worker.ended(3).await;
    bench.drained().await;
    let (_, status) = worker.stop().await;
    assert_eq!((status.outcomes.committed, status.outcomes.duplicate), (1, 2));
    once(&bench).await;
}

/// Half of the orders twice, and half of the receives delivered again: to two kinds of queue.
#[tokio::test]
async fn many_of_them() {
    let mut random = Random::seeded();
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let mut bench = Bench::new(ordering, Store::Postgres).await;
        bench.sqs.faults().set(Operation::ReceiveMessage, When::Every(2), Fault::DeliverAgain);
        let bodies = orders(20, 10);
        let sent = match ordering {
            Ordering::Fifo => bodies.iter().chain(&bodies[100..]).cloned().collect(),
            _ => random.scatter(&bodies, 50),
        };
        bench.send(&sent).await;
        let worker = bench.start();
        bench.finished(bodies.len()).await;
        worker.ended(sent.len() as u64 + 1).await;
        bench.drained().await;
        let (_, status) = worker.stop().await;
        assert_eq!(status.outcomes.quarantined, 0);
        bench.is_clean(bodies.len()).await;
    }
}
