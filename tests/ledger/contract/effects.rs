//! A team's own SQL in the same commit.

use millrace::ledger::{Batch, ErrorClass, Ledger, Session, Verdict};
use millrace::order::Ordering::{Fifo, Gapless};
use millrace::order::Rank;

use super::bench::{Bench, batch, committed, ids};
use super::orders::{named, order, orders, with_lines};
use super::{Setup, Store};
use crate::probe::Probe;

const TABLES: &str = "CREATE TABLE stock (sku text PRIMARY KEY, on_hand bigint NOT NULL CHECK (on_hand >= 0));
    INSERT INTO stock VALUES ('bolt', 10), ('nut', 5);";

/// Sums before it subtracts: two orders of one batch may want the same.
const RESERVE: &str = "-- Reserve what was ordered.
UPDATE stock SET on_hand = stock.on_hand - n.quantity
FROM (SELECT sku, sum(quantity) AS quantity FROM committed_lines GROUP BY sku) AS n
WHERE stock.sku = n.sku;
";

const STOCK: Setup = Setup { tables: TABLES, effects: Some(RESERVE), ..Setup::new(Gapless) };

const LOG: Setup = Setup {
    tables: "CREATE TABLE log (order_id text, customer_id text, position bigint, currency text, total_minor bigint,
             placed_at text, body text, line_number bigint, sku text, quantity bigint, unit_price_minor bigint);",
    effects: Some(
        "INSERT INTO log SELECT c.order_id, c.customer_id, c.position, c.currency, c.total_minor,
           cast(c.placed_at AS text), c.body, l.line_number, l.sku, l.quantity, l.unit_price_minor
         FROM committed AS c JOIN committed_lines AS l ON l.order_id = c.order_id AND l.customer_id = c.customer_id",
    ),
    ..Setup::new(Fifo)
};

async fn stock<S: Store>(bench: &Bench<S>) -> Vec<String> {
    bench.column("SELECT on_hand FROM stock ORDER BY sku").await
}

/// One statement, one transaction: orders, lines, events and effects appear together (I9).
pub(crate) async fn effects_see_what_was_written<S: Store>(store: &S) {
    let mut bench = Bench::with(store, &LOG).await;
    let lines = r#"[{"sku":"a","quantity":3,"unit_price_minor":7},{"sku":"b","quantity":1,"unit_price_minor":0}]"#;
    bench.commit(&[&[with_lines("o1", "ada", 5, lines)], &[named("o2", "bob", 6), named("o3", "bob", 7)]]).await;
    let sql = "SELECT order_id, customer_id, position, currency, total_minor, line_number, sku, quantity,
                 unit_price_minor FROM log ORDER BY order_id, line_number";
    let rows: Vec<_> = bench
        .probe
        .rows(sql)
        .await
        .into_iter()
        .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "o1 ada 1 EUR 21 1 a 3 7",
        "o1 ada 1 EUR 21 2 b 1 0",
        "o2 bob 1 EUR 500 1 bolt 2 250",
        "o3 bob 2 EUR 500 1 bolt 2 250",
    ];
    assert_eq!(rows, expected);
    let differs = "SELECT l.order_id FROM log l JOIN orders o ON o.order_id = l.order_id
                   WHERE l.body <> o.body OR l.placed_at <> cast(o.placed_at AS text)";
    assert_eq!(bench.column(differs).await.len(), 0);
}

pub(crate) async fn two_orders_of_one_sku_add_up<S: Store>(store: &S) {
    let mut bench = Bench::with(store, &STOCK).await;
    bench.commit(&[&orders("ada", 1, 2), &orders("bob", 1, 1)]).await;
    assert_eq!(stock(&bench).await, ["4", "5"]);
    bench.commit_one(&orders("cyd", 1, 1)).await;
    assert_eq!(stock(&bench).await, ["2", "5"], "the batch before is gone from the relations");
}

