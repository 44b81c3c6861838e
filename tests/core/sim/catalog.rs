//! What was sent: the entries, and what is planted among them.

use millrace::core::Arrival;
use millrace::order::{CustomerId, Digest, EntryId, Ordering, Rank};

use super::chance::Chance;

/// How large every message is.
pub const MESSAGE_BYTES: u32 = 100;

#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is planted by itself")]
pub struct Entry {
    /// The customer; of a malformed message the group, if it has one.
    pub customer: Option<CustomerId>,
    pub id: EntryId,
    pub digest: Digest,
    /// The producer's number (gapless).
    pub sequence: Rank,
    pub malformed: bool,
    /// It fails by its own fault as long as nobody repairs it.
    pub poison: bool,
    /// It was poison before it was repaired: whoever saw it fail may still say so.
    pub was_poison: bool,
    /// Another entry claims its `order_id` or its place.
    pub contested: bool,
}

/// What stands for an entry, or one delivery of it, in the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parcel {
    pub entry: usize,
    pub rank: Rank,
    /// 0: loaded from the parked orders.
    pub receipt: u64,
}

#[derive(Debug, Clone)]
pub struct Catalog {
    pub ordering: Ordering,
    pub entries: Vec<Entry>,
    /// What is sent, in the order of sending: an entry may be sent more than once.
    pub sending: Vec<usize>,
}

impl Catalog {
    /// `customers` with up to `orders` each; faults of the orders themselves where `planted`.
    pub fn draw(ordering: Ordering, customers: usize, orders: usize, planted: bool, chance: &mut Chance) -> Self {
        let mut catalog = Self { ordering, entries: Vec::new(), sending: Vec::new() };
        for customer in 0..customers {
            let name = CustomerId::new(format!("c{customer}"));
            for sequence in 1..=chance.between(1, orders) {
                let id = format!("o-{customer}-{sequence}");
                let entry = catalog.add(Some(name.clone()), &id, 0, sequence as Rank);
                catalog.sending.push(entry);
                if planted {
                    catalog.plant(entry, chance);
                }
                if chance.permille(60) {
                    // The same order, sent again as another message.
                    catalog.sending.push(entry);
                }
            }
        }
        if ordering == Ordering::Fifo {
            // Only the order within a customer is given.
            let mut keys: Vec<(usize, usize)> = Vec::new();
            let mut clock = std::collections::BTreeMap::new();
            for &entry in &catalog.sending {
                let at = clock.entry(catalog.entries[entry].customer.clone()).or_insert(0);
                *at += chance.below(100);
                keys.push((*at, entry));
            }
            keys.sort_by_key(|(at, _)| *at);
            catalog.sending = keys.into_iter().map(|(_, entry)| entry).collect();
        } else {
            // Mostly near its place, sometimes far away.
            let mut keys: Vec<(usize, usize)> =
                catalog.sending.iter().enumerate().map(|(i, &e)| (i + chance.below(25), e)).collect();
            keys.sort_unstable();
            if chance.permille(300) {
                chance.shuffle(&mut keys);
            }
            catalog.sending = keys.into_iter().map(|(_, entry)| entry).collect();
        }
        catalog
    }

    fn plant(&mut self, entry: usize, chance: &mut Chance) {
        let Entry { customer, id, sequence, .. } = self.entries[entry].clone();
        if chance.permille(25) {
            self.entries[entry].poison = true;
            self.entries[entry].was_poison = true;
        }
        if chance.permille(25) {
            // The same order_id with another content; maybe of another customer.
            let other = if chance.permille(500) { customer.clone() } else { Some(CustomerId::new("c0")) };
            let copy = self.add(other, id.as_str(), 1, sequence);
            self.contest(&[entry, copy]);
        }
        if chance.permille(20) && self.ordering == Ordering::Gapless {
            // Another order for the same place.
            let copy = self.add(customer.clone(), &format!("{id}-x"), 0, sequence);
            self.contest(&[entry, copy]);
        }
        if chance.permille(20) {
            let group = customer.filter(|_| chance.permille(800));
            let malformed = self.add(group, &format!("!{id}"), 2, 0);
            self.entries[malformed].malformed = true;
            self.sending.push(malformed);
        }
    }

    /// Says that the second claims what the first has, and sends it.
    pub fn contest(&mut self, entries: &[usize]) {
        self.sending.push(entries[1]);
        for &entry in entries {
            let Entry { customer, id, sequence, .. } = self.entries[entry].clone();
            for other in &mut self.entries {
                // In fifo and none a place is taken by nobody.
                let place =
                    self.ordering == Ordering::Gapless && other.customer == customer && other.sequence == sequence;
                other.contested |= !other.malformed && (other.id == id || place);
            }
        }
    }

    /// An entry; the same `id` with another `content` is another one.
    pub fn add(&mut self, customer: Option<CustomerId>, id: &str, content: u8, sequence: Rank) -> usize {
        let mut digest = [content; 32];
        digest[1] = u8::try_from(id.len()).unwrap();
        if let Some(customer) = &customer {
            digest[2] = customer.as_str().as_bytes()[1];
        }
        let id = EntryId::new(id);
        let entry = Entry {
            customer,
            id,
            digest: Digest(digest),
            sequence,
            malformed: false,
            poison: false,
            was_poison: false,
            contested: false,
        };
        self.entries.push(entry);
        self.entries.len() - 1
    }

    pub fn entry(&self, parcel: Parcel) -> &Entry {
        &self.entries[parcel.entry]
    }

    pub fn arrival(&self, parcel: Parcel) -> Arrival<Parcel> {
        let entry = self.entry(parcel);
        Arrival {
            payload: parcel,
            customer: entry.customer.clone(),
            id: entry.id.clone(),
            digest: entry.digest,
            rank: parcel.rank,
            malformed: entry.malformed,
            bytes: MESSAGE_BYTES,
        }
    }
}
