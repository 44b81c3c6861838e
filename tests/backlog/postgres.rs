//! The backlog on PostgreSQL: the promises of every backlog, and what only it can get wrong.

use std::time::Duration;

use millrace::backlog::postgres::{PgSession, Postgres};
use millrace::backlog::{Backlog, Session};
use millrace::config;
use millrace::order::Ordering;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, ValueRef as _};
use tokio::sync::Mutex;

use super::contract::bench::notice;
use super::contract::{self, Store};
use crate::servers::{Database, PATIENCE, database, eventually};

mod cost;
mod errors;
mod races;

contract::contract!(promises, PostgresStore);

struct PostgresStore;

/// A client of the same database, which lives as long as the test runs.
struct Probe {
    connection: Mutex<PgConnection>,
    _database: Database,
}

fn settings() -> config::Backlog {
    // A loaded test machine is slow, and none of these tests waits for it.
    config::Backlog {
        lock_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(20),
        ..config::Backlog::default()
    }
}

impl Store for PostgresStore {
    type Backlog = Postgres;
    type Probe = Probe;

    async fn open(&self, migrated: bool) -> (Postgres, Probe) {
        let database = database().await;
        let backlog = Postgres::new(database.url(), Ordering::Gapless, &settings()).unwrap();
        if migrated {
            assert!(backlog.migrate().await.unwrap() > 0);
        }
        let connection = Mutex::new(PgConnection::connect(database.url()).await.unwrap());
        (backlog, Probe { connection, _database: database })
    }
}

impl contract::Probe for Probe {
    async fn execute(&self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        sql.execute(&mut *self.connection.lock().await).await.unwrap();
    }

    async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        // The simple protocol answers in text, whatever the type.
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let rows = sql.fetch_all(&mut *self.connection.lock().await).await.unwrap();
        let text = |row: &PgRow, column| {
            let value = row.try_get_raw(column).unwrap();
            if value.is_null() { None } else { Some(value.as_str().unwrap().to_owned()) }
        };
        rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect()
    }
}

/// A backlog of the test's own, spooling under epoch 1.
struct World {
    database: Database,
    backlog: Postgres,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// With settings of its own.
    async fn with(change: impl FnOnce(&mut config::Backlog)) -> Self {
        let database = database().await;
        let mut settings = settings();
        change(&mut settings);
        let backlog = Postgres::new(database.url(), Ordering::Gapless, &settings).unwrap();
        assert!(backlog.migrate().await.unwrap() > 0);
        let world = Self { database, backlog };
        assert!(world.session().await.start_spooling(1, &notice("test")).await.unwrap());
        world
    }

    async fn session(&self) -> PgSession {
        self.backlog.connect().await.unwrap()
    }

    /// Executes statements of the test.
    async fn sql(&self, sql: &str) {
        let mut conn = PgConnection::connect(self.database.url()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    /// The one value that a query yields, as text.
    async fn value(&self, sql: &str) -> String {
        let mut conn = PgConnection::connect(self.database.url()).await.unwrap();
        let sql = format!("SELECT coalesce(({sql})::text, 'NULL')");
        let value = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        value
    }

    /// Waits until so many sessions wait for a lock.
    async fn waiting(&self, sessions: usize) {
        let query = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waits = async || self.value(query).await == sessions.to_string();
        eventually("sessions wait for a lock", PATIENCE, waits).await;
    }
}

/// A transaction of the test that holds something until it is told to let go: the barrier at which sessions stop.
struct Barrier(PgConnection);

impl Barrier {
    async fn hold(world: &World, sql: &str) -> Self {
        let mut barrier = Self(PgConnection::connect(world.database.url()).await.unwrap());
        barrier.go_on(&format!("BEGIN; {sql}")).await;
        barrier
    }

    async fn go_on(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.0).await.unwrap();
    }

    async fn let_go(self) {
        self.ends("COMMIT").await;
    }

    async fn ends(mut self, how: &str) {
        self.go_on(how).await;
        self.0.close().await.unwrap();
    }
}

#[tokio::test]
async fn it_may_share_its_database_with_the_ledger() {
    use millrace::ledger::{Ledger, Session as _};
    let world = World::new().await;
    let settings = serde_json::from_value(serde_json::json!({ "url": world.database.url() })).unwrap();
    let ledger = millrace::ledger::postgres::Postgres::new(world.database.url(), Ordering::Gapless, &settings).unwrap();
    assert!(ledger.migrate().await.unwrap() > 0);
    assert_eq!(world.backlog.migrate().await, Ok(0));
    ledger.connect().await.unwrap().gate().await.unwrap();
    assert!(world.session().await.phase().await.unwrap().accepts());
}
