//! One connection that is proven to be the writer, and its calls.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;

use super::errors::{self, Step};
use super::{Shared, schema_is_current};
use crate::ledger::{
    Batch, Case, CaseVerdict, ErrorClass, Found, Gap, Gate, LedgerError, ParkVerdict, ParkedRun, Placed, Session,
    Verdict,
};
use crate::order::{CustomerId, Ordering};
use crate::sql::postgres;
use crate::window::Epoch;

/// Planning a group commit takes longer than executing a small one, and in `gapless` it always ends alike: the text
/// leaves the planner no choice that depends on the values. In the other modes it does leave one, and a plan that was
/// made once on empty tables reads them from end to end when they are large (tests/ledger/postgres/cost.rs finds it).
/// Through `pg_settings`, because older versions do not have it.
const PLAN_ONCE: &str = "SELECT set_config(name, 'force_generic_plan', false) FROM pg_settings
                         WHERE name = 'plan_cache_mode'";

/// A session of [`super::Postgres`].
#[derive(Debug)]
pub struct PgSession {
    /// None once an error has spent it.
    conn: Option<PgConnection>,
    pub(super) shared: Arc<Shared>,
    /// The window whose backlog it drains. None: its orders are live ones.
    draining: Option<Epoch>,
    /// Where the last sweep ended, so that the next one goes on there.
    pub(super) swept: String,
}

impl PgSession {
    pub(super) async fn connect(shared: Arc<Shared>, draining: Option<Epoch>) -> Result<Self, LedgerError> {
        let mut session = Self::unprepared(shared).await?;
        if session.ordering() == Ordering::Gapless {
            session.rows(Step::Connect, sqlx::query(PLAN_ONCE)).await?;
        }
        if let Some(conn) = &mut session.conn {
            session.shared.statements.prepare(conn, session.shared.effects.as_ref()).await?;
        }
        Ok(Self { draining, ..session })
    }

    /// For whoever commits nothing.
    pub(super) async fn unprepared(shared: Arc<Shared>) -> Result<Self, LedgerError> {
        let mut conn = open(&shared, shared.statement_timeout).await?;
        schema_is_current(&mut conn).await?;
        Ok(Self { conn: Some(conn), shared, draining: None, swept: String::new() })
    }

    /// As the statements take it.
    pub(super) fn drained_epoch(&self) -> Option<i64> {
        self.draining.map(|epoch| i64::try_from(epoch).unwrap_or(i64::MAX))
    }

    pub(super) fn ordering(&self) -> Ordering {
        self.shared.ordering
    }

    /// What a read says of the server, which may have been demoted since.
    pub(super) fn still_the_writer(&mut self, read_only: bool) -> Result<(), LedgerError> {
        if read_only {
            self.conn = None;
            return Err(errors::unfit(postgres::demoted(), Step::Read));
        }
        Ok(())
    }

    /// Sends one statement and awaits its rows.
    pub(super) async fn rows(
        &mut self,
        step: Step,
        query: Query<'_, sqlx::Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, LedgerError> {
        let Some(conn) = &mut self.conn else {
            return Err(LedgerError { class: ErrorClass::Away, message: "this session was spent by an error".into() });
        };
        let limit = patience(&self.shared);
        let error = match tokio::time::timeout(limit, query.fetch_all(conn)).await {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) => errors::classify(&error, step),
            Err(_) => errors::silent(step, limit.as_secs_f64()),
        };
        if error.class.spends_session() {
            self.conn = None;
        }
        Err(error)
    }
}

impl Session for PgSession {
    async fn gate(&mut self) -> Result<Gate, LedgerError> {
        // An announced close refuses writes already, although the gate still says open.
        let query = sqlx::query(
            "SELECT CASE WHEN g.epoch < a.epoch OR (g.state = 'DRAINING' AND g.epoch <> coalesce($1::bigint, g.epoch))
                         THEN 'CLOSED' ELSE g.state END,
                    pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean
             FROM gate g, gate_announced a WHERE g.id = 1 AND a.id = 1",
        );
        let query = query.bind(self.drained_epoch());
        let rows = self.rows(Step::Read, query).await?;
        let Some(row) = rows.first() else { return Err(broken("the gate has no row")) };
        self.still_the_writer(read(row.try_get(1))?)?;
        gate(read(row.try_get(0))?)
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Vec<Verdict>, LedgerError> {
        self.commit_runs(batch).await
    }

    async fn park(&mut self, orders: &[Placed]) -> Result<Vec<ParkVerdict>, LedgerError> {
        self.park_orders(orders).await
    }

    async fn look_up(&mut self, orders: &[Placed]) -> Result<Vec<Found>, LedgerError> {
        self.look_orders_up(orders).await
    }

    async fn parked_runs(&mut self, customers: &[CustomerId], limit: u32) -> Result<Vec<ParkedRun>, LedgerError> {
        self.load_parked_runs(customers, limit).await
    }

    async fn quarantine(&mut self, case: &Case) -> Result<CaseVerdict, LedgerError> {
        self.put_in_quarantine(case).await
    }

    async fn sweep(&mut self, limit: u32) -> Result<Vec<CustomerId>, LedgerError> {
        self.sweep_parked(limit).await
    }

    async fn gaps(&mut self, limit: u32, older_than: Duration) -> Result<Vec<Gap>, LedgerError> {
        self.find_gaps(limit, older_than).await
    }
}

/// How long the answer to a statement is waited for: a second longer than the server may take.
pub(super) fn patience(shared: &Shared) -> Duration {
    shared.statement_timeout + Duration::from_secs(1)
}

/// Connects, proves that it is the writer, and sets the session up. Nothing is written.
pub(super) async fn open(shared: &Shared, statement_timeout: Duration) -> Result<PgConnection, LedgerError> {
    let opened = postgres::open(&shared.options, statement_timeout, shared.lock_timeout).await;
    opened.map_err(|error| errors::unfit(error, Step::Connect))
}

/// A state of the gate.
pub(super) fn gate(state: &str) -> Result<Gate, LedgerError> {
    match state {
        "OPEN" => Ok(Gate::Open),
        "CLOSED" => Ok(Gate::Closed),
        "DRAINING" => Ok(Gate::Draining),
        other => Err(broken(&format!("the gate is {other:?}"))),
    }
}

pub(super) fn broken(message: &str) -> LedgerError {
    LedgerError { class: ErrorClass::Broken, message: message.into() }
}

/// A column of an answer; a type that does not fit means another schema.
pub(super) fn read<T>(column: Result<T, sqlx::Error>) -> Result<T, LedgerError> {
    column.map_err(|error| broken(&error.to_string()))
}
