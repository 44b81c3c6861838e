//! Decisions: one transaction each, on a connection of its own. A future that is dropped drops the connection with it,
//! so that no transaction stays open.

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;

use super::errors::{self, Step};
use super::session::{self, read};
use super::{Shared, bounded, schema_is_current};
use crate::ledger::decisions::desk::time;
use crate::ledger::decisions::steps::decide;
use crate::ledger::decisions::{Decision, Decisions, Listed, Question, Shown};
use crate::ledger::{ErrorClass, LedgerError};
use crate::order::Rank;
use desk::PgDesk;

mod desk;

/// What is selected of an entry, whether in a list or alone.
const LISTED: &str = "SELECT q.id, q.order_id, q.customer_id, q.ord::text, q.kind, q.reason,
       coalesce(c.blocked_by = q.id, false), coalesce(c.parked, 0), q.created_at::text, q.body
FROM quarantined_orders q LEFT JOIN customers c USING (customer_id)";

/// Decisions of [`super::Postgres`].
#[derive(Debug)]
pub struct PgDecisions {
    shared: Arc<Shared>,
    /// None after an error: the next call opens a new one.
    conn: Option<PgConnection>,
}

impl PgDecisions {
    pub(super) async fn open(shared: Arc<Shared>) -> Result<Self, LedgerError> {
        let conn = Some(connect(&shared).await?);
        Ok(Self { shared, conn })
    }

    /// Takes the connection: only a call that went well gives it back.
    async fn take(&mut self) -> Result<PgConnection, LedgerError> {
        match self.conn.take() {
            Some(conn) => Ok(conn),
            None => connect(&self.shared).await,
        }
    }

    async fn rows(&mut self, query: Query<'_, sqlx::Postgres, PgArguments>) -> Result<Vec<PgRow>, LedgerError> {
        let mut conn = self.take().await?;
        let rows = rows(&mut conn, session::patience(&self.shared), query).await?;
        self.conn = Some(conn);
        Ok(rows)
    }
}

impl Decisions for PgDecisions {
    async fn list(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<Listed>, LedgerError> {
        // An entry that was decided meanwhile has its time in the decision.
        let sql = format!(
            "{LISTED} WHERE $1::text IS NULL OR (q.created_at, q.id) > (
                 SELECT x.at, $1::text FROM (
                     SELECT created_at AS at FROM quarantined_orders WHERE id = $1
                     UNION ALL SELECT max(quarantined_at) FROM decisions WHERE case_id = $1) x
                 WHERE x.at IS NOT NULL ORDER BY x.at LIMIT 1)
             ORDER BY q.created_at, q.id LIMIT $2"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(after).bind(i64::from(limit));
        self.rows(query).await?.iter().map(listed).collect()
    }

    async fn show(&mut self, id: &str) -> Result<Option<Shown>, LedgerError> {
        let sql = format!("{LISTED} WHERE q.id = $1");
        let rows = self.rows(sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let body = String::from_utf8_lossy(read(row.try_get(9))?).into_owned();
        Ok(Some(Shown { listed: listed(row)?, body }))
    }

    async fn decide(&mut self, question: Question<'_>, actor: &str) -> Result<Decision, LedgerError> {
        let mut conn = self.take().await?;
        let limit = session::patience(&self.shared);
        let begin = bounded(limit, Step::Read, run(&mut conn, Step::Read, "BEGIN"));
        begin.await?;
        let mut desk = PgDesk { conn: &mut conn, limit };
        let decision = decide(&mut desk, self.shared.ordering, question, actor).await?;
        // Until here nothing was written, whatever went wrong.
        let end = if decision == Decision::Done { "COMMIT" } else { "ROLLBACK" };
        bounded(limit, Step::Write, run(&mut conn, Step::Write, end)).await?;
        self.conn = Some(conn);
        Ok(decision)
    }
}

async fn connect(shared: &Shared) -> Result<PgConnection, LedgerError> {
    bounded(shared.connect_timeout, Step::Connect, async {
        let mut conn = session::open(shared, shared.statement_timeout).await?;
        schema_is_current(&mut conn).await?;
        Ok(conn)
    })
    .await
}

async fn run(conn: &mut PgConnection, step: Step, sql: &'static str) -> Result<(), LedgerError> {
    let done = sqlx::raw_sql(sql).execute(conn).await;
    done.map(drop).map_err(|error| errors::classify(&error, step))
}

/// Sends one statement and awaits its rows. Nothing counts as written before the end of the transaction.
async fn rows(
    conn: &mut PgConnection,
    limit: std::time::Duration,
    query: Query<'_, sqlx::Postgres, PgArguments>,
) -> Result<Vec<PgRow>, LedgerError> {
    let rows = async { query.fetch_all(conn).await.map_err(|error| errors::classify(&error, Step::Read)) };
    bounded(limit, Step::Read, rows).await
}

fn listed(row: &PgRow) -> Result<Listed, LedgerError> {
    let ord: Option<&str> = read(row.try_get(3))?;
    Ok(Listed {
        id: read(row.try_get(0))?,
        order_id: read(row.try_get(1))?,
        customer_id: read(row.try_get(2))?,
        // 0: it had no place.
        rank: ord.filter(|ord| *ord != "0").map(str::to_owned),
        kind: read(row.try_get(4))?,
        reason: read(row.try_get(5))?,
        blocks: read(row.try_get(6))?,
        parked_behind: read::<i64>(row.try_get(7))?.unsigned_abs(),
        created_at: time(read(row.try_get(8))?),
    })
}

fn rank(text: Option<&str>) -> Result<Rank, LedgerError> {
    let Some(text) = text else { return Ok(0) };
    text.parse().map_err(|_| LedgerError {
        class: ErrorClass::Broken,
        message: format!("the ledger holds a rank that this program cannot read: {text:?}"),
    })
}
