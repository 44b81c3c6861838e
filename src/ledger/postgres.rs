//! The ledger on PostgreSQL and Aurora PostgreSQL: one statement is one group commit, in autocommit.
//!
//! The statements are the `.sql` files beside this one. None of them needs a transaction that spans several calls, so
//! nothing is ever left half done by a lost connection.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};

pub use decisions::PgDecisions;
pub use gatekeeper::PgGatekeeper;
pub use session::PgSession;

use crate::config;
use crate::ledger::effects::Effects;
use crate::ledger::{Binding, ErrorClass, Ledger, LedgerError, Source};
use crate::order::Ordering;
use crate::sql::postgres::{self as sql, COMMAND_LIMIT, close};
use crate::window::Epoch;
use errors::Step;

mod columns;
mod commit;
mod decisions;
mod errors;
mod gaps;
mod gatekeeper;
mod parked;
mod quarantine;
mod session;

/// A ledger on PostgreSQL. Cheap to clone; every session has a connection of its own.
#[derive(Debug, Clone)]
pub struct Postgres {
    shared: Arc<Shared>,
    /// The window whose backlog its sessions drain. None: they write live orders.
    draining: Option<Epoch>,
}

/// What all sessions have in common.
#[derive(Debug)]
struct Shared {
    options: PgConnectOptions,
    ordering: Ordering,
    statements: commit::Statements,
    effects: Option<Effects>,
    lock_timeout: Duration,
    statement_timeout: Duration,
    connect_timeout: Duration,
}

impl Postgres {
    /// Reads the URL and the effects file; connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`ErrorClass::Broken`] when the URL is none, or the effects file is not one statement that writes.
    pub fn new(url: &str, ordering: Ordering, settings: &config::Ledger) -> Result<Self, LedgerError> {
        let broken = |message: String| LedgerError { class: ErrorClass::Broken, message };
        let options = sql::options(url).map_err(|error| broken(format!("ledger.url: {error}")))?;
        let effects = settings.effects.as_deref().map(Effects::load).transpose();
        let effects = effects.map_err(|error| broken(format!("ledger.effects: {error}")))?;
        let shared = Shared {
            options,
            ordering,
            statements: commit::Statements::new(ordering, effects.as_ref()),
            effects,
            lock_timeout: settings.lock_timeout,
            statement_timeout: settings.statement_timeout,
            connect_timeout: settings.connect_timeout,
        };
        Ok(Self { shared: Arc::new(shared), draining: None })
    }

    /// Opens a connection to the writer, for a command; its statements may take long.
    async fn open(&self) -> Result<PgConnection, LedgerError> {
        let connecting = session::open(&self.shared, COMMAND_LIMIT);
        bounded(self.shared.connect_timeout, Step::Connect, connecting).await
    }

    async fn run_migrations(&self) -> Result<usize, LedgerError> {
        let mut conn = self.open().await?;
        let mut migrator = migrator();
        // A newer version may have been here: its schema serves this one too.
        migrator.set_ignore_missing(true);
        let steps = sql::migrate(&mut conn, &migrator, self.shared.lock_timeout).await;
        let steps = steps.map_err(|error| errors::unfit(error, Step::Write))?;
        close(conn).await;
        Ok(steps)
    }
}

impl Ledger for Postgres {
    type Session = PgSession;
    type Gatekeeper = PgGatekeeper;
    type Decisions = PgDecisions;

    fn draining(&self, epoch: Epoch) -> Self {
        Self { draining: Some(epoch), ..self.clone() }
    }

    async fn gatekeeper(&self) -> Result<PgGatekeeper, LedgerError> {
        let connecting = PgGatekeeper::connect(Arc::clone(&self.shared));
        bounded(self.shared.connect_timeout, Step::Connect, connecting).await
    }

    async fn decisions(&self) -> Result<PgDecisions, LedgerError> {
        PgDecisions::open(Arc::clone(&self.shared)).await
    }

    async fn connect(&self) -> Result<PgSession, LedgerError> {
        let connecting = PgSession::connect(Arc::clone(&self.shared), self.draining);
        bounded(self.shared.connect_timeout, Step::Connect, connecting).await
    }

    async fn migrate(&self) -> Result<usize, LedgerError> {
        bounded(COMMAND_LIMIT, Step::Write, self.run_migrations()).await
    }

