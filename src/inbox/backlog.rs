//! The backlog as an inbox: by this the drain is the same engine, over the same core, as the live work.
//!
//! A receive reads rows, a delete removes them, and a row that is handed back may be read again. Nothing here is
//! durable: what a dead drainer had in memory is still in the backlog.
//!
//! Customers take turns in the order of their names, each with at most `share` rows in memory. A customer that has
//! more is read again between two turns as soon as half of its share is drained: so it goes as fast as one customer
//! can, and the others do not wait for it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Delivery, Inbox, InboxError, InboxErrorClass, Receipt, Settled};
use crate::backlog::{Backlog, BacklogError, ErrorClass, Read, Row, Session};
use crate::metrics::{self, Request, Step};
use crate::order::{CustomerId, Ordering, Rank};

/// How often an empty backlog is looked at while a receive waits.
const EMPTY: Duration = Duration::from_millis(50);

/// Stands behind nobody's rows and before every name, which begins with a printable character.
const NOBODY: &str = "\u{1}";

/// An inbox over a backlog. Cheap to clone; all clones share what is in memory.
pub struct BacklogInbox<B: Backlog> {
    shared: Arc<Shared<B>>,
}

impl<B: Backlog> Clone for BacklogInbox<B> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<B: Backlog> {
    backlog: B,
    ordering: Ordering,
    share: u32,
    bytes_max: u64,
    reader: tokio::sync::Mutex<Option<B::Session>>,
    remover: tokio::sync::Mutex<Option<B::Session>>,
    turns: Mutex<Turns>,
}

impl<B: Backlog> BacklogInbox<B> {
    /// `share`: the most rows of one customer in memory; `bytes_max`: the most bytes of bodies that one receive brings.
    #[must_use]
    pub fn new(backlog: B, ordering: Ordering, share: u32, bytes_max: u64) -> Self {
        let shared = Shared {
            backlog,
            ordering,
            share,
            bytes_max,
            reader: tokio::sync::Mutex::new(None),
            remover: tokio::sync::Mutex::new(None),
            turns: Mutex::new(Turns::default()),
        };
        Self { shared: Arc::new(shared) }
    }

    async fn read(&self, max: u32) -> Result<Vec<Row>, BacklogError> {
        let read = self.turns(|turns| turns.next(self.shared.share, max, self.shared.bytes_max));
        let mut slot = self.shared.reader.lock().await;
        let begun = Instant::now();
        let mut session = session(&self.shared.backlog, &mut slot).await?;
        let rows = metrics::backlog(Request::BacklogRead, session.read(&read).await)?;
        *slot = Some(session);
        metrics::step(Step::BacklogRead, begun.elapsed());
        Ok(self.turns(|turns| turns.took(&read, self.shared.share, rows)))
    }

