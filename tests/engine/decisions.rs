//! Quarantine is emptied while the engine runs: what is parked behind a decided entry follows, in order.

use std::sync::Arc;

use millrace::ledger::decisions::{Decision, Decisions as _};
use millrace::ledger::{self, AnyLedger, Ledger as _, Placed};
use millrace::order::{CustomerId, Entry, Order, Ordering};

use super::bench::{Bench, SOON, Store, Worker};
use super::effects::reserve_stock;
use super::messages::{order, order_of};
use super::on_both_ledgers;
use crate::servers::eventually;

on_both_ledgers!(
    repaired_in_gapless,
    repaired_in_fifo,
    replaced_in_gapless,
    replaced_in_fifo,
    skipped_in_gapless,
    skipped_in_fifo,
    without_order,
    a_missing_number,
    a_conflict
);

/// Ten pieces are there, and Ada's second order wants eleven; what follows it is parked.
async fn blocked(ordering: Ordering, store: Store) -> (Bench, Worker) {
    let mut bench = Bench::new(ordering, store).await;
    reserve_stock(&mut bench, 2, 10).await;
    bench.send(&[line(1), greedy(), line(3)]).await;
    let worker = bench.start();
    worker.until("the greedy one is quarantined", |status| status.outcomes.quarantined == 1).await;
    bench.send(&[line(4), order_of("bob", 1, &[("sku-01", 1)])]).await;
    worker.until("its followers are parked", |status| status.outcomes.parked == 2).await;
    bench.finished(2).await;
    (bench, worker)
}

/// An order of Ada's that commits.
fn line(sequence: u64) -> String {
    order_of("ada", sequence, &[("sku-01", 1)])
}

fn greedy() -> String {
    order_of("ada", 2, &[("sku-00", 11)])
}

async fn desk(bench: &Bench) -> <AnyLedger as ledger::Ledger>::Decisions {
    ledger::open(&bench.config).unwrap().decisions().await.unwrap()
}

/// The one entry in quarantine.
async fn entry(bench: &Bench) -> String {
    let listed = desk(bench).await.list(None, 10).await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    listed[0].id.clone()
}

fn placed(ordering: Ordering, body: &str) -> Placed {
    let order = Order::decode(ordering, body.to_owned()).unwrap();
    Placed { rank: 0, entry: Arc::new(Entry::Order(order)) }
}

async fn repaired(ordering: Ordering, store: Store) {
    let (bench, worker) = blocked(ordering, store).await;
    let id = entry(&bench).await;
    // Nothing is repaired yet: it fails again, and blocks again.
    assert_eq!(desk(&bench).await.retry(&id, "ann").await, Ok(Decision::Done));
    eventually("it is back in quarantine", SOON, async || {
        bench.number("SELECT count(*) FROM customers WHERE blocked_by IS NOT NULL AND parked = 2").await == 1
    })
    .await;
    assert_eq!(bench.committed("ada").await, ["ada-1"]);
    bench.run("UPDATE stock SET available = 100 WHERE sku = 'sku-00'").await;
    assert_eq!(desk(&bench).await.retry(&id, "ann").await, Ok(Decision::Done));
    bench.finished(5).await;
    goes_on(bench, worker, &["ada-1", "ada-2", "ada-3", "ada-4"]).await;
}

/// The customer's line, and that its next order commits as ever; then everything is as it should be.
async fn goes_on(mut bench: Bench, worker: Worker, line_of_ada: &[&str]) {
    bench.send(&[line(5)]).await;
    // Bob's order and the one that was sent just now.
    bench.finished(line_of_ada.len() + 2).await;
    worker.stop().await;
    let expected: Vec<&str> = line_of_ada.iter().copied().chain(["ada-5"]).collect();
    assert_eq!(bench.committed("ada").await, expected);
    assert_eq!(bench.parked("ada").await, Vec::<String>::new());
    bench.is_clean(expected.len() + 1).await;
}

async fn repaired_in_gapless(store: Store) {
    repaired(Ordering::Gapless, store).await;
}

async fn repaired_in_fifo(store: Store) {
    repaired(Ordering::Fifo, store).await;
}

/// By an order with another content, or with another name.
async fn replaced(ordering: Ordering, store: Store) {
    for name in ["ada-2", "ada-2b"] {
        let (bench, worker) = blocked(ordering, store.clone()).await;
        let body = order_of("ada", 2, &[("sku-00", 3)]).replace("ada-2", name);
        let decision = desk(&bench).await.replace(&entry(&bench).await, &placed(ordering, &body), "ann").await;
        assert_eq!(decision, Ok(Decision::Done));
        bench.finished(5).await;
        assert_eq!(bench.number("SELECT available FROM stock WHERE sku = 'sku-00'").await, 7);
        goes_on(bench, worker, &["ada-1", name, "ada-3", "ada-4"]).await;
    }
}

