//! A lane: one customer's orders in the hands of this instance, in order. It decides what the customer needs next.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Settings;
use super::deliveries::DeliveryNo;
use super::time::Time;
use crate::order::{CustomerId, Digest, EntryId, Ordering, Rank};

/// The place of an order in a lane: its rank, and the arrival for two that claim the same rank; 0 for a parked order,
/// which was there before any delivery.
pub(super) type Place = (Rank, u64);

/// One order in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Held<P> {
    pub id: EntryId,
    pub digest: Digest,
    pub payload: P,
    /// It is no order: it can only go to quarantine, at its place.
    pub malformed: bool,
    /// It was loaded from the ledger's parked orders.
    pub parked: bool,
    /// The deliveries that end with it: none for a parked order, more than one after redelivery.
    pub delivery: Option<DeliveryNo>,
    pub copies: Vec<DeliveryNo>,
    /// It failed by its own fault while it stood next.
    pub fault: Option<String>,
    /// How often the ledger said in vain what is to be done with it.
    pub tries: u32,
}

impl<P> Held<P> {
    /// All deliveries that end with it.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = DeliveryNo> + '_ {
        self.delivery.into_iter().chain(self.copies.iter().copied())
    }

    fn spoilt(&self) -> bool {
        self.malformed || self.fault.is_some()
    }
}

/// The customer's lock, as far as this instance knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lock {
    /// It has to be asked for.
    Wanted,
    /// The question is on its way, or waits for the call before it.
    Asked,
    /// Another instance has it; asked in vain since then.
    Elsewhere { since: Time },
    /// Ours until then.
    Held { until: Time },
    /// We go on without: the locks are away, or we waited long enough. The ledger decides. Asked for again at this
    /// time, without waiting for the answer.
    Without { again_at: Time },
}

/// What is known of the customer's parked orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ParkedRun {
    /// Nothing that could be committed next.
    None,
    /// There are some: load what stands next.
    Wanted,
}

/// What a lane needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Next {
    /// Nothing is left to do.
    Idle,
    /// An answer has to come, or this time.
    Wait(Option<Time>),
    /// A lock.
    Lock,
    /// The ledger.
    Write(Step),
}

/// What a lane wants of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    /// Commit the run at its head.
    Commit,
    /// Commit the parked run that was loaded.
    CommitParked,
    /// Park its orders.
    Park,
    /// Load its parked run.
    Load,
    /// Put its head into quarantine.
    Quarantine,
    /// Append its orders to the backlog.
    Spool,
}

/// One customer's orders.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is true or not by itself")]
pub(super) struct Lane<P> {
    /// Boxed, so that a line of one order is a small thing.
    pub orders: BTreeMap<Place, Box<Held<P>>>,
    /// The last position (`gapless`) or mark (`fifo`) that the ledger told. It only grows, so what lies at or below it
    /// is certainly over; what lies above it may be further on than we know.
    pub upto: Option<Rank>,
    pub parked_run: ParkedRun,
    /// How many of its orders are parked in the ledger, as last told.
    pub parked: u64,
    /// `gapless`: another order is parked for a place of ours and goes first, so what is parked is loaded before
    /// anything is committed, and one order is committed at a time.
    pub contested: bool,
    /// The customer's next order is in quarantine.
    pub blocked: bool,
    pub lock: Lock,
    /// A write of this lane is on its way, or waits to be sent again: one at a time (I11).
    pub busy: bool,
    /// It stands in a queue for the ledger.
    pub queued: Option<Step>,
    pub not_before: Option<Time>,
    /// How often in a row the ledger could not say.
    pub tries: u32,
    /// Since when its head waits for a predecessor.
    pub early_since: Option<Time>,
    /// Memory is full: what is early is parked at once.
    pub pressed: bool,
    /// Since when it has nothing to do.
    pub idle_since: Option<Time>,
    /// What stands for it in the core's timers.
    pub timer: Option<Time>,
}

impl<P> Lane<P> {
    pub(super) fn new() -> Self {
        Self {
            orders: BTreeMap::new(),
            upto: None,
            parked_run: ParkedRun::None,
            parked: 0,
            contested: false,
            blocked: false,
            lock: Lock::Wanted,
            busy: false,
            queued: None,
            not_before: None,
            tries: 0,
            early_since: None,
            pressed: false,
            idle_since: None,
            timer: None,
        }
    }

    /// An order of the lane.
    ///
    /// # Panics
    ///
    /// When it is not there any more; a busy lane keeps its orders.
    pub(super) fn at(&self, place: &Place) -> &Held<P> {
        self.orders.get(place).expect("a busy lane keeps its orders")
    }

