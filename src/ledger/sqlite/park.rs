//! Parking: durable behind a predecessor, or behind a blocked head.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::customer::{self, Customer, json};
use super::quarantine::quarantine_id;
use super::work::Work;
use super::{Terms, errors, gate, rank};
use crate::ledger::{LedgerError, ParkVerdict, Placed};
use crate::order::{Entry, Ordering, Rank};

pub(super) struct Park<'a> {
    pub(super) orders: &'a [Placed],
}

impl Work for Park<'_> {
    type Answer = Vec<ParkVerdict>;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<Vec<ParkVerdict>, LedgerError> {
        if !gate::for_new(tx, terms).await? {
            return Ok(vec![ParkVerdict::GateClosed; self.orders.len()]);
        }
        let names: Vec<_> = self.orders.iter().filter_map(|placed| placed.entry.customer()).collect();
        let rows = customer::load(tx, &names).await?;
        let mut taken = Taken::load(tx, self.orders).await?;
        let mut changed: BTreeMap<&str, Customer> = BTreeMap::new();
        let mut verdicts = Vec::with_capacity(self.orders.len());
        for placed in self.orders {
            // A message of nobody's line waits for nothing.
            let Some(customer) = placed.entry.customer() else {
                verdicts.push(ParkVerdict::NotEarly);
                continue;
            };
            let name = customer.as_str();
            let row = changed.get(name).or_else(|| rows.get(name)).cloned().unwrap_or_default();
            let verdict = judge(terms.ordering, placed, &row, &taken);
            if verdict == ParkVerdict::Parked {
                insert(tx, name, placed).await?;
                taken.add(name, placed);
                changed.insert(name, Customer { parked: row.parked + 1, ..row });
            }
            verdicts.push(verdict);
        }
        customer::store(tx, &changed).await?;
        Ok(verdicts)
    }
}

fn judge(ordering: Ordering, placed: &Placed, row: &Customer, taken: &Taken) -> ParkVerdict {
    let upto = row.upto(ordering);
    let early = match ordering {
        Ordering::Gapless => placed.rank > upto + Rank::from(row.head.is_none()),
        Ordering::Fifo | Ordering::None => placed.rank > upto && (row.head.is_some() || row.parked > 0),
    };
    let head = row.head.as_ref();
    let at_head = head.is_some_and(|head| head.id == quarantine_id(&placed.entry) || head.rank == Some(placed.rank));
    match placed.entry.customer() {
        _ if !early => ParkVerdict::NotEarly,
        Some(customer) if at_head || taken.has(customer.as_str(), placed) => ParkVerdict::Taken,
        _ => ParkVerdict::Parked,
    }
}

/// What is parked already at the orders' places and under their names.
struct Taken {
    places: HashMap<String, HashSet<Rank>>,
    names: HashSet<String>,
}

impl Taken {
    async fn load(tx: &mut SqliteConnection, orders: &[Placed]) -> Result<Taken, LedgerError> {
        let names: Vec<_> = orders.iter().map(|placed| placed.entry.id()).collect();
        let sql = "SELECT j.value FROM json_each(?1) j CROSS JOIN parked_orders p ON p.order_id = j.value";
        let names = sqlx::query_scalar(sql).bind(json(&names)).fetch_all(&mut *tx).await.map_err(errors::error)?;
        let places: Vec<_> = orders.iter().map(|placed| (placed.entry.customer(), rank::text(placed.rank))).collect();
        let sql = "SELECT p.customer_id, p.ord FROM json_each(?1) j CROSS JOIN parked_orders p
             ON p.customer_id = j.value ->> 0 AND p.ord = j.value ->> 1";
        let rows = sqlx::query(sql).bind(json(&places)).fetch_all(tx).await.map_err(errors::error)?;
        let mut places: HashMap<String, HashSet<Rank>> = HashMap::new();
        for row in rows {
            let ord: String = row.try_get(1).map_err(errors::error)?;
            places.entry(row.try_get(0).map_err(errors::error)?).or_default().insert(rank::parse(&ord)?);
        }
        Ok(Taken { places, names: names.into_iter().collect() })
    }

    fn has(&self, customer: &str, placed: &Placed) -> bool {
        self.names.contains(placed.entry.id().as_str())
            || self.places.get(customer).is_some_and(|ranks| ranks.contains(&placed.rank))
    }

    fn add(&mut self, customer: &str, placed: &Placed) {
        self.names.insert(placed.entry.id().to_string());
        self.places.entry(customer.to_owned()).or_default().insert(placed.rank);
    }
}

/// One by one: bodies are bytes here, which JSON cannot carry.
async fn insert(tx: &mut SqliteConnection, customer: &str, placed: &Placed) -> Result<(), LedgerError> {
    let malformed = match &*placed.entry {
        Entry::Order(_) => None,
        Entry::Malformed(malformed) => Some(malformed.reason.as_str()),
    };
    let sql = "INSERT INTO parked_orders (customer_id, ord, order_id, digest, malformed, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let digest = placed.entry.digest();
    sqlx::query(sql)
        .bind(customer)
        .bind(rank::text(placed.rank))
        .bind(placed.entry.id().as_str())
        .bind(&digest.0[..])
        .bind(malformed)
        .bind(placed.entry.body().as_bytes())
        .execute(tx)
        .await
        .map_err(errors::error)?;
    Ok(())
}
