//! A stand-in for the ledger: the semantics of `src/ledger.rs` in plain maps. It checks what is written: once, in
//! sequence, nothing past an order without an end, quarantine only where it was earned.

mod commit;
mod decide;
mod execute;
mod gate;

pub use commit::error;
pub use gate::{LedgerGate, Pass};

use std::collections::{BTreeMap, BTreeSet};

use millrace::core::Loaded;
use millrace::ledger::{CaseKind, CaseVerdict, Found, Gap, ParkVerdict};
use millrace::order::{CustomerId, Digest, EntryId, Ordering, Rank};

use super::catalog::{Catalog, Parcel};
use super::chance::Chance;

/// What a commit is given.
pub type Runs = Vec<(CustomerId, Vec<(Rank, Parcel)>)>;

#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Customer {
    pub last: Rank,
    pub mark: Rank,
    pub parked: u64,
    pub blocked_by: Option<(Parcel, EntryId, Digest)>,
    /// The ids at positions 1 to `last`, tombstones included.
    pub line: Vec<EntryId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ledger {
    pub ordering: Ordering,
    pub gate: LedgerGate,
    /// "Blocked" is told before "behind": the promise leaves it open.
    pub blocked_first: bool,
    pub faults: bool,
    /// How often, where `faults` come.
    pub rates: Rates,
    pub customers: BTreeMap<CustomerId, Customer>,
    pub orders: BTreeMap<EntryId, (CustomerId, Digest)>,
    pub tombstones: BTreeSet<(EntryId, Digest)>,
    /// What a person gave up, also where its name stands for another order.
    pub skipped: BTreeSet<(EntryId, Digest)>,
    pub parked: BTreeMap<(CustomerId, Rank), Parcel>,
    pub quarantine: BTreeMap<(EntryId, Digest), CaseKind>,
    /// Rows that a statement holds which nobody waits for any more.
    pub held_rows: BTreeSet<CustomerId>,
    pub commits: usize,
    /// How often a commit left the parked copy of its order behind.
    pub unseen: usize,
}

/// Of a thousand cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rates {
    /// A customer's row is locked.
    pub locked: usize,
    /// A commit does not see the parked copy of its order.
    pub unseen: usize,
}

impl Ledger {
    pub fn new(ordering: Ordering, blocked_first: bool) -> Self {
        Self {
            ordering,
            gate: LedgerGate::new(),
            blocked_first,
            faults: true,
            rates: Rates { locked: 20, unseen: 50 },
            customers: BTreeMap::new(),
            orders: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            skipped: BTreeSet::new(),
            parked: BTreeMap::new(),
            quarantine: BTreeMap::new(),
            held_rows: BTreeSet::new(),
            commits: 0,
            unseen: 0,
        }
    }

    /// Where a customer stands: the last position, or the mark.
    fn upto(&self, customer: &Customer) -> Rank {
        match self.ordering {
            Ordering::Gapless => customer.last,
            Ordering::Fifo => customer.mark,
            Ordering::None => 0,
        }
    }

    /// Whether the name stands for an order that has its end, whatever its content.
    fn is_known(&self, id: &EntryId) -> bool {
        self.orders.contains_key(id) || self.tombstones.iter().any(|(other, _)| other == id)
    }

    pub fn has_end(&self, id: &EntryId, digest: Digest) -> bool {
        self.tombstones.contains(&(id.clone(), digest)) || self.orders.get(id).is_some_and(|(_, d)| *d == digest)
    }

    fn parked_as(&self, catalog: &Catalog, id: &EntryId) -> Option<Parcel> {
        self.parked.values().copied().find(|parcel| catalog.entry(*parcel).id == *id)
    }

