//! The whole path of an order on embedded defaults, with only Rust on the machine: an SQS server inside this process,
//! SQLite and local locks in a temporary folder.
//!
//! 20,000 orders of 500 customers go into the queue in shuffled order, 1,000 of them twice, and 20 messages that are
//! no orders. In the middle the ledger is closed for two seconds. At the end `verify` judges the ledger; the last
//! line says what it found. Exit code 0 only if nothing is wrong.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use millrace::config::Config;
use millrace::core::{Report, Settings};
use millrace::engine::Engine;
use millrace::inbox::sqs::Sqs;
use millrace::inbox::sqs::producer::{Outgoing, Producer, Sent};
use millrace::ledger::sqlite::Sqlite;
use millrace::ledger::{Ledger as _, Source};
use millrace::locks;
use millrace::status::pulse::Pulse;
use millrace::status::{LocksState, Route, Status};
use millrace::verify::{Question, Sequence, verify};
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[path = "../tests/servers/rustack.rs"]
mod rustack;

const CUSTOMERS: u64 = 500;
const ORDERS: u64 = 20_000;
const DUPLICATES: u64 = ORDERS / 20;
const MALFORMED: u64 = 20;
const CLOSED_FOR: Duration = Duration::from_secs(2);
/// When something is wrong the demo ends all the same.
const PATIENCE: Duration = Duration::from_mins(5);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let server = rustack::Rustack::start().await;
    let queue = server.create_queue("orders").await;
    let ledger_path = folder.path().join("ledger.db");
    let config = Config::new(&queue, &format!("sqlite://{}", ledger_path.display()));
    let ledger = Sqlite::new(&config.ledger.url, config.inbox.ordering, &config.ledger)?;
    ledger.migrate().await?;
    ledger.bind(&Source { ordering: config.inbox.ordering, queue_arn: queue.clone(), queue_created_at: 0 }).await?;
    println!("An SQS server in this process, SQLite and local locks in {}", folder.path().display());

    let (manifest, messages) = orders(folder.path())?;
    println!(
        "{ORDERS} orders of {CUSTOMERS} customers, shuffled; {DUPLICATES} of them twice; {MALFORMED} messages that \
         are no orders\n"
    );
    send(&Producer::new(&server.sdk_config(), &config.inbox), messages).await?;

    let begun = Instant::now();
    let (status, seen) = watch::channel(Status::starting(config.inbox.ordering, LocksState::Local));
    let engine = Engine {
        inbox: Sqs::new(&server.sdk_config(), &config.inbox),
        locks: locks::open(&config.locks)?,
        ledger,
        settings: Settings::from(&config),
        seed: 1,
        pulse: Pulse::new(config.ledger.committers as usize, Duration::from_mins(1)),
        status,
    };
    let stop = CancellationToken::new();
    let running = tokio::spawn(engine.run(stop.clone()));
    let ended = watch_and_close(&ledger_path, &server, &queue, seen).await;
    let took = begun.elapsed();
    stop.cancel();
    let report: Report = running.await??;
    ended?;
    println!(
        "Worked for {:.1} s, {:.0} orders/s, the closed time included; at the end {} messages handed back, {} at risk",
        took.as_secs_f64(),
        f64::from(u32::try_from(ORDERS)?) / took.as_secs_f64(),
        report.returned,
        report.at_risk
    );

    let question = Question { url: config.ledger.url, sequence: Sequence::Gapless, manifest: Some(manifest) };
    let report = verify(&question).await?;
    println!("{report}");
    Ok(report.is_clean() && report.orders == ORDERS && report.quarantined == MALFORMED)
}

/// The orders in the order of their making as the manifest, and the messages as they are sent.
fn orders(folder: &Path) -> Result<(PathBuf, Vec<String>)> {
    let mut random = Random(20_261_122);
    let mut last = vec![0u64; usize::try_from(CUSTOMERS)?];
    let mut manifest = String::new();
    let mut messages = Vec::new();
    for number in 0..ORDERS {
        let customer = random.below(CUSTOMERS);
        let sequence = &mut last[usize::try_from(customer)?];
        *sequence += 1;
        let (second, quantity, price) = (number % 60, 1 + random.below(5), random.below(10_000));
        let order = format!(
            r#"{{"order_id":"order-{number:05}","customer_id":"customer-{customer:03}","sequence":{sequence},"placed_at":"2026-11-22T10:00:{second:02}Z","currency":"EUR","lines":[{{"sku":"sku-{price}","quantity":{quantity},"unit_price_minor":{price}}}]}}"#
        );
        writeln!(manifest, "{order}")?;
        messages.push(order);
    }
    for _ in 0..DUPLICATES {
        let twice = usize::try_from(random.below(ORDERS))?;
        messages.push(messages[twice].clone());
    }
    messages.extend((0..MALFORMED).map(|number| format!("this is no order, number {number}")));
    for index in (1..messages.len()).rev() {
        let other = usize::try_from(random.below(index as u64 + 1))?;
        messages.swap(index, other);
    }
    let path = folder.join("manifest.jsonl");
    std::fs::write(&path, manifest)?;
    Ok((path, messages))
}

