//! The tables of a decision. Each statement has a snapshot of its own, which is newer than the locks before it.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;

use super::{rank, rows};
use crate::ledger::decisions::desk::{
    Customer, Desk, End, Filed, Holder, Known, Made, Record, Skipped, Tombstone, time,
};
use crate::ledger::postgres::session::read;
use crate::ledger::{Gate, LedgerError};
use crate::order::{Order, Rank};

/// A transaction that is open.
pub(super) struct PgDesk<'c> {
    pub(super) conn: &'c mut PgConnection,
    /// How long the answer to one statement is waited for.
    pub(super) limit: Duration,
}

const GATE: &str = "SELECT state FROM gate
WHERE id = 1 AND state IN ('OPEN', 'DRAINING') AND epoch >= (SELECT epoch FROM gate_announced WHERE id = 1)
FOR SHARE";

const NAMED: &str =
    "SELECT 'committed', customer_id, position::text, digest, NULL, NULL FROM orders WHERE order_id = $1
UNION ALL SELECT 'parked', customer_id, ord::text, digest, NULL, NULL FROM parked_orders WHERE order_id = $1
UNION ALL SELECT 'skipped', customer_id, position::text, NULL, actor, created_at::text FROM tombstones
          WHERE order_id = $1";

const END_AT: &str = "SELECT order_id, NULL, NULL FROM orders WHERE customer_id = $1 AND position = $2
UNION ALL SELECT NULL, actor, created_at::text FROM tombstones WHERE customer_id = $1 AND position = $2";

const MADE: &str = "SELECT action, actor, decided_at::text, new_digest, new_order_id FROM decisions
WHERE case_id = $1 ORDER BY decision_id DESC LIMIT 1";

const RECORD: &str = "INSERT INTO decisions (action, case_id, order_id, customer_id, position, reason, actor, kind,
    case_reason, ord, digest, body, quarantined_at, new_order_id, new_digest, new_body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::numeric(39), $11, $12, $13::text::timestamptz, $14, $15, $16)";

impl PgDesk<'_> {
    async fn rows(&mut self, query: Query<'_, sqlx::Postgres, PgArguments>) -> Result<Vec<PgRow>, LedgerError> {
        rows(self.conn, self.limit, query).await
    }

    async fn first(&mut self, query: Query<'_, sqlx::Postgres, PgArguments>) -> Result<Option<PgRow>, LedgerError> {
        Ok(self.rows(query).await?.into_iter().next())
    }

    async fn run(&mut self, query: Query<'_, sqlx::Postgres, PgArguments>) -> Result<(), LedgerError> {
        self.rows(query).await.map(drop)
    }
}

