//! `verify` finds what is planted, by its rule and by no other.

use std::path::{Path, PathBuf};

use millrace::verify::{Question, Report, Rule, Sequence, verify};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::servers;

mod garbage;
mod planted;
mod sent;

/// Three customers with three, two and two ends, something parked, something in quarantine: all as it should be.
fn fine() -> Vec<String> {
    let mut sql = Vec::new();
    for (customer, position) in [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2), ("c", 2)] {
        sql.extend(order(customer, position));
    }
    sql.push("INSERT INTO tombstones (customer_id, position, reason, actor) VALUES ('c', 1, 'lost', 'me')".into());
    for (customer, last, parked, blocked) in
        [("a", 3, 1, "NULL"), ("b", 2, 0, "'b-3~0011'"), ("c", 2, 0, "NULL"), ("d", 0, 1, "NULL")]
    {
        sql.push(format!(
            "INSERT INTO customers (customer_id, last_position, parked, blocked_by) \
             VALUES ('{customer}', {last}, {parked}, {blocked})"
        ));
    }
    sql.extend([park("a", 5), park("d", 2), quarantine("b-3", "b-3~0011", "poison")]);
    sql.push(quarantine("x", "!7f3a", "malformed").replace("'x'", "NULL"));
    sql
}

/// The message of an order: two lines, 2 × 150 + 1 × 10.
fn message(customer: &str, sequence: u64) -> Value {
    json!({
        "order_id": format!("{customer}-{sequence}"),
        "customer_id": customer,
        "sequence": sequence,
        "placed_at": "2026-11-22T10:00:00Z",
        "currency": "EUR",
        "lines": [
            { "sku": "apple", "quantity": 2, "unit_price_minor": 150 },
            { "sku": "bag", "quantity": 1, "unit_price_minor": 10 },
        ],
    })
}

/// What a commit writes for it, beside the customer.
fn order(customer: &str, position: u64) -> Vec<String> {
    let (id, body) = (format!("{customer}-{position}"), message(customer, position));
    vec![
        format!(
            "INSERT INTO orders (order_id, customer_id, position, digest, currency, total_minor, placed_at, body) \
             VALUES ('{id}', '{customer}', {position}, 'digest', 'EUR', 310, '2026-11-22T10:00:00Z', '{body}')"
        ),
        format!("INSERT INTO order_lines VALUES ('{id}', 1, 'apple', 2, 150), ('{id}', 2, 'bag', 1, 10)"),
        event(&id, customer, position),
    ]
}

fn event(id: &str, customer: &str, position: u64) -> String {
    format!(
        "INSERT INTO order_events (order_id, customer_id, position, kind) \
         VALUES ('{id}', '{customer}', {position}, 'committed')"
    )
}

fn park(customer: &str, sequence: u64) -> String {
    format!(
        "INSERT INTO parked_orders (customer_id, ord, order_id, digest, body) \
         VALUES ('{customer}', {sequence}, '{customer}-{sequence}', 'digest', 'body')"
    )
}

fn quarantine(order_id: &str, id: &str, kind: &str) -> String {
    format!(
        "INSERT INTO quarantined_orders (id, order_id, customer_id, digest, kind, reason, body, blocks) \
         VALUES ('{id}', '{order_id}', 'b', 'digest', '{kind}', 'reason', 'body', {})",
        kind == "poison"
    )
}

/// A ledger in a file.
struct Ledger {
    folder: TempDir,
}

impl Ledger {
    /// With the tables of the migration and the rows of [`fine`].
    async fn fine() -> Self {
        let ledger = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::File::create(ledger.folder.path().join("orders.db")).expect("a file");
        ledger.run(&[include_str!("../src/ledger/migrations/sqlite/0001_ledger.sql").to_owned()]).await;
        ledger.run(&[include_str!("../src/ledger/migrations/sqlite/0002_decisions.sql").to_owned()]).await;
        ledger.run(&fine()).await;
        ledger
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("orders.db").display())
    }

    async fn run(&self, sql: &[String]) {
        let mut connection = SqliteConnection::connect(&self.url()).await.expect("the file opens");
        for statement in sql {
            let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(statement.clone()))).await;
            done.unwrap_or_else(|error| panic!("{error}: {statement}"));
        }
        connection.close().await.expect("it closes");
    }

    /// Creates a table anew, its rows kept, its constraints gone: for what they would not let in.
    async fn without_constraints(&self, table: &str) {
        self.run(&[
            format!("CREATE TABLE copy AS SELECT * FROM {table}"),
            format!("DROP TABLE {table}"),
            format!("ALTER TABLE copy RENAME TO {table}"),
        ])
        .await;
    }

    fn manifest(&self, lines: &[String]) -> PathBuf {
        let path = self.folder.path().join("orders.jsonl");
        std::fs::write(&path, lines.join("\n")).expect("the folder is writable");
        path
    }

    async fn verified(&self, sequence: Sequence, manifest: Option<&Path>) -> Report {
        ask(&self.url(), sequence, manifest).await
    }
}

