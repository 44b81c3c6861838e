//! Every setting, with its unit and its default. `config/millrace.toml` shows them all with their reasons.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};

use crate::order::Ordering;

mod defaults;
mod relations;
mod source;
mod url;
mod window;

pub use url::{Place, place, redacted};
pub use window::{Backlog, Maintenance};

/// Why the configuration cannot be used: every problem that was found, each a sentence that names its keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("\n"))]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<String>,
}

impl ConfigError {
    fn one(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where orders come from.
    pub inbox: Inbox,
    /// Per-customer locks.
    #[serde(default)]
    pub locks: Locks,
    /// Where orders take effect.
    pub ledger: Ledger,
    /// Where orders are accepted while the ledger is closed.
    #[serde(default)]
    pub backlog: Backlog,
    /// The drain of the backlog, and its seal.
    #[serde(default)]
    pub maintenance: Maintenance,
    /// What may be held in memory.
    #[serde(default)]
    pub flow: Flow,
    /// What happens while the ledger is away.
    #[serde(default)]
    pub hold: Hold,
    /// The end of a process.
    #[serde(default)]
    pub shutdown: Shutdown,
    /// The operator's page.
    #[serde(default)]
    pub http: Http,
    /// Logging.
    #[serde(default)]
    pub log: Log,
}

impl Config {
    /// Every setting at its default, beside the two that have none.
    ///
    /// # Panics
    ///
    /// Never: every other key has a default.
    #[must_use]
    pub fn new(queue_url: &str, ledger_url: &str) -> Self {
        let required = serde_json::json!({ "inbox": { "queue_url": queue_url }, "ledger": { "url": ledger_url } });
        serde_json::from_value(required).expect("every other key has a default")
    }

    /// Reads the file, then the environment over it (`MILLRACE__SECTION__KEY`), and checks what must hold together.
    ///
    /// # Errors
    ///
    /// Names the key, where it came from, and what is expected.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_from(path, std::env::vars_os())
    }

    /// As [`Config::load`], with these variables for the environment.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_from(
        path: Option<&Path>,
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let config = source::read(path, vars)?;
        let problems = relations::broken(&config);
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// Every key with its value, as JSON; secrets included.
    fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("settings are plain values")
    }
}

/// `[inbox]`: the SQS queue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Inbox {
    /// The URL of the queue. Region, endpoint and credentials come from the AWS SDK's own chain.
    pub queue_url: String,
    /// Where the order of a customer's orders comes from.
    #[serde(default = "defaults::ordering")]
    pub ordering: Ordering,
    /// How long a long poll waits, at most 20 s.
    #[serde(with = "duration", default = "defaults::wait")]
    pub wait: Duration,
    /// How many messages one receive asks for, at most 10.
    #[serde(default = "defaults::ten")]
    pub batch: u32,
    /// The most long polls at once; one when idle. A full answer adds one, one that is not half full takes one away.
    #[serde(default = "defaults::polls_max")]
    pub polls_max: u32,
    /// How long a received message is invisible to others; extended at half of it while the engine has it.
    #[serde(with = "duration", default = "defaults::visibility_timeout")]
    pub visibility_timeout: Duration,
    /// When a message is not extended any more, counted from its receive: it comes again by itself. SQS ends it at 12 h.
    #[serde(with = "duration", default = "defaults::hold_max")]
    pub hold_max: Duration,
    /// How long one attempt of a delete or visibility call may take (a receive: this plus `wait`).
    #[serde(with = "duration", default = "defaults::attempt_timeout")]
    pub attempt_timeout: Duration,
    /// How long a finished message waits for others to share its delete call.
    #[serde(with = "duration", default = "defaults::ack_linger")]
    pub ack_linger: Duration,
    /// The most delete and visibility calls at once, of each kind.
    #[serde(default = "defaults::calls_max")]
    pub calls_max: u32,
    /// How often a delete that SQS refuses is tried before the message is left to redelivery.
    #[serde(default = "defaults::delete_tries")]
    pub delete_tries: u32,
    /// The first pause after a failed call; it doubles up to `backoff_max`.
    #[serde(with = "duration", default = "defaults::backoff")]
    pub backoff: Duration,
    /// The longest pause between failing calls.
    #[serde(with = "duration", default = "defaults::backoff_max")]
    pub backoff_max: Duration,
    /// How long an order that came before its predecessor waits in memory before it is parked in the ledger.
    #[serde(with = "duration", default = "defaults::early_wait")]
    pub early_wait: Duration,
    /// Accept a redrive policy that would send innocent orders to the dead-letter queue.
    #[serde(default)]
    pub allow_redrive: bool,
}

