//! The drain of the backlog writes while the gate is draining under its epoch; live orders while it is open.

use millrace::ledger::gatekeeper::Gatekeeper;
use millrace::ledger::{Batch, CaseKind, CaseVerdict, Gate, Ledger, ParkVerdict, Placed, Session, Verdict};
use millrace::order::Ordering::{self, Fifo, Gapless};
use millrace::order::Rank;
use millrace::window::{Epoch, Notice};

use super::Store;
use super::bench::{Bench, batch, committed};
use super::orders::{harmless, malformed, named, order, poison};
use crate::probe::Probe;

/// What each kind of write may do next, for customers of its own.
struct Trial {
    ordering: Ordering,
    name: String,
}

/// Every kind of write, and whether the gate let it pass.
type Passed = [(&'static str, bool); 7];

/// By new orders and what blocks their customer, by parked runs, and by all other quarantine and the sweep.
fn passed(new: bool, parked: bool, rest: bool) -> Passed {
    [
        ("live", new),
        ("resolved", new),
        ("parked", parked),
        ("park", new),
        ("head", new),
        ("aside", rest),
        ("sweep", rest),
    ]
}

impl Trial {
    /// While the gate is open: one order of each customer is committed, and one is parked and stands next.
    async fn prepare<S: Store>(bench: &mut Bench<S>, ordering: Ordering, name: String) -> Self {
        let trial = Self { ordering, name };
        for kind in ["live", "resolved", "parked", "head"] {
            assert!(matches!(bench.commit_one(&[trial.order(kind, 1)]).await, Verdict::Committed { .. }), "{kind}");
        }
        // In each ordering: it failed, and a person retries it.
        let failed = Placed { rank: 2, ..trial.order("parked", 2) };
        assert_eq!(bench.quarantine(&poison(&failed)).await, CaseVerdict::Quarantined);
        bench.retry(&trial.customer("parked")).await;
        // Parked again while it was committed, as an old snapshot leaves it.
        let (swept, first) = (trial.customer("swept"), format!("{:039}", 1));
        bench.commit_one(&[trial.order("swept", 1)]).await;
        let copy = format!(
            "INSERT INTO parked_orders (customer_id, ord, order_id, digest, body)
             SELECT customer_id, '{first}', order_id, digest, 'x' FROM orders WHERE customer_id = '{swept}'"
        );
        bench.probe.execute(&copy).await;
        bench.probe.execute(&format!("UPDATE customers SET parked = 1 WHERE customer_id = '{swept}'")).await;
        trial
    }

    fn customer(&self, kind: &str) -> String {
        format!("{}-{kind}", self.name)
    }

    fn order(&self, kind: &str, n: u64) -> Placed {
        let customer = self.customer(kind);
        let rank = if self.ordering == Ordering::None { 0 } else { Rank::from(n) };
        named(&format!("{customer}-{n}"), &customer, rank)
    }

    async fn write<S: Store>(&self, bench: &mut Bench<S>) -> Passed {
        let new = self.order("new", 1);
        let live = bench.commit(&[&[self.order("live", 2)], &[new]]).await;
        assert_eq!(live[0] == Verdict::GateClosed, live[1] == Verdict::GateClosed, "{live:?}");
        let resolved = Batch { resolve: true, ..batch(&[&[self.order("resolved", 2)]]) };
        let resolved = bench.try_commit(&resolved).await.unwrap().remove(0);
        let parked = bench.next_run(&self.customer("parked"), 10).await.orders;
        assert_eq!(parked.len(), 1, "what stands next is loaded whatever the gate says");
        // It waits for what is parked before it; in `none` nothing does.
        let park = bench.park_one(&self.order("parked", 9)).await;
        let waits = if self.ordering == Ordering::None { ParkVerdict::NotEarly } else { ParkVerdict::Parked };
        assert!([ParkVerdict::GateClosed, waits].contains(&park), "{park:?}");
        bench.sweep(1_000).await;
        let copies = format!("parked_orders WHERE customer_id = '{}'", self.customer("swept"));
        let swept = bench.count(&copies).await == 0;
        let parked = bench.commit_parked(&parked).await;
        let head = bench.quarantine(&poison(&self.order("head", 2))).await;
        let aside = harmless(&malformed(&self.name, None, 0), CaseKind::Malformed);
        let aside = bench.quarantine(&aside).await;
        let wrote = |verdict: &Verdict| {
            assert!(matches!(verdict, Verdict::Committed { .. } | Verdict::GateClosed), "{verdict:?}");
            *verdict != Verdict::GateClosed
        };
        let case = |verdict| {
            assert!([CaseVerdict::Quarantined, CaseVerdict::GateClosed].contains(&verdict), "{verdict:?}");
            verdict == CaseVerdict::Quarantined
        };
        [
            ("live", wrote(&live[0])),
            ("resolved", wrote(&resolved)),
            ("parked", wrote(&parked)),
            ("park", park != ParkVerdict::GateClosed),
            ("head", case(head)),
            ("aside", case(aside)),
            ("sweep", swept),
        ]
    }
}

async fn put<S: Store>(bench: &Bench<S>, state: &str, epoch: Epoch, announced: Epoch) {
    bench.probe.execute(&format!("UPDATE gate_announced SET epoch = {announced}")).await;
    bench.probe.execute(&format!("UPDATE gate SET state = '{state}', epoch = {epoch}")).await;
}

/// All that a write could have changed.
async fn everything<S: Store>(bench: &Bench<S>) -> Vec<Vec<Vec<Option<String>>>> {
    let mut tables = Vec::new();
    for table in ["customers", "orders", "order_lines", "order_events", "parked_orders", "quarantined_orders"] {
        tables.push(bench.probe.rows(&format!("SELECT * FROM {table} ORDER BY 1, 2")).await);
    }
    tables
}

/// Every state of the gate, both ledgers, every kind of write.
async fn who_may_write<S: Store>(store: &S, ordering: Ordering) {
    let mut bench = Bench::new(store, ordering).await;
    let states = [
        ("OPEN", 1, 1),
        ("OPEN", 1, 2),
        ("OPEN", 2, 2),
        ("CLOSED", 1, 1),
        ("CLOSED", 2, 2),
        ("DRAINING", 1, 1),
        ("DRAINING", 1, 2),
        ("DRAINING", 2, 2),
        ("DRAINING", 3, 3),
    ];
    let drain = bench.ledger.draining(2).connect().await.unwrap();
    let live = std::mem::replace(&mut bench.session, drain);
    let mut other = Some(live);
    for (number, (state, epoch, announced)) in states.into_iter().enumerate() {
        for drains in [false, true] {
            let case = format!("{ordering:?} {state}({epoch}), announced {announced}, drain: {drains}");
            // Prepared by a session of live orders.
            std::mem::swap(&mut bench.session, other.as_mut().unwrap());
            put(&bench, "OPEN", 1, 1).await;
            let trial = Trial::prepare(&mut bench, ordering, format!("c{number}{drains}")).await;
            if drains {
                std::mem::swap(&mut bench.session, other.as_mut().unwrap());
            }
            put(&bench, state, epoch, announced).await;
            let before = everything(&bench).await;
            let current = epoch >= announced;
            let (new, parked, gate) = match (state, drains) {
                _ if !current => (false, false, Gate::Closed),
                ("OPEN", false) => (true, true, Gate::Open),
                ("OPEN", true) => (false, false, Gate::Open),
                ("DRAINING", false) => (false, true, Gate::Draining),
                ("DRAINING", true) if epoch == 2 => (true, true, Gate::Draining),
                _ => (false, false, Gate::Closed),
            };
            assert_eq!(bench.session.gate().await, Ok(gate), "{case}");
            let rest = current && state != "CLOSED";
            assert_eq!(trial.write(&mut bench).await, passed(new, parked, rest), "{case}");
            if !rest {
                assert_eq!(everything(&bench).await, before, "{case}");
            }
            if !drains {
                std::mem::swap(&mut bench.session, other.as_mut().unwrap());
            }
        }
    }
}

pub(crate) async fn who_may_write_in_gapless<S: Store>(store: &S) {
    who_may_write(store, Gapless).await;
}

pub(crate) async fn who_may_write_in_fifo<S: Store>(store: &S) {
    who_may_write(store, Fifo).await;
}

pub(crate) async fn who_may_write_in_none<S: Store>(store: &S) {
    who_may_write(store, Ordering::None).await;
}

/// The caller looks, a window begins, the caller writes: of live orders, and of a drain that is taken back.
pub(crate) async fn a_window_that_begins_after_the_last_look_refuses_every_write<S: Store>(store: &S) {
    for ordering in [Gapless, Fifo, Ordering::None] {
        for drains in [false, true] {
            let mut bench = Bench::new(store, ordering).await;
            let trial = Trial::prepare(&mut bench, ordering, "c".into()).await;
            let mut keeper = bench.ledger.gatekeeper().await.unwrap();
            if drains {
                keeper.announce(1).await.unwrap();
                keeper.close(0, 1, &Notice::default()).await.unwrap();
                keeper.grant(1, "ann").await.unwrap();
                bench.session = bench.ledger.draining(1).connect().await.unwrap();
            }
            let seen = if drains { Gate::Draining } else { Gate::Open };
            assert_eq!(bench.session.gate().await, Ok(seen));
            let before = everything(&bench).await;
            let from = Epoch::from(drains);
            assert!(keeper.announce(from + 1).await.unwrap());
            assert_eq!(trial.write(&mut bench).await, passed(false, false, false), "announced");
            assert_eq!(everything(&bench).await, before, "announced");
            assert!(keeper.close(from, from + 1, &Notice::default()).await.unwrap());
            assert_eq!(trial.write(&mut bench).await, passed(false, false, false), "closed");
            assert_eq!(everything(&bench).await, before, "closed");
        }
    }
}

/// What a drain has in hand when the window is over changes nothing, also not under the next drain.
pub(crate) async fn a_drain_ends_with_its_window<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let mut keeper = bench.ledger.gatekeeper().await.unwrap();
    let mut drain = bench.ledger.draining(1).connect().await.unwrap();
    let run = |n| batch(&[&[order("ada", n)]]);
    for window in 1..=2 {
        assert!(keeper.announce(window).await.unwrap());
        assert!(keeper.close(window - 1, window, &Notice::default()).await.unwrap());
        assert_eq!(drain.commit(&run(1)).await.unwrap(), [Verdict::GateClosed]);
        assert!(keeper.grant(window, "ann").await.unwrap());
        if window == 1 {
            assert_eq!(drain.gate().await, Ok(Gate::Draining));
            assert_eq!(drain.commit(&run(1)).await.unwrap(), [committed(1, 0)]);
            assert_eq!(drain.park(&[order("ada", 3)]).await.unwrap(), [ParkVerdict::Parked]);
        } else {
            assert_eq!(drain.gate().await, Ok(Gate::Closed), "another drain is not this one");
        }
        let before = everything(&bench).await;
        if window == 1 {
            assert!(keeper.reopen(window, "ann").await.unwrap());
            assert_eq!(drain.gate().await, Ok(Gate::Open), "it is over");
        }
        assert_eq!(drain.commit(&run(2)).await.unwrap(), [Verdict::GateClosed]);
        assert_eq!(drain.park(&[order("ada", 4)]).await.unwrap(), [ParkVerdict::GateClosed]);
        assert_eq!(everything(&bench).await, before);
    }
    assert!(keeper.reopen(2, "ann").await.unwrap());
    assert_eq!(bench.commit_one(&[order("ada", 2)]).await, committed(2, 1));
    assert_eq!(bench.commit_parked(&[order("ada", 3)]).await, committed(3, 0));
}