pub(crate) async fn an_effects_error_is_a_fault<S: Store>(store: &S) {
    let mut bench = Bench::with(store, &STOCK).await;
    bench.park(&[order("bob", 2)]).await;
    bench.commit_one(&orders("ada", 1, 1)).await;
    let greedy = with_lines("greedy", "bob", 1, r#"[{"sku":"nut","quantity":6,"unit_price_minor":1}]"#);
    let error =
        bench.try_commit(&batch(&[&orders("ada", 2, 3), &[greedy.clone(), order("bob", 2)]])).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Fault, "{error}");
    assert_eq!(stock(&bench).await, ["8", "5"]);
    assert_eq!((bench.count("orders").await, bench.count("parked_orders").await), (1, 1));
    // Its neighbours commit, on the same session; it alone is to blame.
    assert_eq!(bench.commit_one(&orders("ada", 2, 3)).await, committed(3, 0));
    let error = bench.try_commit(&batch(&[&[greedy]])).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Fault, "{error}");
    assert_eq!(stock(&bench).await, ["4", "5"]);
}

pub(crate) async fn effects_run_once<S: Store>(store: &S) {
    let mut bench = Bench::with(store, &STOCK).await;
    let batch = batch(&[&orders("ada", 1, 2)]);
    bench.try_commit(&batch).await.unwrap();
    for resolve in [true, false] {
        let again = Batch { resolve, ..batch.clone() };
        assert_eq!(bench.try_commit(&again).await.unwrap(), [Verdict::Behind(2)]);
    }
    let mut other = bench.ledger.connect().await.unwrap();
    assert_eq!(other.commit(&batch).await.unwrap(), [Verdict::Behind(2)]);
    assert_eq!(stock(&bench).await, ["6", "5"]);
}

pub(crate) async fn known_orders_have_no_effects<S: Store>(store: &S) {
    let mut bench = Bench::with(store, &Setup { ordering: Fifo, ..STOCK }).await;
    bench.commit_one(&[order("ada", 10)]).await;
    let known = |upto: Rank| Verdict::Committed { upto, parked: 0, known: ids(&["ada-10"]) };
    assert_eq!(bench.commit_one(&[order("ada", 10), order("ada", 20)]).await, known(20));
    assert_eq!(bench.commit_one(&[order("ada", 10)]).await, known(20));
    assert_eq!(stock(&bench).await, ["6", "5"]);
}

pub(crate) async fn a_missing_table_is_a_broken_deployment<S: Store>(store: &S) {
    let mut bench = Bench::with(store, &STOCK).await;
    bench.commit_one(&orders("ada", 1, 1)).await;
    bench.probe.execute("DROP TABLE stock").await;
    let error = bench.try_commit(&batch(&[&orders("ada", 2, 2)])).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Broken, "{error}");
    assert_eq!((bench.count("orders").await, bench.count("quarantined_orders").await), (1, 0));
    let error = bench.ledger.connect().await.err().expect("the statement is prepared at start");
    assert_eq!(error.class, ErrorClass::Broken, "{error}");
    for statement in TABLES.split_inclusive(';').filter(|statement| statement.contains("stock")) {
        bench.probe.execute(statement).await;
    }
    bench.session = bench.ledger.connect().await.unwrap();
    assert_eq!(bench.commit_one(&orders("ada", 2, 2)).await, committed(2, 0));
}

pub(crate) async fn a_statement_that_does_not_fit_is_named<S: Store>(store: &S) {
    let effects = Some("-- effects\nINSERT INTO nowhere\nSELECT order_id FROM committed");
    let (ledger, _probe) = store.open(&Setup { effects, ..Setup::new(Gapless) }).await;
    let error = ledger.connect().await.err().expect("there is no such table");
    assert_eq!(error.class, ErrorClass::Broken, "{error}");
    assert!(error.message.contains("effects.sql:2:13"), "{error}");
}
