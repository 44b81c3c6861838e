//! Writing orders that passed: orders, lines, events and the team's effects, from two lists in JSON.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::customer::json;
use super::{Terms, errors};
use crate::ledger::LedgerError;
use crate::order::Order;

/// An order and the position that it gets.
pub(super) struct Accepted<'a> {
    pub(super) order: &'a Order,
    pub(super) position: i64,
}

#[derive(Serialize)]
struct NewOrder<'a> {
    id: &'a str,
    customer: &'a str,
    position: i64,
    digest: String,
    currency: &'a str,
    total: i64,
    placed: String,
    body: &'a str,
}

#[derive(Serialize)]
struct NewLine<'a> {
    id: &'a str,
    customer: &'a str,
    number: usize,
    sku: &'a str,
    quantity: i32,
    price: i64,
}

/// Sorted by the list, so that event ids grow as positions do.
const ORDERS: &str =
    "INSERT INTO orders (order_id, customer_id, position, digest, currency, total_minor, placed_at, body)
    SELECT value ->> 'id', value ->> 'customer', value ->> 'position', unhex(value ->> 'digest'), value ->> 'currency',
           value ->> 'total', value ->> 'placed', value ->> 'body'
    FROM json_each(?1) ORDER BY key";

const EVENTS: &str = "INSERT INTO order_events (order_id, customer_id, position, kind)
    SELECT value ->> 'id', value ->> 'customer', value ->> 'position', 'committed' FROM json_each(?1) ORDER BY key";

const LINES: &str = "INSERT INTO order_lines (order_id, line_number, sku, quantity, unit_price_minor)
    SELECT value ->> 'id', value ->> 'number', value ->> 'sku', value ->> 'quantity', value ->> 'price'
    FROM json_each(?1) ORDER BY key";

const COMMITTED: &str = "INSERT INTO temp.committed
        (order_id, customer_id, position, currency, total_minor, placed_at, body)
    SELECT value ->> 'id', value ->> 'customer', value ->> 'position', value ->> 'currency', value ->> 'total',
           value ->> 'placed', value ->> 'body'
    FROM json_each(?1)";

const COMMITTED_LINES: &str = "INSERT INTO temp.committed_lines
        (order_id, customer_id, line_number, sku, quantity, unit_price_minor)
    SELECT value ->> 'id', value ->> 'customer', value ->> 'number', value ->> 'sku', value ->> 'quantity',
           value ->> 'price'
    FROM json_each(?1)";

const PARKED_COPIES: &str = "DELETE FROM parked_orders WHERE rowid IN (
        SELECT p.rowid FROM json_each(?1) j CROSS JOIN parked_orders p ON p.order_id = j.value ->> 0
        WHERE p.customer_id = j.value ->> 1 AND p.digest = unhex(j.value ->> 2))
    RETURNING customer_id";

/// Writes the orders with everything that belongs to them.
pub(super) async fn orders(
    tx: &mut SqliteConnection,
    terms: &Terms,
    accepted: &[Accepted<'_>],
) -> Result<(), LedgerError> {
    if accepted.is_empty() {
        return Ok(());
    }
    let orders = json(&accepted.iter().map(new_order).collect::<Vec<_>>());
    let lines = json(&accepted.iter().flat_map(|accepted| new_lines(accepted.order)).collect::<Vec<_>>());
    execute(tx, ORDERS, &orders).await?;
    execute(tx, LINES, &lines).await?;
    execute(tx, EVENTS, &orders).await?;
    effects(tx, terms, &orders, &lines).await
}

/// Removes the parked copies of these orders: how many of each customer. Another content under the same name is no
/// copy: it was taken over as parked, and has to be judged.
pub(super) async fn unpark(tx: &mut SqliteConnection, orders: &[&Order]) -> Result<HashMap<String, i64>, LedgerError> {
    if orders.is_empty() {
        return Ok(HashMap::new());
    }
    let copies: Vec<_> = orders.iter().map(|o| (&o.order_id, &o.customer_id, o.digest.to_string())).collect();
    let gone = sqlx::query(PARKED_COPIES).bind(json(&copies)).fetch_all(tx).await.map_err(errors::error)?;
    let mut removed = HashMap::new();
    for row in gone {
        *removed.entry(row.try_get(0).map_err(errors::error)?).or_insert(0) += 1;
    }
    Ok(removed)
}

fn new_order<'a>(accepted: &Accepted<'a>) -> NewOrder<'a> {
    let Accepted { order, position } = accepted;
    NewOrder {
        id: order.order_id.as_str(),
        customer: order.customer_id.as_str(),
        position: *position,
        digest: order.digest.to_string(),
        currency: &order.currency,
        total: order.total_minor,
        placed: format!("{:.6}", order.placed_at),
        body: &order.body,
    }
}

fn new_lines(order: &Order) -> impl Iterator<Item = NewLine<'_>> {
    order.lines.iter().enumerate().map(|(index, line)| NewLine {
        id: order.order_id.as_str(),
        customer: order.customer_id.as_str(),
        number: index + 1,
        sku: &line.sku,
        quantity: line.quantity,
        price: line.unit_price_minor,
    })
}

async fn execute(tx: &mut SqliteConnection, sql: &'static str, list: &str) -> Result<(), LedgerError> {
    sqlx::query(sql).bind(list).execute(tx).await.map_err(errors::error)?;
    Ok(())
}

/// The relations are emptied first: they are as old as the connection.
async fn effects(tx: &mut SqliteConnection, terms: &Terms, orders: &str, lines: &str) -> Result<(), LedgerError> {
    let Some(effects) = &terms.effects else { return Ok(()) };
    for sql in ["DELETE FROM temp.committed", "DELETE FROM temp.committed_lines"] {
        sqlx::query(sql).execute(&mut *tx).await.map_err(errors::error)?;
    }
    execute(tx, COMMITTED, orders).await?;
    execute(tx, COMMITTED_LINES, lines).await?;
    let statement = sqlx::query(AssertSqlSafe(effects.sql().to_owned()));
    statement.execute(tx).await.map_err(|error| errors::effects(error, effects))?;
    Ok(())
}
