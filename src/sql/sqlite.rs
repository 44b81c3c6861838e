//! A connection to an SQLite file that `migrate` made and that takes writes, and the steps of a schema.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};
use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _};

use super::Unfit;

/// How many of SQLite's instructions pass between two looks at the deadline: some 10 µs.
const INSTRUCTIONS: i32 = 1_000;

/// A file, in WAL with `synchronous=FULL`.
#[derive(Debug, Clone)]
pub(crate) struct File {
    options: SqliteConnectOptions,
    path: PathBuf,
    lock_timeout: Duration,
}

impl File {
    /// Reads the URL of the setting `key` (`sqlite://PATH`); opens nothing yet. The error is a sentence.
    pub(crate) fn new(key: &str, url: &str, lock_timeout: Duration) -> Result<File, String> {
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(format!("{key}: what is in memory is lost with the process; name a file"));
        }
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| format!("{key}: {error}"))?
            .foreign_keys(false)
            .synchronous(SqliteSynchronous::Full)
            .pragma("temp_store", "MEMORY")
            .busy_timeout(lock_timeout);
        let path = options.get_filename().to_owned();
        if path == Path::new("") {
            return Err(format!("{key}: names no file"));
        }
        Ok(File { options, path, lock_timeout })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it; its schema is this program's, and it takes writes.
    pub(crate) async fn open(&self, migrator: &Migrator) -> Result<SqliteConnection, Unfit> {
        self.look()?;
        let mut connection = SqliteConnection::connect_with(&self.options).await?;
        let there = versions(&mut connection, migrator).await?;
        if let Some(step) = migrator.iter().find(|step| !there.contains(&step.version)) {
            let (path, version) = (self.path.display(), step.version);
            return Err(Unfit::Broken(format!("{path}: the schema lacks step {version}; run `millrace migrate`")));
        }
        prove_writer(&mut connection, migrator).await?;
        write_ahead(&mut connection).await?;
        Ok(connection)
    }

    /// A file that is not there is a step that was forgotten; a folder that is not there is a volume that is away.
    fn look(&self) -> Result<(), Unfit> {
        let path = &self.path;
        let away = |problem: &str| Unfit::Away(format!("{}: {problem}", path.display()));
        match path.try_exists() {
            Ok(true) => Ok(()),
            Ok(false) if path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()) => {
                Err(Unfit::Broken(format!("{}: no such file; run `millrace migrate`", path.display())))
            }
            Ok(false) => Err(away("its folder is not there")),
            Err(error) => Err(away(&error.to_string())),
        }
    }

    /// Makes the file and takes the steps that were not taken, and says how many.
    pub(crate) async fn migrate(&self, migrator: &Migrator) -> Result<usize, Unfit> {
        let options = self.options.clone().create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        // SQLite's migrator has no lock of its own, and two operators may be at it.
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let before = versions(&mut tx, migrator).await?.len();
        migrator.run_direct(None, &mut *tx, false).await?;
        let after = versions(&mut tx, migrator).await?.len();
        tx.commit().await?;
        self.set_write_ahead(&mut connection).await?;
        connection.close().await?;
        Ok(after - before)
    }

    /// The file remembers the mode. Two connections that switch it at once refuse each other at once, without waiting
    /// for the lock, so the wait is here.
    async fn set_write_ahead(&self, connection: &mut SqliteConnection) -> Result<(), Unfit> {
        let until = Instant::now() + self.lock_timeout;
        loop {
            match write_ahead(connection).await {
                Err(Unfit::Driver(error)) if is_busy(&error) && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                result => return result,
            }
        }
    }
}

/// The versions of the steps that were taken; none when there is no schema yet.
async fn versions(connection: &mut SqliteConnection, migrator: &Migrator) -> Result<BTreeSet<i64>, sqlx::Error> {
    let name = &*migrator.table_name;
    let table = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1").bind(name);
    let tables: i64 = table.fetch_one(&mut *connection).await?;
    if tables == 0 {
        return Ok(BTreeSet::new());
    }
    let versions = AssertSqlSafe(format!("SELECT version FROM {name} WHERE success"));
    Ok(sqlx::query_scalar(versions).fetch_all(connection).await?.into_iter().collect())
}

/// SQLite opens a file that it may not write without a word, and begins a transaction on it too: a write tells.
async fn prove_writer(connection: &mut SqliteConnection, migrator: &Migrator) -> Result<(), Unfit> {
    let nothing = AssertSqlSafe(format!("UPDATE {} SET version = version WHERE version < 0", migrator.table_name));
    match connection.begin_with("BEGIN IMMEDIATE").await {
        Ok(mut tx) => {
            let written = sqlx::query(nothing).execute(&mut *tx).await;
            tx.rollback().await?;
            Ok(written.map(drop)?)
        }
        // Somebody else is writing, so writes are taken; the wait for them is each call's own.
        Err(error) if is_busy(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Turns on the write-ahead log. Changes nothing where it is on.
async fn write_ahead(connection: &mut SqliteConnection) -> Result<(), Unfit> {
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(connection).await?;
    if mode == "wal" {
        return Ok(());
    }
    Err(Unfit::Broken(format!("journal_mode is {mode}: this file system cannot carry a write-ahead log")))
}

/// Somebody else has the lock (<https://www.sqlite.org/rescode.html>: busy, locked, interrupted, protocol).
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6 | 9 | 15))
}

/// When SQLite interrupts what it does.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    base: Instant,
    /// Milliseconds after `base`.
    at: Arc<AtomicU64>,
}

impl Deadline {
    pub(crate) fn new() -> Self {
        Self { base: Instant::now(), at: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// From now on this connection's statements are interrupted when the time is over.
    pub(crate) async fn watch(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let deadline = self.clone();
        connection.lock_handle().await?.set_progress_handler(INSTRUCTIONS, move || deadline.is_ahead());
        Ok(())
    }

    pub(crate) fn set(&self, after: Duration) {
        let at = self.base.elapsed() + after;
        self.at.store(u64::try_from(at.as_millis()).unwrap_or(u64::MAX), Atomic::Relaxed);
    }

    /// Ending a transaction is never interrupted.
    pub(crate) fn clear(&self) {
        self.at.store(u64::MAX, Atomic::Relaxed);
    }

    fn is_ahead(&self) -> bool {
        self.base.elapsed().as_millis() < u128::from(self.at.load(Atomic::Relaxed))
    }
}
