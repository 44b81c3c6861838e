//! What the benches with real servers share: the servers, the orders, and a worker whose cost is read.
//!
//! All figures of a run come from outside of what is measured: the rate from the ledger's own times, CPU and memory
//! from the system, requests from the worker's `/status`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use millrace::backlog::{self, Backlog as _};
use millrace::config::Config;
use millrace::ledger::{self, Ledger as _};
use millrace::status::Status;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::servers::process::Worker;
use crate::servers::{self, postgres, redis};

use delay::Delay;

#[path = "rig/cases.rs"]
pub mod cases;
#[path = "rig/delay.rs"]
pub mod delay;
#[path = "rig/load.rs"]
pub mod load;
#[path = "rig/queues.rs"]
pub mod queues;

pub use cases::Cases;
pub use load::Load;
use queues::Queues;

/// How long a run may take before the bench gives up.
const PATIENCE: Duration = Duration::from_mins(10);

/// The servers, each on a loopback port of its own.
pub struct Site {
    pub sqs: Queues,
    pub redis: redis::Server,
    pub postgres: postgres::Server,
}

impl Site {
    pub async fn start() -> Self {
        let (redis, postgres) = (redis::Server::start().await, postgres::Server::start().await);
        Self { sqs: Queues::start().await, redis, postgres }
    }

    /// A ledger and a queue that nobody used before, reached directly.
    pub async fn place(&self) -> Place {
        let name = servers::unique("bench").replace('-', "_");
        let queue = self.sqs.create(&name).await;
        let ledger = self.postgres.create(&name).await;
        let config = Config::new(&queue, &ledger);
        ledger::open(&config).unwrap().migrate().await.unwrap();
        Place { queue, ledger, redis: self.redis.url(), sqs: self.sqs.endpoint(), name, network: Vec::new() }
    }

    /// The same with so much delay each way before each server; zero is the proxy alone.
    pub async fn far_place(&self, delay: Duration) -> Place {
        let mut place = self.place().await;
        let mut through = async |url: &str| {
            let (head, rest) = url.split_once("//").unwrap();
            let host = rest.split('/').next().unwrap();
            let address = host.rsplit('@').next().unwrap();
            let proxy = Delay::before(address, delay).await;
            let far = format!("{head}//{}", rest.replacen(address, proxy.address(), 1));
            place.network.push(proxy);
            far
        };
        let far = (through(&place.redis.clone()).await, through(&place.sqs.clone()).await);
        let ledger = through(&place.ledger.clone()).await;
        (place.redis, place.sqs, place.ledger) = (far.0, far.1, ledger);
        place
    }

    /// Drops its database, so that its vacuum does not slow what comes next.
    pub async fn forget(&self, place: Place) {
        let mut admin = PgConnection::connect(&self.postgres.url("postgres")).await.unwrap();
        let sql = format!("DROP DATABASE {} WITH (FORCE)", place.name);
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
        self.rest().await;
    }

    /// Lets the server write what it still has to write, so that it does not slow what comes next.
    pub async fn rest(&self) {
        let mut admin = PgConnection::connect(&self.postgres.url("postgres")).await.unwrap();
        sqlx::query("CHECKPOINT").execute(&mut admin).await.unwrap();
    }
}

/// Where one run works.
pub struct Place {
    pub queue: String,
    pub ledger: String,
    pub redis: String,
    pub sqs: String,
    name: String,
    network: Vec<Delay>,
}

/// What a run did and cost.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Orders a second, from the first commit to the last.
    pub rate: f64,
    /// CPU of the worker's process an order, in microseconds.
    pub cpu_us: f64,
    /// The most memory that it had at once, in MB.
    pub memory_mb: u64,
    /// Requests an order.
    pub sqs: f64,
    pub redis: f64,
    pub sql: f64,
}

impl Figures {
    /// In one line.
    pub fn told(&self) -> String {
        let Self { rate, cpu_us, memory_mb, sqs, redis, sql } = self;
        format!(
            "{rate:.0}/s ({cpu_us:.1} µs CPU, {sqs:.3} SQS, {redis:.4} Redis, {sql:.4} SQL an order; {memory_mb} MB at most)"
        )
    }
}

impl Place {
    /// Puts all orders into the queue.
    pub async fn fill(&self, site: &Site, load: &Load) {
        self.fill_after(site, load, 0).await;
    }

