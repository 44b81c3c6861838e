//! What people ask about one order or one customer. Read only, by a reader endpoint where there is one.
//!
//! Both databases are read through one driver: every column comes as text, so one query does for both.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection as _, Row as _};
use tokio::time::timeout;

use super::{ErrorClass, LedgerError, Source};
use crate::config::Config;
use crate::order::{Ordering, Rank};

/// A connection for reports.
#[derive(Debug)]
pub struct Reader {
    connection: AnyConnection,
    is_sqlite: bool,
}

/// What the ledger knows of an order: every place where its id stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OrderReport {
    /// Its name.
    pub order_id: String,
    /// It is committed.
    pub committed: Option<Committed>,
    /// It waits for a predecessor, or behind a blocked head.
    pub parked: Option<Parked>,
    /// It is, or orders with its id are, in quarantine.
    pub quarantined: Vec<Quarantined>,
    /// Its place was left empty by an operator.
    pub tombstone: Option<Tombstone>,
}

impl OrderReport {
    /// Whether the ledger knows it at all.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.committed.is_some() || self.parked.is_some() || self.tombstone.is_some() || !self.quarantined.is_empty()
    }
}

/// A committed order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Committed {
    /// Whose it is.
    pub customer_id: String,
    /// Its place among its customer's orders.
    pub position: String,
    /// Three capital letters.
    pub currency: String,
    /// In the currency's minor unit.
    pub total_minor: String,
    /// How many lines it has.
    pub lines: String,
    /// When the customer placed it.
    pub placed_at: String,
    /// When it was committed.
    pub committed_at: String,
    /// When its event was published, if it was.
    pub published_at: Option<String>,
}

/// A parked order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parked {
    /// Whose it is.
    pub customer_id: String,
    /// Its place at the source: the sequence, or SQS's number.
    pub rank: String,
    /// Its name.
    pub order_id: String,
    /// Since when it waits.
    pub parked_at: String,
    /// Why it is no order, when it is a malformed message.
    pub malformed: Option<String>,
}

/// An entry in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// Its name there.
    pub id: String,
    /// The order, when the message was one.
    pub order_id: Option<String>,
    /// Whose it is, as far as is known.
    pub customer_id: Option<String>,
    /// Why, in a word.
    pub kind: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Since when.
    pub created_at: String,
}

/// An operator's decision that a place stays empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tombstone {
    /// Whose place.
    pub customer_id: String,
    /// Which.
    pub position: String,
    /// The order that was skipped, when one was named.
    pub order_id: Option<String>,
    /// Why.
    pub reason: String,
    /// Who decided.
    pub actor: String,
    /// When.
    pub created_at: String,
}

/// What the ledger knows of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CustomerReport {
    /// Who.
    pub customer_id: String,
    /// The highest position that has an end.
    pub last_position: u64,
    /// `fifo`: the highest `SequenceNumber` that has an end.
    pub mark: String,
    /// Orders that are parked.
    pub parked_count: u64,
    /// `gapless`: the number that it waits for, when orders are parked behind it and it is neither parked nor blocked.
    pub waits_for: Option<u64>,
    /// What blocks it: nothing commits until a person decides.
    pub blocked_by: Option<Quarantined>,
    /// The first parked ones, by rank.
    pub parked: Vec<Parked>,
    /// The last places that were left empty.
    pub tombstones: Vec<Tombstone>,
}

impl Reader {
    /// Connects to `ledger.reader_url`, or to the ledger itself without one.
    ///
    /// # Errors
    ///
    /// [`ErrorClass::Away`] when there is no connection to be had within `ledger.connect_timeout`.
    pub async fn open(config: &Config) -> Result<Self, LedgerError> {
        let url = config.ledger.reader_url.as_ref().unwrap_or(&config.ledger.url);
        let is_sqlite = url.starts_with("sqlite:");
        let url = match (is_sqlite && !url.contains("mode="), url.contains('?')) {
            (true, true) => format!("{url}&mode=ro"),
            (true, false) => format!("{url}?mode=ro"),
            (false, _) => url.clone(),
        };
        sqlx::any::install_default_drivers();
        let limit = config.ledger.connect_timeout;
        let connection = timeout(limit, AnyConnection::connect(&url)).await.map_err(|_| LedgerError {
            class: ErrorClass::Away,
            message: format!("no connection for reports within {limit:?}"),
        })?;
        Ok(Self { connection: connection.map_err(|error| failed(&error))?, is_sqlite })
    }

