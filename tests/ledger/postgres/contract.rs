//! What every ledger promises, kept by PostgreSQL.

use millrace::ledger::Ledger;
use millrace::ledger::postgres::Postgres;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, ValueRef};
use tokio::sync::Mutex;

use super::settings;
use crate::ledger::contract::{self, Setup, Store};
use crate::servers::{Database, database};

contract::contract!(promises, PostgresStore);

struct PostgresStore;

/// A client of the same database, which lives as long as the test runs.
struct Probe {
    connection: Mutex<PgConnection>,
    _database: Database,
}

impl Store for PostgresStore {
    type Ledger = Postgres;
    type Probe = Probe;

    async fn open(&self, setup: &Setup) -> (Postgres, Probe) {
        let database = database().await;
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(database.url());
        settings.effects = setup.effects.map(|sql| {
            let path = folder.path().join("effects.sql");
            std::fs::write(&path, sql).unwrap();
            path
        });
        let ledger = Postgres::new(database.url(), setup.ordering, &settings).unwrap();
        if setup.migrated {
            assert!(ledger.migrate().await.unwrap() > 0);
        }
        let mut connection = PgConnection::connect(database.url()).await.unwrap();
        connection.execute(setup.tables).await.unwrap();
        (ledger, Probe { connection: Mutex::new(connection), _database: database })
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
        let text = |row: &sqlx::postgres::PgRow, column| {
            let value = row.try_get_raw(column).unwrap();
            if value.is_null() { None } else { Some(value.as_str().unwrap().to_owned()) }
        };
        rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect()
    }

    fn text_of(&self, column: &str) -> String {
        format!("convert_from({column}, 'UTF8')")
    }
}
