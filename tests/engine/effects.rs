//! A team's own SQL in the same commit: the example that we publish, under redelivery and unknown commits.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use millrace::order::Ordering;

use super::bench::{Bench, SOON, Store};
use super::messages::{customer, order, order_of};
use super::on_both_ledgers;
use crate::random::Random;
use crate::servers::eventually;
use crate::servers::rustack::{Fault, Operation, When};

on_both_ledgers!(stock_is_exact_after_redelivery, only_the_order_at_fault_is_blamed);

pub(crate) const STOCK: &str =
    "CREATE TABLE stock (sku text PRIMARY KEY, available bigint NOT NULL CHECK (available >= 0))";

/// The example as we publish it; on SQLite without the two words, as it says itself.
pub(crate) async fn reserve_stock(bench: &mut Bench, skus: usize, available: u64) {
    let example = include_str!("../../config/effects.example.sql");
    let sql = if bench.is_sqlite() { example.replace(" FOR UPDATE\n", "\n") } else { example.to_owned() };
    bench.effects(&sql);
    bench.run(STOCK).await;
    for number in 0..skus {
        bench.run(&format!("INSERT INTO stock VALUES ('{}', {available})", sku(number))).await;
    }
}

fn sku(number: usize) -> String {
    format!("sku-{number:02}")
}

/// Orders 1 to `each` of so many customers with random lines, and what they take of each SKU.
fn shopping(random: &mut Random, customers: usize, each: u64, skus: u64) -> (Vec<String>, BTreeMap<String, u64>) {
    let (mut bodies, mut taken) = (Vec::new(), BTreeMap::new());
    for number in 0..customers {
        for sequence in 1..=each {
            let lines: Vec<(String, u64)> = (0..=random.below(3))
                .map(|_| (sku(usize::try_from(random.below(skus)).unwrap()), 1 + random.below(9)))
                .collect();
            for (sku, quantity) in &lines {
                *taken.entry(sku.clone()).or_default() += quantity;
            }
            let lines: Vec<(&str, u64)> = lines.iter().map(|(sku, quantity)| (sku.as_str(), *quantity)).collect();
            bodies.push(order_of(&customer(number), sequence, &lines));
        }
    }
    (bodies, taken)
}

/// What is gone from the shelf is what was ordered, SKU by SKU.
async fn is_exact(bench: &Bench, available: u64, taken: &BTreeMap<String, u64>) {
    let left = bench.column("SELECT sku || ' ' || CAST(available AS text) FROM stock ORDER BY sku").await;
    let expected: Vec<String> = left
        .iter()
        .map(|row| row.split_once(' ').unwrap().0)
        .map(|sku| format!("{sku} {}", available - taken.get(sku).copied().unwrap_or(0)))
        .collect();
    assert_eq!(left, expected);
}

async fn stock_is_exact_after_redelivery(store: Store) {
    let mut random = Random::seeded();
    let mut bench = Bench::new(Ordering::Gapless, store).await;
    reserve_stock(&mut bench, 5, 1_000_000).await;
    let (bodies, taken) = shopping(&mut random, 20, 15, 5);
    bench.send(&random.scatter(&bodies, 20)).await;
    bench.sqs.faults().set(Operation::ReceiveMessage, When::Every(4), Fault::DeliverAgain);
    let worker = bench.start();
    bench.finished(bodies.len()).await;
    let (_, status) = worker.stop().await;
    assert!(status.outcomes.duplicate > 0, "{:?}", status.outcomes);
    assert_eq!(status.outcomes.quarantined, 0);
    bench.is_clean(bodies.len()).await;
    is_exact(&bench, 1_000_000, &taken).await;
}

/// Every connection of the engine is killed again and again in the middle of its work: commits whose answer is lost.
#[tokio::test]
async fn stock_is_exact_after_killed_connections() {
    let mut random = Random::seeded();
    let mut bench = Bench::new(Ordering::Gapless, Store::Postgres).await;
    bench.config.ledger.committers = 4;
    reserve_stock(&mut bench, 5, 1_000_000).await;
    let (bodies, taken) = shopping(&mut random, 40, 25, 5);
    let scattered = random.scatter(&bodies, 5);
    let (first, second) = scattered.split_at(scattered.len() / 2);
    bench.send(first).await;
    let worker = bench.start();
    let killed = Cell::new(0);
    for part in second.chunks(25) {
        bench.send(part).await;
        eventually("a connection is there to be killed", SOON, || async {
            let more = bench
                .number(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                     WHERE datname = current_database() AND application_name = 'millrace'",
                )
                .await;
            killed.set(killed.get() + more);
            more > 0
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random.below(30))).await;
    }
    bench.finished(bodies.len()).await;
    let (_, status) = worker.stop().await;
    println!("{} connections killed; {:?}", killed.get(), status.last_errors);
    assert_eq!(status.outcomes.quarantined, 0);
    bench.is_clean(bodies.len()).await;
    is_exact(&bench, 1_000_000, &taken).await;
}

/// Ten pieces are there. One order of the batch wants eleven: it alone is quarantined, its neighbours commit.
async fn only_the_order_at_fault_is_blamed(store: Store) {
    let mut bench = Bench::new(Ordering::Gapless, store).await;
    reserve_stock(&mut bench, 2, 10).await;
    let mut bodies: Vec<String> =
        (0..8).flat_map(|number| [1, 2].map(|sequence| order(&customer(number), sequence))).collect();
    bodies.push(order_of("greedy", 1, &[("sku-00", 11)]));
    bodies.push(order_of("modest", 1, &[("sku-00", 10), ("sku-01", 1)]));
    bench.send(&bodies).await;
    let worker = bench.start();
    bench.finished(17).await;
    worker.until("the greedy one is quarantined", |status| status.outcomes.quarantined == 1).await;
    bench.drained().await;
    worker.stop().await;
    let rows = bench.quarantined().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].kind.as_str(), rows[0].customer.as_deref()), ("poison", Some("greedy")));
    bench.is_clean(17).await;
    is_exact(&bench, 10, &BTreeMap::from([("sku-00".to_owned(), 10), ("sku-01".to_owned(), 1)])).await;
}