    /// Everything about one order.
    ///
    /// # Errors
    ///
    /// The ledger does not answer, or is not one.
    pub async fn order(&mut self, order_id: &str) -> Result<OrderReport, LedgerError> {
        let committed = "SELECT o.customer_id, CAST(o.position AS text), o.currency, CAST(o.total_minor AS text), \
                (SELECT CAST(count(*) AS text) FROM order_lines l WHERE l.order_id = o.order_id), \
                CAST(o.placed_at AS text), CAST(o.committed_at AS text), \
                (SELECT CAST(min(e.published_at) AS text) FROM order_events e WHERE e.order_id = o.order_id) \
            FROM orders o WHERE o.order_id = $1";
        let parked = "SELECT customer_id, CAST(ord AS text), order_id, CAST(parked_at AS text), malformed \
            FROM parked_orders WHERE order_id = $1";
        let quarantined = "SELECT id, order_id, customer_id, kind, reason, CAST(created_at AS text) \
            FROM quarantined_orders WHERE order_id = $1 OR id = $1 ORDER BY created_at, id LIMIT 20";
        let tombstone = "SELECT customer_id, CAST(position AS text), order_id, reason, actor, \
            CAST(created_at AS text) FROM tombstones WHERE order_id = $1";
        Ok(OrderReport {
            order_id: order_id.to_owned(),
            committed: self.rows(committed, order_id).await?.first().map(Committed::from_row),
            parked: self.rows(parked, order_id).await?.first().map(Parked::from_row),
            quarantined: self.rows(quarantined, order_id).await?.iter().map(Quarantined::from_row).collect(),
            tombstone: self.rows(tombstone, order_id).await?.first().map(Tombstone::from_row),
        })
    }

    /// Everything about one customer; `None` when the ledger does not know it.
    ///
    /// # Errors
    ///
    /// The ledger does not answer, or is not one.
    pub async fn customer(
        &mut self,
        ordering: Ordering,
        customer_id: &str,
    ) -> Result<Option<CustomerReport>, LedgerError> {
        let customer = "SELECT CAST(last_position AS text), CAST(mark AS text), CAST(parked AS text), blocked_by \
            FROM customers WHERE customer_id = $1";
        let Some(row) = self.rows(customer, customer_id).await?.into_iter().next() else { return Ok(None) };
        let parked = "SELECT customer_id, CAST(ord AS text), order_id, CAST(parked_at AS text), malformed \
            FROM parked_orders WHERE customer_id = $1 ORDER BY ord LIMIT 20";
        let parked: Vec<Parked> = self.rows(parked, customer_id).await?.iter().map(Parked::from_row).collect();
        let tombstones = "SELECT customer_id, CAST(position AS text), order_id, reason, actor, \
            CAST(created_at AS text) FROM tombstones WHERE customer_id = $1 ORDER BY position DESC LIMIT 20";
        let tombstones = self.rows(tombstones, customer_id).await?.iter().map(Tombstone::from_row).collect();
        let blocked = "SELECT id, order_id, customer_id, kind, reason, CAST(created_at AS text) \
            FROM quarantined_orders WHERE id = $1";
        let blocked_by = match optional(&row, 3) {
            Some(id) => Some(self.rows(blocked, &id).await?.first().map_or_else(
                || Quarantined {
                    id: id.clone(),
                    order_id: None,
                    customer_id: None,
                    kind: "unknown".into(),
                    reason: "the row is not in quarantine: run `millrace verify`".into(),
                    created_at: String::new(),
                },
                Quarantined::from_row,
            )),
            None => None,
        };
        let last_position = text(&row, 0).parse().unwrap_or_default();
        let first = parked.first().and_then(|parked| parked.rank.parse::<Rank>().ok());
        let next = last_position + 1;
        let waits = ordering == Ordering::Gapless && blocked_by.is_none();
        let waits_for = (waits && first.is_some_and(|first| first > Rank::from(next))).then_some(next);
        Ok(Some(CustomerReport {
            customer_id: customer_id.to_owned(),
            last_position,
            mark: rank(&row, 1),
            parked_count: text(&row, 2).parse().unwrap_or_default(),
            waits_for,
            blocked_by,
            parked,
            tombstones,
        }))
    }

