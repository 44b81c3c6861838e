//! `none` and `fifo`, and what poison does to a customer.

use millrace::order::Ordering;

use super::bench::{Bench, Store};
use super::messages::{order, order_of, orders, without};
use super::on_both_ledgers;
use crate::random::Random;
use crate::servers::rustack::{Fault, Operation, When};

on_both_ledgers!(none_commits_each_once, fifo_keeps_the_order_of_sending, poison_in_fifo, poison_in_gapless);

/// A table of a team that refuses more than a hundred of anything.
const SHELF: &str = "CREATE TABLE shelf (order_id text, quantity bigint NOT NULL CHECK (quantity <= 100))";
const TO_THE_SHELF: &str = "INSERT INTO shelf SELECT order_id, quantity FROM committed_lines";

async fn none_commits_each_once(store: Store) {
    let mut random = Random::seeded();
    let mut bench = Bench::new(Ordering::None, store).await;
    let bodies: Vec<String> = orders(5, 40).iter().map(|body| without(body, "sequence")).collect();
    bench.send(&random.scatter(&bodies, 10)).await;
    bench.sqs.faults().set(Operation::ReceiveMessage, When::Every(5), Fault::DeliverAgain);
    let worker = bench.start();
    bench.finished(200).await;
    let (_, status) = worker.stop().await;
    assert!(status.outcomes.duplicate > 0, "{:?}", status.outcomes);
    assert_eq!((status.outcomes.parked, status.outcomes.quarantined), (0, 0));
    bench.is_clean(200).await;
}

/// Also with numbers above 64 bits.
async fn fifo_keeps_the_order_of_sending(store: Store) {
    let mut random = Random::seeded();
    let mut bench = Bench::new(Ordering::Fifo, store).await;
    bench.sqs.faults().set(Operation::ReceiveMessage, When::Always, Fault::RaiseSequenceNumbers(1 << 100));
    // Without numbers of their own: what is sent first is first.
    let mut bodies: Vec<String> = orders(10, 20).iter().map(|body| without(body, "sequence")).collect();
    random.shuffle(&mut bodies);
    bench.send(&bodies).await;
    let worker = bench.start();
    bench.finished(200).await;
    worker.stop().await;
    bench.is_clean(200).await;
}

/// The second of four cannot be committed: it waits for a person, its followers behind it, and Bob goes on.
async fn poison(ordering: Ordering, store: Store) {
    let mut bench = Bench::new(ordering, store).await;
    bench.run(SHELF).await;
    bench.effects(TO_THE_SHELF);
    let bad = order_of("ada", 2, &[("apple", 101)]);
    bench.send(&[order("ada", 1), bad.clone(), order("ada", 3), order("ada", 4)]).await;
    bench.send(&[order("bob", 1), order("bob", 2), order("bob", 3)]).await;
    bench.sqs.faults().set(Operation::ReceiveMessage, When::First(1), Fault::DeliverAgain);
    let worker = bench.start();
    worker.until("the poison is quarantined", |status| status.outcomes.quarantined >= 1).await;
    worker.until("its followers are parked", |status| status.outcomes.parked >= 2).await;
    worker.until("the others are committed", |status| status.outcomes.committed == 4).await;
    // From now on too, and the poison itself is acked when it comes again.
    bench.send(&[order("ada", 5), bad.clone(), order("bob", 4)]).await;
    worker.until("what comes later is parked", |status| status.outcomes.committed == 5).await;
    bench.drained().await;
    let (_, status) = worker.stop().await;
    assert_eq!(status.blocked_customers, 0, "nothing of a customer is held at the end");

    let rows = bench.quarantined().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].kind.as_str(), rows[0].blocks), ("poison", 1));
    assert_eq!(rows[0].customer.as_deref(), Some("ada"));
    assert!(rows[0].reason.to_lowercase().contains("check"), "{}", rows[0].reason);
    assert_eq!(rows[0].body, bad.into_bytes());
    assert_eq!(bench.committed("ada").await, ["ada-1"]);
    assert_eq!(bench.parked("ada").await, ["ada-3", "ada-4", "ada-5"]);
    assert_eq!(bench.committed("bob").await.len(), 4);
    assert_eq!(
        bench.number("SELECT count(*) FROM shelf").await,
        5,
        "effects of what is committed, and of nothing else"
    );
    let blocked = "SELECT blocked_by FROM customers WHERE customer_id = 'ada'";
    assert_eq!(bench.column(blocked).await, [rows[0].id.clone()]);
    bench.is_clean(5).await;
}

async fn poison_in_fifo(store: Store) {
    poison(Ordering::Fifo, store).await;
}

async fn poison_in_gapless(store: Store) {
    poison(Ordering::Gapless, store).await;
}
