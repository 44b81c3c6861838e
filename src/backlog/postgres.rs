//! The backlog on PostgreSQL and Aurora PostgreSQL: for a fleet.
//!
//! An append is one statement in autocommit. Of the steps of a window only `sealed` is a transaction of several
//! statements; a connection that breaks in the middle of it takes it back.

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;

use super::words::{away, broken};
use super::{Append, Backlog, BacklogError, Claim, Depth, Drainer, Lease, Read, Row, Session, Spooled};
use crate::config;
use crate::order::Ordering;
use crate::sql::postgres::{self as sql, COMMAND_LIMIT};
use crate::window::{Epoch, Notice, PhaseView};

mod drain;
mod errors;
mod steps;
mod write;

/// How many slots the counts have, so that sessions seldom wait for each other there.
const SLOTS: u64 = 16;

/// Apart from the ledger's, so that both may be in one database.
const MIGRATIONS_TABLE: &str = "millrace_backlog_migrations";

/// What the statements lean on beside what every store needs: a new snapshot for each of them, and a plan for each
/// execution. A backlog is empty most of the time, and a plan that was made then takes any index for any key.
const SESSION: &str = "SET default_transaction_isolation = 'read committed'; SET plan_cache_mode = force_custom_plan;
    SET enable_bitmapscan = off";

/// A backlog on PostgreSQL. Cheap to clone; every session has a connection of its own.
#[derive(Debug, Clone)]
pub struct Postgres {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: PgConnectOptions,
    lock_timeout: Duration,
    statement_timeout: Duration,
    connect_timeout: Duration,
}

/// A session of [`Postgres`].
#[derive(Debug)]
pub struct PgSession {
    /// None once an error has spent it.
    conn: Option<PgConnection>,
    statement_timeout: Duration,
    slot: i32,
}

impl Postgres {
    /// Reads the URL; connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`super::ErrorClass::Broken`]: the URL is none.
    pub fn new(url: &str, _ordering: Ordering, settings: &config::Backlog) -> Result<Self, BacklogError> {
        let shared = Shared {
            options: sql::options(url).map_err(|error| broken(format!("backlog.url: {error}")))?,
            lock_timeout: settings.lock_timeout,
            statement_timeout: settings.statement_timeout,
            connect_timeout: settings.connect_timeout,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    async fn open(&self, statement_timeout: Duration) -> Result<PgConnection, BacklogError> {
        let shared = &self.shared;
        let opened = sql::open(&shared.options, statement_timeout, shared.lock_timeout).await;
        let mut conn = opened.map_err(errors::unfit)?;
        sqlx::raw_sql(SESSION).execute(&mut conn).await.map_err(|error| errors::classify(&error))?;
        Ok(conn)
    }
}

impl Backlog for Postgres {
    type Session = PgSession;

    async fn connect(&self) -> Result<PgSession, BacklogError> {
        let statement_timeout = self.shared.statement_timeout;
        bounded(self.shared.connect_timeout, async {
            let mut conn = self.open(statement_timeout).await?;
            sql::schema_is_current(&mut conn, &migrator(), "backlog").await.map_err(errors::unfit)?;
            let slot = i32::try_from(RandomState::new().hash_one(0) % SLOTS).expect("below 16");
            Ok(PgSession { conn: Some(conn), statement_timeout, slot })
        })
        .await
    }

    async fn migrate(&self) -> Result<usize, BacklogError> {
        bounded(COMMAND_LIMIT, async {
            let mut conn = self.open(COMMAND_LIMIT).await?;
            let steps = sql::migrate(&mut conn, &migrator(), self.shared.lock_timeout).await.map_err(errors::unfit)?;
            sql::close(conn).await;
            Ok(steps)
        })
        .await
    }
}

/// A newer version may have been here: its schema serves this one too.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("src/backlog/migrations/postgres");
    migrator.set_ignore_missing(true);
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator
}

/// The work under a client-side limit: sqlx sets no TCP keepalive, so a silent peer would be waited for for ever.
async fn bounded<T>(limit: Duration, work: impl Future<Output = Result<T, BacklogError>>) -> Result<T, BacklogError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(errors::silent(limit)))
}

