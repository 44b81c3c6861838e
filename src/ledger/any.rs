//! Whichever ledger the configuration names: a closed set, so an enum and not a box.

use std::time::Duration;

use super::postgres::{PgSession, Postgres};
use super::sqlite::{Sqlite, SqliteSession};
use super::{
    Batch, Binding, Case, CaseVerdict, ErrorClass, Found, Gap, Gate, Ledger, LedgerError, ParkVerdict, ParkedRun,
    Placed, Session, Source, Verdict,
};
use crate::config::{Config, redacted};
use crate::order::CustomerId;

/// The ledger of `ledger.url`. Reads the URL and the effects file; connects to nothing yet.
///
/// # Errors
///
/// [`ErrorClass::Broken`]: the URL or the effects file cannot be used.
pub fn open(config: &Config) -> Result<AnyLedger, LedgerError> {
    let (url, ordering) = (config.ledger.url.as_str(), config.inbox.ordering);
    match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => Ok(AnyLedger::Postgres(Postgres::new(url, ordering, &config.ledger)?)),
        Some(("sqlite", _)) => Ok(AnyLedger::Sqlite(Sqlite::new(url, ordering, &config.ledger)?)),
        _ => Err(LedgerError {
            class: ErrorClass::Broken,
            message: format!("ledger.url = {}: must be postgres:// or sqlite://", redacted(url)),
        }),
    }
}

/// One of the ledgers.
#[derive(Debug, Clone)]
pub enum AnyLedger {
    /// PostgreSQL or Aurora PostgreSQL.
    Postgres(Postgres),
    /// An SQLite file.
    Sqlite(Sqlite),
}

/// A session of one of the ledgers.
#[derive(Debug)]
pub enum AnySession {
    /// Of [`Postgres`].
    Postgres(PgSession),
    /// Of [`Sqlite`].
    Sqlite(SqliteSession),
}

impl Ledger for AnyLedger {
    type Session = AnySession;

    async fn connect(&self) -> Result<AnySession, LedgerError> {
        match self {
            AnyLedger::Postgres(ledger) => ledger.connect().await.map(AnySession::Postgres),
            AnyLedger::Sqlite(ledger) => ledger.connect().await.map(AnySession::Sqlite),
        }
    }

    async fn migrate(&self) -> Result<usize, LedgerError> {
        match self {
            AnyLedger::Postgres(ledger) => ledger.migrate().await,
            AnyLedger::Sqlite(ledger) => ledger.migrate().await,
        }
    }

    async fn bind(&self, source: &Source) -> Result<Binding, LedgerError> {
        match self {
            AnyLedger::Postgres(ledger) => ledger.bind(source).await,
            AnyLedger::Sqlite(ledger) => ledger.bind(source).await,
        }
    }

    async fn rebind(&self, source: &Source, actor: &str) -> Result<Binding, LedgerError> {
        match self {
            AnyLedger::Postgres(ledger) => ledger.rebind(source, actor).await,
            AnyLedger::Sqlite(ledger) => ledger.rebind(source, actor).await,
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
    async fn gate(&mut self) -> Result<Gate, LedgerError> {
        both!(self, session => session.gate())
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Vec<Verdict>, LedgerError> {
        both!(self, session => session.commit(batch))
    }

    async fn park(&mut self, orders: &[Placed]) -> Result<Vec<ParkVerdict>, LedgerError> {
        both!(self, session => session.park(orders))
    }

    async fn look_up(&mut self, orders: &[Placed]) -> Result<Vec<Found>, LedgerError> {
        both!(self, session => session.look_up(orders))
    }

    async fn parked_runs(&mut self, customers: &[CustomerId], limit: u32) -> Result<Vec<ParkedRun>, LedgerError> {
        both!(self, session => session.parked_runs(customers, limit))
    }

    async fn quarantine(&mut self, case: &Case) -> Result<CaseVerdict, LedgerError> {
        both!(self, session => session.quarantine(case))
    }

    async fn sweep(&mut self, limit: u32) -> Result<Vec<CustomerId>, LedgerError> {
        both!(self, session => session.sweep(limit))
    }

    async fn gaps(&mut self, limit: u32, older_than: Duration) -> Result<Vec<Gap>, LedgerError> {
        both!(self, session => session.gaps(limit, older_than))
    }
}
