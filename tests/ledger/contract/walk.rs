//! A random walk over every call, step for step beside the model.

use std::collections::BTreeMap;

use millrace::ledger::decisions::Decision;
use millrace::ledger::{Batch, CaseKind, Found, Gate, Placed, Session};
use millrace::order::Ordering::{self, Fifo, Gapless};
use millrace::order::Rank;

use super::Store;
use super::bench::{Bench, batch};
use super::decisions::case;
use super::model::Model;
use super::orders::{customer, harmless, named, other_content, poison, resent};
use crate::random::Random;

const STEPS: u32 = 250;
const CUSTOMERS: [&str; 3] = ["ada", "bob", "cyd"];

pub(crate) async fn a_random_walk_agrees_with_the_model_gapless<S: Store>(store: &S) {
    walk(store, Gapless).await;
}

pub(crate) async fn a_random_walk_agrees_with_the_model_fifo<S: Store>(store: &S) {
    walk(store, Fifo).await;
}

struct Walk<S: Store> {
    bench: Bench<S>,
    model: Model,
    dice: Random,
    epoch: u32,
    /// The messages of `fifo`.
    sent: BTreeMap<(String, Rank), Placed>,
    /// A parked run that was loaded once and may be stale.
    loaded: Vec<Placed>,
}

async fn walk<S: Store>(store: &S, ordering: Ordering) {
    let bench = Bench::new(store, ordering).await;
    let mut walk = Walk {
        bench,
        model: Model::new(ordering),
        dice: Random::seeded(),
        epoch: 0,
        sent: BTreeMap::new(),
        loaded: Vec::new(),
    };
    for step in 0..STEPS {
        walk.step(step).await;
    }
    for (name, line) in &walk.model.lines {
        let ends: Vec<_> = line.ends.iter().flatten().cloned().collect();
        assert_eq!(walk.bench.line(name).await, ends, "{name}");
        let sql = format!("SELECT order_id FROM parked_orders WHERE customer_id = '{name}' ORDER BY ord");
        let parked: Vec<_> = line.parked.values().map(|placed| placed.entry.id().to_string()).collect();
        assert_eq!(walk.bench.column(&sql).await, parked, "{name}");
    }
}

