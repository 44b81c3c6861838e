//! `fifo`: the order of SQS, by marks.

use millrace::ledger::{CaseKind, CaseVerdict, Found, ParkVerdict, Verdict};
use millrace::order::Ordering::Fifo;
use millrace::order::Rank;

use super::Store;
use super::bench::{Bench, committed, ids};
use super::orders::{malformed, named, order, orders, other_content, poison, resent};
use crate::probe::Probe;

fn known(upto: Rank, names: &[&str]) -> Verdict {
    Verdict::Committed { upto, parked: 0, known: ids(names) }
}

pub(crate) async fn positions_follow_arrival<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    assert_eq!(bench.commit_one(&[order("ada", 10), order("ada", 25)]).await, committed(25, 0));
    assert_eq!(bench.commit_one(&[order("ada", 31)]).await, committed(31, 0));
    assert_eq!(bench.line("ada").await, ["ada-10", "ada-25", "ada-31"]);
    assert_eq!(bench.column("SELECT position FROM orders ORDER BY position").await, ["1", "2", "3"]);
}

pub(crate) async fn known_orders_are_named_and_left_out<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.commit_one(&[order("ada", 10), order("ada", 20)]).await;
    // A resend has a number of its own.
    let again = resent(&order("ada", 10), 40);
    assert_eq!(bench.commit_one(&[order("ada", 30), again.clone(), order("ada", 50)]).await, known(50, &["ada-10"]));
    assert_eq!(bench.line("ada").await, ["ada-10", "ada-20", "ada-30", "ada-50"]);
    // All known: redelivered below the mark, and resent above it.
    assert_eq!(bench.commit_one(&orders("ada", 10, 10)).await, known(50, &["ada-10"]));
    assert_eq!(bench.commit_one(&[order("ada", 20), again]).await, known(50, &["ada-20", "ada-10"]));
    assert_eq!(bench.commit_one(&[order("ada", 20), order("ada", 60)]).await, known(60, &["ada-20"]));
    let conflict = other_content(&order("ada", 60));
    assert_eq!(bench.commit_one(std::slice::from_ref(&conflict)).await, known(60, &["ada-60"]));
    assert!(matches!(bench.found(&conflict).await, Found::Conflict(_)));
    assert_eq!(bench.found(&order("ada", 60)).await, Found::Ended);
}

pub(crate) async fn marks_have_39_digits<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    let base: Rank = 18_896_064_834_273_554_434; // above 2^64
    let top = Rank::MAX;
    let first = named("o1", "ada", 9);
    assert_eq!(bench.commit_one(&[first, named("o2", "ada", base)]).await, committed(base, 0));
    assert_eq!(bench.commit_one(&[named("o3", "ada", base - 1)]).await, Verdict::Behind(base));
    assert_eq!(bench.quarantine(&poison(&named("o4", "ada", base + 1))).await, CaseVerdict::Quarantined);
    assert_eq!(bench.park_one(&named("o6", "ada", top)).await, ParkVerdict::Parked);
    assert_eq!(bench.park_one(&named("o5", "ada", base * 1000)).await, ParkVerdict::Parked);
    bench.retry("ada").await;
    let next = bench.next_run("ada", 10).await;
    assert_eq!((next.upto, next.parked), (base, 3));
    let ranks: Vec<_> = next.orders.iter().map(|placed| placed.rank).collect();
    assert_eq!(ranks, [base + 1, base * 1000, top]);
    assert_eq!(bench.commit_parked(&next.orders).await, committed(top, 0));
    assert_eq!(bench.line("ada").await, ["o1", "o2", "o4", "o5", "o6"]);
}

pub(crate) async fn an_order_below_the_mark_is_behind<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.commit_one(&[order("ada", 10), order("ada", 20)]).await;
    assert_eq!(bench.commit_one(&[order("ada", 15)]).await, Verdict::Behind(20));
    assert_eq!(bench.commit_one(&[order("ada", 15), order("ada", 30)]).await, Verdict::Behind(20));
    assert_eq!(bench.commit_one(&[order("ada", 10), order("ada", 15), order("ada", 30)]).await, Verdict::Behind(20));
    assert_eq!(bench.line("ada").await, ["ada-10", "ada-20"]);
}

