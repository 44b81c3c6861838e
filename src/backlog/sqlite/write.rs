//! What changes and counts the rows.

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::values::{column, rank_text, time, time_text};
use super::work::Work;
use super::{errors, gate};
use crate::backlog::words::{broken, count, depth, name, reason};
use crate::backlog::{Append, BacklogError, Depth, Kept, Spooled};
use crate::window::Epoch;

const INSERT: &str = "INSERT INTO backlog_orders
        (customer_id, ord, order_id, digest, malformed, message_id, body, sent_at_ms, appended_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (order_id, digest) DO NOTHING";

/// An append.
pub(super) struct Spool<'a> {
    pub(super) epoch: Epoch,
    pub(super) orders: &'a [Spooled],
}

impl Work for Spool<'_> {
    type Answer = Append;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<Append, BacklogError> {
        if self.orders.is_empty() {
            return Ok(Append::Spooled(Vec::new()));
        }
        let view = gate::view(tx).await?;
        if !view.accepts() || view.epoch != self.epoch {
            return Ok(Append::Refused(view));
        }
        let now = time_text(Timestamp::now());
        let mut kept = Vec::with_capacity(self.orders.len());
        for order in self.orders {
            kept.push(if insert(tx, order, &now).await? { Kept::New } else { Kept::Known });
        }
        let new = kept.iter().filter(|kept| **kept == Kept::New).count();
        let sql = "UPDATE backlog_counts SET appended = appended + ?1 WHERE slot = 0";
        counted(tx, sql, new as u64).await?;
        Ok(Append::Spooled(kept))
    }
}

async fn insert(tx: &mut SqliteConnection, order: &Spooled, now: &str) -> Result<bool, BacklogError> {
    let entry = &*order.entry;
    let digest = entry.digest().0;
    let insert = sqlx::query(INSERT)
        .bind(name(entry))
        .bind(rank_text(order.rank))
        .bind(entry.id().as_str())
        .bind(&digest[..])
        .bind(reason(entry))
        .bind(&order.message_id)
        .bind(entry.body().as_bytes())
        .bind(order.sent_at_ms)
        .bind(now);
    Ok(insert.execute(tx).await.map_err(errors::error)?.rows_affected() > 0)
}

async fn counted(tx: &mut SqliteConnection, sql: &'static str, rows: u64) -> Result<(), BacklogError> {
    let rows = i64::try_from(rows).map_err(|_| broken("more rows than 63 bits count"))?;
    sqlx::query(sql).bind(rows).execute(tx).await.map(drop).map_err(errors::error)
}

/// Removing rows.
pub(super) struct Remove<'a> {
    pub(super) rows: &'a [i64],
}

impl Work for Remove<'_> {
    type Answer = ();
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<(), BacklogError> {
        let rows = serde_json::to_string(self.rows).expect("numbers are JSON");
        let delete = r#"DELETE FROM backlog_orders WHERE "row" IN (SELECT j.value FROM json_each(?1) j)"#;
        let gone = sqlx::query(delete).bind(rows).execute(&mut *tx).await.map_err(errors::error)?;
        let sql = "UPDATE backlog_counts SET removed = removed + ?1 WHERE slot = 0";
        counted(tx, sql, gone.rows_affected()).await
    }
}

/// How much there is.
pub(super) struct Count;

impl Work for Count {
    type Answer = Depth;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<Depth, BacklogError> {
        let sql = r#"SELECT appended, removed, (SELECT o.appended_at FROM backlog_orders o ORDER BY o."row" LIMIT 1)
                     FROM backlog_counts WHERE slot = 0"#;
        let row = sqlx::query(sql).fetch_optional(tx).await.map_err(errors::error)?;
        let row = row.ok_or_else(|| broken("the counts have no row"))?;
        let oldest: Option<&str> = column(&row, 2)?;
        let oldest = oldest.map(time).transpose()?;
        depth(count(column(&row, 0)?)?, count(column(&row, 1)?)?, oldest, Timestamp::now())
    }
}
