//! Customers' rows: the judges of every write.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::{errors, rank};
use crate::ledger::LedgerError;
use crate::order::{CustomerId, Ordering, Rank};

/// A customer's row. A customer without one counts as one that has nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Customer {
    pub(super) last_position: i64,
    pub(super) mark: Rank,
    pub(super) parked: i64,
    pub(super) head: Option<Head>,
}

/// The entry in quarantine that blocks its customer.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// `quarantined_orders.id`.
    pub(super) id: String,
    pub(super) rank: Option<Rank>,
}

impl Customer {
    /// The rank that has an end, and everything below it.
    pub(super) fn upto(&self, ordering: Ordering) -> Rank {
        match ordering {
            Ordering::Gapless => Rank::from(self.last_position.unsigned_abs()),
            Ordering::Fifo => self.mark,
            Ordering::None => 0,
        }
    }

    /// How many of its orders are parked.
    pub(super) fn parked(&self) -> u64 {
        self.parked.unsigned_abs()
    }
}

/// A list of texts as JSON, which SQLite reads as a table.
pub(super) fn json<T: Serialize>(values: &[T]) -> String {
    serde_json::to_string(values).expect("texts and numbers can always be written as JSON")
}

/// The rows of these customers; whoever has none is not in the answer.
pub(super) async fn load(
    tx: &mut SqliteConnection,
    customers: &[&CustomerId],
) -> Result<HashMap<String, Customer>, LedgerError> {
    let sql = "SELECT c.customer_id, c.last_position, c.mark, c.parked, c.blocked_by, q.ord
         FROM json_each(?1) j CROSS JOIN customers c ON c.customer_id = j.value
         LEFT JOIN quarantined_orders q ON q.id = c.blocked_by";
    let rows = sqlx::query(sql).bind(json(customers)).fetch_all(tx).await.map_err(errors::error)?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let mark: String = row.try_get(2).map_err(errors::error)?;
        let blocked_by: Option<String> = row.try_get(4).map_err(errors::error)?;
        let head_rank: Option<String> = row.try_get(5).map_err(errors::error)?;
        let head_rank = head_rank.as_deref().map(rank::parse).transpose()?;
        let customer = Customer {
            last_position: row.try_get(1).map_err(errors::error)?,
            mark: rank::parse(&mark)?,
            parked: row.try_get(3).map_err(errors::error)?,
            head: blocked_by.map(|id| Head { id, rank: head_rank }),
        };
        found.insert(row.try_get(0).map_err(errors::error)?, customer);
    }
    Ok(found)
}

#[derive(Serialize)]
struct Stored<'a> {
    customer: &'a str,
    last: i64,
    mark: String,
    parked: i64,
    head: Option<&'a str>,
}

/// Writes rows back. Whoever calls has read them in the same transaction.
pub(super) async fn store(tx: &mut SqliteConnection, customers: &BTreeMap<&str, Customer>) -> Result<(), LedgerError> {
    let stored = customers.iter().map(|(customer, row)| Stored {
        customer,
        last: row.last_position,
        mark: rank::text(row.mark),
        parked: row.parked,
        head: row.head.as_ref().map(|head| head.id.as_str()),
    });
    let stored: Vec<_> = stored.collect();
    let sql = "INSERT INTO customers (customer_id, last_position, mark, parked, blocked_by)
         SELECT value ->> 'customer', value ->> 'last', value ->> 'mark', value ->> 'parked', value ->> 'head'
         FROM json_each(?1) WHERE true
         ON CONFLICT (customer_id) DO UPDATE SET last_position = excluded.last_position, mark = excluded.mark,
           parked = excluded.parked, blocked_by = excluded.blocked_by";
    sqlx::query(sql).bind(json(&stored)).execute(tx).await.map_err(errors::error)?;
    Ok(())
}
