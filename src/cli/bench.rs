//! `millrace bench`: loads the queue, watches the ledger, and says how fast it went and what it cost.
//!
//! It only sends and watches; the workers are those that run already. A ledger has to be marked as one for benches
//! first, which only an empty one can be, and the first order is sent alone: all others follow when it has arrived there.
//! So a bench whose queue belongs to another ledger costs that one a single order.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::{DONE, FAILED, MISUSED, actor, failed, print_json, table};
use crate::config::Config;
use crate::inbox::sqs::producer::Producer;
use crate::ledger::bench::{Marked, SAMPLES_MAX, Watch};

mod figures;
mod load;
mod send;
mod watch;
mod workers;

pub use figures::{Figures, Latency};
use figures::{Measured, Prices};
use load::{Load, float};
use send::Shipped;
use workers::Usage;

/// How long the workers may take to delete what they have committed, and to say so.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// Longer than what a worker tells of its CPU may be old: it publishes that twice a second.
const PUBLISHED: Duration = Duration::from_secs(1);

/// What SQS asks for a million requests in most regions of the USA and Europe, in dollars: standard, and FIFO.
const SQS_MILLION: f64 = 0.40;
const SQS_MILLION_FIFO: f64 = 0.50;

/// Arguments of `millrace bench`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Mark the ledger as one for benches, and do nothing else; only an empty one can be
    #[arg(long)]
    pub mark: bool,

    /// How many orders
    #[arg(long, value_name = "N", default_value = "100000")]
    pub orders: NonZeroU64,

    /// Orders a second [default: as fast as the queue takes them]
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZeroU32>,

    /// Of how many customers; they take turns, unless --zipf says otherwise
    #[arg(long, value_name = "N", default_value = "1000")]
    pub customers: NonZeroU64,

    /// Customer k has a share like 1 / k^S of the orders
    #[arg(long, value_name = "S")]
    pub zipf: Option<f64>,

    /// Lines of each order, 1 to 500
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub lines: u32,

    /// Fill up each message to so many bytes, with a field that is not of the contract
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes)]
    pub bytes: usize,

    /// How many of a hundred orders are sent twice
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub duplicates: f64,

    /// How many of a hundred orders are sent late, behind up to 50 others
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub shuffle: f64,

    /// The same seed gives the same orders but for their names
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,

    /// Requests to the queue at once
    #[arg(long, value_name = "N", default_value = "16")]
    pub senders: NonZeroU32,

    /// Where a worker listens (its http.listen); once for each worker [default: http.listen]
    #[arg(long, value_name = "HOST:PORT")]
    pub worker: Vec<SocketAddr>,

    /// Give up when nothing is committed for so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub patience: NonZeroU32,

    /// Dollars for a million requests to SQS [default: 0.40, and 0.50 for a FIFO queue]
    #[arg(long, value_name = "DOLLARS")]
    pub sqs_price: Option<f64>,

    /// Dollars for a virtual CPU and hour
    #[arg(long, value_name = "DOLLARS", default_value = "0.04048")]
    pub vcpu_price: f64,

    /// One JSON object on standard output, no progress bar
    #[arg(long)]
    pub json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "is not 0 to 100".to_owned())
}

fn bytes(text: &str) -> Result<usize, String> {
    let most = crate::order::MAX_BODY_BYTES;
    text.parse().ok().filter(|bytes| *bytes <= most).ok_or_else(|| format!("is not 0 to {most}"))
}

/// Runs the command.
pub async fn run(config: &Config, args: &Args) -> ExitCode {
    let ledger = match Watch::open(config).await {
        Ok(ledger) => ledger,
        Err(error) => return failed("bench", &error),
    };
    if args.mark {
        return mark(ledger).await;
    }
    match bench(config, args, ledger).await {
        Ok(figures) => {
            if args.json {
                print_json(&figures);
            } else {
                print(&figures);
            }
            ExitCode::from(DONE)
        }
        Err(Trouble::Misused(problem)) => {
            eprintln!("millrace bench: {problem}");
            ExitCode::from(MISUSED)
        }
        Err(Trouble::Failed(problem)) => failed("bench", &problem),
    }
}

