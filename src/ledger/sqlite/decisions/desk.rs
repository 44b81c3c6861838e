//! The tables of a decision. Nobody else writes while the transaction is open, so nothing needs a lock of its own.

use sqlx::Row as _;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};

use crate::ledger::decisions::desk::{
    Customer, Desk, End, Filed, Holder, Known, Made, Record, Skipped, Tombstone, time,
};
use crate::ledger::sqlite::{errors, gate, rank};
use crate::ledger::{Gate, LedgerError};
use crate::order::{Order, Rank};

/// A transaction that is open.
pub(super) struct SqliteDesk<'c>(pub(super) &'c mut SqliteConnection);

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

const NAMED: &str =
    "SELECT 'committed', customer_id, position, NULL, digest, NULL, NULL FROM orders WHERE order_id = ?1
    UNION ALL SELECT 'parked', customer_id, NULL, ord, digest, NULL, NULL FROM parked_orders WHERE order_id = ?1
    UNION ALL SELECT 'skipped', customer_id, position, NULL, NULL, actor, created_at FROM tombstones
              WHERE order_id = ?1";

const END_AT: &str = "SELECT order_id, NULL, NULL FROM orders WHERE customer_id = ?1 AND position = ?2
    UNION ALL SELECT NULL, actor, created_at FROM tombstones WHERE customer_id = ?1 AND position = ?2";

const MADE: &str = "SELECT action, actor, decided_at, new_digest, new_order_id FROM decisions
    WHERE case_id = ?1 ORDER BY decision_id DESC LIMIT 1";

const RECORD: &str = "INSERT INTO decisions (action, case_id, order_id, customer_id, position, reason, actor, kind,
        case_reason, ord, digest, body, quarantined_at, new_order_id, new_digest, new_body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

impl SqliteDesk<'_> {
    async fn rows(&mut self, query: Query<'_>) -> Result<Vec<SqliteRow>, LedgerError> {
        query.fetch_all(&mut *self.0).await.map_err(errors::error)
    }

    async fn first(&mut self, query: Query<'_>) -> Result<Option<SqliteRow>, LedgerError> {
        Ok(self.rows(query).await?.into_iter().next())
    }

    async fn run(&mut self, query: Query<'_>) -> Result<(), LedgerError> {
        self.rows(query).await.map(drop)
    }
}

