//! The model of the walk: the phase machine, the rows and the counters, in memory.

use std::collections::{BTreeMap, BTreeSet};

use millrace::backlog::{Kept, Read, Spooled};
use millrace::order::{Digest, Rank};
use millrace::window::{Epoch, Phase};

use super::bench::Place;

/// A row: whose it is (nobody comes last), its place, and when it arrived.
type Key = (bool, String, Rank, u64);

pub(crate) struct Model {
    pub(crate) phase: Phase,
    pub(crate) epoch: Epoch,
    pub(crate) turn: u64,
    /// A begin that died after its announcement.
    pub(crate) announced: Epoch,
    pub(crate) seal: (Epoch, u64),
    pub(crate) owner: Option<String>,
    rows: BTreeMap<Key, Spooled>,
    known: BTreeSet<(String, Digest)>,
    pub(crate) appended: u64,
    pub(crate) removed: u64,
}

fn identity(spooled: &Spooled) -> (String, Digest) {
    (spooled.entry.id().to_string(), spooled.entry.digest())
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Sealed,
            epoch: 0,
            turn: 0,
            announced: 0,
            seal: (0, 0),
            owner: None,
            rows: BTreeMap::new(),
            known: BTreeSet::new(),
            appended: 0,
            removed: 0,
        }
    }

    fn seal_is_announced(&self) -> bool {
        self.seal.0 == self.epoch && self.seal.1 > self.turn
    }

    pub(crate) fn place(&self) -> Place {
        let seal = self.phase == Phase::Spooling && self.seal_is_announced();
        (self.phase, self.epoch, self.turn, seal || self.announced > self.epoch)
    }

    pub(crate) fn append(&mut self, epoch: Epoch, orders: &[Spooled]) -> Result<Vec<Kept>, Place> {
        let place = self.place();
        if place.0 != Phase::Spooling || place.3 || epoch != self.epoch {
            return Err(place);
        }
        Ok(orders.iter().map(|spooled| self.keep(spooled)).collect())
    }

    fn keep(&mut self, spooled: &Spooled) -> Kept {
        if !self.known.insert(identity(spooled)) {
            return Kept::Known;
        }
        let name = spooled.entry.customer().map(ToString::to_string).unwrap_or_default();
        self.rows.insert((name.is_empty(), name, spooled.rank, self.appended), spooled.clone());
        self.appended += 1;
        Kept::New
    }

    /// The rows of a read without floors.
    pub(crate) fn read(&self, read: &Read) -> Vec<(Key, Spooled)> {
        let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
        let mut rows = Vec::new();
        for (key, spooled) in &self.rows {
            let name = key.1.as_str();
            if (!key.0 && name <= read.after.as_str()) || rows.len() == read.limit as usize {
                continue;
            }
            let line = lines.entry(name).or_default();
            if *line < read.share {
                *line += 1;
                rows.push((key.clone(), spooled.clone()));
            }
        }
        rows
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some(spooled) = self.rows.remove(key) {
            self.known.remove(&identity(&spooled));
            self.removed += 1;
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The first statement of a begin.
    pub(crate) fn announce(&mut self, epoch: Epoch) {
        self.announced = self.announced.max(epoch);
    }

    pub(crate) fn start_spooling(&mut self, epoch: Epoch) -> bool {
        self.announce(epoch);
        let lower = self.epoch < epoch;
        if lower {
            (self.phase, self.epoch) = (Phase::Spooling, epoch);
        }
        lower
    }

    pub(crate) fn announce_seal(&mut self, epoch: Epoch, turn: u64) -> bool {
        let here = (self.phase, self.epoch, self.turn) == (Phase::Spooling, epoch, turn);
        let taken = here && self.seal < (epoch, turn + 1);
        if taken {
            self.seal = (epoch, turn + 1);
        }
        taken
    }

    pub(crate) fn seal(&mut self, epoch: Epoch, turn: u64) -> bool {
        let here = (self.phase, self.epoch, self.turn) == (Phase::Spooling, epoch, turn);
        let taken = here && self.seal_is_announced();
        if taken {
            self.phase = Phase::Sealing;
        }
        taken
    }

    pub(crate) fn unseal(&mut self, epoch: Epoch, owner: &str) -> bool {
        let mine = self.owner.as_deref() == Some(owner);
        let taken = mine && self.phase != Phase::Sealed && self.epoch == epoch && self.seal_is_announced();
        if taken {
            (self.phase, self.turn) = (Phase::Spooling, self.seal.1);
        }
        taken
    }

    pub(crate) fn sealed(&mut self, epoch: Epoch) -> bool {
        let taken = (self.phase, self.epoch) == (Phase::Sealing, epoch) && self.rows.is_empty();
        if taken {
            self.phase = Phase::Sealed;
        }
        taken
    }
}
