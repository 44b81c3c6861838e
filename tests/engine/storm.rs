//! Everything at once, in random order: duplicates, malformed and contradicting messages, a queue that misbehaves, a
//! gate that closes and opens, connections that are killed, messages handed back. At the end nothing is wrong.

use std::time::Duration;

use millrace::order::Ordering;
use serde_json::json;

use super::bench::{Bench, SOON, Store, Worker};
use super::messages::{orders, with};
use super::on_both_ledgers;
use crate::random::Random;
use crate::servers::rustack::{Fault, Operation, When};
use crate::servers::{eventually, redis_prefix, redis_url};

on_both_ledgers!(gapless, fifo, none);

async fn gapless(store: Store) {
    storm(Ordering::Gapless, store).await;
}

async fn fifo(store: Store) {
    storm(Ordering::Fifo, store).await;
}

async fn none(store: Store) {
    storm(Ordering::None, store).await;
}

const CUSTOMERS: usize = 20;
const EACH: u64 = 12;
/// Orders whose name comes with another content too.
const CONTRADICTED: usize = 8;

async fn storm(ordering: Ordering, store: Store) {
    let mut random = Random::seeded();
    let mut bench = Bench::with(ordering, store, |config| {
        config.locks.url = redis_url();
        config.locks.prefix = redis_prefix();
        config.flow.messages_max = 150;
        config.hold.keep = Duration::from_millis(300);
        config.inbox.early_wait = Duration::from_millis(20);
        config.inbox.visibility_timeout = Duration::from_secs(2);
        config.ledger.batch_max = 30;
        config.ledger.run_max = 5;
    })
    .await;
    let (sent, quarantined) = messages(&mut random, ordering);
    misbehave(&bench);
    let workers = [bench.start(), bench.start()];
    for part in sent.chunks(20) {
        bench.send(part).await;
        if ordering != Ordering::Fifo {
            bench.send_as(&[(String::new(), "{\"order_id\": 0}".to_owned())]).await;
        }
        strike(&bench, random.below(6)).await;
        tokio::time::sleep(Duration::from_millis(random.below(80))).await;
    }
    bench.open_gate().await;
    bench.sqs.faults().clear();
    let malformed = if ordering == Ordering::Fifo { 0 } else { sent.chunks(20).len() };
    ends_well(&bench, workers, quarantined + malformed).await;
}

/// What is sent, and how many of it cannot be committed because their name stands for another content.
fn messages(random: &mut Random, ordering: Ordering) -> (Vec<String>, usize) {
    let bodies = orders(CUSTOMERS, EACH);
    let wrong = bodies.iter().step_by(bodies.len() / CONTRADICTED).take(CONTRADICTED);
    let wrong: Vec<String> = wrong.map(|body| with(body, "currency", json!("USD"))).collect();
    if ordering == Ordering::Fifo {
        // What is sent first is the order.
        let again: Vec<String> = bodies.iter().step_by(7).cloned().collect();
        return ([bodies, wrong, again].concat(), CONTRADICTED);
    }
    let mut all = random.scatter(&bodies, 10);
    all.extend(wrong);
    random.shuffle(&mut all);
    (all, CONTRADICTED)
}

fn misbehave(bench: &Bench) {
    let faults = bench.sqs.faults();
    let (receive, delete) = (Operation::ReceiveMessage, Operation::DeleteMessageBatch);
    faults.set(receive, When::Every(5), Fault::DeliverAgain);
    faults.set(receive, When::Every(7), Fault::THROTTLED);
    faults.set(receive, When::Every(11), Fault::LoseReply);
    faults.set(delete, When::Every(4), Fault::INTERNAL);
    faults.set(delete, When::Every(3), Fault::FailEntries { entries: vec![0, 2], sender_fault: false });
    faults.set(delete, When::Every(5), Fault::FailEntries { entries: vec![1], sender_fault: true });
    faults.set(Operation::ChangeMessageVisibilityBatch, When::Every(3), Fault::INTERNAL);
}

async fn strike(bench: &Bench, what: u64) {
    match what {
        0 | 1 => bench.close_gate().await,
        2 | 3 => bench.open_gate().await,
        4 if !bench.is_sqlite() => {
            bench
                .number(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                )
                .await;
        }
        _ => bench.sqs.cut_connections(),
    }
}

async fn ends_well(bench: &Bench, workers: [Worker; 2], quarantined: usize) {
    let orders = CUSTOMERS * usize::try_from(EACH).unwrap();
    bench.finished(orders).await;
    eventually("all that is wrong is quarantined", SOON, || async { bench.quarantined().await.len() >= quarantined })
        .await;
    bench.drained().await;
    for worker in workers {
        worker.stop().await;
    }
    let rows = bench.quarantined().await;
    assert_eq!(rows.len(), quarantined, "{rows:#?}");
    assert!(rows.iter().all(|row| row.blocks == 0), "{rows:#?}");
    assert_eq!(bench.number("SELECT count(*) FROM parked_orders").await, 0);
    bench.is_clean(orders).await;
}
