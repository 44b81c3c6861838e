//! Orders that contradict what the ledger knows: the first one stays, the other one goes to quarantine and blocks
//! nobody. And numbers far ahead, which are parked.

use millrace::order::Ordering;
use serde_json::json;

use super::bench::{Bench, Store};
use super::messages::{order, with};
use super::on_both_ledgers;
use crate::servers::rustack::{Fault, Operation, When};

on_both_ledgers!(far_ahead, another_order_at_a_parked_place, reused_name_in_one_receive, reused_name_in_fifo);

/// Commits `ada-1`, then sends `wrong` and has it delivered twice: one row, the whole body, and Ada goes on.
async fn contradicts(ordering: Ordering, store: Store, wrong: String, reason: &str) {
    let mut bench = Bench::new(ordering, store).await;
    bench.send(&[order("ada", 1)]).await;
    let worker = bench.start();
    bench.finished(1).await;
    worker.stop().await;

    bench.sqs.faults().set(Operation::ReceiveMessage, When::First(1), Fault::DeliverAgain);
    bench.send(std::slice::from_ref(&wrong)).await;
    let worker = bench.start();
    worker.until("both deliveries are quarantined", |status| status.outcomes.quarantined == 2).await;
    bench.send(&[order("ada", 2), order("bob", 1)]).await;
    bench.finished(3).await;
    worker.stop().await;
    let rows = bench.quarantined().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].kind.as_str(), rows[0].blocks), ("conflict", 0), "{rows:?}");
    assert!(rows[0].reason.contains(reason), "{}", rows[0].reason);
    assert_eq!(rows[0].body, wrong.into_bytes());
    assert_eq!(bench.column("SELECT body FROM orders WHERE order_id = 'ada-1'").await, [order("ada", 1)]);
    assert_eq!(bench.committed("ada").await, ["ada-1", "ada-2"]);
    bench.is_clean(3).await;
}

#[tokio::test]
async fn reused_name_at_the_same_place() {
    let wrong = with(&order("ada", 1), "currency", json!("USD"));
    contradicts(Ordering::Gapless, Store::Sqlite, wrong, "ada-1").await;
}

#[tokio::test]
async fn reused_name_at_the_next_place() {
    let wrong = with(&order("ada", 1), "sequence", json!(2));
    contradicts(Ordering::Gapless, Store::Sqlite, wrong, "ada-1").await;
}

#[tokio::test]
async fn reused_name_of_another_customer() {
    let wrong = with(&order("ada", 1), "customer_id", json!("bob"));
    contradicts(Ordering::Gapless, Store::Sqlite, wrong, "ada-1").await;
}

#[tokio::test]
async fn another_order_at_a_taken_place() {
    let wrong = with(&order("ada", 1), "order_id", json!("late"));
    contradicts(Ordering::Gapless, Store::Sqlite, wrong, "belongs to").await;
}

/// All of these in one batch, on PostgreSQL: each is told apart from its neighbours.
#[tokio::test]
async fn many_contradictions_at_once() {
    let mut bench = Bench::new(Ordering::Gapless, Store::Postgres).await;
    let customers = ["ada", "bob", "cyd", "dan"];
    bench.send(&customers.map(|customer| order(customer, 1))).await;
    let worker = bench.start();
    bench.finished(4).await;
    worker.stop().await;

    let mut wrong = vec![
        with(&order("ada", 1), "currency", json!("USD")),
        with(&order("bob", 1), "sequence", json!(2)),
        with(&order("cyd", 1), "customer_id", json!("eve")),
        with(&order("dan", 1), "order_id", json!("late")),
    ];
    bench.sqs.faults().set(Operation::ReceiveMessage, When::First(1), Fault::DeliverAgain);
    bench.send(&wrong).await;
    bench.send(&customers.map(|customer| order(customer, 2))).await;
    let worker = bench.start();
    worker.until("all are quarantined, twice", |status| status.outcomes.quarantined == 8).await;
    bench.finished(8).await;
    worker.stop().await;
    let rows = bench.quarantined().await;
    assert!(rows.iter().all(|row| row.kind == "conflict" && row.blocks == 0), "{rows:?}");
    let mut kept: Vec<String> = rows.into_iter().map(|row| String::from_utf8(row.body).unwrap()).collect();
    kept.sort();
    wrong.sort();
    assert_eq!(kept, wrong);
    bench.is_clean(8).await;
}

async fn reused_name_in_fifo(store: Store) {
    let wrong = with(&order("ada", 1), "currency", json!("USD"));
    contradicts(Ordering::Fifo, store, wrong, "ada-1").await;
}

/// Two contents under one name, received together: one of them is the order.
async fn reused_name_in_one_receive(store: Store) {
    let mut bench = Bench::new(Ordering::Gapless, store).await;
    let (euro, dollar) = (order("ada", 1), with(&order("ada", 1), "currency", json!("USD")));
    bench.send(&[euro.clone(), dollar.clone(), euro.clone(), dollar.clone()]).await;
    let worker = bench.start();
    worker.ended(4).await;
    bench.drained().await;
    worker.stop().await;
    let rows = bench.quarantined().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].kind, "conflict");
    let mut kept = bench.column("SELECT body FROM orders").await;
    kept.push(String::from_utf8(rows[0].body.clone()).unwrap());
    kept.sort();
    assert_eq!(kept, [euro, dollar]);
    bench.is_clean(1).await;
}

/// It is parked, also when it is the customer's very first, and stays so when it is delivered again.
async fn far_ahead(store: Store) {
    let mut bench = Bench::new(Ordering::Gapless, store).await;
    let far = i64::MAX.unsigned_abs();
    bench.send(&[order("ada", 1), order("ada", 1_000), order("bob", far)]).await;
    bench.sqs.faults().set(Operation::ReceiveMessage, When::First(1), Fault::DeliverAgain);
    let worker = bench.start();
    worker.until("all are parked, twice", |status| status.outcomes.parked == 4).await;
    bench.drained().await;
    let (_, status) = worker.stop().await;
    assert_eq!(status.outcomes.quarantined, 0);
    assert_eq!(bench.parked("ada").await, ["ada-1000"]);
    assert_eq!(bench.parked("bob").await, [format!("bob-{far}")]);
    bench.is_clean(1).await;
}

async fn another_order_at_a_parked_place(store: Store) {
    let mut bench = Bench::new(Ordering::Gapless, store).await;
    bench.send(&[order("ada", 9)]).await;
    let worker = bench.start();
    worker.until("it is parked", |status| status.outcomes.parked == 1).await;
    // Its place is taken by name, its name by another place, and its content differs.
    let wrong = [
        with(&order("ada", 9), "order_id", json!("late")),
        with(&order("ada", 9), "sequence", json!(8)),
        with(&order("ada", 9), "currency", json!("USD")),
    ];
    bench.send(&wrong).await;
    worker.until("all are quarantined", |status| status.outcomes.quarantined == 3).await;
    bench.drained().await;
    worker.stop().await;
    let rows = bench.quarantined().await;
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(rows.iter().all(|row| row.kind == "conflict" && row.blocks == 0), "{rows:?}");
    assert_eq!(bench.parked("ada").await, ["ada-9"]);
    bench.is_clean(0).await;
}
