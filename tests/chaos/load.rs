//! Orders without end, made while they are sent. What they are follows from the seed.
//!
//! Customers come in cohorts, so that there are heads to poison at any time; one customer, who is in all of them, has
//! a large part of the load. The first customers of a cohort have a part to play: two have poison at their head, two
//! send what is no order, five send other orders under the names of their own.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use millrace::inbox::sqs::producer::Outgoing;

use super::plan::Play;
use crate::random::Random;

/// Customers of a cohort.
const COHORT: u32 = 100;
const POISONED: std::ops::Range<u32> = 0..2;
const MALFORMED: std::ops::Range<u32> = 2..4;
const CONFLICTING: std::ops::Range<u32> = 4..9;
/// How many have a part: the first orders of a cohort are theirs, one after the other.
const CAST: u64 = 9;
/// The customer who is in all cohorts.
const HEAVY: u32 = 0;
/// The most orders of a customer that follow each other (`fifo`).
const RUN: u64 = 6;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Order,
    Duplicate,
    Poison,
    Conflict,
    Malformed,
    Replacement,
}

/// One message, without its text: that follows from this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// The order's number in the run.
    pub number: u64,
    /// Whose.
    pub customer: u32,
    /// The order's place among its customer's, from 1.
    pub place: u32,
    /// What.
    pub kind: Kind,
}

/// Where orders come from.
#[derive(Debug)]
pub struct Load {
    play: Play,
    random: Random,
    /// Orders made so far.
    pub orders: u64,
    places: HashMap<u32, u32>,
    /// Of whom the next orders are, and how many.
    run: (u32, u64),
    /// What is to be sent when so many orders are made; the second number keeps what is due at once in its order.
    due: BinaryHeap<Reverse<(u64, u64, Message)>>,
    made: u64,
}

impl Load {
    /// The load of a run.
    pub fn of(play: &Play) -> Self {
        Self {
            play: play.clone(),
            // Another line of chance than the schedule's.
            random: Random::of(!play.seed),
            orders: 0,
            places: HashMap::new(),
            run: (HEAVY, 0),
            due: BinaryHeap::new(),
            made: 0,
        }
    }

    /// Makes so many orders, and gives what is to be sent now.
    pub fn next(&mut self, orders: u64) -> Vec<Message> {
        for _ in 0..orders {
            self.make();
        }
        let now = self.orders;
        std::iter::from_fn(|| {
            let is_due = self.due.peek().is_some_and(|Reverse((due, ..))| *due <= now);
            is_due.then(|| self.due.pop().expect("it was seen").0.2)
        })
        .collect()
    }

    /// What is left when no more orders are made.
    pub fn rest(&mut self) -> Vec<Message> {
        let mut rest = std::mem::take(&mut self.due).into_sorted_vec();
        rest.reverse();
        rest.into_iter().map(|Reverse((.., message))| message).collect()
    }

    /// How many poisons there are in a whole run.
    pub fn poisons(play: &Play) -> u64 {
        (play.seconds * play.rate).div_ceil(cohort(play)) * u64::from(POISONED.end)
    }

    fn make(&mut self) {
        let number = self.orders;
        self.orders += 1;
        let customer = self.customer(number);
        let place = self.places.entry(customer).or_default();
        *place += 1;
        let place = *place;
        let part = (customer != HEAVY).then(|| (customer - 1) % COHORT);
        let has = |parts: std::ops::Range<u32>| part.is_some_and(|part| parts.contains(&part));
        let kind = if has(POISONED) && place == 1 { Kind::Poison } else { Kind::Order };
        let message = Message { number, customer, place, kind };
        // A customer's numbered orders come in any order, some of them so late that those behind them are parked.
        let spread = if self.play.is_gapless() { self.play.rate * 2 } else { 1 };
        let due = number + self.random.below(spread);
        self.send(due, message);
        if kind == Kind::Order && self.random.one_in(20) {
            let later = due + self.random.below(self.play.rate * 10);
            self.send(later, Message { kind: Kind::Duplicate, ..message });
        }
        if has(MALFORMED) && self.random.one_in(4) {
            self.send(due, Message { kind: Kind::Malformed, ..message });
        }
        if has(CONFLICTING) && self.random.one_in(4) {
            let later = due + spread + self.random.below(self.play.rate * 5);
            self.send(later, Message { kind: Kind::Conflict, ..message });
        }
    }