async fn replaced_in_gapless(store: Store) {
    replaced(Ordering::Gapless, store).await;
}

async fn replaced_in_fifo(store: Store) {
    replaced(Ordering::Fifo, store).await;
}

async fn skipped(ordering: Ordering, store: Store) {
    let (mut bench, worker) = blocked(ordering, store).await;
    let decision = desk(&bench).await.skip(&entry(&bench).await, "too greedy", "ann").await;
    assert_eq!(decision, Ok(Decision::Done));
    bench.finished(4).await;
    // What was skipped is over: sent once more, it is a duplicate.
    bench.send(&[greedy()]).await;
    worker.until("it is a duplicate", |status| status.outcomes.duplicate == 1).await;
    assert_eq!(bench.number("SELECT position FROM tombstones WHERE order_id = 'ada-2'").await, 2);
    goes_on(bench, worker, &["ada-1", "ada-3", "ada-4"]).await;
}

async fn skipped_in_gapless(store: Store) {
    skipped(Ordering::Gapless, store).await;
}

async fn skipped_in_fifo(store: Store) {
    skipped(Ordering::Fifo, store).await;
}

/// In `none` nothing is blocked, and what was repaired is committed when its time comes.
async fn without_order(store: Store) {
    let mut bench = Bench::new(Ordering::None, store).await;
    reserve_stock(&mut bench, 2, 10).await;
    let greedy = |name: &str| order_of("ada", 2, &[("sku-00", 11)]).replace("ada-2", name);
    bench.send(&[line(1), greedy("x"), greedy("y"), greedy("z"), line(3)]).await;
    let worker = bench.start();
    worker.until("three are quarantined", |status| status.outcomes.quarantined == 3).await;
    bench.finished(2).await;
    bench.run("UPDATE stock SET available = 100").await;
    let mut desk = desk(&bench).await;
    for entry in desk.list(None, 10).await.unwrap() {
        assert_eq!(desk.retry(&entry.id, "ann").await, Ok(Decision::Done));
    }
    bench.send(&[line(4)]).await;
    bench.finished(6).await;
    worker.stop().await;
    assert_eq!(bench.parked("ada").await, Vec::<String>::new());
    bench.is_clean(6).await;
}

async fn a_missing_number(store: Store) {
    let mut bench = Bench::new(Ordering::Gapless, store).await;
    bench.send(&[order("ada", 1), order("ada", 3), order("ada", 4), order("bob", 2)]).await;
    let worker = bench.start();
    worker.until("three are parked", |status| status.outcomes.parked == 3).await;
    let mut desk = desk(&bench).await;
    for (customer, number) in [("ada", 2), ("bob", 1)] {
        let skipped = desk.skip_gap(&CustomerId::new(customer), number, "never sent", "ann").await;
        assert_eq!(skipped, Ok(Decision::Done));
    }
    bench.finished(4).await;
    // It comes after all: it waits for a person, and holds nobody up.
    bench.send(&[order("ada", 2), order("ada", 5)]).await;
    worker.until("it is quarantined", |status| status.outcomes.quarantined == 1).await;
    bench.finished(5).await;
    worker.stop().await;
    assert_eq!(bench.committed("ada").await, ["ada-1", "ada-3", "ada-4", "ada-5"]);
    bench.is_clean(5).await;
}

/// An order for a place that another one has gets a number of its own.
async fn a_conflict(store: Store) {
    let mut bench = Bench::new(Ordering::Gapless, store).await;
    bench.send(&[order("ada", 1), order("ada", 1).replace("ada-1", "late")]).await;
    let worker = bench.start();
    worker.until("one of them is quarantined", |status| status.outcomes.quarantined == 1).await;
    bench.finished(1).await;
    let id = entry(&bench).await;
    let mut desk = desk(&bench).await;
    let refused = desk.retry(&id, "ann").await.unwrap();
    assert!(matches!(&refused, Decision::Refused(why) if why.contains("the next one is 2")), "{refused:?}");
    let body = desk.show(&id).await.unwrap().unwrap().body;
    let body = body.replace("\"sequence\":1", "\"sequence\":2");
    let replaced = desk.replace(&id, &placed(Ordering::Gapless, &body), "ann").await;
    assert_eq!(replaced, Ok(Decision::Done));
    bench.finished(2).await;
    worker.stop().await;
    bench.is_clean(2).await;
}
