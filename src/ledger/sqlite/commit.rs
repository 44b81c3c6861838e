//! The group commit: one verdict for each run, judged on the customers' rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::customer::{self, Customer, json};
use super::session::Work;
use super::write::{self, Accepted};
use super::{Terms, errors, gate, rank};
use crate::ledger::{Batch, LedgerError, Placed, Run, Verdict};
use crate::order::{CustomerId, Entry, EntryId, Order, Ordering, Rank};

pub(super) struct Commit<'a> {
    pub(super) batch: &'a Batch,
}

/// What a run may write, when it may.
struct Fresh<'a> {
    orders: Vec<(Rank, &'a Order)>,
    known: Vec<EntryId>,
}

impl Work for Commit<'_> {
    type Answer = Vec<Verdict>;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<Vec<Verdict>, LedgerError> {
        let runs = &self.batch.runs;
        let allowed = if self.batch.parked { gate::open_or_draining(tx).await? } else { gate::open(tx).await? };
        if !allowed {
            return Ok(vec![Verdict::GateClosed; runs.len()]);
        }
        let names: Vec<_> = runs.iter().map(|run| &run.customer).collect();
        let rows = customer::load(tx, &names).await?;
        let known = if terms.ordering == Ordering::Gapless { HashSet::new() } else { ended(tx, runs).await? };
        let lowest = if self.batch.parked { lowest_parked(tx, &names).await? } else { HashMap::new() };
        let mut verdicts = Vec::with_capacity(runs.len());
        let mut accepted = Vec::new();
        let mut changed = BTreeMap::new();
        for run in runs {
            let row = rows.get(run.customer.as_str()).cloned().unwrap_or_default();
            let fresh = fresh(run, &known)?;
            let lowest = self.batch.parked.then(|| lowest.get(run.customer.as_str()).copied());
            if let Some(refused) = refusal(terms.ordering, run, &row, &fresh, lowest)? {
                verdicts.push(refused);
                continue;
            }
            let row = advance(terms.ordering, row, &fresh, &mut accepted)?;
            let (upto, parked) = (row.upto(terms.ordering), row.parked());
            if !fresh.orders.is_empty() {
                changed.insert(run.customer.as_str(), row);
            }
            verdicts.push(Verdict::Committed { upto, parked, known: fresh.known });
        }
        let removed = write::orders(tx, terms, &accepted).await?;
        for (name, row) in &mut changed {
            row.parked -= removed.get(*name).copied().unwrap_or(0);
        }
        customer::store(tx, &changed).await?;
        for (run, verdict) in runs.iter().zip(&mut verdicts) {
            if let (Verdict::Committed { parked, .. }, Some(row)) = (verdict, changed.get(run.customer.as_str())) {
                *parked = row.parked();
            }
        }
        Ok(verdicts)
    }
}

/// The orders of a run that the ledger does not know, and the names of those that it does.
fn fresh<'a>(run: &'a Run, known: &HashSet<String>) -> Result<Fresh<'a>, LedgerError> {
    let mut fresh = Fresh { orders: Vec::with_capacity(run.orders.len()), known: Vec::new() };
    for Placed { rank, entry } in &run.orders {
        match &**entry {
            Entry::Malformed(_) => return Err(errors::misuse("a malformed message in a run")),
            Entry::Order(order) if known.contains(order.order_id.as_str()) => fresh.known.push(order.order_id.clone()),
            Entry::Order(order) => fresh.orders.push((*rank, order)),
        }
    }
    Ok(fresh)
}

/// Why a run may not be written. `lowest` is there for a parked run: the lowest rank that is parked, if any is.
fn refusal(
    ordering: Ordering,
    run: &Run,
    row: &Customer,
    fresh: &Fresh<'_>,
    lowest: Option<Option<Rank>>,
) -> Result<Option<Verdict>, LedgerError> {
    let first = run.orders.first().ok_or_else(|| errors::misuse("a run without orders"))?.rank;
    let upto = row.upto(ordering);
    let Some((fresh_first, _)) = fresh.orders.first() else { return Ok(None) };
    let ahead = Verdict::Ahead { upto, parked: row.parked() };
    Ok(match ordering {
        _ if row.head.is_some() => Some(Verdict::Blocked),
        Ordering::Gapless if first <= upto => Some(Verdict::Behind(upto)),
        Ordering::Gapless if first > upto + 1 => Some(ahead),
        Ordering::Gapless => {
            let follows = (first..).zip(&fresh.orders).all(|(expected, (rank, _))| *rank == expected);
            return if follows { Ok(None) } else { Err(errors::misuse("a run with a gap")) };
        }
        Ordering::Fifo if *fresh_first <= upto => Some(Verdict::Behind(upto)),
        Ordering::Fifo => match lowest {
            Some(lowest) => lowest.is_some_and(|lowest| lowest < first).then_some(ahead),
            None => (row.parked > 0).then_some(ahead),
        },
        Ordering::None => None,
    })
}

/// Gives the fresh orders of a run their positions.
fn advance<'a>(
    ordering: Ordering,
    mut row: Customer,
    fresh: &Fresh<'a>,
    accepted: &mut Vec<Accepted<'a>>,
) -> Result<Customer, LedgerError> {
    for (rank, order) in &fresh.orders {
        row.last_position = match ordering {
            Ordering::Gapless => rank::position(*rank)?,
            Ordering::Fifo | Ordering::None => row.last_position + 1,
        };
        if ordering == Ordering::Fifo {
            row.mark = row.mark.max(*rank);
        }
        accepted.push(Accepted { order, position: row.last_position });
    }
    Ok(row)
}

/// Which of the runs' orders have an end already, by name.
async fn ended(tx: &mut SqliteConnection, runs: &[Run]) -> Result<HashSet<String>, LedgerError> {
    let names: Vec<_> = runs.iter().flat_map(|run| run.orders.iter().map(|placed| placed.entry.id())).collect();
    let sql = "SELECT j.value FROM json_each(?1) j
         WHERE EXISTS (SELECT 1 FROM orders o WHERE o.order_id = j.value)
            OR EXISTS (SELECT 1 FROM tombstones t WHERE t.order_id = j.value)";
    let ended = sqlx::query_scalar(sql).bind(json(&names)).fetch_all(tx).await.map_err(errors::error)?;
    Ok(ended.into_iter().collect())
}

/// The lowest rank that is parked, for each of the customers that have one.
async fn lowest_parked(
    tx: &mut SqliteConnection,
    customers: &[&CustomerId],
) -> Result<HashMap<String, Rank>, LedgerError> {
    let sql = "SELECT j.value, (SELECT min(p.ord) FROM parked_orders p WHERE p.customer_id = j.value)
         FROM json_each(?1) j";
    let rows = sqlx::query(sql).bind(json(customers)).fetch_all(tx).await.map_err(errors::error)?;
    let mut lowest = HashMap::new();
    for row in rows {
        if let Some(ord) = row.try_get::<Option<String>, _>(1).map_err(errors::error)? {
            lowest.insert(row.try_get(0).map_err(errors::error)?, rank::parse(&ord)?);
        }
    }
    Ok(lowest)
}
