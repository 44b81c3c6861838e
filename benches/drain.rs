//! How fast a backlog drains, what that costs in memory, who waits for whom, and what it does to others' writes.
//!
//! `scripts/test --bench drain`; `MILLRACE_BENCH_ORDERS` (default 1,000,000) says how many. Two private PostgreSQL servers, one
//! for the ledger and one for the backlog, with fsync on; a real `millrace run` drains. Rates are orders a second.
//!
//! Direct and drain are measured in turn, five times: the machine may be shared, and no two minutes are alike.
//!
//! 1. Direct: the same orders through the same engine from memory into the ledger, no SQS. The fastest that this
//!    machine commits, so the hardest comparison.
//! 2. Drain: all of them in the backlog, the worker's memory at its peak, the rate from the grant to the reopening. The
//!    ceiling is out of the way, and with it the 20 s that a pace takes to grow to its ceiling.
//! 3. One customer has half of the backlog: how long the others wait.
//! 4. Another application writes to the ledger's server: its latency without a drain, beside a drain at full speed,
//!    and beside a paced one.

#![allow(clippy::large_futures, reason = "a bench runs them one after the other")]
#![allow(missing_docs, dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millrace::backlog::{self, Backlog as _, Session as _, Spooled};
use millrace::config::Config;
use millrace::core::Settings;
use millrace::engine::{Engine, Role};
use millrace::inbox::{Delivery, Inbox, InboxError, Receipt, Settled};
use millrace::ledger::{self, Ledger as _};
use millrace::locks::local::LocalLocks;
use millrace::order::{Entry, Ordering, Rank};
use millrace::status::pulse::Pulse;
use millrace::status::{LocksState, Status};
use servers::process::Worker;
use servers::rustack::Rustack;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[path = "../tests"]
mod tests {
    pub mod servers;
}
use tests::servers;

const CUSTOMERS: u64 = 1_000;

/// How often direct and drain are compared: the machine is shared, and no two minutes are alike.
const PAIRS: usize = 5;

#[tokio::main]
async fn main() {
    // `cargo bench -- --test` only looks whether it still runs.
    let trial = std::env::args().any(|argument| argument == "--test");
    let orders = std::env::var("MILLRACE_BENCH_ORDERS").map_or(1_000_000, |text| text.parse().unwrap());
    let orders = if trial { 2_000 } else { orders };
    let site = Site::start().await;

    let mut ratios = Vec::new();
    for pair in 1..=if trial { 1 } else { PAIRS } {
        let direct = direct(&site, orders).await;
        let drained = site.drain("even", orders, |number| number % CUSTOMERS, &[]).await;
        ratios.push(100.0 * drained.rate / direct);
        println!(
            "pair {pair}: direct {direct:.0} orders/s; drain {:.0} orders/s, {:.0} % of direct; from the first commit to the \
             last {:.0} orders/s; the worker's memory at its peak: {} MB",
            drained.rate,
            100.0 * drained.rate / direct,
            drained.commits_per_second().await,
            drained.memory_mb
        );
        site.forget(drained.config).await;
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "drain: {:.0} % of direct in the median, {:.0} to {:.0} %; {orders} orders of {CUSTOMERS} customers",
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1]
    );

    let heavy = |number: u64| if number.is_multiple_of(2) { 0 } else { 1 + number / 2 % 10_000 };
    let drained = site.drain("heavy", orders / 5, heavy, &[]).await;
    let others = drained.waits(|customer| customer != "customer-00000").await;
    let heavy = drained.waits(|customer| customer == "customer-00000").await;
    println!(
        "one customer has half of {}: {:.0} orders/s; from the grant to the commit, the others p50 {:.1} s, p99 {:.1} s, \
         longest {:.1} s; the heavy one longest {:.1} s",
        orders / 5,
        drained.rate,
        others.0,
        others.1,
        others.2,
        heavy.2
    );

    let quiet = writes_of_another(&site.ledger_server.url("postgres"), Duration::from_secs(5)).await;
    println!("another application's write, no drain: {quiet}");
    for (name, settings) in [
        ("at full speed", vec![]),
        ("paced by the default settings", vec![("MILLRACE__MAINTENANCE__RATE_MAX", "5000")]),
    ] {
        let url = site.ledger_server.url("postgres");
        let beside = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            writes_of_another(&url, Duration::from_secs(5)).await
        });
        let drained = site.drain("beside", orders / 5, |number| number % CUSTOMERS, &settings).await;
        println!("beside a drain {name} ({:.0} orders/s): {}", drained.rate, beside.await.unwrap());
    }
}

