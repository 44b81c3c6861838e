//! What becomes of the rate as the work grows: a longer queue, a fuller ledger, more customers, uneven ones, a single one.
//!
//! `scripts/test --bench growth -- [CASE …]`. Each case is two loads in turn (A B A B …), because the machine is shared and
//! no two minutes are alike; what counts is the ratio within a pair. One `millrace run`, `gapless`, PostgreSQL with fsync
//! on, locks in Redis, the SQS server in the bench's process. Rates are orders a second from the first commit to the
//! last, of `--orders` orders.

#![allow(clippy::large_futures, reason = "a bench runs them one after the other")]
#![allow(missing_docs, dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

#[path = "../tests"]
mod tests {
    pub mod servers;
}
use tests::servers;

mod rig;

use rig::{Cases, Figures, Load, Place, Site, float, spread};

#[tokio::main]
async fn main() {
    let asked = Cases::asked(&["queue", "ledger", "customers", "zipf", "single"]);
    let site = Site::start().await;
    for case in &asked.names {
        match case.as_str() {
            "queue" => queue(&site, &asked).await,
            "ledger" => ledger(&site, &asked).await,
            "customers" => customers(&site, &asked).await,
            "zipf" => zipf(&site, &asked).await,
            "single" => single(&site, &asked).await,
            other => panic!("there is no case {other:?}: queue, ledger, customers, zipf, single"),
        }
    }
}

/// Runs both in turn, and says how the second stands to the first.
async fn pairs(name: &str, asked: &Cases, a: impl AsyncFn() -> f64, b: impl AsyncFn() -> f64) {
    let (mut first, mut second, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..asked.times {
        let (one, other) = (a().await, b().await);
        println!("  {one:.0} and {other:.0} orders/s: {:.2}", other / one);
        first.push(one);
        second.push(other);
        ratios.push(other / one);
    }
    println!("{name}: {} against {} orders/s, ratio {}", spread(&second, 0), spread(&first, 0), spread(&ratios, 2));
}

async fn run(site: &Site, load: Load) -> f64 {
    let place = site.place().await;
    place.fill(site, &load).await;
    let figures = place.run(0, load.orders, &[]).await;
    site.forget(place).await;
    figures.rate
}

/// A queue that is kept at so many messages, while as many orders are worked off.
async fn queue(site: &Site, asked: &Cases) {
    let at_depth = async |depth: u64| {
        let place = site.place().await;
        let load = Load::even(depth + asked.orders, 1_000);
        let mut bodies = load.bodies();
        for body in bodies.by_ref().take(usize::try_from(depth).unwrap()) {
            site.sqs.put(&place.queue, &body, None, None).await;
        }
        let mut engine = place.worker(&[]);
        let feeding = async {
            loop {
                let there = site.sqs.counts(&place.queue).await.visible;
                for _ in there..depth {
                    let Some(body) = bodies.next() else { return };
                    site.sqs.put(&place.queue, &body, None, None).await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let runs = || if engine.worker.runs() { Ok(()) } else { Err(engine.worker.log()) };
        tokio::join!(feeding, place.until(asked.orders, runs));
        engine.worker.kill().await;
        let rate = place.rate_of_first(asked.orders).await;
        site.forget(place).await;
        rate
    };
    let (short, long) = (asked.size(10_000), asked.size(1_000_000));
    pairs(
        &format!("queue of {long} against {short}"),
        asked,
        async || at_depth(short).await,
        async || at_depth(long).await,
    )
    .await;
}

/// The same customers, with so many orders in the ledger before.
async fn ledger(site: &Site, asked: &Cases) {
    let filled = async |before: u64| {
        let place = site.place().await;
        let each = before / 1_000;
        place.prefill(1_000, each).await;
        for (number, body) in Load::even(before + asked.orders, 1_000).bodies().enumerate() {
            if number as u64 >= before {
                site.sqs.put(&place.queue, &body, None, None).await;
            }
        }
        let figures = place.run(before, asked.orders, &[]).await;
        site.forget(place).await;
        figures.rate
    };
    let (small, large) = (10_000, asked.size(5_000_000).max(10_000));
    pairs(
        &format!("ledger of {large} orders against {small}"),
        asked,
        async || filled(small).await,
        async || filled(large).await,
    )
    .await;
}

async fn customers(site: &Site, asked: &Cases) {
    let many = asked.size(1_000_000);
    // Each of the many has a row in the ledger already, so that both loads update.
    let of_many = async || {
        let place = site.place().await;
        place.prefill(many, 1).await;
        let load = Load::even(many + asked.orders.min(many), many);
        for (number, body) in load.bodies().enumerate() {
            if number as u64 >= many {
                site.sqs.put(&place.queue, &body, None, None).await;
            }
        }
        let figures = place.run(many, load.orders - many, &[]).await;
        site.forget(place).await;
        figures.rate
    };
    let few = async || run(site, Load::even(asked.orders, 10)).await;
    pairs(&format!("{many} customers against 10"), asked, few, of_many).await;
}

async fn zipf(site: &Site, asked: &Cases) {
    let customers = asked.size(100_000);
    let of = async |exponent: f64| run(site, Load { orders: asked.orders, customers, zipf: Some(exponent) }).await;
    pairs(
        &format!("Zipf(1.0) over {customers} customers against uniform"),
        asked,
        async || of(0.0).await,
        async || of(1.0).await,
    )
    .await;
}

async fn single(site: &Site, asked: &Cases) {
    let mut rates = Vec::new();
    for _ in 0..asked.times {
        rates.push(run(site, Load::even(asked.orders / 4, 1)).await);
    }
    println!("one single customer: {} orders/s", spread(&rates, 0));
}
