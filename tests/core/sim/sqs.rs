//! A stand-in for SQS: at least once, in any order, or with message groups. It is as hostile as SQS may be.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace::core::Time;
use millrace::inbox::Settled;
use millrace::order::{CustomerId, Ordering, Rank};

use super::catalog::{Catalog, Parcel};
use super::chance::Chance;
use super::faults::Faults;
use super::ms;
use super::tally::Kind;

/// For so long the same deduplication id is accepted and not stored (five minutes of a real queue).
pub const DEDUPLICATION: Duration = ms(300);

#[derive(Debug)]
pub struct Message {
    pub entry: usize,
    pub rank: Rank,
    group: Option<CustomerId>,
    /// Where it stands in a standard queue.
    turn: usize,
    visible_at: Time,
    /// When it was received last, and how often.
    received: (Time, u32),
    /// The newest handle; 0 when it is lost.
    receipt: u64,
    pub deleted: bool,
}

#[derive(Debug)]
pub struct Sqs {
    ordering: Ordering,
    timeout: Duration,
    /// The longest invisibility from a receive, however often it is extended (12 hours of a real queue).
    invisible_max: Duration,
    pub messages: Vec<Message>,
    next_turn: usize,
    /// The message of each receipt, and when it was received.
    receipts: BTreeMap<u64, (usize, Time)>,
    /// When each deduplication id was first accepted.
    sent: BTreeMap<usize, Time>,
}

impl Sqs {
    pub fn new(ordering: Ordering, timeout: Duration, invisible_max: Duration) -> Self {
        Self {
            ordering,
            timeout,
            invisible_max,
            messages: Vec::new(),
            next_turn: 0,
            receipts: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// Accepts a message; `name` is its deduplication id, which outlives the message.
    pub fn send(&mut self, entry: usize, name: usize, now: Time, catalog: &Catalog, faults: &mut Faults) {
        let what = &catalog.entries[entry];
        let fifo = self.ordering == Ordering::Fifo;
        if fifo && self.sent.get(&name).is_some_and(|first| now.since(*first) < DEDUPLICATION) {
            faults.tally.note(Kind::Deduplicated);
            return;
        }
        self.sent.insert(name, now);
        let rank = match self.ordering {
            Ordering::Gapless if what.malformed => 0,
            Ordering::Gapless => what.sequence,
            // Real numbers exceed 64 bits, and have gaps.
            Ordering::Fifo => (1 << 70) + 256 * self.messages.len() as Rank,
            Ordering::None => 0,
        };
        self.next_turn += 1;
        self.messages.push(Message {
            entry,
            rank,
            group: fifo.then(|| what.customer.clone()).flatten(),
            turn: self.next_turn,
            visible_at: Time::ZERO,
            received: (Time::ZERO, 0),
            receipt: 0,
            deleted: false,
        });
    }

    pub fn receive(&mut self, now: Time, max: u32, (faults, chance): (&mut Faults, &mut Chance)) -> Vec<Parcel> {
        let mut chosen = self.available(now, (&mut *faults, &mut *chance));
        chosen.truncate(chance.between(1, max as usize));
        let standard = self.ordering != Ordering::Fifo;
        let mut parcels = Vec::new();
        for index in chosen {
            let receipt = self.receipts.len() as u64 + 1;
            self.receipts.insert(receipt, (index, now));
            let twice = standard && faults.strike(Kind::Duplicated, chance);
            let message = &mut self.messages[index];
            message.receipt = receipt;
            message.visible_at = if twice { now } else { now.after(self.timeout) };
            message.received = (now, message.received.1 + 1);
            if message.received.1 > 1 {
                faults.tally.note(Kind::Redelivered);
            }
            if standard && message.received.1 >= 3 {
                faults.tally.note(Kind::BackOfQueue);
                self.next_turn += 1;
                message.turn = self.next_turn;
            }
            parcels.push(Parcel { entry: message.entry, rank: message.rank, receipt });
        }
        parcels
    }

    /// What may be received now. In a group nothing passes an earlier message that is in flight; whole rows of a group
    /// may come in one receive.
    fn available(&self, now: Time, (faults, chance): (&mut Faults, &mut Chance)) -> Vec<usize> {
        let visible = |message: &Message| !message.deleted && message.visible_at <= now;
        if self.ordering != Ordering::Fifo {
            let mut found: Vec<(usize, usize)> = Vec::new();
            for (index, message) in self.messages.iter().enumerate() {
                if visible(message) || (message.deleted && faults.strike(Kind::Undeleted, chance)) {
                    found.push((message.turn + chance.below(faults.disorder + 1), index));
                }
            }
            found.sort_unstable();
            return found.into_iter().map(|(_, index)| index).collect();
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

    /// Whether a receive could bring anything.
    pub fn has_visible(&self, now: Time) -> bool {
        self.messages.iter().any(|message| message.deleted || message.visible_at <= now)
    }

    /// Deletes, or not.
    pub fn delete(&mut self, receipt: u64, now: Time, (faults, chance): (&mut Faults, &mut Chance)) -> Settled {
        let fifo = self.ordering == Ordering::Fifo;
        let message = &mut self.messages[self.receipts[&receipt].0];
        if message.deleted {
            return Settled::Done;
        }
        if faults.strike(Kind::DeleteAgain, chance) {
            return Settled::Again("try again".into());
        }
        let stale = message.receipt != receipt || (fifo && message.visible_at <= now);
        if stale {
            faults.tally.note(Kind::StaleHandle);
            if fifo {
                return Settled::Gone("stale".into());
            }
            // It says so, and may have done it or not.
            message.deleted = chance.permille(500);
            return Settled::Done;
        }
        if faults.strike(Kind::DeleteGone, chance) {
            message.receipt = 0;
            return Settled::Gone("the handle is lost".into());
        }
        message.deleted = true;
        Settled::Done
    }

    pub fn set_visibility(
        &mut self,
        receipt: u64,
        timeout: Duration,
        now: Time,
        (faults, chance): (&mut Faults, &mut Chance),
    ) -> Settled {
        let message = &mut self.messages[self.receipts[&receipt].0];
        if message.deleted || message.receipt != receipt || message.visible_at <= now {
            faults.tally.note(Kind::StaleHandle);
            return Settled::Gone("not in flight".into());
        }
        if now.after(timeout) > message.received.0.after(self.invisible_max) {
            faults.tally.note(Kind::HeldTooLong);
            return Settled::Gone("beyond the longest invisibility".into());
        }
        if faults.strike(Kind::VisibilityAgain, chance) {
            return Settled::Again("try again".into());
        }
        if faults.strike(Kind::VisibilityGone, chance) {
            message.receipt = 0;
            return Settled::Gone("the handle is lost".into());
        }
        message.visible_at = now.after(timeout);
        Settled::Done
    }

    /// How long ago this delivery was received.
    pub fn age(&self, receipt: u64, now: Time) -> Duration {
        now.since(self.receipts[&receipt].1)
    }

    /// Whether the message of this delivery is neither deleted nor visible, and this is its newest receipt.
    pub fn in_flight(&self, receipt: u64, now: Time) -> bool {
        let message = &self.messages[self.receipts[&receipt].0];
        !message.deleted && message.receipt == receipt && message.visible_at > now
    }
}
