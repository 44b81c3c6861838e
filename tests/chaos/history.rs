//! The folder that a run leaves behind: what was sent, what went wrong, what every worker logged, and what the
//! databases held at the end. The checker (`millrace-history`) judges it; it is its only source.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::load::{Kind, Message};

/// The folder.
#[derive(Debug)]
pub struct History {
    pub folder: PathBuf,
    faults: Mutex<File>,
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(now.as_millis()).expect("it fits")
}

impl History {
    /// An empty folder, outside of what `scripts/test` throws away.
    pub fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos").join(name);
        // A run that failed left it; the same seed may go well this time.
        let before = folder.with_extension(format!("before-{}", now_ms()));
        if folder.exists() {
            std::fs::rename(&folder, &before).unwrap();
            println!("the history of the run before is in {}", before.display());
        }
        std::fs::create_dir_all(&folder).unwrap();
        let faults = Mutex::new(File::create(folder.join("faults.jsonl")).unwrap());
        Self { folder, faults }
    }

    /// Where a worker logs to.
    pub fn log_of(&self, worker: usize) -> PathBuf {
        self.folder.join(format!("worker-{worker}.jsonl"))
    }

    /// Something went wrong from `at` until now, or in one moment.
    pub fn fault(&self, at: u64, until: Option<u64>, kind: &str, target: &str, detail: &str) {
        let line = json!({ "at": at, "until": until, "kind": kind, "target": target, "detail": detail });
        writeln!(self.faults.lock().expect("no panic inside"), "{line}").unwrap();
    }

    /// How often each kind of thing went wrong.
    pub fn faults(&self) -> BTreeMap<String, usize> {
        let text = std::fs::read_to_string(self.folder.join("faults.jsonl")).unwrap();
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            *counts.entry(line["kind"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        counts
    }

    /// Writes one object.
    pub fn object(&self, name: &str, value: &Value) {
        std::fs::write(self.folder.join(name), format!("{value}\n")).unwrap();
    }

    /// Writes what was sent; and the manifest for `millrace verify`, beside the folder.
    pub fn sent(&self, sent: &mut [(u64, Message)], is_gapless: bool) -> PathBuf {
        sent.sort_unstable_by_key(|(at, message)| (message.customer, message.place, *at));
        let mut lines = BufWriter::new(File::create(self.folder.join("sent.jsonl")).unwrap());
        let manifest = self.folder.with_extension("manifest");
        let mut bodies = BufWriter::new(File::create(&manifest).unwrap());
        for (at, message) in sent.iter() {
            let body = message.body(is_gapless);
            writeln!(lines, "{}", line(*at, message, &body, is_gapless)).unwrap();
            // Replacements are known to `verify` by the decisions.
            if !matches!(message.kind, Kind::Replacement | Kind::Malformed) {
                writeln!(bodies, "{body}").unwrap();
            }
        }
        lines.flush().unwrap();
        bodies.flush().unwrap();
        manifest
    }

    /// Dumps the answer to a query that gives one JSON object a row.
    pub async fn dump(&self, name: &str, url: &str, sql: &str) {
        let mut file = BufWriter::new(File::create(self.folder.join(name)).unwrap());
        let mut connection = PgConnection::connect(url).await.unwrap();
        let sql = AssertSqlSafe(format!("SELECT to_json(r)::text FROM ({sql}) AS r"));
        let mut rows = sqlx::query_scalar::<_, String>(sql).fetch(&mut connection);
        while let Some(row) = rows.try_next().await.unwrap() {
            writeln!(file, "{row}").unwrap();
        }
        file.flush().unwrap();
    }
}

fn line(at: u64, message: &Message, body: &str, is_gapless: bool) -> Value {
    let is_order = message.kind != Kind::Malformed;
    let kind = match message.kind {
        Kind::Order => "order",
        Kind::Duplicate => "duplicate",
        Kind::Poison => "poison",
        Kind::Conflict => "conflict",
        Kind::Malformed => "malformed",
        Kind::Replacement => "replacement",
    };
    json!({
        "at": at,
        "order_id": message.order_id(),
        "customer_id": if is_order || !is_gapless { message.customer_id() } else { String::new() },
        "sequence": (is_order && is_gapless).then_some(message.place),
        "place": if is_order { message.place } else { 0 },
        "body_sha256": digest(body),
        "total_minor": if is_order { message.total_minor() } else { 0 },
        "kind": kind,
        "accepted": true,
    })
}

/// As `sha256` writes it in hexadecimal.
pub fn digest(body: &str) -> String {
    Sha256::digest(body).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What is dumped of the ledger: the file and its query.
pub const LEDGER: [(&str, &str); 8] = [
    (
        "orders.jsonl",
        "SELECT order_id, customer_id, position, total_minor, \
            encode(sha256(convert_to(body, 'UTF8')), 'hex') AS body_sha256, \
            (extract(epoch FROM committed_at) * 1000)::bigint AS committed_ms FROM orders",
    ),
    ("order_lines.jsonl", "SELECT order_id, line_number, quantity, unit_price_minor FROM order_lines"),
    (
        "order_events.jsonl",
        "SELECT event_id, order_id, customer_id, position, kind, \
            (extract(epoch FROM created_at) * 1000)::bigint AS created_ms FROM order_events",
    ),
    ("tombstones.jsonl", "SELECT customer_id, position, order_id FROM tombstones"),
    ("customers.jsonl", "SELECT customer_id, last_position, parked, blocked_by FROM customers"),
    ("parked_orders.jsonl", "SELECT order_id, customer_id FROM parked_orders"),
    (
        "quarantined_orders.jsonl",
        "SELECT id, order_id, customer_id, kind, convert_from(body, 'UTF8') AS body FROM quarantined_orders",
    ),
    ("chains.jsonl", "SELECT customer_id, orders, total_minor, link FROM chains"),
];