async fn send(producer: &Producer, messages: Vec<String>) -> Result<()> {
    let bar = bar(messages.len() as u64, "sent");
    let mut sending = JoinSet::new();
    let batches: Vec<Vec<String>> = messages.chunks(10).map(<[String]>::to_vec).collect();
    for batch in batches {
        if sending.len() >= 16 {
            sending.join_next().await.expect("it is not empty")??;
        }
        let (producer, bar) = (producer.clone(), bar.clone());
        sending.spawn(async move {
            let outgoing: Vec<Outgoing> =
                batch.into_iter().map(|body| Outgoing { body, group: None, deduplication_id: None }).collect();
            let sent = producer.send(&outgoing).await;
            bar.inc(sent.len() as u64);
            match sent.into_iter().find(|sent| *sent != Sent::Done) {
                None => Ok(()),
                Some(other) => Err(format!("a message was not sent: {other:?}")),
            }
        });
    }
    while let Some(ended) = sending.join_next().await {
        ended??;
    }
    finish(&bar);
    Ok(())
}

/// Shows the progress, and closes the ledger for a while when half of the orders are in.
async fn watch_and_close(
    ledger: &Path,
    server: &rustack::Rustack,
    queue: &str,
    seen: watch::Receiver<Status>,
) -> Result<()> {
    let mut ledger = SqliteConnection::connect(&format!("sqlite://{}", ledger.display())).await?;
    let bar = bar(ORDERS, "committed");
    let begun = Instant::now();
    let mut closed_at: Option<Instant> = None;
    let mut open_again = false;
    loop {
        let committed: i64 =
            sqlx::query_scalar("SELECT coalesce(sum(last_position), 0) FROM customers").fetch_one(&mut ledger).await?;
        let committed = committed.unsigned_abs();
        bar.set_position(committed);
        let status = seen.borrow().clone();
        bar.set_message(match status.route {
            Route::Direct => format!("{} parked, {} early", status.parked_known, status.early),
            _ => format!("ledger closed: holding {} messages, receiving nothing", status.held_messages),
        });
        match closed_at {
            None if committed >= ORDERS / 2 => {
                close(&mut ledger).await?;
                bar.println("The ledger is closed now, for two seconds …");
                closed_at = Some(Instant::now());
            }
            Some(at) if !open_again && at.elapsed() >= CLOSED_FOR => {
                sqlx::query("UPDATE gate SET state = 'OPEN'").execute(&mut ledger).await?;
                bar.println("… and open again.");
                open_again = true;
            }
            _ => {}
        }
        let counts = server.counts(queue).await;
        let empty = counts.visible + counts.in_flight == 0;
        if (open_again && empty && committed >= ORDERS) || begun.elapsed() > PATIENCE {
            bar.set_message("");
            finish(&bar);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Closes the gate as an operator would: announced first, so that new writes are refused.
async fn close(ledger: &mut SqliteConnection) -> Result<()> {
    sqlx::query("UPDATE gate_announced SET epoch = epoch + 1").execute(&mut *ledger).await?;
    sqlx::query("UPDATE gate SET state = 'CLOSED', epoch = epoch + 1").execute(&mut *ledger).await?;
    Ok(())
}

fn bar(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>9} {wide_bar:.green} {pos:>5}/{len} {rate:>8} {msg}")
        .expect("the template is right")
        .with_key("rate", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            // A number that cannot be written is not worth an end of the demo.
            write!(to, "{:.0}/s", state.per_sec()).ok();
        });
    ProgressBar::new(length).with_style(style).with_prefix(what)
}

/// Leaves the bar as it is, and goes on below it.
fn finish(bar: &ProgressBar) {
    bar.finish();
    if !bar.is_hidden() {
        eprintln!();
    }
}

/// `SplitMix64`: the same orders at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
