//! Quarantine: what blocks, what does not, and what a stale verdict does.

use millrace::ledger::{Case, CaseKind, CaseVerdict, Found, ParkVerdict, Placed, Session, Verdict};
use millrace::order::{CustomerId, Ordering};

use super::{Barrier, World, committed, live, parked, run};

fn poison(placed: &Placed) -> Case {
    Case { placed: placed.clone(), kind: CaseKind::Poison, reason: "it fails".into(), blocks: true }
}

fn aside(placed: &Placed, kind: CaseKind) -> Case {
    Case { placed: placed.clone(), kind, reason: "not this one".into(), blocks: false }
}

#[tokio::test]
async fn poison_at_the_head_blocks_its_customer() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let world = World::new(ordering).await;
        let mut session = world.session().await;
        // Once as a customer's first order, once behind another.
        session.commit(&live(vec![world.run("old", 1..=1)])).await.unwrap();
        for (customer, rank) in [("new", 1), ("old", 2)] {
            let head = world.order(customer, rank);
            for _ in 0..2 {
                assert_eq!(session.quarantine(&poison(&head)).await.unwrap(), CaseVerdict::Quarantined);
            }
            let next = world.run(customer, rank + 1..=rank + 1);
            let verdict = session.commit(&live(vec![next.clone()])).await.unwrap();
            assert!(matches!(verdict[..], [Verdict::Blocked | Verdict::Ahead { .. }]), "{verdict:?}");
            assert_eq!(
                session.commit(&live(vec![run(customer, vec![head.clone()])])).await.unwrap(),
                [Verdict::Blocked]
            );
            assert_eq!(session.quarantine(&poison(&next.orders[0])).await.unwrap(), CaseVerdict::Blocked);
            // Its followers are parked, itself is not, and nobody takes its place.
            let orders = [head.clone(), next.orders[0].clone(), world.order(customer, rank + 5)];
            let verdicts = [ParkVerdict::Taken, ParkVerdict::Parked, ParkVerdict::Parked];
            assert_eq!(session.park(&orders).await.unwrap(), verdicts);
            assert_eq!(session.look_up(&[head]).await.unwrap(), [Found::Quarantined]);
            if ordering == Ordering::Gapless {
                let thief = [world.named("thief", customer, rank)];
                assert_eq!(session.park(&thief).await.unwrap(), [ParkVerdict::Taken]);
                assert!(matches!(&session.look_up(&thief).await.unwrap()[..], [Found::Conflict(_)]));
            }
            let run = session.parked_runs(&[CustomerId::new(customer)], 9).await.unwrap().remove(0);
            assert_eq!((run.parked, run.orders), (2, vec![]));
        }
        assert_eq!(session.sweep(10).await.unwrap(), []);
        let rows = "SELECT string_agg(q.order_id, ' ' ORDER BY q.order_id) FROM quarantined_orders q
                    JOIN customers c ON c.blocked_by = q.id WHERE q.blocks AND q.kind = 'poison'";
        assert_eq!(world.database.value(rows).await, "new-1 old-2");
        world.check().await;
    }
}

#[tokio::test]
async fn a_stale_verdict_changes_nothing() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let world = World::new(ordering).await;
        let mut session = world.session().await;
        session.commit(&live(vec![world.run("ann", 1..=2)])).await.unwrap();
        let stale = poison(&world.named("other", "ann", 2));
        assert_eq!(session.quarantine(&stale).await.unwrap(), CaseVerdict::NotNext);
        if ordering == Ordering::Gapless {
            for early in [world.order("ann", 4), world.order("new", 2)] {
                assert_eq!(session.quarantine(&poison(&early)).await.unwrap(), CaseVerdict::NotNext);
            }
        }
        assert_eq!(world.database.value("SELECT count(*) FROM quarantined_orders").await, "0");
        assert_eq!(world.database.value("SELECT count(*) FROM customers WHERE blocked_by IS NOT NULL").await, "0");
        assert_eq!(session.commit(&live(vec![world.run("ann", 3..=3)])).await.unwrap(), [committed(3)]);
    }
}