    /// Puts all orders but the first so many into the queue.
    pub async fn fill_after(&self, site: &Site, load: &Load, before: u64) {
        site.sqs.put(&self.queue, load.bodies().skip(usize::try_from(before).unwrap())).await;
    }

    /// Waits until so many orders are in the ledger.
    pub async fn until(&self, orders: u64, mut runs: impl FnMut() -> Result<(), String>) {
        let mut ledger = PgConnection::connect(&self.ledger).await.unwrap();
        let sql = "SELECT coalesce(sum(last_position), 0)::bigint FROM customers";
        let begun = Instant::now();
        loop {
            let committed: i64 = sqlx::query_scalar(sql).fetch_one(&mut ledger).await.unwrap();
            if committed.unsigned_abs() >= orders {
                return;
            }
            if let Err(end) = runs() {
                panic!("the worker ended after {committed} of {orders} orders:\n{end}");
            }
            assert!(begun.elapsed() < PATIENCE, "{committed} of {orders} orders after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Orders a second, from the first commit to the last, by the ledger's own times.
    pub async fn rate(&self) -> f64 {
        let mut ledger = PgConnection::connect(&self.ledger).await.unwrap();
        let sql = "SELECT (count(*) / extract(epoch FROM max(committed_at) - min(committed_at)))::float8 FROM orders";
        sqlx::query_scalar(sql).fetch_one(&mut ledger).await.unwrap()
    }

    /// The rate of the first so many orders.
    pub async fn rate_of_first(&self, orders: u64) -> f64 {
        self.rate_of("ASC", orders).await
    }

    /// The rate of the last so many orders.
    pub async fn rate_of_last(&self, orders: u64) -> f64 {
        self.rate_of("DESC", orders).await
    }

    async fn rate_of(&self, direction: &str, orders: u64) -> f64 {
        let mut ledger = PgConnection::connect(&self.ledger).await.unwrap();
        let sql = format!(
            "SELECT (count(*) / extract(epoch FROM max(created_at) - min(created_at)))::float8
             FROM (SELECT created_at FROM order_events ORDER BY event_id {direction} LIMIT {orders}) e"
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut ledger).await.unwrap()
    }

    /// Puts the first so many orders of each customer of a [`Load`] into the ledger, past Millrace.
    pub async fn prefill(&self, customers: u64, each: u64) {
        let mut ledger = PgConnection::connect(&self.ledger).await.unwrap();
        let customer = "'customer-' || lpad(c::text, 7, '0')";
        let number = format!("((p - 1) * {customers} + c)");
        let order = format!("'order-' || lpad({number}::text, 8, '0')");
        let of_each = format!("FROM generate_series(1, {each}) p, generate_series(0, {customers} - 1) c");
        let body = load::body(0, 0, 0);
        for sql in [
            format!(
                "INSERT INTO customers (customer_id, last_position)
                 SELECT {customer}, {each} FROM generate_series(0, {customers} - 1) c"
            ),
            format!(
                "INSERT INTO orders (order_id, customer_id, position, digest, currency, total_minor, placed_at, body)
                 SELECT {order}, {customer}, p, sha256(({order})::bytea), 'EUR', 4470, now(), '{body}' {of_each}"
            ),
            format!(
                "INSERT INTO order_lines (order_id, line_number, sku, quantity, unit_price_minor)
                 SELECT {order}, l, 'sku-' || {number}, 2, 1990 {of_each}, generate_series(1, 2) l"
            ),
            format!(
                "INSERT INTO order_events (order_id, customer_id, position, kind)
                 SELECT {order}, {customer}, p, 'committed' {of_each}"
            ),
            "VACUUM ANALYZE".to_owned(),
            "CHECKPOINT".to_owned(),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut ledger).await.unwrap();
        }
    }

    /// A backlog for it, empty.
    pub async fn backlog(&self, site: &Site) -> String {
        let mut config = Config::new(&self.queue, &self.ledger);
        let url = site.postgres.create(&format!("{}_backlog", self.name)).await;
        config.backlog.url = Some(url.clone());
        backlog::open(&config).unwrap().unwrap().migrate().await.unwrap();
        url
    }

    /// A connection that holds the ledger's table of customers for itself, so that every commit waits.
    pub async fn block(&self) -> PgConnection {
        let mut blocker = PgConnection::connect(&self.ledger).await.unwrap();
        let sql = "BEGIN; LOCK TABLE customers IN ACCESS EXCLUSIVE MODE";
        sqlx::raw_sql(sql).execute(&mut blocker).await.unwrap();
        blocker
    }

    /// Starts `millrace run` over it, with these lines of the configuration, as in `ledger.committers = 4`.
    pub fn worker(&self, settings: &[String]) -> Engine {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("millrace.toml");
        let listen = format!("127.0.0.1:{}", servers::free_port());
        let mut text = format!(
            "inbox.queue_url = \"{}\"\nledger.url = \"{}\"\nlocks.url = \"{}\"\nlocks.prefix = \"{}\"\nhttp.listen = \"{listen}\"\nlog.level = \"warn\"\n",
            self.queue, self.ledger, self.redis, self.name
        );
        for line in settings {
            writeln!(text, "{line}").unwrap();
        }
        std::fs::write(&file, text).unwrap();
        Engine { worker: Worker::start(&file, &self.sqs, &[]), listen, file, _folder: folder }
    }

    /// Runs so many orders of the queue through one worker.
    pub async fn run(&self, orders: u64, settings: &[String]) -> Figures {
        let mut engine = self.worker(settings);
        engine.until(orders).await;
        let cpu = cpu_of(engine.worker.id());
        let memory_mb = engine.worker.peak_memory_bytes() >> 20;
        // It has one more snapshot to publish, and its last deletes to make.
        let afterwards = Duration::from_secs(5);
        let status = engine.until_status("all is deleted", afterwards, |status| status.pending_deletes == 0).await;
        // Not stopped: a stop waits for the long poll that is under way.
        engine.worker.kill().await;
        let each = 1.0 / float(orders);
        Figures {
            rate: self.rate_of_last(orders).await,
            cpu_us: cpu.as_secs_f64() * 1e6 * each,
            memory_mb,
            sqs: float(status.requests.sqs) * each,
            redis: float(status.requests.redis) * each,
            sql: float(status.requests.sql) * each,
        }
    }
}

/// A worker at work.
pub struct Engine {
    pub worker: Worker,
    pub file: PathBuf,
    listen: String,
    _folder: TempDir,
}

impl Engine {
    /// Waits until it has committed so many orders.
    pub async fn until(&mut self, orders: u64) {
        // An order that waited too long for its predecessor was parked first.
        let committed = |status: &Status| status.outcomes.committed + status.unparked;
        self.until_status(&format!("{orders} orders"), PATIENCE, |status| committed(status) >= orders).await;
    }

    /// Waits until it holds so many messages, all but the last receive's, and says how many.
    pub async fn until_held(&mut self, messages: u64) -> u64 {
        let holds = |status: &Status| status.held_messages + 10 > messages;
        self.until_status(&format!("{messages} held"), PATIENCE, holds).await.held_messages
    }

    /// It is asked itself, because counting in a large ledger takes the machine's time from what is measured.
    async fn until_status(&mut self, what: &str, bound: Duration, holds: impl Fn(&Status) -> bool) -> Status {
        let begun = Instant::now();
        loop {
            assert!(self.worker.runs(), "the worker ended:\n{}", self.worker.log());
            // It may not listen yet.
            let text = self.get("/status").await.unwrap_or_default();
            if let Some(status) = serde_json::from_str(&text).ok().filter(&holds) {
                return status;
            }
            let late = begun.elapsed() > bound;
            assert!(!late, "not {what} after {bound:?}: {text}\n{}", self.worker.log());
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    pub async fn status(&self) -> Status {
        serde_json::from_str(&self.get("/status").await.unwrap()).unwrap()
    }

    /// One GET in HTTP/1.0, whose answer ends with the connection.
    pub async fn get(&self, path: &str) -> std::io::Result<String> {
        let mut connection = TcpStream::connect(&self.listen).await?;
        connection.write_all(format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.listen).as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }
}

/// The CPU that a process has used so far: user and system, all threads.
pub fn cpu_of(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name may hold spaces; it ends with the last parenthesis. Ticks are hundredths of a second on every Linux.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// The memory that a process has now, in bytes (resident set).
pub fn memory_of(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// The value in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median with the least and the largest: `7.9 (7.1 to 8.4)`.
pub fn spread(values: &[f64], digits: usize) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.digits$} ({low:.digits$} to {high:.digits$})", median(values))
}

#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}
