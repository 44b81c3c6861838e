//! What is held is bounded; at the bound receiving stops.

use std::time::Duration;

use millrace::order::Ordering;
use millrace::status::Route;

use super::bench::{Bench, Store, Worker};
use super::messages::{customer, order, orders};

const MOST: u64 = 50;

/// Looks at the queue again and again until `over`, and gives the most messages that were in flight.
async fn most_in_flight(bench: &Bench, worker: &Worker, mut over: impl FnMut(&Worker) -> bool) -> u64 {
    let mut most = 0;
    while !over(worker) {
        most = most.max(bench.in_flight().await);
        assert!(worker.status.borrow().held_messages <= MOST);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    most
}

/// The ledger is closed: the engine takes no more than it may hold.
#[tokio::test]
async fn closed_ledger() {
    let mut bench = Bench::with(Ordering::Gapless, Store::Sqlite, |config| {
        config.flow.messages_max = 50;
        config.inbox.polls_max = 8;
    })
    .await;
    let bodies = orders(30, 20);
    bench.send(&bodies).await;
    bench.close_gate().await;
    let worker = bench.start();
    let probed = |worker: &Worker| {
        let status = worker.status.borrow();
        status.route != Route::Direct && status.requests.sql >= 10
    };
    let bounded = most_in_flight(&bench, &worker, probed);
    let most = tokio::time::timeout(super::bench::SOON, bounded).await.expect("it probes");
    assert!((1..=MOST).contains(&most), "{most} were in flight");
    bench.open_gate().await;
    bench.finished(bodies.len()).await;
    worker.stop().await;
    bench.is_clean(bodies.len()).await;
}

/// Three hundred customers whose first order comes last.
#[tokio::test]
async fn early_orders_do_not_fill_memory() {
    let mut bench = Bench::with(Ordering::Gapless, Store::Sqlite, |config| {
        config.flow.messages_max = 50;
        // Far longer than the test: only a full memory may park.
        config.inbox.early_wait = Duration::from_mins(10);
    })
    .await;
    let gaps: Vec<String> = (0..150).flat_map(|number| [3, 2].map(|place| order(&customer(number), place))).collect();
    let firsts: Vec<String> = (0..150).map(|number| order(&customer(number), 1)).collect();
    bench.send(&gaps).await;
    let worker = bench.start();
    let parked = |worker: &Worker| worker.outcomes().parked >= 240;
    let bounded = most_in_flight(&bench, &worker, parked);
    let most = tokio::time::timeout(super::bench::SOON, bounded).await.expect("it parks what is early");
    assert!((1..=MOST).contains(&most), "{most} were in flight");
    bench.send(&firsts).await;
    bench.finished(450).await;
    worker.stop().await;
    bench.is_clean(450).await;
}
