//! Redis away: every mode goes on without locks, and says so.

use millrace::metrics;
use millrace::order::Ordering;
use millrace::status::{LocksState, Status};

use super::bench::{Bench, Store, Worker};
use super::messages::orders;
use crate::servers::redis;

fn are_away(status: &Status) -> bool {
    matches!(&status.locks, LocksState::Away { reason, .. } if !reason.is_empty())
}

/// The gauge that an alert looks at.
fn gauge(status: &Status) -> String {
    let text = metrics::render(status);
    let line = text.lines().find(|line| line.starts_with("millrace_locks_away ")).map(str::to_owned);
    line.unwrap_or_else(|| panic!("no gauge of the locks in\n{text}"))
}

async fn without_redis(ordering: Ordering) {
    let mut server = redis::Server::start().await;
    let mut bench = Bench::with(ordering, Store::Sqlite, |config| config.locks.url = server.url()).await;
    let bodies = orders(10, 12);
    server.kill().await;
    let worker = bench.start();
    bench.send(&bodies[..40]).await;
    bench.finished(40).await;
    worker.until("it shows that the locks are away", are_away).await;
    assert_eq!(gauge(&worker.status.borrow()), "millrace_locks_away 1");

    server.start_again().await;
    come_back(&mut bench, &worker, &bodies[40..80]).await;

    // Away in the middle of the load.
    bench.send(&bodies[80..100]).await;
    server.kill().await;
    bench.send(&bodies[100..]).await;
    bench.finished(120).await;
    let (report, status) = worker.stop().await;
    assert_eq!(report.at_risk, 0);
    assert_eq!(status.outcomes.quarantined, 0);
    bench.is_clean(120).await;
}

/// It asks again by itself; each message is another occasion.
async fn come_back(bench: &mut Bench, worker: &Worker, bodies: &[String]) {
    for part in bodies.chunks(4) {
        bench.send(part).await;
        bench.drained().await;
    }
    worker.until("it shows that the locks are back", |status| status.locks == LocksState::Redis).await;
    assert_eq!(gauge(&worker.status.borrow()), "millrace_locks_away 0");
}

#[tokio::test]
async fn in_gapless() {
    without_redis(Ordering::Gapless).await;
}

#[tokio::test]
async fn in_fifo() {
    without_redis(Ordering::Fifo).await;
}

#[tokio::test]
async fn in_none() {
    without_redis(Ordering::None).await;
}
