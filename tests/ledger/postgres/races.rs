//! Two sessions at once, stopped between snapshot and lock by a barrier that the test holds.

use std::time::Duration;

use millrace::ledger::{Batch, ErrorClass, Found, Ledger, ParkVerdict, Session, Verdict};
use millrace::order::{CustomerId, Ordering};

use super::{Barrier, World, commit_beside, committed, live, park_beside, parked, run};

/// Holds every session of a write where it has its snapshot and no lock of a customer yet.
const AT_THE_GATE: &str = "SELECT FROM gate FOR UPDATE";

fn resolving(batch: Batch) -> Batch {
    Batch { resolve: true, ..batch }
}

#[tokio::test]
async fn a_locked_customer_is_left_out_and_the_others_commit() {
    for ordering in [Ordering::Gapless, Ordering::Fifo, Ordering::None] {
        let world = World::new(ordering).await;
        let mut session = world.session().await;
        let rank = |rank: u128| if ordering == Ordering::None { 0 } else { rank };
        let order = |customer: &str, n: u128| world.named(&format!("{customer}-{n}"), customer, rank(n));
        let both = |n| live(vec![run("ann", vec![order("ann", n)]), run("bob", vec![order("bob", n)])]);
        session.commit(&both(1)).await.unwrap();
        let held = Barrier::hold(&world, "SELECT FROM customers WHERE customer_id = 'ann' FOR UPDATE").await;
        assert_eq!(session.commit(&both(2)).await.unwrap(), [Verdict::Locked, committed(rank(2))]);
        held.let_go().await;
        let again = session.commit(&both(2)).await.unwrap();
        assert_eq!(again[0], committed(rank(2)));
        assert_ne!(again[1], committed(rank(2)));
        world.check().await;
    }
}

#[tokio::test]
async fn of_two_first_orders_one_wins() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let world = World::new(ordering).await;
        let (one, two) = (world.session().await, world.session().await);
        let held = Barrier::hold(&world, AT_THE_GATE).await;
        let one = commit_beside(one, live(vec![world.run("ann", 1..=2), world.run("bob", 1..=1)]));
        let two = commit_beside(two, live(vec![world.run("ann", 1..=1), world.run("bob", 1..=2)]));
        world.database.waiting(2).await;
        held.let_go().await;
        let (one, two) = (one.await.unwrap().1.unwrap(), two.await.unwrap().1.unwrap());
        for (one, two) in one.into_iter().zip(two) {
            let mut both = [one, two];
            both.sort_by_key(|verdict| *verdict == Verdict::Locked);
            assert!(matches!(both, [Verdict::Committed { .. }, Verdict::Locked]), "{both:?}");
        }
        world.check().await;
    }
}

#[tokio::test]
async fn resolving_waits_for_the_first_one_instead_of_skipping() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let world = World::new(ordering).await;
        let (mut first, session) = (world.session().await, world.session().await);
        first.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
        // Another session has begun to commit ann-2, and nobody knows what comes of it.
        let open = Barrier::hold(&world, "UPDATE customers SET last_position = 2, mark = 2").await;
        let asked = commit_beside(session, resolving(live(vec![world.run("ann", 2..=2)])));
        world.database.waiting(1).await;
        open.let_go().await;
        assert_eq!(asked.await.unwrap().1.unwrap(), [Verdict::Behind(2)]);
    }
}

#[tokio::test]
async fn no_parked_order_is_left_behind() {
    // The test: parker and committer are both stopped between snapshot and lock, and go on in either order.
    for parker_first in [true, false] {
        let world = World::new(Ordering::Gapless).await;
        let (mut session, one, two) = (world.session().await, world.session().await, world.session().await);
        session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
        let row = Barrier::hold(&world, "SELECT FROM customers WHERE customer_id = 'ann' FOR UPDATE").await;
        let commit = resolving(live(vec![world.run("ann", 2..=2)]));
        let order = vec![world.order("ann", 3)];
        // Both have their snapshot, and queue for the row in this order.
        let (commit, park) = if parker_first {
            let park = park_beside(two, order);
            world.database.waiting(1).await;
            (commit_beside(one, commit), park)
        } else {
            let commit = commit_beside(one, commit);
            world.database.waiting(1).await;
            (commit, park_beside(two, order))
        };
        world.database.waiting(2).await;
        row.let_go().await;
        let (commit, park) = (commit.await.unwrap().1.unwrap(), park.await.unwrap().1.unwrap());
        world.check().await;
        let commit = if parker_first {
            // The commit came second, and cannot see what was parked: it is tried again.
            assert_eq!(commit, [Verdict::Locked]);
            session.commit(&resolving(live(vec![world.run("ann", 2..=2)]))).await.unwrap()
        } else {
            commit
        };
        match (&commit[..], &park[..]) {
            // The commit came second: it says that something is parked.
            ([Verdict::Committed { upto: 2, parked: 1, .. }], [ParkVerdict::Parked]) => {}
            // The commit came first: the order is not early any more.
            ([Verdict::Committed { upto: 2, parked: 0, .. }], [ParkVerdict::NotEarly]) => {
                assert_eq!(session.commit(&live(vec![world.run("ann", 3..=3)])).await.unwrap(), [committed(3)]);
                continue;
            }
            other => panic!("somebody is left behind: {other:?}"),
        }
        let runs = session.parked_runs(&[CustomerId::new("ann")], 10).await.unwrap();
        let verdict = session.commit(&parked(vec![run("ann", runs[0].orders.clone())])).await.unwrap();
        assert_eq!(verdict, [committed(3)]);
        world.check().await;
    }
}