    fn turns<T>(&self, with: impl FnOnce(&mut Turns) -> T) -> T {
        with(&mut self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<B: Backlog> Inbox for BacklogInbox<B> {
    async fn receive(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, InboxError> {
        let begun = Instant::now();
        loop {
            // Twice: the first may only have found the end of the names.
            for _ in 0..2 {
                let rows = self.read(max).await.map_err(|error| away(&error))?;
                if !rows.is_empty() {
                    return Ok(rows.into_iter().map(|row| delivery(self.shared.ordering, row)).collect());
                }
            }
            if begun.elapsed() >= wait {
                return Ok(Vec::new());
            }
            tokio::time::sleep(EMPTY.min(wait)).await;
        }
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<Settled>, InboxError> {
        let rows: Vec<i64> = receipts.iter().filter_map(number).collect();
        let mut slot = self.shared.remover.lock().await;
        let begun = Instant::now();
        let mut session = session(&self.shared.backlog, &mut slot).await.map_err(|error| away(&error))?;
        metrics::backlog(Request::BacklogRemove, session.remove(&rows).await).map_err(|error| away(&error))?;
        *slot = Some(session);
        metrics::step(Step::BacklogRemove, begun.elapsed());
        self.turns(|turns| turns.forget(&rows));
        Ok(vec![Settled::Done; receipts.len()])
    }

    async fn set_visibility(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<Settled>, InboxError> {
        if timeout.is_zero() {
            let rows: Vec<i64> = receipts.iter().filter_map(number).collect();
            self.turns(|turns| turns.hand_back(&rows));
        }
        Ok(vec![Settled::Done; receipts.len()])
    }
}

async fn session<B: Backlog>(backlog: &B, slot: &mut Option<B::Session>) -> Result<B::Session, BacklogError> {
    match slot.take() {
        Some(session) => Ok(session),
        None => metrics::backlog(Request::BacklogConnect, backlog.connect().await),
    }
}

fn away(error: &BacklogError) -> InboxError {
    let class = match error.class {
        ErrorClass::Away => InboxErrorClass::Away,
        ErrorClass::Broken | ErrorClass::Unrecognised => InboxErrorClass::Refused,
    };
    InboxError { class, message: error.to_string() }
}

/// A row as it was received once. It is decoded again, by this version of the program.
fn delivery(ordering: Ordering, row: Row) -> Delivery {
    let in_line = row.malformed || ordering == Ordering::Fifo;
    Delivery {
        message_id: row.message_id,
        receipt: Receipt(row.row.to_string()),
        body: row.body,
        group: row.customer.filter(|_| in_line).map(|customer| customer.to_string()),
        sequence_number: (ordering == Ordering::Fifo).then_some(row.rank),
        sent_at_ms: row.sent_at_ms,
        receive_count: 1,
    }
}

fn number(receipt: &Receipt) -> Option<i64> {
    receipt.0.parse().ok()
}

/// Whose turn it is, and what is in memory.
#[derive(Debug, Default)]
struct Turns {
    /// The last name of the walk.
    after: String,
    /// The rows in memory, with their customers; the empty name is nobody's.
    rows: HashMap<i64, CustomerId>,
    /// Customers in memory.
    held: BTreeMap<CustomerId, HeldRows>,
    /// Customers that had more than their share.
    more: VecDeque<CustomerId>,
    /// Whether the last read went on with such a customer.
    refilled: bool,
}

#[derive(Debug, Default)]
struct HeldRows {
    count: u32,
    /// The highest that was read.
    floor: (Rank, i64),
}

impl Turns {
    /// What to read next: by turns the walk over the names, and a customer that has more.
    fn next(&mut self, share: u32, max: u32, bytes_max: u64) -> Read {
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        self.refilled = !self.refilled && !self.more.is_empty();
        if self.refilled {
            for _ in 0..self.more.len() {
                let Some(customer) = self.more.pop_front() else { break };
                let held = self.held.get(&customer);
                let count = held.map_or(0, |held| held.count);
                if count > share / 2 {
                    self.more.push_back(customer);
                    continue;
                }
                let (rank, row) = held.map_or((0, 0), |held| held.floor);
                let limit = (share - count).min(max);
                return Read {
                    floors: vec![(customer.clone(), rank, row)],
                    only: Some(customer),
                    share: limit,
                    limit,
                    bytes_max,
                    ..Read::default()
                };
            }
            self.refilled = false;
        }
        let after = self.after.clone();
        if after.is_empty() {
            // Once a round everything is looked at from the beginning: something may have come before what is held.
            self.held.values_mut().for_each(|held| held.floor = (0, 0));
        }
        // Nobody's rows come last, although their name is the first.
        let names = self.held.iter().filter(|(name, _)| name.as_str().is_empty() || name.as_str() > after.as_str());
        Read {
            floors: names
                .map(|(customer, held)| {
                    let (rank, row) = if held.count < share { held.floor } else { (Rank::MAX, i64::MAX) };
                    (customer.clone(), rank, row)
                })
                .collect(),
            after,
            share,
            limit: max,
            bytes_max,
            only: None,
        }
    }

    /// Takes what was read; says what of it is new.
    fn took(&mut self, read: &Read, share: u32, rows: Vec<Row>) -> Vec<Row> {
        if read.only.is_none() {
            // The empty name would mean the beginning, again and again, while nobody's rows fill the reads.
            self.after = rows.last().map_or(String::new(), |row| match name(row).as_str() {
                "" => NOBODY.to_owned(),
                name => name.to_owned(),
            });
        }
        // Who has its share in memory gets no more of what was read, and is read again from there.
        let mut full = BTreeSet::new();
        let mut counts: BTreeMap<CustomerId, u32> = BTreeMap::new();
        let mut new = Vec::with_capacity(rows.len());
        for row in rows {
            let customer = name(&row);
            let held = self.held.entry(customer.clone()).or_default();
            *counts.entry(customer.clone()).or_default() += 1;
            if full.contains(&customer) || (held.count >= share && !self.rows.contains_key(&row.row)) {
                full.insert(customer);
                continue;
            }
            held.floor = held.floor.max((row.rank, row.row));
            if self.rows.insert(row.row, customer).is_none() {
                held.count += 1;
                new.push(row);
            }
        }
        for (customer, count) in counts {
            if (count >= read.share || full.contains(&customer)) && !self.more.contains(&customer) {
                self.more.push_back(customer);
            }
        }
        new
    }

    /// They are read again, before what stands behind them.
    fn hand_back(&mut self, rows: &[i64]) {
        for row in rows {
            if let Some(held) = self.rows.get(row).and_then(|customer| self.held.get_mut(customer)) {
                held.floor = (0, 0);
            }
        }
        self.forget(rows);
    }

    fn forget(&mut self, rows: &[i64]) {
        for row in rows {
            let Some(customer) = self.rows.remove(row) else { continue };
            if let Some(held) = self.held.get_mut(&customer) {
                held.count -= 1;
                if held.count == 0 {
                    self.held.remove(&customer);
                }
            }
        }
    }
}

fn name(row: &Row) -> CustomerId {
    row.customer.clone().unwrap_or_else(|| CustomerId::new(""))
}
