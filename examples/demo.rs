//! The whole path of an order on embedded defaults, with only Rust on the machine: an SQS server inside this process,
//! SQLite and local locks in a temporary folder.
//!
//! 20,000 orders of 500 customers go into the queue in shuffled order, 1,000 of them twice, and 20 messages that are
//! no orders. In the middle an operator begins a maintenance window and ends it two seconds later: the orders go into
//! the backlog, another SQLite file, and drain from there into the ledger. At the end `verify` judges the ledger; the
//! last line says what it found. Exit code 0 only if nothing is wrong.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use millrace::backlog::{self, AnyBacklog, Backlog as _, Session as _};
use millrace::cli::maintenance::begin::Beginning;
use millrace::cli::maintenance::course::Advance;
use millrace::cli::maintenance::end::Ending;
use millrace::cli::maintenance::stores::Stores;
use millrace::config::Config;
use millrace::core::{Report, Settings};
use millrace::drain::Drain;
use millrace::engine::{Engine, Role};
use millrace::inbox::sqs::Sqs;
use millrace::inbox::sqs::producer::{Outgoing, Producer, Sent};
use millrace::ledger::{self, Ledger as _, Source};
use millrace::locks;
use millrace::status::pulse::Pulse;
use millrace::status::{LocksState, Route, Status};
use millrace::verify::{Question, Sequence, verify};
use millrace::window::Notice;
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
    let file = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    let mut config = Config::new(&queue, &file("ledger.db"));
    config.backlog.url = Some(file("backlog.db"));
    let ledger = ledger::open(&config)?;
    ledger.migrate().await?;
    let backlog = backlog::open(&config)?.ok_or("there is a backlog")?;
    backlog.migrate().await?;
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
    let stop = CancellationToken::new();
    let drain = Drain {
        unbound: None,
        ledger: ledger.clone(),
        backlog: backlog.clone(),
        config: config.clone(),
        owner: "demo".into(),
        seed: 2,
        status: status.clone(),
    };
    let draining = tokio::spawn(drain.run(stop.clone()));
    let engine = Engine {
        inbox: Sqs::new(&server.sdk_config(), &config.inbox),
        locks: locks::open(&config.locks)?,
        ledger,
        backlog: Some(backlog.clone()),
        unbound: None,
        role: Role::Live,
        settings: Settings::from(&config),
        seed: 1,
        pulse: Pulse::new(config.ledger.committers as usize, Duration::from_mins(1)),
        status,
    };
    let running = tokio::spawn(engine.run(stop.clone()));
    let ended = watch_and_maintain(&config, &backlog, &server, &queue, seen).await;
    let took = begun.elapsed();
    stop.cancel();
    let report: Report = running.await??;
    draining.await?;
    let spooled = ended?;
    println!(
        "Worked for {:.1} s, {:.0} orders/s, the window included; at the end {} messages handed back, {} at risk",
        took.as_secs_f64(),
        f64::from(u32::try_from(ORDERS)?) / took.as_secs_f64(),
        report.returned,
        report.at_risk
    );

    let question = Question { url: config.ledger.url, sequence: Sequence::Gapless, manifest: Some(manifest) };
    let report = verify(&question).await?;
    println!("{report}, {spooled} spooled and drained");
    Ok(report.is_clean() && report.orders == ORDERS && report.quarantined == MALFORMED && spooled > 0)
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

/// Shows the progress. When half of the orders are in, an operator begins a window, and ends it a while later. Says how
/// many orders went through the backlog.
async fn watch_and_maintain(
    config: &Config,
    backlog: &AnyBacklog,
    server: &rustack::Rustack,
    queue: &str,
    seen: watch::Receiver<Status>,
) -> Result<u64> {
    let mut ledger = SqliteConnection::connect(&config.ledger.url).await?;
    let mut backlog = backlog.connect().await?;
    let bars = MultiProgress::new();
    let (committed_bar, backlog_bar) = (bars.add(bar(ORDERS, "committed")), bars.add(bar(ORDERS / 2, "backlog")));
    let begun = Instant::now();
    let mut window = Window::Before;
    loop {
        let committed: i64 =
            sqlx::query_scalar("SELECT coalesce(sum(last_position), 0) FROM customers").fetch_one(&mut ledger).await?;
        let committed = committed.unsigned_abs();
        committed_bar.set_position(committed);
        let status = seen.borrow().clone();
        committed_bar.set_message(match status.route {
            Route::Direct => format!("{} parked, {} early", status.parked_known, status.early),
            Route::Spool => "closed: orders go to the backlog".into(),
            _ => format!("holding {} messages for a moment", status.held_messages),
        });
        window = window.go_on(config, committed, &backlog_bar).await?;
        backlog_bar.set_position(backlog.depth().await?.rows);
        let counts = server.counts(queue).await;
        let empty = counts.visible + counts.in_flight == 0;
        if let Window::Over { spooled } = window
            && ((empty && committed >= ORDERS) || begun.elapsed() > PATIENCE)
        {
            committed_bar.set_message("");
            finish(&committed_bar);
            return Ok(spooled);
        }
        if begun.elapsed() > PATIENCE {
            return Err("it takes too long".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How far the operator is. What `millrace maintenance begin` and `end` do, one step at a time.
enum Window {
    Before,
    Begun { at: Instant },
    Ending(Box<Ending>),
    Over { spooled: u64 },
}

impl Window {
    async fn go_on(self, config: &Config, committed: u64, bar: &ProgressBar) -> Result<Self> {
        let stores = || -> Result<Stores> {
            Ok(Stores::open(config).map_err(|trouble| trouble.message)?.ok_or("there is a backlog")?)
        };
        Ok(match self {
            Window::Before if committed >= ORDERS / 2 => {
                let notice = Notice { reason: Some("a demonstration".into()), actor: Some("demo".into()), until: None };
                let mut begin = Beginning::new(stores()?, notice);
                while !matches!(begin.advance().await.map_err(|trouble| trouble.message)?, Advance::Done(_)) {}
                bar.println("maintenance begin: the ledger is closed, orders are accepted into the backlog …");
                Window::Begun { at: Instant::now() }
            }
            Window::Begun { at } if at.elapsed() >= CLOSED_FOR => {
                bar.println("… maintenance end: the backlog drains, at a pace that grows …");
                Window::Ending(Box::new(Ending::new(stores()?, "demo", &config.maintenance)))
            }
            Window::Ending(mut end) => match end.advance().await.map_err(|trouble| trouble.message)? {
                Advance::Done(_) => {
                    bar.println("… and the ledger is open again.");
                    Window::Over { spooled: end.status().map_or(0, |status| status.removed) }
                }
                _ => Window::Ending(end),
            },
            before => before,
        })
    }
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
