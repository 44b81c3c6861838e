//! The group commit: one verdict for each run, judged on the customers' rows.

use std::collections::{BTreeMap, HashMap};

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::customer::{self, Customer, json};
use super::work::Work;
use super::write::{self, Accepted};
use super::{Terms, errors, gate, rank};
use crate::ledger::{Batch, ErrorClass, LedgerError, Placed, Run, Verdict};
use crate::order::{CustomerId, Entry, Order, Ordering, Rank};

pub(super) struct Commit<'a> {
    pub(super) batch: &'a Batch,
}

/// The orders of a run: what may be written, and what the ledger knows by name.
struct Sorted<'a> {
    fresh: Vec<(Rank, &'a Order)>,
    known: Vec<&'a Order>,
}

impl Work for Commit<'_> {
    type Answer = Vec<Verdict>;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<Vec<Verdict>, LedgerError> {
        let runs = &self.batch.runs;
        let allowed =
            if self.batch.parked { gate::for_parked(tx, terms).await? } else { gate::for_new(tx, terms).await? };
        if !allowed {
            return Ok(vec![Verdict::GateClosed; runs.len()]);
        }
        let names: Vec<_> = runs.iter().map(|run| &run.customer).collect();
        let rows = customer::load(tx, &names).await?;
        let known = if terms.ordering == Ordering::Gapless { HashMap::new() } else { ended(tx, runs).await? };
        let lowest = if self.batch.parked { lowest_parked(tx, &names).await? } else { HashMap::new() };
        let mut verdicts = Vec::with_capacity(runs.len());
        let mut accepted = Vec::new();
        let mut copies = Vec::new();
        let mut changed = BTreeMap::new();
        for run in runs {
            let row = rows.get(run.customer.as_str()).cloned().unwrap_or_default();
            let sorted = sort(run, &known)?;
            let waits = if terms.ordering == Ordering::Gapless {
                row.parked > 0 && has_rival(tx, run).await?
            } else if self.batch.parked {
                // The run itself is parked: what counts is what stands below it.
                lowest.get(run.customer.as_str()).is_some_and(|lowest| *lowest < first(run))
            } else {
                row.parked > 0
            };
            if let Some(refused) = refusal(terms.ordering, run, &row, &sorted, waits)? {
                verdicts.push(refused);
                continue;
            }
            let row = advance(terms.ordering, row, &sorted, &mut accepted)?;
            let (upto, parked) = (row.upto(terms.ordering), row.parked());
            // Where nothing is parked there are no copies, and a blocked customer is left as it is.
            if parked > 0 && row.head.is_none() {
                copies.extend(sorted.fresh.iter().map(|(_, order)| *order));
                // A copy of another content than the known order is a conflict, and has to stay.
                let same =
                    |order: &&&Order| known.get(order.order_id.as_str()).is_some_and(|known| known.covers(order));
                copies.extend(sorted.known.iter().filter(same));
            }
            if !sorted.fresh.is_empty() || parked > 0 {
                changed.insert(run.customer.as_str(), row);
            }
            let known = sorted.known.iter().map(|order| order.order_id.clone()).collect();
            verdicts.push(Verdict::Committed { upto, parked, known });
        }
        if terms.ordering == Ordering::Gapless {
            none_buried(tx, &accepted).await?;
        }
        write::orders(tx, terms, &accepted).await?;
        let removed = write::unpark(tx, &copies).await?;
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

fn sort<'a>(run: &'a Run, known: &HashMap<String, End>) -> Result<Sorted<'a>, LedgerError> {
    let mut sorted = Sorted { fresh: Vec::with_capacity(run.orders.len()), known: Vec::new() };
    for Placed { rank, entry } in &run.orders {
        match &**entry {
            Entry::Malformed(_) => return Err(errors::misuse("a malformed message in a run")),
            Entry::Order(order) if known.contains_key(order.order_id.as_str()) => sorted.known.push(order),
            Entry::Order(order) => sorted.fresh.push((*rank, order)),
        }
    }
    Ok(sorted)
}

/// A run without orders has nothing to write, and comes to no harm.
fn first(run: &Run) -> Rank {
    run.orders.first().map_or(0, |placed| placed.rank)
}

