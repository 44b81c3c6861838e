//! The cost of every call stays flat as the backlog grows: counted in rows and blocks, not in time.

use std::time::Duration;

use millrace::backlog::postgres::PgSession;
use millrace::backlog::{Append, Kept, Lease, Read, Session};

use super::World;
use crate::backlog::contract::bench::claim;
use crate::backlog::contract::orders::{customer, order};

/// New orders of each round; one of them is appended again.
const ORDERS: u32 = 40;

/// One of each call.
async fn round(session: &mut PgSession, round: u32) {
    let orders: Vec<_> = (0..ORDERS).map(|n| order(&format!("new{round}-{}", n / 2), u128::from(n))).collect();
    assert_eq!(session.append(1, &orders).await.unwrap(), Append::Spooled(vec![Kept::New; ORDERS as usize]));
    assert_eq!(session.append(1, &orders[..1]).await.unwrap(), Append::Spooled(vec![Kept::Known]));
    let read = |after: &str| Read { after: after.into(), share: 10, limit: 40, ..Read::default() };
    session.read(&read("")).await.unwrap();
    // In the middle of the names, and of the line that holds half of the backlog.
    let heavy = Read { floors: vec![(customer("heavy"), 900, i64::MAX)], ..read("h") };
    session.read(&heavy).await.unwrap();
    let mine = session.read(&read(&format!("new{round}-"))).await.unwrap();
    session.remove(&mine.iter().map(|row| row.row).collect::<Vec<_>>()).await.unwrap();
    session.depth().await.unwrap();
    session.phase().await.unwrap();
    assert_eq!(session.lease(&claim("w1", Duration::from_mins(1))).await.unwrap(), Lease::Held);
    session.drainer().await.unwrap();
    assert!(!session.sealed(1).await.unwrap());
}

impl World {
    /// Half of it belongs to one customer.
    async fn fill(&self, from: u32, to: u32) {
        self.database
            .sql(&format!(
                "INSERT INTO backlog_orders (customer_id, ord, order_id, digest, message_id, body)
             SELECT CASE WHEN n % 2 = 0 THEN 'heavy' ELSE 'old' || n / 4 END, n, 'old' || n, sha256('x'), 'm', 'x'
             FROM generate_series({from}, {to}) n;
             UPDATE backlog_counts SET appended = appended + {to} - {from} + 1 WHERE slot = 0"
            ))
            .await;
    }
}

#[tokio::test]
async fn the_cost_of_every_call_stays_flat() {
    const ROUNDS: u32 = 3;
    let world = World::new().await;
    // Plans are made on tables that are known to be empty, and nothing makes them anew.
    world.database.sql("ALTER TABLE backlog_orders SET (autovacuum_enabled = off)").await;
    world.database.sql("VACUUM ANALYZE backlog_orders").await;
    let mut session = world.session().await;
    // From its sixth execution on a statement has a plan that stays.
    let mut rounds = 0;
    while rounds < 7 {
        round(&mut session, rounds).await;
        rounds += 1;
    }
    let mut orders = u64::from(7 * ORDERS);
    let mut costs = Vec::new();
    for (from, to) in [(1, 2_000), (2_001, 60_000)] {
        world.fill(from, to).await;
        orders += u64::from(to - from + 1);
        let before = world.database.touched("backlog_orders", orders).await;
        for _ in 0..ROUNDS {
            round(&mut session, rounds).await;
            rounds += 1;
        }
        orders += u64::from(ROUNDS * ORDERS);
        costs.push(world.database.touched("backlog_orders", orders).await - before);
    }
    // A deeper index costs a block more a probe; a scan would cost thirty times as much.
    assert!(costs[1] * 10 < costs[0] * 15, "rows and blocks of {ROUNDS} rounds grew with the backlog: {costs:?}");
    let scans = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'backlog_orders'";
    assert_eq!(world.database.value(scans).await, "0", "the backlog was read from one end to the other");
}
