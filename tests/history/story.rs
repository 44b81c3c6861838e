//! A good history of a small run, as a chaos harness and two workers would have written it. Tests bend it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// When the run began.
pub(super) const BEGAN: u64 = 1_795_825_000_000;

/// The window: begun, closed, end called, opened again.
pub(super) const WINDOW: [u64; 4] = [BEGAN + 100_000, BEGAN + 101_000, BEGAN + 110_000, BEGAN + 120_000];

/// What each customer has sent; others meet nothing evil.
const POISONS: [&str; 4] = ["eve-2", "fay-2", "gus-2", "ivy-2"];

const TABLES: [&str; 12] = [
    "sent.jsonl",
    "faults.jsonl",
    "orders.jsonl",
    "order_lines.jsonl",
    "order_events.jsonl",
    "tombstones.jsonl",
    "customers.jsonl",
    "parked_orders.jsonl",
    "quarantined_orders.jsonl",
    "chains.jsonl",
    "backlog_orders.jsonl",
    "queue.jsonl",
];

pub(super) struct Story {
    pub(super) run: Value,
    pub(super) gates: Value,
    tables: BTreeMap<&'static str, Vec<Value>>,
    /// The lines of each worker's log.
    pub(super) logs: BTreeMap<u32, Vec<Value>>,
}

