//! Decisions beside everything else: both sides stopped between snapshot and lock by a barrier that the test holds.

use std::time::Duration;

use millrace::ledger::decisions::{Decision, Decisions};
use millrace::ledger::postgres::PgDecisions;
use millrace::ledger::{
    Batch, Case, CaseKind, CaseVerdict, Found, Ledger, LedgerError, ParkVerdict, Placed, Session, Verdict,
};
use millrace::order::{CustomerId, Ordering};
use tokio::task::JoinHandle;

use super::{Barrier, World, commit_beside, committed, live, park_beside, parked, run};
use crate::ledger::contract::decisions::case;
use crate::ledger::contract::orders::{other_content, resent};

const AT_THE_GATE: &str = "SELECT FROM gate FOR UPDATE";
const AT_THE_CUSTOMER: &str = "SELECT FROM customers WHERE customer_id = 'ann' FOR UPDATE";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Will {
    Retry,
    Skip,
    Gap(u64),
}

async fn act(desk: &mut PgDecisions, will: Will, id: &str) -> Result<Decision, LedgerError> {
    match will {
        Will::Retry => desk.retry(id, "op").await,
        Will::Skip => desk.skip(id, "given up", "op").await,
        Will::Gap(number) => desk.skip_gap(&CustomerId::new("ann"), number, "lost", "op").await,
    }
}

fn decide_beside(mut desk: PgDecisions, will: Will, id: &str) -> JoinHandle<Decision> {
    let id = id.to_owned();
    tokio::spawn(async move { act(&mut desk, will, &id).await.unwrap() })
}

impl World {
    async fn desk(&self) -> PgDecisions {
        self.ledger.decisions().await.unwrap()
    }

    /// Ann's next order is in quarantine and blocks her.
    async fn blocked(ordering: Ordering) -> (Self, Placed) {
        let world = World::new(ordering).await;
        let head = world.order("ann", 1);
        world.file(&head, CaseKind::Poison, true).await;
        (world, head)
    }

    async fn file(&self, placed: &Placed, kind: CaseKind, blocks: bool) {
        let case = Case { placed: placed.clone(), kind, reason: "a check failed".into(), blocks };
        assert_eq!(self.session().await.quarantine(&case).await.unwrap(), CaseVerdict::Quarantined);
    }

    /// Sweeps and commits what is parked until nothing is: what a running engine does.
    async fn drain(&self) {
        let mut session = self.session().await;
        for _ in 0..5 {
            session.sweep(10).await.unwrap();
            let next = session.parked_runs(&[CustomerId::new("ann")], 10).await.unwrap().remove(0);
            if next.orders.is_empty() {
                break;
            }
            session.commit(&parked(vec![run("ann", next.orders)])).await.unwrap();
        }
        self.check().await;
        assert_eq!(self.database.value("SELECT count(*) FROM parked_orders").await, "0");
    }

    async fn line(&self) -> String {
        self.database.value("SELECT string_agg(order_id, ' ' ORDER BY position, order_id) FROM orders").await
    }
}

/// Every order in which two sessions can queue for a lock.
const BOTH: [bool; 2] = [true, false];

#[tokio::test]
async fn two_operators_decide_once() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        for place in [AT_THE_GATE, AT_THE_CUSTOMER] {
            for (one, two) in [(Will::Retry, Will::Retry), (Will::Skip, Will::Skip), (Will::Skip, Will::Retry)] {
                let (world, head) = World::blocked(ordering).await;
                let barrier = Barrier::hold(&world, place).await;
                let id = case(&head);
                let both = [decide_beside(world.desk().await, one, &id), decide_beside(world.desk().await, two, &id)];
                world.database.waiting(2).await;
                barrier.let_go().await;
                let [one_says, two_says] = both;
                let (one_says, two_says) = (one_says.await.unwrap(), two_says.await.unwrap());
                let other = if one_says == Decision::Done { &two_says } else { &one_says };
                assert!([&one_says, &two_says].contains(&&Decision::Done), "{one_says:?} {two_says:?}");
                match other {
                    Decision::Before(_) => assert_eq!(one, two),
                    Decision::Refused(_) => assert_ne!(one, two),
                    said => panic!("both decided: {said:?}"),
                }
                assert_eq!(world.database.value("SELECT count(*) FROM decisions").await, "1");
                world.check().await;
                world.drain().await;
                let ends = "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM tombstones)";
                assert_eq!(world.database.value(ends).await, "1");
            }
        }
    }
}

