//! What the ledger knows of an order.

use millrace::ledger::{CaseKind, Found, Session};
use millrace::order::Ordering::Gapless;

use super::Store;
use super::bench::Bench;
use super::orders::{harmless, malformed, named, order, orders, other_content, poison};
use crate::probe::Probe;

pub(crate) async fn an_order_has_its_state<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let broken = malformed("m1", None, 0);
    bench.commit_one(&orders("ada", 1, 2)).await;
    bench.park_one(&order("ada", 5)).await;
    bench.quarantine(&poison(&order("bob", 1))).await;
    bench.quarantine(&harmless(&broken, CaseKind::Malformed)).await;
    let asked = [
        order("ada", 2),
        order("ada", 3),
        order("ada", 5),
        order("bob", 1),
        order("nobody", 1),
        broken,
        malformed("m2", None, 0),
    ];
    let found = bench.session.look_up(&asked).await.unwrap();
    let expected = [
        Found::Ended,
        Found::Absent,
        Found::Parked,
        Found::Quarantined,
        Found::Absent,
        Found::Quarantined,
        Found::Absent,
    ];
    assert_eq!(found, expected);
}

pub(crate) async fn another_content_is_a_conflict<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("ada", 1, 1)).await;
    bench.park_one(&order("ada", 5)).await;
    bench.quarantine(&poison(&order("bob", 1))).await;
    for placed in [order("ada", 1), order("ada", 5), order("bob", 1)] {
        let other = other_content(&placed);
        assert!(matches!(bench.found(&other).await, Found::Conflict(_)), "{other:?}");
        // Once it is in quarantine as a conflict it is known by its content.
        bench.quarantine(&harmless(&other, CaseKind::Conflict)).await;
    }
    assert_eq!(bench.found(&other_content(&order("bob", 1))).await, Found::Quarantined);
    assert_eq!(bench.found(&order("bob", 1)).await, Found::Quarantined);
    assert_eq!(bench.found(&order("ada", 5)).await, Found::Parked);
    assert_eq!(bench.found(&order("ada", 1)).await, Found::Ended);
}

pub(crate) async fn another_order_at_the_place_is_a_conflict<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit(&[&orders("ada", 1, 2), &orders("bob", 1, 1)]).await;
    bench.park(&[order("ada", 4), order("bob", 3)]).await;
    bench.quarantine(&poison(&order("bob", 2))).await;
    for (placed, conflict) in [
        (named("x1", "ada", 2), true),
        (named("x2", "ada", 4), true),
        (named("x3", "bob", 2), true),
        (named("x4", "bob", 3), true),
        (named("x5", "ada", 3), false),
        (named("x6", "bob", 4), false),
        (named("x7", "cyd", 2), false),
    ] {
        let found = bench.found(&placed).await;
        assert_eq!(matches!(found, Found::Conflict(_)), conflict, "{placed:?}: {found:?}");
        assert_eq!(found == Found::Absent, !conflict);
    }
}

pub(crate) async fn tombstones_end_orders_and_places<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("ada", 1, 1)).await;
    bench.quarantine(&poison(&order("ada", 2))).await;
    bench.skip("ada").await;
    bench.probe.execute("UPDATE customers SET last_position = 3").await;
    let blank = "INSERT INTO tombstones (customer_id, position, reason, actor) VALUES ('ada', 3, 'never sent', 'test')";
    bench.probe.execute(blank).await;
    bench.audit().await;
    assert_eq!(bench.found(&order("ada", 2)).await, Found::Ended);
    assert!(matches!(bench.found(&other_content(&order("ada", 2))).await, Found::Conflict(_)));
    for placed in [order("ada", 3), named("x", "ada", 2)] {
        let Found::Conflict(reason) = bench.found(&placed).await else { panic!("a skipped place is taken") };
        assert!(reason.contains("skipped"), "{reason}");
    }
}

pub(crate) async fn a_parked_name_of_another_customer_is_a_conflict<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.park_one(&named("same", "ada", 3)).await;
    assert!(matches!(bench.found(&named("same", "bob", 3)).await, Found::Conflict(_)));
    bench.commit_one(&[named("mine", "ada", 1)]).await;
    assert!(matches!(bench.found(&named("mine", "bob", 1)).await, Found::Conflict(_)));
}