pub(crate) async fn parked_orders_go_first<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.commit_one(&[order("ada", 10)]).await;
    bench.quarantine(&poison(&order("ada", 20))).await;
    assert_eq!(bench.commit_one(&[order("ada", 30)]).await, Verdict::Blocked);
    bench.park(&[order("ada", 30)]).await;
    bench.skip("ada").await;
    bench.audit().await;
    assert_eq!(bench.commit_one(&[order("ada", 40)]).await, Verdict::Ahead { upto: 20, parked: 1 });
    assert_eq!(bench.park_one(&order("ada", 40)).await, ParkVerdict::Parked, "behind the parked one");
    let next = bench.next_run("ada", 1).await;
    assert_eq!(next.orders, orders("ada", 30, 30));
    assert_eq!(bench.commit_parked(&next.orders).await, committed(30, 1));
    let next = bench.next_run("ada", 10).await;
    assert_eq!(bench.commit_parked(&next.orders).await, committed(40, 0));
    assert_eq!(bench.commit_one(&[order("ada", 50)]).await, committed(50, 0));
    assert_eq!(bench.found(&order("ada", 20)).await, Found::Ended, "skipped by name");
    assert_eq!(bench.commit_one(&[order("ada", 20)]).await, known(50, &["ada-20"]));
}

pub(crate) async fn a_parked_run_needs_nothing_below<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.quarantine(&poison(&order("ada", 10))).await;
    bench.park(&[order("ada", 20), order("ada", 30)]).await;
    bench.retry("ada").await;
    // The retried head stands below what was loaded before.
    assert_eq!(bench.commit_parked(&[order("ada", 20), order("ada", 30)]).await, Verdict::Ahead { upto: 0, parked: 3 });
    let next = bench.next_run("ada", 2).await;
    assert_eq!(bench.commit_parked(&next.orders).await, committed(20, 1));
    assert_eq!(bench.commit_parked(&[order("ada", 30)]).await, committed(30, 0));
}

pub(crate) async fn a_malformed_message_blocks_its_group<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.commit_one(&[order("ada", 10)]).await;
    let broken = malformed("m1", Some("ada"), 20);
    let case = millrace::ledger::Case { kind: CaseKind::Malformed, ..poison(&broken) };
    assert_eq!(bench.quarantine(&case).await, CaseVerdict::Quarantined);
    assert_eq!(bench.column("SELECT blocked_by FROM customers").await, ["!m1"]);
    assert_eq!(bench.park_one(&broken).await, ParkVerdict::Taken);
    assert_eq!(bench.found(&broken).await, Found::Quarantined);
    let second = malformed("m2", Some("ada"), 30);
    assert_eq!(bench.park(&[second.clone(), order("ada", 40)]).await, [ParkVerdict::Parked; 2]);
    assert_eq!(bench.found(&second).await, Found::Parked);
    bench.skip("ada").await;
    bench.audit().await;
    assert_eq!(bench.found(&broken).await, Found::Ended);
    // The second one stands first among the parked, as it came.
    let next = bench.next_run("ada", 10).await;
    assert_eq!(next.orders, [second.clone(), order("ada", 40)]);
    let case = millrace::ledger::Case { kind: CaseKind::Malformed, ..poison(&second) };
    assert_eq!(bench.quarantine(&case).await, CaseVerdict::Quarantined);
    assert_eq!(bench.count("parked_orders").await, 1);
}

