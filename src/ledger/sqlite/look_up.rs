//! Looking orders up: what the ledger knows of each, from one state of the file.

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::customer::{self, Customer, json};
use super::quarantine::quarantine_id;
use super::work::Work;
use super::{Terms, errors, rank};
use crate::ledger::{Found, LedgerError, Placed};
use crate::order::{Entry, Ordering};

pub(super) struct LookUp<'a> {
    pub(super) orders: &'a [Placed],
}

/// What is asked for. A message that stands nowhere has no place.
#[derive(Serialize)]
struct Asked<'a> {
    id: &'a str,
    quarantine: String,
    customer: Option<&'a str>,
    ord: Option<String>,
    position: Option<i64>,
}

/// What was found of one order.
#[derive(Debug, Default)]
struct Known {
    /// The digest of the order that has the name.
    ended: Option<Vec<u8>>,
    /// The tombstone that has the name.
    skipped: Option<Skipped>,
    quarantined: Option<Vec<u8>>,
    /// Digest and customer of what is parked under the name.
    parked: Option<(Vec<u8>, String)>,
    place: Option<Place>,
}

/// A tombstone with a name.
#[derive(Debug)]
struct Skipped {
    /// The content that the name stood for; none: whatever has it.
    digest: Option<Vec<u8>>,
    /// Whose position it is, and who decided.
    words: String,
}

/// Who stands at the place that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Ended,
    Skipped,
    Parked,
    Blocked,
}

const SQL: &str = "WITH asked AS MATERIALIZED (
        SELECT key AS k, value ->> 'id' AS id, value ->> 'quarantine' AS q, value ->> 'customer' AS customer,
               value ->> 'ord' AS ord, value ->> 'position' AS position
        FROM json_each(?1))
    SELECT k, 'ended', o.digest, NULL FROM asked CROSS JOIN orders o ON o.order_id = id
    UNION ALL SELECT k, 'skipped', t.digest,
            'position ' || t.position || ' of customer ' || t.customer_id || ' was skipped by ' || t.actor
        FROM asked CROSS JOIN tombstones t ON t.order_id = id
    UNION ALL SELECT k, 'quarantined', x.digest, NULL FROM asked CROSS JOIN quarantined_orders x ON x.id = q
    UNION ALL SELECT k, 'parked', p.digest, p.customer_id FROM asked CROSS JOIN parked_orders p ON p.order_id = id
    UNION ALL SELECT k, 'place ended', NULL, NULL FROM asked
        CROSS JOIN orders o ON o.customer_id = customer AND o.position = asked.position
    UNION ALL SELECT k, 'place skipped', NULL, NULL FROM asked
        CROSS JOIN tombstones t ON t.customer_id = customer AND t.position = asked.position
    UNION ALL SELECT k, 'place parked', NULL, NULL FROM asked
        CROSS JOIN parked_orders p ON p.customer_id = customer AND p.ord = asked.ord";

impl Work for LookUp<'_> {
    type Answer = Vec<Found>;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<Vec<Found>, LedgerError> {
        let asked: Vec<_> = self.orders.iter().map(|placed| ask(terms.ordering, placed)).collect();
        let rows = sqlx::query(SQL).bind(json(&asked)).fetch_all(&mut *tx).await.map_err(errors::error)?;
        let mut known: Vec<Known> = self.orders.iter().map(|_| Known::default()).collect();
        for row in rows {
            note(&mut known, &row)?;
        }
        let names: Vec<_> = self.orders.iter().filter_map(|placed| placed.entry.customer()).collect();
        let customers = customer::load(tx, &names).await?;
        let found = self.orders.iter().zip(known).map(|(placed, known)| {
            let row = placed.entry.customer().and_then(|customer| customers.get(customer.as_str()));
            judge(terms.ordering, placed, known, row.unwrap_or(&Customer::default()))
        });
        Ok(found.collect())
    }
}

fn ask(ordering: Ordering, placed: &Placed) -> Asked<'_> {
    let has_place = placed.rank > 0;
    Asked {
        id: placed.entry.id().as_str(),
        quarantine: quarantine_id(&placed.entry),
        customer: placed.entry.customer().map(crate::order::CustomerId::as_str),
        ord: has_place.then(|| rank::text(placed.rank)),
        position: i64::try_from(placed.rank).ok().filter(|_| has_place && ordering == Ordering::Gapless),
    }
}

fn note(known: &mut [Known], row: &SqliteRow) -> Result<(), LedgerError> {
    let key: i64 = row.try_get(0).map_err(errors::error)?;
    let known = usize::try_from(key).ok().and_then(|key| known.get_mut(key));
    let known = known.ok_or_else(|| errors::misuse("an answer that nobody asked for"))?;
    let kind: &str = row.try_get(1).map_err(errors::error)?;
    let digest: Option<Vec<u8>> = row.try_get(2).map_err(errors::error)?;
    // Or, of a tombstone, what there is to say of it.
    let customer: Option<String> = row.try_get(3).map_err(errors::error)?;
    match kind {
        "ended" => known.ended = digest,
        "skipped" => known.skipped = Some(Skipped { digest, words: customer.unwrap_or_default() }),
        "quarantined" => known.quarantined = digest,
        "parked" => known.parked = digest.zip(customer),
        "place ended" => known.place = Some(Place::Ended),
        "place skipped" => known.place = Some(Place::Skipped),
        _ => known.place = known.place.or(Some(Place::Parked)),
    }
    Ok(())
}

fn judge(ordering: Ordering, placed: &Placed, known: Known, row: &Customer) -> Found {
    let digest = &placed.entry.digest().0[..];
    let customer = placed.entry.customer().map(crate::order::CustomerId::as_str);
    let id = placed.entry.id();
    // A message id stands for one content.
    let malformed = matches!(*placed.entry, Entry::Malformed(_));
    let blocked = row.head.as_ref().is_some_and(|head| placed.rank > 0 && head.rank == Some(placed.rank));
    let place = known.place.or(blocked.then_some(Place::Blocked));
    if let Some(ended) = known.ended {
        return if ended == digest {
            Found::Ended
        } else {
            Found::Conflict(format!("order_id {id} is in the ledger with another content"))
        };
    }
    match known.skipped {
        Some(skipped) if malformed || skipped.digest.as_deref().is_none_or(|skipped| skipped == digest) => {
            return Found::Ended;
        }
        Some(Skipped { words, .. }) => {
            return Found::Conflict(format!("order_id {id} stands for another order, whose {words}"));
        }
        None => {}
    }
    if known.quarantined.is_some_and(|quarantined| malformed || quarantined == digest) {
        return Found::Quarantined;
    }
    match known.parked {
        Some((parked, owner)) if malformed || (parked == digest && Some(owner.as_str()) == customer) => {
            return Found::Parked;
        }
        Some(_) => return Found::Conflict(format!("order_id {id} is parked with another content")),
        None => {}
    }
    let rank = placed.rank;
    match place {
        Some(Place::Ended) => Found::Conflict(format!("place {rank} belongs to another order")),
        Some(Place::Skipped) => Found::Conflict(format!("place {rank} was skipped")),
        Some(Place::Parked) => Found::Conflict(format!("another order is parked at place {rank}")),
        Some(Place::Blocked) => Found::Conflict(format!("another order is in quarantine at place {rank}")),
        None if ordering == Ordering::Fifo && rank <= row.mark && stands_in_line(&placed.entry) => Found::OutOfSequence,
        None => Found::Absent,
    }
}

/// A message of nobody's line has no predecessor.
fn stands_in_line(entry: &Entry) -> bool {
    entry.customer().is_some()
}
