//! The schema, and the source that the ledger belongs to.

use millrace::ledger::{Binding, ErrorClass, Ledger, Source};
use millrace::order::Ordering::{self, Fifo, Gapless};

use super::bench::{Bench, committed};
use super::orders::{order, poison};
use super::{Setup, Store};

pub(crate) async fn a_ledger_without_schema_says_what_to_run<S: Store>(store: &S) {
    let (ledger, _probe) = store.open(&Setup { migrated: false, ..Setup::new(Gapless) }).await;
    for error in [ledger.connect().await.err(), ledger.bind(&source(Gapless, "q", 1)).await.err()] {
        let error = error.expect("there is no schema");
        assert_eq!(error.class, ErrorClass::Broken, "{error}");
        assert!(error.message.contains("run `millrace migrate`"), "{error}");
    }
}

pub(crate) async fn migrating_twice_and_at_once<S: Store>(store: &S) {
    let (ledger, _probe) = store.open(&Setup { migrated: false, ..Setup::new(Gapless) }).await;
    let (one, two) = tokio::join!(ledger.migrate(), ledger.migrate());
    let mut steps = [one.unwrap(), two.unwrap()];
    steps.sort_unstable();
    assert!(steps[0] == 0 && steps[1] > 0, "{steps:?}");
    assert_eq!(ledger.migrate().await, Ok(0));
    ledger.connect().await.unwrap();
}

fn source(ordering: Ordering, queue: &str, created: i64) -> Source {
    Source { ordering, queue_arn: format!("arn:aws:sqs:eu-west-1:1:{queue}"), queue_created_at: created }
}

pub(crate) async fn a_source_is_bound_once<S: Store>(store: &S) {
    let bench = Bench::new(store, Gapless).await;
    let first = source(Gapless, "a", 1);
    assert_eq!(bench.ledger.bind(&first).await, Ok(Binding::Bound));
    assert_eq!(bench.ledger.bind(&first).await, Ok(Binding::Bound));
    assert_eq!(bench.ledger.bind(&source(Gapless, "b", 2)).await, Ok(Binding::Bound), "sequences belong to no queue");
    assert_eq!(bench.ledger.bind(&source(Fifo, "a", 1)).await, Ok(Binding::Other(first)));
}

pub(crate) async fn fifo_is_bound_to_its_queue<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    let first = source(Fifo, "a.fifo", 1);
    assert_eq!(bench.ledger.bind(&first).await, Ok(Binding::Bound));
    bench.commit_one(&[order("ada", 10)]).await;
    for other in [source(Fifo, "b.fifo", 1), source(Fifo, "a.fifo", 2)] {
        assert_eq!(bench.ledger.bind(&other).await, Ok(Binding::Other(first.clone())));
    }
    let second = source(Fifo, "a.fifo", 2);
    assert_eq!(bench.ledger.rebind(&second, "ops").await, Ok(Binding::Bound));
    assert_eq!(bench.ledger.bind(&second).await, Ok(Binding::Bound));
    assert_eq!(bench.ledger.bind(&first).await, Ok(Binding::Other(second)));
    assert_eq!(bench.column("SELECT accepted_by FROM ledger_source").await, ["ops"]);
    // Marks began again with the queue, positions go on.
    assert_eq!(bench.commit_one(&[order("ada", 3)]).await, committed(3, 0));
    assert_eq!(bench.line("ada").await, ["ada-10", "ada-3"]);
}

pub(crate) async fn rebinding_waits_for_what_is_pending<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Fifo).await;
    let (first, second) = (source(Fifo, "a.fifo", 1), source(Fifo, "b.fifo", 2));
    bench.ledger.bind(&first).await.unwrap();
    bench.quarantine(&poison(&order("ada", 10))).await;
    bench.park(&[order("ada", 20), order("ada", 30)]).await;
    assert_eq!(bench.ledger.rebind(&second, "ops").await, Ok(Binding::Pending(3)));
    bench.skip("ada").await;
    assert_eq!(bench.ledger.rebind(&second, "ops").await, Ok(Binding::Pending(2)));
    assert_eq!(bench.commit_parked(&[order("ada", 20), order("ada", 30)]).await, committed(30, 0));
    assert_eq!(bench.ledger.bind(&first).await, Ok(Binding::Bound));
    assert_eq!(bench.ledger.rebind(&second, "ops").await, Ok(Binding::Bound));
    assert_eq!(bench.ledger.bind(&first).await, Ok(Binding::Other(second)));
}
