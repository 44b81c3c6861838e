//! Quarantine: one row an entry, however often it comes, and the block of its customer in the same transaction.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteConnection;

use super::customer::{self, Customer, Head};
use super::work::Work;
use super::{Terms, errors, gate, rank};
use crate::ledger::{Case, CaseVerdict, LedgerError};
use crate::order::{Entry, Ordering};

pub(super) struct Quarantine<'a> {
    pub(super) case: &'a Case,
}

/// The name of the row: one for each content that came under an `order_id`.
pub(super) fn quarantine_id(entry: &Entry) -> String {
    match entry {
        Entry::Order(order) => format!("{}~{:.16}", order.order_id, order.digest.to_string()),
        Entry::Malformed(malformed) => malformed.id.to_string(),
    }
}

impl Work for Quarantine<'_> {
    type Answer = CaseVerdict;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<CaseVerdict, LedgerError> {
        // What blocks takes a place in the line, as a commit does: of a live order, what stands before it may be in the
        // backlog.
        let blocks = self.case.blocks && self.case.placed.entry.customer().is_some();
        let open = if blocks { gate::for_new(tx, terms).await? } else { gate::open_or_draining(tx).await? };
        if !open {
            return Ok(CaseVerdict::GateClosed);
        }
        let id = quarantine_id(&self.case.placed.entry);
        // What lies aside, as a conflict that is none any more, blocks nobody yet.
        let sql = "SELECT EXISTS (SELECT 1 FROM quarantined_orders WHERE id = ?1 AND blocks)";
        let known: bool = sqlx::query_scalar(sql).bind(&id).fetch_one(&mut *tx).await.map_err(errors::error)?;
        if known && self.case.blocks {
            return Ok(CaseVerdict::Quarantined);
        }
        let Some(customer) = self.case.placed.entry.customer() else {
            // Nobody's message blocks nobody.
            self.insert(tx, &id).await?;
            return Ok(CaseVerdict::Quarantined);
        };
        let mut row = customer::load(tx, &[customer]).await?.remove(customer.as_str());
        if self.case.blocks {
            let row = row.get_or_insert_default();
            if row.head.is_some() {
                return Ok(CaseVerdict::Blocked);
            }
            if !self.stands_next(tx, terms.ordering, row).await? {
                return Ok(CaseVerdict::NotNext);
            }
            row.head = Some(Head { id: id.clone(), rank: Some(self.case.placed.rank) });
        }
        let removed = self.remove_parked_copy(tx).await?;
        if let Some(row) = row.filter(|_| self.case.blocks || removed > 0) {
            let row = Customer { parked: row.parked - removed, ..row };
            customer::store(tx, &BTreeMap::from([(customer.as_str(), row)])).await?;
        }
        self.insert(tx, &id).await?;
        Ok(CaseVerdict::Quarantined)
    }
}

impl Quarantine<'_> {
    async fn stands_next(
        &self,
        tx: &mut SqliteConnection,
        ordering: Ordering,
        row: &Customer,
    ) -> Result<bool, LedgerError> {
        let rank = self.case.placed.rank;
        match ordering {
            Ordering::Gapless if rank != row.upto(ordering) + 1 => Ok(false),
            Ordering::Gapless => {
                let sql = "SELECT NOT EXISTS (SELECT 1 FROM parked_orders
                     WHERE customer_id = ?1 AND ord = ?2 AND (order_id <> ?3 OR digest <> ?4))";
                let entry = &self.case.placed.entry;
                let customer = entry.customer().map(crate::order::CustomerId::as_str);
                let next = sqlx::query_scalar(sql).bind(customer).bind(rank::text(rank));
                let next = next.bind(entry.id().as_str()).bind(entry.digest().0.to_vec());
                next.fetch_one(tx).await.map_err(errors::error)
            }
            Ordering::Fifo if rank <= row.mark => Ok(false),
            Ordering::Fifo => {
                let sql = "SELECT NOT EXISTS (SELECT 1 FROM parked_orders WHERE customer_id = ?1 AND ord < ?2)";
                let customer = self.case.placed.entry.customer().map(crate::order::CustomerId::as_str);
                let next = sqlx::query_scalar(sql).bind(customer).bind(rank::text(rank));
                next.fetch_one(tx).await.map_err(errors::error)
            }
            Ordering::None => Ok(true),
        }
    }

    /// Only of the very same entry: another content under the same name has to be judged for itself.
    async fn remove_parked_copy(&self, tx: &mut SqliteConnection) -> Result<i64, LedgerError> {
        let entry = &self.case.placed.entry;
        let sql = "DELETE FROM parked_orders WHERE order_id = ?1 AND customer_id = ?2 AND digest = ?3";
        let done = sqlx::query(sql)
            .bind(entry.id().as_str())
            .bind(entry.customer().map(crate::order::CustomerId::as_str))
            .bind(entry.digest().0.to_vec())
            .execute(tx)
            .await
            .map_err(errors::error)?;
        Ok(i64::try_from(done.rows_affected()).unwrap_or(0))
    }

    async fn insert(&self, tx: &mut SqliteConnection, id: &str) -> Result<(), LedgerError> {
        let Case { placed, kind, reason, blocks } = self.case;
        let order_id = match &*placed.entry {
            Entry::Order(order) => Some(order.order_id.as_str()),
            Entry::Malformed(_) => None,
        };
        let sql = "INSERT INTO quarantined_orders
                 (id, order_id, customer_id, ord, digest, kind, reason, body, blocks)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             -- What lay aside may have come again at another place: it blocks at this one.
             ON CONFLICT (id) DO UPDATE
             SET blocks = 1, ord = excluded.ord, kind = excluded.kind, reason = excluded.reason,
                 created_at = excluded.created_at
             WHERE excluded.blocks";
        sqlx::query(sql)
            .bind(id)
            .bind(order_id)
            .bind(placed.entry.customer().map(crate::order::CustomerId::as_str))
            .bind((placed.rank > 0).then(|| rank::text(placed.rank)))
            .bind(placed.entry.digest().0.to_vec())
            .bind(kind.label())
            .bind(reason.as_str())
            .bind(placed.entry.body().as_bytes())
            .bind(*blocks)
            .execute(tx)
            .await
            .map_err(errors::error)?;
        Ok(())
    }
}
