//! SQS misbehaves in the middle of the load: nothing is lost, nothing is doubled, and it costs few requests.

use std::time::Duration;

use millrace::order::Ordering;

use super::bench::{Bench, Store, ends};
use super::messages::orders;
use crate::random::Random;
use crate::servers::rustack::{Fault, Operation, When};

const RECEIVE: Operation = Operation::ReceiveMessage;
const DELETE: Operation = Operation::DeleteMessageBatch;
const VISIBILITY: Operation = Operation::ChangeMessageVisibilityBatch;

/// What a load came to.
struct Load {
    /// Requests to SQS an order.
    requests: f64,
    /// Deliveries of what was committed already.
    duplicates: u64,
}

/// Sends 600 orders with these faults and expects each of them once. What is lost comes again after `visibility`.
async fn load(ordering: Ordering, visibility: Duration, faults: &[(Operation, When, Fault)]) -> Load {
    let mut random = Random::seeded();
    let mut bench = Bench::with(ordering, Store::Sqlite, |config| config.inbox.visibility_timeout = visibility).await;
    let mut bodies = orders(30, 20);
    if ordering != Ordering::Fifo {
        random.shuffle(&mut bodies);
    }
    bench.send(&bodies).await;
    for (operation, when, fault) in faults {
        bench.sqs.faults().set(*operation, *when, fault.clone());
    }
    let worker = bench.start();
    bench.finished(bodies.len()).await;
    let calls: u64 = [RECEIVE, DELETE, VISIBILITY].map(|operation| bench.sqs.faults().calls(operation)).iter().sum();
    let (_, status) = worker.stop().await;
    assert_eq!(status.outcomes.quarantined, 0);
    bench.is_clean(bodies.len()).await;
    for (operation, ..) in faults {
        assert!(bench.sqs.faults().fired(*operation) > 0, "no fault of {operation:?}");
    }
    let requests = f64::from(u32::try_from(calls).unwrap()) / f64::from(u32::try_from(bodies.len()).unwrap());
    println!("{calls} requests, {requests:.2} an order; {:?}", status.outcomes);
    Load { requests, duplicates: status.outcomes.duplicate }
}

/// Soon, so that a test need not wait long for what is lost.
const SHORT: Duration = Duration::from_secs(2);
/// Longer than the load takes: nothing comes again by itself.
const LONG: Duration = Duration::from_secs(35);

#[tokio::test]
async fn without_a_fault_an_order_costs_little() {
    let Load { requests, duplicates } = load(Ordering::Gapless, LONG, &[]).await;
    assert!(requests < 0.4, "{requests} requests an order");
    assert_eq!(duplicates, 0);
}

#[tokio::test]
async fn throttled_receives() {
    let faults = [(RECEIVE, When::Every(3), Fault::THROTTLED)];
    let Load { requests, duplicates } = load(Ordering::Gapless, LONG, &faults).await;
    assert!(requests < 0.5, "{requests} requests an order");
    assert_eq!(duplicates, 0);
}

/// They are tried again until they are done: no message has to come again for that.
#[tokio::test]
async fn deletes_that_fail_and_may_be_tried_again() {
    let again = Fault::FailEntries { entries: vec![0, 3], sender_fault: false };
    let faults = [
        (DELETE, When::Every(3), Fault::INTERNAL),
        (DELETE, When::Every(2), again),
        (DELETE, When::Nth(7), Fault::LeaveOut(vec![2])),
    ];
    let Load { requests, duplicates } = load(Ordering::Gapless, LONG, &faults).await;
    assert!(requests < 0.5, "{requests} requests an order");
    assert_eq!(duplicates, 0);
}

#[tokio::test]
async fn deletes_that_fail_for_good() {
    let gone = Fault::FailEntries { entries: vec![1], sender_fault: true };
    let Load { requests, duplicates } = load(Ordering::Gapless, SHORT, &[(DELETE, When::Every(4), gone)]).await;
    assert!(requests < 0.5, "{requests} requests an order");
    assert!(duplicates > 0);
}

#[tokio::test]
async fn lost_replies() {
    let faults = [(RECEIVE, When::Every(8), Fault::LoseReply), (DELETE, When::Every(4), Fault::LoseReply)];
    let Load { requests, .. } = load(Ordering::Gapless, SHORT, &faults).await;
    assert!(requests < 0.5, "{requests} requests an order");
}

/// A group gives one message a receive here, so a receive is worth less.
#[tokio::test]
async fn lost_replies_in_fifo() {
    let gone = Fault::FailEntries { entries: vec![0], sender_fault: true };
    let faults = [
        (RECEIVE, When::Every(8), Fault::LoseReply),
        (DELETE, When::Every(4), Fault::LoseReply),
        (DELETE, When::Every(7), gone),
    ];
    load(Ordering::Fifo, SHORT, &faults).await;
}

/// The listener is gone for two seconds, and connections break before and after.
#[tokio::test]
async fn away_for_a_while() {
    let mut random = Random::seeded();
    let mut bench = Bench::with(Ordering::Gapless, Store::Sqlite, |config| {
        config.inbox.visibility_timeout = SHORT;
    })
    .await;
    let mut bodies = orders(50, 16);
    random.shuffle(&mut bodies);
    bench.send(&bodies[..500]).await;
    let worker = bench.start();
    worker.until("it is in the middle of it", |status| ends(&status.outcomes) >= 100).await;
    bench.sqs.cut_connections();
    bench.sqs.stop().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    bench.sqs.restart().await;
    bench.send(&bodies[500..]).await;
    bench.sqs.cut_connections();
    bench.finished(bodies.len()).await;
    let status = worker.status.borrow().clone();
    worker.stop().await;
    assert!(status.last_errors.iter().any(|error| error.from == "inbox"), "{:?}", status.last_errors);
    assert_eq!(status.outcomes.quarantined, 0);
    bench.is_clean(bodies.len()).await;
}