impl Desk for SqliteDesk<'_> {
    async fn gate(&mut self) -> Result<Gate, LedgerError> {
        gate::read(self.0, None).await
    }

    async fn ordering(&mut self) -> Result<Option<String>, LedgerError> {
        let sql = "SELECT ordering FROM ledger_source WHERE id = 1";
        self.first(sqlx::query(sql)).await?.map(|row| row.try_get(0).map_err(errors::error)).transpose()
    }

    async fn entry(&mut self, id: &str, _locked: bool) -> Result<Option<Filed>, LedgerError> {
        let sql = "SELECT id, order_id, customer_id, ord, digest, kind, reason, body, created_at,
                 coalesce(created_at >= (SELECT accepted_at FROM ledger_source WHERE id = 1), 1)
             FROM quarantined_orders WHERE id = ?1";
        let Some(row) = self.first(sqlx::query(sql).bind(id)).await? else { return Ok(None) };
        let ord: Option<String> = row.try_get(3).map_err(errors::error)?;
        Ok(Some(Filed {
            id: row.try_get(0).map_err(errors::error)?,
            order_id: row.try_get(1).map_err(errors::error)?,
            customer: row.try_get(2).map_err(errors::error)?,
            rank: ord.as_deref().map(rank::parse).transpose()?.unwrap_or(0),
            digest: bytes(&row, 4)?,
            kind: row.try_get(5).map_err(errors::error)?,
            reason: row.try_get(6).map_err(errors::error)?,
            body: bytes(&row, 7)?,
            created_at: row.try_get(8).map_err(errors::error)?,
            is_current: row.try_get(9).map_err(errors::error)?,
        }))
    }

    /// A row is created by [`Desk::store`] only, because a decision that is refused writes nothing.
    async fn customer(&mut self, name: &str, create: bool) -> Result<Option<Customer>, LedgerError> {
        let sql = "SELECT last_position, mark, parked, blocked_by FROM customers WHERE customer_id = ?1";
        let Some(row) = self.first(sqlx::query(sql).bind(name)).await? else {
            return Ok(create.then(Customer::default));
        };
        Ok(Some(Customer {
            last_position: row.try_get::<i64, _>(0).map_err(errors::error)?.unsigned_abs(),
            mark: rank::parse(row.try_get(1).map_err(errors::error)?)?,
            parked: row.try_get::<i64, _>(2).map_err(errors::error)?.unsigned_abs(),
            blocked_by: row.try_get(3).map_err(errors::error)?,
        }))
    }

    async fn named(&mut self, order_id: &str) -> Result<Known, LedgerError> {
        let mut known = Known::default();
        for row in self.rows(sqlx::query(NAMED).bind(order_id)).await? {
            let customer = row.try_get(1).map_err(errors::error)?;
            let position: Option<i64> = row.try_get(2).map_err(errors::error)?;
            let position = position.unwrap_or(0).unsigned_abs();
            match row.try_get(0).map_err(errors::error)? {
                "skipped" => {
                    let actor = row.try_get(5).map_err(errors::error)?;
                    let at = time(row.try_get(6).map_err(errors::error)?);
                    known.skipped = Some(Skipped { customer, position, actor, at });
                }
                "parked" => {
                    let place = rank::parse(row.try_get(3).map_err(errors::error)?)?;
                    known.parked = Some(Holder { customer, place, digest: bytes(&row, 4)? });
                }
                _ => {
                    let (place, digest) = (Rank::from(position), bytes(&row, 4)?);
                    known.committed = Some(Holder { customer, place, digest });
                }
            }
        }
        Ok(known)
    }

    async fn twin(&mut self, order: &Order, besides: &str) -> Result<Option<String>, LedgerError> {
        let sql = "SELECT id FROM quarantined_orders WHERE order_id = ?1 AND digest = ?2 AND id <> ?3 LIMIT 1";
        let query = sqlx::query(sql).bind(order.order_id.as_str()).bind(&order.digest.0[..]).bind(besides);
        self.first(query).await?.map(|row| row.try_get(0).map_err(errors::error)).transpose()
    }

    async fn parked_at(&mut self, customer: &str, rank: Rank) -> Result<Option<String>, LedgerError> {
        let sql = "SELECT order_id FROM parked_orders WHERE customer_id = ?1 AND ord = ?2";
        let query = sqlx::query(sql).bind(customer).bind(rank::text(rank));
        self.first(query).await?.map(|row| row.try_get(0).map_err(errors::error)).transpose()
    }

    async fn highest(&mut self, customer: &str) -> Result<Option<Rank>, LedgerError> {
        let sql = "SELECT ord FROM parked_orders WHERE customer_id = ?1 ORDER BY ord DESC LIMIT 1";
        let row = self.first(sqlx::query(sql).bind(customer)).await?;
        row.map(|row| rank::parse(row.try_get(0).map_err(errors::error)?)).transpose()
    }

    async fn end_at(&mut self, customer: &str, position: u64) -> Result<Option<End>, LedgerError> {
        let Some(row) = self.first(sqlx::query(END_AT).bind(customer).bind(number(position))).await? else {
            return Ok(None);
        };
        if let Some(order_id) = row.try_get(0).map_err(errors::error)? {
            return Ok(Some(End::Order(order_id)));
        }
        let (actor, at) = (row.try_get(1).map_err(errors::error)?, time(row.try_get(2).map_err(errors::error)?));
        Ok(Some(End::Skipped(Skipped { customer: customer.to_owned(), position, actor, at })))
    }

    async fn made(&mut self, id: &str) -> Result<Option<Made>, LedgerError> {
        let Some(row) = self.first(sqlx::query(MADE).bind(id)).await? else { return Ok(None) };
        Ok(Some(Made {
            action: row.try_get(0).map_err(errors::error)?,
            actor: row.try_get(1).map_err(errors::error)?,
            at: time(row.try_get(2).map_err(errors::error)?),
            new_digest: row.try_get(3).map_err(errors::error)?,
            new_order_id: row.try_get(4).map_err(errors::error)?,
        }))
    }

    async fn store(&mut self, name: &str, customer: &Customer) -> Result<(), LedgerError> {
        let sql = "INSERT INTO customers (customer_id, last_position, mark, parked, blocked_by)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (customer_id) DO UPDATE SET last_position = excluded.last_position, mark = excluded.mark,
               parked = excluded.parked, blocked_by = excluded.blocked_by";
        let query = sqlx::query(sql).bind(name).bind(number(customer.last_position)).bind(rank::text(customer.mark));
        self.run(query.bind(number(customer.parked)).bind(customer.blocked_by.as_deref())).await
    }

    async fn park(&mut self, order: &Order, rank: Rank) -> Result<(), LedgerError> {
        let sql = "INSERT INTO parked_orders (customer_id, ord, order_id, digest, body) VALUES (?1, ?2, ?3, ?4, ?5)";
        let query = sqlx::query(sql).bind(order.customer_id.as_str()).bind(rank::text(rank));
        let query = query.bind(order.order_id.as_str()).bind(&order.digest.0[..]).bind(order.body.as_bytes());
        self.run(query).await
    }

    async fn unpark(&mut self, order_id: &str) -> Result<(), LedgerError> {
        self.run(sqlx::query("DELETE FROM parked_orders WHERE order_id = ?1").bind(order_id)).await
    }

    async fn release(&mut self, id: &str) -> Result<(), LedgerError> {
        self.run(sqlx::query("DELETE FROM quarantined_orders WHERE id = ?1").bind(id)).await
    }

    async fn bury(&mut self, tombstone: &Tombstone<'_>) -> Result<(), LedgerError> {
        let sql = "INSERT INTO tombstones (customer_id, position, order_id, digest, reason, actor)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
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
            .bind(entry.filter(|entry| entry.rank > 0).map(|entry| rank::text(entry.rank)))
            .bind(entry.map(|entry| &entry.digest[..]))
            .bind(entry.map(|entry| &entry.body[..]))
            .bind(entry.map(|entry| entry.created_at.as_str()))
            .bind(record.replacement.map(|order| order.order_id.as_str()))
            .bind(record.replacement.map(|order| order.digest.0.to_vec()))
            .bind(record.replacement.map(|order| order.body.as_str()));
        self.run(query).await
    }
}

/// Whatever type the file gave it.
fn bytes(row: &SqliteRow, column: usize) -> Result<Vec<u8>, LedgerError> {
    row.try_get_unchecked(column).map_err(errors::error)
}

/// Positions are 64-bit signed in SQL, and the decoder lets nothing above pass.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
