//! A stand-in for SQS: at least once, in any order, or with message groups. It is as hostile as SQS may be.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace::core::Time;
use millrace::inbox::Settled;
use millrace::order::{CustomerId, Ordering, Rank};

use super::catalog::{Catalog, Parcel};
use super::chance::Chance;

#[derive(Debug)]
pub struct Message {
    pub entry: usize,
    pub rank: Rank,
    group: Option<CustomerId>,
    visible_at: Time,
    receipt: u64,
    pub deleted: bool,
}

#[derive(Debug)]
pub struct Sqs {
    ordering: Ordering,
    timeout: Duration,
    pub messages: Vec<Message>,
    receipts: BTreeMap<u64, usize>,
    /// Whether it misbehaves.
    pub faults: bool,
}

impl Sqs {
    pub fn new(ordering: Ordering, timeout: Duration) -> Self {
        Self { ordering, timeout, messages: Vec::new(), receipts: BTreeMap::new(), faults: true }
    }

    pub fn send(&mut self, entry: usize, catalog: &Catalog) {
        let what = &catalog.entries[entry];
        let rank = match self.ordering {
            Ordering::Gapless if what.malformed => 0,
            Ordering::Gapless => what.sequence,
            // Real numbers exceed 64 bits, and have gaps.
            Ordering::Fifo => (1 << 70) + 256 * self.messages.len() as Rank,
            Ordering::None => 0,
        };
        let group = (self.ordering == Ordering::Fifo).then(|| what.customer.clone()).flatten();
        self.messages.push(Message { entry, rank, group, visible_at: Time::ZERO, receipt: 0, deleted: false });
    }

    pub fn receive(&mut self, now: Time, max: u32, chance: &mut Chance) -> Vec<Parcel> {
        let mut chosen = self.available(now, chance);
        chosen.truncate(chance.between(1, max as usize));
        let mut parcels = Vec::new();
        for index in chosen {
            let receipt = self.receipts.len() as u64 + 1;
            self.receipts.insert(receipt, index);
            let twice = self.ordering != Ordering::Fifo && self.faults && chance.permille(10);
            let message = &mut self.messages[index];
            message.receipt = receipt;
            message.visible_at = if twice { now } else { now.after(self.timeout) };
            parcels.push(Parcel { entry: message.entry, rank: message.rank, receipt });
        }
        parcels
    }

    /// What may be received now. In a group nothing passes an earlier message that is in flight; whole rows of a group
    /// may come in one receive.
    fn available(&self, now: Time, chance: &mut Chance) -> Vec<usize> {
        let visible = |message: &Message| !message.deleted && message.visible_at <= now;
        if self.ordering != Ordering::Fifo {
            let mut found: Vec<usize> = Vec::new();
            for (index, message) in self.messages.iter().enumerate() {
                // Rarely a deleted message comes again.
                if visible(message) || (self.faults && message.deleted && chance.permille(1)) {
                    found.push(index);
                }
            }
            chance.shuffle(&mut found);
            return found;
        }
        let mut groups: BTreeMap<Option<&CustomerId>, Vec<usize>> = BTreeMap::new();
        let mut closed: Vec<Option<&CustomerId>> = Vec::new();
        for (index, message) in self.messages.iter().enumerate().filter(|(_, message)| !message.deleted) {
            let group = message.group.as_ref();
            if closed.contains(&group) {
                continue;
            }
            if visible(message) {
                groups.entry(group).or_default().push(index);
            } else {
                closed.push(group);
            }
        }
        let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
        chance.shuffle(&mut groups);
        groups.concat()
    }

    /// Deletes; returns the message when this really did.
    pub fn delete(&mut self, receipt: u64, now: Time, chance: &mut Chance) -> (Settled, Option<usize>) {
        let index = self.receipts[&receipt];
        let fifo = self.ordering == Ordering::Fifo;
        let message = &mut self.messages[index];
        if message.deleted {
            return (Settled::Done, None);
        }
        if self.faults && chance.permille(30) {
            return (Settled::Again("try again".into()), None);
        }
        let stale = message.receipt != receipt || (fifo && message.visible_at <= now);
        if stale && (fifo || chance.permille(500)) {
            let answer = if fifo { Settled::Gone("stale".into()) } else { Settled::Done };
            return (answer, None);
        }
        message.deleted = true;
        (Settled::Done, Some(index))
    }

    pub fn set_visibility(&mut self, receipt: u64, timeout: Duration, now: Time, chance: &mut Chance) -> Settled {
        let message = &mut self.messages[self.receipts[&receipt]];
        if message.deleted || message.receipt != receipt || message.visible_at <= now {
            return Settled::Gone("not in flight".into());
        }
        if self.faults && chance.permille(30) {
            return Settled::Again("try again".into());
        }
        message.visible_at = now.after(timeout);
        Settled::Done
    }

    /// Whether the message of this delivery is neither deleted nor visible, and this is its newest receipt.
    pub fn in_flight(&self, receipt: u64, now: Time) -> bool {
        let message = &self.messages[self.receipts[&receipt]];
        !message.deleted && message.receipt == receipt && message.visible_at > now
    }
}
