//! The whole way: SQS server, `millrace run`, Redis, PostgreSQL; from the first commit to the last.
//!
//! Unit: orders a second of one worker. Not in it: its start, and the filling of the queue. The SQS server runs in the
//! bench's process, everything on one machine, so all of them share its cores. `scripts/compare` says how this stands
//! beside others.

#![allow(missing_docs, dead_code, unused_imports, unreachable_pub, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests"]
mod tests {
    pub mod servers;
}
use tests::servers;

mod rig;

use rig::{Load, Site, float};

fn end_to_end(criterion: &mut Criterion) {
    let trial = std::env::args().any(|argument| argument == "--test");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let site = runtime.block_on(Site::start());
    let mut group = criterion.benchmark_group("end_to_end");
    let orders = if trial { 1_000 } else { 50_000 };
    group.throughput(Throughput::Elements(orders)).sample_size(10).measurement_time(Duration::from_mins(1));
    for customers in [10, 1_000, 100_000] {
        group.bench_function(format!("{customers} customers"), |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| {
                        runtime.block_on(async {
                            let place = site.place().await;
                            let load = Load::even(orders, customers);
                            place.fill(&site, &load).await;
                            let figures = place.run(orders, &[]).await;
                            site.forget(place).await;
                            Duration::from_secs_f64(float(orders) / figures.rate)
                        })
                    })
                    .sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
