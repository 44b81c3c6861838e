//! What workers share: a configuration, a queue and a ledger; and the commands over them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millrace::inbox::sqs::Sqs;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

use super::load::Load;
use super::queue::Queue;
use crate::servers::process::Worker;

/// One deployment.
pub struct Site {
    /// For whatever belongs to the test.
    pub folder: TempDir,
    /// Where orders come from.
    pub queue: Queue,
    ledger: String,
    config: PathBuf,
}

/// What a command said, and how it ended.
pub struct Said {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {:?}\n{}{}", self.code, self.out, self.err)
    }
}

impl Site {
    /// Writes the configuration and creates the ledger's tables. Waits are short, so that a kill costs seconds; and
    /// no more is held than a busy machine finishes well within the visibility timeout. Deletes linger, because a
    /// FIFO queue of 300 groups that come free one by one gives one message a receive.
    pub async fn new(ordering: &str, queue: Queue, ledger: &str, locks: &str, prefix: &str) -> Self {
        Self::with(ordering, queue, ledger, locks, prefix, "").await
    }

    /// As [`Site::new`], with further sections.
    pub async fn with(ordering: &str, queue: Queue, ledger: &str, locks: &str, prefix: &str, sections: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("millrace.toml");
        let url = queue.url();
        let text = format!(
            r#"
            inbox = {{ queue_url = "{url}", ordering = "{ordering}", wait = "1s", polls_max = 4, visibility_timeout = "5s", backoff_max = "1s", ack_linger = "100ms" }}
            locks = {{ url = "{locks}", prefix = "{prefix}", lease = "2s", linger = "500ms", wait_max = "1s" }}
            flow = {{ messages_max = 500 }}
            hold = {{ probe = "100ms", probe_max = "1s" }}
            shutdown = {{ budget = "10s", stop_timeout = "12s" }}
            http = {{ listen = "127.0.0.1:0" }}
            log = {{ level = "info" }}
            [ledger]
            url = "{ledger}"
            committers = 2
            lock_timeout = "500ms"
            statement_timeout = "1s"
            backoff_max = "500ms"
            sweep = "1s"
            {sections}
            "#
        );
        std::fs::write(&config, text).unwrap();
        let site = Self { folder, queue, ledger: ledger.to_owned(), config };
        let said = site.command(&["migrate"]).await;
        assert_eq!(said.code, Some(0), "{said}");
        site
    }

    /// The file with the settings.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// A worker that reaches the queue directly.
    pub fn worker(&self) -> Worker {
        self.worker_with(&[])
    }

    /// A worker with further settings.
    pub fn worker_with(&self, settings: &[(&str, &str)]) -> Worker {
        Worker::start(&self.config, &self.queue.endpoint(), settings)
    }

    /// Runs a command of the program to its end.
    pub async fn command(&self, arguments: &[&str]) -> Said {
        self.command_within(crate::servers::PATIENCE, arguments).await
    }

    /// As [`Site::command`], for one that takes its time.
    pub async fn command_within(&self, bound: Duration, arguments: &[&str]) -> Said {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.arg("--config").arg(&self.config).args(arguments).env_clear().kill_on_drop(true);
        let ended = tokio::time::timeout(bound, command.output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{arguments:?} did not end within {bound:?}")).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr) }
    }

    /// How many orders are committed; nothing while the ledger does not answer.
    pub async fn committed(&self) -> Option<usize> {
        self.count("SELECT coalesce(sum(last_position), 0)::bigint FROM customers").await
    }

    /// The highest mark of a customer (`fifo`), as the ledger writes it.
    pub async fn highest_mark(&self) -> String {
        let mut ledger = PgConnection::connect(&self.ledger).await.unwrap();
        sqlx::query_scalar("SELECT max(mark)::text FROM customers").fetch_one(&mut ledger).await.unwrap()
    }

    /// When each order was committed, in milliseconds since 1970, by its name.
    pub async fn commit_times(&self) -> Vec<(String, i64)> {
        let mut ledger = PgConnection::connect(&self.ledger).await.unwrap();
        let sql = "SELECT order_id, (extract(epoch FROM committed_at) * 1000)::bigint FROM orders";
        sqlx::query_as(sql).fetch_all(&mut ledger).await.unwrap()
    }

    async fn count(&self, sql: &'static str) -> Option<usize> {
        let mut ledger = PgConnection::connect(&self.ledger).await.ok()?;
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut ledger).await.ok()?;
        drop(ledger.close().await);
        Some(usize::try_from(count).expect("a count"))
    }

    /// Waits until so many orders are committed.
    pub async fn until_committed(&self, orders: usize, bound: Duration) {
        let deadline = Instant::now() + bound;
        loop {
            let committed = self.committed().await;
            if committed.is_some_and(|committed| committed >= orders) {
                return;
            }
            assert!(Instant::now() < deadline, "{committed:?} of {orders} orders are committed after {bound:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until nothing is left in the queue and nothing is parked, then lets `millrace verify` judge: it finds
    /// nothing.
    pub async fn until_verified(&self, load: &Load, bound: Duration) {
        let inbox = Sqs::new(&self.queue.sdk_config(), &self.queue.settings());
        let deadline = Instant::now() + bound;
        loop {
            let queue = inbox.describe().await.unwrap();
            let parked = self.count("SELECT count(*) FROM parked_orders").await;
            let (visible, in_flight) = (queue.visible, queue.not_visible);
            if visible + in_flight + queue.delayed == 0 && parked == Some(0) {
                break;
            }
            if Instant::now() >= deadline {
                let said = self.verdict(load).await;
                panic!("after {bound:?}: {visible} messages visible, {in_flight} in flight, {parked:?} parked; {said}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let said = self.verdict(load).await;
        let orders = load.orders;
        let clean = format!("verified: {orders} orders, 0 lost, 0 duplicated, 0 out of order, 0 quarantined");
        assert_eq!((said.code, said.out.lines().last()), (Some(0), Some(clean.as_str())), "{said}");
    }

    async fn verdict(&self, load: &Load) -> Said {
        self.command(&["verify", "--manifest", load.manifest.to_str().unwrap()]).await
    }
}

/// What a worker said of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Messages that were finished after the signal.
    pub finished: u64,
    /// Messages that were handed back.
    pub returned: u64,
    /// Messages that have to wait for their visibility timeout.
    pub at_risk: u64,
}

/// Waits for the end of a worker that was asked to end, and reads its last line.
pub async fn stopped(worker: &mut Worker) -> Stopped {
    // Its budget, and as much again for a busy machine: the budget itself is the core's business.
    let status = worker.ended(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0), "{}", worker.log());
    let log = worker.log();
    let line = log.lines().find(|line| line.starts_with("stopped: ")).unwrap_or_else(|| panic!("no report:\n{log}"));
    let numbers: Vec<u64> = line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    let [finished, returned, at_risk] = numbers[..] else { panic!("{line}") };
    assert_eq!(line, format!("stopped: {finished} finished, {returned} returned, {at_risk} at risk"));
    Stopped { finished, returned, at_risk }
}

/// The sections of a site whose orders go to this backlog in a window; soon noticed, and soon taken over.
pub fn windows(backlog: &str) -> String {
    format!(
        r#"
        [backlog]
        url = "{backlog}"
        lock_timeout = "500ms"
        statement_timeout = "1s"
        look = "2s"
        [maintenance]
        rate_max = 20000
        lease = "4s"
        "#
    )
}
