//! The cost of every call stays flat as tables grow: counted in blocks, not in time.

use millrace::ledger::postgres::PgSession;
use millrace::ledger::{Case, CaseKind, ParkVerdict, Session, Verdict};
use millrace::order::{CustomerId, Ordering, Rank};

use super::{World, live, parked, run};

/// The old customers at ranks from 2 on, so that each has one order before.
fn old(customer: u32) -> String {
    format!("old{customer}")
}

impl World {
    /// One of each call, on customers that are there and on new ones.
    async fn round(&self, session: &mut PgSession, round: u32, olds: bool) {
        let gapless = self.ordering == Ordering::Gapless;
        let mut runs: Vec<_> = (0..25).map(|n| self.run(&format!("new{round}-{n}"), 1..=2)).collect();
        if olds {
            runs.extend((1..=25).map(|n| self.run(&old(round * 100 + n), 2..=3)));
        }
        let verdicts = session.commit(&live(runs)).await.unwrap();
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Committed { .. })), "{verdicts:?}");
        let asked: Vec<_> = (0..25).map(|n| self.order(&format!("new{round}-{n}"), 2)).collect();
        session.look_up(&asked).await.unwrap();

        let poor = format!("poor{round}");
        if !gapless {
            let head = self.order(&poor, 1);
            let case = Case { placed: head, kind: CaseKind::Poison, reason: "cost".into(), blocks: true };
            session.quarantine(&case).await.unwrap();
        }
        let early: Vec<_> = (2..=9).map(|rank| self.order(&poor, rank)).collect();
        assert_eq!(session.park(&early).await.unwrap(), [ParkVerdict::Parked; 8]);
        if gapless {
            session.commit(&live(vec![self.run(&poor, 1..=1)])).await.unwrap();
        } else {
            self.database
                .sql(&format!(
                    "SET enable_seqscan = off; UPDATE customers SET blocked_by = NULL WHERE customer_id = '{poor}'"
                ))
                .await;
        }
        let runs = session.parked_runs(&[CustomerId::new(&*poor)], 8).await.unwrap();
        assert_eq!(runs[0].orders.len(), 8);
        let verdict = session.commit(&parked(vec![run(&poor, runs[0].orders.clone())])).await.unwrap();
        assert!(matches!(verdict[..], [Verdict::Committed { parked: 0, .. }]), "{verdict:?}");
        session.sweep(10).await.unwrap();
    }

    /// Old customers with one order each, every second one with a parked order that does not stand next.
    async fn fill(&self, from: u32, to: u32) {
        let early = if self.ordering == Ordering::Gapless { "9000000" } else { "9000001" };
        self.database
            .sql(&format!(
            "INSERT INTO customers (customer_id, last_position, mark, parked)
             SELECT 'old' || n, 1, 1, 0 FROM generate_series({from}, {to}) n;
             INSERT INTO customers (customer_id, last_position, mark, parked, blocked_by)
             SELECT 'held' || n, 0, 1, 1, 'x' FROM generate_series({from}, {to}) n;
             INSERT INTO parked_orders (customer_id, ord, order_id, digest, body)
             SELECT 'held' || n, {early}, 'held-' || n, sha256('x'), 'x' FROM generate_series({from}, {to}) n;
             INSERT INTO orders SELECT 'old' || n, 'old' || n, 1, sha256('x'), 'EUR', 1, now(), 'x'
             FROM generate_series({from}, {to}) n;
             INSERT INTO order_lines SELECT 'old' || n, 1, 'tea', 1, 1 FROM generate_series({from}, {to}) n;
             INSERT INTO order_events (order_id, customer_id, position, kind)
             SELECT 'old' || n, 'old' || n, 1, 'committed' FROM generate_series({from}, {to}) n;
             INSERT INTO tombstones SELECT 'gone' || n, 1, 'gone' || n, 'x', 'x' FROM generate_series({from}, {to}) n;
             INSERT INTO quarantined_orders (id, order_id, digest, kind, reason, body, blocks)
             SELECT 'bad' || n, 'bad' || n, sha256('x'), 'poison', 'x', 'x', false FROM generate_series({from}, {to}) n"
        ))
            .await;
    }
}

async fn stays_flat(ordering: Ordering) {
    const ROUNDS: u32 = 3;
    let orders_a_round =
        |olds: bool| 50 + if olds { 50 } else { 0 } + if ordering == Ordering::Gapless { 9 } else { 8 };
    let world = World::new(ordering).await;
    // Plans are made on tables that are known to be empty, and nothing makes them anew.
    let tables =
        ["customers", "orders", "order_lines", "order_events", "tombstones", "parked_orders", "quarantined_orders"];
    for table in tables {
        world.database.sql(&format!("ALTER TABLE {table} SET (autovacuum_enabled = off)")).await;
        world.database.sql(&format!("VACUUM ANALYZE {table}")).await;
    }
    let mut session = world.session().await;
    // From its sixth execution on a statement has a plan that stays.
    let mut round = 0;
    while round < 7 {
        world.round(&mut session, round, false).await;
        round += 1;
    }
    let mut orders: u64 = 7 * orders_a_round(false);
    let mut costs = Vec::new();
    for (from, to) in [(1, 2_000), (2_001, 60_000)] {
        world.fill(from, to).await;
        orders += u64::from(to - from + 1);
        let before = world.database.touched("orders", orders).await;
        for _ in 0..ROUNDS {
            world.round(&mut session, round, true).await;
            round += 1;
        }
        orders += u64::from(ROUNDS) * orders_a_round(true);
        costs.push(world.database.touched("orders", orders).await - before);
    }
    // A deeper index costs a block more a probe; a scan would cost thirty times as much.
    assert!(costs[1] * 10 < costs[0] * 15, "rows and blocks of {ROUNDS} rounds grew with the tables: {costs:?}");
    let scans: Rank = world.database
        .value("SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname = ANY ('{customers,orders,order_lines,order_events,tombstones,parked_orders,quarantined_orders}')")
        .await
        .parse()
        .unwrap();
    assert_eq!(scans, 0, "a table was read from one end to the other");
    world.check().await;
}

#[tokio::test]
async fn the_cost_of_every_call_stays_flat_gapless() {
    stays_flat(Ordering::Gapless).await;
}

#[tokio::test]
async fn the_cost_of_every_call_stays_flat_fifo() {
    stays_flat(Ordering::Fifo).await;
}
