//! A window over writes in flight: sessions are stopped inside a write while the gate changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};
use std::time::{Duration, Instant};

use millrace::ledger::gatekeeper::Gatekeeper;
use millrace::ledger::postgres::{PgGatekeeper, PgSession};
use millrace::ledger::{
    Case, CaseKind, CaseVerdict, ErrorClass, Gate, Ledger, LedgerError, ParkVerdict, Session, Verdict,
};
use millrace::order::Ordering;
use millrace::window::{Epoch, Notice};
use tokio::task::JoinHandle;

use super::{Barrier, World, commit_beside, committed, live, park_beside, parked};
use crate::servers::PATIENCE;

/// As a write holds the gate.
const IN_FLIGHT: &str = "SELECT FROM gate FOR SHARE";

impl World {
    async fn keeper(&self) -> PgGatekeeper {
        self.ledger.gatekeeper().await.unwrap()
    }

    /// A window of this epoch, as far as the drain.
    async fn drains(&self, epoch: Epoch) -> PgGatekeeper {
        let mut keeper = self.keeper().await;
        keeper.announce(epoch).await.unwrap();
        assert!(keeper.close(epoch - 1, epoch, &Notice::default()).await.unwrap());
        assert!(keeper.grant(epoch, "ann").await.unwrap());
        keeper
    }

    async fn draining(&self, epoch: Epoch) -> PgSession {
        self.ledger.draining(epoch).connect().await.unwrap()
    }

    /// Whatever a write could have changed.
    async fn tables(&self) -> String {
        let rows = |table: &str| format!("(SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM {table} t)");
        let tables = ["customers", "orders", "order_lines", "order_events", "parked_orders", "quarantined_orders"];
        self.database.value(&format!("SELECT row({})", tables.map(rows).join(", "))).await
    }
}

fn close_beside(
    mut keeper: PgGatekeeper,
    from: Epoch,
    to: Epoch,
) -> JoinHandle<(PgGatekeeper, Result<bool, LedgerError>)> {
    tokio::spawn(async move {
        let closed = keeper.close(from, to, &Notice::default()).await;
        (keeper, closed)
    })
}

#[tokio::test]
async fn a_close_waits_for_the_writes_in_flight_and_then_passes() {
    let world = World::new(Ordering::Gapless).await;
    let mut keeper = world.keeper().await;
    let write = Barrier::hold(&world, IN_FLIGHT).await;
    assert!(keeper.announce(1).await.unwrap(), "an announcement waits for nobody");
    let close = close_beside(keeper, 0, 1);
    world.database.waiting(1).await;
    // New writes are refused, and wait for nothing.
    let mut session = world.session().await;
    assert_eq!(session.gate().await.unwrap(), Gate::Closed);
    assert_eq!(session.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap(), [Verdict::GateClosed]);
    assert!(!close.is_finished());
    write.let_go().await;
    let (mut keeper, closed) = close.await.unwrap();
    assert!(closed.unwrap());
    assert_eq!(keeper.view().await.unwrap().gate, Gate::Closed);
}

#[tokio::test]
async fn a_close_that_waits_too_long_is_a_timeout_and_is_asked_again() {
    let world = World::with(Ordering::Gapless, |settings| settings.lock_timeout = Duration::from_millis(200)).await;
    let mut keeper = world.keeper().await;
    keeper.announce(1).await.unwrap();
    let write = Barrier::hold(&world, IN_FLIGHT).await;
    let error = keeper.close(0, 1, &Notice::default()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Timeout, "{error}");
    let view = keeper.view().await.unwrap();
    assert_eq!((view.gate, view.epoch, view.announced), (Gate::Open, 0, 1), "it is announced all the same");
    write.let_go().await;
    assert!(keeper.close(0, 1, &Notice::default()).await.unwrap());
}

#[tokio::test]
async fn a_write_that_began_before_the_close_commits_before_it() {
    for ordering in [Ordering::Gapless, Ordering::Fifo, Ordering::None] {
        let world = World::new(ordering).await;
        let (mut first, second, mut keeper) = (world.session().await, world.session().await, world.keeper().await);
        let rank = |n: u128| if ordering == Ordering::None { 0 } else { n };
        let order = |n: u128| world.named(&format!("ann-{n}"), "ann", rank(n));
        let run = |n| super::Batch { resolve: true, ..live(vec![super::run("ann", vec![order(n)])]) };
        first.commit(&run(1)).await.unwrap();
        // It has passed the gate, and is stopped at its customer's row.
        let row = Barrier::hold(&world, "SELECT FROM customers FOR UPDATE").await;
        let write = commit_beside(second, run(2));
        world.database.waiting(1).await;
        keeper.announce(1).await.unwrap();
        let close = close_beside(keeper, 0, 1);
        world.database.waiting(2).await;
        row.let_go().await;
        assert_eq!(write.await.unwrap().1.unwrap(), [committed(rank(2))]);
        let (mut keeper, closed) = close.await.unwrap();
        assert!(closed.unwrap());
        assert_eq!(world.database.value("SELECT max(position) FROM orders").await, "2");
        assert_eq!(first.commit(&run(3)).await.unwrap(), [Verdict::GateClosed]);
        assert!(!keeper.close(0, 1, &Notice::default()).await.unwrap());
        world.check().await;
    }
}