pub(super) fn sha256(text: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(text) {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

fn body(id: &str) -> String {
    format!("the body of {id}")
}

/// An entry of a log: the name, and what the engine's digest may begin with.
pub(super) fn name(id: &str) -> Value {
    json!([id, sha256(&body(id))[..8]])
}

pub(super) fn names(ids: &[&str]) -> String {
    ids.iter().map(|id| name(id)).collect::<Value>().to_string()
}

impl Story {
    pub(super) fn gapless() -> Self {
        Self::new(true)
    }

    pub(super) fn fifo() -> Self {
        Self::new(false)
    }

    /// A run in which nothing happened, of a configuration in which nothing can.
    pub(super) fn empty() -> Self {
        let run = json!({
            "ordering": "gapless", "queue": "rustack", "seed": 7, "seconds": 60, "workers": 2, "wait_bound_ms": 30_000,
            "recovery_ms": 10_000, "leases_ms": 35_000, "needs": {}, "without": &GUARDS[..],
        });
        let gates = json!({ "gate": "OPEN", "gate_epoch": 1, "phase": "SEALED", "backlog_epoch": 1 });
        let tables = TABLES.map(|table| (table, Vec::new())).into();
        Self { run, gates, tables, logs: [(1, Vec::new()), (2, Vec::new())].into() }
    }

    fn new(gapless: bool) -> Self {
        let mut story = Self::empty();
        story.run["ordering"] = json!(if gapless { "gapless" } else { "fifo" });
        story.run["without"] = json!([]);
        story.run["needs"] = GUARDS.iter().map(|guard| ((*guard).to_owned(), json!(1))).collect();
        for fault in &GUARDS[..22] {
            // Long after everything, so that no wait is excused by it.
            let fault = json!({
                "at": BEGAN + 1_000_000, "until": BEGAN + 1_001_000, "kind": fault, "target": "worker-1", "detail": "",
            });
            story.rows("faults.jsonl").push(fault);
        }
        let [begun, closed, end_called, opened] = WINDOW;
        let detail = json!({ "epoch": 1, "closed_ms": closed, "end_called_ms": end_called, "opened_ms": opened });
        let window = story.find("faults.jsonl", "kind", "window");
        window["at"] = json!(begun);
        window["until"] = json!(opened);
        window["detail"] = json!(detail.to_string());
        for (kind, target) in [("skip", "eve-2"), ("replace", "fay-2"), ("retry", "gus-2")] {
            story.find("faults.jsonl", "kind", kind)["target"] = json!(target);
        }
        story.sends(gapless);
        story.commits();
        story.chains();
        story.logs_of_workers();
        story
    }

    fn sends(&mut self, gapless: bool) {
        for customer in ["ada", "bob", "eve", "fay", "gus", "hal", "ivy"] {
            for place in 1..=5 {
                let id = format!("{customer}-{place}");
                // The last two of bob come while the window is closed.
                let at = BEGAN + place * 1_000 + if customer == "bob" && place > 3 { 100_000 } else { 0 };
                let kind = if POISONS.contains(&id.as_str()) { "poison" } else { "order" };
                self.send(at, &id, customer, place, kind, &body(&id), gapless);
            }
        }
        // Its reply was lost: once more, until one is accepted.
        self.send(BEGAN + 1_000, "kim-1", "kim", 1, "order", &body("kim-1"), gapless);
        self.rows("sent.jsonl").last_mut().unwrap()["accepted"] = json!(null);
        self.send(BEGAN + 1_100, "kim-1", "kim", 1, "order", &body("kim-1"), gapless);
        self.send(BEGAN + 6_000, "ada-5", "ada", 5, "duplicate", &body("ada-5"), gapless);
        self.send(BEGAN + 6_000, "hal-2", "hal", 2, "conflict", "another body of hal-2", gapless);
        self.send(BEGAN + 90_000, "fay-2b", "fay", 2, "replacement", &body("fay-2b"), gapless);
        let malformed = json!({
            "at": BEGAN, "order_id": "malformed-1", "customer_id": if gapless { "" } else { "leo" }, "sequence": null,
            "place": 0, "body_sha256": sha256("{\"marker\":\"malformed-1\"}"), "total_minor": 0, "kind": "malformed",
            "accepted": true,
        });
        self.rows("sent.jsonl").push(malformed);
    }

    #[allow(clippy::too_many_arguments, reason = "the columns of one line")]
    fn send(&mut self, at: u64, id: &str, customer: &str, place: u64, kind: &str, body: &str, gapless: bool) {
        let line = json!({
            "at": at, "order_id": id, "customer_id": customer, "sequence": gapless.then_some(place), "place": place,
            "body_sha256": sha256(body), "total_minor": 310, "kind": kind, "accepted": true,
        });
        self.rows("sent.jsonl").push(line);
    }

    /// The end: eve's poison was skipped, fay's replaced, gus's tried again, ivy's still blocks what is behind it.
    fn commits(&mut self) {
        for customer in ["ada", "bob", "eve", "fay", "gus", "hal", "ivy", "kim"] {
            let last = match customer {
                "ivy" | "kim" => 1,
                _ => 5,
            };
            for position in 1..=last {
                match (customer, position) {
                    ("eve", 2) => {
                        let row = json!({ "customer_id": "eve", "position": 2, "order_id": "eve-2" });
                        self.rows("tombstones.jsonl").push(row);
                    }
                    ("fay", 2) => self.commit("fay-2b", "fay", 2, BEGAN + 91_000),
                    ("bob", 4..) => {
                        self.commit(&format!("bob-{position}"), "bob", position, BEGAN + 115_000 + position);
                    }
                    _ => self.commit(
                        &format!("{customer}-{position}"),
                        customer,
                        position,
                        BEGAN + position * 1_000 + 200,
                    ),
                }
            }
            let (parked, blocked) = if customer == "ivy" { (3, Some("ivy-2~0011")) } else { (0, None) };
            let row = json!({
                "customer_id": customer, "last_position": last, "parked": parked, "blocked_by": blocked,
            });
            self.rows("customers.jsonl").push(row);
        }
        for place in 3..=5 {
            let row = json!({ "order_id": format!("ivy-{place}"), "customer_id": "ivy" });
            self.rows("parked_orders.jsonl").push(row);
        }
        for (id, order, customer, kind, body) in [
            ("ivy-2~0011", Some("ivy-2"), Some("ivy"), "poison", "the body of ivy-2"),
            ("hal-2~2233", Some("hal-2"), Some("hal"), "conflict", "another body of hal-2"),
            ("!m-1", None, None, "malformed", "{\"marker\":\"malformed-1\"}"),
        ] {
            let row = json!({ "id": id, "order_id": order, "customer_id": customer, "kind": kind, "body": body });
            self.rows("quarantined_orders.jsonl").push(row);
        }
    }

    /// The order with its two lines and its event; the customer is not touched.
    pub(super) fn commit(&mut self, id: &str, customer: &str, position: u64, at: u64) {
        let order = json!({
            "order_id": id, "customer_id": customer, "position": position, "total_minor": 310,
            "body_sha256": sha256(&body(id)), "committed_ms": at,
        });
        self.rows("orders.jsonl").push(order);
        for (number, quantity, price) in [(1, 2, 150), (2, 1, 10)] {
            let line = json!({
                "order_id": id, "line_number": number, "quantity": quantity, "unit_price_minor": price,
            });
            self.rows("order_lines.jsonl").push(line);
        }
        let event = json!({
            "event_id": self.rows("order_events.jsonl").len() + 1, "order_id": id, "customer_id": customer,
            "position": position, "kind": "committed", "created_ms": at,
        });
        self.rows("order_events.jsonl").push(event);
    }

    /// The chains of what is in the ledger now.
    pub(super) fn chains(&mut self) {
        let mut orders = self.rows("orders.jsonl").clone();
        orders.sort_by_key(|order| order["position"].as_u64());
        let mut chains: BTreeMap<String, (String, u64)> = BTreeMap::new();
        for order in orders {
            let text = |field: &str| order[field].as_str().unwrap().to_owned();
            let chain = chains.entry(text("customer_id")).or_default();
            chain.0 = sha256(&format!("{}{}:{}", chain.0, text("order_id"), text("body_sha256")));
            chain.1 += 1;
        }
        let row = |(customer, (link, orders)): (String, (String, u64))| json!({ "customer_id": customer, "orders": orders, "total_minor": orders * 310, "link": link });
        *self.rows("chains.jsonl") = chains.into_iter().map(row).collect();
    }

    pub(super) fn rows(&mut self, table: &'static str) -> &mut Vec<Value> {
        self.tables.get_mut(table).unwrap_or_else(|| panic!("no table {table}"))
    }

    /// The first row whose field is this.
    pub(super) fn find(&mut self, table: &'static str, field: &str, value: &str) -> &mut Value {
        let row = self.rows(table).iter_mut().find(|row| row[field] == value);
        row.unwrap_or_else(|| panic!("no {field} {value} in {table}"))
    }

    /// The folder, written.
    pub(super) fn written(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: String| std::fs::write(folder.path().join(file), text).unwrap();
        let lines = |rows: &[Value]| rows.iter().fold(String::new(), |text, row| text + &row.to_string() + "\n");
        write("run.json", self.run.to_string());
        write("gates.json", self.gates.to_string());
        for (table, rows) in &self.tables {
            write(table, lines(rows));
        }
        for (number, log) in &self.logs {
            write(&format!("worker-{number}.jsonl"), lines(log));
        }
        folder
    }
}

/// Every guard; the first 22 are faults.
pub(super) const GUARDS: [&str; 34] = [
    "kill",
    "pause",
    "term_kill",
    "term",
    "ledger_restart",
    "ledger_crash",
    "ledger_read_only",
    "backlog_restart",
    "backlog_crash",
    "redis_flush",
    "redis_restart",
    "sqs_throttle",
    "sqs_outage",
    "net_latency",
    "net_reset",
    "net_black_hole",
    "net_cut",
    "net_slow_close",
    "window",
    "retry",
    "replace",
    "skip",
    "redelivered",
    "ambiguous_committed",
    "ambiguous_rolled_back",
    "stale_refused",
    "parked",
    "unparked",
    "spooled",
    "drained",
    "duplicates",
    "poisoned",
    "shared_receives",
    "undisturbed",
];