    /// Whether the ledger has it: the message may be deleted (I3).
    pub fn has(&self, catalog: &Catalog, entry: usize) -> bool {
        let entry = &catalog.entries[entry];
        let key = (entry.id.clone(), entry.digest);
        self.has_end(&entry.id, entry.digest)
            || self.skipped.contains(&key)
            || self.quarantine.contains_key(&key)
            || self.parked_as(catalog, &entry.id).is_some_and(|parcel| catalog.entry(parcel).digest == entry.digest)
    }

    pub fn park(&mut self, orders: &[Parcel], pass: Pass, catalog: &Catalog, chance: &mut Chance) -> Vec<ParkVerdict> {
        if !self.gate.admits(pass, false) {
            return vec![ParkVerdict::GateClosed; orders.len()];
        }
        let mut seen = BTreeSet::new();
        for parcel in orders {
            let entry = catalog.entry(*parcel);
            let place = (entry.customer.clone(), parcel.rank);
            assert!(seen.insert((Some(place), None)), "a place twice in one park: {orders:?}");
            assert!(seen.insert((None, Some(entry.id.clone()))), "an order_id twice in one park: {orders:?}");
        }
        let locked: BTreeSet<CustomerId> = orders
            .iter()
            .filter_map(|parcel| catalog.entry(*parcel).customer.clone())
            .filter(|customer| self.held_rows.contains(customer) || (self.faults && chance.permille(self.rates.locked)))
            .collect();
        self.gate.check(pass, false);
        orders.iter().map(|parcel| self.park_one(*parcel, catalog, &locked)).collect()
    }

    fn park_one(&mut self, parcel: Parcel, catalog: &Catalog, locked: &BTreeSet<CustomerId>) -> ParkVerdict {
        let entry = catalog.entry(parcel).clone();
        let name = entry.customer.expect("nobody's entry was parked");
        if locked.contains(&name) {
            return ParkVerdict::Again;
        }
        let customer = self.customers.get(&name).cloned().unwrap_or_default();
        let blocked = customer.blocked_by.is_some();
        let early = match self.ordering {
            Ordering::Gapless => parcel.rank > customer.last + u128::from(!blocked),
            Ordering::Fifo => parcel.rank > customer.mark && (blocked || customer.parked > 0),
            Ordering::None => false,
        };
        if !early {
            return ParkVerdict::NotEarly;
        }
        if let Some(there) = self.parked.get(&(name.clone(), parcel.rank)) {
            let there = catalog.entry(*there);
            let same = there.id == entry.id && there.digest == entry.digest;
            return if same { ParkVerdict::Parked } else { ParkVerdict::Taken };
        }
        let next_is_blocked = self.ordering == Ordering::Gapless && blocked && parcel.rank == customer.last + 1;
        let is_head = customer.blocked_by.is_some_and(|(_, id, digest)| id == entry.id && digest == entry.digest);
        if next_is_blocked || is_head || self.parked_as(catalog, &entry.id).is_some() {
            return ParkVerdict::Taken;
        }
        self.parked.insert((name.clone(), parcel.rank), Parcel { receipt: 0, ..parcel });
        self.customers.entry(name).or_default().parked += 1;
        ParkVerdict::Parked
    }

    pub fn look_up(&self, orders: &[Parcel], catalog: &Catalog) -> Vec<Found> {
        orders.iter().map(|parcel| self.look_up_one(*parcel, catalog)).collect()
    }

