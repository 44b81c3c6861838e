//! A team's own SQL in the commit.

use std::path::{Path, PathBuf};

use millrace::ledger::postgres::Postgres;
use millrace::ledger::{Batch, ErrorClass, Ledger, LedgerError, Session, Verdict};
use millrace::order::Ordering;
use tempfile::TempDir;

use super::{World, committed, live, run, settings};

const STOCK: &str = "CREATE TABLE stock (sku text PRIMARY KEY, available bigint NOT NULL CHECK (available >= 0))";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/effects.example.sql")
}

impl World {
    /// The same ledger, with effects.
    async fn with_effects(&self, path: &Path) -> Result<<Postgres as Ledger>::Session, LedgerError> {
        let mut settings = settings(self.database.url());
        settings.effects = Some(path.to_owned());
        Postgres::new(self.database.url(), self.ordering, &settings)?.connect().await
    }

    async fn with_sql(&self, sql: &str) -> Result<<Postgres as Ledger>::Session, LedgerError> {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("effects.sql");
        std::fs::write(&path, sql).unwrap();
        self.with_effects(&path).await
    }
}

#[tokio::test]
async fn the_example_reserves_stock_once_and_with_the_orders_or_not_at_all() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let world = World::new(ordering).await;
        world.database.sql(STOCK).await;
        world.database.sql("INSERT INTO stock VALUES ('tea', 20), ('pot', 9)").await;
        let mut session = world.with_effects(&example()).await.unwrap();
        let stock = "SELECT string_agg(sku || available, ' ' ORDER BY sku) FROM stock";
        // Two orders of one SKU in a batch count twice.
        let batch = live(vec![world.run("ann", 1..=2), world.run("bob", 1..=1)]);
        assert_eq!(session.commit(&batch).await.unwrap(), [committed(2), committed(1)]);
        assert_eq!(world.database.value(stock).await, "pot6 tea14");
        // Redelivered, and sent again after an unknown outcome: once.
        for resolve in [false, true] {
            session.commit(&Batch { resolve, ..batch.clone() }).await.unwrap();
        }
        assert_eq!(world.database.value(stock).await, "pot6 tea14");
        // One order of a batch asks for too much: nothing of the batch is written.
        let greedy = world.selling("greedy", "eve", 1, &[("tea", 15)]);
        let batch = live(vec![world.run("cid", 1..=1), run("eve", vec![greedy])]);
        let error = session.commit(&batch).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Fault, "{error}");
        assert_eq!(world.database.value("SELECT count(*) FROM customers").await, "2");
        assert_eq!(world.database.value("SELECT count(*) FROM order_lines").await, "6");
        // Alone it is to blame, and its neighbour commits.
        assert_eq!(session.commit(&live(vec![batch.runs[1].clone()])).await.unwrap_err().class, ErrorClass::Fault);
        assert_eq!(session.commit(&live(vec![batch.runs[0].clone()])).await.unwrap(), [committed(1)]);
        assert_eq!(world.database.value(stock).await, "pot5 tea12");
        world.check().await;
    }
}

#[tokio::test]
async fn they_see_what_was_really_inserted() {
    let world = World::new(Ordering::Fifo).await;
    world
        .database
        .sql("CREATE TABLE seen AS SELECT o.*, 0 AS lines FROM orders o; ALTER TABLE seen ADD UNIQUE (order_id)")
        .await;
    let sql = "INSERT INTO seen (order_id, customer_id, position, currency, total_minor, placed_at, body, lines)
        SELECT c.*, (SELECT count(*) FROM committed_lines l WHERE l.order_id = c.order_id AND l.customer_id = c.customer_id)
        FROM committed c -- ends in a comment";
    let mut session = world.with_sql(sql).await.unwrap();
    session.commit(&live(vec![world.run("ann", 1..=2)])).await.unwrap();
    let mixed = live(vec![world.run("ann", 2..=4), world.run("bob", 1..=1)]);
    let verdicts = session.commit(&mixed).await.unwrap();
    assert!(matches!(&verdicts[0], Verdict::Committed { known, .. } if known.len() == 1), "{verdicts:?}");
    let different = "SELECT count(*) FROM orders o FULL JOIN seen s USING (order_id)
        WHERE (o.customer_id, o.position, o.currency, o.total_minor, o.placed_at, o.body)
              IS DISTINCT FROM (s.customer_id, s.position, s.currency, s.total_minor, s.placed_at, s.body) OR s.lines <> 2";
    assert_eq!(world.database.value(different).await, "0");
    assert_eq!(world.database.value("SELECT count(*) FROM seen").await, "5");
    // An order that they refuse takes nothing with it.
    world.database.sql("INSERT INTO seen (order_id, lines) VALUES ('eve-2', 2)").await;
    let error = session.commit(&live(vec![world.run("eve", 1..=2)])).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Fault, "{error}");
    assert_eq!(session.commit(&live(vec![world.run("eve", 1..=1)])).await.unwrap(), [committed(1)]);
    world.check().await;
}

