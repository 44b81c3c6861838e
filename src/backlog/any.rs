//! Whichever backlog the configuration names: a closed set, so an enum and not a box.

use super::postgres::{PgSession, Postgres};
use super::sqlite::{Sqlite, SqliteSession};
use super::{Append, Backlog, BacklogError, Claim, Depth, Drainer, ErrorClass, Lease, Read, Row, Session, Spooled};
use crate::config::{Config, redacted};
use crate::window::{Epoch, Notice, PhaseView};

/// The backlog of `backlog.url`, or none. Reads the URL; connects to nothing yet.
///
/// # Errors
///
/// [`ErrorClass::Broken`]: the URL cannot be used.
pub fn open(config: &Config) -> Result<Option<AnyBacklog>, BacklogError> {
    let Some(url) = config.backlog.url.as_deref() else { return Ok(None) };
    let ordering = config.inbox.ordering;
    match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => {
            Ok(Some(AnyBacklog::Postgres(Postgres::new(url, ordering, &config.backlog)?)))
        }
        Some(("sqlite", _)) => Ok(Some(AnyBacklog::Sqlite(Sqlite::new(url, ordering, &config.backlog)?))),
        _ => Err(BacklogError {
            class: ErrorClass::Broken,
            message: format!("backlog.url = {}: must be postgres:// or sqlite://", redacted(url)),
        }),
    }
}

/// One of the backlogs.
#[derive(Debug, Clone)]
pub enum AnyBacklog {
    /// In PostgreSQL or Aurora PostgreSQL.
    Postgres(Postgres),
    /// In an SQLite file.
    Sqlite(Sqlite),
}

/// A session of one of the backlogs.
#[derive(Debug)]
pub enum AnySession {
    /// Of [`Postgres`].
    Postgres(PgSession),
    /// Of [`Sqlite`].
    Sqlite(SqliteSession),
}

impl Backlog for AnyBacklog {
    type Session = AnySession;

    async fn connect(&self) -> Result<AnySession, BacklogError> {
        match self {
            AnyBacklog::Postgres(backlog) => backlog.connect().await.map(AnySession::Postgres),
            AnyBacklog::Sqlite(backlog) => backlog.connect().await.map(AnySession::Sqlite),
        }
    }

    async fn migrate(&self) -> Result<usize, BacklogError> {
        match self {
            AnyBacklog::Postgres(backlog) => backlog.migrate().await,
            AnyBacklog::Sqlite(backlog) => backlog.migrate().await,
        }
    }
}

/// The same call of the session behind.
macro_rules! both {
    ($session:expr, $name:ident => $call:expr) => {
        match $session {
            AnySession::Postgres($name) => $call.await,
            AnySession::Sqlite($name) => $call.await,
        }
    };
}

impl Session for AnySession {
    async fn phase(&mut self) -> Result<PhaseView, BacklogError> {
        both!(self, session => session.phase())
    }

    async fn append(&mut self, epoch: Epoch, orders: &[Spooled]) -> Result<Append, BacklogError> {
        both!(self, session => session.append(epoch, orders))
    }

    async fn depth(&mut self) -> Result<Depth, BacklogError> {
        both!(self, session => session.depth())
    }

    async fn read(&mut self, read: &Read) -> Result<Vec<Row>, BacklogError> {
        both!(self, session => session.read(read))
    }

    async fn remove(&mut self, rows: &[i64]) -> Result<(), BacklogError> {
        both!(self, session => session.remove(rows))
    }

    async fn lease(&mut self, claim: &Claim) -> Result<Lease, BacklogError> {
        both!(self, session => session.lease(claim))
    }

    async fn release(&mut self, owner: &str) -> Result<(), BacklogError> {
        both!(self, session => session.release(owner))
    }

    async fn drainer(&mut self) -> Result<Option<Drainer>, BacklogError> {
        both!(self, session => session.drainer())
    }

    async fn start_spooling(&mut self, epoch: Epoch, notice: &Notice) -> Result<bool, BacklogError> {
        both!(self, session => session.start_spooling(epoch, notice))
    }

    async fn announce_seal(&mut self, epoch: Epoch, turn: u64) -> Result<bool, BacklogError> {
        both!(self, session => session.announce_seal(epoch, turn))
    }

    async fn seal(&mut self, epoch: Epoch, turn: u64) -> Result<bool, BacklogError> {
        both!(self, session => session.seal(epoch, turn))
    }

    async fn unseal(&mut self, epoch: Epoch, owner: &str) -> Result<bool, BacklogError> {
        both!(self, session => session.unseal(epoch, owner))
    }

    async fn sealed(&mut self, epoch: Epoch) -> Result<bool, BacklogError> {
        both!(self, session => session.sealed(epoch))
    }
}
