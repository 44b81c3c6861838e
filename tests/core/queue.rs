//! The stand-in for SQS, looked at by itself: without faults it does what the documentation of SQS says.

use millrace::inbox::Settled;
use millrace::order::{CustomerId, Ordering};

use super::sim::catalog::{Catalog, Parcel};
use super::sim::chance::Chance;
use super::sim::faults::Faults;
use super::sim::sqs::{DEDUPLICATION, Sqs};
use super::sim::tally::Kind;
use super::sim::{at, ms};

struct Queue {
    sqs: Sqs,
    catalog: Catalog,
    faults: Faults,
    chance: Chance,
}

/// With orders 1 to `orders` of one customer. A received message is invisible for a second, and for three at most.
fn queue(ordering: Ordering, orders: u128) -> Queue {
    let mut catalog = Catalog { ordering, entries: Vec::new(), sending: Vec::new() };
    for number in 1..=orders {
        catalog.add(Some(CustomerId::new("ca")), &format!("o-{number}"), 0, number);
    }
    let sqs = Sqs::new(ordering, ms(1_000), ms(3_000));
    Queue { sqs, catalog, faults: Faults::none(), chance: Chance::new(1) }
}

impl Queue {
    fn send(&mut self, entry: usize, name: usize, now: u64) {
        self.sqs.send(entry, name, at(now), &self.catalog, &mut self.faults);
    }

    /// Receives one message.
    fn receive(&mut self, now: u64) -> Option<Parcel> {
        self.sqs.receive(at(now), 1, (&mut self.faults, &mut self.chance)).pop()
    }

    fn delete(&mut self, parcel: Parcel, now: u64) -> Settled {
        self.sqs.delete(parcel.receipt, at(now), (&mut self.faults, &mut self.chance))
    }

    fn extend(&mut self, parcel: Parcel, by: u64, now: u64) -> Settled {
        self.sqs.set_visibility(parcel.receipt, ms(by), at(now), (&mut self.faults, &mut self.chance))
    }
}

#[test]
fn a_deduplication_id_is_known_for_a_while_also_after_the_delete() {
    let mut queue = queue(Ordering::Fifo, 1);
    queue.send(0, 7, 0);
    let first = queue.receive(10).unwrap();
    assert_eq!(queue.delete(first, 20), Settled::Done);
    queue.send(0, 7, 30);
    assert_eq!((queue.receive(40), queue.faults.tally.of(Kind::Deduplicated)), (None, 1));
    let over = u64::try_from(DEDUPLICATION.as_millis()).unwrap();
    queue.send(0, 7, over);
    assert!(queue.receive(over).unwrap().rank > first.rank, "stored again, as a new message");
}

#[test]
fn nothing_of_a_group_passes_what_is_in_flight() {
    let mut queue = queue(Ordering::Fifo, 2);
    queue.send(0, 0, 0);
    queue.send(1, 1, 0);
    let first = queue.receive(10).unwrap();
    assert_eq!((first.entry, queue.receive(20)), (0, None));
    assert_eq!(queue.receive(1_010).unwrap().entry, 0, "it comes again, and first");
    assert_eq!(queue.delete(first, 1_020), Settled::Gone("stale".into()));
}

#[test]
fn a_message_that_was_received_three_times_goes_to_the_back() {
    let mut queue = queue(Ordering::None, 2);
    queue.send(0, 0, 0);
    queue.send(1, 1, 0);
    for now in [10, 20, 30] {
        let first = queue.receive(now).unwrap();
        assert_eq!((first.entry, queue.extend(first, 0, now + 1)), (0, Settled::Done));
    }
    assert_eq!(queue.receive(40).unwrap().entry, 1);
}

#[test]
fn the_longest_invisibility_counts_from_the_receive() {
    let mut queue = queue(Ordering::Fifo, 1);
    queue.send(0, 0, 0);
    let message = queue.receive(0).unwrap();
    assert_eq!(queue.extend(message, 2_000, 500), Settled::Done);
    assert_eq!(queue.extend(message, 1_000, 1_900), Settled::Done);
    assert!(matches!(queue.extend(message, 1_000, 2_100), Settled::Gone(_)));
    assert!(queue.receive(2_899).is_none() && queue.receive(2_900).is_some());
}

#[test]
fn what_is_deleted_stays_away_without_faults_and_a_stale_handle_is_told_nothing() {
    let mut queue = queue(Ordering::None, 1);
    queue.send(0, 0, 0);
    let (old, new) = (queue.receive(0).unwrap(), queue.receive(1_000).unwrap());
    assert_eq!(queue.delete(old, 1_010), Settled::Done, "whatever it did");
    assert_eq!(queue.delete(new, 1_020), Settled::Done);
    assert_eq!(queue.receive(5_000), None, "without faults it stays away");
}