    fn customer(&mut self, number: u64) -> u32 {
        let cohort_size = cohort(&self.play);
        let cohort = u32::try_from(number / cohort_size).expect("few cohorts");
        let first = 1 + cohort * COHORT;
        let place = number % cohort_size;
        if place < CAST * (1 + RUN) && place.is_multiple_of(1 + RUN) {
            let customer = first + u32::try_from(place / (1 + RUN)).expect("few parts");
            // In fifo something is right behind a poison, and is parked there.
            self.run = (customer, if self.play.is_gapless() { 0 } else { RUN });
            return customer;
        }
        if self.run.1 == 0 {
            let is_heavy = self.random.below(100) < self.play.heavy;
            let other = first + u32::try_from(self.random.below(COHORT.into())).expect("few customers");
            let run = if self.play.is_gapless() { 1 } else { 1 + self.random.below(RUN) };
            self.run = (if is_heavy { HEAVY } else { other }, run);
        }
        self.run.1 -= 1;
        self.run.0
    }

    fn send(&mut self, due: u64, message: Message) {
        self.due.push(Reverse((due, self.made, message)));
        self.made += 1;
    }
}

/// Orders of a cohort: a minute of them, and at least two cohorts in a run.
fn cohort(play: &Play) -> u64 {
    play.rate * (play.seconds / 2).clamp(1, 60)
}

impl Message {
    /// The order's name.
    pub fn order_id(&self) -> String {
        match self.kind {
            Kind::Malformed => format!("malformed-{}", self.number),
            Kind::Replacement => format!("order-{}-again", self.number),
            _ => format!("order-{}", self.number),
        }
    }

    /// Its customer's name.
    pub fn customer_id(&self) -> String {
        if self.customer == HEAVY {
            return "heavy".to_owned();
        }
        format!("customer-{}-{:02}", (self.customer - 1) / COHORT, (self.customer - 1) % COHORT)
    }

    /// The sum over its lines.
    pub fn total_minor(&self) -> u64 {
        let (quantity, price) = self.wanted();
        quantity * price + 490
    }

    fn wanted(&self) -> (u64, u64) {
        // Any number that looks like none.
        let mixed = (self.number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let other = u64::from(matches!(self.kind, Kind::Conflict));
        (1 + mixed % 5, mixed % 10_000 + other)
    }

    /// Its text.
    pub fn body(&self, is_gapless: bool) -> String {
        let (name, customer) = (self.order_id(), self.customer_id());
        if self.kind == Kind::Malformed {
            return format!(r#"{{"marker":"{name}","no":"order"}}"#);
        }
        let sequence = if is_gapless { format!(r#""sequence":{},"#, self.place) } else { String::new() };
        let (second, (quantity, price)) = (self.number % 60, self.wanted());
        // The team's table does not take it.
        let currency = if self.kind == Kind::Poison { "XXX" } else { "EUR" };
        format!(
            r#"{{"order_id":"{name}","customer_id":"{customer}",{sequence}"placed_at":"2026-11-22T10:00:{second:02}Z","currency":"{currency}","lines":[{{"sku":"sku-{price}","quantity":{quantity},"unit_price_minor":{price}}},{{"sku":"post","quantity":1,"unit_price_minor":490}}]}}"#
        )
    }

    /// As it is sent, as the so manieth message of the run.
    pub fn outgoing(&self, nth: usize, is_gapless: bool) -> Outgoing {
        Outgoing {
            body: self.body(is_gapless),
            group: (!is_gapless).then(|| self.customer_id()),
            deduplication_id: (!is_gapless).then(|| format!("message-{nth}")),
        }
    }
}

#[test]
fn a_load_has_what_it_should() {
    let play = Play { ordering: "fifo", queue: "ministack", seconds: 80, rate: 30, heavy: 50, seed: 3 };
    let mut load = Load::of(&play);
    let mut sent: Vec<Message> = (0..800).flat_map(|_| load.next(3)).collect();
    sent.extend(load.rest());
    let count = |kind| sent.iter().filter(|message| message.kind == kind).count();
    assert_eq!((load.orders, count(Kind::Order) + count(Kind::Poison)), (2_400, 2_400));
    assert_eq!(count(Kind::Poison) as u64, Load::poisons(&play));
    assert!(count(Kind::Malformed) > 0 && count(Kind::Conflict) > 0, "{sent:?}");
    let heavy = sent.iter().filter(|message| message.customer == HEAVY).count();
    assert!((sent.len() / 3..sent.len() * 2 / 3).contains(&heavy), "{heavy} of {}", sent.len());
    let mut places: HashMap<u32, u32> = HashMap::new();
    for message in sent.iter().filter(|message| matches!(message.kind, Kind::Order | Kind::Poison)) {
        let place = places.entry(message.customer).or_default();
        *place += 1;
        assert_eq!(message.place, *place, "fifo is sent in order");
    }
}
