//! What is parked and may be committed next.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::sync::Arc;

use super::customer::{self, Customer};
use super::work::Work;
use super::{Terms, errors, rank};
use crate::ledger::{LedgerError, ParkedRun, Placed};
use crate::order::{CustomerId, Digest, Entry, EntryId, Malformed, Order, Ordering};

pub(super) struct Runs<'a> {
    pub(super) customers: &'a [CustomerId],
    pub(super) limit: u32,
}

impl Work for Runs<'_> {
    type Answer = Vec<ParkedRun>;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<Vec<ParkedRun>, LedgerError> {
        let names: Vec<_> = self.customers.iter().collect();
        let rows = customer::load(tx, &names).await?;
        let mut runs = Vec::with_capacity(self.customers.len());
        for customer in self.customers {
            let row = rows.get(customer.as_str()).cloned().unwrap_or_default();
            let orders = if row.head.is_none() && row.parked > 0 {
                next(tx, terms.ordering, customer, &row, self.limit).await?
            } else {
                Vec::new()
            };
            runs.push(ParkedRun {
                customer: customer.clone(),
                upto: row.upto(terms.ordering),
                parked: row.parked(),
                orders,
            });
        }
        Ok(runs)
    }
}

async fn next(
    tx: &mut SqliteConnection,
    ordering: Ordering,
    customer: &CustomerId,
    row: &Customer,
    limit: u32,
) -> Result<Vec<Placed>, LedgerError> {
    let from = match ordering {
        Ordering::Gapless => row.upto(ordering) + 1,
        Ordering::Fifo | Ordering::None => 0,
    };
    let sql = "SELECT ord, order_id, digest, malformed, body FROM parked_orders
         WHERE customer_id = ?1 AND ord >= ?2 ORDER BY ord LIMIT ?3";
    let rows = sqlx::query(sql).bind(customer.as_str()).bind(rank::text(from)).bind(limit);
    let rows = rows.fetch_all(tx).await.map_err(errors::error)?;
    let mut orders = Vec::with_capacity(rows.len());
    for (expected, row) in (from..).zip(&rows) {
        let placed = read(ordering, customer, row)?;
        if ordering == Ordering::Gapless && placed.rank != expected {
            break;
        }
        orders.push(placed);
    }
    Ok(orders)
}

/// What was parked was decoded before, so it can be decoded again.
fn read(ordering: Ordering, customer: &CustomerId, row: &SqliteRow) -> Result<Placed, LedgerError> {
    let ord: &str = row.try_get(0).map_err(errors::error)?;
    let id: &str = row.try_get(1).map_err(errors::error)?;
    let digest: &[u8] = row.try_get(2).map_err(errors::error)?;
    let malformed: Option<String> = row.try_get(3).map_err(errors::error)?;
    let body: Vec<u8> = row.try_get(4).map_err(errors::error)?;
    let unreadable = |why: &dyn std::fmt::Display| errors::unreadable(format_args!("the parked order {id:?}: {why}"));
    let body = String::from_utf8(body).map_err(|error| unreadable(&error))?;
    let entry = match malformed {
        None => Entry::Order(Order::decode(ordering, body).map_err(|(rejection, _)| unreadable(&rejection))?),
        Some(reason) => Entry::Malformed(Malformed {
            id: EntryId::new(id),
            group: Some(customer.clone()),
            reason,
            body,
            digest: Digest(digest.try_into().map_err(|error| unreadable(&error))?),
        }),
    };
    Ok(Placed { rank: rank::parse(ord)?, entry: Arc::new(entry) })
}
