//! The drainer's side: rows in turn, and the lease.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{PgSession, read, time};
use crate::backlog::words::{broken, customer, progress, progress_text, unreadable};
use crate::backlog::{BacklogError, Claim, Drainer, Lease, Read, Row};
use crate::order::{CustomerId, Rank};

/// By the clock at the moment of the judgement, not when the statement began: it may have waited for the row.
const LEASE: &str = "UPDATE backlog_drainer d
    SET owner = $1, until = clock_timestamp() + $2::bigint * interval '1 microsecond', progress = $3
    WHERE d.id = 1 AND (d.owner IS NULL OR d.owner = $1 OR d.until <= clock_timestamp())";

const RELEASE: &str = "UPDATE backlog_drainer SET owner = NULL, until = clock_timestamp() WHERE id = 1 AND owner = $1";

const DRAINER: &str = "SELECT d.owner, (extract(epoch FROM d.until) * 1000000)::bigint, d.progress
    FROM backlog_drainer d WHERE d.id = 1 AND d.owner IS NOT NULL";

impl PgSession {
    pub(super) async fn read_rows(&mut self, wanted: &Read) -> Result<Vec<Row>, BacklogError> {
        let floors: BTreeMap<&str, (String, i64)> =
            wanted.floors.iter().map(|(name, rank, row)| (name.as_str(), (rank.to_string(), *row))).collect();
        let floors = serde_json::to_string(&floors).expect("names and numbers are JSON");
        let query = sqlx::query(include_str!("read.sql"))
            .bind(&wanted.after)
            .bind(floors)
            .bind(i64::from(wanted.share))
            .bind(i64::from(wanted.limit))
            .bind(i64::from(wanted.bytes_max))
            .bind(wanted.only.as_ref().map(CustomerId::as_str));
        let rows = self.rows(query).await?.iter().map(row).collect::<Result<Vec<Row>, _>>()?;
        if rows.is_sorted_by(|one, next| turn(one) < turn(next)) {
            return Ok(rows);
        }
        Err(broken("the backlog answered out of order"))
    }

    pub(super) async fn take_lease(&mut self, claim: &Claim) -> Result<Lease, BacklogError> {
        let query = sqlx::query(LEASE)
            .bind(&claim.owner)
            .bind(i64::try_from(claim.lease.as_micros()).unwrap_or(i64::MAX))
            .bind(progress_text(&claim.progress));
        Ok(if self.changes(query).await? { Lease::Held } else { Lease::Elsewhere })
    }

    pub(super) async fn give_lease_back(&mut self, owner: &str) -> Result<(), BacklogError> {
        self.changes(sqlx::query(RELEASE).bind(owner)).await.map(drop)
    }

    pub(super) async fn who_drains(&mut self) -> Result<Option<Drainer>, BacklogError> {
        let rows = self.rows(sqlx::query(DRAINER)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Drainer {
            owner: read(row.try_get(0))?,
            until: time(read(row.try_get(1))?)?,
            progress: progress(read(row.try_get(2))?),
        }))
    }
}

/// Where a row stands in a walk: nobody's come last.
fn turn(row: &Row) -> (bool, Option<&CustomerId>, Rank, i64) {
    (row.customer.is_none(), row.customer.as_ref(), row.rank, row.row)
}

fn row(row: &PgRow) -> Result<Row, BacklogError> {
    let number = read(row.try_get(0))?;
    let rank: &str = read(row.try_get(2))?;
    let body: Vec<u8> = read(row.try_get(5))?;
    Ok(Row {
        row: number,
        customer: customer(read(row.try_get(1))?),
        rank: rank.parse().map_err(|_| unreadable(format_args!("the rank {rank:?}")))?,
        malformed: read(row.try_get(3))?,
        message_id: read(row.try_get(4))?,
        body: String::from_utf8(body).map_err(|_| unreadable(format_args!("the body of row {number}")))?,
        sent_at_ms: read(row.try_get(6))?,
    })
}