/// Nobody's row stands for a message of no customer: the entry itself is what they wait for.
#[tokio::test]
async fn two_operators_decide_once_about_nobodys_message() {
    let world = World::new(Ordering::Gapless).await;
    world.file(&world.malformed("m1", None, 0), CaseKind::Malformed, false).await;
    let barrier = Barrier::hold(&world, "SELECT FROM quarantined_orders FOR UPDATE").await;
    let (one, two) = (world.desk().await, world.desk().await);
    let (one, two) = (decide_beside(one, Will::Skip, "!m1"), decide_beside(two, Will::Skip, "!m1"));
    world.database.waiting(2).await;
    barrier.let_go().await;
    let said = [one.await.unwrap(), two.await.unwrap()];
    assert!(said.contains(&Decision::Done), "{said:?}");
    assert!(said.iter().any(|said| matches!(said, Decision::Before(_))), "{said:?}");
    assert_eq!(world.database.value("SELECT count(*) FROM decisions").await, "1");
}

#[tokio::test]
async fn a_retry_beside_a_commit_of_the_same_order() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        for retry_first in BOTH {
            let (world, head) = World::blocked(ordering).await;
            let (session, desk) = (world.session().await, world.desk().await);
            let barrier = Barrier::hold(&world, AT_THE_CUSTOMER).await;
            let commit = Batch { resolve: true, ..live(vec![run("ann", vec![head.clone()])]) };
            let (commit, retry) = if retry_first {
                let retry = decide_beside(desk, Will::Retry, &case(&head));
                world.database.waiting(1).await;
                (commit_beside(session, commit), retry)
            } else {
                let commit = commit_beside(session, commit);
                world.database.waiting(1).await;
                (commit, decide_beside(desk, Will::Retry, &case(&head)))
            };
            world.database.waiting(2).await;
            barrier.let_go().await;
            assert_eq!(retry.await.unwrap(), Decision::Done);
            let verdict = commit.await.unwrap().1.unwrap().remove(0);
            match (retry_first, ordering, verdict) {
                (false, _, Verdict::Blocked)
                // It sees the parked copy by the counter alone, and is tried again.
                | (true, Ordering::Gapless, Verdict::Locked)
                // Live orders wait for whatever is parked.
                | (true, _, Verdict::Ahead { parked: 1, .. }) => {}
                other => panic!("{other:?}"),
            }
            world.drain().await;
            assert_eq!(world.line().await, "ann-1");
        }
    }
}

#[tokio::test]
async fn a_decision_beside_a_park() {
    for will in [Will::Retry, Will::Skip] {
        for decision_first in BOTH {
            let (world, head) = World::blocked(Ordering::Gapless).await;
            let (session, desk) = (world.session().await, world.desk().await);
            let barrier = Barrier::hold(&world, AT_THE_CUSTOMER).await;
            // The redelivered head, and its followers.
            let orders = vec![head.clone(), world.order("ann", 2), world.order("ann", 3)];
            let (park, decision) = if decision_first {
                let decision = decide_beside(desk, will, &case(&head));
                world.database.waiting(1).await;
                (park_beside(session, orders), decision)
            } else {
                let park = park_beside(session, orders);
                world.database.waiting(1).await;
                (park, decide_beside(desk, will, &case(&head)))
            };
            world.database.waiting(2).await;
            barrier.let_go().await;
            assert_eq!(decision.await.unwrap(), Decision::Done);
            let verdicts = park.await.unwrap().1.unwrap();
            let expected = match (decision_first, will) {
                (false, _) => [ParkVerdict::Taken, ParkVerdict::Parked, ParkVerdict::Parked],
                (true, Will::Skip) => [ParkVerdict::NotEarly, ParkVerdict::NotEarly, ParkVerdict::Parked],
                (true, _) => [ParkVerdict::NotEarly, ParkVerdict::Parked, ParkVerdict::Parked],
            };
            assert_eq!(verdicts, expected, "{will:?}");
            let mut session = world.session().await;
            for (at, verdict) in verdicts.iter().enumerate().filter(|(_, verdict)| **verdict == ParkVerdict::NotEarly) {
                // Judged anew, as the engine does.
                let order = world.order("ann", at as u128 + 1);
                if session.look_up(std::slice::from_ref(&order)).await.unwrap() == [Found::Absent] {
                    session.commit(&live(vec![run("ann", vec![order])])).await.unwrap();
                } else {
                    assert_eq!(at, 0, "{verdict:?}");
                }
            }
            world.drain().await;
            let expected = if will == Will::Skip { "ann-2 ann-3" } else { "ann-1 ann-2 ann-3" };
            assert_eq!(world.line().await, expected);
        }
    }
}

