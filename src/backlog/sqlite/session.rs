//! A session: each call is one transaction with a deadline, which never stays open.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::work::Work;
use super::{MIGRATIONS, Sqlite, drain, errors, gate, steps, write};
use crate::backlog::words::away;
use crate::backlog::{Append, BacklogError, Claim, Depth, Drainer, Lease, Read, Row, Session, Spooled};
use crate::sql::sqlite::Deadline;
use crate::window::{Epoch, Notice, PhaseView};

/// How much later than SQLite itself the caller gives up.
const GRACE: Duration = Duration::from_secs(1);

/// One connection to a backlog in an SQLite file.
#[derive(Debug)]
pub struct SqliteSession {
    backlog: Sqlite,
    /// None once an error has spent it.
    connection: Option<SqliteConnection>,
    deadline: Deadline,
}

impl SqliteSession {
    pub(super) async fn open(backlog: Sqlite) -> Result<Self, BacklogError> {
        let deadline = Deadline::new();
        let mut connection = backlog.terms.file.open(&MIGRATIONS).await.map_err(errors::unfit)?;
        deadline.watch(&mut connection).await.map_err(errors::error)?;
        Ok(Self { backlog, connection: Some(connection), deadline })
    }

    /// Does the work in one transaction, within `statement_timeout` and a second. The connection comes back only from a
    /// good end: whatever else happens, an open transaction goes with it.
    async fn transact<W: Work>(&mut self, work: W) -> Result<W::Answer, BacklogError> {
        let mut connection = self.connection.take().ok_or_else(|| away("this session was spent by an error"))?;
        let limit = self.backlog.terms.settings.statement_timeout;
        self.deadline.set(limit);
        let answer = timeout(limit + GRACE, self.attempt(&mut connection, work)).await;
        self.deadline.clear();
        let answer = answer.unwrap_or_else(|_| Err(away(format!("no answer within {:?}", limit + GRACE))))?;
        self.connection = Some(connection);
        Ok(answer)
    }

    async fn attempt<W: Work>(&self, connection: &mut SqliteConnection, work: W) -> Result<W::Answer, BacklogError> {
        let turn = Arc::clone(&self.backlog.turn);
        let lock_timeout = self.backlog.terms.settings.lock_timeout;
        let _turn = if W::WRITES { Some(wait_for_turn(&turn, lock_timeout).await?) } else { None };
        let begin = if W::WRITES { "BEGIN IMMEDIATE" } else { "BEGIN" };
        let mut tx = connection.begin_with(begin).await.map_err(errors::error)?;
        let answer = work.run(&mut tx).await;
        // Ending a transaction is never interrupted.
        self.deadline.clear();
        match answer {
            Ok(answer) => tx.commit().await.map(|()| answer).map_err(errors::error),
            Err(error) => {
                // The turn ends behind the rollback, so that nobody waits for the file.
                if let Err(rollback) = tx.rollback().await {
                    tracing::debug!(error = %rollback, "rolling back; the connection is closed next");
                }
                Err(error)
            }
        }
    }
}

/// The queue of this process's writers.
async fn wait_for_turn(turn: &Mutex<()>, limit: Duration) -> Result<MutexGuard<'_, ()>, BacklogError> {
    let waited = timeout(limit, turn.lock()).await;
    waited.map_err(|_| away(format!("other sessions of this process wrote for {limit:?} (backlog.lock_timeout)")))
}

impl Session for SqliteSession {
    async fn phase(&mut self) -> Result<PhaseView, BacklogError> {
        self.transact(gate::Look).await
    }

    async fn append(&mut self, epoch: Epoch, orders: &[Spooled]) -> Result<Append, BacklogError> {
        self.transact(write::Spool { epoch, orders }).await
    }

    async fn depth(&mut self) -> Result<Depth, BacklogError> {
        self.transact(write::Count).await
    }

    async fn read(&mut self, read: &Read) -> Result<Vec<Row>, BacklogError> {
        self.transact(drain::Take { read }).await
    }

    async fn remove(&mut self, rows: &[i64]) -> Result<(), BacklogError> {
        self.transact(write::Remove { rows }).await
    }

    async fn lease(&mut self, claim: &Claim) -> Result<Lease, BacklogError> {
        self.transact(drain::TakeLease { claim }).await
    }

    async fn release(&mut self, owner: &str) -> Result<(), BacklogError> {
        self.transact(drain::Release { owner }).await
    }

    async fn drainer(&mut self) -> Result<Option<Drainer>, BacklogError> {
        self.transact(drain::WhoDrains).await
    }

    async fn start_spooling(&mut self, epoch: Epoch, notice: &Notice) -> Result<bool, BacklogError> {
        // Writers take turns here, so nobody has to be told before; but both stores say the same when it dies between.
        self.transact(steps::Announce { epoch }).await?;
        self.transact(steps::StartSpooling { epoch, notice }).await
    }

    async fn announce_seal(&mut self, epoch: Epoch, turn: u64) -> Result<bool, BacklogError> {
        self.transact(steps::AnnounceSeal { epoch, turn }).await
    }

    async fn seal(&mut self, epoch: Epoch, turn: u64) -> Result<bool, BacklogError> {
        self.transact(steps::Seal { epoch, turn }).await
    }

    async fn unseal(&mut self, epoch: Epoch, owner: &str) -> Result<bool, BacklogError> {
        self.transact(steps::Unseal { epoch, owner }).await
    }

    async fn sealed(&mut self, epoch: Epoch) -> Result<bool, BacklogError> {
        self.transact(steps::Sealed { epoch }).await
    }
}
