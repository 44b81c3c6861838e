//! What a worker costs: requests, memory, latency at half of its rate, its start, and a minute with nothing to do.
//!
//! `scripts/test --bench cost -- [CASE …]`. One `millrace run`, `gapless`, PostgreSQL with fsync on, locks in Redis, the
//! SQS server in the bench's process.

#![allow(clippy::large_futures, reason = "a bench runs them one after the other")]
#![allow(missing_docs, dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

#[path = "../tests"]
mod tests {
    pub mod servers;
}
use tests::servers::{self, rustack};

mod rig;

use rig::{Cases, Load, Place, Site, float, spread};

#[tokio::main]
async fn main() {
    let asked = Cases::asked(&["requests", "latency", "memory", "start", "idle"]);
    let site = Site::start().await;
    for case in &asked.names {
        match case.as_str() {
            "requests" => requests(&site, &asked).await,
            "latency" => latency(&site, &asked).await,
            "memory" => memory(&site, &asked).await,
            "start" => start(&site, &asked).await,
            "idle" => idle(&site, &asked).await,
            other => panic!("there is no case {other:?}: requests, latency, memory, start, idle"),
        }
    }
}

/// Requests an order, by customers and by the buckets of their locks; a cluster has one call for each bucket.
async fn requests(site: &Site, asked: &Cases) {
    for (customers, buckets) in [(1_000, 1), (1_000, 256), (1_000_000, 1), (1_000_000, 256)] {
        let place = site.place().await;
        let load = Load::even(asked.orders, customers);
        place.fill(site, &load).await;
        let figures = place.run(load.orders, &[format!("locks.buckets = {buckets}")]).await;
        site.forget(place).await;
        println!("{customers} customers, {buckets} buckets: {}", figures.told());
    }
}

/// From sending to being seen in the ledger at half of the full rate, by `millrace bench`.
async fn latency(site: &Site, asked: &Cases) {
    for _ in 0..asked.times {
        let place = site.place().await;
        let load = Load::even(asked.orders, 1_000);
        place.fill(site, &load).await;
        let full = place.run(load.orders, &[]).await.rate;
        site.forget(place).await;
        let place = site.place().await;
        let mut engine = place.worker(&[]);
        bench(&place, &engine.file, &["--mark"]).await;
        let half = format!("{:.0}", full / 2.0);
        let orders = asked.orders.to_string();
        // Few senders make full requests: more of them would take the machine from the worker.
        let load = ["--rate", &half, "--orders", &orders, "--senders", "4", "--json"];
        let told = bench(&place, &engine.file, &load).await;
        println!("full {full:.0} orders/s; at {half}/s: {told}");
        engine.worker.kill().await;
        site.forget(place).await;
    }
}

async fn bench(place: &Place, config: &std::path::Path, arguments: &[&str]) -> String {
    let ended = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .arg("bench")
        .args(arguments)
        .arg("--config")
        .arg(config)
        .envs(rustack::environment(&place.sqs))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

/// Memory with as many messages held as there may be, and over a long run: at its end beside after a tenth of it.
async fn memory(site: &Site, asked: &Cases) {
    let place = site.place().await;
    let held = asked.size(10_000).max(1_000);
    let load = Load::even(20 * held, 1_000);
    place.fill(site, &load).await;
    let mut engine = place.worker(&[format!("flow.messages_max = {held}")]);
    engine.until(held / 2).await;
    // Nothing is committed any more, so what is received stays.
    let blocker = place.block().await;
    let most = engine.until_held(held).await;
    println!("memory with {most} messages held: {} MB", rig::memory_of(engine.worker.id()) >> 20);
    engine.worker.kill().await;
    drop(blocker);
    site.forget(place).await;

    let place = site.place().await;
    let load = Load::even(asked.size(2_000_000), 10_000);
    place.fill(site, &load).await;
    let mut engine = place.worker(&["flow.messages_max = 10000".to_owned()]);
    let mut seen = Vec::new();
    for tenth in 1..=10 {
        engine.until(load.orders * tenth / 10).await;
        seen.push((rig::memory_of(engine.worker.id()) >> 20, engine.status().await.held_messages));
    }
    let peak = engine.worker.peak_memory_bytes() >> 20;
    engine.worker.kill().await;
    site.forget(place).await;
    let seen: Vec<String> = seen.iter().map(|(mb, held)| format!("{mb} MB ({held} held)")).collect();
    println!("memory over {} orders, each tenth: {}; at most {peak} MB", load.orders, seen.join(", "));
}

/// From the start of the process until SQS has handed out its first message; migrations are done.
async fn start(site: &Site, asked: &Cases) {
    let mut took = Vec::new();
    for _ in 0..asked.times {
        let place = site.place().await;
        place.fill(site, &Load::even(1, 1)).await;
        let begun = Instant::now();
        let mut engine = place.worker(&[]);
        while site.sqs.visible(&place.queue).await > 0 {
            assert!(begun.elapsed() < Duration::from_mins(1), "nothing was received:\n{}", engine.worker.log());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        engine.worker.kill().await;
        site.forget(place).await;
    }
    println!("start to first receive: {} ms", spread(&took, 0));
}

/// A minute of a worker with a backlog and nothing to do, after it has settled.
async fn idle(site: &Site, asked: &Cases) {
    let place = site.place().await;
    let backlog = place.backlog(site).await;
    let mut engine = place.worker(&[format!("backlog.url = \"{backlog}\"")]);
    let seconds = asked.size(60_000) / 1_000;
    tokio::time::sleep(Duration::from_secs(seconds / 3 + 3)).await;
    let before = engine.status().await;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = engine.status().await;
    let (from, to) = (before.requests, after.requests);
    println!(
        "idle for {seconds} s: {} calls to SQS, {} to Redis, {} statements of the ledger, {} of the backlog; {:.0} ms CPU",
        to.sqs - from.sqs,
        to.redis - from.redis,
        to.sql - from.sql,
        to.backlog - from.backlog,
        (after.cpu_seconds - before.cpu_seconds) * 1e3
    );
    engine.worker.kill().await;
    site.forget(place).await;
}
