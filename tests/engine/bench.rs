//! What every test of the engine needs: a queue, a migrated ledger, engines that run and stop, and eyes of its own on
//! the ledger (raw SQL, and `verify`).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use millrace::backlog;
use millrace::config::Config;
use millrace::core::{Report, Settings};
use millrace::engine::{Broken, Engine, Role};
use millrace::inbox::sqs::Sqs;
use millrace::inbox::sqs::producer::{Outgoing, Producer, Sent};
use millrace::ledger::{self, Binding, Ledger as _, Source};
use millrace::locks;
use millrace::order::Ordering;
use millrace::status::pulse::Pulse;
use millrace::status::{LocksState, Outcomes, Status};
use millrace::verify::{self, Question, Sequence};
use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::servers::rustack::Rustack;
use crate::servers::{Database, database, eventually};

/// How long anything may take that a healthy machine does in a second or two.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// Which ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    /// A file of the test's own.
    Sqlite,
    /// A database of the test's own on the shared server.
    Postgres,
    /// This empty database.
    At(String),
}

/// A queue and a ledger.
pub(crate) struct Bench {
    pub(crate) sqs: Arc<Rustack>,
    pub(crate) config: Config,
    producer: Producer,
    /// What was sent, as a manifest for `verify`.
    sent: Vec<String>,
    folder: TempDir,
    _database: Option<Database>,
}

/// A row of `quarantined_orders`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Quarantined {
    pub(crate) id: String,
    pub(crate) customer: Option<String>,
    pub(crate) kind: String,
    pub(crate) reason: String,
    pub(crate) body: Vec<u8>,
    pub(crate) blocks: i64,
}

impl Bench {
    pub(crate) async fn new(ordering: Ordering, store: Store) -> Self {
        Self::with(ordering, store, |_| {}).await
    }

    /// With settings of the test's own over those of [`hasty`].
    pub(crate) async fn with(ordering: Ordering, store: Store, tune: impl FnOnce(&mut Config)) -> Self {
        let sqs = Arc::new(Rustack::start().await);
        let queue = match ordering {
            Ordering::Fifo => sqs.create_fifo_queue("orders.fifo").await,
            Ordering::Gapless | Ordering::None => sqs.create_queue("orders").await,
        };
        let folder = tempfile::tempdir().unwrap();
        let (url, database) = match store {
            Store::Sqlite => (format!("sqlite://{}", folder.path().join("ledger.db").display()), None),
            Store::Postgres => {
                let database = database().await;
                (database.url().to_owned(), Some(database))
            }
            Store::At(url) => (url, None),
        };
        let mut config = Config::new(&queue, &url);
        config.inbox.ordering = ordering;
        hasty(&mut config);
        tune(&mut config);
        let ledger = ledger::open(&config).unwrap();
        Box::pin(ledger.migrate()).await.unwrap();
        let source = Source { ordering, queue_arn: queue, queue_created_at: 0 };
        assert_eq!(Box::pin(ledger.bind(&source)).await, Ok(Binding::Bound));
        let producer = Producer::new(&sqs.sdk_config(), &config.inbox);
        Self { sqs, config, producer, sent: Vec::new(), folder, _database: database }
    }

    /// Makes this the team's own SQL, in a file of the bench's folder.
    pub(crate) fn effects(&mut self, sql: &str) {
        let path = self.folder.path().join("effects.sql");
        std::fs::write(&path, sql).unwrap();
        self.config.ledger.effects = Some(path);
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.config.ledger.url.starts_with("sqlite:")
    }

    /// Sends orders, each in its customer's group on a FIFO queue, and puts them into the manifest.
    pub(crate) async fn send(&mut self, bodies: &[String]) {
        let messages: Vec<(String, String)> = bodies
            .iter()
            .map(|body| {
                let order: Value = serde_json::from_str(body).unwrap_or_default();
                (order["customer_id"].as_str().unwrap_or("nobody").to_owned(), body.clone())
            })
            .collect();
        self.sent.extend(bodies.iter().cloned());
        self.send_as(&messages).await;
    }

