//! A session: each call is one transaction with a deadline, which never stays open.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::work::Work;
use super::{Sqlite, Terms, commit, errors, gaps, gate, look_up, open, park, parked, quarantine, sweep};
use crate::ledger::{
    Batch, Case, CaseVerdict, ErrorClass, Found, Gap, Gate, LedgerError, ParkVerdict, ParkedRun, Placed, Session,
    Verdict,
};
use crate::order::CustomerId;
use crate::sql::sqlite::Deadline;

/// How much later than SQLite itself the caller gives up.
const GRACE: Duration = Duration::from_secs(1);

/// One connection to a ledger in an SQLite file.
#[derive(Debug)]
pub struct SqliteSession {
    ledger: Sqlite,
    /// None after a transaction whose rollback failed: SQLite had ended it by itself, or never will. The next call
    /// opens a new one.
    connection: Option<SqliteConnection>,
    deadline: Deadline,
    /// The last customer whose parked copies were looked at.
    swept: String,
}

impl SqliteSession {
    pub(super) async fn open(ledger: Sqlite) -> Result<SqliteSession, LedgerError> {
        let mut session = SqliteSession { ledger, connection: None, deadline: Deadline::new(), swept: String::new() };
        session.reopen().await?;
        Ok(session)
    }

    async fn reopen(&mut self) -> Result<(), LedgerError> {
        let mut connection = open::connection(&self.ledger.terms).await?;
        self.deadline.watch(&mut connection).await.map_err(errors::error)?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Does the work in one transaction, within `statement_timeout` and a second.
    pub(super) async fn transact<W: Work>(&mut self, work: W) -> Result<W::Answer, LedgerError> {
        let limit = self.ledger.terms.settings.statement_timeout;
        self.deadline.set(limit);
        let answer = timeout(limit + GRACE, self.attempt(work)).await;
        self.deadline.clear();
        answer.unwrap_or_else(|_| {
            // What was sent may still be written, under a lock that the next transaction waits for.
            self.connection = None;
            let class = if W::WRITES { ErrorClass::Unknown } else { ErrorClass::Away };
            Err(LedgerError { class, message: format!("no answer within {:?}", limit + GRACE) })
        })
    }

    async fn attempt<W: Work>(&mut self, work: W) -> Result<W::Answer, LedgerError> {
        let terms = Arc::clone(&self.ledger.terms);
        let turn = Arc::clone(&self.ledger.turn);
        let _turn = if W::WRITES { Some(wait_for_turn(&turn, terms.settings.lock_timeout).await?) } else { None };
        if self.connection.is_none() {
            self.reopen().await?;
        }
        let connection = self.connection.as_mut().ok_or_else(|| errors::misuse("no connection"))?;
        let begin = if W::WRITES { "BEGIN IMMEDIATE" } else { "BEGIN" };
        let mut tx = connection.begin_with(begin).await.map_err(errors::error)?;
        let result = work.run(&mut tx, &terms).await;
        self.deadline.clear();
        let (result, ended) = match result {
            Ok(answer) => match tx.commit().await {
                Ok(()) => (Ok(answer), true),
                Err(error) => (Err(uncommitted(errors::error(error))), false),
            },
            Err(error) => (Err(error), tx.rollback().await.is_ok()),
        };
        if !ended {
            self.connection = None;
        }
        result
    }
}

/// The queue of this process's writers.
async fn wait_for_turn(turn: &Mutex<()>, limit: Duration) -> Result<MutexGuard<'_, ()>, LedgerError> {
    timeout(limit, turn.lock()).await.map_err(|_| LedgerError {
        class: ErrorClass::Timeout,
        message: format!("other sessions of this process wrote for {limit:?}"),
    })
}

/// A commit that fails for want of a disk may have reached it.
fn uncommitted(error: LedgerError) -> LedgerError {
    match error.class {
        ErrorClass::Away | ErrorClass::Broken | ErrorClass::Unrecognised | ErrorClass::Inconsistent => {
            LedgerError { class: ErrorClass::Unknown, ..error }
        }
        _ => error,
    }
}

struct ReadGate;

impl Work for ReadGate {
    type Answer = Gate;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<Gate, LedgerError> {
        gate::read(tx, terms.draining).await
    }
}

impl Session for SqliteSession {
    async fn gate(&mut self) -> Result<Gate, LedgerError> {
        self.transact(ReadGate).await
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Vec<Verdict>, LedgerError> {
        self.transact(commit::Commit { batch }).await
    }

    async fn park(&mut self, orders: &[Placed]) -> Result<Vec<ParkVerdict>, LedgerError> {
        self.transact(park::Park { orders }).await
    }

    async fn look_up(&mut self, orders: &[Placed]) -> Result<Vec<Found>, LedgerError> {
        self.transact(look_up::LookUp { orders }).await
    }

    async fn parked_runs(&mut self, customers: &[CustomerId], limit: u32) -> Result<Vec<ParkedRun>, LedgerError> {
        self.transact(parked::Runs { customers, limit }).await
    }

    async fn quarantine(&mut self, case: &Case) -> Result<CaseVerdict, LedgerError> {
        self.transact(quarantine::Quarantine { case }).await
    }

    async fn sweep(&mut self, limit: u32) -> Result<Vec<CustomerId>, LedgerError> {
        let after = self.swept.clone();
        let swept = self.transact(sweep::Sweep { after, limit }).await?;
        self.swept = swept.after;
        Ok(swept.next)
    }

    async fn gaps(&mut self, limit: u32, older_than: Duration) -> Result<Vec<Gap>, LedgerError> {
        self.transact(gaps::Gaps { limit, older_than }).await
    }
}
