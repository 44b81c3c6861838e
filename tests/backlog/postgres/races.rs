//! Two sessions, the one stopped in the middle of what it does, by a transaction that holds a row.

use std::time::Duration;

use millrace::backlog::Kept::{Known, New};
use millrace::backlog::postgres::PgSession;
use millrace::backlog::{Append, ErrorClass, Lease, Session};
use millrace::window::Phase::{Sealed, Sealing, Spooling};

use super::{Barrier, World};
use crate::backlog::contract::bench::{claim, notice, place};
use crate::backlog::contract::orders::order;

/// An append of another process between its check and its commit.
const APPENDING: &str = "SELECT FROM backlog_gate WHERE phase = 'SPOOLING' FOR SHARE;
    INSERT INTO backlog_orders (customer_id, ord, order_id, digest, message_id, body)
    VALUES ('slow', 1, 'slow-1', '\\x00', 'm', 'x');
    UPDATE backlog_counts SET appended = appended + 1 WHERE slot = 0";

async fn counts_agree(world: &World) {
    let counted = "SELECT sum(appended) - sum(removed) = (SELECT count(*) FROM backlog_orders) FROM backlog_counts";
    assert_eq!(world.database.value(counted).await, "true");
}

async fn is_refused(session: &mut PgSession, epoch: u64) -> (millrace::window::Phase, u64, u64, bool) {
    match session.append(epoch, &[order("late", 1)]).await.unwrap() {
        Append::Refused(view) => place(&view),
        Append::Spooled(_) => panic!("it passed"),
    }
}

#[tokio::test]
async fn a_seal_waits_for_the_append_in_flight_and_nothing_overtakes_it() {
    let world = World::new().await;
    let (mut operator, mut worker) = (world.session().await, world.session().await);
    let barrier = Barrier::hold(&world, APPENDING).await;
    assert!(operator.announce_seal(1, 0).await.unwrap(), "the announcement waits for nobody");
    let seal = tokio::spawn(async move { (operator.seal(1, 0).await, operator) });
    world.database.waiting(1).await;
    // A share lock would be granted at once, and the seal would wait for it too.
    assert_eq!(is_refused(&mut worker, 1).await, (Spooling, 1, 0, true));
    assert!(!seal.is_finished());
    barrier.let_go().await;
    let (sealed, mut operator) = seal.await.unwrap();
    assert!(sealed.unwrap());
    assert!(!operator.sealed(1).await.unwrap(), "what was in flight is there");
    assert_eq!(operator.depth().await.unwrap().rows, 1);
    counts_agree(&world).await;
}

#[tokio::test]
async fn a_begin_waits_for_the_append_in_flight_and_nothing_overtakes_it() {
    let world = World::new().await;
    let (mut operator, mut worker) = (world.session().await, world.session().await);
    let barrier = Barrier::hold(&world, APPENDING).await;
    let begin = tokio::spawn(async move { operator.start_spooling(2, &notice("next")).await });
    world.database.waiting(1).await;
    for epoch in [1, 2] {
        assert_eq!(is_refused(&mut worker, epoch).await, (Spooling, 1, 0, true));
    }
    barrier.let_go().await;
    assert!(begin.await.unwrap().unwrap());
    assert_eq!(is_refused(&mut worker, 1).await, (Spooling, 2, 0, false));
    assert_eq!(worker.append(2, &[order("late", 1)]).await.unwrap(), Append::Spooled(vec![New]));
    counts_agree(&world).await;
}

#[tokio::test]
async fn an_append_that_waited_is_judged_by_what_it_waited_for() {
    let world = World::new().await;
    for (change, expected) in [
        ("phase = 'SEALING'", (Sealing, 1, 0, false)),
        ("phase = 'SEALED'", (Sealed, 1, 0, false)),
        ("epoch = 2", (Spooling, 2, 0, false)),
    ] {
        world.database.sql("UPDATE backlog_gate SET phase = 'SPOOLING', epoch = 1").await;
        let mut worker = world.session().await;
        let barrier = Barrier::hold(&world, &format!("UPDATE backlog_gate SET {change}")).await;
        let append = tokio::spawn(async move { is_refused(&mut worker, 1).await });
        world.database.waiting(1).await;
        barrier.let_go().await;
        assert_eq!(append.await.unwrap(), expected, "{change}");
    }
    assert_eq!(world.session().await.depth().await.unwrap().appended, 0);
}

/// Fact 2 of the protocol: in one statement the row is judged anew, and the other table with the old snapshot.
#[tokio::test]
async fn sealed_does_not_pass_what_was_appended_while_it_waited() {
    let world = World::new().await;
    let mut operator = world.session().await;
    assert!(operator.announce_seal(1, 0).await.unwrap() && operator.seal(1, 0).await.unwrap());
    // Nothing is there when the step begins …
    let mut barrier = Barrier::hold(&world, "UPDATE backlog_gate SET phase = 'SPOOLING', turn = 1").await;
    let sealed = tokio::spawn(async move { operator.sealed(1).await });
    world.database.waiting(1).await;
    // … and when it gets the row, it is unsealed, appended to, and sealing again.
    barrier.go_on(APPENDING).await;
    barrier.go_on("UPDATE backlog_gate SET phase = 'SEALING'").await;
    barrier.let_go().await;
    assert!(!sealed.await.unwrap().unwrap(), "a row is left");
    let mut operator = world.session().await;
    assert_eq!(place(&operator.phase().await.unwrap()), (Sealing, 1, 1, false));
    assert_eq!(operator.depth().await.unwrap().rows, 1);
    let rows = "SELECT string_agg(o.row::text, ',') FROM backlog_orders o";
    operator.remove(&[world.database.value(rows).await.parse().unwrap()]).await.unwrap();
    assert!(operator.sealed(1).await.unwrap());
}

