//! Whichever ledger the configuration names: a closed set, so an enum and not a box.

use std::time::Duration;

use super::decisions::{Decision, Decisions, Listed, Question, Shown};
use super::gatekeeper::Gatekeeper;
use super::postgres::{PgDecisions, PgGatekeeper, PgSession, Postgres};
use super::sqlite::{Sqlite, SqliteDecisions, SqliteGatekeeper, SqliteSession};
use super::{
    Batch, Binding, Case, CaseVerdict, ErrorClass, Found, Gap, Gate, Ledger, LedgerError, ParkVerdict, ParkedRun,
    Placed, Session, Source, Verdict,
};
use crate::config::{Config, redacted};
use crate::order::CustomerId;
use crate::window::{Epoch, GateView, Notice};

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

/// A gatekeeper of one of the ledgers.
#[derive(Debug)]
pub enum AnyGatekeeper {
    /// Of [`Postgres`].
    Postgres(PgGatekeeper),
    /// Of [`Sqlite`].
    Sqlite(SqliteGatekeeper),
}

/// Decisions in one of the ledgers.
#[derive(Debug)]
pub enum AnyDecisions {
    /// Of [`Postgres`].
    Postgres(PgDecisions),
    /// Of [`Sqlite`].
    Sqlite(SqliteDecisions),
}

impl Ledger for AnyLedger {
    type Session = AnySession;
    type Gatekeeper = AnyGatekeeper;
    type Decisions = AnyDecisions;

    fn draining(&self, epoch: Epoch) -> Self {
        match self {
            AnyLedger::Postgres(ledger) => AnyLedger::Postgres(ledger.draining(epoch)),
            AnyLedger::Sqlite(ledger) => AnyLedger::Sqlite(ledger.draining(epoch)),
        }
    }

    async fn gatekeeper(&self) -> Result<AnyGatekeeper, LedgerError> {
        match self {
            AnyLedger::Postgres(ledger) => ledger.gatekeeper().await.map(AnyGatekeeper::Postgres),
            AnyLedger::Sqlite(ledger) => ledger.gatekeeper().await.map(AnyGatekeeper::Sqlite),
        }
    }

    async fn decisions(&self) -> Result<AnyDecisions, LedgerError> {
        match self {
            AnyLedger::Postgres(ledger) => ledger.decisions().await.map(AnyDecisions::Postgres),
            AnyLedger::Sqlite(ledger) => ledger.decisions().await.map(AnyDecisions::Sqlite),
        }
    }

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

/// The same call of the one behind.
macro_rules! both {
    ($any:ident of $one:expr, $name:ident => $call:expr) => {
        match $one {
            $any::Postgres($name) => $call.await,
            $any::Sqlite($name) => $call.await,
        }
    };
    ($session:expr, $name:ident => $call:expr) => {
        both!(AnySession of $session, $name => $call)
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

impl Gatekeeper for AnyGatekeeper {
    async fn view(&mut self) -> Result<GateView, LedgerError> {
        both!(AnyGatekeeper of self, one => one.view())
    }

    async fn announce(&mut self, epoch: Epoch) -> Result<bool, LedgerError> {
        both!(AnyGatekeeper of self, one => one.announce(epoch))
    }

    async fn close(&mut self, from: Epoch, to: Epoch, notice: &Notice) -> Result<bool, LedgerError> {
        both!(AnyGatekeeper of self, one => one.close(from, to, notice))
    }

    async fn grant(&mut self, epoch: Epoch, actor: &str) -> Result<bool, LedgerError> {
        both!(AnyGatekeeper of self, one => one.grant(epoch, actor))
    }

    async fn reopen(&mut self, epoch: Epoch, actor: &str) -> Result<bool, LedgerError> {
        both!(AnyGatekeeper of self, one => one.reopen(epoch, actor))
    }
}

impl Decisions for AnyDecisions {
    async fn list(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<Listed>, LedgerError> {
        both!(AnyDecisions of self, one => one.list(after, limit))
    }

    async fn show(&mut self, id: &str) -> Result<Option<Shown>, LedgerError> {
        both!(AnyDecisions of self, one => one.show(id))
    }

    async fn decide(&mut self, question: Question<'_>, actor: &str) -> Result<Decision, LedgerError> {
        both!(AnyDecisions of self, one => one.decide(question, actor))
    }
}
