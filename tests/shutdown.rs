//! The end of a process, and the start that does not happen: real workers, signalled at every stage of their lives.

use std::time::Duration;

use crate::fleet::load::Load;
use crate::fleet::queue::Queue;
use crate::fleet::site::{Site, Stopped, stopped};
use crate::random::Random;
use crate::servers::process::{Worker, alone};
use crate::servers::rustack::{Counts, Rustack};
use crate::servers::{Database, PATIENCE, database, eventually, postgres, redis, redis_prefix, redis_url};

mod refused;

/// How long a worker may take for a load of hundreds.
const WORK: Duration = Duration::from_mins(1);

/// Keys are looked at with patience only where the worker still runs.
async fn locks(prefix: &str) -> Vec<String> {
    redis::ask(&redis_url(), &["KEYS", &format!("{prefix}:*:lock:*")]).await.unwrap()
}

/// A ledger on the shared PostgreSQL, the shared Redis, and a standard queue.
async fn site(prefix: &str) -> (Site, Database) {
    let ledger = database().await;
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let site = Site::new("gapless", Queue::on_rustack(server, url), ledger.url(), &redis_url(), prefix).await;
    (site, ledger)
}

async fn counts(site: &Site) -> Counts {
    site.queue.rustack().counts(site.queue.url()).await
}

async fn runs(worker: &mut Worker) {
    until_said(worker, " running ").await;
}

async fn until_said(worker: &mut Worker, words: &str) {
    eventually(&format!("it says {words:?}"), PATIENCE, || {
        assert!(worker.runs(), "it has ended:\n{}", worker.log());
        let said = worker.log().contains(words);
        async move { said }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_leaves_no_message_in_flight() {
    let _turn = alone().await;
    let prefix = redis_prefix();
    let (site, _ledger) = site(&prefix).await;
    let load = Load::shuffled(5_000, 100, site.folder.path(), &mut Random::seeded());
    site.queue.send(load.messages()).await;
    let all = load.messages().len() as u64;

    let mut first = site.worker();
    site.until_committed(300, WORK).await;
    let held = counts(&site).await.in_flight;
    first.terminate();
    let report = stopped(&mut first).await;
    let left = counts(&site).await;
    println!("{held} messages in flight at the signal; {report:?}; {left:?}");
    assert!(held > 0 && report.finished + report.returned > 0, "VOID: it held nothing: {held}, {report:?}");
    assert_eq!(report.at_risk, 0);
    assert_eq!(left.in_flight, 0, "these wait for their visibility timeout: {left:?}, {report:?}");
    assert!(0 < left.visible && left.visible < all, "VOID: it was not in the middle: {left:?}");
    assert_eq!(locks(&prefix).await, Vec::<String>::new(), "its locks are free");

    let mut second = site.worker();
    site.until_verified(&load, WORK).await;
    second.terminate();
    assert_eq!(stopped(&mut second).await, Stopped { finished: 0, returned: 0, at_risk: 0 });
    assert_eq!(locks(&prefix).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_idle_ends_with_nothing_to_tell() {
    let _turn = alone().await;
    let (site, _ledger) = site(&redis_prefix()).await;
    let mut worker = site.worker();
    runs(&mut worker).await;
    worker.terminate();
    assert_eq!(stopped(&mut worker).await, Stopped { finished: 0, returned: 0, at_risk: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_ledger_is_away_hands_everything_back() {
    let _turn = alone().await;
    let mut ledger = postgres::Server::start().await;
    let url = ledger.create("ledger").await;
    let server = Rustack::start().await;
    let queue = server.create_queue("orders").await;
    let prefix = redis_prefix();
    let site = Site::new("gapless", Queue::on_rustack(server, queue), &url, &redis_url(), &prefix).await;
    let load = Load::shuffled(3_000, 100, site.folder.path(), &mut Random::seeded());
    site.queue.send(load.messages()).await;

    let mut first = site.worker();
    site.until_committed(100, WORK).await;
    // A crash in the middle of commits: their outcome is unknown.
    ledger.stop_immediate().await;
    until_said(&mut first, "holding: nothing is received").await;
    first.terminate();
    let report = stopped(&mut first).await;
    let left = counts(&site).await;
    println!("{report:?}; {left:?}");
    assert!(report.returned > 0, "VOID: it held nothing: {report:?}");
    assert_eq!(report.at_risk, 0);
    assert_eq!(left.in_flight, 0, "these wait for their visibility timeout: {left:?}, {report:?}");
    assert_eq!(locks(&prefix).await, Vec::<String>::new(), "its locks are free");

    ledger.start_again().await;
    let mut second = site.worker();
    site.until_verified(&load, WORK).await;
    second.terminate();
    assert_eq!(stopped(&mut second).await.at_risk, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_before_the_start_ends_the_waiting() {
    let _turn = alone().await;
    let (site, _ledger) = site(&redis_prefix()).await;
    let nobody = format!("postgres://postgres@127.0.0.1:{}/ledger", crate::servers::free_port());
    let mut worker = site.worker_with(&[("MILLRACE__LEDGER__URL", &nobody)]);
    until_said(&mut worker, "not started yet").await;
    assert!(worker.log().contains("ledger: "), "it says what it waits for:\n{}", worker.log());
    worker.terminate();
    assert_eq!(worker.ended(Duration::from_secs(20)).await.code(), Some(0), "{}", worker.log());
    let last = "stopped before the start: 0 finished, 0 returned, 0 at risk";
    assert!(worker.log().lines().any(|line| line == last), "{}", worker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_costs_only_time() {
    let _turn = alone().await;
    let (site, _ledger) = site(&redis_prefix()).await;
    let load = Load::shuffled(3_000, 100, site.folder.path(), &mut Random::seeded());
    site.queue.send(load.messages()).await;
    let mut first = site.worker();
    site.until_committed(100, WORK).await;
    first.kill().await;
    let left = counts(&site).await;
    assert!(left.in_flight > 0, "VOID: it held nothing: {left:?}");
    let mut second = site.worker();
    site.until_verified(&load, WORK).await;
    second.terminate();
    assert_eq!(stopped(&mut second).await.at_risk, 0);
}