#[tokio::test]
async fn an_unseal_that_waited_does_not_take_sealed_back() {
    let world = World::new().await;
    let mut drainer = world.session().await;
    assert!(drainer.announce_seal(1, 0).await.unwrap() && drainer.seal(1, 0).await.unwrap());
    assert_eq!(drainer.lease(&claim("w1", Duration::from_mins(10))).await.unwrap(), Lease::Held);
    let barrier = Barrier::hold(&world, "UPDATE backlog_gate SET phase = 'SEALED'").await;
    let unseal = tokio::spawn(async move { drainer.unseal(1, "w1").await });
    world.database.waiting(1).await;
    barrier.let_go().await;
    assert!(!unseal.await.unwrap().unwrap());
    assert_eq!(world.session().await.phase().await.unwrap().phase, Sealed);
}

#[tokio::test]
async fn an_unseal_that_waited_for_the_lease_is_judged_by_it() {
    let world = World::new().await;
    let mut drainer = world.session().await;
    assert!(drainer.announce_seal(1, 0).await.unwrap() && drainer.seal(1, 0).await.unwrap());
    drainer.lease(&claim("w1", Duration::from_mins(10))).await.unwrap();
    let barrier = Barrier::hold(&world, "UPDATE backlog_drainer SET owner = 'w2'").await;
    let unseal = tokio::spawn(async move { drainer.unseal(1, "w1").await });
    world.database.waiting(1).await;
    barrier.let_go().await;
    assert!(!unseal.await.unwrap().unwrap());
    assert_eq!(world.session().await.phase().await.unwrap().phase, Sealing);
}

#[tokio::test]
async fn two_claims_that_meet_are_judged_one_after_the_other() {
    let world = World::new().await;
    let mut second = world.session().await;
    let first = "UPDATE backlog_drainer SET owner = 'w1', until = clock_timestamp() + interval '1 hour'";
    let barrier = Barrier::hold(&world, first).await;
    let lease = tokio::spawn(async move { second.lease(&claim("w2", Duration::from_mins(10))).await });
    world.database.waiting(1).await;
    barrier.let_go().await;
    assert_eq!(lease.await.unwrap().unwrap(), Lease::Elsewhere);
}

#[tokio::test]
async fn an_order_that_another_session_appends_now_is_waited_for() {
    let world = World::new().await;
    for (how, expected) in [("ROLLBACK", New), ("COMMIT", Known)] {
        let mut worker = world.session().await;
        let one = order("ada", 1);
        let digest = one.entry.digest();
        let barrier = Barrier::hold(
            &world,
            &format!(
                "INSERT INTO backlog_orders (customer_id, ord, order_id, digest, message_id, body)
                 VALUES ('ada', 1, 'ada-1', '\\x{digest}', 'm', 'x')"
            ),
        )
        .await;
        let append = tokio::spawn(async move { worker.append(1, &[one]).await });
        world.database.waiting(1).await;
        barrier.ends(how).await;
        assert_eq!(append.await.unwrap().unwrap(), Append::Spooled(vec![expected]), "{how}");
        world.database.sql("DELETE FROM backlog_orders; UPDATE backlog_counts SET appended = 0").await;
    }
}

#[tokio::test]
async fn who_waits_too_long_is_told_so_and_asks_again() {
    let world = World::with(|settings| settings.lock_timeout = Duration::from_millis(100)).await;
    let mut session = world.session().await;
    assert!(session.announce_seal(1, 0).await.unwrap());
    let barrier = Barrier::hold(&world, "SELECT FROM backlog_gate FOR UPDATE").await;
    let too_long = |error: millrace::backlog::BacklogError| {
        assert_eq!(error.class, ErrorClass::Away, "{error}");
        assert!(error.message.contains("backlog.lock_timeout"), "{error}");
    };
    too_long(session.seal(1, 0).await.unwrap_err());
    too_long(world.session().await.sealed(1).await.unwrap_err());
    too_long(world.session().await.start_spooling(2, &notice("next")).await.unwrap_err());
    barrier.let_go().await;
    let mut session = world.session().await;
    assert_eq!(place(&session.phase().await.unwrap()), (Spooling, 1, 0, true), "the begin is announced");
    assert!(session.start_spooling(2, &notice("next")).await.unwrap());
    // An append does not wait for an announced change, but for one that is being made it does.
    let barrier = Barrier::hold(&world, "SELECT FROM backlog_gate FOR UPDATE").await;
    too_long(session.append(2, &[order("ada", 1)]).await.unwrap_err());
    barrier.let_go().await;
    let mut session = world.session().await;
    assert_eq!(session.append(2, &[order("ada", 1)]).await.unwrap(), Append::Spooled(vec![New]));
}
