//! The sweep: what a crash left behind.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::customer::{self, json};
use super::session::Work;
use super::{Terms, errors, gate};
use crate::ledger::LedgerError;
use crate::order::{CustomerId, Ordering};

/// Removes parked copies of orders that have an end, and what lost its place, of the next `limit` customers behind `after`; says the last of
/// them, or nothing at the end of the list. So one sweep after another sees everybody.
pub(super) struct Remove {
    pub(super) after: String,
    pub(super) limit: u32,
}

/// Copies of what has an end or is in quarantine. The same name with another content is no copy.
const COPIES: &str = "DELETE FROM parked_orders WHERE rowid IN (
        SELECT p.rowid FROM json_each(?1) j CROSS JOIN customers c ON c.customer_id = j.value
        CROSS JOIN parked_orders p ON p.customer_id = c.customer_id
        WHERE (?2 <> 'gapless' OR p.ord <= printf('%039d', c.last_position)) AND (
              EXISTS (SELECT 1 FROM orders o WHERE o.order_id = p.order_id AND o.digest = p.digest)
           OR EXISTS (SELECT 1 FROM tombstones t WHERE t.order_id = p.order_id AND t.customer_id = p.customer_id
                        AND (?2 <> 'gapless' OR t.position = CAST(p.ord AS integer)))
           OR EXISTS (SELECT 1 FROM quarantined_orders q WHERE q.order_id = p.order_id AND q.digest = p.digest)
           OR EXISTS (SELECT 1 FROM quarantined_orders q WHERE q.id = p.order_id)))
    RETURNING customer_id";

/// What lost its place to another order (`gapless`) goes to quarantine: it would wait for ever.
const LOST: [&str; 2] = [
    "INSERT INTO quarantined_orders (id, order_id, customer_id, ord, digest, kind, reason, body, blocks)
     SELECT p.order_id || '~' || substr(lower(hex(p.digest)), 1, 16), p.order_id, p.customer_id, p.ord, p.digest,
            'conflict', 'place ' || CAST(p.ord AS integer) || ' belongs to another order', p.body, 0
     FROM json_each(?1) j CROSS JOIN customers c ON c.customer_id = j.value
     CROSS JOIN parked_orders p ON p.customer_id = c.customer_id
     WHERE ?2 = 'gapless' AND p.ord <= printf('%039d', c.last_position)
     ON CONFLICT (id) DO NOTHING",
    "DELETE FROM parked_orders WHERE rowid IN (
        SELECT p.rowid FROM json_each(?1) j CROSS JOIN customers c ON c.customer_id = j.value
        CROSS JOIN parked_orders p ON p.customer_id = c.customer_id
        WHERE ?2 = 'gapless' AND p.ord <= printf('%039d', c.last_position))
    RETURNING customer_id",
];

impl Work for Remove {
    type Answer = String;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<String, LedgerError> {
        if !gate::open_or_draining(tx).await? {
            return Ok(self.after.clone());
        }
        let sql = "SELECT customer_id FROM customers WHERE parked > 0 AND customer_id > ?1 ORDER BY 1 LIMIT ?2";
        let looked = sqlx::query_scalar(sql).bind(&self.after).bind(self.limit);
        let looked: Vec<String> = looked.fetch_all(&mut *tx).await.map_err(errors::error)?;
        let (looked_at, ordering) = (json(&looked), terms.ordering.to_string());
        let mut removed: BTreeMap<String, i64> = BTreeMap::new();
        for sql in [COPIES, LOST[0], LOST[1]] {
            let gone = sqlx::query(sql).bind(&looked_at).bind(&ordering);
            for row in gone.fetch_all(&mut *tx).await.map_err(errors::error)? {
                *removed.entry(row.try_get(0).map_err(errors::error)?).or_default() += 1;
            }
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
