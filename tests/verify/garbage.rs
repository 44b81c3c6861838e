//! `verify` over a ledger with garbage in it: it ends, and calls no ledger fine whose orders are not.

use std::time::Duration;

use millrace::verify::{Question, Sequence, verify};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::Ledger;
use crate::random::Random;

/// SQLite stores anything anywhere.
const VALUES: &[&str] = &[
    "NULL",
    "-1",
    "0",
    "1",
    "7",
    "9223372036854775807",
    "-9223372036854775808",
    "1.5",
    "9e999",
    "''",
    "'x'",
    "'a-1'",
    "'1'",
    "X''",
    "X'00ff'",
    "'{\"sequence\":'",
    "'{\"sequence\":1e99}'",
    "char(0)",
    "printf('%.*c', 100000, 'x')",
];

/// Columns that verify judges: whatever else stands there is wrong.
const JUDGED: &[(&str, &str)] = &[
    ("orders", "position"),
    ("orders", "customer_id"),
    ("orders", "total_minor"),
    ("order_lines", "order_id"),
    ("order_lines", "quantity"),
    ("order_lines", "unit_price_minor"),
    ("order_events", "order_id"),
    ("order_events", "position"),
    ("order_events", "customer_id"),
    ("customers", "last_position"),
    ("customers", "parked"),
];

/// Columns that it reads, or may.
const READ: &[(&str, &str)] = &[
    ("orders", "order_id"),
    ("orders", "body"),
    ("orders", "digest"),
    ("orders", "placed_at"),
    ("tombstones", "order_id"),
    ("tombstones", "position"),
    ("tombstones", "customer_id"),
    ("parked_orders", "ord"),
    ("parked_orders", "customer_id"),
    ("parked_orders", "body"),
    ("quarantined_orders", "body"),
    ("quarantined_orders", "id"),
    ("customers", "blocked_by"),
    ("customers", "customer_id"),
];

#[tokio::test]
async fn garbage_is_reported() {
    let mut random = Random::seeded();
    let (mut found, mut errors) = (0, 0);
    for round in 0..150 {
        let ledger = Ledger::fine().await;
        for table in
            ["orders", "order_lines", "order_events", "tombstones", "customers", "parked_orders", "quarantined_orders"]
        {
            ledger.without_constraints(table).await;
        }
        let mut planted = Vec::new();
        let judged = random.one_in(2);
        for _ in 0..=random.index(3) {
            let places = if judged { JUDGED } else { READ };
            let (table, column) = places[random.index(places.len())];
            let value = VALUES[random.index(VALUES.len())];
            planted.push(format!(
                "UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT rowid FROM {table} LIMIT 1 OFFSET {})",
                random.index(2)
            ));
        }
        let before = content(&ledger).await;
        ledger.run(&planted).await;
        let changed = content(&ledger).await != before;
        let manifest = ledger.manifest(&[super::message("a", 1).to_string(), super::message("b", 1).to_string()]);
        let question = Question {
            url: ledger.url(),
            sequence: if random.one_in(2) { Sequence::Gapless } else { Sequence::None },
            manifest: random.one_in(2).then_some(manifest),
        };
        let judgement = tokio::time::timeout(Duration::from_mins(1), verify(&question)).await;
        match judgement.expect("it ends") {
            Ok(report) => {
                assert!(!report.to_string().is_empty());
                // The manifest does not know what the ledger held before, so its findings would say nothing here.
                let fine = report.is_clean() && question.manifest.is_none();
                assert!(!(judged && changed && fine), "round {round}: nothing found after {planted:#?}");
                found += usize::from(!report.is_clean());
            }
            Err(error) => {
                assert!(error.to_string().starts_with("ledger: "), "{error}");
                errors += 1;
            }
        }
    }
    println!("{found} with findings, {errors} that could not be read");
    assert!(found > 60, "VOID: only {found} with findings, {errors} errors");
}

/// All that is judged, as text.
async fn content(ledger: &Ledger) -> Vec<String> {
    let mut connection = SqliteConnection::connect(&ledger.url()).await.unwrap();
    let mut content = Vec::new();
    for (table, column) in JUDGED {
        let sql = format!("SELECT coalesce(group_concat(typeof({column}) || quote({column})), '') FROM {table}");
        content.push(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap());
    }
    connection.close().await.unwrap();
    content
}
