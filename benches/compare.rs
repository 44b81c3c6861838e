//! Millrace, a Node.js worker as teams write it, and PostgreSQL alone: the same orders, on one machine, in one run.
//!
//! `scripts/compare` runs it. Each contender takes its turn in every round (A B C A B C …), because the machine is
//! shared and no two minutes are alike; what counts are the ratios within a round. fsync and `synchronous_commit` are on.
//!
//! - Millrace: one `millrace run`, `gapless`, locks in Redis.
//! - Node.js: `benches/peers/sqs-consumer`, with the number of processes, consumers and connections that is best here.
//! - The limit: the same group commit as Millrace's, fed from memory over several connections; no queue, no locks.
//!
//! Rates are orders a second from the first commit to the last.

#![allow(clippy::large_futures, reason = "a bench runs them one after the other")]
#![allow(missing_docs, dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

#[path = "../tests"]
mod tests {
    pub mod servers;
}
use tests::servers;

mod rig;

#[path = "compare/limit.rs"]
mod limit;
#[path = "compare/peer.rs"]
mod peer;
#[path = "compare/plot.rs"]
mod plot;

use peer::Peer;
use plot::Bar;
use rig::{Figures, Load, Site, float, median, spread};

/// Compares Millrace with a Node.js worker and with PostgreSQL alone
#[derive(Parser)]
#[command(name = "scripts/compare")]
struct Asked {
    /// Rounds; each contender has one turn in each
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Orders of a turn of Millrace and of the limit; the Node.js worker has a tenth
    #[arg(long, default_value_t = 200_000)]
    orders: u64,
    #[arg(long, default_value_t = 1_000)]
    customers: u64,
    /// The delay of each dependency's network, each way, in milliseconds
    #[arg(long, default_value_t = 2)]
    delay: u64,
    /// Only these parts; `own` compares Millrace with itself, without and with `--set`
    #[arg(long, value_delimiter = ',', default_values = ["near", "far"])]
    parts: Vec<String>,
    /// Lines for Millrace's configuration, as in `ledger.committers = 8`
    #[arg(long)]
    set: Vec<String>,
    /// Where to draw the medians, as SVG
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Only look whether it still runs
    #[arg(long, hide = true)]
    test: bool,
}

#[tokio::main]
async fn main() {
    let mut asked = Asked::parse();
    if asked.test {
        (asked.rounds, asked.orders) = (1, 2_000);
    }
    let site = Site::start().await;
    let mut bars = Vec::new();
    if asked.parts.iter().any(|part| part == "near") {
        bars.extend(near(&site, &asked).await);
    }
    if asked.parts.iter().any(|part| part == "far") {
        bars.extend(far(&site, &asked).await);
    }
    if asked.parts.iter().any(|part| part == "own") {
        own(&site, &asked).await;
    }
    if let Some(file) = &asked.plot {
        let title = "Orders a second: median, least and largest of the rounds; everything on one machine of two cores";
        plot::draw(file, title, &bars);
    }
}

fn bar(name: impl Into<String>, rates: Vec<f64>) -> Bar {
    let name = name.into();
    Bar { ours: name.starts_with("Millrace"), name, rates }
}

/// Everything on this machine, reached directly.
async fn near(site: &Site, asked: &Asked) -> [Bar; 3] {
    let load = Load::even(asked.orders, asked.customers);
    let few = Load::even(asked.orders / 10, asked.customers);
    let shape = limit::best(site, load, asked.test).await;
    println!("limit: best with {} connections, batches of {}", shape.connections, shape.batch);
    let peer = best_peer(site, few, Duration::ZERO, asked.test).await;
    println!("node: best with {peer}");
    let (mut ours, mut theirs, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=asked.rounds {
        let place = site.place().await;
        let limit = limit::run(&place, load, shape).await;
        site.forget(place).await;
        let engine = engine(site, load, None, &asked.set).await;
        let node = node(site, few, None, peer).await;
        println!(
            "round {round}: limit {limit:.0}/s; millrace {}; node {node:.0}/s; {:.0} % of the limit, {:.1} times node",
            engine.told(),
            100.0 * engine.rate / limit,
            engine.rate / node
        );
        limits.push(limit);
        ours.push(engine.rate);
        theirs.push(node);
    }
    let ratio = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a / b).collect::<Vec<_>>();
    println!("limit    {} orders/s", spread(&limits, 0));
    println!("millrace {} orders/s", spread(&ours, 0));
    println!("node     {} orders/s", spread(&theirs, 0));
    println!("millrace / limit {}", spread(&ratio(&ours, &limits), 2));
    println!("millrace / node  {}", spread(&ratio(&ours, &theirs), 1));
    [bar("PostgreSQL alone, fed from memory", limits), bar("Millrace", ours), bar("Node.js worker", theirs)]
}