/// Every kind of write, stopped where it wants the gate's row, which changes before it gets it.
async fn stopped_at_the_gate(ordering: Ordering, drains: bool, change: &str) {
    let world = World::new(ordering).await;
    let mut session = world.session().await;
    let rank = |n: u128| if ordering == Ordering::None { 0 } else { n };
    let order = |customer: &str, n: u128| world.named(&format!("{customer}-{n}"), customer, rank(n));
    let case = |customer: &str, n: u128, blocks: bool| {
        let kind = if blocks { CaseKind::Poison } else { CaseKind::Conflict };
        Case { placed: order(customer, n), kind, reason: "a test".into(), blocks }
    };
    let run = |customer: &str, n: u128| vec![super::run(customer, vec![order(customer, n)])];
    for customer in ["live", "resolved", "parked", "head", "swept"] {
        session.commit(&live(run(customer, 1))).await.unwrap();
    }
    // A copy that a sweep would remove, and an order that would be committed next.
    world
        .database
        .sql(
            "INSERT INTO parked_orders SELECT customer_id, 1, order_id, digest, NULL, 'x'
              FROM orders WHERE customer_id = 'swept';
              UPDATE customers SET parked = 1 WHERE customer_id = 'swept'",
        )
        .await;
    if drains {
        world.drains(1).await;
    }
    let connect = async || if drains { world.draining(1).await } else { world.session().await };
    let before = world.tables().await;
    // Each is refused before it is judged.
    let mut beside = Vec::new();
    for batch in [
        live(run("live", 2)),
        live(run("new", 1)),
        super::Batch { resolve: true, ..live(run("resolved", 2)) },
        parked(run("parked", 2)),
    ] {
        beside.push((connect().await, batch));
    }
    let (parker, mut head, mut aside, mut sweep) = (connect().await, connect().await, connect().await, connect().await);
    let gate = Barrier::hold(&world, change).await;
    let commits: Vec<_> = beside.into_iter().map(|(session, batch)| commit_beside(session, batch)).collect();
    let park = park_beside(parker, vec![order("live", 9)]);
    let (head_case, aside_case) = (case("head", 2, true), case("other", 1, false));
    let head = tokio::spawn(async move { head.quarantine(&head_case).await });
    let aside = tokio::spawn(async move { aside.quarantine(&aside_case).await });
    let sweep = tokio::spawn(async move { sweep.sweep(100).await });
    world.database.waiting(8).await;
    gate.let_go().await;
    for commit in commits {
        assert_eq!(commit.await.unwrap().1.unwrap(), [Verdict::GateClosed]);
    }
    assert_eq!(park.await.unwrap().1.unwrap(), [ParkVerdict::GateClosed]);
    assert_eq!(head.await.unwrap().unwrap(), CaseVerdict::GateClosed);
    assert_eq!(aside.await.unwrap().unwrap(), CaseVerdict::GateClosed);
    sweep.await.unwrap().unwrap();
    assert_eq!(world.tables().await, before);
}

#[tokio::test]
async fn every_write_that_waits_for_a_close_is_refused_by_it() {
    for ordering in [Ordering::Gapless, Ordering::Fifo, Ordering::None] {
        stopped_at_the_gate(ordering, false, "UPDATE gate SET state = 'CLOSED', epoch = 1").await;
        // A drain that is taken back.
        stopped_at_the_gate(ordering, true, "UPDATE gate SET state = 'CLOSED', epoch = 2").await;
    }
}

#[tokio::test]
async fn a_drainer_that_wakes_after_the_reopening_changes_nothing() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let world = World::new(ordering).await;
        world.session().await.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
        let mut keeper = world.drains(1).await;
        let (one, two, mut three) = (world.draining(1).await, world.draining(1).await, world.draining(1).await);
        assert_eq!(three.gate().await.unwrap(), Gate::Draining);
        // Stopped before its commit, with its snapshot of the drain.
        let gate = Barrier::hold(&world, "SELECT FROM gate FOR UPDATE").await;
        let commit = commit_beside(one, live(vec![world.run("ann", 2..=2), world.run("new", 1..=1)]));
        let park = park_beside(two, vec![world.order("ann", 7)]);
        world.database.waiting(2).await;
        let mut gate = gate;
        let reopen = "UPDATE gate SET state = 'OPEN'";
        sqlx::raw_sql(reopen).execute(&mut gate.0).await.unwrap();
        let before = world.tables().await;
        gate.let_go().await;
        assert_eq!(commit.await.unwrap().1.unwrap(), [const { Verdict::GateClosed }; 2]);
        assert_eq!(park.await.unwrap().1.unwrap(), [ParkVerdict::GateClosed]);
        // And what it begins later, also while the next window drains.
        for gate in [Gate::Open, Gate::Closed] {
            assert_eq!(three.gate().await.unwrap(), gate);
            assert_eq!(three.commit(&live(vec![world.run("ann", 2..=2)])).await.unwrap(), [Verdict::GateClosed]);
            assert_eq!(three.park(&[world.order("ann", 7)]).await.unwrap(), [ParkVerdict::GateClosed]);
            assert_eq!(world.tables().await, before);
            if gate == Gate::Open {
                keeper = world.drains(2).await;
            }
        }
        assert!(keeper.reopen(2, "ann").await.unwrap());
        let mut session = world.session().await;
        assert_eq!(session.commit(&live(vec![world.run("ann", 2..=2)])).await.unwrap(), [committed(2)]);
        world.check().await;
    }
}