#[tokio::test]
async fn parker_and_committer_stopped_before_any_lock_leave_nothing_behind() {
    let world = World::new(Ordering::Gapless).await;
    let (mut session, one, two) = (world.session().await, world.session().await, world.session().await);
    session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    let held = Barrier::hold(&world, AT_THE_GATE).await;
    let commit = commit_beside(one, live(vec![world.run("ann", 2..=2), world.run("new", 1..=1)]));
    let park = park_beside(two, vec![world.order("ann", 3), world.order("new", 2)]);
    world.database.waiting(2).await;
    held.let_go().await;
    let (commit, park) = (commit.await.unwrap().1.unwrap(), park.await.unwrap().1.unwrap());
    world.check().await;
    for (at, customer) in ["ann", "new"].into_iter().enumerate() {
        let rows =
            world.database.value(&format!("SELECT parked FROM customers WHERE customer_id = '{customer}'")).await;
        match (&commit[at], park[at]) {
            (Verdict::Committed { parked: 1, .. } | Verdict::Locked, ParkVerdict::Parked) => assert_eq!(rows, "1"),
            (Verdict::Committed { parked: 0, .. }, ParkVerdict::NotEarly) => assert_eq!(rows, "0"),
            other => panic!("{customer} is left behind: {other:?}"),
        }
    }
}

#[tokio::test]
async fn parking_waits_for_an_open_commit() {
    let world = World::new(Ordering::Gapless).await;
    let (mut first, session) = (world.session().await, world.session().await);
    first.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    let open = Barrier::hold(&world, "UPDATE customers SET last_position = 2").await;
    let park = park_beside(session, vec![world.order("ann", 3), world.order("ann", 4)]);
    world.database.waiting(1).await;
    open.let_go().await;
    assert_eq!(park.await.unwrap().1.unwrap(), [ParkVerdict::NotEarly, ParkVerdict::Parked]);
}

#[tokio::test]
async fn an_old_snapshot_leaves_no_copy_and_what_is_left_is_swept() {
    let world = World::new(Ordering::Gapless).await;
    let (mut session, one) = (world.session().await, world.session().await);
    session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    // The commit of ann-2 and ann-3 has its snapshot; then ann-3 is parked by its redelivery.
    let mut by_hand = world.by_hand().await;
    let held = Barrier::hold(&world, "SELECT FROM customers FOR UPDATE").await;
    let commit = commit_beside(one, resolving(live(vec![world.run("ann", 2..=3)])));
    world.database.waiting(1).await;
    let parking = "UPDATE customers SET parked = parked + 1";
    let mut barrier = held;
    sqlx::raw_sql(parking).execute(&mut barrier.0).await.unwrap();
    let copy = world.order("ann", 3);
    sqlx::query(
        "INSERT INTO parked_orders (customer_id, ord, order_id, digest, body) VALUES ('ann', 3, 'ann-3', $1, $2)",
    )
    .bind(copy.entry.digest().0)
    .bind(copy.entry.body().as_bytes())
    .execute(&mut barrier.0)
    .await
    .unwrap();
    barrier.let_go().await;
    // It cannot see the copy. With a new snapshot it takes it along.
    assert_eq!(commit.await.unwrap().1.unwrap(), [Verdict::Locked]);
    assert_eq!(session.commit(&live(vec![world.run("ann", 2..=3)])).await.unwrap(), [committed(3)]);
    assert_eq!(session.look_up(std::slice::from_ref(&copy)).await.unwrap(), [Found::Ended]);
    // Left by an earlier version.
    world
        .database
        .sql(
            "INSERT INTO parked_orders (customer_id, ord, order_id, digest, body)
             SELECT customer_id, position, order_id, digest, convert_to(body, 'UTF8') FROM orders WHERE position = 3;
             UPDATE customers SET parked = 1",
        )
        .await;
    // What lost its place to another order would wait for ever: it goes to quarantine.
    sqlx::raw_sql(
        "INSERT INTO parked_orders (customer_id, ord, order_id, digest, body) VALUES ('ann', 2, 'x', '\\x0123456789abcdef01', 'x');
         UPDATE customers SET parked = parked + 1",
    )
    .execute(&mut by_hand)
    .await
    .unwrap();
    assert_eq!(session.sweep(10).await.unwrap(), []);
    assert_eq!(world.database.value("SELECT parked FROM customers").await, "0");
    assert_eq!(world.database.value("SELECT count(*) FROM parked_orders").await, "0");
    let case = world.database.value("SELECT row(id, kind, ord, blocks) FROM quarantined_orders").await;
    assert_eq!(case, "(x~0123456789abcdef,conflict,2,f)");
    world.check().await;
}

