//! The ledger in an SQLite file: the embedded default. One transaction writes at a time (`BEGIN IMMEDIATE`), in WAL
//! with `synchronous=FULL`; what it reads before it writes cannot change under it, so it judges in Rust.

use std::sync::Arc;

use sqlx::migrate::Migrator;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::effects::Effects;
use super::{Binding, ErrorClass, Ledger, LedgerError, Source};
use crate::config;
use crate::order::Ordering;
use crate::sql::sqlite::File;
use crate::window::Epoch;

mod commit;
mod customer;
mod decisions;
mod errors;
mod gaps;
mod gate;
mod gatekeeper;
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

pub use decisions::SqliteDecisions;
pub use gatekeeper::SqliteGatekeeper;
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
#[derive(Debug, Clone)]
struct Terms {
    ordering: Ordering,
    /// The window whose backlog is drained. None: new orders are live ones.
    draining: Option<Epoch>,
    effects: Option<Effects>,
    settings: config::Ledger,
    file: File,
}

impl Sqlite {
    /// A ledger at `url` (`sqlite://PATH`). Opens nothing yet; `settings.url` is not looked at.
    ///
    /// # Errors
    ///
    /// [`ErrorClass::Broken`]: the URL does not name a file, or the effects file is not one statement.
    pub fn new(url: &str, ordering: Ordering, settings: &config::Ledger) -> Result<Sqlite, LedgerError> {
        let broken = |message: String| LedgerError { class: ErrorClass::Broken, message };
        let file = File::new("ledger.url", url, settings.lock_timeout).map_err(broken)?;
        let effects = settings.effects.as_deref().map(Effects::load).transpose();
        let effects = effects.map_err(|error| broken(format!("ledger.effects: {error}")))?;
        let terms = Terms { ordering, draining: None, effects, settings: settings.clone(), file };
        Ok(Sqlite { terms: Arc::new(terms), turn: Arc::default() })
    }

    /// Under the deadline for connecting, and for what is written beside the sessions.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        let limit = self.terms.settings.connect_timeout;
        timeout(limit, work).await.unwrap_or_else(|_| {
            let path = self.terms.file.path().display();
            Err(LedgerError { class: ErrorClass::Away, message: format!("{path}: no answer within {limit:?}") })
        })
    }
}

impl Ledger for Sqlite {
    type Session = SqliteSession;
    type Gatekeeper = SqliteGatekeeper;
    type Decisions = SqliteDecisions;

    fn draining(&self, epoch: Epoch) -> Self {
        let terms = Terms { draining: Some(epoch), ..Terms::clone(&self.terms) };
        Self { terms: Arc::new(terms), turn: Arc::clone(&self.turn) }
    }

    async fn gatekeeper(&self) -> Result<SqliteGatekeeper, LedgerError> {
        Ok(SqliteGatekeeper::over(self.connect().await?))
    }

    async fn decisions(&self) -> Result<SqliteDecisions, LedgerError> {
        self.bounded(SqliteDecisions::open(self.clone())).await
    }

    async fn connect(&self) -> Result<SqliteSession, LedgerError> {
        self.bounded(SqliteSession::open(self.clone())).await
    }

    async fn migrate(&self) -> Result<usize, LedgerError> {
        let _turn = self.turn.lock().await;
        self.terms.file.migrate(&MIGRATIONS).await.map_err(errors::unfit)
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