/// A drain's commit in flight is waited for by the reopening, and by the next window.
#[tokio::test]
async fn the_end_of_a_drain_waits_for_its_writes() {
    for taken_back in [false, true] {
        let world = World::new(Ordering::Gapless).await;
        world.session().await.commit(&live(vec![world.run("ann", 1..=1)])).await.unwrap();
        let mut keeper = world.drains(1).await;
        let row = Barrier::hold(&world, "SELECT FROM customers FOR UPDATE").await;
        let batch = super::Batch { resolve: true, ..live(vec![world.run("ann", 2..=2)]) };
        let commit = commit_beside(world.draining(1).await, batch);
        world.database.waiting(1).await;
        let step = tokio::spawn(async move {
            if taken_back {
                keeper.announce(2).await.unwrap();
                keeper.close(1, 2, &Notice::default()).await
            } else {
                keeper.reopen(1, "ann").await
            }
        });
        world.database.waiting(2).await;
        row.let_go().await;
        assert_eq!(commit.await.unwrap().1.unwrap(), [committed(2)]);
        assert!(step.await.unwrap().unwrap());
    }
}

/// An effect that takes a while: a commit holds the gate for so long.
const SLOW: &str = "INSERT INTO slow SELECT count(*), pg_sleep(0.02)::text FROM committed";

/// Live commits of a customer each, one after the other without a pause, until the gate refuses one.
fn load(world: &World, session: PgSession, customer: String, done: Arc<AtomicU64>) -> JoinHandle<()> {
    let order = {
        let orders: Vec<_> = (1..=2_000).map(|n| world.order(&customer, n)).collect();
        move |n: usize| live(vec![super::run(&customer, vec![orders[n].clone()])])
    };
    let mut session = session;
    tokio::spawn(async move {
        for n in 0..2_000 {
            match session.commit(&order(n)).await.unwrap().as_slice() {
                [Verdict::Committed { .. }] => done.fetch_add(1, Atomic::Relaxed),
                [Verdict::GateClosed] => return,
                other => panic!("{other:?}"),
            };
        }
        panic!("nobody closed the gate");
    })
}

/// Share locks overtake a close for ever, unless it is announced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_begins_under_full_load() {
    let folder = tempfile::tempdir().unwrap();
    let effects = folder.path().join("slow.sql");
    std::fs::write(&effects, SLOW).unwrap();
    let database = crate::servers::database().await;
    let mut settings = super::settings(database.url());
    (settings.lock_timeout, settings.effects) = (Duration::from_secs(2), Some(effects));
    let ledger = super::Postgres::new(database.url(), Ordering::Gapless, &settings).unwrap();
    ledger.migrate().await.unwrap();
    let world = World { database, ledger, ordering: Ordering::Gapless };
    world.database.sql("CREATE TABLE slow (orders bigint, slept text)").await;
    let done = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for n in 0..8 {
        writers.push(load(&world, world.session().await, format!("c{n}"), Arc::clone(&done)));
    }
    let mut keeper = world.keeper().await;
    crate::servers::eventually("the load is there", PATIENCE, async || done.load(Atomic::Relaxed) > 40).await;
    let began = Instant::now();
    assert!(keeper.announce(1).await.unwrap());
    let mut timeouts = 0;
    while let Err(error) = keeper.close(0, 1, &Notice::default()).await {
        assert_eq!(error.class, ErrorClass::Timeout, "{error}");
        timeouts += 1;
        assert!(timeouts < 5, "a close is overtaken by new writes");
    }
    println!("closed after {:?}, {timeouts} timeouts, {} commits", began.elapsed(), done.load(Atomic::Relaxed));
    for writer in writers {
        writer.await.unwrap();
    }
    // Whoever was told `committed` is in the ledger, and nothing came after.
    assert_eq!(world.database.value("SELECT count(*) FROM orders").await, done.load(Atomic::Relaxed).to_string());
    world.check().await;
}
