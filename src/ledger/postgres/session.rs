//! One connection that is proven to be the writer, and its calls.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions as _, Row as _};

use super::errors::{self, Step};
use super::{Shared, schema_is_current};
use crate::ledger::{
    Batch, Case, CaseVerdict, ErrorClass, Found, Gap, Gate, LedgerError, ParkVerdict, ParkedRun, Placed, Session,
    Verdict,
};
use crate::order::{CustomerId, Ordering};

/// A session of [`super::Postgres`].
#[derive(Debug)]
pub struct PgSession {
    /// None once an error has spent it.
    conn: Option<PgConnection>,
    pub(super) shared: Arc<Shared>,
    /// Where the last sweep ended, so that the next one goes on there.
    pub(super) swept: String,
}

impl PgSession {
    pub(super) async fn connect(shared: Arc<Shared>) -> Result<Self, LedgerError> {
        let mut conn = open(&shared, shared.statement_timeout).await?;
        schema_is_current(&mut conn).await?;
        shared.statements.prepare(&mut conn, shared.effects.as_ref()).await?;
        Ok(Self { conn: Some(conn), shared, swept: String::new() })
    }

    pub(super) fn ordering(&self) -> Ordering {
        self.shared.ordering
    }

    /// Sends one statement and awaits its rows, a second longer than the server may take.
    pub(super) async fn rows(
        &mut self,
        step: Step,
        query: Query<'_, sqlx::Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, LedgerError> {
        let Some(conn) = &mut self.conn else {
            return Err(LedgerError { class: ErrorClass::Away, message: "this session was spent by an error".into() });
        };
        let limit = self.shared.statement_timeout + Duration::from_secs(1);
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
            "SELECT CASE WHEN g.epoch < a.epoch THEN 'CLOSED' ELSE g.state END,
                    pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean
             FROM gate g, gate_announced a WHERE g.id = 1 AND a.id = 1",
        );
        let rows = self.rows(Step::Read, query).await?;
        let Some(row) = rows.first() else { return Err(broken("the gate has no row")) };
        if read(row.try_get(1))? {
            self.conn = None;
            return Err(demoted());
        }
        match read::<&str>(row.try_get(0))? {
            "OPEN" => Ok(Gate::Open),
            "CLOSED" => Ok(Gate::Closed),
            "DRAINING" => Ok(Gate::Draining),
            other => Err(broken(&format!("the gate is {other:?}"))),
        }
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

/// Connects, proves that it is the writer, and sets the session up. Nothing is written.
pub(super) async fn open(shared: &Shared, statement_timeout: Duration) -> Result<PgConnection, LedgerError> {
    let failed = |error: sqlx::Error| errors::classify(&error, Step::Connect);
    let mut conn = shared.options.connect().await.map_err(failed)?;
    let row = sqlx::query(
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
                current_setting('server_encoding')",
    )
    .fetch_one(&mut conn)
    .await
    .map_err(failed)?;
    if read(row.try_get(0))? {
        return Err(demoted());
    }
    let encoding: &str = read(row.try_get(1))?;
    if encoding != "UTF8" {
        return Err(broken(&format!("the database's encoding is {encoding}, not UTF8: orders may hold any character")));
    }
    let milliseconds = |duration: Duration| duration.as_millis().to_string();
    let settings = [
        ("statement_timeout", milliseconds(statement_timeout)),
        ("lock_timeout", milliseconds(shared.lock_timeout)),
        ("idle_in_transaction_session_timeout", milliseconds(statement_timeout)),
        // A committer without work is no reason to lose its connection.
        ("idle_session_timeout", "0".into()),
        // When this process's machine dies, its locks go within some ten seconds.
        ("tcp_keepalives_idle", "5".into()),
        ("tcp_keepalives_interval", "1".into()),
        ("tcp_keepalives_count", "5".into()),
        ("client_connection_check_interval", "1000".into()),
        // A plan that was made while a table was empty is kept, and must not read the whole table later.
        ("enable_seqscan", "off".into()),
        ("jit", "off".into()),
    ];
    let (names, values): (Vec<&str>, Vec<String>) = settings.into_iter().unzip();
    // Through pg_settings, because older versions do not have all of them.
    sqlx::query(
        "SELECT set_config(s.name, w.value, false)
         FROM unnest($1::text[], $2::text[]) AS w (name, value) JOIN pg_settings s USING (name)",
    )
    .bind(names)
    .bind(values)
    .fetch_all(&mut conn)
    .await
    .map_err(failed)?;
    Ok(conn)
}

fn demoted() -> LedgerError {
    LedgerError { class: ErrorClass::Away, message: "the server takes no writes: it is not the writer".into() }
}

fn broken(message: &str) -> LedgerError {
    LedgerError { class: ErrorClass::Broken, message: message.into() }
}

/// A column of an answer; a type that does not fit means another schema.
pub(super) fn read<T>(column: Result<T, sqlx::Error>) -> Result<T, LedgerError> {
    column.map_err(|error| broken(&error.to_string()))
}
