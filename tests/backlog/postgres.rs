//! The backlog on PostgreSQL: the promises of every backlog, and what only it can get wrong.

use std::time::Duration;

use millrace::backlog::postgres::{PgSession, Postgres};
use millrace::backlog::{Backlog, Session};
use millrace::config;
use millrace::order::Ordering;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::contract::bench::notice;
use super::contract::{self, Store};
use crate::probe::PgProbe;
use crate::servers::{Database, database};

mod cost;
mod errors;
mod races;

contract::contract!(promises, PostgresStore);

struct PostgresStore;

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
    type Probe = PgProbe;

    async fn open(&self, migrated: bool) -> (Postgres, PgProbe) {
        let database = database().await;
        let backlog = Postgres::new(database.url(), Ordering::Gapless, &settings()).unwrap();
        if migrated {
            assert!(backlog.migrate().await.unwrap() > 0);
        }
        (backlog, PgProbe::of(database).await)
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