    fn look_up_one(&self, parcel: Parcel, catalog: &Catalog) -> Found {
        let entry = catalog.entry(parcel);
        if self.has_end(&entry.id, entry.digest) {
            return Found::Ended;
        }
        let other_content = Found::Conflict(format!("another content than {}", entry.id));
        // Also of what is in quarantine: a parked copy of it leaves with the case.
        if self.orders.contains_key(&entry.id) {
            return other_content;
        }
        if self.quarantine.contains_key(&(entry.id.clone(), entry.digest)) {
            return Found::Quarantined;
        }
        if self.tombstones.iter().any(|(id, _)| *id == entry.id) {
            return other_content;
        }
        if let Some(there) = self.parked_as(catalog, &entry.id) {
            return if catalog.entry(there).digest == entry.digest { Found::Parked } else { other_content };
        }
        let Some(name) = &entry.customer else { return Found::Absent };
        let customer = self.customers.get(name).cloned().unwrap_or_default();
        match self.ordering {
            Ordering::Gapless => {
                let blocked = customer.blocked_by.is_some() && parcel.rank == customer.last + 1;
                if parcel.rank <= customer.last || blocked || self.parked.contains_key(&(name.clone(), parcel.rank)) {
                    return Found::Conflict("its place is taken".into());
                }
            }
            Ordering::Fifo if parcel.rank <= customer.mark => return Found::OutOfSequence,
            Ordering::Fifo | Ordering::None => {}
        }
        Found::Absent
    }

    pub fn load(&self, names: &[CustomerId], limit: u32, catalog: &Catalog) -> Vec<Loaded<Parcel>> {
        let one = |name: &CustomerId| {
            let customer = self.customers.get(name).cloned().unwrap_or_default();
            let mut orders = Vec::new();
            if customer.blocked_by.is_none() {
                let mut next = customer.last + 1;
                for (_, parcel) in self.parked_of(name) {
                    if self.ordering == Ordering::Gapless {
                        if parcel.rank < next {
                            continue;
                        }
                        if parcel.rank > next {
                            break;
                        }
                        next += 1;
                    }
                    if orders.len() < limit as usize {
                        orders.push(catalog.arrival(parcel));
                    }
                }
            }
            Loaded { customer: name.clone(), upto: self.upto(&customer), parked: customer.parked, orders }
        };
        names.iter().map(one).collect()
    }