impl<S: Store> Walk<S> {
    fn name(&mut self) -> &'static str {
        CUSTOMERS[usize::try_from(self.dice.below(3)).unwrap()]
    }

    /// An order near the customer's turn, sometimes with something wrong. In `fifo` a rank is one message for ever.
    fn order_at(&mut self, name: &str, rank: Rank) -> Placed {
        if let Some(placed) = self.sent.get(&(name.to_owned(), rank)) {
            return placed.clone();
        }
        let placed = named(&format!("{name}-{rank}"), name, rank);
        let placed = match self.dice.below(12) {
            0 => other_content(&placed),
            1 => named(&format!("{name}-{rank}-x"), name, rank),
            2 if rank > 2 => named(&format!("{name}-{}", rank - 2), name, rank),
            3 if rank > 2 && self.model.ordering == Fifo => resent(&self.order_at(name, rank - 2), rank),
            _ => placed,
        };
        if self.model.ordering == Fifo {
            self.sent.insert((name.to_owned(), rank), placed.clone());
        }
        placed
    }

    fn near(&mut self, name: &str) -> Rank {
        let upto = self.model.upto(&self.model.line(name));
        (upto + Rank::from(self.dice.below(6))).saturating_sub(1).max(1)
    }

    /// A run that mostly begins at the customer's turn; no `order_id` twice.
    fn run_of(&mut self, name: &str) -> Vec<Placed> {
        let upto = self.model.upto(&self.model.line(name));
        let first = if self.dice.one_in(3) { self.near(name) } else { upto + 1 };
        let length = 1 + Rank::from(self.dice.below(3));
        let mut orders: Vec<Placed> = Vec::new();
        for rank in first..first + length {
            let placed = self.order_at(name, rank);
            if orders.iter().any(|other| other.entry.id() == placed.entry.id()) {
                break;
            }
            orders.push(placed);
        }
        orders
    }

    async fn step(&mut self, step: u32) {
        let name = self.name();
        match self.dice.below(20) {
            0..7 => self.commit(step).await,
            7..11 => self.park(step).await,
            11..14 => self.drain(step, name).await,
            14 => {
                let rank = self.near(name);
                let case = poison(&self.order_at(name, rank));
                assert_eq!(self.bench.quarantine(&case).await, self.model.quarantine(&case), "step {step}: {case:?}");
            }
            15 => {
                let rank = self.near(name);
                let case = harmless(&self.order_at(name, rank), CaseKind::Conflict);
                assert_eq!(self.bench.quarantine(&case).await, self.model.quarantine(&case), "step {step}: {case:?}");
            }
            16 | 17 => self.decide(step, name).await,
            18 => {
                self.turn_the_gate().await;
                // What the walk leaves closed would end it.
                if self.dice.one_in(2) {
                    self.open_the_gate().await;
                }
            }
            _ => {
                let found = self.bench.sweep(100).await;
                let expected = self.model.sweep();
                if self.model.gate != Gate::Closed {
                    assert_eq!(found, expected, "step {step}");
                }
            }
        }
        if self.model.gate != Gate::Open && self.dice.one_in(3) {
            self.open_the_gate().await;
        }
        self.look_around(step).await;
    }

    async fn commit(&mut self, step: u32) {
        let count = usize::try_from(1 + self.dice.below(3)).unwrap();
        let runs: Vec<_> = CUSTOMERS.iter().take(count).map(|name| self.run_of(name)).collect();
        let runs: Vec<_> = runs.iter().map(Vec::as_slice).collect();
        let batch = Batch { resolve: self.dice.one_in(5), ..batch(&runs) };
        let expected = self.model.commit(&batch);
        let verdicts = self.bench.try_commit(&batch).await.map_err(|error| error.class);
        assert_eq!(verdicts, expected, "step {step}: {batch:?}");
    }

    async fn park(&mut self, step: u32) {
        for _ in 0..=self.dice.below(3) {
            let name = self.name();
            let rank = self.near(name);
            let placed = self.order_at(name, rank);
            assert_eq!(self.bench.park_one(&placed).await, self.model.park(&placed), "step {step}: {placed:?}");
        }
    }

    async fn drain(&mut self, step: u32, name: &str) {
        let limit = 1 + self.dice.below(4);
        let run = self.bench.next_run(name, u32::try_from(limit).unwrap()).await;
        let limit = usize::try_from(limit).unwrap();
        assert_eq!(run, self.model.run(&customer(name), limit), "step {step}");
        let stale = std::mem::replace(&mut self.loaded, run.orders.clone());
        let orders = if self.dice.one_in(4) { stale } else { run.orders };
        if !orders.is_empty() {
            let batch = Batch { parked: true, ..batch(&[&orders]) };
            let expected = self.model.commit(&batch);
            let verdicts = self.bench.try_commit(&batch).await.map_err(|error| error.class);
            assert_eq!(verdicts, expected, "step {step}: {batch:?}");
        }
    }

    /// A person decides about the blocked head.
    async fn decide(&mut self, step: u32, name: &str) {
        let Some(head) = self.model.line(name).head else { return };
        let skips = self.dice.one_in(2);
        let may = skips || self.model.may_retry(&head);
        let decision = if skips {
            self.bench.decide_skip(&case(&head)).await
        } else {
            self.bench.decide_retry(&case(&head)).await
        };
        match decision {
            Decision::GateClosed => assert_eq!(self.model.gate, Gate::Closed, "step {step}"),
            Decision::Refused(why) => assert!(!may && self.model.gate != Gate::Closed, "step {step}: {why}"),
            Decision::Done => {
                assert!(may && self.model.gate != Gate::Closed, "step {step}: {head:?}");
                if skips { self.model.skip(name) } else { self.model.retry(name) }
            }
            other => panic!("step {step}: {other:?}"),
        }
    }

    async fn turn_the_gate(&mut self) {
        self.epoch += 1;
        let (state, gate) = if self.dice.one_in(2) { ("CLOSED", Gate::Closed) } else { ("DRAINING", Gate::Draining) };
        self.bench.gate(state, self.epoch).await;
        self.model.gate = gate;
    }

    async fn open_the_gate(&mut self) {
        self.bench.gate("OPEN", self.epoch).await;
        self.model.gate = Gate::Open;
    }

    /// Looks a few orders up. The sentence of a conflict is the store's own.
    async fn look_around(&mut self, step: u32) {
        let mut asked = Vec::new();
        for name in CUSTOMERS {
            let rank = self.near(name);
            asked.push(self.order_at(name, rank));
        }
        let found = self.bench.session.look_up(&asked).await.unwrap();
        for (placed, found) in asked.iter().zip(found) {
            let found = if matches!(found, Found::Conflict(_)) { Found::Conflict(String::new()) } else { found };
            assert_eq!(found, self.model.look_up(placed), "step {step}: {placed:?}");
        }
    }
}
