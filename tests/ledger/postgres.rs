//! The ledger on PostgreSQL: what only it can get wrong. The promises of every ledger are in the contract suite.

use std::sync::Arc;
use std::time::Duration;

use millrace::config;
use millrace::ledger::postgres::{PgSession, Postgres};
use millrace::ledger::{Batch, Ledger, LedgerError, ParkVerdict, Placed, Run, Session, Verdict};
use millrace::order::{CustomerId, Entry, Ordering, Rank};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinHandle;

use crate::servers::{Database, database};

mod commits;
mod contract;
mod cost;
mod decisions;
mod effects;
mod errors;
mod gates;
mod quarantine;
mod races;
mod source;
mod windows;

/// A ledger of the test's own.
struct World {
    database: Database,
    ledger: Postgres,
    ordering: Ordering,
}

impl World {
    async fn new(ordering: Ordering) -> Self {
        Self::with(ordering, |_| ()).await
    }

    /// With settings of its own.
    async fn with(ordering: Ordering, change: impl FnOnce(&mut config::Ledger)) -> Self {
        let database = database().await;
        let mut settings = settings(database.url());
        change(&mut settings);
        let ledger = Postgres::new(database.url(), ordering, &settings).unwrap();
        assert!(ledger.migrate().await.unwrap() > 0);
        Self { database, ledger, ordering }
    }

    async fn session(&self) -> PgSession {
        self.ledger.connect().await.unwrap()
    }

    /// A connection of the test itself.
    async fn by_hand(&self) -> PgConnection {
        PgConnection::connect(self.database.url()).await.unwrap()
    }

    /// What must hold at all times: `parked` counts rows, and positions are orders and tombstones.
    async fn check(&self) {
        let drift = "SELECT count(*) FROM customers c WHERE c.parked
                     <> (SELECT count(*) FROM parked_orders p WHERE p.customer_id = c.customer_id)";
        assert_eq!(self.database.value(drift).await, "0", "parked differs from the rows");
        let positions = "SELECT count(*) FROM customers c WHERE c.last_position
             <> (SELECT count(*) FROM orders o WHERE o.customer_id = c.customer_id AND o.position <= c.last_position)
              + (SELECT count(*) FROM tombstones t WHERE t.customer_id = c.customer_id)";
        assert_eq!(self.database.value(positions).await, "0", "positions with gaps");
        let bare = "SELECT count(*) FROM orders o
             LEFT JOIN (SELECT order_id, min(position) AS position, count(*) AS events FROM order_events
                        WHERE kind = 'committed' GROUP BY order_id) e USING (order_id, position)
             LEFT JOIN (SELECT DISTINCT order_id, 1 AS some FROM order_lines) l USING (order_id)
             WHERE e.events IS DISTINCT FROM 1 OR l.some IS NULL";
        assert_eq!(self.database.value(bare).await, "0", "orders without lines or event");
        let events =
            "SELECT count(*) FROM (SELECT position < lag(position) OVER (PARTITION BY customer_id ORDER BY event_id)
             AS falls FROM order_events) e WHERE falls";
        assert_eq!(self.database.value(events).await, "0", "event_id does not grow with position");
    }

    /// An order of the customer at this rank, named after both.
    fn order(&self, customer: &str, rank: Rank) -> Placed {
        self.named(&format!("{customer}-{rank}"), customer, rank)
    }

    fn named(&self, order_id: &str, customer: &str, rank: Rank) -> Placed {
        self.selling(order_id, customer, rank, &[("tea", 2), ("pot", 1)])
    }

    fn selling(&self, order_id: &str, customer: &str, rank: Rank, lines: &[(&str, i32)]) -> Placed {
        let lines: Vec<_> =
            lines.iter().map(|(sku, n)| json!({"sku": sku, "quantity": n, "unit_price_minor": 250})).collect();
        let mut body = json!({
            "order_id": order_id, "customer_id": customer, "placed_at": "2026-11-22T10:00:00.123456Z",
            "currency": "EUR", "lines": lines,
        });
        if self.ordering == Ordering::Gapless {
            body["sequence"] = json!(u64::try_from(rank).unwrap());
        }
        let entry = Entry::from_message(self.ordering, "message", Some(customer), body.to_string());
        assert!(matches!(entry, Entry::Order(_)), "{entry:?}");
        Placed { rank, entry: Arc::new(entry) }
    }

    /// A message that is no order.
    fn malformed(&self, message_id: &str, group: Option<&str>, rank: Rank) -> Placed {
        let body = format!("no order: {message_id}");
        Placed { rank, entry: Arc::new(Entry::from_message(self.ordering, message_id, group, body)) }
    }

    /// A run of the customer's orders at these ranks.
    fn run(&self, customer: &str, ranks: impl IntoIterator<Item = Rank>) -> Run {
        run(customer, ranks.into_iter().map(|rank| self.order(customer, rank)).collect())
    }
}

fn run(customer: &str, orders: Vec<Placed>) -> Run {
    Run { customer: CustomerId::new(customer), orders }
}

fn live(runs: Vec<Run>) -> Batch {
    Batch { runs, parked: false, resolve: false }
}

fn parked(runs: Vec<Run>) -> Batch {
    Batch { runs, parked: true, resolve: false }
}

fn committed(upto: Rank) -> Verdict {
    Verdict::Committed { upto, parked: 0, known: Vec::new() }
}

fn settings(url: &str) -> config::Ledger {
    let mut settings: config::Ledger = serde_json::from_value(json!({ "url": url })).unwrap();
    // A loaded test machine is slow, and none of these tests waits for it.
    settings.lock_timeout = Duration::from_secs(20);
    settings.statement_timeout = Duration::from_secs(30);
    settings.connect_timeout = Duration::from_secs(20);
    settings
}

/// A transaction of the test that holds something until it is told to let go: the barrier at which sessions stop.
struct Barrier(PgConnection);

impl Barrier {
    async fn hold(world: &World, sql: &str) -> Self {
        let mut conn = world.by_hand().await;
        sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {sql}"))).execute(&mut conn).await.unwrap();
        Self(conn)
    }

    async fn let_go(mut self) {
        sqlx::raw_sql("COMMIT").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

/// Commits beside the test.
fn commit_beside(mut session: PgSession, batch: Batch) -> JoinHandle<(PgSession, Result<Vec<Verdict>, LedgerError>)> {
    tokio::spawn(async move {
        let verdicts = session.commit(&batch).await;
        (session, verdicts)
    })
}

/// Parks beside the test.
fn park_beside(
    mut session: PgSession,
    orders: Vec<Placed>,
) -> JoinHandle<(PgSession, Result<Vec<ParkVerdict>, LedgerError>)> {
    tokio::spawn(async move {
        let verdicts = session.park(&orders).await;
        (session, verdicts)
    })
}