    pub fn parked_of(&self, name: &CustomerId) -> impl Iterator<Item = (Rank, Parcel)> + '_ {
        self.parked.range((name.clone(), 0)..=(name.clone(), Rank::MAX)).map(|((_, rank), parcel)| (*rank, *parcel))
    }

    pub fn quarantine(
        &mut self,
        parcel: Parcel,
        (kind, blocks): (CaseKind, bool),
        pass: Pass,
        catalog: &Catalog,
    ) -> CaseVerdict {
        let entry = catalog.entry(parcel).clone();
        let earned = match kind {
            CaseKind::Malformed => entry.malformed,
            CaseKind::Poison => entry.was_poison,
            CaseKind::Conflict => entry.contested,
            // Nothing is planted that could be out of sequence.
            CaseKind::OutOfSequence => false,
        };
        assert!(earned, "I7: {kind:?} for the innocent {entry:?} {parcel:?}");
        // What blocks takes a place in the line, as a commit does: what stands before it may be in the backlog.
        if !self.gate.admits(pass, !blocks) {
            return CaseVerdict::GateClosed;
        }
        self.gate.check(pass, !blocks);
        let key = (entry.id.clone(), entry.digest);
        let known = self.quarantine.contains_key(&key);
        let mut heads = self.customers.values().filter_map(|customer| customer.blocked_by.as_ref());
        if blocks && heads.any(|(_, id, digest)| (id, digest) == (&key.0, &key.1)) {
            return CaseVerdict::Quarantined;
        }
        if blocks {
            let name = entry.customer.clone().expect("nobody's entry blocks nobody");
            let customer = self.customers.get(&name).cloned().unwrap_or_default();
            if customer.blocked_by.is_some() {
                return CaseVerdict::Blocked;
            }
            let next = match self.ordering {
                Ordering::Gapless => parcel.rank == customer.last + 1 && !self.has_rival(&name, parcel, catalog),
                _ => parcel.rank > customer.mark && self.parked_of(&name).all(|(rank, _)| rank >= parcel.rank),
            };
            if !next || self.has_end(&entry.id, entry.digest) {
                return CaseVerdict::NotNext;
            }
            let blocked_by = Some((Parcel { receipt: 0, ..parcel }, entry.id.clone(), entry.digest));
            self.customers.entry(name).or_default().blocked_by = blocked_by;
        }
        // (Another content may have been parked when it was looked up, and meanwhile somebody committed it.)
        let late = kind == CaseKind::Conflict && entry.contested;
        assert!(known || late || !self.has_end(&entry.id, entry.digest), "at its end, and in quarantine: {entry:?}");
        if let Some(there) =
            self.parked_as(catalog, &entry.id).filter(|there| catalog.entry(*there).digest == entry.digest)
        {
            self.unpark(&catalog.entry(there).customer.clone().unwrap(), there.rank);
        }
        if blocks {
            self.quarantine.insert(key, kind);
        } else {
            self.quarantine.entry(key).or_insert(kind);
        }
        CaseVerdict::Quarantined
    }

    /// `gapless`: another order is parked for its place.
    fn has_rival(&self, name: &CustomerId, parcel: Parcel, catalog: &Catalog) -> bool {
        self.parked.get(&(name.clone(), parcel.rank)).is_some_and(|other| {
            let (other, entry) = (catalog.entry(*other), catalog.entry(parcel));
            (&other.id, other.digest) != (&entry.id, entry.digest)
        })
    }

    fn unpark(&mut self, name: &CustomerId, rank: Rank) {
        if self.parked.remove(&(name.clone(), rank)).is_some() {
            self.customers.get_mut(name).unwrap().parked -= 1;
        }
    }

    pub fn sweep(&mut self, limit: u32, pass: Pass, catalog: &Catalog) -> (Vec<CustomerId>, Vec<Gap>) {
        let (mut ready, mut gaps) = (Vec::new(), Vec::new());
        let admitted = self.gate.admits(pass, true);
        if admitted {
            let (orders, customers) = (&self.orders, &self.customers);
            let heads = || customers.values().filter_map(|customer| customer.blocked_by.as_ref());
            let blocks = |(id, digest): &(EntryId, Digest)| heads().any(|(_, by, of)| by == id && of == digest);
            let committed = |(id, digest): &(EntryId, Digest)| orders.get(id).is_some_and(|(_, there)| there == digest);
            self.quarantine.retain(|entry, _| blocks(entry) || !committed(entry));
        }
        let names: Vec<CustomerId> = self.customers.keys().cloned().collect();
        for name in names {
            if admitted && !self.held_rows.contains(&name) {
                self.sweep_line(&name, catalog);
            }
            let customer = &self.customers[&name];
            let Some((first, _)) = self.parked_of(&name).next() else { continue };
            if customer.blocked_by.is_some() {
                continue;
            }
            if self.ordering != Ordering::Gapless || first == customer.last + 1 {
                if ready.len() < limit as usize {
                    ready.push(name);
                }
            } else {
                let missing = u64::try_from(customer.last + 1).unwrap();
                gaps.push(Gap { customer: name, missing, parked: customer.parked });
            }
        }
        (ready, gaps)
    }

    /// Copies of what has an end or is in quarantine go; in `gapless` what lost its place to another order, too.
    fn sweep_line(&mut self, name: &CustomerId, catalog: &Catalog) {
        let (gapless, last) = (self.ordering == Ordering::Gapless, self.customers[name].last);
        let seen: Vec<_> = self.parked_of(name).filter(|(rank, _)| !gapless || *rank <= last).collect();
        for (rank, parcel) in seen {
            let entry = catalog.entry(parcel);
            let key = (entry.id.clone(), entry.digest);
            let ended = self.has_end(&entry.id, entry.digest) || self.quarantine.contains_key(&key);
            if !ended && gapless {
                assert!(entry.contested, "I7: {entry:?} lost its place");
                self.quarantine.insert(key, CaseKind::Conflict);
            }
            if ended || gapless {
                self.unpark(name, rank);
            }
        }
    }
}
