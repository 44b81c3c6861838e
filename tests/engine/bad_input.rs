//! Messages that are no orders: each ends in quarantine with its reason and its whole body, one row however often SQS
//! delivers it; in `gapless` it stops nobody, in `fifo` its group.

use std::time::Duration;

use millrace::order::{MAX_BODY_BYTES, Ordering};
use serde_json::json;

use super::bench::{Bench, Store};
use super::messages::{order, with, without};
use crate::servers::rustack::{Fault, Operation, When};

/// The next receive's messages are delivered once more.
fn deliver_twice(bench: &Bench) {
    bench.sqs.faults().clear();
    bench.sqs.faults().set(Operation::ReceiveMessage, When::First(1), Fault::DeliverAgain);
}

async fn in_gapless(body: String, reason: &str) {
    let mut bench = Bench::new(Ordering::Gapless, Store::Sqlite).await;
    bench.send(&[order("ada", 1)]).await;
    bench.send_as(&[(String::new(), body.clone())]).await;
    bench.send(&[order("ada", 2), order("bob", 1)]).await;
    deliver_twice(&bench);
    let worker = bench.start();
    worker.until("both deliveries are quarantined", |status| status.outcomes.quarantined == 2).await;
    worker.ended(8).await;
    bench.drained().await;
    worker.stop().await;

    let rows = bench.quarantined().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(rows[0].id.starts_with('!'), "{rows:?}");
    assert_eq!((rows[0].kind.as_str(), rows[0].blocks, &rows[0].customer), ("malformed", 0, &None));
    assert!(rows[0].reason.contains(reason), "{}", rows[0].reason);
    assert!(rows[0].body == body.into_bytes(), "the body is not the one that was sent");
    bench.is_clean(3).await;
}

/// Ada's group: the message, then two orders. Bob's: one order.
async fn in_fifo(body: String, reason: &str) {
    let mut bench = Bench::new(Ordering::Fifo, Store::Sqlite).await;
    bench.send_as(&[("ada".to_owned(), body.clone())]).await;
    bench.send(&[order("ada", 1), order("ada", 2), order("bob", 1)]).await;
    deliver_twice(&bench);
    let worker = bench.start();
    worker.until("both deliveries are quarantined", |status| status.outcomes.quarantined == 2).await;
    worker.until("the followers are parked", |status| status.outcomes.parked == 2).await;
    worker.until("Bob's order is committed", |status| status.outcomes.committed == 1).await;
    bench.drained().await;
    worker.stop().await;

    let rows = bench.quarantined().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].kind.as_str(), rows[0].blocks), ("malformed", 1));
    assert!(rows[0].reason.contains(reason), "{}", rows[0].reason);
    assert!(rows[0].body == body.into_bytes(), "the body is not the one that was sent");
    let blocked = "SELECT blocked_by FROM customers WHERE customer_id = 'ada'";
    assert_eq!(bench.column(blocked).await, [rows[0].id.clone()]);
    assert_eq!(bench.parked("ada").await, ["ada-1", "ada-2"]);
    assert_eq!(bench.committed("bob").await, ["bob-1"]);
    bench.is_clean(1).await;
}

fn padded_to(bytes: usize) -> String {
    let bare = with(&order("cyd", 1), "note", json!(""));
    with(&bare, "note", json!("x".repeat(bytes - bare.len())))
}

fn dear(quantity: u64) -> String {
    let lines = json!([{ "sku": "yacht", "quantity": quantity, "unit_price_minor": i64::MAX }]);
    with(&order("cyd", 1), "lines", lines)
}

macro_rules! cases {
    ($in:ident: $($name:ident => $body:expr, $reason:expr;)+) => {
        $(#[tokio::test]
        async fn $name() {
            $in($body, $reason).await;
        })+
    };
}

mod gapless {
    use super::*;

    cases! { in_gapless:
        not_json => "this is no order".to_owned(), "not an order";
        json_but_no_object => "[1, 2, 3]".to_owned(), "not an order";
        field_is_missing => without(&order("cyd", 1), "currency"), "currency";
        field_has_wrong_type => with(&order("cyd", 1), "lines", json!("none")), "not an order";
        sum_overflows => dear(2), "overflows";
        nul_in_text => with(&order("cyd", 1), "note", json!("\0")), "NUL";
        raw_nul => "{\"order_id\": \"\0\"}".to_owned(), "not an order";
        customer_of_unknown_form => with(&order("cyd", 1), "customer_id", json!("c y d")), "customer_id";
        sequence_is_missing => without(&order("cyd", 1), "sequence"), "sequence: missing";
        sequence_is_zero => with(&order("cyd", 1), "sequence", json!(0)), "sequence: is 0";
        sequence_is_negative => with(&order("cyd", 1), "sequence", json!(-1)), "not an order";
        sequence_is_beyond_sql => with(&order("cyd", 1), "sequence", json!(u64::MAX)), "sequence: is above";
    }
}

