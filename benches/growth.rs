//! What becomes of the rate as the work grows: a longer queue, a fuller ledger, more customers, uneven ones, a single one.
//!
//! `scripts/test --bench growth -- [CASE …]`. Each case is two loads in turn (A B A B …), because the machine is shared and
//! no two minutes are alike; what counts is the ratio within a pair. One `millrace run`, `gapless`, PostgreSQL with fsync
//! on, locks in Redis, the SQS server in the bench's process. Rates are orders a second from the first commit to the
//! last, of `--orders` orders.

#![allow(clippy::large_futures, reason = "a bench runs them one after the other")]
#![allow(missing_docs, dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

use std::cell::Cell;
use std::time::Duration;

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
    let figures = place.run(load.orders, &[]).await;
    site.forget(place).await;
    figures.rate
}

/// A queue that is kept at so many messages, while as many orders are worked off.
async fn queue(site: &Site, asked: &Cases) {
    let at_depth = async |depth: u64| {
        let place = site.place().await;
        let load = Load::even(depth + asked.orders, 1_000);
        let mut bodies = load.bodies();
        let mut refill = async |there: u64| {
            let missing: Vec<String> =
                bodies.by_ref().take(usize::try_from(depth - there.min(depth)).unwrap()).collect();
            let more = !missing.is_empty() || there >= depth;
            site.sqs.put(&place.queue, missing.into_iter()).await;
            more
        };
        refill(0).await;
        let mut engine = place.worker(&[]);
        let feeding = async {
            while refill(site.sqs.visible(&place.queue).await).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::join!(feeding, engine.until(asked.orders));
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

/// A ledger that has orders already; each turn adds some.
struct Filled {
    place: Place,
    customers: u64,
    orders: Cell<u64>,
}

impl Filled {
    async fn new(site: &Site, customers: u64, each: u64) -> Self {
        let place = site.place().await;
        place.prefill(customers, each).await;
        Self { place, customers, orders: Cell::new(customers * each) }
    }

    async fn turn(&self, site: &Site, orders: u64) -> f64 {
        let before = self.orders.get();
        self.orders.set(before + orders);
        self.place.fill_after(site, &Load::even(before + orders, self.customers), before).await;
        let rate = self.place.run(orders, &[]).await.rate;
        site.rest().await;
        rate
    }
}

async fn filled_pairs(site: &Site, name: &str, asked: &Cases, few: Filled, many: Filled) {
    pairs(name, asked, async || few.turn(site, asked.orders).await, async || many.turn(site, asked.orders).await).await;
    site.forget(few.place).await;
    site.forget(many.place).await;
}

/// The same customers, with so many orders in the ledger before.
async fn ledger(site: &Site, asked: &Cases) {
    let (small, large) = (10_000, asked.size(5_000_000).max(10_000));
    let few = Filled::new(site, 1_000, small / 1_000).await;
    let many = Filled::new(site, 1_000, large / 1_000).await;
    filled_pairs(site, &format!("ledger of {large} orders against {small}"), asked, few, many).await;
}

/// Each of the customers has a row in the ledger already, so that both loads update.
async fn customers(site: &Site, asked: &Cases) {
    let count = asked.size(1_000_000);
    let few = Filled::new(site, 10, count / 10).await;
    let many = Filled::new(site, count, 1).await;
    filled_pairs(site, &format!("{count} customers against 10"), asked, few, many).await;
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
