//! The backlog in an SQLite file: for one machine, on a volume that outlives the task. One transaction writes at a time
//! (`BEGIN IMMEDIATE`), so what it reads before it writes cannot change under it, and it judges in Rust.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::migrate::Migrator;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::words::{away, broken};
use super::{Backlog, BacklogError};
use crate::config;
use crate::order::Ordering;
use crate::sql::sqlite::File;

mod drain;
mod errors;
mod gate;
mod session;
mod steps;
mod values;
mod work;
mod write;

pub use session::SqliteSession;

static MIGRATIONS: Migrator = migrations();

/// An older program may meet the steps of a newer one: migrations only expand what was there. Their table is apart from
/// the ledger's, so that both may be in one file.
const fn migrations() -> Migrator {
    let migrations = sqlx::migrate!("src/backlog/migrations/sqlite");
    Migrator { ignore_missing: true, table_name: Cow::Borrowed("millrace_backlog_migrations"), ..migrations }
}

/// A backlog in an SQLite file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    terms: Arc<Terms>,
    /// Writers of this process queue here, in turn; without it they would poll for the file's lock.
    turn: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Terms {
    settings: config::Backlog,
    file: File,
}

impl Sqlite {
    /// A backlog at `url` (`sqlite://PATH`). Opens nothing yet; `settings.url` is not looked at.
    ///
    /// # Errors
    ///
    /// [`super::ErrorClass::Broken`]: the URL does not name a file.
    pub fn new(url: &str, _ordering: Ordering, settings: &config::Backlog) -> Result<Self, BacklogError> {
        let file = File::new("backlog.url", url, settings.lock_timeout).map_err(broken)?;
        let terms = Terms { settings: settings.clone(), file };
        Ok(Self { terms: Arc::new(terms), turn: Arc::default() })
    }
}

impl Backlog for Sqlite {
    type Session = SqliteSession;

    async fn connect(&self) -> Result<SqliteSession, BacklogError> {
        let limit = self.terms.settings.connect_timeout;
        timeout(limit, SqliteSession::open(self.clone())).await.unwrap_or_else(|_| {
            let path = self.terms.file.path().display();
            Err(away(format!("{path}: no answer within {limit:?}")))
        })
    }

    async fn migrate(&self) -> Result<usize, BacklogError> {
        let _turn = self.turn.lock().await;
        self.terms.file.migrate(&MIGRATIONS).await.map_err(errors::unfit)
    }
}