    /// Where the ledger's orders come from; `None` when it has not been told yet. Changes nothing, unlike
    /// [`Ledger::bind`](super::Ledger::bind).
    ///
    /// # Errors
    ///
    /// The ledger does not answer, or is not one.
    pub async fn source(&mut self) -> Result<Option<Source>, LedgerError> {
        let sql = "SELECT ordering, queue_arn, CAST(queue_created_at AS text) FROM ledger_source";
        let rows = sqlx::query(sql).fetch_all(&mut self.connection).await.map_err(|error| failed(&error))?;
        let Some(row) = rows.first() else { return Ok(None) };
        let ordering = match text(row, 0).as_str() {
            "fifo" => Ordering::Fifo,
            "none" => Ordering::None,
            _ => Ordering::Gapless,
        };
        let queue_created_at = text(row, 2).parse().unwrap_or_default();
        Ok(Some(Source { ordering, queue_arn: text(row, 1), queue_created_at }))
    }

    /// How many connections the server takes; `None` on SQLite, which has no such bound.
    ///
    /// # Errors
    ///
    /// The ledger does not answer.
    pub async fn connections_max(&mut self) -> Result<Option<u32>, LedgerError> {
        if self.is_sqlite {
            return Ok(None);
        }
        let sql = "SELECT current_setting($1)";
        Ok(self.rows(sql, "max_connections").await?.first().and_then(|row| text(row, 0).parse().ok()))
    }

    async fn rows(&mut self, sql: &'static str, key: &str) -> Result<Vec<AnyRow>, LedgerError> {
        sqlx::query(sql).bind(key.to_owned()).fetch_all(&mut self.connection).await.map_err(|error| failed(&error))
    }
}

fn failed(error: &sqlx::Error) -> LedgerError {
    let class = match error {
        sqlx::Error::Database(_) => ErrorClass::Broken,
        _ => ErrorClass::Away,
    };
    LedgerError { class, message: error.to_string() }
}

impl Committed {
    fn from_row(row: &AnyRow) -> Self {
        Self {
            customer_id: text(row, 0),
            position: text(row, 1),
            currency: text(row, 2),
            total_minor: text(row, 3),
            lines: text(row, 4),
            placed_at: time(row, 5),
            committed_at: time(row, 6),
            published_at: optional(row, 7).map(|_| time(row, 7)),
        }
    }
}

impl Parked {
    fn from_row(row: &AnyRow) -> Self {
        Self {
            customer_id: text(row, 0),
            rank: rank(row, 1),
            order_id: text(row, 2),
            parked_at: time(row, 3),
            malformed: optional(row, 4),
        }
    }
}

impl Quarantined {
    fn from_row(row: &AnyRow) -> Self {
        Self {
            id: text(row, 0),
            order_id: optional(row, 1),
            customer_id: optional(row, 2),
            kind: text(row, 3),
            reason: text(row, 4),
            created_at: time(row, 5),
        }
    }
}

impl Tombstone {
    fn from_row(row: &AnyRow) -> Self {
        Self {
            customer_id: text(row, 0),
            position: text(row, 1),
            order_id: optional(row, 2),
            reason: text(row, 3),
            actor: text(row, 4),
            created_at: time(row, 5),
        }
    }
}

fn optional(row: &AnyRow, column: usize) -> Option<String> {
    row.try_get::<Option<String>, _>(column).ok().flatten()
}

/// A report shows what is there: a value that cannot be read is shown as one.
fn text(row: &AnyRow, column: usize) -> String {
    optional(row, column).unwrap_or_else(|| "?".to_owned())
}

/// SQLite pads ranks so that they sort.
fn rank(row: &AnyRow, column: usize) -> String {
    let padded = text(row, column);
    match padded.trim_start_matches('0') {
        "" if !padded.is_empty() => "0".to_owned(),
        rank => rank.to_owned(),
    }
}

/// The databases write times differently; a report does not.
fn time(row: &AnyRow, column: usize) -> String {
    let text = text(row, column);
    text.parse::<Timestamp>().map_or(text, |time| time.to_string())
}
