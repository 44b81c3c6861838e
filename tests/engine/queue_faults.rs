//! SQS misbehaves in the middle of the load: nothing is lost, nothing is doubled, and it costs few requests.

use std::time::Duration;

use millrace::order::Ordering;

use super::bench::{Bench, Store, ends};
use super::messages::{Random, orders};
use crate::servers::rustack::{Fault, Operation, When};

const RECEIVE: Operation = Operation::ReceiveMessage;
const DELETE: Operation = Operation::DeleteMessageBatch;
const VISIBILITY: Operation = Operation::ChangeMessageVisibilityBatch;

/// Sends 600 orders with these faults and expects each of them once. Gives the requests an order.
async fn load(ordering: Ordering, faults: &[(Operation, When, Fault)]) -> f64 {
    let mut random = Random::seeded();
    // What is lost comes again soon.
    let mut bench =
        Bench::with(ordering, Store::Sqlite, |config| config.inbox.visibility_timeout = Duration::from_secs(2)).await;
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
    let (_, status) = worker.stop().await;
    assert_eq!(status.outcomes.quarantined, 0);
    bench.is_clean(bodies.len()).await;
    for (operation, ..) in faults {
        assert!(bench.sqs.faults().fired(*operation) > 0, "no fault of {operation:?}");
    }
    let calls: u64 = [RECEIVE, DELETE, VISIBILITY].map(|operation| bench.sqs.faults().calls(operation)).iter().sum();
    let each = f64::from(u32::try_from(calls).unwrap()) / f64::from(u32::try_from(bodies.len()).unwrap());
    println!("{calls} requests, {each:.2} an order");
    each
}

#[tokio::test]
async fn without_a_fault_an_order_costs_little() {
    let each = load(Ordering::Gapless, &[]).await;
    assert!(each < 0.4, "{each} requests an order");
}

#[tokio::test]
async fn throttled_receives() {
    let each = load(Ordering::Gapless, &[(RECEIVE, When::Every(3), Fault::THROTTLED)]).await;
    assert!(each < 0.5, "{each} requests an order");
}

#[tokio::test]
async fn deletes_that_fail_as_a_whole() {
    let each = load(Ordering::Gapless, &[(DELETE, When::Every(3), Fault::INTERNAL)]).await;
    assert!(each < 0.5, "{each} requests an order");
}

#[tokio::test]
async fn deletes_that_fail_in_part() {
    let again = Fault::FailEntries { entries: vec![0, 3], sender_fault: false };
    let gone = Fault::FailEntries { entries: vec![1], sender_fault: true };
    let faults = [
        (DELETE, When::Every(2), again),
        (DELETE, When::Every(5), gone),
        (DELETE, When::Nth(7), Fault::LeaveOut(vec![2])),
    ];
    let each = load(Ordering::Gapless, &faults).await;
    assert!(each < 0.5, "{each} requests an order");
}

#[tokio::test]
async fn lost_replies() {
    let faults = [(RECEIVE, When::Every(8), Fault::LoseReply), (DELETE, When::Every(4), Fault::LoseReply)];
    let each = load(Ordering::Gapless, &faults).await;
    assert!(each < 0.5, "{each} requests an order");
}

#[tokio::test]
async fn lost_replies_in_fifo() {
    // A group gives one message a receive here, so a receive is worth less.
    load(
        Ordering::Fifo,
        &[
            (RECEIVE, When::Every(8), Fault::LoseReply),
            (DELETE, When::Every(4), Fault::LoseReply),
            (DELETE, When::Every(7), Fault::FailEntries { entries: vec![0], sender_fault: true }),
        ],
    )
    .await;
}

/// The listener is gone for two seconds, and connections break before and after.
#[tokio::test]
async fn away_for_a_while() {
    let mut random = Random::seeded();
    let mut bench = Bench::with(Ordering::Gapless, Store::Sqlite, |config| {
        config.inbox.visibility_timeout = Duration::from_secs(2);
    })
    .await;
    let mut bodies = orders(50, 30);
    random.shuffle(&mut bodies);
    bench.send(&bodies[..1_000]).await;
    let worker = bench.start();
    worker.until("it is in the middle of it", |status| ends(&status.outcomes) >= 100).await;
    bench.sqs.cut_connections();
    bench.sqs.stop().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    bench.sqs.restart().await;
    bench.send(&bodies[1_000..]).await;
    bench.sqs.cut_connections();
    bench.finished(bodies.len()).await;
    let status = worker.status.borrow().clone();
    worker.stop().await;
    assert!(status.last_errors.iter().any(|error| error.from == "inbox"), "{:?}", status.last_errors);
    assert_eq!(status.outcomes.quarantined, 0);
    bench.is_clean(bodies.len()).await;
}