    async fn bind(&self, source: &Source) -> Result<Binding, LedgerError> {
        bounded(COMMAND_LIMIT, Step::Write, async {
            let mut conn = self.open().await?;
            schema_is_current(&mut conn).await?;
            let binding = remember(&mut conn, source).await;
            let binding = binding.map_err(|error| errors::classify(&error, Step::Write))?;
            close(conn).await;
            Ok(binding)
        })
        .await
    }

    async fn rebind(&self, source: &Source, actor: &str) -> Result<Binding, LedgerError> {
        bounded(COMMAND_LIMIT, Step::Write, async {
            let mut conn = self.open().await?;
            schema_is_current(&mut conn).await?;
            // The connection is dropped whatever comes of it, and with it a transaction that did not come to its end.
            let binding = replace(&mut conn, source, actor).await;
            let binding = binding.map_err(|error| errors::classify(&error, Step::Write))?;
            close(conn).await;
            Ok(binding)
        })
        .await
    }
}

fn migrator() -> Migrator {
    sqlx::migrate!("src/ledger/migrations/postgres")
}

/// The work under a client-side limit: sqlx sets no TCP keepalive, so a silent peer would be waited for for ever.
async fn bounded<T>(
    limit: Duration,
    step: Step,
    work: impl Future<Output = Result<T, LedgerError>>,
) -> Result<T, LedgerError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(errors::silent(step, limit.as_secs_f64())))
}

/// Every step that this program knows was taken.
async fn schema_is_current(conn: &mut PgConnection) -> Result<(), LedgerError> {
    let current = sql::schema_is_current(conn, &migrator(), "ledger").await;
    current.map_err(|error| errors::unfit(error, Step::Connect))
}

async fn remember(conn: &mut PgConnection, source: &Source) -> Result<Binding, sqlx::Error> {
    sqlx::query(
        "INSERT INTO ledger_source (id, ordering, queue_arn, queue_created_at, accepted_by)
         VALUES (1, $1, $2, $3, 'first start') ON CONFLICT DO NOTHING",
    )
    .bind(source.ordering.to_string())
    .bind(&source.queue_arn)
    .bind(source.queue_created_at)
    .execute(&mut *conn)
    .await?;
    let row = sqlx::query("SELECT ordering, queue_arn, queue_created_at FROM ledger_source WHERE id = 1");
    let bound = read_source(&row.fetch_one(conn).await?)?;
    let same = match source.ordering {
        Ordering::Fifo => bound == *source,
        Ordering::Gapless | Ordering::None => bound.ordering == source.ordering,
    };
    Ok(if same { Binding::Bound } else { Binding::Other(bound) })
}

async fn replace(conn: &mut PgConnection, source: &Source, actor: &str) -> Result<Binding, sqlx::Error> {
    sqlx::raw_sql("BEGIN").execute(&mut *conn).await?;
    // Waits for what is being written and keeps others out; the count below has a newer snapshot than this.
    sqlx::raw_sql("LOCK TABLE customers IN SHARE ROW EXCLUSIVE MODE").execute(&mut *conn).await?;
    let pending: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM parked_orders) + (SELECT count(*) FROM customers WHERE blocked_by IS NOT NULL)",
    )
    .fetch_one(&mut *conn)
    .await?;
    if pending > 0 {
        sqlx::raw_sql("ROLLBACK").execute(conn).await?;
        return Ok(Binding::Pending(pending.unsigned_abs()));
    }
    sqlx::raw_sql("UPDATE customers SET mark = 0 WHERE mark <> 0").execute(&mut *conn).await?;
    sqlx::query(
        "INSERT INTO ledger_source (id, ordering, queue_arn, queue_created_at, accepted_by) VALUES (1, $1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET ordering = $1, queue_arn = $2, queue_created_at = $3, accepted_by = $4,
                                        accepted_at = now()",
    )
    .bind(source.ordering.to_string())
    .bind(&source.queue_arn)
    .bind(source.queue_created_at)
    .bind(actor)
    .execute(&mut *conn)
    .await?;
    sqlx::raw_sql("COMMIT").execute(conn).await?;
    Ok(Binding::Bound)
}

fn read_source(row: &PgRow) -> Result<Source, sqlx::Error> {
    let ordering = match row.try_get::<&str, _>(0)? {
        "gapless" => Ordering::Gapless,
        "fifo" => Ordering::Fifo,
        "none" => Ordering::None,
        other => return Err(sqlx::Error::Decode(format!("ledger_source.ordering is {other:?}").into())),
    };
    Ok(Source { ordering, queue_arn: row.try_get(1)?, queue_created_at: row.try_get(2)? })
}
