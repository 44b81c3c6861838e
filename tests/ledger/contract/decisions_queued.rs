//! What a person decides, in `fifo` and `none` mode.

use millrace::ledger::decisions::Decision;
use millrace::ledger::{Binding, Case, CaseKind, Found, Ledger, Source, Verdict};
use millrace::order::Ordering::{Fifo, None as Unordered};

use super::Store;
use super::bench::{Bench, committed};
use super::decisions::{case, is_before, is_refused, leave_a_copy};
use super::orders::{harmless, malformed, named, order, other_content, poison, resent};
use crate::probe::Probe;

/// The decoder of `fifo` needs the group; the orders of the tests have their customer for one.
pub(crate) async fn a_retried_head_goes_before_live_orders<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.commit_one(&[order("ada", 10)]).await;
    let head = order("ada", 20);
    bench.quarantine(&poison(&head)).await;
    bench.park_one(&order("ada", 30)).await;
    assert_eq!(bench.decide_retry(&case(&head)).await, Decision::Done);
    assert_eq!(bench.commit_one(&[order("ada", 40)]).await, Verdict::Ahead { upto: 10, parked: 2 });
    assert_eq!(bench.drain("ada").await, committed(30, 0));
    assert_eq!(bench.commit_one(&[order("ada", 40)]).await, committed(40, 0));
    assert_eq!(bench.line("ada").await, ["ada-10", "ada-20", "ada-30", "ada-40"]);
}

pub(crate) async fn a_skipped_head_moves_the_mark<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    let head = order("ada", 20);
    bench.quarantine(&poison(&head)).await;
    bench.park_one(&order("ada", 30)).await;
    assert_eq!(bench.decide_skip(&case(&head)).await, Decision::Done);
    is_before(&bench.decide_skip(&case(&head)).await, "skipped by ann");
    assert_eq!(bench.commit_one(&[order("ada", 15)]).await, Verdict::Behind(20));
    assert_eq!(bench.drain("ada").await, committed(30, 0));
    assert_eq!(bench.column("SELECT position FROM tombstones").await, ["1"]);
    assert_eq!(bench.column("SELECT position FROM orders").await, ["2"]);
    // Sent once more as a new message, it is known.
    assert_eq!(bench.found(&resent(&head, 50)).await, Found::Ended);
}

fn malformed_head(message: &str, rank: u128) -> Case {
    let placed = malformed(message, Some("ada"), rank);
    Case { placed, kind: CaseKind::Malformed, reason: "no order".into(), blocks: true }
}

pub(crate) async fn a_malformed_head_is_skipped_by_its_message<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    let head = malformed_head("m1", 20);
    bench.quarantine(&head).await;
    bench.park_one(&order("ada", 30)).await;
    is_refused(&bench.decide_retry("!m1").await, "it is no order");
    assert_eq!(bench.decide_skip("!m1").await, Decision::Done);
    assert_eq!(bench.found(&head.placed).await, Found::Ended, "a redelivery of the message has its end");
    assert_eq!(bench.drain("ada").await, committed(30, 0));
}

pub(crate) async fn a_malformed_head_is_replaced_in_its_group<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.quarantine(&malformed_head("m1", 20)).await;
    bench.park_one(&order("ada", 30)).await;
    is_refused(&bench.decide_replace("!m1", &named("x", "bob", 0)).await, "belongs to customer ada");
    assert_eq!(bench.decide_replace("!m1", &named("x", "ada", 0)).await, Decision::Done);
    assert_eq!(bench.drain("ada").await, committed(30, 0));
    assert_eq!(bench.line("ada").await, ["x", "ada-30"]);
}

pub(crate) async fn below_the_mark_nothing_comes_back<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    bench.commit_one(&[order("ada", 20)]).await;
    let late = order("ada", 10);
    bench.quarantine(&harmless(&late, CaseKind::OutOfSequence)).await;
    is_refused(&bench.decide_retry(&case(&late)).await, "send it again as a new message");
    is_refused(
        &bench.decide_replace(&case(&late), &named("x", "ada", 0)).await,
        "its place at the source is over, because",
    );
    assert_eq!((bench.count("parked_orders").await, bench.count("quarantined_orders").await), (0, 1));
    // As it is told to: skipped, and sent again.
    assert_eq!(bench.decide_skip(&case(&late)).await, Decision::Done);
    assert_eq!(bench.count("tombstones").await, 0);
    assert_eq!(bench.commit_one(&[resent(&late, 30)]).await, committed(30, 0));
}

