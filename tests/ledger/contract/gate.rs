//! The gate stands before every write.

use millrace::ledger::{Batch, Case, CaseKind, CaseVerdict, Gate, ParkVerdict, Session, Verdict};
use millrace::order::Ordering::Gapless;

use super::Store;
use super::bench::{Bench, batch, committed};
use super::orders::{harmless, malformed, order, orders, poison};
use crate::probe::Probe;

/// Tries every kind of write: which of them the gate let pass.
async fn refused_by_all<S: Store>(bench: &mut Bench<S>) {
    let before = bench.count("orders").await + bench.count("parked_orders").await;
    let live = batch(&[&[order("ada", 2)], &[order("new", 1)]]);
    assert_eq!(bench.try_commit(&live).await.unwrap(), [Verdict::GateClosed, Verdict::GateClosed]);
    let resolve = Batch { resolve: true, ..live };
    assert_eq!(bench.try_commit(&resolve).await.unwrap(), [Verdict::GateClosed, Verdict::GateClosed]);
    assert_eq!(bench.commit_parked(&[order("ada", 2)]).await, Verdict::GateClosed);
    assert_eq!(bench.park(&[order("ada", 9), order("ada", 2)]).await, [ParkVerdict::GateClosed; 2]);
    assert_eq!(bench.quarantine(&poison(&order("ada", 2))).await, CaseVerdict::GateClosed);
    let malformed = harmless(&malformed("m1", None, 0), CaseKind::Malformed);
    assert_eq!(bench.quarantine(&malformed).await, CaseVerdict::GateClosed);
    assert_eq!(bench.count("orders").await + bench.count("parked_orders").await, before);
    assert_eq!(bench.count("quarantined_orders").await, 0);
    assert_eq!(bench.count("customers").await, 1);
}

async fn with_one_parked<S: Store>(store: &S) -> Bench<S> {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&[order("ada", 1)]).await;
    assert_eq!(bench.park_one(&order("ada", 3)).await, ParkVerdict::Parked);
    bench
}

pub(crate) async fn a_closed_gate_refuses_every_write<S: Store>(store: &S) {
    let mut bench = with_one_parked(store).await;
    bench.gate("CLOSED", 1).await;
    assert_eq!(bench.session.gate().await, Ok(Gate::Closed));
    refused_by_all(&mut bench).await;
    bench.gate("OPEN", 1).await;
    assert_eq!(bench.commit_one(&[order("ada", 2)]).await, committed(2, 1));
}

pub(crate) async fn an_announced_close_refuses_every_write<S: Store>(store: &S) {
    let mut bench = with_one_parked(store).await;
    bench.probe.execute("UPDATE gate_announced SET epoch = 1").await;
    assert_eq!(bench.session.gate().await, Ok(Gate::Closed));
    refused_by_all(&mut bench).await;
}

pub(crate) async fn a_draining_gate_lets_what_is_inside_move<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.park(&orders("ada", 2, 3)).await, [ParkVerdict::Parked; 2]);
    bench.commit_one(&[order("ada", 1)]).await;
    bench.gate("DRAINING", 1).await;
    assert_eq!(bench.session.gate().await, Ok(Gate::Draining));
    assert_eq!(bench.commit_one(&[order("ada", 2)]).await, Verdict::GateClosed);
    assert_eq!(bench.park_one(&order("ada", 5)).await, ParkVerdict::GateClosed);
    assert_eq!(bench.sweep(10).await, ["ada"]);
    let next = bench.next_run("ada", 1).await;
    assert_eq!(bench.commit_parked(&next.orders).await, committed(2, 1));
    // What blocks needs the gate of a commit: of a live order, what stands before it may be in the backlog.
    assert_eq!(bench.quarantine(&poison(&order("ada", 3))).await, CaseVerdict::GateClosed);
    let aside = Case { blocks: false, ..poison(&order("ada", 3)) };
    assert_eq!(bench.quarantine(&aside).await, CaseVerdict::Quarantined);
    assert_eq!(bench.count("parked_orders").await, 0);
}

pub(crate) async fn the_gate_is_read<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.session.gate().await, Ok(Gate::Open));
    for (state, epoch, gate) in [
        ("CLOSED", 1, Gate::Closed),
        ("DRAINING", 1, Gate::Draining),
        ("OPEN", 1, Gate::Open),
        ("CLOSED", 2, Gate::Closed),
    ] {
        bench.gate(state, epoch).await;
        assert_eq!(bench.session.gate().await, Ok(gate));
    }
}
