//! A ledger that is marked for benches, watched while orders go into it.
//!
//! Both databases are read through one driver, as for the reports. The mark is a table that only a bench's ledger has:
//! nothing else makes it, and no migration.

use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection as _, Row as _};
use tokio::time::timeout;

use super::{ErrorClass, LedgerError};
use crate::config::Config;

/// The most orders that [`Watch::there`] asks for at once.
pub const SAMPLES_MAX: usize = 64;

/// A connection that watches.
#[derive(Debug)]
pub struct Watch {
    connection: AnyConnection,
    is_sqlite: bool,
    there: String,
    limit: Duration,
}

/// What came of marking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marked {
    /// It is a ledger for benches, now or since before.
    Yes,
    /// It has orders, or customers, that no bench put there.
    HasOrders,
}

impl Watch {
    /// Connects to the ledger itself.
    ///
    /// # Errors
    ///
    /// [`ErrorClass::Away`] when there is no connection to be had within `ledger.connect_timeout`.
    pub async fn open(config: &Config) -> Result<Self, LedgerError> {
        sqlx::any::install_default_drivers();
        let limit = config.ledger.connect_timeout;
        let connection = timeout(limit, AnyConnection::connect(&config.ledger.url)).await.map_err(|_| late(limit))?;
        // Always as many, so that the statement is prepared once.
        let names: Vec<String> = (1..=SAMPLES_MAX).map(|number| format!("${number}")).collect();
        Ok(Self {
            connection: connection.map_err(|error| failed(&error))?,
            is_sqlite: config.ledger.url.starts_with("sqlite:"),
            there: format!("SELECT order_id FROM orders WHERE order_id IN ({})", names.join(", ")),
            // One statement, and what the network adds.
            limit: config.ledger.statement_timeout + Duration::from_secs(1),
        })
    }

    /// Whether it is marked.
    ///
    /// # Errors
    ///
    /// The ledger does not answer.
    pub async fn is_marked(&mut self) -> Result<bool, LedgerError> {
        let sql = if self.is_sqlite {
            "SELECT CAST(count(*) AS text) FROM sqlite_master WHERE type = 'table' AND name = 'bench_ledger'"
        } else {
            "SELECT count(*)::text FROM pg_catalog.pg_class WHERE oid = to_regclass('bench_ledger')"
        };
        Ok(self.number(sql).await? > 0)
    }

    /// Marks a ledger in which there is nothing.
    ///
    /// # Errors
    ///
    /// The ledger does not answer, was not migrated, or does not let this user create a table.
    pub async fn mark(&mut self, actor: &str) -> Result<Marked, LedgerError> {
        if self.is_marked().await? {
            return Ok(Marked::Yes);
        }
        let rows = "SELECT CAST((SELECT count(*) FROM (SELECT 1 FROM orders LIMIT 1) o) \
            + (SELECT count(*) FROM (SELECT 1 FROM customers LIMIT 1) c) \
            + (SELECT count(*) FROM (SELECT 1 FROM quarantined_orders LIMIT 1) q) AS text)";
        if self.number(rows).await? > 0 {
            return Ok(Marked::HasOrders);
        }
        let create = "CREATE TABLE bench_ledger (marked_by text NOT NULL, \
            marked_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP)";
        let insert = "INSERT INTO bench_ledger (marked_by) VALUES ($1)";
        let marking = async {
            let mut transaction = self.connection.begin().await?;
            sqlx::query(create).execute(&mut *transaction).await?;
            sqlx::query(insert).bind(actor.to_owned()).execute(&mut *transaction).await?;
            transaction.commit().await
        };
        timeout(self.limit, marking).await.map_err(|_| late(self.limit))?.map_err(|error| failed(&error))?;
        Ok(Marked::Yes)
    }

    /// The number of the newest event: it grows with every order that is committed.
    ///
    /// # Errors
    ///
    /// The ledger does not answer.
    pub async fn newest_event(&mut self) -> Result<u64, LedgerError> {
        self.number("SELECT CAST(coalesce(max(event_id), 0) AS text) FROM order_events").await
    }

    /// How many orders were committed after that event.
    ///
    /// # Errors
    ///
    /// The ledger does not answer.
    pub async fn committed_after(&mut self, event: u64) -> Result<u64, LedgerError> {
        // The number is ours, and the drivers do not agree about the types of parameters.
        let sql = format!("SELECT CAST(count(*) AS text) FROM order_events WHERE event_id > {event}");
        self.number_of(sqlx::AssertSqlSafe(sql)).await
    }

    /// Which of these orders are committed; at most [`SAMPLES_MAX`].
    ///
    /// # Errors
    ///
    /// The ledger does not answer.
    pub async fn there(&mut self, order_ids: &[String]) -> Result<Vec<String>, LedgerError> {
        let mut query = sqlx::query(sqlx::AssertSqlSafe(self.there.clone()));
        for number in 0..SAMPLES_MAX {
            query = query.bind(order_ids.get(number).cloned().unwrap_or_default());
        }
        let asking = query.fetch_all(&mut self.connection);
        let rows = timeout(self.limit, asking).await.map_err(|_| late(self.limit))?.map_err(|error| failed(&error))?;
        rows.iter().map(|row| row.try_get::<String, _>(0).map_err(|error| failed(&error))).collect()
    }

    async fn number(&mut self, sql: &'static str) -> Result<u64, LedgerError> {
        self.number_of(sql).await
    }

    async fn number_of(&mut self, sql: impl sqlx::SqlSafeStr) -> Result<u64, LedgerError> {
        let asking = sqlx::query(sql).fetch_one(&mut self.connection);
        let row: AnyRow = timeout(self.limit, asking).await.map_err(|_| late(self.limit))?.map_err(|e| failed(&e))?;
        let text: String = row.try_get(0).map_err(|error| failed(&error))?;
        text.parse().map_err(|_| LedgerError { class: ErrorClass::Broken, message: format!("{text:?} is no count") })
    }
}

fn late(limit: Duration) -> LedgerError {
    LedgerError { class: ErrorClass::Away, message: format!("no answer within {limit:?}") }
}

fn failed(error: &sqlx::Error) -> LedgerError {
    let class = match error {
        sqlx::Error::Database(_) => ErrorClass::Broken,
        _ => ErrorClass::Away,
    };
    LedgerError { class, message: error.to_string() }
}