#[tokio::test]
async fn a_taken_name_is_found_before_the_effects_stumble_over_it() {
    let world = World::new(Ordering::Gapless).await;
    world.database.sql("CREATE TABLE seen (order_id text PRIMARY KEY)").await;
    let mut session = world.with_sql("INSERT INTO seen SELECT order_id FROM committed").await.unwrap();
    session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    let again = live(vec![run("bob", vec![world.named("ann-1", "bob", 1)])]);
    let error = session.commit(&again).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Taken, "{error}");
}

#[tokio::test]
async fn a_mistake_in_them_is_named_with_its_place() {
    let world = World::new(Ordering::Gapless).await;
    world.database.sql(STOCK).await;
    let mistakes = [
        ("UPDATE stock\nSET availible = 0", ":2:5: "),
        ("-- größer\nUPDATE stocks SET available = 0", ":2:8: "),
        ("UPDATE stock SET available = 'ß' || FROM committed", ":1:37: "),
        ("INSERT INTO stock SELECT order_id, body FROM committed", ":1:36: "),
        ("INSERT INTO stock VALUES ('a', 'b')", ":1:32: "),
        ("UPDATE stock SET available = 1 FROM committed WHERE sku = customers", ":1:59: "),
    ];
    for (sql, place) in mistakes {
        let error = world.with_sql(sql).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Broken, "{error}");
        assert!(error.message.contains(&format!("effects.sql{place}")), "{sql}: {error}");
    }
    let error = world.with_sql("SELECT 1").await.unwrap_err();
    assert_eq!((error.class, error.message.contains("effects.sql:1")), (ErrorClass::Broken, true), "{error}");
}

#[tokio::test]
async fn a_table_that_goes_away_is_a_broken_deployment() {
    let world = World::new(Ordering::Gapless).await;
    world.database.sql(STOCK).await;
    world.database.sql("INSERT INTO stock VALUES ('tea', 20), ('pot', 9)").await;
    let mut session = world.with_effects(&example()).await.unwrap();
    session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    world.database.sql("DROP TABLE stock").await;
    let error = session.commit(&live(vec![world.run("ann", 2..=2)])).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Broken, "{error}");
    assert_eq!(world.database.value("SELECT last_position FROM customers").await, "1");
    assert_eq!(world.with_effects(&example()).await.unwrap_err().class, ErrorClass::Broken);
}

#[tokio::test]
async fn four_committers_on_200_hot_skus_neither_deadlock_nor_miscount() {
    const BATCHES: u128 = 12;
    let world = World::new(Ordering::Gapless).await;
    world.database.sql(STOCK).await;
    world.database.sql("INSERT INTO stock SELECT 'sku' || n, 1000000 FROM generate_series(0, 199) n").await;
    let mut tasks = Vec::new();
    for committer in 0..4_u128 {
        let mut session = world.with_effects(&example()).await.unwrap();
        // Each batch wants most SKUs several times, each committer in an order of its own.
        let batch = |number: u128| {
            let order = |n: u128| {
                let customer = format!("c{committer}-{n}");
                let skus: Vec<_> =
                    (0..10).map(|k| format!("sku{}", (n * 10 + k) * (2 * committer + 1) % 200)).collect();
                let lines: Vec<_> = skus.iter().map(|sku| (sku.as_str(), 3)).collect();
                run(&customer, vec![world.selling(&format!("{customer}-{number}"), &customer, number, &lines)])
            };
            live((0..40).map(order).collect())
        };
        let batches: Vec<_> = (1..=BATCHES).map(batch).collect();
        tasks.push(tokio::spawn(async move {
            for batch in batches {
                let verdicts = session.commit(&batch).await.unwrap();
                assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Committed { .. })), "{verdicts:?}");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let wrong =
        "SELECT count(*) FROM stock s JOIN (SELECT sku, sum(quantity) AS n FROM order_lines GROUP BY sku) l USING (sku)
                 WHERE s.available + l.n <> 1000000";
    assert_eq!(world.database.value(wrong).await, "0");
    let taken = 4 * BATCHES * 40 * 10 * 3;
    assert_eq!(world.database.value("SELECT sum(1000000 - available) FROM stock").await, taken.to_string());
    world.check().await;
}
