//! A maintenance window over a fleet under load: the ledger's server is really stopped, workers die and are deployed,
//! Redis forgets everything, and orders go on being accepted. Afterwards `millrace verify` finds nothing, and nobody
//! has waited longer than a bound.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::time::{Instant, interval, sleep, sleep_until};

use super::load::Load;
use super::queue::Queue;
use super::site::{Said, Site, stopped, windows};
use crate::random::Random;
use crate::servers::process::{Worker, alone};
use crate::servers::rustack::Rustack;
use crate::servers::{PATIENCE, postgres, redis};

/// How long the ledger's server is off.
const OFF: Duration = Duration::from_secs(20);
/// How long closing may take under load. It takes a statement or two.
const CLOSE: Duration = Duration::from_secs(10);
/// How long the drain may take on a busy machine.
const END: Duration = Duration::from_secs(150);
/// The longest that an order may wait after the ledger was opened again: the probe of a worker that held, messages of
/// a killed worker, and a busy machine.
const WAIT: Duration = Duration::from_secs(15);
/// The load would end after so many.
const SECONDS: usize = 200;
/// Load after the window: it ends when the window has been over for a while.
const AFTER: Duration = Duration::from_secs(5);

struct Play {
    ordering: &'static str,
    /// Orders a second.
    rate: usize,
    /// The backlog's server is stopped for a while too.
    backlog_fails: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn numbered_orders_go_through_a_window() {
    let _turn = alone().await;
    let queue = gapless().await;
    let play = Play { ordering: "gapless", rate: rate(2_000), backlog_fails: false };
    Box::pin(window(&play, queue)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_goes_through_a_window() {
    let _turn = alone().await;
    let server = Rustack::start().await;
    let url = server.create_fifo_queue("orders.fifo").await;
    let play = Play { ordering: "fifo", rate: rate(1_000), backlog_fails: false };
    Box::pin(window(&play, Queue::on_rustack(server, url))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_survives_the_loss_of_its_backlog() {
    let _turn = alone().await;
    let queue = gapless().await;
    let play = Play { ordering: "gapless", rate: rate(2_000), backlog_fails: true };
    Box::pin(window(&play, queue)).await;
}

/// The drainer stands still from the middle of its drain until after the reopening; another one takes over and
/// finishes. When it goes on, it changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_drainer_that_stands_still_through_the_reopening_changes_nothing() {
    let _turn = alone().await;
    let mut random = Random::seeded();
    let server = postgres::Server::start().await;
    let redis = redis::Server::start().await;
    let (ledger, backlog) = (server.create("ledger").await, server.create("backlog").await);
    let sections = format!(
        "[backlog]\nurl = \"{backlog}\"\nlook = \"2s\"\nlock_timeout = \"500ms\"\nstatement_timeout = \"1s\"\n\
         [maintenance]\nrate_max = 1000\nlease = \"4s\"\nmessages_max = 2000"
    );
    let site = Site::with("gapless", gapless().await, &ledger, &redis.url(), "still", &sections).await;
    let load = Load::blocks(10, 500, 50, true, site.folder.path(), &mut random);
    let mut workers: Vec<Worker> = (0..3).map(|_| site.worker()).collect();
    let (early, late) = load.messages().split_at(load.messages().len() * 9 / 10);
    done(&site, &["maintenance", "begin", "--reason", "a test", "--actor", "test"]).await;
    site.queue.send(early).await;
    let spooled = |backlog: &Value| backlog["appended"].as_u64() >= Some(4_500);
    backlog_until(&site, "it is spooled", spooled).await;

    let finishing = async { site.command_within(END, &["maintenance", "end", "--actor", "test"]).await };
    let stopping = async {
        let drains = |backlog: &Value| backlog["removed"].as_u64() >= Some(200);
        let backlog = backlog_until(&site, "it drains", drains).await;
        let owner = backlog["drainer"]["owner"].as_str().expect("somebody drains").to_owned();
        let still = workers.iter_mut().find(|worker| owner.starts_with(&format!("{}-", worker.id())));
        let still = still.unwrap_or_else(|| panic!("{owner} is none of ours"));
        still.stand_still();
        assert!(backlog["rows"].as_u64() > Some(0), "VOID: nothing was left when the drainer stopped");
        owner
    };
    let (said, owner) = tokio::join!(finishing, stopping);
    assert_eq!(said.code, Some(0), "{said}");
    let still = workers.iter_mut().find(|worker| owner.starts_with(&format!("{}-", worker.id()))).unwrap();
    still.go_on();
    site.queue.send(late).await;
    site.until_verified(&load, Duration::from_secs(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_is_taken_back_when_the_ledger_goes_away() {
    sealing_without_ledger(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_is_taken_back_when_the_ledger_goes_away_and_the_drainer_dies() {
    sealing_without_ledger(true).await;
}

/// The ledger's server stops while the backlog is sealing, with orders in it: orders are accepted again long before it
/// is back, and then the same `end` finishes.
async fn sealing_without_ledger(drainer_dies: bool) {
    let _turn = alone().await;
    let mut random = Random::seeded();
    let (mut ledger_server, backlog_server) = (postgres::Server::start().await, postgres::Server::start().await);
    let redis = redis::Server::start().await;
    let (ledger, backlog) = (ledger_server.create("ledger").await, backlog_server.create("backlog").await);
    let sections = format!(
        "[backlog]\nurl = \"{backlog}\"\nlook = \"2s\"\nlock_timeout = \"500ms\"\nstatement_timeout = \"1s\"\n\
         [maintenance]\nrate_max = 50\nlease = \"4s\"\nseal_limit = \"2m\"\nseal_depth = 2000"
    );
    let site = Site::with("gapless", gapless().await, &ledger, &redis.url(), "seal", &sections).await;
    let load = Load::blocks(10, 100, 50, true, site.folder.path(), &mut random);
    let mut workers: Vec<Worker> = (0..2).map(|_| site.worker()).collect();
    let (early, late) = load.messages().split_at(load.messages().len() * 9 / 10);
    done(&site, &["maintenance", "begin", "--reason", "a test", "--actor", "test"]).await;
    site.queue.send(early).await;
    backlog_until(&site, "it is spooled", |backlog| backlog["appended"].as_u64() >= Some(850)).await;

    let finishing = async { site.command_within(END, &["maintenance", "end", "--actor", "test"]).await };
    let failing = async {
        let drains = |backlog: &Value| backlog["phase"] == "sealing" && backlog["drainer"]["owner"].is_string();
        let sealing = backlog_until(&site, "it is sealing", drains).await;
        let owner = sealing["drainer"]["owner"].as_str().unwrap();
        let drainer = workers.iter_mut().find(|worker| owner.starts_with(&format!("{}-", worker.id()))).unwrap();
        if drainer_dies {
            drainer.kill().await;
        }
        ledger_server.stop_fast().await;
        let taken_back = |backlog: &Value| backlog["phase"] == "spooling";
        let before = backlog_until(&site, "the seal is taken back", taken_back).await;
        assert!(before["rows"].as_u64() > Some(0), "VOID: nothing was left when the ledger stopped");
        site.queue.send(late).await;
        let accepted = before["appended"].as_u64().map(|appended| appended + 90);
        let accepts = |backlog: &Value| backlog["appended"].as_u64() >= accepted;
        backlog_until(&site, "orders are accepted", accepts).await;
        ledger_server.start_again().await;
    };
    let (said, ()) = tokio::join!(finishing, failing);
    assert_eq!(said.code, Some(0), "{said}");
    site.until_verified(&load, Duration::from_secs(100)).await;
}

/// Asks for the backlog's status until it is as it should be.
async fn backlog_until(site: &Site, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = done(site, &["backlog", "status", "--json"]).await;
        let backlog: Value = serde_json::from_str(&said.out).unwrap();
        if holds(&backlog) {
            return backlog;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}; {backlog}");
    }
}

/// Orders a second: without optimization, beside the other tests, workers and servers manage a fifth of what
/// `scripts/test --release fleet::windows` sends.
fn rate(optimized: usize) -> usize {
    if cfg!(debug_assertions) { optimized / 5 } else { optimized }
}

async fn gapless() -> Queue {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    Queue::on_rustack(server, url)
}

async fn window(play: &Play, queue: Queue) {
    let mut random = Random::seeded();
    let (mut ledger_server, mut backlog_server) = (postgres::Server::start().await, postgres::Server::start().await);
    let redis = redis::Server::start().await;
    let (ledger, backlog) = (ledger_server.create("ledger").await, backlog_server.create("backlog").await);
    let sections = windows(&backlog);
    let site = Site::with(play.ordering, queue, &ledger, &redis.url(), "window", &sections).await;
    let folder = site.folder.path();
    let numbered = play.ordering == "gapless";
    let mut load = Load::blocks(2 * SECONDS, play.rate / 2, 300, numbered, folder, &mut random);
    let mut workers: Vec<Worker> = (0..3).map(|_| site.worker()).collect();
    let (over, fed) = tokio::sync::watch::channel(false);

    let feeding = feed(&site, &load, play.rate, fed);
    let playing = async {
        sleep(Duration::from_secs(4)).await;
        let begun = Instant::now();
        done(&site, &["maintenance", "begin", "--reason", "a new version of the database", "--actor", "test"]).await;
        assert!(begun.elapsed() < CLOSE, "closing took {:?}", begun.elapsed());
        ledger_server.stop_fast().await;
        trouble(&site, play, &mut workers, &redis, &mut backlog_server).await;
        ledger_server.start_again().await;
        let begun = Instant::now();
        let said = site.command_within(END, &["maintenance", "end", "--actor", "test"]).await;
        assert_eq!(said.code, Some(0), "{said}");
        println!("the end took {:?}\n{said}", begun.elapsed());
        let reopened = SystemTime::now();
        sleep(AFTER).await;
        over.send(true).unwrap();
        reopened
    };
    let (sent, reopened) = tokio::join!(feeding, playing);

    load.cut(sent.len());
    site.until_verified(&load, Duration::from_secs(100)).await;
    let backlog: Value = serde_json::from_str(&done(&site, &["backlog", "status", "--json"]).await.out).unwrap();
    let spooled = backlog["appended"].as_u64().unwrap();
    println!("{} orders sent, {spooled} spooled", sent.len());
    assert!(spooled >= (play.rate * 10) as u64, "VOID: only {spooled} orders went through the backlog");
    assert_eq!((&backlog["phase"], &backlog["rows"]), (&Value::from("sealed"), &Value::from(0)));
    waited(&site, &sent, reopened).await;
    for worker in &mut workers {
        let peak = worker.peak_memory_bytes();
        assert!(peak < 200 << 20, "a worker had {peak} bytes in memory");
        worker.terminate();
    }
    for worker in &mut workers {
        assert_eq!(stopped(worker).await.at_risk, 0);
    }
}

/// A command that has to end well.
async fn done(site: &Site, arguments: &[&str]) -> Said {
    let said = site.command(arguments).await;
    assert_eq!(said.code, Some(0), "{arguments:?}: {said}");
    said
}

/// What happens while the ledger is off.
async fn trouble(
    site: &Site,
    play: &Play,
    workers: &mut [Worker],
    redis: &redis::Server,
    backlog: &mut postgres::Server,
) {
    let begun = Instant::now();
    let at = |seconds: u64| sleep_until(begun + Duration::from_secs(seconds));
    at(3).await;
    workers[0].kill().await;
    workers[0] = site.worker();
    at(6).await;
    workers[1].terminate();
    stopped(&mut workers[1]).await;
    workers[1] = site.worker();
    at(9).await;
    redis.flush().await;
    if play.backlog_fails {
        at(11).await;
        backlog.stop_immediate().await;
        at(16).await;
        backlog.start_again().await;
    }
    sleep_until(begun + OFF).await;
}

/// Sends at a steady rate, half a second in one block, until it is told to stop; says when each order was sent first.
async fn feed(
    site: &Site,
    load: &Load,
    rate: usize,
    over: tokio::sync::watch::Receiver<bool>,
) -> HashMap<String, SystemTime> {
    let mut tick = interval(Duration::from_millis(100));
    let mut sent = HashMap::new();
    for block in load.messages().chunks(rate / 2 + rate / 2 / 20) {
        for part in block.chunks(block.len().div_ceil(5)) {
            tick.tick().await;
            site.queue.send(part).await;
            let now = SystemTime::now();
            for message in part {
                let order: Value = serde_json::from_str(&message.body).unwrap();
                sent.entry(order["order_id"].as_str().unwrap().to_owned()).or_insert(now);
            }
        }
        if *over.borrow() {
            return sent;
        }
    }
    panic!("VOID: the load ended before the window");
}

/// Nobody waited longer than the bound, counted from the reopening or from the sending, whatever was later.
async fn waited(site: &Site, sent: &HashMap<String, SystemTime>, reopened: SystemTime) {
    let mut longest = (Duration::ZERO, String::new());
    for (order, committed) in site.commit_times().await {
        let committed = SystemTime::UNIX_EPOCH + Duration::from_millis(committed.unsigned_abs());
        let from = sent[&order].max(reopened);
        let waited = committed.duration_since(from).unwrap_or_default();
        longest = longest.max((waited, order));
    }
    println!("the longest wait after the reopening: {longest:?}");
    assert!(longest.0 < WAIT, "{longest:?}");
}