/// Whether another order was parked for one of the places of the run, and acked: it goes first.
async fn has_rival(tx: &mut SqliteConnection, run: &Run) -> Result<bool, LedgerError> {
    let sql = "SELECT p.ord, p.order_id, p.digest FROM json_each(?1) j
         CROSS JOIN parked_orders p ON p.customer_id = ?2 AND p.ord = j.value";
    let places: Vec<_> = run.orders.iter().map(|placed| rank::text(placed.rank)).collect();
    let rows: Vec<(String, String, Vec<u8>)> = sqlx::query_as(sql)
        .bind(json(&places))
        .bind(run.customer.as_str())
        .fetch_all(tx)
        .await
        .map_err(errors::error)?;
    Ok(rows.iter().any(|(ord, id, digest)| {
        let here = run.orders.iter().zip(&places).find(|(_, place)| *place == ord);
        here.is_some_and(|(placed, _)| placed.entry.id().as_str() != id || placed.entry.digest().0[..] != digest[..])
    }))
}

/// Why a run may not be written. `waits`: parked orders go first.
fn refusal(
    ordering: Ordering,
    run: &Run,
    row: &Customer,
    sorted: &Sorted<'_>,
    waits: bool,
) -> Result<Option<Verdict>, LedgerError> {
    let first = first(run);
    let upto = row.upto(ordering);
    // Nothing to write, nothing to refuse.
    let Some((fresh_first, _)) = sorted.fresh.first() else { return Ok(None) };
    let ahead = Verdict::Ahead { upto, parked: row.parked() };
    Ok(match ordering {
        Ordering::Gapless if first <= upto => Some(Verdict::Behind(upto)),
        Ordering::Fifo if *fresh_first <= upto => Some(Verdict::Behind(upto)),
        _ if row.head.is_some() => Some(Verdict::Blocked),
        Ordering::Gapless if first > upto + 1 => Some(ahead),
        Ordering::Gapless => {
            let follows = (first..).zip(&sorted.fresh).all(|(expected, (rank, _))| *rank == expected);
            return if follows { Ok(waits.then_some(ahead)) } else { Err(errors::misuse("a run with a gap")) };
        }
        Ordering::Fifo => waits.then_some(ahead),
        Ordering::None => None,
    })
}

/// Gives the fresh orders of a run their positions.
fn advance<'a>(
    ordering: Ordering,
    mut row: Customer,
    sorted: &Sorted<'a>,
    accepted: &mut Vec<Accepted<'a>>,
) -> Result<Customer, LedgerError> {
    for (rank, order) in &sorted.fresh {
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

/// The end that a name has: the content that it stands for. None, of a tombstone: whatever has the name.
struct End(Option<Vec<u8>>);

impl End {
    /// Whether it is the end of this very order.
    fn covers(&self, order: &Order) -> bool {
        self.0.as_deref().is_none_or(|digest| digest == order.digest.0)
    }
}

/// Which of the runs' orders have an end already, by name.
async fn ended(tx: &mut SqliteConnection, runs: &[Run]) -> Result<HashMap<String, End>, LedgerError> {
    let names: Vec<_> = runs.iter().flat_map(|run| run.orders.iter().map(|placed| placed.entry.id())).collect();
    let sql = "SELECT o.order_id, o.digest FROM json_each(?1) j CROSS JOIN orders o ON o.order_id = j.value
         UNION ALL
         SELECT t.order_id, t.digest FROM json_each(?1) j CROSS JOIN tombstones t ON t.order_id = j.value";
    let rows = sqlx::query(sql).bind(json(&names)).fetch_all(tx).await.map_err(errors::error)?;
    let mut ended = HashMap::with_capacity(rows.len());
    for row in rows {
        ended.insert(row.try_get(0).map_err(errors::error)?, End(row.try_get(1).map_err(errors::error)?));
    }
    Ok(ended)
}

/// A name that a tombstone has is taken, as one is that an order has: whose it is, is looked up by the caller.
async fn none_buried(tx: &mut SqliteConnection, accepted: &[Accepted<'_>]) -> Result<(), LedgerError> {
    let names: Vec<_> = accepted.iter().map(|accepted| &accepted.order.order_id).collect();
    let sql = "SELECT j.value FROM json_each(?1) j CROSS JOIN tombstones t ON t.order_id = j.value LIMIT 1";
    let buried = sqlx::query_scalar(sql).bind(json(&names));
    let buried: Option<String> = buried.fetch_optional(tx).await.map_err(errors::error)?;
    buried.map_or(Ok(()), |name| {
        Err(LedgerError { class: ErrorClass::Taken, message: format!("a tombstone has the order_id {name}") })
    })
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
