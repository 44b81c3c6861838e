//! The sweep: what a crash left behind.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::customer::{self, json};
use super::session::Work;
use super::{Terms, errors, gate};
use crate::ledger::LedgerError;
use crate::order::{CustomerId, Ordering};

/// Removes parked copies of orders that have an end, of the next `limit` customers behind `after`; says the last of
/// them, or nothing at the end of the list. So one sweep after another sees everybody.
pub(super) struct Remove {
    pub(super) after: String,
    pub(super) limit: u32,
}

/// The same name with another content is no copy: it has to be judged, and is kept for that.
const COPIES: &str = "DELETE FROM parked_orders WHERE rowid IN (
        SELECT p.rowid FROM json_each(?1) j CROSS JOIN parked_orders p ON p.customer_id = j.value
        WHERE EXISTS (SELECT 1 FROM orders o WHERE o.order_id = p.order_id AND o.digest = p.digest)
           OR EXISTS (SELECT 1 FROM tombstones t WHERE t.order_id = p.order_id))
    RETURNING customer_id";

impl Work for Remove {
    type Answer = String;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection, _: &Terms) -> Result<String, LedgerError> {
        if !gate::open_or_draining(tx).await? {
            return Ok(self.after.clone());
        }
        let sql = "SELECT customer_id FROM customers WHERE parked > 0 AND customer_id > ?1 ORDER BY 1 LIMIT ?2";
        let looked = sqlx::query_scalar(sql).bind(&self.after).bind(self.limit);
        let looked: Vec<String> = looked.fetch_all(&mut *tx).await.map_err(errors::error)?;
        let gone = sqlx::query(COPIES).bind(json(&looked)).fetch_all(&mut *tx).await.map_err(errors::error)?;
        let mut removed: BTreeMap<String, i64> = BTreeMap::new();
        for row in gone {
            *removed.entry(row.try_get(0).map_err(errors::error)?).or_default() += 1;
        }
        let names: Vec<_> = removed.keys().map(|name| CustomerId::new(name.as_str())).collect();
        let rows = customer::load(tx, &names.iter().collect::<Vec<_>>()).await?;
        let changed = removed.iter().filter_map(|(name, removed)| {
            let mut row = rows.get(name).cloned()?;
            row.parked -= removed;
            Some((name.as_str(), row))
        });
        customer::store(tx, &changed.collect()).await?;
        let at_the_end = looked.len() < usize::try_from(self.limit).unwrap_or(usize::MAX);
        Ok(looked.into_iter().next_back().filter(|_| !at_the_end).unwrap_or_default())
    }
}

/// The customers whose parked orders stand next.
pub(super) struct Next {
    pub(super) limit: u32,
}

impl Work for Next {
    type Answer = Vec<CustomerId>;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<Vec<CustomerId>, LedgerError> {
        if !gate::open_or_draining(tx).await? {
            return Ok(Vec::new());
        }
        let sql = match terms.ordering {
            Ordering::Gapless => {
                "SELECT customer_id FROM customers c WHERE parked > 0 AND blocked_by IS NULL AND EXISTS (
                    SELECT 1 FROM parked_orders p
                    WHERE p.customer_id = c.customer_id AND p.ord = printf('%039d', c.last_position + 1))
                 ORDER BY customer_id LIMIT ?1"
            }
            Ordering::Fifo | Ordering::None => {
                "SELECT customer_id FROM customers WHERE parked > 0 AND blocked_by IS NULL
                 ORDER BY customer_id LIMIT ?1"
            }
        };
        let names: Vec<String> = sqlx::query_scalar(sql).bind(self.limit).fetch_all(tx).await.map_err(errors::error)?;
        Ok(names.into_iter().map(CustomerId::new).collect())
    }
}