impl Desk for PgDesk<'_> {
    async fn gate(&mut self) -> Result<Gate, LedgerError> {
        let Some(row) = self.first(sqlx::query(GATE)).await? else { return Ok(Gate::Closed) };
        Ok(if read::<&str>(row.try_get(0))? == "OPEN" { Gate::Open } else { Gate::Draining })
    }

    async fn ordering(&mut self) -> Result<Option<String>, LedgerError> {
        let sql = "SELECT ordering FROM ledger_source WHERE id = 1";
        self.first(sqlx::query(sql)).await?.map(|row| read(row.try_get(0))).transpose()
    }

    async fn entry(&mut self, id: &str, locked: bool) -> Result<Option<Filed>, LedgerError> {
        const SEEN: &str = "SELECT id, order_id, customer_id, ord::text, digest, kind, reason, body, created_at::text,
                 coalesce(created_at >= (SELECT accepted_at FROM ledger_source WHERE id = 1), true)
             FROM quarantined_orders WHERE id = $1";
        const LOCKED: &str =
            "SELECT id, order_id, customer_id, ord::text, digest, kind, reason, body, created_at::text,
                 coalesce(created_at >= (SELECT accepted_at FROM ledger_source WHERE id = 1), true)
             FROM quarantined_orders WHERE id = $1 FOR UPDATE";
        let query = sqlx::query(if locked { LOCKED } else { SEEN }).bind(id);
        let Some(row) = self.first(query).await? else { return Ok(None) };
        Ok(Some(Filed {
            id: read(row.try_get(0))?,
            order_id: read(row.try_get(1))?,
            customer: read(row.try_get(2))?,
            rank: rank(read(row.try_get(3))?)?,
            digest: read(row.try_get(4))?,
            kind: read(row.try_get(5))?,
            reason: read(row.try_get(6))?,
            body: read(row.try_get(7))?,
            created_at: read(row.try_get(8))?,
            is_current: read(row.try_get(9))?,
        }))
    }

    async fn customer(&mut self, name: &str, create: bool) -> Result<Option<Customer>, LedgerError> {
        if create {
            let new = "INSERT INTO customers (customer_id) VALUES ($1) ON CONFLICT DO NOTHING";
            self.run(sqlx::query(new).bind(name)).await?;
        }
        let sql =
            "SELECT last_position, mark::text, parked, blocked_by FROM customers WHERE customer_id = $1 FOR UPDATE";
        let Some(row) = self.first(sqlx::query(sql).bind(name)).await? else { return Ok(None) };
        Ok(Some(Customer {
            last_position: read::<i64>(row.try_get(0))?.unsigned_abs(),
            mark: rank(read(row.try_get(1))?)?,
            parked: read::<i64>(row.try_get(2))?.unsigned_abs(),
            blocked_by: read(row.try_get(3))?,
        }))
    }

    async fn named(&mut self, order_id: &str) -> Result<Known, LedgerError> {
        let mut known = Known::default();
        for row in self.rows(sqlx::query(NAMED).bind(order_id)).await? {
            let customer = read(row.try_get(1))?;
            let place = rank(read(row.try_get(2))?)?;
            match read(row.try_get(0))? {
                "skipped" => {
                    let (position, actor) = (u64::try_from(place).unwrap_or(u64::MAX), read(row.try_get(4))?);
                    known.skipped = Some(Skipped { customer, position, actor, at: time(read(row.try_get(5))?) });
                }
                "parked" => known.parked = Some(Holder { customer, place, digest: read(row.try_get(3))? }),
                _ => known.committed = Some(Holder { customer, place, digest: read(row.try_get(3))? }),
            }
        }
        Ok(known)
    }

    async fn twin(&mut self, order: &Order, besides: &str) -> Result<Option<String>, LedgerError> {
        let sql = "SELECT id FROM quarantined_orders WHERE order_id = $1 AND digest = $2 AND id <> $3 LIMIT 1";
        let query = sqlx::query(sql).bind(order.order_id.as_str()).bind(&order.digest.0[..]).bind(besides);
        self.first(query).await?.map(|row| read(row.try_get(0))).transpose()
    }

    async fn parked_at(&mut self, customer: &str, rank: Rank) -> Result<Option<String>, LedgerError> {
        let sql = "SELECT order_id FROM parked_orders WHERE customer_id = $1 AND ord = $2::text::numeric(39)";
        let query = sqlx::query(sql).bind(customer).bind(rank.to_string());
        self.first(query).await?.map(|row| read(row.try_get(0))).transpose()
    }

    async fn highest(&mut self, customer: &str) -> Result<Option<Rank>, LedgerError> {
        let sql = "SELECT ord::text FROM parked_orders WHERE customer_id = $1 ORDER BY ord DESC LIMIT 1";
        let row = self.first(sqlx::query(sql).bind(customer)).await?;
        row.map(|row| rank(read(row.try_get(0))?)).transpose()
    }

    async fn end_at(&mut self, customer: &str, position: u64) -> Result<Option<End>, LedgerError> {
        let query = sqlx::query(END_AT).bind(customer).bind(i64::try_from(position).unwrap_or(i64::MAX));
        let Some(row) = self.first(query).await? else { return Ok(None) };
        if let Some(order_id) = read(row.try_get(0))? {
            return Ok(Some(End::Order(order_id)));
        }
        let (actor, at) = (read(row.try_get(1))?, time(read(row.try_get(2))?));
        Ok(Some(End::Skipped(Skipped { customer: customer.to_owned(), position, actor, at })))
    }

    async fn made(&mut self, id: &str) -> Result<Option<Made>, LedgerError> {
        let Some(row) = self.first(sqlx::query(MADE).bind(id)).await? else { return Ok(None) };
        Ok(Some(Made {
            action: read(row.try_get(0))?,
            actor: read(row.try_get(1))?,
            at: time(read(row.try_get(2))?),
            new_digest: read(row.try_get(3))?,
            new_order_id: read(row.try_get(4))?,
        }))
    }

    async fn store(&mut self, name: &str, customer: &Customer) -> Result<(), LedgerError> {
        let sql = "UPDATE customers SET last_position = $2, mark = $3::text::numeric(39), parked = $4, blocked_by = $5
             WHERE customer_id = $1";
        let query = sqlx::query(sql).bind(name).bind(number(customer.last_position)).bind(customer.mark.to_string());
        self.run(query.bind(number(customer.parked)).bind(customer.blocked_by.as_deref())).await
    }

    async fn park(&mut self, order: &Order, rank: Rank) -> Result<(), LedgerError> {
        let sql = "INSERT INTO parked_orders (customer_id, ord, order_id, digest, body)
             VALUES ($1, $2::text::numeric(39), $3, $4, $5)";
        let query = sqlx::query(sql).bind(order.customer_id.as_str()).bind(rank.to_string());
        let query = query.bind(order.order_id.as_str()).bind(&order.digest.0[..]).bind(order.body.as_bytes());
        self.run(query).await
    }

    async fn unpark(&mut self, order_id: &str) -> Result<(), LedgerError> {
        self.run(sqlx::query("DELETE FROM parked_orders WHERE order_id = $1").bind(order_id)).await
    }

    async fn release(&mut self, id: &str) -> Result<(), LedgerError> {
        self.run(sqlx::query("DELETE FROM quarantined_orders WHERE id = $1").bind(id)).await
    }

    async fn bury(&mut self, tombstone: &Tombstone<'_>) -> Result<(), LedgerError> {
        let sql = "INSERT INTO tombstones (customer_id, position, order_id, digest, reason, actor)
             VALUES ($1, $2, $3, $4, $5, $6)";
        let (order_id, digest) = tombstone.order.unzip();
        let query = sqlx::query(sql).bind(tombstone.customer).bind(number(tombstone.position)).bind(order_id);
        self.run(query.bind(digest).bind(tombstone.reason).bind(tombstone.actor)).await
    }

    async fn record(&mut self, record: &Record<'_>) -> Result<(), LedgerError> {
        let entry = record.entry;
        let query = sqlx::query(RECORD)
            .bind(record.action)
            .bind(entry.map(|entry| entry.id.as_str()))
            .bind(entry.and_then(|entry| entry.order_id.as_deref()))
            .bind(entry.and_then(|entry| entry.customer.as_deref()).or(record.customer))
            .bind(record.position.map(number))
            .bind(record.reason)
            .bind(record.actor)
            .bind(entry.map(|entry| entry.kind.as_str()))
            .bind(entry.map(|entry| entry.reason.as_str()))
            .bind(entry.filter(|entry| entry.rank > 0).map(|entry| entry.rank.to_string()))
            .bind(entry.map(|entry| &entry.digest[..]))
            .bind(entry.map(|entry| &entry.body[..]))
            .bind(entry.map(|entry| entry.created_at.as_str()))
            .bind(record.replacement.map(|order| order.order_id.as_str()))
            .bind(record.replacement.map(|order| order.digest.0.to_vec()))
            .bind(record.replacement.map(|order| order.body.as_str()));
        self.run(query).await
    }
}

/// Positions are 64-bit signed in SQL, and the decoder lets nothing above pass.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