impl PgSession {
    /// The connection for one call: back it goes only when the call came to a good end. Whatever else happens, an open
    /// transaction goes with it.
    fn take(&mut self) -> Result<PgConnection, BacklogError> {
        self.conn.take().ok_or_else(|| away("this session was spent by an error"))
    }

    /// How long the client waits for one statement: a second longer than the server may take.
    fn limit(&self) -> Duration {
        self.statement_timeout + Duration::from_secs(1)
    }

    /// Sends one statement and awaits its rows.
    async fn rows(&mut self, query: Query<'_, sqlx::Postgres, PgArguments>) -> Result<Vec<PgRow>, BacklogError> {
        let mut conn = self.take()?;
        let answer = async { query.fetch_all(&mut conn).await.map_err(|error| errors::classify(&error)) };
        let rows = bounded(self.limit(), answer).await?;
        self.conn = Some(conn);
        Ok(rows)
    }

    /// Sends one statement that changes one row or none; says whether it did.
    async fn changes(&mut self, query: Query<'_, sqlx::Postgres, PgArguments>) -> Result<bool, BacklogError> {
        let mut conn = self.take()?;
        let answer = async { query.execute(&mut conn).await.map_err(|error| errors::classify(&error)) };
        let done = bounded(self.limit(), answer).await?;
        self.conn = Some(conn);
        Ok(done.rows_affected() > 0)
    }
}

/// A column of an answer.
fn read<T>(column: Result<T, sqlx::Error>) -> Result<T, BacklogError> {
    column.map_err(|error| errors::classify(&error))
}

/// A time as text, which PostgreSQL takes to the microsecond.
fn time_text(time: jiff::Timestamp) -> String {
    time.to_string()
}

/// A time as the statements give it: microseconds since 1970.
fn time(microseconds: i64) -> Result<jiff::Timestamp, BacklogError> {
    let time = jiff::Timestamp::from_microsecond(microseconds);
    time.map_err(|_| super::words::unreadable(format_args!("the time {microseconds}")))
}

impl Session for PgSession {
    async fn phase(&mut self) -> Result<PhaseView, BacklogError> {
        self.view().await
    }

    async fn append(&mut self, epoch: Epoch, orders: &[Spooled]) -> Result<Append, BacklogError> {
        self.append_orders(epoch, orders).await
    }

    async fn depth(&mut self) -> Result<Depth, BacklogError> {
        self.count().await
    }

    async fn read(&mut self, read: &Read) -> Result<Vec<Row>, BacklogError> {
        self.read_rows(read).await
    }

    async fn remove(&mut self, rows: &[i64]) -> Result<(), BacklogError> {
        self.remove_rows(rows).await
    }

    async fn lease(&mut self, claim: &Claim) -> Result<Lease, BacklogError> {
        self.take_lease(claim).await
    }

    async fn release(&mut self, owner: &str) -> Result<(), BacklogError> {
        self.give_lease_back(owner).await
    }

    async fn drainer(&mut self) -> Result<Option<Drainer>, BacklogError> {
        self.who_drains().await
    }

    async fn start_spooling(&mut self, epoch: Epoch, notice: &Notice) -> Result<bool, BacklogError> {
        self.announce_and_spool(epoch, notice).await
    }

    async fn announce_seal(&mut self, epoch: Epoch, turn: u64) -> Result<bool, BacklogError> {
        self.announce_a_seal(epoch, turn).await
    }

    async fn seal(&mut self, epoch: Epoch, turn: u64) -> Result<bool, BacklogError> {
        self.spooling_to_sealing(epoch, turn).await
    }

    async fn unseal(&mut self, epoch: Epoch, owner: &str) -> Result<bool, BacklogError> {
        self.back_to_spooling(epoch, owner).await
    }

    async fn sealed(&mut self, epoch: Epoch) -> Result<bool, BacklogError> {
        self.sealing_to_sealed(epoch).await
    }
}