struct Site {
    ledger_server: servers::postgres::Server,
    backlog_server: servers::postgres::Server,
    queue_server: Rustack,
    queue: String,
}

/// What came of a drain.
struct Drained {
    rate: f64,
    memory_mb: u64,
    config: Config,
    granted: jiff::Timestamp,
}

impl Site {
    async fn start() -> Self {
        let queue_server = Rustack::start().await;
        let queue = queue_server.create_queue("orders").await;
        let (ledger_server, backlog_server) =
            (servers::postgres::Server::start().await, servers::postgres::Server::start().await);
        Self { ledger_server, backlog_server, queue_server, queue }
    }

    async fn databases(&self, name: &str) -> Config {
        let name = servers::unique(name).replace('-', "_");
        let mut config = Config::new(&self.queue, &self.ledger_server.create(&name).await);
        config.backlog.url = Some(self.backlog_server.create(&name).await);
        ledger::open(&config).unwrap().migrate().await.unwrap();
        backlog::open(&config).unwrap().unwrap().migrate().await.unwrap();
        config
    }

    /// So that the vacuum of what is done with does not slow what comes next.
    async fn forget(&self, config: Config) {
        for (server, url) in
            [(&self.ledger_server, Some(config.ledger.url)), (&self.backlog_server, config.backlog.url)]
        {
            let name = url.unwrap().rsplit_once('/').unwrap().1.to_owned();
            let mut admin = PgConnection::connect(&server.url("postgres")).await.unwrap();
            let sql = format!("DROP DATABASE {name} WITH (FORCE)");
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
        }
    }

    /// Begins a window, fills the backlog, ends the window with one worker, and reads how it went.
    async fn drain(
        &self,
        name: &str,
        orders: u64,
        customer: impl Fn(u64) -> u64,
        settings: &[(&str, &str)],
    ) -> Drained {
        let config = self.databases(name).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("millrace.toml");
        let text = format!(
            "[inbox]\nqueue_url = \"{}\"\nwait = \"1s\"\n[ledger]\nurl = \"{}\"\n[backlog]\nurl = \"{}\"\nlook = \"2s\"\n\
             [maintenance]\nrate_max = 1000000\n[http]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"warn\"\n",
            config.inbox.queue_url,
            config.ledger.url,
            config.backlog.url.as_deref().unwrap()
        );
        std::fs::write(&file, text).unwrap();
        command(&file, &["maintenance", "begin", "--reason", "bench", "--actor", "bench"]).await;
        fill(&config, orders, customer).await;
        let mut worker = Worker::start(&file, &self.queue_server.endpoint(), settings);
        let (granted, begun) = (jiff::Timestamp::now(), Instant::now());
        command(&file, &["maintenance", "end", "--actor", "bench"]).await;
        let took = begun.elapsed();
        let memory_mb = worker.peak_memory_bytes() >> 20;
        worker.terminate();
        worker.ended(Duration::from_mins(1)).await;
        let mut ledger = PgConnection::connect(&config.ledger.url).await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut ledger).await.unwrap();
        assert_eq!(count.unsigned_abs(), orders, "all of them are in the ledger");
        Drained { rate: per_second(orders, took), memory_mb, config, granted }
    }
}

impl Drained {
    /// Without the start of the worker, the seal and the reopening.
    async fn commits_per_second(&self) -> f64 {
        let mut ledger = PgConnection::connect(&self.config.ledger.url).await.unwrap();
        let sql = "SELECT (count(*) / extract(epoch FROM max(committed_at) - min(committed_at)))::float8 FROM orders";
        sqlx::query_scalar(sql).fetch_one(&mut ledger).await.unwrap()
    }

    /// p50, p99 and longest wait from the grant to the commit, in seconds.
    async fn waits(&self, whose: impl Fn(&str) -> bool) -> (f64, f64, f64) {
        let mut ledger = PgConnection::connect(&self.config.ledger.url).await.unwrap();
        let sql = "SELECT customer_id, (extract(epoch FROM committed_at) * 1000)::bigint FROM orders";
        let rows: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(&mut ledger).await.unwrap();
        let granted = self.granted.as_millisecond();
        let waits = rows.iter().filter(|(customer, _)| whose(customer)).map(|(_, at)| seconds(at - granted));
        quantiles(waits.collect())
    }
}