    /// Sends bodies of any kind in these groups; they are in no manifest.
    pub(crate) async fn send_as(&self, messages: &[(String, String)]) {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let fifo = self.config.inbox.ordering == Ordering::Fifo;
        let outgoing: Vec<Outgoing> = messages
            .iter()
            .map(|(group, body)| Outgoing {
                body: body.clone(),
                group: fifo.then(|| group.clone()),
                deduplication_id: fifo.then(|| COUNT.fetch_add(1, Relaxed).to_string()),
            })
            .collect();
        let answers = Box::pin(self.producer.send(&outgoing)).await;
        assert!(answers.iter().all(|answer| *answer == Sent::Done), "{answers:?}");
    }

    pub(crate) fn start(&self) -> Worker {
        self.start_with(&self.config)
    }

    /// An engine with other settings than the bench's.
    pub(crate) fn start_with(&self, config: &Config) -> Worker {
        let kept_by = if config.locks.url == "local:" { LocksState::Local } else { LocksState::Redis };
        let (status, seen) = watch::channel(Status::starting(config.inbox.ordering, kept_by));
        let pulse = Pulse::new(config.ledger.committers as usize, Duration::from_mins(1));
        let engine = Engine {
            inbox: Sqs::new(&self.sqs.sdk_config(), &config.inbox),
            locks: locks::open(&config.locks).unwrap(),
            ledger: ledger::open(config).unwrap(),
            backlog: backlog::open(config).unwrap(),
            unbound: None,
            role: Role::Live,
            settings: Settings::from(config),
            seed: 1,
            pulse: pulse.clone(),
            status,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(engine.run(stop.clone()));
        Worker { task, stop, status: seen, pulse, sqs: Arc::clone(&self.sqs) }
    }

    /// Waits until the queue has no message, neither visible nor in flight.
    pub(crate) async fn drained(&self) {
        let queue = &self.config.inbox.queue_url;
        eventually("the queue is empty", SOON, || async {
            let counts = self.sqs.counts(queue).await;
            counts.visible + counts.in_flight == 0
        })
        .await;
    }

    /// Waits until so many orders are committed, and the queue is empty.
    pub(crate) async fn finished(&self, orders: usize) {
        let orders = i64::try_from(orders).unwrap();
        eventually(&format!("{orders} orders are committed"), SOON, || async {
            self.number("SELECT count(*) FROM orders").await >= orders
        })
        .await;
        self.drained().await;
    }

    pub(crate) async fn visible(&self) -> u64 {
        self.sqs.counts(&self.config.inbox.queue_url).await.visible
    }

    pub(crate) async fn in_flight(&self) -> u64 {
        self.sqs.counts(&self.config.inbox.queue_url).await.in_flight
    }

    async fn connection(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.config.ledger.url).await.unwrap()
    }

    /// Runs statements.
    pub(crate) async fn run(&self, sql: &str) {
        let mut connection = self.connection().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// One number.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connection().await;
        let sql = AssertSqlSafe(format!("SELECT CAST(({sql}) AS bigint)"));
        let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        number
    }

    /// One column of text.
    pub(crate) async fn column(&self, sql: &str) -> Vec<String> {
        let mut connection = self.connection().await;
        let rows = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        rows
    }

    /// The orders of a customer by position.
    pub(crate) async fn committed(&self, customer: &str) -> Vec<String> {
        self.column(&format!("SELECT order_id FROM orders WHERE customer_id = '{customer}' ORDER BY position")).await
    }

    /// The parked orders of a customer by rank.
    pub(crate) async fn parked(&self, customer: &str) -> Vec<String> {
        self.column(&format!("SELECT order_id FROM parked_orders WHERE customer_id = '{customer}' ORDER BY ord")).await
    }

