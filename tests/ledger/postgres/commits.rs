//! Commits, parking and look-ups of one session: the answers of every statement, in every ordering.

use millrace::ledger::{Found, Ledger, ParkVerdict, Session, Verdict};
use millrace::order::{Entry, EntryId, Ordering};

use super::{World, committed, live, parked, run};

#[tokio::test]
async fn every_run_has_its_verdict_in_the_order_of_the_runs() {
    let world = World::new(Ordering::Gapless).await;
    let mut session = world.session().await;
    let first = live(vec![world.run("zoe", 1..=3), world.run("adam", 1..=1), world.run("late", 5..=5)]);
    let ahead = Verdict::Ahead { upto: 0, parked: 0 };
    assert_eq!(session.commit(&first).await.unwrap(), [committed(3), committed(1), ahead]);
    // Again: nothing changes.
    let ahead = Verdict::Ahead { upto: 0, parked: 0 };
    assert_eq!(session.commit(&first).await.unwrap(), [Verdict::Behind(3), Verdict::Behind(1), ahead]);
    let next = live(vec![world.run("adam", 3..=4), world.run("zoe", 4..=5), world.run("mia", 1..=2)]);
    let ahead = Verdict::Ahead { upto: 1, parked: 0 };
    assert_eq!(session.commit(&next).await.unwrap(), [ahead, committed(5), committed(2)]);
    assert_eq!(session.commit(&live(Vec::new())).await.unwrap(), []);
    assert_eq!(world.database.value("SELECT count(*) FROM orders").await, "8");
    let stored =
        "SELECT row(o.position, o.currency, o.total_minor, o.placed_at AT TIME ZONE 'UTC', o.body LIKE '%zoe-4%')
                  FROM orders o WHERE order_id = 'zoe-4'";
    assert_eq!(world.database.value(stored).await, "(4,EUR,750,\"2026-11-22 10:00:00.123456\",t)");
    let line =
        "SELECT row(sku, quantity, unit_price_minor) FROM order_lines WHERE order_id = 'zoe-4' AND line_number = 2";
    assert_eq!(world.database.value(line).await, "(pot,1,250)");
    world.check().await;
}

#[tokio::test]
async fn early_orders_are_parked_and_go_in_their_turn() {
    let world = World::new(Ordering::Gapless).await;
    let mut session = world.session().await;
    let early = [world.order("ann", 3), world.order("ann", 2), world.order("ann", 1), world.order("bob", 2)];
    let answers = [ParkVerdict::Parked, ParkVerdict::Parked, ParkVerdict::NotEarly, ParkVerdict::Parked];
    assert_eq!(session.park(&early).await.unwrap(), answers);
    let again = [ParkVerdict::Taken, ParkVerdict::Taken, ParkVerdict::NotEarly, ParkVerdict::Taken];
    assert_eq!(session.park(&early).await.unwrap(), again);
    let another = world.named("another", "ann", 3);
    assert_eq!(session.park(std::slice::from_ref(&another)).await.unwrap(), [ParkVerdict::Taken]);
    let asked = [early[0].clone(), another, early[2].clone(), world.named("ann-3", "ann", 9)];
    let found = session.look_up(&asked).await.unwrap();
    assert_eq!([&found[0], &found[2]], [&Found::Parked, &Found::Absent]);
    assert!(matches!(&found[1], Found::Conflict(reason) if reason.contains("ann-3")), "{found:?}");
    assert!(matches!(&found[3], Found::Conflict(_)), "{found:?}");
    world.check().await;

    let verdict = session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    assert_eq!(verdict, [Verdict::Committed { upto: 1, parked: 2, known: vec![] }]);
    let customers: Vec<_> = ["bob", "ann", "nobody"].map(millrace::order::CustomerId::new).to_vec();
    let runs = session.parked_runs(&customers, 10).await.unwrap();
    assert_eq!(
        runs.iter().map(|run| (run.upto, run.parked, run.orders.len())).collect::<Vec<_>>(),
        [(0, 1, 0), (1, 2, 2), (0, 0, 0)]
    );
    assert_eq!(runs[1].orders, [early[1].clone(), early[0].clone()]);
    let verdict = session.commit(&parked(vec![run("ann", runs[1].orders.clone())])).await.unwrap();
    assert_eq!(verdict, [committed(3)]);
    world.check().await;
}

