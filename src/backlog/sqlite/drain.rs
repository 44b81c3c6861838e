//! The drainer's side: rows in turn, and the lease.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::errors;
use super::values::{column, rank, rank_text, time, time_text};
use super::work::Work;
use crate::backlog::words::{customer, progress, progress_text, unreadable};
use crate::backlog::{BacklogError, Claim, Drainer, Lease, Read, Row};

const NEXT: &str = "SELECT customer_id FROM backlog_orders WHERE customer_id > ?1 ORDER BY customer_id LIMIT 1";

const SHARE: &str = r#"SELECT "row", customer_id, ord, malformed IS NOT NULL, message_id, body, sent_at_ms
    FROM backlog_orders WHERE customer_id = ?1 AND (ord, "row") > (?2, ?3) ORDER BY ord, "row" LIMIT ?4"#;

/// Reading in turn: one probe for a name, one for its share.
pub(super) struct Take<'a> {
    pub(super) read: &'a Read,
}

impl Work for Take<'_> {
    type Answer = Vec<Row>;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<Vec<Row>, BacklogError> {
        let read = self.read;
        let floors: HashMap<&str, (String, i64)> =
            read.floors.iter().map(|(name, rank, row)| (name.as_str(), (rank_text(*rank), *row))).collect();
        let limit = read.limit as usize;
        let mut name = read.after.clone();
        let mut bytes = 0;
        let mut rows: Vec<Row> = Vec::new();
        while rows.len() < limit {
            name = if let Some(customer) = &read.only {
                customer.to_string()
            } else {
                let next = sqlx::query_scalar(NEXT).bind(&name).fetch_optional(&mut *tx).await;
                // Behind the last name comes nobody.
                next.map_err(errors::error)?.unwrap_or_default()
            };
            let (rank, row) = floors.get(&*name).map_or(("", 0), |(rank, row)| (rank, *row));
            let share = i64::from(read.share).min(i64::try_from(limit - rows.len()).unwrap_or(i64::MAX));
            let line = sqlx::query(SHARE).bind(&name).bind(rank).bind(row).bind(share);
            let line = line.fetch_all(&mut *tx).await.map_err(errors::error)?;
            for row in &line {
                let row = take(row)?;
                bytes += row.body.len();
                if bytes > read.bytes_max as usize && !rows.is_empty() {
                    return Ok(rows);
                }
                rows.push(row);
            }
            if name.is_empty() || read.only.is_some() {
                break;
            }
        }
        Ok(rows)
    }
}

fn take(row: &SqliteRow) -> Result<Row, BacklogError> {
    let number = column(row, 0)?;
    let body: Vec<u8> = column(row, 5)?;
    Ok(Row {
        row: number,
        customer: customer(column(row, 1)?),
        rank: rank(column(row, 2)?)?,
        malformed: column(row, 3)?,
        message_id: column(row, 4)?,
        body: String::from_utf8(body).map_err(|_| unreadable(format_args!("the body of row {number}")))?,
        sent_at_ms: column(row, 6)?,
    })
}

/// Who has the lease, and until when.
pub(super) async fn holder(tx: &mut SqliteConnection) -> Result<Option<Drainer>, BacklogError> {
    let sql = "SELECT owner, until, progress FROM backlog_drainer WHERE id = 1 AND owner IS NOT NULL";
    let Some(row) = sqlx::query(sql).fetch_optional(tx).await.map_err(errors::error)? else { return Ok(None) };
    Ok(Some(Drainer { owner: column(&row, 0)?, until: time(column(&row, 1)?)?, progress: progress(column(&row, 2)?) }))
}

/// Taking or renewing the lease.
pub(super) struct TakeLease<'a> {
    pub(super) claim: &'a Claim,
}

impl Work for TakeLease<'_> {
    type Answer = Lease;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<Lease, BacklogError> {
        let claim = self.claim;
        let now = Timestamp::now();
        if holder(tx).await?.is_some_and(|holder| holder.owner != claim.owner && holder.until > now) {
            return Ok(Lease::Elsewhere);
        }
        let lease = SignedDuration::try_from(claim.lease).unwrap_or(SignedDuration::MAX);
        let until = now.saturating_add(lease).unwrap_or(Timestamp::MAX);
        sqlx::query("UPDATE backlog_drainer SET owner = ?1, until = ?2, progress = ?3 WHERE id = 1")
            .bind(&claim.owner)
            .bind(time_text(until))
            .bind(progress_text(&claim.progress))
            .execute(tx)
            .await
            .map_err(errors::error)?;
        Ok(Lease::Held)
    }
}

/// Giving the lease back.
pub(super) struct Release<'a> {
    pub(super) owner: &'a str,
}

impl Work for Release<'_> {
    type Answer = ();
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<(), BacklogError> {
        let sql = "UPDATE backlog_drainer SET owner = NULL, until = ?2 WHERE id = 1 AND owner = ?1";
        let release = sqlx::query(sql).bind(self.owner).bind(time_text(Timestamp::now()));
        release.execute(tx).await.map(drop).map_err(errors::error)
    }
}

/// Reading who drains.
pub(super) struct WhoDrains;

impl Work for WhoDrains {
    type Answer = Option<Drainer>;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<Option<Drainer>, BacklogError> {
        holder(tx).await
    }
}