#[tokio::test]
async fn the_parked_head_leaves_with_its_count() {
    let world = World::new(Ordering::Fifo).await;
    let mut session = world.session().await;
    let first = world.malformed("m0", Some("ann"), 1);
    let case = Case { kind: CaseKind::Malformed, ..poison(&first) };
    assert_eq!(session.quarantine(&case).await.unwrap(), CaseVerdict::Quarantined);
    let orders = [world.malformed("m1", Some("ann"), 2), world.order("ann", 3), world.order("ann", 4)];
    session.park(&orders).await.unwrap();
    world.database.sql("UPDATE customers SET blocked_by = NULL; DELETE FROM quarantined_orders").await;
    // What is parked below goes first, also when it fails.
    assert_eq!(session.quarantine(&poison(&orders[1])).await.unwrap(), CaseVerdict::NotNext);
    assert_eq!(session.quarantine(&poison(&world.order("ann", 9))).await.unwrap(), CaseVerdict::NotNext);
    let case = Case { kind: CaseKind::Malformed, ..poison(&orders[0]) };
    assert_eq!(session.quarantine(&case).await.unwrap(), CaseVerdict::Quarantined);
    let row = world.database.value("SELECT row(blocked_by, parked, mark) FROM customers").await;
    assert_eq!(row, "(!m1,2,0)");
    assert_eq!(session.look_up(&orders[..1]).await.unwrap(), [Found::Quarantined]);
    assert_eq!(session.park(&orders[..1]).await.unwrap(), [ParkVerdict::Taken]);
    world.check().await;
}

#[tokio::test]
async fn what_does_not_block_is_put_aside_once() {
    let world = World::new(Ordering::Gapless).await;
    let mut session = world.session().await;
    session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    // A message of nobody, however often.
    let nobody = world.malformed("m1", None, 0);
    for _ in 0..2 {
        let verdict = session.quarantine(&aside(&nobody, CaseKind::Malformed)).await.unwrap();
        assert_eq!(verdict, CaseVerdict::Quarantined);
    }
    assert_eq!(session.look_up(&[nobody]).await.unwrap(), [Found::Quarantined]);
    // A conflict that was parked leaves with its copy; the order of the same name stays.
    let conflict = world.selling("ann-1", "ann", 7, &[("cup", 1)]);
    session.park(std::slice::from_ref(&conflict)).await.unwrap();
    session.park(&[world.order("ann", 8)]).await.unwrap();
    for _ in 0..2 {
        let verdict = session.quarantine(&aside(&conflict, CaseKind::Conflict)).await.unwrap();
        assert_eq!(verdict, CaseVerdict::Quarantined);
    }
    // Another content of a parked name: its copy is not the parked one.
    let other = world.selling("ann-8", "ann", 8, &[("cup", 1)]);
    session.quarantine(&aside(&other, CaseKind::Conflict)).await.unwrap();
    assert_eq!(world.database.value("SELECT string_agg(order_id, ' ') FROM parked_orders").await, "ann-8");
    assert_eq!(world.database.value("SELECT count(*) FROM quarantined_orders").await, "3");
    assert_eq!(world.database.value("SELECT row(parked, blocked_by) FROM customers").await, "(1,)");
    assert_eq!(
        world
            .database
            .value("SELECT convert_from(body, 'UTF8') FROM quarantined_orders WHERE customer_id IS NULL")
            .await,
        "no order: m1"
    );
    world.check().await;
}

#[tokio::test]
async fn a_fifo_head_that_was_overtaken_by_a_parker_does_not_block() {
    let world = World::new(Ordering::Fifo).await;
    let (mut session, mut one) = (world.session().await, world.session().await);
    session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    let mut held = Barrier::hold(&world, "SELECT FROM customers FOR UPDATE").await;
    let case = poison(&world.order("ann", 3));
    let quarantine = tokio::spawn(async move { one.quarantine(&case).await });
    world.database.waiting(1).await;
    let earlier = world.order("ann", 2);
    sqlx::query(
        "INSERT INTO parked_orders (customer_id, ord, order_id, digest, body) VALUES ('ann', 2, 'ann-2', $1, $2)",
    )
    .bind(earlier.entry.digest().0)
    .bind(earlier.entry.body().as_bytes())
    .execute(&mut held.0)
    .await
    .unwrap();
    sqlx::raw_sql("UPDATE customers SET parked = 1").execute(&mut held.0).await.unwrap();
    held.let_go().await;
    assert_eq!(quarantine.await.unwrap().unwrap(), CaseVerdict::NotNext);
    assert_eq!(session.commit(&parked(vec![run("ann", vec![earlier])])).await.unwrap(), [committed(2)]);
    world.check().await;
}