#[tokio::test]
async fn look_up_tells_duplicates_and_conflicts_apart() {
    let world = World::new(Ordering::Gapless).await;
    let mut session = world.session().await;
    session.commit(&live(vec![world.run("ann", 1..=2)])).await.unwrap();
    world
        .database
        .sql(
            "INSERT INTO tombstones (customer_id, position, order_id, reason, actor)
             VALUES ('ann', 3, 'ann-3', 'lost', 'kim');
             UPDATE customers SET last_position = 3 WHERE customer_id = 'ann'",
        )
        .await;
    let asked = [
        world.order("ann", 2),
        world.selling("ann-2", "ann", 2, &[("cup", 1)]),
        world.named("other", "ann", 2),
        world.order("ann", 3),
        world.named("other", "ann", 3),
        world.order("ann", 4),
    ];
    let found = session.look_up(&asked).await.unwrap();
    assert_eq!([&found[0], &found[3], &found[5]], [&Found::Ended, &Found::Ended, &Found::Absent]);
    for (at, word) in [(1, "ann-2"), (2, "belongs to order ann-2"), (4, "skipped by kim: lost")] {
        assert!(matches!(&found[at], Found::Conflict(reason) if reason.contains(word)), "{found:?}");
    }
}

#[tokio::test]
async fn fifo_takes_numbers_above_64_bits_and_positions_without_gaps() {
    let world = World::new(Ordering::Fifo).await;
    let mut session = world.session().await;
    let big = 18_892_345_678_901_234_567_890_u128;
    let batch = live(vec![world.run("ann", [big, big + 256]), world.run("bob", [7])]);
    assert_eq!(session.commit(&batch).await.unwrap(), [committed(big + 256), committed(7)]);
    // A known order is left out wherever it stands, and named.
    let mixed = run(
        "ann",
        vec![
            world.named(&format!("ann-{big}"), "ann", big + 300),
            world.order("ann", big + 301),
            world.named("bob-7", "ann", big + 302),
            world.order("ann", u128::MAX),
        ],
    );
    let known = vec![EntryId::new(format!("ann-{big}")), EntryId::new("bob-7")];
    let verdict = session.commit(&live(vec![mixed])).await.unwrap();
    assert_eq!(verdict, [Verdict::Committed { upto: u128::MAX, parked: 0, known }]);
    let verdict = session.commit(&batch).await.unwrap();
    let all = |run: usize| batch.runs[run].orders.iter().map(|placed| placed.entry.id().clone()).collect();
    assert_eq!(
        verdict,
        [
            Verdict::Committed { upto: u128::MAX, parked: 0, known: all(0) },
            Verdict::Committed { upto: 7, parked: 0, known: all(1) }
        ]
    );
    let late = live(vec![world.run("bob", [6]), world.run("ann", [5])]);
    assert_eq!(session.commit(&late).await.unwrap(), [Verdict::Behind(7), Verdict::Behind(u128::MAX)]);
    assert_eq!(session.look_up(&late.runs[0].orders).await.unwrap(), [Found::OutOfSequence]);
    let order = "SELECT string_agg(order_id, ' ' ORDER BY position) FROM orders WHERE customer_id = 'ann'";
    let order = world.database.value(order).await;
    assert!(order.starts_with(&format!("ann-{big} ann-{} ann-{}", big + 256, big + 301)), "{order}");
    world.check().await;
}