async fn mark(mut ledger: Watch) -> ExitCode {
    match ledger.mark(&actor(None).unwrap_or_else(|| "unknown".to_owned())).await {
        Ok(Marked::Yes) => {
            println!("the ledger is marked: millrace bench may fill it with orders");
            ExitCode::from(DONE)
        }
        Ok(Marked::HasOrders) => {
            eprintln!("millrace bench: the ledger has orders; only an empty one becomes a ledger for benches");
            ExitCode::from(FAILED)
        }
        Err(error) => failed("bench", &error),
    }
}

/// Why there are no figures.
enum Trouble {
    Misused(String),
    Failed(String),
}

impl From<String> for Trouble {
    fn from(problem: String) -> Self {
        Trouble::Failed(problem)
    }
}

async fn bench(config: &Config, args: &Args, mut ledger: Watch) -> Result<Figures, Trouble> {
    let told = |error: crate::ledger::LedgerError| Trouble::Failed(error.to_string());
    if !ledger.is_marked().await.map_err(told)? {
        let problem =
            "the ledger is not marked as one for benches: millrace bench --mark, which only an empty ledger takes";
        return Err(Trouble::Misused(problem.to_owned()));
    }
    let workers = workers(config, args)?;
    Usage::of(&workers)
        .map_err(|problem| format!("{problem}: start one with millrace run, or name it with --worker"))?;
    let producer = Producer::from_environment(&config.inbox).await.map_err(|error| error.to_string())?;
    if producer.is_fifo() && args.shuffle > 0.0 {
        let problem = "--shuffle makes no sense on a FIFO queue: its order is that of sending".to_owned();
        return Err(Trouble::Misused(problem));
    }
    let run = format!("{:08x}", RandomState::new().hash_one(args.seed) & 0xffff_ffff);
    first(config, args, &producer, &run).await?;
    let before = Usage::of(&workers)?;
    let base = ledger.newest_event().await.map_err(told)?;
    let bar = bar(args);
    let (shipped, seen) = drive(args, &producer, &run, ledger, base, &bar).await?;
    bar.finish_and_clear();
    let used = settle(&workers, before, shipped).await?;
    let body_bytes = Load::new(args, &run).next().map_or(0, |planned| planned.body.len());
    let measured = Measured {
        orders: args.orders.get(),
        messages: shipped.messages,
        body_bytes,
        sending: shipped.took,
        committing: seen.took,
        latencies: seen.latencies,
        used,
    };
    let sqs_million = args.sqs_price.unwrap_or(if producer.is_fifo() { SQS_MILLION_FIFO } else { SQS_MILLION });
    Ok(Figures::of(measured, Prices { sqs_million, vcpu_hour: args.vcpu_price }))
}

fn patience(args: &Args) -> Duration {
    Duration::from_secs(args.patience.get().into())
}

fn workers(config: &Config, args: &Args) -> Result<Vec<SocketAddr>, Trouble> {
    if !args.worker.is_empty() {
        return Ok(args.worker.clone());
    }
    let listen = &config.http.listen;
    let own = listen.parse().map_err(|_| Trouble::Misused(format!("http.listen = {listen} is no address")))?;
    Ok(vec![own])
}

/// Sends one order, and waits until it is in the ledger that is watched.
async fn first(config: &Config, args: &Args, producer: &Producer, run: &str) -> Result<(), Trouble> {
    let mut ledger = Watch::open(config).await.map_err(|error| error.to_string())?;
    let base = ledger.newest_event().await.map_err(|error| error.to_string())?;
    let one = Args { orders: NonZeroU64::MIN, duplicates: 0.0, shuffle: 0.0, ..args.clone() };
    let load = Load::new(&one, &format!("{run}-first"));
    let (departures, arrivals) = mpsc::channel(1);
    send::all(producer, load, None, 1, departures, |_| {}).await?;
    watch::until(1, base, ledger, arrivals, patience(args), |_| {}).await.map_err(|_| {
        format!(
            "one order was sent, and is not in the ledger after {} s; no other was sent. Do the workers of this queue \
             write to this ledger? millrace status",
            args.patience
        )
    })?;
    Ok(())
}

