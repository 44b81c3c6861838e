//! Whose orders a ledger holds.

use millrace::ledger::{Binding, Case, CaseKind, Ledger, Session, Source};
use millrace::order::Ordering;

use super::{World, live};

fn source(ordering: Ordering, queue: &str, created: i64) -> Source {
    Source { ordering, queue_arn: format!("arn:aws:sqs:eu-central-1:1:{queue}"), queue_created_at: created }
}

#[tokio::test]
async fn marks_belong_to_one_queue() {
    let world = World::new(Ordering::Fifo).await;
    let first = source(Ordering::Fifo, "orders.fifo", 1);
    for _ in 0..2 {
        assert_eq!(world.ledger.bind(&first).await.unwrap(), Binding::Bound);
    }
    for other in [
        source(Ordering::Fifo, "orders.fifo", 2),
        source(Ordering::Fifo, "others.fifo", 1),
        source(Ordering::Gapless, "orders.fifo", 1),
    ] {
        assert_eq!(world.ledger.bind(&other).await.unwrap(), Binding::Other(first.clone()));
    }
}

#[tokio::test]
async fn without_marks_only_the_ordering_counts() {
    let world = World::new(Ordering::Gapless).await;
    let first = source(Ordering::Gapless, "orders", 1);
    assert_eq!(world.ledger.bind(&first).await.unwrap(), Binding::Bound);
    assert_eq!(world.ledger.bind(&source(Ordering::Gapless, "others", 2)).await.unwrap(), Binding::Bound);
    let other = source(Ordering::None, "orders", 1);
    assert_eq!(world.ledger.bind(&other).await.unwrap(), Binding::Other(first));
}

#[tokio::test]
async fn an_operator_accepts_another_queue_when_nothing_waits() {
    let world = World::new(Ordering::Fifo).await;
    let mut session = world.session().await;
    let (first, second) = (source(Ordering::Fifo, "a.fifo", 1), source(Ordering::Fifo, "b.fifo", 2));
    world.ledger.bind(&first).await.unwrap();
    session.commit(&live(vec![world.run("ann", [700]), world.run("bob", [800])])).await.unwrap();
    let placed = world.order("ann", 701);
    let case = Case { placed, kind: CaseKind::Poison, reason: "it fails".into(), blocks: true };
    session.quarantine(&case).await.unwrap();
    session.park(&[world.order("ann", 702), world.order("ann", 703)]).await.unwrap();
    assert_eq!(world.ledger.rebind(&second, "kim").await.unwrap(), Binding::Pending(3));
    assert_eq!(world.ledger.bind(&first).await.unwrap(), Binding::Bound);
    world.database.sql("UPDATE customers SET blocked_by = NULL, parked = 0; DELETE FROM parked_orders").await;
    assert_eq!(world.ledger.rebind(&second, "kim").await.unwrap(), Binding::Bound);
    assert_eq!(world.ledger.bind(&second).await.unwrap(), Binding::Bound);
    assert_eq!(world.database.value("SELECT accepted_by FROM ledger_source").await, "kim");
    assert_eq!(world.database.value("SELECT sum(mark) FROM customers").await, "0");
}