async fn ask(url: &str, sequence: Sequence, manifest: Option<&Path>) -> Report {
    let question = Question { url: url.to_owned(), sequence, manifest: manifest.map(Path::to_owned) };
    verify(&question).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Exactly this rule was broken, so many times.
fn only(report: &Report, rule: Rule, count: u64) {
    let found: Vec<(Rule, u64)> = report.findings.iter().map(|finding| (finding.rule, finding.count)).collect();
    assert_eq!(found, [(rule, count)], "{:#?}", report.findings);
}

#[tokio::test]
async fn a_fine_ledger_passes() {
    let ledger = Ledger::fine().await;
    let report = ledger.verified(Sequence::Gapless, None).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert_eq!(report.to_string(), "verified: 6 orders, 0 lost, 0 duplicated, 0 out of order, 2 quarantined");
    assert_eq!((report.customers, report.tombstones, report.parked, report.blocked), (4, 1, 2, 1));
}

/// The same on the other database: types are stricter there, and the plans are others.
#[tokio::test]
async fn postgres_is_judged_alike() {
    let database = servers::database().await;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    connection.execute(include_str!("../src/ledger/migrations/postgres/0001_ledger.sql")).await.unwrap();
    connection.execute(include_str!("../src/ledger/migrations/postgres/0002_decisions.sql")).await.unwrap();
    for statement in fine() {
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    let report = ask(database.url(), Sequence::Gapless, None).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert_eq!(report.to_string(), "verified: 6 orders, 0 lost, 0 duplicated, 0 out of order, 2 quarantined");

    let planted = [
        ("UPDATE customers SET last_position = 4 WHERE customer_id = 'a'".to_owned(), Rule::LastPosition),
        ("UPDATE orders SET body = '{\"sequence\": 7}' WHERE order_id = 'a-2'".to_owned(), Rule::OutOfOrder),
        ("DELETE FROM order_lines WHERE order_id = 'b-1'".to_owned(), Rule::NoLines),
        ("DELETE FROM order_events WHERE order_id = 'b-1'".to_owned(), Rule::NoEvent),
        (event("a-1", "a", 1), Rule::Duplicated),
        (event("nobody", "a", 1), Rule::StrayEvent),
        ("UPDATE customers SET parked = 2 WHERE customer_id = 'b'".to_owned(), Rule::ParkedCount),
        ("UPDATE customers SET blocked_by = 'x' WHERE customer_id = 'c'".to_owned(), Rule::BlockedByNothing),
        ("UPDATE orders SET total_minor = 9223372036854775807 WHERE order_id = 'b-2'".to_owned(), Rule::Total),
        ("DELETE FROM tombstones".to_owned(), Rule::Hole),
    ];
    for (statement, _) in &planted {
        connection.execute(AssertSqlSafe(statement.clone())).await.unwrap();
    }
    let report = ask(database.url(), Sequence::Gapless, None).await;
    for (statement, rule) in &planted {
        assert_eq!(report.count(*rule), 1, "{statement}: {:#?}", report.findings);
    }
    assert_eq!(report.findings.len(), planted.len(), "{:#?}", report.findings);
}

#[tokio::test]
async fn what_is_no_ledger_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.db");
    let url = format!("sqlite://{}", path.display());
    let question = |manifest| Question { url: url.clone(), sequence: Sequence::None, manifest };
    assert!(verify(&question(None)).await.is_err());
    assert!(!path.exists(), "looking creates nothing");
    std::fs::File::create(&path).unwrap();
    let error = verify(&question(None)).await.unwrap_err().to_string();
    assert!(error.contains("orders"), "{error}");
    let missing = verify(&question(Some(folder.path().join("nothing.jsonl")))).await.unwrap_err().to_string();
    assert!(missing.contains("nothing.jsonl"), "{missing}");
}
