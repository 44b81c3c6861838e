//! Quarantine and blocked customers in `gapless` mode.

use millrace::ledger::{CaseKind, CaseVerdict, Found, ParkVerdict, Session, Verdict};
use millrace::order::Ordering::Gapless;

use super::Store;
use super::bench::{Bench, committed};
use super::orders::{harmless, malformed, named, order, orders, other_content, poison};
use crate::probe::Probe;

pub(crate) async fn a_poisoned_head_blocks_its_customer<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("ada", 1, 1)).await;
    let case = poison(&order("ada", 2));
    assert_eq!(bench.quarantine(&case).await, CaseVerdict::Quarantined);
    let digest = order("ada", 2).entry.digest().to_string();
    let expected = format!("ada-2~{}", &digest[..16]);
    assert_eq!(bench.column("SELECT blocked_by FROM customers").await, std::slice::from_ref(&expected));
    let body = bench.probe.text_of("body");
    let sql = format!("SELECT id, order_id, customer_id, kind, reason, {body} FROM quarantined_orders");
    let row = [expected.as_str(), "ada-2", "ada", "poison", "a check failed", case.placed.entry.body()];
    let row = row.map(|text| Some(text.to_owned()));
    assert_eq!(bench.probe.rows(&sql).await, [row]);
    // Nothing of it commits, live or parked; what comes is parked; nothing stands next.
    assert_eq!(bench.commit_one(&[order("ada", 2)]).await, Verdict::Blocked);
    assert_eq!(bench.commit_one(&[order("ada", 3)]).await, Verdict::Blocked);
    assert_eq!(bench.commit_parked(&[order("ada", 2)]).await, Verdict::Blocked);
    assert_eq!(bench.park_one(&order("ada", 3)).await, ParkVerdict::Parked);
    assert_eq!(bench.next_run("ada", 10).await.orders, []);
    assert_eq!(bench.next_run("ada", 10).await.parked, 1);
    assert_eq!(bench.commit_one(&orders("bob", 1, 1)).await, committed(1, 0), "nobody else waits");
    assert_eq!(bench.line("ada").await, ["ada-1"]);
}

pub(crate) async fn a_stale_case_changes_nothing<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.quarantine(&poison(&order("ada", 2))).await, CaseVerdict::NotNext);
    bench.commit_one(&orders("ada", 1, 2)).await;
    assert_eq!(bench.quarantine(&poison(&order("ada", 2))).await, CaseVerdict::NotNext);
    assert_eq!(bench.quarantine(&poison(&order("ada", 4))).await, CaseVerdict::NotNext);
    assert_eq!(bench.count("quarantined_orders").await, 0);
    assert_eq!(bench.count("customers WHERE blocked_by IS NOT NULL").await, 0);
    assert_eq!(bench.commit_one(&[order("ada", 3)]).await, committed(3, 0));
}

pub(crate) async fn another_head_cannot_block_twice<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.quarantine(&poison(&order("ada", 1))).await;
    for other in [named("x", "ada", 1), order("ada", 2), other_content(&order("ada", 1))] {
        assert_eq!(bench.quarantine(&poison(&other)).await, CaseVerdict::Blocked);
    }
    assert_eq!(bench.quarantine(&poison(&order("ada", 1))).await, CaseVerdict::Quarantined);
    assert_eq!(bench.count("quarantined_orders").await, 1);
}

pub(crate) async fn a_case_is_one_row<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&[order("ada", 1)]).await;
    let conflict = harmless(&other_content(&order("ada", 1)), CaseKind::Conflict);
    let broken = harmless(&malformed("m1", Some("ada"), 0), CaseKind::Malformed);
    let head = poison(&order("ada", 2));
    for case in [&conflict, &broken, &head] {
        for _ in 0..3 {
            assert_eq!(bench.quarantine(case).await, CaseVerdict::Quarantined);
        }
    }
    let rows = bench.column("SELECT kind FROM quarantined_orders ORDER BY kind").await;
    assert_eq!(rows, ["conflict", "malformed", "poison"]);
    let id = bench.column("SELECT id FROM quarantined_orders WHERE kind = 'malformed'").await;
    assert_eq!(id, ["!m1"]);
    // A third content under the same name is a case of its own.
    let third = super::orders::with_lines("ada-1", "ada", 1, r#"[{"sku":"x","quantity":9,"unit_price_minor":9}]"#);
    assert_eq!(bench.quarantine(&harmless(&third, CaseKind::Conflict)).await, CaseVerdict::Quarantined);
    assert_eq!(bench.count("quarantined_orders").await, 4);
}

