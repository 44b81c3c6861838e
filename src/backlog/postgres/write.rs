//! What changes and counts the rows.

use sqlx::Row as _;

use super::{PgSession, read, time};
use crate::backlog::words::{broken, count, depth, name, number, reason};
use crate::backlog::{Append, BacklogError, Depth, Kept, Spooled};
use crate::window::Epoch;

/// The rows are gone in the order of their numbers, so that two sessions wait for each other one way.
const REMOVE: &str = "WITH gone AS (DELETE FROM backlog_orders o WHERE o.row = ANY ($1) RETURNING o.row)
    UPDATE backlog_counts c SET removed = c.removed + (SELECT count(*) FROM gone)
    WHERE c.slot = $2 AND EXISTS (SELECT FROM gone)";

const DEPTH: &str = "SELECT (SELECT sum(c.appended)::bigint FROM backlog_counts c),
    (SELECT sum(c.removed)::bigint FROM backlog_counts c),
    (SELECT (extract(epoch FROM o.appended_at) * 1000000)::bigint FROM backlog_orders o ORDER BY o.row LIMIT 1),
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

impl PgSession {
    pub(super) async fn append_orders(&mut self, epoch: Epoch, orders: &[Spooled]) -> Result<Append, BacklogError> {
        if orders.is_empty() {
            return Ok(Append::Spooled(Vec::new()));
        }
        let entries = || orders.iter().map(|order| &*order.entry);
        let query = sqlx::query(include_str!("append.sql"))
            .bind(number(epoch)?)
            .bind(self.slot)
            .bind(entries().map(name).collect::<Vec<_>>())
            .bind(orders.iter().map(|order| order.rank.to_string()).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.id().as_str()).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.digest().0).collect::<Vec<_>>())
            .bind(entries().map(reason).collect::<Vec<_>>())
            .bind(orders.iter().map(|order| order.message_id.as_str()).collect::<Vec<_>>())
            .bind(entries().map(|entry| entry.body().as_bytes()).collect::<Vec<_>>())
            .bind(orders.iter().map(|order| order.sent_at_ms).collect::<Vec<_>>());
        let rows = self.rows(query).await?;
        if rows.is_empty() {
            // A new statement has a new snapshot.
            return Ok(Append::Refused(self.view().await?));
        }
        if rows.len() != orders.len() {
            return Err(broken(format!("the backlog gave {} answers to {} orders", rows.len(), orders.len())));
        }
        let kept = |row| read(sqlx::Row::try_get(row, 0)).map(|new| if new { Kept::New } else { Kept::Known });
        Ok(Append::Spooled(rows.iter().map(kept).collect::<Result<_, _>>()?))
    }

    pub(super) async fn remove_rows(&mut self, rows: &[i64]) -> Result<(), BacklogError> {
        if rows.is_empty() {
            return Ok(());
        }
        let query = sqlx::query(REMOVE).bind(rows).bind(self.slot);
        self.changes(query).await.map(drop)
    }

    pub(super) async fn count(&mut self) -> Result<Depth, BacklogError> {
        let rows = self.rows(sqlx::query(DEPTH)).await?;
        let row = rows.first().ok_or_else(|| broken("the counts have no row"))?;
        let sum = |column: usize| -> Result<u64, BacklogError> {
            let sum: Option<i64> = read(row.try_get(column))?;
            count(sum.ok_or_else(|| broken("the counts have no row"))?)
        };
        let oldest: Option<i64> = read(row.try_get(2))?;
        depth(sum(0)?, sum(1)?, oldest.map(time).transpose()?, time(read(row.try_get(3))?)?)
    }
}
