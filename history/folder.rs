//! The folder: every file of the harness, as it is written. What is missing, unknown or cut off is an error.

#![allow(clippy::struct_field_names, reason = "the fields are the columns of the tables")]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::guards;

/// Why the folder cannot be judged: which file and line, and what is wrong there.
#[derive(Debug)]
pub(crate) struct Wrong(String);

impl Wrong {
    pub(crate) fn new(file: &str, why: impl fmt::Display) -> Self {
        Self(format!("{file}: {why}"))
    }

    pub(crate) fn at(file: &str, line: usize, why: impl fmt::Display) -> Self {
        Self(format!("{file}:{line}: {why}"))
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// run.json. (Its other fields say how to make such a run again.)
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    pub ordering: Ordering,
    #[serde(rename = "queue")]
    _queue: String,
    #[serde(rename = "seed")]
    _seed: u64,
    #[serde(rename = "seconds")]
    _seconds: u64,
    #[serde(rename = "workers")]
    _workers: u64,
    pub wait_bound_ms: u64,
    pub recovery_ms: u64,
    pub leases_ms: u64,
    pub needs: BTreeMap<String, u64>,
    pub without: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ordering {
    Gapless,
    Fifo,
}

/// A message that was given to the queue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sent {
    pub at: u64,
    pub order_id: String,
    pub customer_id: String,
    #[serde(deserialize_with = "nullable")]
    pub sequence: Option<u64>,
    pub place: u64,
    pub body_sha256: String,
    pub total_minor: i64,
    pub kind: Kind,
    #[serde(deserialize_with = "nullable")]
    pub accepted: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Order,
    Duplicate,
    Poison,
    Conflict,
    Malformed,
    Replacement,
}

/// What was done to the run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub at: u64,
    #[serde(deserialize_with = "nullable")]
    pub until: Option<u64>,
    pub kind: String,
    pub target: String,
    pub detail: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub order_id: String,
    pub customer_id: String,
    pub position: u64,
    pub total_minor: i64,
    pub body_sha256: String,
    pub committed_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderLine {
    pub order_id: String,
    pub line_number: u64,
    pub quantity: i64,
    pub unit_price_minor: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderEvent {
    pub event_id: u64,
    pub order_id: String,
    pub customer_id: String,
    pub position: u64,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "created_ms")]
    _created_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tombstone {
    pub customer_id: String,
    pub position: u64,
    #[serde(deserialize_with = "nullable")]
    pub order_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Customer {
    pub customer_id: String,
    pub last_position: u64,
    pub parked: u64,
    #[serde(deserialize_with = "nullable")]
    pub blocked_by: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parked {
    pub order_id: String,
    pub customer_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quarantined {
    pub id: String,
    #[serde(deserialize_with = "nullable")]
    pub order_id: Option<String>,
    #[serde(rename = "customer_id", deserialize_with = "nullable")]
    _customer_id: Option<String>,
    pub kind: String,
    pub body: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chain {
    pub customer_id: String,
    pub orders: u64,
    pub total_minor: i64,
    pub link: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gates {
    pub gate: String,
    pub gate_epoch: u64,
    pub phase: String,
    pub backlog_epoch: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spooled {
    pub order_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queued {
    pub body_sha256: String,
    #[serde(rename = "message_id")]
    _message_id: String,
}

/// Everything but the logs of the workers.
#[derive(Debug)]
pub(crate) struct History {
    pub run: Run,
    pub sent: Vec<Sent>,
    pub faults: Vec<Fault>,
    pub orders: Vec<Order>,
    pub lines: Vec<OrderLine>,
    pub events: Vec<OrderEvent>,
    pub tombstones: Vec<Tombstone>,
    pub customers: Vec<Customer>,
    pub parked: Vec<Parked>,
    pub quarantined: Vec<Quarantined>,
    pub chains: Vec<Chain>,
    pub gates: Gates,
    pub backlog: Vec<Spooled>,
    pub queue: Vec<Queued>,
}

impl History {
    pub(crate) fn read(folder: &Path) -> Result<Self, Wrong> {
        let history = Self {
            run: object(folder, "run.json")?,
            sent: rows(folder, "sent.jsonl")?,
            faults: rows(folder, "faults.jsonl")?,
            orders: rows(folder, "orders.jsonl")?,
            lines: rows(folder, "order_lines.jsonl")?,
            events: rows(folder, "order_events.jsonl")?,
            tombstones: rows(folder, "tombstones.jsonl")?,
            customers: rows(folder, "customers.jsonl")?,
            parked: rows(folder, "parked_orders.jsonl")?,
            quarantined: rows(folder, "quarantined_orders.jsonl")?,
            chains: rows(folder, "chains.jsonl")?,
            gates: object(folder, "gates.json")?,
            backlog: rows(folder, "backlog_orders.jsonl")?,
            queue: rows(folder, "queue.jsonl")?,
        };
        for (index, fault) in history.faults.iter().enumerate() {
            if !guards::FAULTS.contains(&fault.kind.as_str()) {
                return Err(Wrong::at("faults.jsonl", index + 1, format!("no such kind of fault: {}", fault.kind)));
            }
        }
        let Run { needs, without, .. } = &history.run;
        match needs.keys().chain(without).find(|name| !guards::names().any(|known| known == name.as_str())) {
            Some(name) => Err(Wrong::new("run.json", format!("no such guard: {name}"))),
            None => Ok(history),
        }
    }
}

/// The logs of the worker processes: worker-N.jsonl, in the order of their numbers, none missing between them.
pub(crate) fn worker_logs(folder: &Path) -> Result<Vec<PathBuf>, Wrong> {
    let entries = fs::read_dir(folder).map_err(|error| Wrong::new(&folder.display().to_string(), error))?;
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| Wrong::new(&folder.display().to_string(), error))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("worker-")?.strip_suffix(".jsonl"));
        numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    let file = |number: u32| format!("worker-{number}.jsonl");
    if let Some(pair) = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        return Err(Wrong::new(&file(pair[0] + 1), "is missing"));
    }
    if numbers.is_empty() {
        return Err(Wrong::new(&file(1), "is missing, and every other log of a worker too"));
    }
    Ok(numbers.into_iter().map(|number| folder.join(file(number))).collect())
}

fn bytes(folder: &Path, file: &str) -> Result<Vec<u8>, Wrong> {
    fs::read(folder.join(file)).map_err(|error| Wrong::new(file, error))
}

fn object<T: DeserializeOwned>(folder: &Path, file: &str) -> Result<T, Wrong> {
    serde_json::from_slice(&bytes(folder, file)?).map_err(|error| Wrong::new(file, error))
}

fn rows<T: DeserializeOwned>(folder: &Path, file: &str) -> Result<Vec<T>, Wrong> {
    let bytes = bytes(folder, file)?;
    let row = |(index, line)| serde_json::from_slice(line).map_err(|error| Wrong::at(file, index + 1, error));
    bytes.split_inclusive(|byte| *byte == b'\n').enumerate().map(row).collect()
}

/// A field that may be null, and may not be left out.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}
