//! Parking, loading and sweeping parked orders, and looking orders up.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::columns::{Entries, digest, unreadable};
use super::errors::{self, Step};
use super::session::PgSession;
use crate::ledger::{Found, LedgerError, ParkVerdict, ParkedRun, Placed};
use crate::order::{CustomerId, Entry, EntryId, Malformed, Order, Ordering, Rank};

impl PgSession {
    pub(super) async fn park_orders(&mut self, orders: &[Placed]) -> Result<Vec<ParkVerdict>, LedgerError> {
        let mut verdicts = self.park_once(orders.iter()).await?;
        // The first statement has inserted the rows of new customers; now they can be locked and counted up.
        let again: Vec<usize> = (0..orders.len()).filter(|&at| verdicts[at] == ParkVerdict::Again).collect();
        if !again.is_empty() {
            let second = self.park_once(again.iter().map(|&at| &orders[at])).await?;
            for (at, verdict) in again.into_iter().zip(second) {
                verdicts[at] = verdict;
            }
        }
        Ok(verdicts)
    }

    async fn park_once<'a>(
        &mut self,
        orders: impl Iterator<Item = &'a Placed> + Clone,
    ) -> Result<Vec<ParkVerdict>, LedgerError> {
        let entries = Entries::new(orders);
        if entries.id.is_empty() {
            return Ok(Vec::new());
        }
        let customers: BTreeSet<&str> = entries.customer.iter().copied().flatten().collect();
        let query = sqlx::query(include_str!("park.sql"))
            .bind(self.ordering().to_string())
            .bind(customers.into_iter().collect::<Vec<_>>())
            .bind(&entries.customer)
            .bind(&entries.rank)
            .bind(&entries.id)
            .bind(&entries.digest)
            .bind(&entries.malformed)
            .bind(&entries.body)
            .bind(&entries.case_id)
            .bind(self.drained_epoch());
        let rows = self.rows(Step::Write, query).await?;
        answers(&rows, entries.id.len(), Step::Write, |word| match word {
            "parked" => Some(ParkVerdict::Parked),
            "not early" => Some(ParkVerdict::NotEarly),
            "taken" => Some(ParkVerdict::Taken),
            "gate closed" => Some(ParkVerdict::GateClosed),
            "again" => Some(ParkVerdict::Again),
            _ => None,
        })
    }

    pub(super) async fn look_orders_up(&mut self, orders: &[Placed]) -> Result<Vec<Found>, LedgerError> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let entries = Entries::new(orders.iter());
        let query = sqlx::query(include_str!("look_up.sql"))
            .bind(self.ordering().to_string())
            .bind(&entries.customer)
            .bind(&entries.rank)
            .bind(&entries.id)
            .bind(&entries.digest)
            .bind(entries.malformed.iter().map(Option::is_some).collect::<Vec<_>>())
            .bind(&entries.case_id);
        let rows = self.rows(Step::Read, query).await?;
        answers(&rows, orders.len(), Step::Read, |word| match word {
            "ended" => Some(Found::Ended),
            "parked" => Some(Found::Parked),
            "quarantined" => Some(Found::Quarantined),
            "out of sequence" => Some(Found::OutOfSequence),
            "absent" => Some(Found::Absent),
            word => word.strip_prefix('!').map(|reason| Found::Conflict(reason.to_owned())),
        })
    }

    pub(super) async fn load_parked_runs(
        &mut self,
        customers: &[CustomerId],
        limit: u32,
    ) -> Result<Vec<ParkedRun>, LedgerError> {
        let names: Vec<&str> = customers.iter().map(CustomerId::as_str).collect();
        let query = sqlx::query(include_str!("parked_runs.sql"))
            .bind(self.ordering().to_string())
            .bind(&names)
            .bind(i64::from(limit));
        let rows = self.rows(Step::Read, query).await?;
        let empty =
            |customer: &CustomerId| ParkedRun { customer: customer.clone(), upto: 0, parked: 0, orders: vec![] };
        let mut runs: Vec<ParkedRun> = customers.iter().map(empty).collect();
        for row in &rows {
            let number: i32 = row.try_get(0).map_err(unread)?;
            let run = usize::try_from(number - 1).ok().and_then(|at| runs.get_mut(at));
            let run = run.ok_or_else(|| unreadable("the customer", &number))?;
            run.upto = rank(row.try_get(1).map_err(unread)?)?;
            run.parked = row.try_get::<i64, _>(2).map_err(unread)?.unsigned_abs();
            if let Some(ord) = row.try_get(3).map_err(unread)? {
                let entry = Arc::new(entry(self.ordering(), &run.customer, row)?);
                run.orders.push(Placed { rank: rank(ord)?, entry });
            }
        }
        Ok(runs)
    }

    pub(super) async fn sweep_parked(&mut self, limit: u32) -> Result<Vec<CustomerId>, LedgerError> {
        let after = std::mem::take(&mut self.swept);
        let query = sqlx::query(include_str!("sweep.sql"))
            .bind(self.ordering().to_string())
            .bind(&after)
            .bind(i64::from(limit));
        let rows = self.rows(Step::Write, query).await?;
        let mut next = Vec::new();
        for row in &rows {
            if row.try_get(1).map_err(unread)? {
                next.push(CustomerId::new(row.try_get::<&str, _>(0).map_err(unread)?));
            }
        }
        // A full page: the next sweep goes on behind it. Otherwise it begins anew.
        if let Some(last) = rows.last().filter(|_| rows.len() == limit as usize) {
            self.swept = last.try_get(0).map_err(unread)?;
        }
        Ok(next)
    }
}

/// One answer for each order, in their order.
fn answers<T>(
    rows: &[PgRow],
    expected: usize,
    step: Step,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, LedgerError> {
    if rows.len() != expected {
        return Err(unreadable("so many rows", &rows.len()));
    }
    let answer = |row: &PgRow| {
        let word: &str = row.try_get(0).map_err(|error| errors::classify(&error, step))?;
        read(word).ok_or_else(|| unreadable("the verdict", &word))
    };
    rows.iter().map(answer).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn unread(error: sqlx::Error) -> LedgerError {
    errors::classify(&error, Step::Read)
}

fn rank(text: &str) -> Result<Rank, LedgerError> {
    text.parse().map_err(|_| unreadable("the rank", &text))
}

/// The entry of a parked row. The digest is the one that it was parked under, whatever a later version makes of it.
fn entry(ordering: Ordering, customer: &CustomerId, row: &PgRow) -> Result<Entry, LedgerError> {
    let id = EntryId::new(row.try_get::<&str, _>(4).map_err(unread)?);
    let digest = digest(row.try_get(5).map_err(unread)?)?;
    let reason: Option<String> = row.try_get(6).map_err(unread)?;
    let body = String::from_utf8_lossy(row.try_get(7).map_err(unread)?).into_owned();
    let malformed =
        |reason, body| Entry::Malformed(Malformed { id, group: Some(customer.clone()), reason, body, digest });
    Ok(match reason {
        Some(reason) => malformed(reason, body),
        None => match Order::decode(ordering, body) {
            Ok(order) => Entry::Order(Order { digest, ..order }),
            Err((rejection, body)) => malformed(rejection.to_string(), body),
        },
    })
}