#[tokio::test]
async fn fifo_parks_only_behind_a_block_and_drains_from_the_lowest() {
    let world = World::new(Ordering::Fifo).await;
    let mut session = world.session().await;
    session.commit(&live(vec![world.run("ann", [10])])).await.unwrap();
    let orders = [world.order("ann", 20), world.malformed("m1", Some("ann"), 30), world.order("ann", 40)];
    assert_eq!(session.park(&orders).await.unwrap(), [ParkVerdict::NotEarly; 3]);
    assert_eq!(session.park(&[world.order("new", 3)]).await.unwrap(), [ParkVerdict::NotEarly]);
    world.database.sql("UPDATE customers SET blocked_by = 'x'").await;
    assert_eq!(session.commit(&live(vec![world.run("ann", [20])])).await.unwrap(), [Verdict::Blocked]);
    assert_eq!(session.park(&orders).await.unwrap(), [ParkVerdict::Parked; 3]);
    assert_eq!(session.park(&orders).await.unwrap(), [ParkVerdict::Taken; 3]);
    assert_eq!(session.park(&[world.order("ann", 9)]).await.unwrap(), [ParkVerdict::NotEarly]);
    assert_eq!(session.look_up(&orders).await.unwrap(), [Found::Parked, Found::Parked, Found::Parked]);
    let ann = [millrace::order::CustomerId::new("ann")];
    assert_eq!(session.parked_runs(&ann, 10).await.unwrap()[0].orders, []);
    world.database.sql("UPDATE customers SET blocked_by = NULL").await;
    let runs = session.parked_runs(&ann, 10).await.unwrap();
    assert_eq!(runs[0].orders, orders);
    assert!(matches!(&*runs[0].orders[1].entry, Entry::Malformed(_)));
    assert_eq!(session.parked_runs(&ann, 1).await.unwrap()[0].orders, orders[..1]);

    // Live orders wait, and what is parked goes from the lowest.
    let ahead = Verdict::Ahead { upto: 10, parked: 3 };
    assert_eq!(session.commit(&live(vec![world.run("ann", [50])])).await.unwrap(), std::slice::from_ref(&ahead));
    assert_eq!(session.commit(&parked(vec![run("ann", vec![orders[2].clone()])])).await.unwrap(), [ahead]);
    let verdict = session.commit(&parked(vec![run("ann", vec![orders[0].clone()])])).await.unwrap();
    assert_eq!(verdict, [Verdict::Committed { upto: 20, parked: 2, known: vec![] }]);
    world.check().await;
}

#[tokio::test]
async fn fifo_removes_the_parked_copy_of_a_known_order() {
    let world = World::new(Ordering::Fifo).await;
    let mut session = world.session().await;
    session.commit(&live(vec![world.run("ann", [10])])).await.unwrap();
    world.database.sql("UPDATE customers SET blocked_by = 'x'").await;
    // Sent anew by the producer, so with a number of its own; and the same name with another content.
    let copy = world.named("ann-10", "ann", 20);
    let conflict = world.selling("ann-30", "ann", 30, &[("cup", 9)]);
    let answers = session.park(&[copy.clone(), conflict.clone()]).await.unwrap();
    assert_eq!(answers, [ParkVerdict::Parked; 2]);
    world.database.sql("UPDATE customers SET blocked_by = NULL").await;
    session.commit(&live(vec![world.run("bob", [30])])).await.unwrap();
    world
        .database
        .sql(
            "UPDATE orders SET order_id = 'ann-30' WHERE order_id = 'bob-30';
              UPDATE order_lines SET order_id = 'ann-30' WHERE order_id = 'bob-30';
              UPDATE order_events SET order_id = 'ann-30' WHERE order_id = 'bob-30'",
        )
        .await;
    let verdict = session.commit(&parked(vec![run("ann", vec![copy, conflict])])).await.unwrap();
    let known = vec![EntryId::new("ann-10"), EntryId::new("ann-30")];
    assert_eq!(verdict, [Verdict::Committed { upto: 10, parked: 1, known }]);
    assert_eq!(world.database.value("SELECT order_id FROM parked_orders").await, "ann-30");
    world.check().await;
}

#[tokio::test]
async fn none_promises_once_and_no_order() {
    let world = World::new(Ordering::None).await;
    let mut session = world.session().await;
    let named = |id: &str| world.named(id, "ann", 0);
    let batch = live(vec![run("ann", vec![named("b"), named("a")])]);
    assert_eq!(session.commit(&batch).await.unwrap(), [committed(0)]);
    let batch = live(vec![run("ann", vec![named("c"), named("a"), named("d")])]);
    let known = vec![EntryId::new("a")];
    assert_eq!(session.commit(&batch).await.unwrap(), [Verdict::Committed { upto: 0, parked: 0, known }]);
    let order = "SELECT string_agg(order_id, ' ' ORDER BY position) FROM orders";
    assert_eq!(world.database.value(order).await, "b a c d");
    assert_eq!(session.park(&[named("e")]).await.unwrap(), [ParkVerdict::NotEarly]);
    assert_eq!(session.look_up(&[named("a"), named("e")]).await.unwrap(), [Found::Ended, Found::Absent]);
    world.check().await;
}

#[tokio::test]
async fn migrating_twice_takes_no_step_and_an_old_schema_is_refused() {
    let world = World::new(Ordering::Gapless).await;
    assert_eq!(world.ledger.migrate().await.unwrap(), 0);
    world.database.sql("DELETE FROM _sqlx_migrations").await;
    let error = world.ledger.connect().await.unwrap_err();
    assert_eq!(error.class, millrace::ledger::ErrorClass::Broken);
    assert!(error.message.contains("millrace migrate"), "{error}");
}
