//! The sweep finds what a crash left behind.

use millrace::ledger::{CaseKind, CaseVerdict, Found};
use millrace::order::Ordering::{Fifo, Gapless};

use super::Store;
use super::bench::{Bench, committed};
use super::orders::{harmless, named, order, orders, other_content, poison, resent};
use crate::probe::Probe;

pub(crate) async fn what_stands_next_is_found<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.park(&[order("ada", 2), order("bob", 3), order("cyd", 2)]).await;
    assert_eq!(bench.sweep(10).await, Vec::<String>::new());
    bench.commit(&[&orders("ada", 1, 1), &orders("bob", 1, 1), &orders("cyd", 1, 1), &orders("dan", 1, 1)]).await;
    let mut found = bench.sweep(10).await;
    found.sort();
    assert_eq!(found, ["ada", "cyd"]);
    let mut bench = Bench::new(store, Fifo).await;
    bench.quarantine(&poison(&order("ada", 1))).await;
    bench.park(&[order("ada", 7)]).await;
    assert_eq!(bench.sweep(10).await, Vec::<String>::new());
    bench.skip("ada").await;
    assert_eq!(bench.sweep(10).await, ["ada"]);
}

/// A copy beside its order, as a redelivery that met an old snapshot leaves it.
async fn leave_a_copy<S: Store>(bench: &mut Bench<S>, customer: &str) {
    bench.park(&[order(customer, 3)]).await;
    bench.commit_one(&orders(customer, 1, 2)).await;
    let kept = format!("INSERT INTO copies SELECT * FROM parked_orders WHERE customer_id = '{customer}'");
    bench.probe.execute("CREATE TABLE copies AS SELECT * FROM parked_orders WHERE false").await;
    bench.probe.execute(&kept).await;
    bench.commit_parked(&[order(customer, 3)]).await;
    bench.probe.execute("INSERT INTO parked_orders SELECT * FROM copies").await;
    bench.probe.execute("DROP TABLE copies").await;
    bench.probe.execute(&format!("UPDATE customers SET parked = 1 WHERE customer_id = '{customer}'")).await;
    bench.audit().await;
}

pub(crate) async fn copies_of_ended_orders_are_removed<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    leave_a_copy(&mut bench, "ada").await;
    bench.park(&[order("ada", 5), order("bob", 2)]).await;
    // A tombstone names an order that is parked.
    let skip = "INSERT INTO tombstones (customer_id, position, order_id, reason, actor)
                VALUES ('bob', 1, NULL, 'x', 'test'), ('bob', 2, 'bob-2', 'x', 'test')";
    bench.probe.execute(skip).await;
    bench.probe.execute("UPDATE customers SET last_position = 2 WHERE customer_id = 'bob'").await;
    assert_eq!(bench.sweep(10).await, Vec::<String>::new());
    assert_eq!(bench.column("SELECT order_id FROM parked_orders").await, ["ada-5"]);
    assert_eq!(bench.commit_one(&[order("ada", 4)]).await, committed(4, 1));
}

pub(crate) async fn a_conflict_is_no_copy<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let conflict = resent(&other_content(&order("ada", 1)), 5);
    bench.park(std::slice::from_ref(&conflict)).await;
    bench.commit_one(&orders("ada", 1, 1)).await;
    bench.sweep(10).await;
    assert_eq!(bench.count("parked_orders").await, 1, "another content was acked as parked: it must not vanish");
    assert!(matches!(bench.found(&conflict).await, Found::Conflict(_)));
}

pub(crate) async fn blocked_customers_are_left_alone<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.quarantine(&poison(&order("ada", 1))).await, CaseVerdict::Quarantined);
    bench.park(&orders("ada", 2, 3)).await;
    assert_eq!(bench.sweep(10).await, Vec::<String>::new());
    assert_eq!(bench.count("parked_orders").await, 2);
}