/// Sends everything and watches it, side by side.
async fn drive(
    args: &Args,
    producer: &Producer,
    run: &str,
    ledger: Watch,
    base: u64,
    bar: &ProgressBar,
) -> Result<(Shipped, watch::Seen), Trouble> {
    let (departures, arrivals) = mpsc::channel(SAMPLES_MAX);
    let orders = args.orders.get();
    let sending = send::all(
        producer,
        Load::new(args, run),
        args.rate.map(NonZeroU32::get),
        args.senders.get() as usize,
        departures,
        |messages| {
            // Not at each: the bar would be slower than the queue.
            if messages.is_multiple_of(64) {
                bar.set_message(format!("{messages} sent"));
            }
        },
    );
    let watching =
        watch::until(orders, base, ledger, arrivals, patience(args), |committed| bar.set_position(committed));
    Ok(tokio::try_join!(sending, watching)?)
}

/// What the workers used, when they have deleted everything.
async fn settle(workers: &[SocketAddr], before: Usage, shipped: Shipped) -> Result<Usage, Trouble> {
    let deadline = Instant::now() + AFTERWARDS;
    loop {
        let now = Usage::of(workers)?;
        let used = now.since(before);
        if now.pending_deletes < 1.0 && used.ended >= float(shipped.messages) {
            sleep(PUBLISHED).await;
            return Ok(Usage::of(workers)?.since(before));
        }
        if Instant::now() > deadline {
            return Ok(used);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn bar(args: &Args) -> ProgressBar {
    if args.json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("committed {wide_bar} {pos}/{len} {per_sec} {msg}");
    ProgressBar::new(args.orders.get()).with_style(style.expect("the template is right"))
}

fn print(figures: &Figures) {
    let latency = figures.latency.map_or_else(
        || "no order was watched".to_owned(),
        |latency| {
            format!(
                "p50 {:.0} ms, p99 {:.0} ms, p99.9 {:.0} ms, longest {:.0} ms ({} orders watched, every {} ms)",
                latency.p50,
                latency.p99,
                latency.p999,
                latency.max,
                latency.samples,
                watch::LOOK.as_millis()
            )
        },
    );
    println!(
        "{}",
        table::facts([
            ("orders", format!("{} committed, {} messages sent", figures.orders, figures.messages)),
            ("sent", format!("{:.0} messages a second", figures.sent_per_second)),
            ("committed", format!("{:.0} orders a second", figures.committed_per_second)),
            ("send to commit", latency),
            (
                "SQS",
                format!(
                    "{:.3} requests an order ({:.3} receives, {:.3} deletes, {:.3} visibility)",
                    figures.sqs_per_order,
                    figures.receives_per_order,
                    figures.deletes_per_order,
                    figures.visibility_per_order
                )
            ),
            ("Redis", format!("{:.4} calls an order", figures.redis_per_order)),
            ("ledger", format!("{:.4} transactions and queries an order", figures.sql_per_order)),
            ("CPU", format!("{:.1} µs of the workers an order", figures.cpu_us_per_order)),
            (
                "cost",
                format!(
                    "${:.3} for a million orders: SQS ${:.3}, CPU ${:.3}; databases and Redis are not in it",
                    figures.sqs_dollars_per_million + figures.cpu_dollars_per_million,
                    figures.sqs_dollars_per_million,
                    figures.cpu_dollars_per_million
                )
            ),
        ])
    );
    for advice in &figures.advice {
        println!("lower: {advice}");
    }
}
