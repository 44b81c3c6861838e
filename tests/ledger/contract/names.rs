//! The name of a skipped order means one content.

use millrace::ledger::decisions::Decision;
use millrace::ledger::{CaseKind, CaseVerdict, ErrorClass, Found, ParkVerdict, Verdict};
use millrace::order::Ordering::{Fifo, Gapless, None as Unordered};

use super::Store;
use super::bench::{Bench, batch, committed};
use super::decisions::case;
use super::orders::{harmless, named, order, orders, other_content, poison, resent};
use crate::probe::Probe;

/// The name of a skipped order is taken, whatever sequence another content has.
pub(crate) async fn a_skipped_name_is_not_committed<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let head = named("x", "ada", 1);
    bench.quarantine(&poison(&head)).await;
    assert_eq!(bench.decide_skip(&case(&head)).await, Decision::Done);
    let digest = bench.probe.rows("SELECT 1 FROM tombstones t JOIN decisions d ON t.digest = d.digest").await;
    assert_eq!(digest.len(), 1);
    // Of its customer, and as the first order of another one; nothing else of the batch is written.
    for again in [named("x", "ada", 2), named("x", "new", 1)] {
        let batch = batch(&[&orders("bob", 1, 2), std::slice::from_ref(&again)]);
        let error = bench.try_commit(&batch).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Taken, "{error}");
        assert_eq!(bench.count("orders").await, 0);
        let Found::Conflict(reason) = bench.found(&again).await else { panic!("it is not the skipped order") };
        for word in ["position 1", "customer ada", "skipped by ann"] {
            assert!(reason.contains(word), "{reason}");
        }
    }
    // Who is not to be written yet is judged as always.
    assert_eq!(bench.commit_one(&[named("x", "ada", 3)]).await, Verdict::Ahead { upto: 1, parked: 0 });
    assert_eq!(bench.commit_one(std::slice::from_ref(&head)).await, Verdict::Behind(1));
    assert_eq!(bench.commit(&[&orders("bob", 1, 2), &orders("ada", 2, 2)]).await, [committed(2, 0), committed(2, 0)]);
    // A second skip leaves the name to the first one.
    let other = named("x", "ada", 3);
    bench.quarantine(&poison(&other)).await;
    assert_eq!(bench.decide_skip(&case(&other)).await, Decision::Done);
    assert_eq!(bench.column("SELECT position FROM tombstones WHERE order_id = 'x'").await, ["1"]);
    assert_eq!(bench.found(&head).await, Found::Ended);
    // A tombstone of before, or by hand, has no digest: it ends whatever has the name.
    bench.probe.execute("UPDATE tombstones SET digest = NULL").await;
    assert_eq!(bench.found(&other).await, Found::Ended);
}

/// A corrected order that comes under the name of the skipped one is another order: it must not pass for a duplicate.
pub(crate) async fn a_skipped_name_means_one_content<S: Store>(store: &S) {
    for ordering in [Fifo, Unordered] {
        let mut bench = Bench::new(store, ordering).await;
        let rank = |rank| if ordering == Fifo { rank } else { 0 };
        let head = named("x", "ada", rank(20));
        bench.quarantine(&poison(&head)).await;
        assert_eq!(bench.decide_skip(&case(&head)).await, Decision::Done);
        let corrected = resent(&other_content(&head), rank(30));
        let Found::Conflict(reason) = bench.found(&corrected).await else { panic!("it is not the skipped order") };
        for word in ["position 1", "customer ada", "skipped by ann"] {
            assert!(reason.contains(word), "{reason}");
        }
        // It stays out of the commit, and is named there.
        let Verdict::Committed { known, .. } = bench.commit_one(std::slice::from_ref(&corrected)).await else {
            panic!("nothing to refuse")
        };
        assert_eq!(known, [corrected.entry.id().clone()]);
        assert_eq!((bench.count("orders").await, bench.found(&head).await), (0, Found::Ended));
    }
}