pub(crate) async fn a_malformed_message_blocks_nobody<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    for (id, group) in [("m1", None), ("m2", Some("ada"))] {
        let case = harmless(&malformed(id, group, 0), CaseKind::Malformed);
        assert_eq!(bench.quarantine(&case).await, CaseVerdict::Quarantined);
        assert_eq!(bench.found(&case.placed).await, Found::Quarantined);
    }
    assert_eq!(bench.commit_one(&[order("ada", 1)]).await, committed(1, 0));
    let body = bench.probe.text_of("body");
    let bodies = bench.column(&format!("SELECT {body} FROM quarantined_orders ORDER BY id")).await;
    assert_eq!(bodies, ["{broken m1 ä", "{broken m2 ä"]);
}

pub(crate) async fn a_parked_head_leaves_the_parked<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.park(&orders("ada", 2, 3)).await;
    bench.commit_one(&[order("ada", 1)]).await;
    assert_eq!(bench.quarantine(&poison(&order("ada", 2))).await, CaseVerdict::Quarantined);
    assert_eq!(bench.column("SELECT order_id FROM parked_orders").await, ["ada-3"]);
    assert_eq!(bench.found(&order("ada", 2)).await, Found::Quarantined);
    // A conflict leaves as well, when the very same entry was parked; the one that was there before it stays.
    let conflict = harmless(&other_content(&order("ada", 3)), CaseKind::Conflict);
    bench.quarantine(&conflict).await;
    assert_eq!(bench.count("parked_orders").await, 1);
    bench.quarantine(&harmless(&order("ada", 3), CaseKind::Conflict)).await;
    assert_eq!(bench.count("parked_orders").await, 0);
}

pub(crate) async fn what_is_parked_for_the_place_stands_next<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.park_one(&order("ada", 2)).await;
    bench.commit_one(&orders("ada", 1, 1)).await;
    for other in [named("other", "ada", 2), other_content(&order("ada", 2))] {
        assert_eq!(bench.quarantine(&poison(&other)).await, CaseVerdict::NotNext);
    }
    assert_eq!(bench.count("quarantined_orders").await, 0);
    // A retry needs the place.
    assert_eq!(bench.quarantine(&poison(&order("ada", 2))).await, CaseVerdict::Quarantined);
    bench.retry("ada").await;
    bench.audit().await;
    assert_eq!(bench.next_run("ada", 10).await.orders, [order("ada", 2)]);
}

pub(crate) async fn a_retried_order_goes_first<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.quarantine(&poison(&order("ada", 1))).await;
    bench.park(&orders("ada", 2, 3)).await;
    bench.retry("ada").await;
    bench.audit().await;
    assert_eq!(bench.found(&order("ada", 1)).await, Found::Parked);
    assert_eq!(bench.sweep(10).await, ["ada"]);
    let next = bench.next_run("ada", 10).await;
    assert_eq!(next.orders, orders("ada", 1, 3));
    assert_eq!(bench.commit_parked(&next.orders).await, committed(3, 0));
}

pub(crate) async fn a_skipped_order_is_ended<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.quarantine(&poison(&order("ada", 1))).await;
    bench.park_one(&order("ada", 2)).await;
    bench.skip("ada").await;
    bench.audit().await;
    assert_eq!(bench.found(&order("ada", 1)).await, Found::Ended);
    assert_eq!(bench.commit_one(&[order("ada", 1)]).await, Verdict::Behind(1));
    let next = bench.next_run("ada", 10).await;
    assert_eq!(bench.commit_parked(&next.orders).await, committed(2, 0));
}

pub(crate) async fn the_blocked_place_is_taken<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("ada", 1, 1)).await;
    bench.quarantine(&poison(&order("ada", 2))).await;
    let asked =
        [order("ada", 2), named("x", "ada", 2), other_content(&order("ada", 2)), order("ada", 1), order("ada", 3)];
    let verdicts = bench.park(&asked).await;
    let expected =
        [ParkVerdict::Taken, ParkVerdict::Taken, ParkVerdict::Taken, ParkVerdict::NotEarly, ParkVerdict::Parked];
    assert_eq!(verdicts, expected);
    let found = bench.session.look_up(&asked[..3]).await.unwrap();
    assert_eq!(found[0], Found::Quarantined);
    assert!(found[1..].iter().all(|found| matches!(found, Found::Conflict(_))), "{found:?}");
}
