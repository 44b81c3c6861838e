//! `[backlog]` and `[maintenance]`: the settings of maintenance windows.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};

use super::defaults;

/// `[backlog]`: a database of its own, which stays up while the ledger is shut down.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backlog {
    /// `postgres://…` (a fleet) or `sqlite://PATH` (one machine, on a volume that outlives the task). Without it there
    /// are no maintenance windows: while the ledger is closed, orders stay in SQS.
    pub url: Option<String>,
    /// Connections that append, one task each.
    pub appenders: u32,
    /// The most orders in one append.
    pub append_max: u32,
    /// How long a statement waits for a lock.
    #[serde(with = "duration")]
    pub lock_timeout: Duration,
    /// How long a statement may run in the server; the client gives up a second later.
    #[serde(with = "duration")]
    pub statement_timeout: Duration,
    /// How long connecting may take.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How often a worker looks at the phase while nothing is going on; ten times as often in a window.
    #[serde(with = "duration")]
    pub look: Duration,
}

/// `[maintenance]`: how the backlog drains.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Maintenance {
    /// The most orders a second that the drain commits: the ceiling of its pace.
    pub rate_max: u32,
    /// The fewest orders a second that it falls back to while the database is slow.
    pub rate_min: u32,
    /// A commit that takes longer than this makes the drain slower; while commits are faster it grows.
    #[serde(with = "duration")]
    pub commit_target: Duration,
    /// The most orders of one customer that the drain holds at once; the others take turns with it.
    pub share: u32,
    /// The most orders that the drain holds at once.
    pub messages_max: u32,
    /// The most bytes of bodies that the drain holds at once.
    pub bytes_max: u64,
    /// How long the drain lease lives without renewal; renewed at a third of it.
    #[serde(with = "duration")]
    pub lease: Duration,
    /// The backlog is sealed when no more orders are left than this, or than drain in half of `seal_limit`.
    pub seal_depth: u32,
    /// How long sealing may hold the workers up before it is taken back.
    #[serde(with = "duration")]
    pub seal_limit: Duration,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            url: None,
            appenders: 2,
            append_max: 500,
            lock_timeout: defaults::lock_timeout(),
            statement_timeout: defaults::statement_timeout(),
            connect_timeout: defaults::connect_timeout(),
            look: Duration::from_secs(10),
        }
    }
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            rate_max: 5_000,
            rate_min: 20,
            commit_target: Duration::from_millis(250),
            share: 200,
            messages_max: 4_000,
            bytes_max: 64 << 20,
            lease: Duration::from_secs(10),
            seal_depth: 500,
            seal_limit: Duration::from_secs(5),
        }
    }
}