#[tokio::test]
async fn fifo_never_lets_a_later_order_pass_one_that_was_parked_meanwhile() {
    for of_parked in [false, true] {
        let world = World::new(Ordering::Fifo).await;
        let (mut session, one) = (world.session().await, world.session().await);
        session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
        let held = Barrier::hold(&world, "SELECT FROM customers FOR UPDATE").await;
        let batch = if of_parked { parked(vec![world.run("ann", 3..=3)]) } else { live(vec![world.run("ann", 3..=3)]) };
        let commit = commit_beside(one, resolving(batch));
        world.database.waiting(1).await;
        let mut barrier = held;
        sqlx::raw_sql(
            "UPDATE customers SET parked = 1;
             INSERT INTO parked_orders (customer_id, ord, order_id, digest, body) VALUES ('ann', 2, 'ann-2', 'x', 'x')",
        )
        .execute(&mut barrier.0)
        .await
        .unwrap();
        barrier.let_go().await;
        assert_eq!(commit.await.unwrap().1.unwrap(), [Verdict::Ahead { upto: 1, parked: 1 }]);
    }
}

#[tokio::test]
async fn a_sweep_goes_round_all_customers() {
    let world = World::new(Ordering::Gapless).await;
    let mut session = world.session().await;
    for customer in ["a", "b", "c", "d", "e"] {
        session.park(&[world.order(customer, 2)]).await.unwrap();
    }
    session.commit(&live(vec![world.run("b", 1..=1), world.run("e", 1..=1)])).await.unwrap();
    let names = |customers: Vec<CustomerId>| customers.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(session.sweep(2).await.unwrap()), ["b"]);
    assert_eq!(names(session.sweep(2).await.unwrap()), [""; 0]);
    assert_eq!(names(session.sweep(2).await.unwrap()), ["e"]);
    assert_eq!(names(session.sweep(2).await.unwrap()), ["b"]);
}

#[tokio::test]
async fn a_killed_connection_is_an_unknown_outcome_and_resolving_says_which() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let world = World::new(ordering).await;
        let (mut session, one) = (world.session().await, world.session().await);
        session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
        let held = Barrier::hold(&world, "SELECT FROM customers FOR UPDATE").await;
        let batch = live(vec![world.run("ann", 2..=3)]);
        let commit = commit_beside(one, resolving(batch.clone()));
        world.database.waiting(1).await;
        world
            .database
            .sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .await;
        let (mut spent, error) = commit.await.unwrap();
        assert_eq!(error.unwrap_err().class, ErrorClass::Unknown);
        assert_eq!(spent.gate().await.unwrap_err().class, ErrorClass::Away);
        held.let_go().await;
        let mut fresh = world.ledger.connect().await.unwrap();
        assert_eq!(fresh.commit(&resolving(batch.clone())).await.unwrap(), [committed(3)]);
        let again = fresh.commit(&resolving(batch.clone())).await.unwrap();
        assert_ne!(again, [committed(3)]);
        assert_eq!(fresh.look_up(&batch.runs[0].orders).await.unwrap(), [Found::Ended, Found::Ended]);
        world.check().await;
    }
}

#[tokio::test]
async fn timeouts_of_locks_and_statements_are_timeouts_and_leave_the_session_usable() {
    let short = Duration::from_secs(1);
    for lock_is_shorter in [true, false] {
        let world = World::with(Ordering::Gapless, |settings| {
            let long = Duration::from_mins(1);
            (settings.lock_timeout, settings.statement_timeout) =
                if lock_is_shorter { (short, long) } else { (long, short) };
        })
        .await;
        let mut session = world.session().await;
        session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
        let held = Barrier::hold(&world, "SELECT FROM customers FOR UPDATE").await;
        let error = session.commit(&resolving(live(vec![world.run("ann", 2..=2)]))).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Timeout, "{error}");
        let error = session.park(&[world.order("ann", 7)]).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Timeout, "{error}");
        held.let_go().await;
        assert_eq!(session.commit(&live(vec![world.run("ann", 2..=2)])).await.unwrap(), [committed(2)]);
    }
}