pub(crate) async fn the_limit_holds<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    for n in 0..6 {
        bench.park(&[order(&format!("c{n}"), 2)]).await;
        bench.commit_one(&orders(&format!("c{n}"), 1, 1)).await;
    }
    // One sweep after another sees everybody.
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let found = bench.sweep(4).await;
        assert!(found.len() <= 4, "{found:?}");
        seen.extend(found);
    }
    assert_eq!(seen.len(), 6);
}

pub(crate) async fn a_closed_gate_sweeps_nothing<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    leave_a_copy(&mut bench, "ada").await;
    bench.gate("CLOSED", 1).await;
    bench.sweep(10).await;
    assert_eq!(bench.count("parked_orders").await, 1);
    bench.gate("DRAINING", 1).await;
    bench.sweep(10).await;
    assert_eq!(bench.count("parked_orders").await, 0);
}

/// Nothing else would ever look at it: it stands below the last position, and was acked as parked.
pub(crate) async fn what_lost_its_place_goes_to_quarantine<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let late = [named("x", "ada", 2), other_content(&order("ada", 3)), order("ada", 5)];
    bench.park(&late).await;
    // What a commit leaves whose snapshot is older than the parked orders: any other would let them go first.
    let lost = "FROM parked_orders WHERE order_id <> 'ada-5'";
    bench.probe.execute(&format!("CREATE TABLE lost AS SELECT * {lost}")).await;
    bench.probe.execute(&format!("DELETE {lost}")).await;
    bench.probe.execute("UPDATE customers SET parked = 1").await;
    assert_eq!(bench.commit_one(&orders("ada", 1, 3)).await, committed(3, 1));
    bench.probe.execute("INSERT INTO parked_orders SELECT * FROM lost").await;
    bench.probe.execute("DROP TABLE lost").await;
    bench.probe.execute("UPDATE customers SET parked = 3").await;
    bench.audit().await;
    assert_eq!(bench.sweep(10).await, Vec::<String>::new());
    assert_eq!(bench.column("SELECT order_id FROM parked_orders").await, ["ada-5"]);
    assert_eq!(bench.column("SELECT order_id FROM quarantined_orders ORDER BY ord").await, ["x", "ada-3"]);
    assert_eq!(bench.column("SELECT DISTINCT kind FROM quarantined_orders").await, ["conflict"]);
    for placed in &late[..2] {
        assert_eq!(bench.quarantine(&harmless(placed, CaseKind::Conflict)).await, CaseVerdict::Quarantined);
    }
    assert_eq!(bench.found(&late[0]).await, Found::Quarantined);
    assert_eq!(bench.count("quarantined_orders").await, 2, "by the same name as every other way");
    assert_eq!(bench.commit_one(&[order("ada", 4)]).await, committed(4, 1));
}

/// One worker was told that another content is parked under its name; before it wrote that down, another worker had
/// committed it.
pub(crate) async fn a_conflict_that_is_committed_is_none<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let (first, second) = (order("ada", 1), order("bob", 1));
    let rival = resent(&other_content(&first), 7);
    bench.commit_one(std::slice::from_ref(&first)).await;
    for accused in [&first, &rival, &second] {
        assert_eq!(bench.quarantine(&harmless(accused, CaseKind::Conflict)).await, CaseVerdict::Quarantined);
    }
    bench.gate("CLOSED", 1).await;
    bench.sweep(10).await;
    assert_eq!(bench.count("quarantined_orders").await, 3, "nothing is written through a closed gate");
    bench.gate("OPEN", 1).await;
    // The newest, no more of them at a time than customers.
    let committed = "digest IN (SELECT digest FROM orders)";
    let older = format!("UPDATE quarantined_orders SET created_at = '2001-02-03T04:05:06Z' WHERE {committed}");
    bench.probe.execute(&older).await;
    bench.sweep(2).await;
    assert_eq!(bench.count("quarantined_orders").await, 3);
    bench.sweep(3).await;
    assert_eq!(bench.column("SELECT order_id FROM quarantined_orders ORDER BY 1").await, ["ada-1", "bob-1"]);
    assert_eq!(bench.count(&format!("quarantined_orders WHERE {committed}")).await, 0);
}