/// A parked order is not swept away as a copy because its name was skipped with another content.
pub(crate) async fn what_is_parked_under_a_skipped_name_is_kept<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    let (head, next) = (named("x", "ada", 20), order("ada", 30));
    bench.quarantine(&poison(&head)).await;
    assert_eq!(bench.decide_skip(&case(&head)).await, Decision::Done);
    bench.quarantine(&poison(&next)).await;
    let corrected = resent(&other_content(&head), 40);
    bench.park(&[corrected.clone(), resent(&head, 50)]).await;
    bench.probe.execute("UPDATE customers SET blocked_by = NULL").await;
    bench.sweep(10).await;
    assert_eq!(bench.parked().await, ["x"]);
    let run = bench.next_run("ada", 10).await;
    assert_eq!(run.orders, std::slice::from_ref(&corrected));
    // The commit leaves it alone; the engine looks it up, and files it as a conflict.
    let known = vec![corrected.entry.id().clone()];
    assert_eq!(bench.commit_parked(&run.orders).await, Verdict::Committed { upto: 20, parked: 1, known });
    assert!(matches!(bench.found(&corrected).await, Found::Conflict(_)));
    assert_eq!(bench.quarantine(&harmless(&corrected, CaseKind::Conflict)).await, CaseVerdict::Quarantined);
    assert_eq!(bench.count("parked_orders").await, 0);
}

/// Two customers have an order of one name: what blocks the one does not make the other wait (I10).
pub(crate) async fn a_name_that_blocks_one_customer_is_free<S: Store>(store: &S) {
    for ordering in [Gapless, Fifo] {
        let mut bench = Bench::new(store, ordering).await;
        let (head, rival) = (named("x", "ada", 1), named("x", "bob", 2));
        bench.quarantine(&poison(&head)).await;
        bench.quarantine(&poison(&order("bob", 1))).await;
        assert_eq!(bench.park_one(&rival).await, ParkVerdict::Parked);
        assert_eq!(bench.found(&rival).await, Found::Parked);
        bench.skip("bob").await;
        assert_eq!(bench.next_run("bob", 10).await.orders, std::slice::from_ref(&rival));
        assert_eq!(bench.commit_parked(std::slice::from_ref(&rival)).await, committed(2, 0));
        // The name is taken now; its first owner can be skipped alone, and goes on.
        let Decision::Refused(why) = bench.decide_retry(&case(&head)).await else { panic!("two orders of one name") };
        assert!(why.contains("customer bob"), "{why}");
        bench.skip("ada").await;
        assert_eq!(bench.commit_one(&[order("ada", 2)]).await, committed(2, 0));
    }
}

/// It was a conflict when another content had its name, which is gone since. Now it stands next, and fails by its own
/// fault: it blocks its customer, or nobody would ever decide about it.
pub(crate) async fn what_lies_aside_blocks_when_it_fails<S: Store>(store: &S) {
    for ordering in [Gapless, Fifo] {
        let mut bench = Bench::new(store, ordering).await;
        let head = named("x", "ada", 1);
        assert_eq!(bench.quarantine(&harmless(&head, CaseKind::Conflict)).await, CaseVerdict::Quarantined);
        for _ in 0..2 {
            assert_eq!(bench.quarantine(&poison(&head)).await, CaseVerdict::Quarantined);
            assert_eq!(bench.column("SELECT blocked_by FROM customers").await, [case(&head)]);
        }
        assert_eq!(bench.column("SELECT kind FROM quarantined_orders WHERE blocks").await, ["poison"]);
        // And is no conflict again because somebody comes late with that.
        assert_eq!(bench.quarantine(&harmless(&head, CaseKind::Conflict)).await, CaseVerdict::Quarantined);
        assert_eq!(bench.column("SELECT kind FROM quarantined_orders WHERE blocks").await, ["poison"]);
        bench.skip("ada").await;
        assert_eq!(bench.commit_one(&[order("ada", 2)]).await, committed(2, 0));
    }
}
