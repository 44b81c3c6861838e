//! Numbers that never come.

use millrace::ledger::decisions::Decision;
use millrace::ledger::{CaseKind, Found};
use millrace::order::Ordering::Gapless;

use super::Store;
use super::bench::{Bench, committed};
use super::decisions::{case, is_before, is_refused};
use super::orders::{harmless, named, order, orders, poison};

pub(crate) async fn a_missing_number_is_left_empty<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.park(&orders("ada", 2, 2)).await;
    bench.park(&orders("ada", 4, 5)).await;
    for (number, upto, parked) in [(1, 2, 2), (3, 5, 0)] {
        assert_eq!(bench.decide_gap("ada", number).await, Decision::Done);
        is_before(&bench.decide_gap("ada", number).await, "left empty by ann at 20");
        assert_eq!(bench.drain("ada").await, committed(upto, parked));
    }
    assert_eq!(bench.line("ada").await, ["ada-2", "ada-4", "ada-5"]);
    let rows = bench.column("SELECT action FROM decisions WHERE customer_id = 'ada' ORDER BY position").await;
    assert_eq!(rows, ["skip_gap", "skip_gap"]);
    // When the order comes after all, it is kept.
    let late = order("ada", 3);
    assert!(matches!(bench.found(&late).await, Found::Conflict(_)));
    bench.quarantine(&harmless(&late, CaseKind::Conflict)).await;
    is_refused(&bench.decide_retry(&case(&late)).await, "sequence 3 of customer ada was left empty by ann");
    assert_eq!(bench.decide_replace(&case(&late), &named("ada-3", "ada", 6)).await, Decision::Done);
    assert_eq!(bench.drain("ada").await, committed(6, 0));
}

pub(crate) async fn a_missing_number_has_to_be_next<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    is_refused(&bench.decide_gap("ada", 1).await, "nothing of customer ada has come yet");
    bench.commit_one(&orders("ada", 1, 2)).await;
    bench.park_one(&order("ada", 5)).await;
    is_refused(&bench.decide_gap("ada", 4).await, "sequence 3 of customer ada is the next one");
    is_refused(&bench.decide_gap("ada", 2).await, "sequence 2 of customer ada is order ada-2");
    bench.quarantine(&poison(&order("ada", 3))).await;
    is_refused(&bench.decide_gap("ada", 3).await, "is in quarantine as ada-3~");
    bench.decide_retry(&case(&order("ada", 3))).await;
    is_refused(&bench.decide_gap("ada", 3).await, "it is order ada-3, parked");
    assert_eq!((bench.count("tombstones").await, bench.count("customers").await), (0, 1));
}

pub(crate) async fn a_missing_number_has_to_be_missed<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("ada", 1, 2)).await;
    is_refused(&bench.decide_gap("ada", 3).await, "nothing of customer ada is parked");
    assert_eq!(bench.commit_one(&orders("ada", 3, 3)).await, committed(3, 0), "it is not lost when it comes");
    bench.park_one(&order("ada", 5)).await;
    // While the backlog is drained, nobody knows what is in it.
    bench.gate("DRAINING", 1).await;
    is_refused(&bench.decide_gap("ada", 4).await, "when the window is over");
    assert_eq!((bench.count("tombstones").await, bench.count("decisions").await), (0, 0));
    bench.gate("OPEN", 1).await;
    assert_eq!(bench.decide_gap("ada", 4).await, Decision::Done);
    bench.gate("DRAINING", 2).await;
    is_before(&bench.decide_gap("ada", 4).await, "left empty by ann");
    bench.gate("OPEN", 2).await;
    assert_eq!(bench.drain("ada").await, committed(5, 0));
}
