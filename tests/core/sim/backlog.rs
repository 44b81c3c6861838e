//! A stand-in for the backlog: the semantics of `src/backlog.rs` in plain maps, and its rows as an inbox for a drain.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use millrace::core::Appended;
use millrace::order::{CustomerId, Rank};
use millrace::window::{Epoch, Notice, Phase, PhaseView, Step};

use super::catalog::{Catalog, Parcel};
use super::chance::Chance;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Backlog {
    pub phase: Phase,
    pub epoch: Epoch,
    pub turn: u64,
    /// The turn for which a seal was announced.
    sealing_turn: Option<u64>,
    window_announced: Epoch,
    pub rows: BTreeMap<u64, Parcel>,
    next_row: u64,
    /// The drain that has the lease.
    pub lease: Option<u64>,
    pub appended: usize,
}

impl Backlog {
    pub fn new() -> Self {
        Self {
            phase: Phase::Sealed,
            epoch: 0,
            turn: 0,
            sealing_turn: None,
            window_announced: 0,
            rows: BTreeMap::new(),
            next_row: 1,
            lease: None,
            appended: 0,
        }
    }

    pub fn view(&self) -> PhaseView {
        PhaseView {
            phase: self.phase,
            epoch: self.epoch,
            turn: self.turn,
            announced: self.sealing_turn == Some(self.turn) || self.window_announced > self.epoch,
            since: Timestamp::UNIX_EPOCH,
            notice: Notice::default(),
        }
    }

    /// Under which epoch it takes orders.
    pub fn accepts(&self) -> Option<Epoch> {
        self.view().accepts().then_some(self.epoch)
    }

    /// All or nothing; the same entry is one row.
    pub fn append(&mut self, epoch: Epoch, orders: &[(Rank, Parcel)], catalog: &Catalog) -> Appended {
        if self.accepts() != Some(epoch) {
            return Appended::Refused(self.accepts());
        }
        for (rank, parcel) in orders {
            assert_eq!(*rank, parcel.rank);
            if !self.has(catalog, parcel.entry) {
                self.rows.insert(self.next_row, Parcel { receipt: 0, ..*parcel });
                self.next_row += 1;
                self.appended += 1;
            }
        }
        Appended::All
    }

    /// Whether a row keeps it: the message may be deleted (I3).
    pub fn has(&self, catalog: &Catalog, entry: usize) -> bool {
        let entry = &catalog.entries[entry];
        self.rows.values().any(|parcel| {
            let there = catalog.entry(*parcel);
            (&there.id, there.digest) == (&entry.id, entry.digest)
        })
    }

    /// A step of a window; false when it comes too late. Announcements come first by themselves.
    pub fn step(&mut self, step: Step) -> bool {
        match step {
            Step::StartSpooling(to) if self.epoch < to => {
                self.window_announced = self.window_announced.max(to);
                (self.phase, self.epoch, self.turn) = (Phase::Spooling, to, self.turn + 1);
            }
            Step::AnnounceSeal { epoch, turn } if self.is(Phase::Spooling, epoch) && self.turn == turn => {
                self.sealing_turn = Some(turn);
            }
            Step::Seal { epoch, turn } if self.is(Phase::Spooling, epoch) && self.turn == turn => {
                self.sealing_turn = Some(turn);
                self.phase = Phase::Sealing;
            }
            Step::Sealed(epoch) if self.is(Phase::Sealing, epoch) && self.rows.is_empty() => {
                self.phase = Phase::Sealed;
            }
            _ => return false,
        }
        true
    }

    /// The next window is announced, and whoever did so died.
    pub fn announce_window(&mut self, to: Epoch) {
        self.window_announced = self.window_announced.max(to);
    }

    /// Takes a seal back, or its announcement.
    pub fn unseal(&mut self, epoch: Epoch, owner: u64) -> bool {
        let sealing = self.phase == Phase::Sealing || self.sealing_turn == Some(self.turn);
        let may = self.epoch == epoch && self.lease == Some(owner) && self.phase != Phase::Sealed && sealing;
        if may {
            (self.phase, self.turn) = (Phase::Spooling, self.turn + 1);
        }
        may
    }

    fn is(&self, phase: Phase, epoch: Epoch) -> bool {
        self.phase == phase && self.epoch == epoch
    }
}

/// The backlog as one drain sees it. Nothing in it is durable.
#[derive(Debug)]
pub struct DrainInbox {
    /// The window that it drains.
    pub epoch: Epoch,
    /// Rows in its memory.
    held: BTreeSet<u64>,
    /// Up to where each customer was read; forgotten when a row is handed back.
    floors: BTreeMap<Option<CustomerId>, (Rank, u64)>,
    receipts: BTreeMap<u64, u64>,
}

impl DrainInbox {
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, held: BTreeSet::new(), floors: BTreeMap::new(), receipts: BTreeMap::new() }
    }

    /// Of some customers their next rows: ascending by rank, then by arrival, at most `share` of each.
    pub fn receive(&mut self, backlog: &Backlog, max: u32, catalog: &Catalog, chance: &mut Chance) -> Vec<Parcel> {
        let mut lines: BTreeMap<Option<CustomerId>, Vec<(Rank, u64)>> = BTreeMap::new();
        for (row, parcel) in &backlog.rows {
            lines.entry(catalog.entry(*parcel).customer.clone()).or_default().push((parcel.rank, *row));
        }
        let mut lines: Vec<_> = lines.into_iter().collect();
        chance.shuffle(&mut lines);
        let share = chance.between(1, 6);
        let mut parcels = Vec::new();
        for (customer, mut line) in lines {
            // What was appended behind the reader's back is found now, or in a later round.
            let floor = self.floors.get(&customer).copied().filter(|_| chance.permille(500)).unwrap_or_default();
            line.sort_unstable();
            line.retain(|at| *at > floor && !self.held.contains(&at.1));
            for (rank, row) in line.into_iter().take(share) {
                if parcels.len() == max as usize {
                    return parcels;
                }
                let receipt = self.receipts.len() as u64 + 1;
                self.receipts.insert(receipt, row);
                self.held.insert(row);
                let floor = self.floors.entry(customer.clone()).or_default();
                *floor = (*floor).max((rank, row));
                parcels.push(Parcel { receipt, ..backlog.rows[&row] });
            }
        }
        parcels
    }

    /// The row of a delivery.
    pub fn row(&self, receipt: u64) -> u64 {
        self.receipts[&receipt]
    }

    /// It is gone from the backlog.
    pub fn removed(&mut self, receipt: u64) {
        self.held.remove(&self.receipts[&receipt]);
    }

    /// It is handed back: its customer is read anew.
    pub fn returned(&mut self, receipt: u64, customer: Option<&CustomerId>) {
        self.held.remove(&self.receipts[&receipt]);
        self.floors.remove(&customer.cloned());
    }
}
