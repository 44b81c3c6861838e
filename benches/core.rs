//! Orders through the pure core: from the delivery to its delete, every answer at once.
//!
//! Unit: orders a second on one core. Not in it: decoding, and everything that the shell and the servers do. Commits are
//! answered after the receives that were under way, so that batches grow as they do under load.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millrace::config::Config;
use millrace::core::{Action, Arrival, Core, Input, Settings, Time, Work, Written};
use millrace::inbox::Settled;
use millrace::ledger::Verdict;
use millrace::order::{CustomerId, Digest, EntryId, Rank};

const ORDERS: u64 = 50_000;

/// A world that grants everything.
struct World {
    core: Core<u64>,
    now: Duration,
    /// What is to be received, ten at a time.
    queue: VecDeque<Arrival<u64>>,
    answers: VecDeque<Input<u64>>,
    deleted: u64,
}

impl World {
    fn new(customers: u64) -> Self {
        let config = Config::new("http://127.0.0.1/orders", "sqlite::memory:");
        let names: Vec<CustomerId> = (0..customers).map(|k| CustomerId::new(format!("customer-{k:07}"))).collect();
        let arrival = |number: u64| Arrival {
            payload: number,
            customer: Some(names[usize::try_from(number % customers).unwrap()].clone()),
            id: EntryId::new(format!("order-{number:08}")),
            digest: Digest([0; 32]),
            rank: Rank::from(1 + number / customers),
            malformed: false,
            bytes: 300,
        };
        Self {
            core: Core::new(Settings::from(&config), 1),
            now: Duration::ZERO,
            queue: (0..ORDERS).map(arrival).collect(),
            answers: VecDeque::from([Input::Wake]),
            deleted: 0,
        }
    }

    /// Until every order has its delete answered.
    fn run(mut self) -> Self {
        while self.deleted < ORDERS {
            let input = self.answers.pop_front().unwrap_or_else(|| {
                // Nothing is under way: time passes until the core wants to be woken.
                self.now += Duration::from_millis(1);
                Input::Wake
            });
            self.now += Duration::from_micros(2);
            self.core.handle(Time::at(self.now), input);
            while let Some(action) = self.core.poll() {
                self.act(action);
            }
        }
        self
    }

    fn act(&mut self, action: Action<u64>) {
        let answer = match action {
            Action::Receive { poll, max, .. } => {
                let count = self.queue.len().min(max as usize);
                if count == 0 {
                    // A long poll that stays open.
                    return;
                }
                Input::Received { poll, result: Ok(self.queue.drain(..count).collect()) }
            }
            Action::Delete { call, payloads } => {
                self.deleted += payloads.len() as u64;
                Input::Settled { call, result: Ok(vec![Settled::Done; payloads.len()]) }
            }
            Action::Lock { call, customers } => Input::Locked { call, result: Ok(vec![true; customers.len()]) },
            Action::Write { slot, work: Work::Commit { runs, .. } } => {
                let verdict = |run: &(CustomerId, Vec<(Rank, u64)>)| Verdict::Committed {
                    upto: run.1.last().unwrap().0,
                    parked: 0,
                    known: Vec::new(),
                };
                Input::Wrote { slot, written: Written::Commit(Ok(runs.iter().map(verdict).collect())) }
            }
            Action::Write { slot, work: Work::Sweep { .. } } => {
                Input::Wrote { slot, written: Written::Sweep(Ok((Vec::new(), None))) }
            }
            Action::Ended { .. } => return,
            other => panic!("nothing goes wrong here: {other:?}"),
        };
        self.answers.push_back(answer);
    }
}

fn core(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(ORDERS)).sample_size(20);
    for customers in [1, 10, 1_000, 50_000] {
        group.bench_function(format!("{customers} customers"), |bencher| {
            bencher.iter_batched(|| World::new(customers), World::run, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, core);
criterion_main!(benches);
