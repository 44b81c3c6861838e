//! The group commit: one transaction with the orders of many customers, two lines an order.
//!
//! Unit: orders a second over one connection, one transaction after the other. Not in it: decoding, the core, queue and
//! locks. fsync and `synchronous_commit` (PostgreSQL) and synchronous=FULL (SQLite) are on.

#![allow(missing_docs, dead_code, unused_imports, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace::config::Config;
use millrace::ledger::{self, Batch, Ledger as _, Placed, Run, Session as _, Verdict};
use millrace::order::{CustomerId, Entry, Ordering, Rank};

#[path = "../tests"]
mod tests {
    pub mod servers;
}
use tests::servers;

mod rig;

const CUSTOMERS: u64 = 1_000;

/// Batches without end, each of so many customers; every customer's sequence goes on.
struct Batches {
    number: u64,
    size: u64,
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let run = |number: u64| {
            let (customer, sequence) = (number % CUSTOMERS, 1 + number / CUSTOMERS);
            let body = rig::load::body(number, customer, sequence);
            let entry = Entry::from_message(Ordering::Gapless, "m", None, body);
            let customer = entry.customer().unwrap().clone();
            Run { customer, orders: vec![Placed { rank: Rank::from(sequence), entry: Arc::new(entry) }] }
        };
        let mut runs: Vec<Run> = (self.number..self.number + self.size).map(run).collect();
        self.number += self.size;
        runs.sort_by(|a, b| a.customer.cmp(&b.customer));
        Some(Batch { runs, parked: false, resolve: false })
    }
}

fn group_commit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(servers::postgres::Server::start());
    let folder = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("group_commit");
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    for kind in ["PostgreSQL", "SQLite"] {
        for size in [1, 10, 50, 200, 500] {
            let url = match kind {
                "PostgreSQL" => runtime.block_on(server.create(&servers::unique("commit"))),
                _ => format!("sqlite://{}/ledger-{size}.db", folder.path().display()),
            };
            let ledger = ledger::open(&Config::new("http://127.0.0.1/orders", &url)).unwrap();
            runtime.block_on(ledger.migrate()).unwrap();
            let mut session = runtime.block_on(ledger.connect()).unwrap();
            let mut batches = Batches { number: 0, size };
            group.throughput(Throughput::Elements(size));
            group.bench_function(format!("{kind}, {size} orders"), |bencher| {
                bencher.iter_custom(|times| {
                    let mine: Vec<Batch> = batches.by_ref().take(usize::try_from(times).unwrap()).collect();
                    let begun = Instant::now();
                    for batch in &mine {
                        let verdicts = runtime.block_on(session.commit(batch)).unwrap();
                        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Committed { .. })));
                    }
                    begun.elapsed()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, group_commit);
criterion_main!(benches);
