//! A backlog that is rows in memory, and reads as `backlog::Session::read` says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use millrace::backlog::{
    Append, Backlog, BacklogError, Claim, Depth, Drainer, ErrorClass, Lease, Read, Row, Session, Spooled,
};
use millrace::order::{CustomerId, Rank};
use millrace::window::{Epoch, Notice, PhaseView};

#[derive(Debug, Clone, Default)]
pub struct Rows {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// By customer, rank and number.
    rows: BTreeSet<(String, Rank, i64)>,
    last: i64,
    broken: bool,
}

impl Rows {
    /// One more row; the empty name is nobody's.
    pub fn append(&self, customer: &str, rank: Rank) {
        let mut shared = self.shared.lock().unwrap();
        shared.last += 1;
        let row = shared.last;
        shared.rows.insert((customer.to_owned(), rank, row));
    }

    pub fn len(&self) -> usize {
        self.shared.lock().unwrap().rows.len()
    }

    /// Whether calls fail from now on.
    pub fn break_next(&self, broken: bool) {
        self.shared.lock().unwrap().broken = broken;
    }

    fn call<T>(&self, call: impl FnOnce(&mut Shared) -> T) -> Result<T, BacklogError> {
        let mut shared = self.shared.lock().unwrap();
        if shared.broken {
            return Err(BacklogError { class: ErrorClass::Away, message: "switched off".into() });
        }
        Ok(call(&mut shared))
    }
}

impl Shared {
    fn read(&self, read: &Read) -> Vec<Row> {
        let mut lines: BTreeMap<&str, Vec<(Rank, i64)>> = BTreeMap::new();
        for (customer, rank, row) in &self.rows {
            let floor = read.floors.iter().find(|(name, ..)| name.as_str() == customer);
            let above = floor.is_none_or(|(_, floor, last)| (*rank, *row) > (*floor, *last));
            let meant = match &read.only {
                Some(only) => only.as_str() == customer,
                None => read.after.is_empty() || customer.as_str() > read.after.as_str(),
            };
            if above && meant {
                lines.entry(customer).or_default().push((*rank, *row));
            }
        }
        let mut found = Vec::new();
        let mut bytes = 0;
        for (customer, line) in lines {
            for (rank, row) in line.into_iter().take(read.share as usize) {
                let body = format!("{customer} {rank}");
                bytes += body.len();
                if found.len() == read.limit as usize || (!found.is_empty() && bytes > read.bytes_max as usize) {
                    return found;
                }
                found.push(Row {
                    row,
                    customer: (!customer.is_empty()).then(|| CustomerId::new(customer)),
                    rank,
                    malformed: customer.is_empty(),
                    message_id: format!("m-{row}"),
                    body,
                    sent_at_ms: None,
                });
            }
        }
        found
    }
}

impl Backlog for Rows {
    type Session = Self;

    async fn connect(&self) -> Result<Self, BacklogError> {
        self.call(|_| self.clone())
    }

    async fn migrate(&self) -> Result<usize, BacklogError> {
        unreachable!("an inbox only reads and removes")
    }
}

impl Session for Rows {
    async fn read(&mut self, read: &Read) -> Result<Vec<Row>, BacklogError> {
        self.call(|shared| shared.read(read))
    }

    async fn remove(&mut self, rows: &[i64]) -> Result<(), BacklogError> {
        self.call(|shared| shared.rows.retain(|(_, _, row)| !rows.contains(row)))
    }

    async fn phase(&mut self) -> Result<PhaseView, BacklogError> {
        unreachable!("an inbox only reads and removes")
    }

    async fn append(&mut self, _: Epoch, _: &[Spooled]) -> Result<Append, BacklogError> {
        unreachable!("an inbox only reads and removes")
    }

    async fn depth(&mut self) -> Result<Depth, BacklogError> {
        unreachable!("an inbox only reads and removes")
    }

    async fn lease(&mut self, _: &Claim) -> Result<Lease, BacklogError> {
        unreachable!("an inbox only reads and removes")
    }

    async fn release(&mut self, _: &str) -> Result<(), BacklogError> {
        unreachable!("an inbox only reads and removes")
    }

    async fn drainer(&mut self) -> Result<Option<Drainer>, BacklogError> {
        unreachable!("an inbox only reads and removes")
    }

    async fn start_spooling(&mut self, _: Epoch, _: &Notice) -> Result<bool, BacklogError> {
        unreachable!("an inbox only reads and removes")
    }

    async fn announce_seal(&mut self, _: Epoch, _: u64) -> Result<bool, BacklogError> {
        unreachable!("an inbox only reads and removes")
    }

    async fn seal(&mut self, _: Epoch, _: u64) -> Result<bool, BacklogError> {
        unreachable!("an inbox only reads and removes")
    }

    async fn unseal(&mut self, _: Epoch, _: &str) -> Result<bool, BacklogError> {
        unreachable!("an inbox only reads and removes")
    }

    async fn sealed(&mut self, _: Epoch) -> Result<bool, BacklogError> {
        unreachable!("an inbox only reads and removes")
    }
}
