//! A client of a store's database beside the store that is tested: it answers in text, whatever the types.

use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection, ValueRef as _};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::servers::Database;

/// What a contract asks of it.
pub(crate) trait Probe {
    /// Statements that answer nothing.
    async fn execute(&self, sql: &str);

    /// Rows as text, NULL as None.
    async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>>;

    /// SQL for a column of bytes as text.
    fn text_of(&self, column: &str) -> String;
}

/// Of a database, which lives as long as the test runs.
pub(crate) struct PgProbe {
    connection: Mutex<PgConnection>,
    _database: Database,
}

impl PgProbe {
    pub(crate) async fn of(database: Database) -> Self {
        let connection = Mutex::new(PgConnection::connect(database.url()).await.unwrap());
        Self { connection, _database: database }
    }
}

impl Probe for PgProbe {
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

    fn text_of(&self, column: &str) -> String {
        format!("convert_from({column}, 'UTF8')")
    }
}

/// Of a file; it holds the folder as long as the test runs.
pub(crate) struct SqliteProbe {
    connection: Mutex<SqliteConnection>,
    _folder: TempDir,
}

impl SqliteProbe {
    /// None: in memory, while there is no file; opening it would make one.
    pub(crate) async fn of(file: Option<SqliteConnectOptions>, folder: TempDir) -> Self {
        let options = file.unwrap_or_else(|| SqliteConnectOptions::new().in_memory(true));
        let connection = Mutex::new(SqliteConnection::connect_with(&options).await.unwrap());
        Self { connection, _folder: folder }
    }
}

impl Probe for SqliteProbe {
    async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        self.connection.lock().await.execute(sql).await.unwrap();
    }

    async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut *self.connection.lock().await).await;
        rows.unwrap().iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect()
    }

    fn text_of(&self, column: &str) -> String {
        format!("CAST({column} AS text)")
    }
}

/// A value as text, whatever type the file gave it.
fn text(row: &SqliteRow, column: usize) -> Option<String> {
    let number = || row.try_get_unchecked::<Option<i64>, _>(column).unwrap().map(|number| number.to_string());
    row.try_get::<Option<String>, _>(column).unwrap_or_else(|_| number())
}
