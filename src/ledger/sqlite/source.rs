//! Where the ledger's orders come from: marks belong to one queue.

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::work::Work;
use super::{Terms, errors, rank};
use crate::ledger::{Binding, LedgerError, Source};
use crate::order::Ordering;

/// Who accepted the source that was there first.
const FIRST: &str = "first start";

pub(super) struct Bind<'a> {
    pub(super) source: &'a Source,
}

impl Work for Bind<'_> {
    type Answer = Binding;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection, _: &Terms) -> Result<Binding, LedgerError> {
        let Some(bound) = read(tx).await? else {
            write(tx, self.source, FIRST).await?;
            return Ok(Binding::Bound);
        };
        let same_queue =
            (&bound.queue_arn, bound.queue_created_at) == (&self.source.queue_arn, self.source.queue_created_at);
        let fits = bound.ordering == self.source.ordering && (same_queue || bound.ordering != Ordering::Fifo);
        Ok(if fits { Binding::Bound } else { Binding::Other(bound) })
    }
}

pub(super) struct Rebind<'a> {
    pub(super) source: &'a Source,
    pub(super) actor: &'a str,
}

impl Work for Rebind<'_> {
    type Answer = Binding;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection, _: &Terms) -> Result<Binding, LedgerError> {
        // Said once more, it must not set back the marks that were reached since.
        if read(tx).await?.as_ref() == Some(self.source) {
            return Ok(Binding::Bound);
        }
        let sql = "SELECT (SELECT count(*) FROM parked_orders) + (SELECT count(*) FROM customers WHERE blocked_by IS NOT NULL)";
        let pending: i64 = sqlx::query_scalar(sql).fetch_one(&mut *tx).await.map_err(errors::error)?;
        if pending > 0 {
            return Ok(Binding::Pending(pending.unsigned_abs()));
        }
        let marks = sqlx::query("UPDATE customers SET mark = ?1").bind(rank::text(0));
        marks.execute(&mut *tx).await.map_err(errors::error)?;
        write(tx, self.source, self.actor).await?;
        Ok(Binding::Bound)
    }
}

async fn read(tx: &mut SqliteConnection) -> Result<Option<Source>, LedgerError> {
    let sql = "SELECT ordering, queue_arn, queue_created_at FROM ledger_source WHERE id = 1";
    let Some(row) = sqlx::query(sql).fetch_optional(tx).await.map_err(errors::error)? else { return Ok(None) };
    let ordering: &str = row.try_get(0).map_err(errors::error)?;
    let ordering = match ordering {
        "gapless" => Ordering::Gapless,
        "fifo" => Ordering::Fifo,
        "none" => Ordering::None,
        _ => return Err(errors::unreadable(format_args!("the ordering {ordering:?}"))),
    };
    let queue_arn = row.try_get(1).map_err(errors::error)?;
    let queue_created_at = row.try_get(2).map_err(errors::error)?;
    Ok(Some(Source { ordering, queue_arn, queue_created_at }))
}

async fn write(tx: &mut SqliteConnection, source: &Source, actor: &str) -> Result<(), LedgerError> {
    let sql = "INSERT INTO ledger_source (id, ordering, queue_arn, queue_created_at, accepted_by)
         VALUES (1, ?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET ordering = excluded.ordering, queue_arn = excluded.queue_arn,
           queue_created_at = excluded.queue_created_at, accepted_by = excluded.accepted_by,
           accepted_at = excluded.accepted_at";
    sqlx::query(sql)
        .bind(source.ordering.to_string())
        .bind(&source.queue_arn)
        .bind(source.queue_created_at)
        .bind(actor)
        .execute(tx)
        .await
        .map_err(errors::error)?;
    Ok(())
}
