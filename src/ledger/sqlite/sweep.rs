//! The sweep: what a crash left behind.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::customer::{self, json};
use super::work::Work;
use super::{Terms, errors, gate};
use crate::ledger::LedgerError;
use crate::order::{CustomerId, Ordering};

/// Looks at the next `limit` customers behind `after` that have parked orders: removes copies of what has an end and
/// what lost its place, and finds who stands next. So one sweep after another sees everybody. And at as many
/// entries of quarantine.
pub(super) struct Sweep {
    pub(super) after: String,
    pub(super) limit: u32,
}

/// What a sweep found.
pub(super) struct Swept {
    /// Where the next one goes on: empty at the end of the list.
    pub(super) after: String,
    pub(super) next: Vec<CustomerId>,
}

/// Copies of what has an end or is in quarantine. The same name with another content is no copy.
const COPIES: &str = "DELETE FROM parked_orders WHERE rowid IN (
        SELECT p.rowid FROM json_each(?1) j CROSS JOIN customers c ON c.customer_id = j.value
        CROSS JOIN parked_orders p ON p.customer_id = c.customer_id
        WHERE (?2 <> 'gapless' OR p.ord <= printf('%039d', c.last_position)) AND (
              EXISTS (SELECT 1 FROM orders o WHERE o.order_id = p.order_id AND o.digest = p.digest)
           OR EXISTS (SELECT 1 FROM tombstones t WHERE t.order_id = p.order_id AND t.customer_id = p.customer_id
                        AND (t.digest IS NULL OR t.digest = p.digest)
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

/// An entry of quarantine that is itself committed is none: another order had its name or its place when it was looked
/// up, and lost it; or the producer sent it again. The newest are looked at, because a verdict is not old for long.
const ACQUITTED: &str = "DELETE FROM quarantined_orders WHERE id IN (
        SELECT q.id FROM (SELECT id, order_id, digest FROM quarantined_orders
                          WHERE NOT blocks AND order_id IS NOT NULL ORDER BY created_at DESC, id DESC LIMIT ?1) q
        WHERE EXISTS (SELECT 1 FROM orders o WHERE o.order_id = q.order_id AND o.digest = q.digest))";

impl Work for Sweep {
    type Answer = Swept;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<Swept, LedgerError> {
        if !gate::open_or_draining(tx).await? {
            return Ok(Swept { after: self.after.clone(), next: Vec::new() });
        }
        let sql = "SELECT customer_id FROM customers WHERE parked > 0 AND customer_id > ?1 ORDER BY 1 LIMIT ?2";
        let looked = sqlx::query_scalar(sql).bind(&self.after).bind(self.limit);
        let looked: Vec<String> = looked.fetch_all(&mut *tx).await.map_err(errors::error)?;
        remove(tx, &looked, terms.ordering).await?;
        sqlx::query(ACQUITTED).bind(self.limit).execute(&mut *tx).await.map_err(errors::error)?;
        let next = next(tx, &looked, terms.ordering).await?;
        let at_the_end = looked.len() < usize::try_from(self.limit).unwrap_or(usize::MAX);
        let after = looked.into_iter().next_back().filter(|_| !at_the_end).unwrap_or_default();
        Ok(Swept { after, next })
    }
}

async fn remove(tx: &mut SqliteConnection, customers: &[String], ordering: Ordering) -> Result<(), LedgerError> {
    let (listed, ordering) = (json(customers), ordering.to_string());
    let mut removed: BTreeMap<String, i64> = BTreeMap::new();
    for sql in [COPIES, LOST[0], LOST[1]] {
        let gone = sqlx::query(sql).bind(&listed).bind(&ordering);
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
    customer::store(tx, &changed.collect()).await
}

/// The customers whose parked orders stand next.
async fn next(
    tx: &mut SqliteConnection,
    customers: &[String],
    ordering: Ordering,
) -> Result<Vec<CustomerId>, LedgerError> {
    let sql = "SELECT c.customer_id FROM json_each(?1) j CROSS JOIN customers c ON c.customer_id = j.value
         WHERE c.parked > 0 AND c.blocked_by IS NULL AND (?2 <> 'gapless' OR EXISTS (
             SELECT 1 FROM parked_orders p
             WHERE p.customer_id = c.customer_id AND p.ord = printf('%039d', c.last_position + 1)))
         ORDER BY j.key";
    let names = sqlx::query_scalar(sql).bind(json(customers)).bind(ordering.to_string());
    let names: Vec<String> = names.fetch_all(tx).await.map_err(errors::error)?;
    Ok(names.into_iter().map(CustomerId::new).collect())
}