#[tokio::test]
async fn a_retry_beside_a_sweep() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let (world, head) = World::blocked(ordering).await;
        let mut session = world.session().await;
        session.park(&[world.order("ann", 2)]).await.unwrap();
        // Without a copy to remove the sweep would ask nobody.
        session.commit(&live(vec![world.run("bob", 1..=1)])).await.unwrap();
        let copy = "INSERT INTO parked_orders (customer_id, ord, order_id, digest, body)
                    SELECT customer_id, position, order_id, digest, convert_to(body, 'UTF8') FROM orders;
                    UPDATE customers SET parked = 1 WHERE customer_id = 'bob'";
        world.database.sql(copy).await;
        let barrier = Barrier::hold(&world, AT_THE_GATE).await;
        let sweep = tokio::spawn(async move { session.sweep(10).await });
        let retry = decide_beside(world.desk().await, Will::Retry, &case(&head));
        world.database.waiting(2).await;
        barrier.let_go().await;
        assert_eq!(retry.await.unwrap(), Decision::Done);
        sweep.await.unwrap().unwrap();
        let parked = "SELECT string_agg(order_id, ' ' ORDER BY ord) FROM parked_orders";
        assert_eq!(world.database.value(parked).await, "ann-1 ann-2");
        world.drain().await;
        assert_eq!(world.line().await, "ann-1 bob-1 ann-2");
    }
}

#[tokio::test]
async fn a_missing_number_that_comes_at_this_moment() {
    for decision_first in BOTH {
        let world = World::new(Ordering::Gapless).await;
        let (mut session, one, desk) = (world.session().await, world.session().await, world.desk().await);
        session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
        session.park(&[world.order("ann", 3)]).await.unwrap();
        let barrier = Barrier::hold(&world, AT_THE_CUSTOMER).await;
        let commit = Batch { resolve: true, ..live(vec![world.run("ann", 2..=2)]) };
        let (commit, decision) = if decision_first {
            let decision = decide_beside(desk, Will::Gap(2), "");
            world.database.waiting(1).await;
            (commit_beside(one, commit), decision)
        } else {
            let commit = commit_beside(one, commit);
            world.database.waiting(1).await;
            (commit, decide_beside(desk, Will::Gap(2), ""))
        };
        world.database.waiting(2).await;
        barrier.let_go().await;
        let (verdict, decision) = (commit.await.unwrap().1.unwrap().remove(0), decision.await.unwrap());
        world.drain().await;
        if decision_first {
            assert_eq!((decision, verdict), (Decision::Done, Verdict::Behind(2)));
            assert_eq!(world.line().await, "ann-1 ann-3");
        } else {
            assert!(matches!(verdict, Verdict::Committed { upto: 2, parked: 1, .. }), "{verdict:?}");
            assert!(matches!(&decision, Decision::Refused(why) if why.contains("order ann-2")), "{decision:?}");
            assert_eq!(world.line().await, "ann-1 ann-2 ann-3");
        }
    }
}

/// Two orders for one place: one of them is committed, the other stays in quarantine or comes back to it.
#[tokio::test]
async fn a_conflict_and_a_live_order_for_its_place() {
    for retry_first in BOTH {
        let world = World::new(Ordering::Gapless).await;
        let (mut session, one, desk) = (world.session().await, world.session().await, world.desk().await);
        session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
        let rival = world.named("rival", "ann", 2);
        world.file(&rival, CaseKind::Conflict, false).await;
        let barrier = Barrier::hold(&world, AT_THE_CUSTOMER).await;
        let commit = Batch { resolve: true, ..live(vec![world.run("ann", 2..=2)]) };
        let (commit, retry) = if retry_first {
            let retry = decide_beside(desk, Will::Retry, &case(&rival));
            world.database.waiting(1).await;
            (commit_beside(one, commit), retry)
        } else {
            let commit = commit_beside(one, commit);
            world.database.waiting(1).await;
            (commit, decide_beside(desk, Will::Retry, &case(&rival)))
        };
        world.database.waiting(2).await;
        barrier.let_go().await;
        let decision = retry.await.unwrap();
        assert_eq!(decision == Decision::Done, retry_first, "{decision:?}");
        let verdict = commit.await.unwrap().1.unwrap().remove(0);
        if retry_first {
            // Its snapshot does not show the rival; with a new one it finds that the rival goes first.
            assert_eq!(verdict, Verdict::Locked);
            let again = session.commit(&live(vec![world.run("ann", 2..=2)])).await.unwrap();
            assert_eq!(again, [Verdict::Ahead { upto: 1, parked: 1 }]);
            world.drain().await;
            assert_eq!(world.line().await, "ann-1 rival");
            let found = session.look_up(&[world.order("ann", 2)]).await.unwrap();
            assert!(matches!(&found[..], [Found::Conflict(_)]), "{found:?}");
        } else {
            assert!(matches!(verdict, Verdict::Committed { upto: 2, .. }), "{verdict:?}");
            world.drain().await;
            assert_eq!(world.line().await, "ann-1 ann-2");
            assert_eq!(session.look_up(&[rival]).await.unwrap(), [Found::Quarantined]);
        }
    }
}