/// `[locks]`: per-customer sequencing locks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Locks {
    /// `redis://`, `rediss://` (add `?cluster=true` for a cluster) or `local:` (one process).
    pub url: String,
    /// What every key begins with; one for each fleet.
    pub prefix: String,
    /// Hash-tagged buckets of keys, the same in the whole fleet: 1 on a single node, 256 on a cluster.
    pub buckets: u32,
    /// How long a lock lives without renewal; renewed at a third of it.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// How long a lock is kept after its customer has nothing more to do.
    #[serde(with = "duration")]
    pub linger: Duration,
    /// How often customers whose lock is elsewhere are asked for again, all in one call.
    #[serde(with = "duration")]
    pub retry: Duration,
    /// How long such a customer waits before it goes on without the lock: the ledger decides.
    #[serde(with = "duration")]
    pub wait_max: Duration,
    /// How long one call may take; after that the locks count as away.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How long the locks are left alone after they were away; doubles up to ten times of it.
    #[serde(with = "duration")]
    pub away_retry: Duration,
}

/// `[ledger]`: the orders database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// `postgres://…` or `sqlite://PATH`. `mysql://` comes later.
    pub url: String,
    /// A team's own SQL in the same commit: the path of a file with one INSERT, UPDATE, DELETE or MERGE.
    #[serde(default)]
    pub effects: Option<PathBuf>,
    /// Where reports read (`verify`, `order`, `customer`): a reader endpoint. The ledger itself when absent.
    #[serde(default)]
    pub reader_url: Option<String>,
    /// Connections that commit, one task each: 2 to 16 (SQLite: one writes at a time).
    #[serde(default = "defaults::committers")]
    pub committers: u32,
    /// The most orders in one transaction.
    #[serde(default = "defaults::batch_max")]
    pub batch_max: u32,
    /// The most orders of one customer in one transaction.
    #[serde(default = "defaults::run_max")]
    pub run_max: u32,
    /// How long a statement waits for a lock.
    #[serde(with = "duration", default = "defaults::lock_timeout")]
    pub lock_timeout: Duration,
    /// How long a statement may run in the server; the client gives up a second later.
    #[serde(with = "duration", default = "defaults::statement_timeout")]
    pub statement_timeout: Duration,
    /// How long connecting may take.
    #[serde(with = "duration", default = "defaults::connect_timeout")]
    pub connect_timeout: Duration,
    /// The first pause before a batch is sent again, or a locked customer tried again; doubles up to `backoff_max`.
    #[serde(with = "duration", default = "defaults::ledger_backoff")]
    pub backoff: Duration,
    /// The longest such pause.
    #[serde(with = "duration", default = "defaults::ledger_backoff_max")]
    pub backoff_max: Duration,
    /// How often a customer is tried in vain before an alarm.
    #[serde(default = "defaults::alarm_tries")]
    pub alarm_tries: u32,
    /// How often each instance looks for parked orders that a crash left behind.
    #[serde(with = "duration", default = "defaults::sweep")]
    pub sweep: Duration,
    /// The most customers, and the most entries of quarantine, that one sweep looks at.
    #[serde(default = "defaults::sweep_max")]
    pub sweep_max: u32,
    /// How old a gap in a customer's numbers is when it raises an alarm.
    #[serde(with = "duration", default = "defaults::gap_after")]
    pub gap_after: Duration,
}

/// `[flow]`: what may be held in memory. At the bound receiving stops.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flow {
    /// The most messages held at once.
    pub messages_max: u32,
    /// The most bytes of bodies held at once.
    pub bytes_max: u64,
}

/// `[hold]`: while the ledger is closed or away.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hold {
    /// How long what is held stays under heartbeats before it goes back to SQS.
    #[serde(with = "duration")]
    pub keep: Duration,
    /// The first pause before the ledger is probed; doubles up to `probe_max`.
    #[serde(with = "duration")]
    pub probe: Duration,
    /// The longest pause between probes.
    #[serde(with = "duration")]
    pub probe_max: Duration,
}

/// `[shutdown]`: the end of a process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long the engine may take from SIGTERM to its exit.
    #[serde(with = "duration")]
    pub budget: Duration,
    /// What ECS was told (`stopTimeout`): after it comes SIGKILL.
    #[serde(with = "duration")]
    pub stop_timeout: Duration,
}

/// `[http]`: liveness, metrics, status.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port.
    pub listen: String,
}

/// `[log]`: logging to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, or directives such as `info,millrace=debug`.
    pub level: String,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl Default for Locks {
    fn default() -> Self {
        Self {
            url: "local:".into(),
            prefix: "millrace".into(),
            buckets: 1,
            lease: Duration::from_secs(15),
            linger: Duration::from_secs(1),
            retry: Duration::from_millis(100),
            wait_max: Duration::from_secs(5),
            timeout: Duration::from_millis(500),
            away_retry: Duration::from_secs(1),
        }
    }
}

impl Default for Flow {
    fn default() -> Self {
        Self { messages_max: 4_000, bytes_max: 64 << 20 }
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self { keep: Duration::from_mins(10), probe: Duration::from_millis(500), probe_max: Duration::from_secs(10) }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { budget: Duration::from_secs(28), stop_timeout: Duration::from_secs(30) }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".into() }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}