/// Every dependency behind a network with delay, beside the same network without.
async fn far(site: &Site, asked: &Asked) -> [Bar; 3] {
    let load = Load::even(asked.orders, asked.customers);
    let few = Load::even(asked.orders / 10, asked.customers);
    let delay = Duration::from_millis(asked.delay);
    let peer = best_peer(site, few, delay, asked.test).await;
    println!("node with delay: best with {peer}");
    let settings = best_settings(site, load, delay, asked).await;
    println!("millrace with delay: best with {settings:?}");
    let (mut nears, mut fars, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=asked.rounds {
        let near = engine(site, load, Some(Duration::ZERO), &asked.set).await;
        let far = engine(site, load, Some(delay), &settings).await;
        let node = node(site, few, Some(delay), peer).await;
        println!(
            "round {round}: millrace without delay {}; with {} ms each way {}, {:.0} %; node {node:.0}/s, {:.1} times",
            near.told(),
            asked.delay,
            far.told(),
            100.0 * far.rate / near.rate,
            far.rate / node
        );
        nears.push(near.rate);
        fars.push(far.rate);
        nodes.push(node);
    }
    let ratio = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a / b).collect::<Vec<_>>();
    println!("millrace through the proxy, no delay {} orders/s", spread(&nears, 0));
    println!("millrace with delay                  {} orders/s", spread(&fars, 0));
    println!("node with delay                      {} orders/s", spread(&nodes, 0));
    println!("millrace with / without delay {}", spread(&ratio(&fars, &nears), 2));
    println!("millrace / node, with delay   {}", spread(&ratio(&fars, &nodes), 1));
    let delayed = |who: &str| format!("{who}, {} ms each way to each server", asked.delay);
    [
        bar("Millrace through the proxy, without delay", nears),
        bar(delayed("Millrace"), fars),
        bar(delayed("Node.js"), nodes),
    ]
}

/// What a setting does.
async fn own(site: &Site, asked: &Asked) {
    let load = Load::even(asked.orders, asked.customers);
    let mut ratios = Vec::new();
    for round in 1..=asked.rounds {
        let (without, with) = (engine(site, load, None, &[]).await, engine(site, load, None, &asked.set).await);
        println!("round {round}: {}\n    with: {}", without.told(), with.told());
        ratios.push(with.rate / without.rate);
    }
    println!("with / without {:?} {}", asked.set, spread(&ratios, 2));
}

async fn engine(site: &Site, load: Load, delay: Option<Duration>, settings: &[String]) -> Figures {
    let place = match delay {
        None => site.place().await,
        Some(delay) => site.far_place(delay).await,
    };
    place.fill(site, &load).await;
    let figures = place.run(load.orders, settings).await;
    site.forget(place).await;
    figures
}

async fn node(site: &Site, load: Load, delay: Option<Duration>, peer: Peer) -> f64 {
    let place = match delay {
        None => site.place().await,
        Some(delay) => site.far_place(delay).await,
    };
    place.fill(site, &load).await;
    let rate = peer.run(&place, load.orders).await;
    site.forget(place).await;
    rate
}

/// Tries the Node.js worker in every shape, the three best once more and longer, and takes the best.
async fn best_peer(site: &Site, load: Load, delay: Duration, trial: bool) -> Peer {
    let delay = (!delay.is_zero()).then_some(delay);
    let short = Load { orders: load.orders / 2, ..load };
    let mut tried = Vec::new();
    for shape in Peer::shapes(delay.is_some()).into_iter().take(if trial { 1 } else { usize::MAX }) {
        let rate = node(site, short, delay, shape).await;
        println!("  node with {shape}: {rate:.0} orders/s");
        tried.push((rate, shape));
    }
    tried.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    tried.truncate(3);
    for (rate, shape) in &mut tried {
        *rate = node(site, load, delay, *shape).await;
        println!("  once more, with {shape}: {rate:.0} orders/s");
    }
    tried.into_iter().max_by(|(one, _), (other, _)| one.total_cmp(other)).expect("some shape was tried").1
}

/// Tries Millrace with more of what waits for the network, and takes the best.
async fn best_settings(site: &Site, load: Load, delay: Duration, asked: &Asked) -> Vec<String> {
    let mut best = (0.0, asked.set.clone());
    for (committers, calls) in
        if asked.test { vec![(2, 32)] } else { vec![(2, 16), (2, 32), (2, 64), (4, 32), (4, 64)] }
    {
        let mut settings = asked.set.clone();
        settings.push(format!("ledger.committers = {committers}"));
        settings.extend(["polls_max", "calls_max"].map(|key| format!("inbox.{key} = {calls}")));
        let figures = engine(site, load, Some(delay), &settings).await;
        println!(
            "  millrace with {committers} committers, {calls} receives and {calls} deletes at once: {}",
            figures.told()
        );
        if figures.rate > best.0 {
            best = (figures.rate, settings);
        }
    }
    best.1
}