mod fifo {
    use super::*;

    cases! { in_fifo:
        not_json => "this is no order".to_owned(), "not an order";
        nul_in_text => with(&order("ada", 9), "note", json!("\0")), "NUL";
        sequence_is_zero => with(&order("ada", 9), "sequence", json!(0)), "sequence: is 0";
        group_is_not_customer => order("cyd", 1), "message group \"ada\" is not the customer \"cyd\"";
    }
}

/// One byte more than a message may have. It comes twice because its first delete fails for good.
async fn too_large(ordering: Ordering) {
    let bench =
        Bench::with(ordering, Store::Sqlite, |config| config.inbox.visibility_timeout = Duration::from_secs(5)).await;
    let faults = bench.sqs.faults();
    faults.set(Operation::ReceiveMessage, When::Always, Fault::EnlargeBodies(1));
    let gone = Fault::FailEntries { entries: vec![0], sender_fault: true };
    faults.set(Operation::DeleteMessageBatch, When::Nth(1), gone);
    let body = padded_to(MAX_BODY_BYTES);
    bench.send_as(&[("cyd".to_owned(), body.clone())]).await;
    let worker = bench.start();
    worker.until("both deliveries are quarantined", |status| status.outcomes.quarantined == 2).await;
    bench.drained().await;
    worker.stop().await;
    let rows = bench.quarantined().await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].kind.as_str(), rows[0].blocks), ("malformed", i64::from(ordering == Ordering::Fifo)));
    assert!(rows[0].reason.contains("too large: 262145 bytes"), "{}", rows[0].reason);
    assert!(rows[0].body == format!("{body} ").into_bytes(), "the body is not the one that came");
    bench.is_clean(0).await;
}

#[tokio::test]
async fn too_large_in_gapless() {
    too_large(Ordering::Gapless).await;
}

#[tokio::test]
async fn too_large_in_fifo() {
    too_large(Ordering::Fifo).await;
}

/// What stands just inside the bounds is an order.
#[tokio::test]
async fn at_the_bounds_it_is_an_order() {
    let mut bench = Bench::new(Ordering::Gapless, Store::Postgres).await;
    let largest = padded_to(MAX_BODY_BYTES);
    assert_eq!(largest.len(), MAX_BODY_BYTES);
    let second = with(&with(&dear(1), "sequence", json!(2)), "order_id", json!("cyd-2"));
    let body = largest.clone();
    bench.send(&[largest, second, order("dan", 1)]).await;
    let worker = bench.start();
    bench.finished(3).await;
    worker.stop().await;
    assert_eq!(bench.column("SELECT body FROM orders WHERE order_id = 'cyd-1'").await, [body]);
    bench.is_clean(3).await;
}

/// `fifo` and `none` need no number.
#[tokio::test]
async fn without_a_sequence_it_is_an_order_elsewhere() {
    for ordering in [Ordering::Fifo, Ordering::None] {
        let mut bench = Bench::new(ordering, Store::Sqlite).await;
        bench.send(&[without(&order("ada", 1), "sequence")]).await;
        let worker = bench.start();
        bench.finished(1).await;
        worker.stop().await;
        bench.is_clean(1).await;
    }
}

/// All kinds at once, twice each, on PostgreSQL: its text cannot hold what some of them hold.
#[tokio::test]
async fn a_whole_batch_of_them() {
    let mut bench = Bench::new(Ordering::Gapless, Store::Postgres).await;
    let bad = [
        "this is no order".to_owned(),
        String::from("\"\\ud800\""),
        with(&order("cyd", 1), "note", json!("\0")),
        "{\"order_id\": \"\0\"}".to_owned(),
        with(&order("cyd", 1), "sequence", json!(0)),
        dear(2),
    ];
    bench.send_as(&bad.clone().map(|body| (String::new(), body))).await;
    bench.send(&[order("ada", 1)]).await;
    deliver_twice(&bench);
    let worker = bench.start();
    worker.ended(14).await;
    bench.drained().await;
    let (_, status) = worker.stop().await;
    assert_eq!(status.outcomes.quarantined, 12);
    let mut kept: Vec<Vec<u8>> = bench.quarantined().await.into_iter().map(|row| row.body).collect();
    let mut sent = bad.map(String::into_bytes).to_vec();
    kept.sort();
    sent.sort();
    assert_eq!(kept, sent);
    bench.is_clean(1).await;
}
