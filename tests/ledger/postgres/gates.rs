//! The gate inside every write.

use millrace::ledger::decisions::{Decision, Decisions as _};
use millrace::ledger::{Case, CaseKind, CaseVerdict, Found, Gate, Ledger as _, ParkVerdict, Session, Verdict};
use millrace::order::{CustomerId, Ordering};

use super::{Barrier, World, commit_beside, committed, live, park_beside, parked};
use crate::ledger::contract::decisions::case as id_of;

impl World {
    async fn every_write_is_refused(&self) {
        let mut session = self.session().await;
        let before = self.everything().await;
        let runs = vec![self.run("new", 1..=2), self.run("ann", 2..=2), self.run("ann2", 9..=9)];
        assert_eq!(session.commit(&live(runs)).await.unwrap(), [const { Verdict::GateClosed }; 3]);
        let runs = vec![self.run("ann", 1..=1)];
        assert_eq!(session.commit(&live(runs)).await.unwrap(), [Verdict::GateClosed]);
        let early = [self.order("ann", 3), self.order("new", 3)];
        assert_eq!(session.park(&early).await.unwrap(), [ParkVerdict::GateClosed; 2]);
        assert_eq!(self.everything().await, before);
        // Reading is free.
        assert_eq!(session.look_up(&[self.order("ann", 1)]).await.unwrap(), [Found::Ended]);
    }

    async fn everything(&self) -> String {
        self.database.value(
            "SELECT row((SELECT string_agg(c::text, ' ' ORDER BY c.customer_id) FROM customers c), (SELECT count(*) FROM orders),
              (SELECT count(*) FROM parked_orders), (SELECT count(*) FROM quarantined_orders))",
        )
        .await
    }
}

fn case(world: &World, customer: &str, rank: u128, blocks: bool) -> Case {
    let kind = if blocks { CaseKind::Poison } else { CaseKind::Conflict };
    Case { placed: world.order(customer, rank), kind, reason: "a test".into(), blocks }
}

#[tokio::test]
async fn a_closed_gate_refuses_every_write() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let world = World::new(ordering).await;
        let mut session = world.session().await;
        session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
        assert_eq!(session.gate().await.unwrap(), Gate::Open);
        world.database.sql("UPDATE gate_announced SET epoch = 1; UPDATE gate SET state = 'CLOSED', epoch = 1").await;
        assert_eq!(session.gate().await.unwrap(), Gate::Closed);
        world.every_write_is_refused().await;
        let before = world.everything().await;
        assert_eq!(session.commit(&parked(vec![world.run("ann", 2..=2)])).await.unwrap(), [Verdict::GateClosed]);
        for case in [case(&world, "ann", 2, true), case(&world, "new", 1, true), case(&world, "ann", 2, false)] {
            assert_eq!(session.quarantine(&case).await.unwrap(), CaseVerdict::GateClosed);
        }
        world
            .database
            .sql("INSERT INTO parked_orders SELECT customer_id, 1, order_id, digest, NULL, 'x' FROM orders")
            .await;
        world.database.sql("UPDATE customers SET parked = 1").await;
        session.sweep(10).await.unwrap();
        assert_eq!(world.database.value("SELECT count(*) FROM parked_orders").await, "1");
        assert_ne!(world.everything().await, before);
    }
}

#[tokio::test]
async fn a_draining_gate_lets_parked_runs_quarantine_and_sweep_through() {
    let world = World::new(Ordering::Gapless).await;
    let mut session = world.session().await;
    session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    world.database.sql("UPDATE gate_announced SET epoch = 1; UPDATE gate SET state = 'DRAINING', epoch = 1").await;
    assert_eq!(session.gate().await.unwrap(), Gate::Draining);
    world.every_write_is_refused().await;
    assert_eq!(session.commit(&parked(vec![world.run("ann", 2..=2)])).await.unwrap(), [committed(2)]);
    assert_eq!(session.quarantine(&case(&world, "ann", 3, false)).await.unwrap(), CaseVerdict::Quarantined);
    // What blocks takes a place in the line: of a live order, what stands before it may still be in the backlog.
    assert_eq!(session.quarantine(&case(&world, "ann", 4, true)).await.unwrap(), CaseVerdict::GateClosed);
    world.check().await;
}

#[tokio::test]
async fn an_announced_close_refuses_before_it_is_there() {
    let world = World::new(Ordering::Gapless).await;
    world.session().await.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
    world.database.sql("UPDATE gate_announced SET epoch = 1").await;
    assert_eq!(world.session().await.gate().await.unwrap(), Gate::Closed);
    world.every_write_is_refused().await;
}

#[tokio::test]
async fn writes_that_wait_for_a_close_are_refused_by_it() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let world = World::new(ordering).await;
        let close = "UPDATE gate SET state = 'CLOSED', epoch = 1";
        let (one, two, mut three) = (world.session().await, world.session().await, world.session().await);
        let closing = Barrier::hold(&world, close).await;
        let commit = commit_beside(one, live(vec![world.run("ann", 1..=2)]));
        let park = park_beside(two, vec![world.order("ann", 7)]);
        let poison = case(&world, "bob", 1, true);
        let quarantine = tokio::spawn(async move { three.quarantine(&poison).await });
        world.database.waiting(3).await;
        closing.let_go().await;
        assert_eq!(commit.await.unwrap().1.unwrap(), [Verdict::GateClosed]);
        assert_eq!(park.await.unwrap().1.unwrap(), [ParkVerdict::GateClosed]);
        assert_eq!(quarantine.await.unwrap().unwrap(), CaseVerdict::GateClosed);
        assert_eq!(world.database.value("SELECT count(*) FROM customers").await, "0");
    }
}

#[tokio::test]
async fn decisions_that_wait_for_a_close_are_refused_by_it() {
    let world = World::new(Ordering::Gapless).await;
    let mut session = world.session().await;
    let head = case(&world, "ann", 1, true);
    assert_eq!(session.quarantine(&head).await.unwrap(), CaseVerdict::Quarantined);
    // Bob's first number never comes.
    session.park(&[world.order("bob", 2)]).await.unwrap();
    let replacement = world.named("other", "ann", 1);
    let id = id_of(&head.placed);
    let desk = async || world.ledger.decisions().await.unwrap();
    let (mut retry, mut replace, mut skip, mut gap) = (desk().await, desk().await, desk().await, desk().await);
    let closing = Barrier::hold(&world, "UPDATE gate SET state = 'CLOSED', epoch = 1").await;
    let said = async {
        let bob = CustomerId::new("bob");
        let retry = retry.retry(&id, "op");
        let replace = replace.replace(&id, &replacement, "op");
        let skip = skip.skip(&id, "given up", "op");
        let gap = gap.skip_gap(&bob, 1, "lost", "op");
        let said = tokio::join!(retry, replace, skip, gap);
        [said.0, said.1, said.2, said.3].map(Result::unwrap)
    };
    let close = async {
        world.database.waiting(4).await;
        closing.let_go().await;
    };
    let (said, ()) = tokio::join!(said, close);
    assert_eq!(said, [const { Decision::GateClosed }; 4]);
    let written = "SELECT (SELECT count(*) FROM decisions) + (SELECT count(*) FROM tombstones)";
    assert_eq!(world.database.value(written).await, "0");
    assert_eq!(world.database.value("SELECT blocked_by FROM customers WHERE customer_id = 'ann'").await, id);
    world.check().await;
}