/// Orders from memory through the engine into an empty ledger.
async fn direct(site: &Site, orders: u64) -> f64 {
    let config = site.databases("direct").await;
    let bodies = (0..orders).map(|number| body(number, number % CUSTOMERS, 1 + number / CUSTOMERS)).collect();
    let inbox = Memory(Arc::new(Mutex::new((bodies, 0))));
    let (status, _seen) = watch::channel(Status::starting(Ordering::Gapless, LocksState::Local));
    let engine = Engine {
        inbox: inbox.clone(),
        locks: LocalLocks::new(),
        ledger: ledger::open(&config).unwrap(),
        backlog: None::<backlog::AnyBacklog>,
        unbound: None,
        role: Role::Live,
        settings: Settings::from(&config),
        seed: 1,
        pulse: Pulse::new(config.ledger.committers as usize, Duration::from_mins(1)),
        status,
    };
    let stop = CancellationToken::new();
    let begun = Instant::now();
    let running = tokio::spawn(engine.run(stop.clone()));
    while inbox.0.lock().unwrap().1 < orders {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begun.elapsed();
    stop.cancel();
    running.await.unwrap().unwrap();
    site.forget(config).await;
    per_second(orders, took)
}

/// An inbox in memory: what is to be received, and how many were deleted.
#[derive(Clone)]
struct Memory(Arc<Mutex<(VecDeque<String>, u64)>>);

impl Inbox for Memory {
    async fn receive(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, InboxError> {
        let bodies: Vec<String> = {
            let mut queue = self.0.lock().unwrap();
            let count = queue.0.len().min(max as usize);
            queue.0.drain(..count).collect()
        };
        if bodies.is_empty() {
            tokio::time::sleep(wait.min(Duration::from_millis(100))).await;
        }
        let delivery = |body: String| Delivery {
            message_id: "m".into(),
            receipt: Receipt(String::new()),
            body,
            group: None,
            sequence_number: None,
            sent_at_ms: None,
            receive_count: 1,
        };
        Ok(bodies.into_iter().map(delivery).collect())
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<Settled>, InboxError> {
        self.0.lock().unwrap().1 += receipts.len() as u64;
        Ok(vec![Settled::Done; receipts.len()])
    }

    async fn set_visibility(&self, receipts: &[Receipt], _timeout: Duration) -> Result<Vec<Settled>, InboxError> {
        Ok(vec![Settled::Done; receipts.len()])
    }
}

async fn fill(config: &Config, orders: u64, customer: impl Fn(u64) -> u64) {
    let mut session = backlog::open(config).unwrap().unwrap().connect().await.unwrap();
    let epoch = session.phase().await.unwrap().epoch;
    let mut last = std::collections::HashMap::<u64, u64>::new();
    let mut batch = Vec::new();
    for number in 0..orders {
        let customer = customer(number);
        let sequence = last.entry(customer).or_default();
        *sequence += 1;
        let entry = Entry::from_message(Ordering::Gapless, "m", None, body(number, customer, *sequence));
        let rank = Rank::from(*sequence);
        batch.push(Spooled { rank, entry: Arc::new(entry), message_id: format!("m-{number}"), sent_at_ms: None });
        if batch.len() == 1_000 || number + 1 == orders {
            session.append(epoch, &std::mem::take(&mut batch)).await.unwrap();
        }
    }
}

fn body(number: u64, customer: u64, sequence: u64) -> String {
    format!(
        r#"{{"order_id":"order-{number:08}","customer_id":"customer-{customer:05}","sequence":{sequence},"placed_at":"2026-11-22T10:00:00Z","currency":"EUR","lines":[{{"sku":"sku-{number}","quantity":2,"unit_price_minor":1990}},{{"sku":"post","quantity":1,"unit_price_minor":490}}]}}"#
    )
}

async fn command(config: &Path, arguments: &[&str]) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_millrace"));
    let said = command
        .arg("--config")
        .arg(config)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
}

/// One small durable write every 10 ms, as another application would make it.
async fn writes_of_another(url: &str, time: Duration) -> String {
    let mut other = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS other (n bigint)").execute(&mut other).await.unwrap();
    let begun = Instant::now();
    let mut took = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while begun.elapsed() < time {
        tick.tick().await;
        let one = Instant::now();
        sqlx::query("INSERT INTO other VALUES ($1)").bind(1_i64).execute(&mut other).await.unwrap();
        took.push(one.elapsed().as_secs_f64() * 1_000.0);
    }
    let (p50, p99, longest) = quantiles(took);
    format!("p50 {p50:.1} ms, p99 {p99:.1} ms, longest {longest:.1} ms")
}

fn quantiles(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: usize| values[(values.len() * share / 100).min(values.len() - 1)];
    (at(50), at(99), at(100))
}

#[expect(clippy::cast_precision_loss, reason = "no time here comes near 2^53 ms")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
