//! The ledger in an SQLite file: the embedded default. One transaction writes at a time (`BEGIN IMMEDIATE`), in WAL
//! with `synchronous=FULL`; what it reads before it writes cannot change under it, so it judges in Rust.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::effects::Effects;
use super::{Binding, ErrorClass, Ledger, LedgerError, Source};
use crate::config;
use crate::order::Ordering;

mod commit;
mod customer;
mod errors;
mod gaps;
mod gate;
mod look_up;
mod open;
mod park;
mod parked;
mod quarantine;
mod rank;
mod session;
mod source;
mod sweep;
mod work;
mod write;

pub use session::SqliteSession;

static MIGRATIONS: Migrator = migrations();

/// An older program may meet the steps of a newer one: migrations only expand what was there.
const fn migrations() -> Migrator {
    let migrations = sqlx::migrate!("src/ledger/migrations/sqlite");
    Migrator { ignore_missing: true, ..migrations }
}

/// A ledger in an SQLite file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    terms: Arc<Terms>,
    /// Writers of this process queue here, in turn; without it they would poll for the file's lock.
    turn: Arc<Mutex<()>>,
}

/// What every call of a session needs to know.
#[derive(Debug)]
struct Terms {
    ordering: Ordering,
    effects: Option<Effects>,
    settings: config::Ledger,
    options: SqliteConnectOptions,
    path: PathBuf,
}

impl Sqlite {
    /// A ledger at `url` (`sqlite://PATH`). Opens nothing yet; `settings.url` is not looked at.
    ///
    /// # Errors
    ///
    /// [`ErrorClass::Broken`]: the URL does not name a file, or the effects file is not one statement.
    pub fn new(url: &str, ordering: Ordering, settings: &config::Ledger) -> Result<Sqlite, LedgerError> {
        let broken = |message: String| LedgerError { class: ErrorClass::Broken, message };
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(broken("ledger.url: a ledger in memory is lost with the process; name a file".into()));
        }
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| broken(format!("ledger.url: {error}")))?
            .foreign_keys(false)
            .synchronous(SqliteSynchronous::Full)
            .pragma("temp_store", "MEMORY")
            .busy_timeout(settings.lock_timeout);
        let effects = settings.effects.as_deref().map(Effects::load).transpose();
        let effects = effects.map_err(|error| broken(format!("ledger.effects: {error}")))?;
        let path = options.get_filename().to_owned();
        if path == Path::new("") {
            return Err(broken("ledger.url: names no file".into()));
        }
        let terms = Terms { ordering, effects, settings: settings.clone(), options, path };
        Ok(Sqlite { terms: Arc::new(terms), turn: Arc::default() })
    }

    /// Under the deadline for connecting, and for what is written beside the sessions.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        let limit = self.terms.settings.connect_timeout;
        timeout(limit, work).await.unwrap_or_else(|_| {
            let path = self.terms.path.display();
            Err(LedgerError { class: ErrorClass::Away, message: format!("{path}: no answer within {limit:?}") })
        })
    }
}

impl Ledger for Sqlite {
    type Session = SqliteSession;

    async fn connect(&self) -> Result<SqliteSession, LedgerError> {
        self.bounded(SqliteSession::open(self.clone())).await
    }

    async fn migrate(&self) -> Result<usize, LedgerError> {
        let _turn = self.turn.lock().await;
        let options = self.terms.options.clone().create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(errors::error)?;
        let before = open::versions(&mut connection).await?.len();
        // SQLite's migrator has no lock of its own, and two operators may be at it.
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(errors::error)?;
        let before = open::versions(&mut tx).await?.len().max(before);
        MIGRATIONS.run_direct(None, &mut *tx, false).await.map_err(migration)?;
        let after = open::versions(&mut tx).await?.len();
        tx.commit().await.map_err(errors::error)?;
        self.set_wal(&mut connection).await?;
        connection.close().await.map_err(errors::error)?;
        Ok(after - before)
    }

    async fn bind(&self, source: &Source) -> Result<Binding, LedgerError> {
        let mut session = self.connect().await?;
        session.transact(source::Bind { source }).await
    }

    async fn rebind(&self, source: &Source, actor: &str) -> Result<Binding, LedgerError> {
        let mut session = self.connect().await?;
        session.transact(source::Rebind { source, actor }).await
    }
}

impl Sqlite {
    /// The file remembers the mode. Two connections that switch it at once refuse each other at once, without waiting
    /// for the lock, so the wait is here.
    async fn set_wal(&self, connection: &mut SqliteConnection) -> Result<(), LedgerError> {
        let until = Instant::now() + self.terms.settings.lock_timeout;
        loop {
            match open::wal(connection).await {
                Err(error) if error.class == ErrorClass::Timeout && Instant::now() < until => {
                    sleep(std::time::Duration::from_millis(20)).await;
                }
                result => return result,
            }
        }
    }
}

fn migration(error: MigrateError) -> LedgerError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => errors::error(error),
        error => LedgerError { class: ErrorClass::Broken, message: format!("migrate: {error}") },
    }
}