    /// What the lane needs next. Pure: the same lane at the same time says the same.
    pub(super) fn next(&self, settings: &Settings, spooling: bool, now: Time) -> Next {
        if self.busy {
            return Next::Wait(None);
        }
        if spooling {
            // The backlog sorts them; no lock and no knowledge of the ledger is needed.
            return if self.orders.is_empty() { Next::Idle } else { Next::Write(Step::Spool) };
        }
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            return Next::Wait(Some(at));
        }
        if self.orders.is_empty() && (self.blocked || self.parked_run == ParkedRun::None) {
            return Next::Idle;
        }
        match self.lock {
            Lock::Wanted => return Next::Lock,
            Lock::Asked | Lock::Elsewhere { .. } => return Next::Wait(None),
            // Too little of the lease is left for a statement: renew it first. This saves work; it is no safety.
            Lock::Held { until } if until <= now.after(settings.statement_timeout) => return Next::Lock,
            Lock::Held { .. } | Lock::Without { .. } => {}
        }
        if self.blocked {
            return Next::Write(Step::Park);
        }
        match settings.ordering {
            Ordering::Gapless => self.next_gapless(settings, now),
            Ordering::Fifo | Ordering::None => self.next_queued(),
        }
    }

    fn next_gapless(&self, settings: &Settings, now: Time) -> Next {
        let Some(((rank, _), head)) = self.orders.first_key_value() else {
            return Next::Write(Step::Load);
        };
        // Without knowledge the head is tried: the verdict tells where the customer stands. After a surprise a load
        // tells it, because a blocked customer's verdict does not.
        if (self.upto.is_none() || self.contested) && self.parked_run == ParkedRun::Wanted {
            return Next::Write(Step::Load);
        }
        if self.upto.is_none_or(|upto| *rank <= upto + 1) {
            return Next::Write(if head.spoilt() { Step::Quarantine } else { Step::Commit });
        }
        if self.parked_run == ParkedRun::Wanted {
            return Next::Write(Step::Load);
        }
        match self.early_since.unwrap_or(now).after(settings.early_wait) {
            at if at <= now || self.pressed => Next::Write(Step::Park),
            at => Next::Wait(Some(at)),
        }
    }

    /// In `fifo` and `none` what is parked goes first.
    fn next_queued(&self) -> Next {
        let parked = self.orders.values().find(|held| held.parked);
        let step = match (parked, self.parked_run) {
            (Some(held), _) if held.spoilt() => Step::Quarantine,
            (Some(_), _) => Step::CommitParked,
            (None, ParkedRun::Wanted) => Step::Load,
            (None, ParkedRun::None) => match self.orders.values().next() {
                Some(held) if held.spoilt() => Step::Quarantine,
                _ => Step::Commit,
            },
        };
        Next::Write(step)
    }

    /// The places of the run to commit: ascending, of one kind, without a gap in `gapless`, none of them spoilt, one
    /// a rank. `batch` has the `order_id`s of the whole batch with the number of their run; this is run `number`.
    pub(super) fn run(
        &self,
        ordering: Ordering,
        parked: bool,
        most: usize,
        batch: &mut BTreeMap<EntryId, usize>,
        number: usize,
    ) -> Vec<Place> {
        let most = if self.contested { 1 } else { most };
        let mut run: Vec<Place> = Vec::new();
        for (place, held) in &self.orders {
            // In gapless a parked order is committed like any other; elsewhere the two kinds never mix.
            if ordering != Ordering::Gapless && held.parked != parked {
                continue;
            }
            match run.last() {
                // Two claim this rank: the first is tried, the other is looked up when the first has its end.
                Some((rank, _)) if *rank == place.0 && ordering != Ordering::None => continue,
                Some((rank, _)) if ordering == Ordering::Gapless && *rank + 1 != place.0 => break,
                _ => {}
            }
            if held.spoilt() || run.len() == most {
                break;
            }
            match batch.entry(held.id.clone()) {
                Entry::Vacant(free) => {
                    free.insert(number);
                    run.push(*place);
                }
                // The same order_id again in this run is a duplicate or a conflict, so in fifo what follows may pass
                // it; it is looked up then. In gapless nothing follows a place that stays open.
                Entry::Occupied(taken) if *taken.get() == number && ordering != Ordering::Gapless => {}
                Entry::Occupied(_) => break,
            }
        }
        run
    }

    /// The places to park: one a rank and one an `order_id` in the whole call; `call` has those with their customers.
    pub(super) fn park_run(
        &self,
        customer: &CustomerId,
        most: usize,
        call: &mut BTreeMap<EntryId, CustomerId>,
    ) -> Vec<Place> {
        let mut run: Vec<Place> = Vec::new();
        for (place, held) in &self.orders {
            if run.len() == most {
                break;
            }
            match call.get(&held.id) {
                _ if run.last().is_some_and(|(rank, _)| *rank == place.0) => {}
                None => {
                    call.insert(held.id.clone(), customer.clone());
                    run.push(*place);
                }
                Some(other) if other == customer => {}
                // Nothing passes it; it is parked, or found to be a conflict, by the next call.
                Some(_) => break,
            }
        }
        run
    }

    /// The place of the entry that [`Step::Quarantine`] means.
    pub(super) fn spoilt_head(&self, ordering: Ordering) -> Option<Place> {
        let first_parked = || self.orders.iter().find(|(_, held)| held.parked);
        let head = match ordering {
            Ordering::Gapless => self.orders.first_key_value(),
            Ordering::Fifo | Ordering::None => first_parked().or_else(|| self.orders.first_key_value()),
        };
        head.filter(|(_, held)| held.spoilt()).map(|(place, _)| *place)
    }

    /// The same entry at this rank, if it is here already.
    pub(super) fn same(&mut self, rank: Rank, id: &EntryId, digest: Digest) -> Option<&mut Held<P>> {
        let there = self.orders.range_mut((rank, 0)..=(rank, u64::MAX));
        there.map(|(_, held)| &mut **held).find(|held| held.id == *id && held.digest == digest)
    }

    /// The same entry was loaded from the parked orders: it goes to their `place`, before another for its rank.
    pub(super) fn park_same(&mut self, place: Place, id: &EntryId, digest: Digest, arrival: u64) {
        let mut there = self.orders.range((place.0, 0)..=(place.0, u64::MAX));
        let Some(from) = there.find(|(_, held)| held.id == *id && held.digest == digest).map(|(from, _)| *from) else {
            return;
        };
        if let Some(mut held) = self.orders.remove(&from) {
            held.parked = true;
            self.make_room(place, arrival);
            self.orders.insert(place, held);
        }
    }

    /// Who stands at `place`, a parked order once, goes behind with the number of this arrival.
    pub(super) fn make_room(&mut self, place: Place, arrival: u64) {
        if let Some(other) = self.orders.remove(&place) {
            self.orders.insert((place.0, arrival), other);
        }
    }

    /// Learns where the ledger stands, and takes out what is over by that.
    pub(super) fn advance(&mut self, ordering: Ordering, upto: Rank) -> Vec<(Place, Box<Held<P>>)> {
        if ordering == Ordering::None {
            return Vec::new();
        }
        self.upto = Some(upto);
        self.early_since = None;
        self.pressed = false;
        if self.orders.first_key_value().is_none_or(|((rank, _), _)| *rank > upto) {
            return Vec::new();
        }
        let rest = self.orders.split_off(&(upto.saturating_add(1), 0));
        std::mem::replace(&mut self.orders, rest).into_iter().collect()
    }

    /// What was believed of the customer is wrong: the ledger is to tell where it stands and what is parked.
    pub(super) fn doubt(&mut self) {
        self.unload();
        self.upto = None;
        self.blocked = false;
        self.pressed = false;
        self.parked_run = ParkedRun::Wanted;
    }

    /// The window changes the ledger: what is known of it says nothing any more. Its parked orders are safe there.
    pub(super) fn forget_ledger(&mut self) {
        self.doubt();
        self.parked_run = ParkedRun::None;
        self.contested = false;
        self.prune();
    }

    /// Forgets what nobody waits for: orders whose deliveries were handed back.
    pub(super) fn prune(&mut self) {
        self.orders.retain(|_, held| held.parked || held.delivery.is_some());
    }

    /// Forgets the parked orders that were loaded; they are safe where they are.
    pub(super) fn unload(&mut self) {
        self.orders.retain(|_, held| {
            held.parked &= held.delivery.is_none();
            !held.parked
        });
    }

    /// Learns how many orders are parked. Those that are not loaded yet are to be.
    pub(super) fn learn_parked(&mut self, parked: u64) {
        let loaded = self.orders.values().filter(|held| held.parked).count() as u64;
        self.parked = parked;
        self.parked_run = if parked > loaded { ParkedRun::Wanted } else { ParkedRun::None };
    }

    /// Whether `rank` is certainly over.
    pub(super) fn is_over(&self, ordering: Ordering, rank: Rank) -> bool {
        ordering != Ordering::None && self.upto.is_some_and(|upto| rank <= upto)
    }
}
