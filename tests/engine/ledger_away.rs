//! The ledger is closed or away: Hold. Nothing is received, nothing is lost, and it goes on by itself.

use std::time::Duration;

use millrace::config;
use millrace::http::{Server, View};
use millrace::order::Ordering;
use millrace::status::Route;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, SOON, Store, Worker};
use super::messages::orders;
use super::on_both_ledgers;
use crate::random::Random;
use crate::servers::rustack::Operation;
use crate::servers::{self, eventually};

on_both_ledgers!(closed_gate, kept_no_longer_than_told);

fn holds(route: Route) -> bool {
    matches!(route, Route::Hold | Route::Probing)
}

/// Waits until no receive is under way, then counts them.
async fn receives(bench: &Bench, worker: &Worker) -> u64 {
    worker.until("no poll is under way", |status| status.polls == 0).await;
    bench.sqs.faults().calls(Operation::ReceiveMessage)
}

async fn closed_gate(store: Store) {
    let mut random = Random::seeded();
    let mut bench = Bench::new(Ordering::Gapless, store).await;
    let mut bodies = orders(20, 20);
    random.shuffle(&mut bodies);
    let (before, while_closed) = bodies.split_at(200);
    let (most, last) = before.split_at(190);
    let worker = bench.start();
    bench.send(most).await;
    bench.close_gate().await;
    // Something is to be written after that, however fast the engine was.
    bench.send(last).await;
    worker.until("it holds", |status| holds(status.route)).await;
    let reason = worker.status.borrow().route_reason.clone();
    assert!(reason.as_ref().is_some_and(|reason| reason.contains("gate")), "{reason:?}");
    let committed = bench.number("SELECT count(*) FROM orders").await;
    let asked = receives(&bench, &worker).await;
    bench.send(while_closed).await;
    let probes = worker.status.borrow().requests.sql;
    worker.until("it has probed some more", |status| status.requests.sql >= probes + 5).await;
    assert_eq!(bench.sqs.faults().calls(Operation::ReceiveMessage), asked, "nothing is received");
    assert!(bench.visible().await >= while_closed.len() as u64);
    assert_eq!(bench.number("SELECT count(*) FROM orders").await, committed);

    bench.open_gate().await;
    bench.finished(bodies.len()).await;
    worker.until("it goes on", |status| status.route == Route::Direct).await;
    let (_, status) = worker.stop().await;
    assert_eq!((status.outcomes.quarantined, status.outcomes.returned), (0, 0));
    bench.is_clean(bodies.len()).await;
}

/// What is held longer than `hold.keep` goes back to SQS, and comes again when the ledger is open.
async fn kept_no_longer_than_told(store: Store) {
    let mut bench = Bench::with(Ordering::Gapless, store, |config| config.hold.keep = Duration::from_secs(4)).await;
    let bodies = orders(10, 5);
    bench.close_gate().await;
    let worker = bench.start();
    bench.send(&bodies).await;
    worker.until("it holds messages", |status| holds(status.route) && status.held_messages > 0).await;
    assert!(bench.in_flight().await > 0);
    eventually("all messages are visible again", SOON, || async {
        bench.visible().await == bodies.len() as u64 && bench.in_flight().await == 0
    })
    .await;
    worker.until("nothing is held", |status| status.held_messages == 0 && status.outcomes.returned > 0).await;
    bench.open_gate().await;
    bench.finished(bodies.len()).await;
    let (report, _) = worker.stop().await;
    assert_eq!(report.at_risk, 0);
    bench.is_clean(bodies.len()).await;
}

/// The first line of the answer to a GET.
async fn get(address: std::net::SocketAddr, path: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A server that crashes and comes back. Meanwhile `/ready` says no and `/live` yes.
#[tokio::test]
async fn crashed_server() {
    let mut random = Random::seeded();
    let mut server = servers::postgres::Server::start().await;
    let url = server.create("ledger").await;
    let mut bench = Bench::new(Ordering::Gapless, Store::At(url)).await;
    let mut bodies = orders(20, 20);
    random.shuffle(&mut bodies);
    let worker = bench.start();
    let page = Server::bind(&config::Http { listen: "127.0.0.1:0".into() }).await.unwrap();
    let address = page.address();
    let over = CancellationToken::new();
    let view = View { status: worker.status.clone(), pulse: worker.pulse.clone() };
    let serving = tokio::spawn(page.run(view, over.clone()));
    worker.until("it runs", |status| status.phase == millrace::status::Phase::Running).await;
    assert_eq!((get(address, "/ready").await, get(address, "/live").await), (200, 200));

    let (first, second) = bodies.split_at(200);
    bench.send(first).await;
    server.stop_immediate().await;
    worker.until("it holds", |status| holds(status.route)).await;
    assert_eq!((get(address, "/ready").await, get(address, "/live").await), (503, 200));
    let asked = receives(&bench, &worker).await;
    bench.send(second).await;
    let probes = worker.status.borrow().requests.sql;
    worker.until("it has probed some more", |status| status.requests.sql >= probes + 3).await;
    assert_eq!(bench.sqs.faults().calls(Operation::ReceiveMessage), asked, "nothing is received");
    server.start_again().await;
    worker.until("it goes on", |status| status.route == Route::Direct).await;
    assert_eq!((get(address, "/ready").await, get(address, "/live").await), (200, 200));
    bench.finished(bodies.len()).await;
    let (_, status) = worker.stop().await;
    assert_eq!(status.outcomes.quarantined, 0);
    bench.is_clean(bodies.len()).await;
    over.cancel();
    serving.await.unwrap().unwrap();
}