/// A conflict once, below the mark by now; sent again, it stands next and fails. It is the new place that it blocks.
pub(crate) async fn what_lay_aside_goes_back_to_its_new_place<S: Store>(store: &S) {
    for decision in ["retry", "skip"] {
        let mut bench = Bench::new(store, Fifo).await;
        let entry = order("ada", 10);
        bench.quarantine(&harmless(&entry, CaseKind::Conflict)).await;
        bench.commit_one(&[order("ada", 20)]).await;
        bench.quarantine(&poison(&resent(&entry, 30))).await;
        bench.park_one(&order("ada", 40)).await;
        if decision == "retry" {
            assert_eq!(bench.decide_retry(&case(&entry)).await, Decision::Done);
            assert_eq!(bench.drain("ada").await, committed(40, 0));
            assert_eq!(bench.line("ada").await, ["ada-20", "ada-10", "ada-40"]);
        } else {
            assert_eq!(bench.decide_skip(&case(&entry)).await, Decision::Done);
            assert_eq!(bench.next_run("ada", 1).await.upto, 30);
        }
    }
}

pub(crate) async fn above_the_mark_it_takes_its_place<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    let (entry, head) = (named("x", "ada", 20), order("ada", 10));
    bench.quarantine(&harmless(&entry, CaseKind::Conflict)).await;
    bench.quarantine(&poison(&head)).await;
    bench.park_one(&order("ada", 30)).await;
    // Before its customer's head is decided, nobody knows whether its place will be over.
    is_refused(&bench.decide_retry(&case(&entry)).await, "customer ada is blocked by ada-10~");
    assert_eq!(bench.decide_retry(&case(&head)).await, Decision::Done);
    assert_eq!(bench.decide_retry(&case(&entry)).await, Decision::Done);
    assert_eq!(bench.drain("ada").await, committed(30, 0));
    assert_eq!(bench.line("ada").await, ["ada-10", "x", "ada-30"]);
    // Nobody knows the customer yet.
    let first = order("new", 5);
    bench.quarantine(&harmless(&first, CaseKind::Conflict)).await;
    assert_eq!(bench.decide_retry(&case(&first)).await, Decision::Done);
    assert_eq!(bench.drain("new").await, committed(5, 0));
}

/// Marks begin anew with another queue, and the numbers of the one before would run ahead of them.
pub(crate) async fn a_place_at_the_queue_before_is_over<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    let source = |queue: &str| Source { ordering: Fifo, queue_arn: queue.to_owned(), queue_created_at: 1 };
    bench.ledger.bind(&source("a.fifo")).await.unwrap();
    let (one, two) = (order("ada", 900), order("bob", 900));
    for entry in [&one, &two] {
        bench.quarantine(&harmless(entry, CaseKind::Conflict)).await;
    }
    assert_eq!(bench.decide_retry(&case(&one)).await, Decision::Done);
    assert_eq!(bench.drain("ada").await, committed(900, 0));
    assert_eq!(bench.ledger.rebind(&source("b.fifo"), "ops").await, Ok(Binding::Bound));
    // A later moment, however fast the machine is.
    bench.probe.execute("UPDATE ledger_source SET accepted_at = '2100-01-01T00:00:00.000Z'").await;
    is_refused(&bench.decide_retry(&case(&two)).await, "its place belongs to the queue before this one");
    assert_eq!(bench.commit_one(&[order("bob", 3)]).await, committed(3, 0));
}

pub(crate) async fn a_copy_further_behind_moves_to_its_place<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    let head = order("ada", 10);
    bench.quarantine(&poison(&head)).await;
    bench.park_one(&order("ada", 20)).await;
    let rank = if bench.probe.text_of("body").starts_with("CAST") { format!("'{:039}'", 30) } else { "30".into() };
    leave_a_copy(&bench, &rank).await;
    assert_eq!(bench.parked().await, ["ada-20", "ada-10"]);
    assert_eq!(bench.decide_retry(&case(&head)).await, Decision::Done);
    assert_eq!(bench.parked().await, ["ada-10", "ada-20"]);
    assert_eq!(bench.drain("ada").await, committed(20, 0));
}

pub(crate) async fn without_order_each_has_a_place_of_its_own<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Unordered).await;
    let entries = ["x", "y", "z"].map(|name| named(name, "ada", 0));
    for entry in &entries {
        bench.quarantine(&harmless(entry, CaseKind::Poison)).await;
    }
    for entry in &entries[..2] {
        assert_eq!(bench.decide_retry(&case(entry)).await, Decision::Done);
        assert_eq!(bench.found(entry).await, Found::Parked);
    }
    let other = other_content(&entries[2]);
    assert_eq!(bench.decide_replace(&case(&entries[2]), &other).await, Decision::Done);
    assert_eq!(bench.sweep(10).await, ["ada"]);
    let next = bench.next_run("ada", 10).await;
    assert_eq!(next.orders.len(), 3);
    assert!(matches!(bench.commit_parked(&next.orders).await, Verdict::Committed { parked: 0, .. }));
    assert_eq!(bench.line("ada").await, ["x", "y", "z"]);
    assert_eq!(
        bench.commit_one(&[named("w", "ada", 0)]).await.clone(),
        bench.commit_one(&[named("v", "ada", 0)]).await
    );
}