/// A live order under the name that is skipped at this moment, with another content: its snapshot shows no tombstone.
#[tokio::test]
async fn a_skipped_name_comes_again_at_this_moment() {
    let (world, head) = World::blocked(Ordering::Fifo).await;
    let (mut session, one) = (world.session().await, world.session().await);
    let corrected = resent(&other_content(&head), 2);
    let batch = Batch { resolve: true, ..live(vec![run("ann", vec![corrected.clone()])]) };
    let barrier = Barrier::hold(&world, AT_THE_CUSTOMER).await;
    let skip = decide_beside(world.desk().await, Will::Skip, &case(&head));
    world.database.waiting(1).await;
    let commit = commit_beside(one, batch.clone());
    world.database.waiting(2).await;
    barrier.let_go().await;
    assert_eq!(skip.await.unwrap(), Decision::Done);
    assert_eq!(commit.await.unwrap().1.unwrap(), [Verdict::Locked]);
    let known = vec![corrected.entry.id().clone()];
    assert_eq!(session.commit(&batch).await.unwrap(), [Verdict::Committed { upto: 1, parked: 0, known }]);
    let found = session.look_up(&[corrected]).await.unwrap();
    assert!(matches!(&found[..], [Found::Conflict(_)]), "{found:?}");
    assert_eq!(world.database.value("SELECT count(*) FROM orders").await, "0");
}

/// A command that is broken off leaves neither a lock nor half a decision.
#[tokio::test]
async fn a_dropped_decision_leaves_nothing_behind() {
    let (world, head) = World::blocked(Ordering::Gapless).await;
    let mut desk = world.desk().await;
    let barrier = Barrier::hold(&world, AT_THE_CUSTOMER).await;
    let id = case(&head);
    // Dropped while it waits with the gate in its hands.
    tokio::select! {
        decision = desk.retry(&id, "op") => panic!("{decision:?}"),
        () = world.database.waiting(1) => {}
    }
    barrier.let_go().await;
    // The gate is free, and the same object goes on with another connection.
    let free = Barrier::hold(&world, AT_THE_GATE).await;
    free.let_go().await;
    assert_eq!(world.database.value("SELECT count(*) FROM decisions").await, "0");
    assert_eq!(desk.retry(&id, "op").await, Ok(Decision::Done));
    world.drain().await;
    assert_eq!(world.line().await, "ann-1");
}

/// A close waits for a decision that has passed the gate, and refuses the next one.
#[tokio::test]
async fn a_close_waits_for_a_decision() {
    let (world, head) = World::blocked(Ordering::Gapless).await;
    let barrier = Barrier::hold(&world, AT_THE_CUSTOMER).await;
    let retry = decide_beside(world.desk().await, Will::Retry, &case(&head));
    world.database.waiting(1).await;
    let close = async {
        world.database.sql("UPDATE gate_announced SET epoch = 1").await;
        world.database.sql("UPDATE gate SET state = 'CLOSED', epoch = 1").await;
    };
    let (decision, ()) = tokio::join!(
        async {
            world.database.waiting(2).await;
            barrier.let_go().await;
            retry.await.unwrap()
        },
        close
    );
    assert_eq!(decision, Decision::Done);
    let said = act(&mut world.desk().await, Will::Skip, "any").await;
    assert_eq!(said, Ok(Decision::GateClosed));
    world.check().await;
}

/// A row that stays locked is an error after the lock timeout, and the next try goes well.
#[tokio::test]
async fn a_locked_customer_is_not_waited_for_for_ever() {
    let world = World::with(Ordering::Gapless, |settings| settings.lock_timeout = Duration::from_millis(100)).await;
    let head = world.order("ann", 1);
    world.file(&head, CaseKind::Poison, true).await;
    let mut desk = world.desk().await;
    let barrier = Barrier::hold(&world, AT_THE_CUSTOMER).await;
    let error = act(&mut desk, Will::Retry, &case(&head)).await.unwrap_err();
    assert_eq!(error.class, millrace::ledger::ErrorClass::Timeout, "{error}");
    barrier.let_go().await;
    assert_eq!(act(&mut desk, Will::Retry, &case(&head)).await, Ok(Decision::Done));
    assert_eq!(world.session().await.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap(), [committed(1)]);
}