    /// Everything in quarantine.
    pub(crate) async fn quarantined(&self) -> Vec<Quarantined> {
        let mut connection = self.connection().await;
        let rows = sqlx::query_as(
            "SELECT id, customer_id AS customer, kind, reason, body, \
             CAST(CASE WHEN blocks THEN 1 ELSE 0 END AS bigint) AS blocks FROM quarantined_orders ORDER BY id",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        connection.close().await.unwrap();
        rows
    }

    /// Closes the gate as an operator does: announced first, so that new writes are refused.
    pub(crate) async fn close_gate(&self) {
        self.run("UPDATE gate_announced SET epoch = epoch + 1").await;
        self.run("UPDATE gate SET state = 'CLOSED', epoch = epoch + 1").await;
    }

    pub(crate) async fn open_gate(&self) {
        self.run("UPDATE gate SET state = 'OPEN'").await;
    }

    /// What `millrace verify` says, with everything that was sent as the manifest.
    pub(crate) async fn verify(&self) -> verify::Report {
        let manifest: PathBuf = self.folder.path().join("manifest.jsonl");
        std::fs::write(&manifest, self.sent.join("\n")).unwrap();
        let sequence = match self.config.inbox.ordering {
            Ordering::Gapless => Sequence::Gapless,
            Ordering::Fifo => Sequence::Fifo,
            Ordering::None => Sequence::None,
        };
        let question = Question { url: self.config.ledger.url.clone(), sequence, manifest: Some(manifest) };
        verify::verify(&question).await.unwrap()
    }

    /// `verify` finds nothing, and so many orders are committed.
    pub(crate) async fn is_clean(&self, orders: usize) {
        let report = self.verify().await;
        assert!(report.is_clean(), "{report}\n{:#?}", report.findings);
        assert_eq!(report.orders, orders as u64, "{report:?}");
    }
}

/// Short pauses everywhere: a test waits for nothing that production waits for.
fn hasty(config: &mut Config) {
    let millis = Duration::from_millis;
    config.inbox.wait = Duration::from_secs(1);
    config.inbox.early_wait = millis(100);
    config.inbox.backoff = millis(20);
    config.inbox.backoff_max = millis(200);
    config.locks.linger = millis(100);
    config.locks.retry = millis(50);
    config.locks.away_retry = millis(100);
    config.ledger.committers = 3;
    config.ledger.backoff_max = millis(200);
    config.ledger.sweep = millis(300);
    config.hold.probe = millis(50);
    config.hold.probe_max = millis(200);
}

/// An engine that runs.
pub(crate) struct Worker {
    task: JoinHandle<Result<Report, Broken>>,
    stop: CancellationToken,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) pulse: Pulse,
    sqs: Arc<Rustack>,
}

impl Worker {
    /// Waits for a status that is as it should be.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut(&Status) -> bool) {
        let last = self.status.clone();
        let _shown = Shown(&self.status);
        eventually(what, SOON, || {
            assert!(!self.task.is_finished(), "the engine ended by itself");
            std::future::ready(holds(&last.borrow()))
        })
        .await;
    }

    /// Waits until so many deliveries have their end, handed back ones not counted.
    pub(crate) async fn ended(&self, deliveries: u64) {
        self.until(&format!("{deliveries} deliveries ended"), |status| ends(&status.outcomes) >= deliveries).await;
    }

    pub(crate) fn outcomes(&self) -> Outcomes {
        self.status.borrow().outcomes
    }

    /// Stops it, and gives its report and its last status. The queue is empty: what its last poll waits for does not
    /// come, so that poll is broken off.
    pub(crate) async fn stop(mut self) -> (Report, Status) {
        self.stop.cancel();
        if let Ok(early) = tokio::time::timeout(Duration::from_millis(50), &mut self.task).await {
            return (early.unwrap().unwrap(), self.status.borrow().clone());
        }
        self.sqs.cut_connections();
        let report = tokio::time::timeout(SOON, self.task).await.expect("it ends in time").unwrap().unwrap();
        let status = self.status.borrow().clone();
        (report, status)
    }
}

/// Deliveries that have their end, handed back ones not counted.
pub(crate) fn ends(outcomes: &Outcomes) -> u64 {
    outcomes.committed + outcomes.duplicate + outcomes.parked + outcomes.quarantined
}

/// Prints the status when a wait was in vain: it says more about why than a sentence.
struct Shown<'a>(&'a watch::Receiver<Status>);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{:#?}", *self.0.borrow());
        }
    }
}