pub(crate) async fn parking_needs_a_reason<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    assert_eq!(bench.park_one(&order("ada", 10)).await, ParkVerdict::NotEarly);
    bench.commit_one(&[order("ada", 10)]).await;
    assert_eq!(bench.park_one(&order("ada", 20)).await, ParkVerdict::NotEarly);
    bench.quarantine(&poison(&order("ada", 20))).await;
    let verdicts = bench.park(&[order("ada", 5), order("ada", 30), order("ada", 20)]).await;
    assert_eq!(verdicts, [ParkVerdict::NotEarly, ParkVerdict::Parked, ParkVerdict::Taken]);
    assert_eq!(bench.park_one(&order("ada", 30)).await, ParkVerdict::Taken);
    assert_eq!(bench.park_one(&order("nobody", 30)).await, ParkVerdict::NotEarly);
}

pub(crate) async fn below_the_mark_is_out_of_sequence<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.commit_one(&[order("ada", 10), order("ada", 20)]).await;
    assert_eq!(bench.found(&order("ada", 15)).await, Found::OutOfSequence);
    assert_eq!(bench.found(&order("ada", 10)).await, Found::Ended);
    assert_eq!(bench.found(&order("ada", 21)).await, Found::Absent);
    let late = super::orders::harmless(&order("ada", 15), CaseKind::OutOfSequence);
    assert_eq!(bench.quarantine(&late).await, CaseVerdict::Quarantined);
    assert_eq!(bench.found(&order("ada", 15)).await, Found::Quarantined);
    assert_eq!(bench.column("SELECT kind FROM quarantined_orders").await, ["out_of_sequence"]);
    assert_eq!(bench.commit_one(&[order("ada", 30)]).await, committed(30, 0), "it blocks nobody");
}

pub(crate) async fn a_poisoned_head_needs_nothing_parked_below<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.quarantine(&poison(&order("ada", 10))).await;
    bench.park(&[order("ada", 20), order("ada", 30)]).await;
    bench.retry("ada").await;
    assert_eq!(bench.quarantine(&poison(&order("ada", 20))).await, CaseVerdict::NotNext);
    assert_eq!(bench.commit_parked(&orders("ada", 10, 10)).await, committed(10, 2));
    assert_eq!(bench.quarantine(&poison(&order("ada", 30))).await, CaseVerdict::NotNext);
    assert_eq!(bench.quarantine(&poison(&order("ada", 10))).await, CaseVerdict::NotNext);
    assert_eq!(bench.quarantine(&poison(&order("ada", 20))).await, CaseVerdict::Quarantined);
    assert_eq!(bench.probe.rows("SELECT parked FROM customers").await, [[Some("1".to_owned())]]);
}

/// At most one end for each order: a resend has a number above the mark, and its name is at its end.
pub(crate) async fn a_skipped_order_that_is_sent_again_is_known<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.quarantine(&poison(&order("ada", 10))).await;
    bench.skip("ada").await;
    assert_eq!(bench.commit_one(&[resent(&order("ada", 10), 20), order("ada", 30)]).await, known(30, &["ada-10"]));
    assert_eq!(bench.line("ada").await, ["ada-30"]);
}

/// A copy of a known order leaves with the run that brings it; another content under the name stays to be judged.
pub(crate) async fn parked_copies_of_known_orders_leave<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.commit_one(&[order("ada", 10)]).await;
    bench.quarantine(&poison(&order("ada", 20))).await;
    let conflict = resent(&other_content(&order("ada", 5)), 60);
    bench
        .park(&[resent(&order("ada", 10), 30), resent(&order("ada", 20), 40), order("ada", 50), conflict.clone()])
        .await;
    assert_eq!(bench.count("parked_orders").await, 3, "the blocked order itself is not parked");
    bench.skip("ada").await;
    let next = bench.next_run("ada", 2).await;
    let verdict = Verdict::Committed { upto: 50, parked: 1, known: ids(&["ada-10"]) };
    assert_eq!(bench.commit_parked(&next.orders).await, verdict);
    assert_eq!(bench.line("ada").await, ["ada-10", "ada-50"]);
    let next = bench.next_run("ada", 10).await;
    assert_eq!(next.orders, [conflict]);
    assert_eq!(bench.commit_parked(&next.orders).await, committed(60, 0));
}
