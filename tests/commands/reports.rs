//! `migrate`, `order`, `customer` and `verify` over a real ledger.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use super::Program;
use crate::servers;

/// An order, a parked one behind a gap, a blocked customer and a tombstone.
const ROWS: &[&str] = &[
    "INSERT INTO orders (order_id, customer_id, position, digest, currency, total_minor, placed_at, body) \
     VALUES ('a-1', 'a', 1, 'd', 'EUR', 20, '2026-11-22T10:00:00Z', '{\"sequence\":1}')",
    "INSERT INTO order_lines VALUES ('a-1', 1, 'apple', 2, 10)",
    "INSERT INTO order_events (order_id, customer_id, position, kind) VALUES ('a-1', 'a', 1, 'committed')",
    "INSERT INTO tombstones (customer_id, position, order_id, reason, actor) VALUES ('a', 2, 'a-2', 'never sent', 'me')",
    "INSERT INTO customers (customer_id, last_position, parked) VALUES ('a', 2, 1)",
    "INSERT INTO customers (customer_id, blocked_by) VALUES ('b', 'b-1~00')",
];

async fn fill(url: &str) {
    let pad = if url.starts_with("sqlite") { "'000000000000000000000000000000000000004'" } else { "4" };
    let parked = format!(
        "INSERT INTO parked_orders (customer_id, ord, order_id, digest, body) VALUES ('a', {pad}, 'a-4', 'd', 'b')"
    );
    let quarantined = format!(
        "INSERT INTO quarantined_orders (id, order_id, customer_id, digest, kind, reason, body, blocks) \
         VALUES ('b-1~00', 'b-1', 'b', 'd', 'poison', 'no such sku', 'b', {})",
        if url.starts_with("sqlite") { "1" } else { "true" }
    );
    let rows = ROWS.iter().map(|row| (*row).to_owned()).chain([parked, quarantined]);
    if url.starts_with("sqlite") {
        let mut ledger = SqliteConnection::connect(url).await.expect("the ledger opens");
        for row in rows {
            ledger.execute(AssertSqlSafe(row)).await.expect("a row fits");
        }
        ledger.close().await.expect("it closes");
    } else {
        let mut ledger = PgConnection::connect(url).await.expect("the ledger answers");
        for row in rows {
            ledger.execute(AssertSqlSafe(row)).await.expect("a row fits");
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn the_reports_on_sqlite() {
    let program = Program::with_settings();
    let url = format!("sqlite://{}", program.path("orders.db").display());
    the_reports(program, &url).await;
}

#[tokio::test]
async fn the_reports_on_postgres() {
    let database = servers::database().await;
    let mut program = Program::with_settings();
    program.set("MILLRACE__LEDGER__URL", database.url());
    the_reports(program, database.url()).await;
}

async fn the_reports(program: Program, url: &str) {
    let (program, said) = program.beside(&["order", "a-1"]).await;
    assert_eq!(said.code, Some(1), "no ledger yet");
    let (program, said) = program.beside(&["migrate"]).await;
    assert_eq!((said.code, said.out.starts_with("The ledger took ")), (Some(0), true), "{}{}", said.out, said.err);
    let (program, said) = program.beside(&["migrate"]).await;
    assert_eq!((said.code, said.out.trim()), (Some(0), "The ledger is up to date."));
    fill(url).await;

    let (program, said) = program.beside(&["order", "a-1", "--json"]).await;
    let order = json(&said.out);
    assert_eq!((said.code, &order["committed"]["position"]), (Some(0), &"1".into()), "{order}");
    assert_eq!(order["committed"]["placed_at"], "2026-11-22T10:00:00Z");
    for (id, says) in [("a-4", "parked"), ("a-2", "never sent"), ("b-1", "no such sku"), ("b-1~00", "poison")] {
        let said = program.run(&["order", id]);
        assert!(said.code == Some(0) && said.out.contains(says), "{id}: {}{}", said.out, said.err);
    }
    let said = program.run(&["order", "nobody's"]);
    assert!(said.code == Some(1) && said.err.contains("does not know"), "{}", said.err);

    let customer = json(&program.run(&["customer", "a", "--json"]).out);
    assert_eq!((&customer["last_position"], &customer["waits_for"]), (&2.into(), &3.into()), "{customer}");
    assert_eq!((&customer["parked"][0]["rank"], &customer["parked_count"]), (&"4".into(), &1.into()));
    assert_eq!((&customer["tombstones"][0]["actor"], &customer["blocked_by"]), (&"me".into(), &Value::Null));
    let said = program.run(&["customer", "a"]);
    assert!(said.out.contains("sequence 3, which has not come"), "{}", said.out);
    let said = program.run(&["customer", "b"]);
    assert!(said.code == Some(0) && said.out.contains("b-1~00") && said.out.contains("no such sku"), "{}", said.out);
    assert_eq!(program.run(&["customer", "nobody"]).code, Some(1));

    let said = program.run(&["verify"]);
    let last = "verified: 1 orders, 0 lost, 0 duplicated, 0 out of order, 1 quarantined";
    assert_eq!((said.code, said.out.lines().last()), (Some(0), Some(last)), "{}{}", said.out, said.err);
    program.write("sent.jsonl", "{}\n");
    let said = program.run(&["verify", "--manifest", "sent.jsonl", "--json"]);
    assert_eq!(said.code, Some(1));
    let lines: Vec<Value> = said.out.lines().map(json).collect();
    assert_eq!(lines[0]["finding"]["rule"], "invented", "{}", said.out);
    assert_eq!(lines[1]["clean"], false);
}
