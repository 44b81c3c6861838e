//! Locks in Redis: what a call for many customers costs.
//!
//! Unit: customers a second over one connection, one call after the other: take, then release. Not in it: the core. With
//! 256 buckets a call is one script for each bucket that it touches, as on a cluster.

#![allow(missing_docs, dead_code, unused_imports, unreachable_pub, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace::config::Config;
use millrace::locks::Locks as _;
use millrace::locks::redis::RedisLocks;
use millrace::order::CustomerId;

#[path = "../tests"]
mod tests {
    pub mod servers;
}
use tests::servers;

fn locks(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(servers::redis::Server::start());
    let mut group = criterion.benchmark_group("locks");
    for buckets in [1, 256] {
        for batch in [1, 16, 256] {
            let customers: Vec<CustomerId> = (0..batch).map(|k| CustomerId::new(format!("customer-{k:07}"))).collect();
            let mut settings = Config::new("http://127.0.0.1/orders", "sqlite::memory:").locks;
            settings.url = server.url();
            settings.buckets = buckets;
            settings.prefix = format!("bench-{buckets}");
            let locks = {
                let _inside = runtime.enter();
                RedisLocks::open(&settings).unwrap()
            };
            runtime.block_on(locks.prove()).unwrap();
            group.throughput(Throughput::Elements(batch));
            group.bench_function(format!("{buckets} buckets, {batch} customers a call"), |bencher| {
                bencher.to_async(&runtime).iter(|| async {
                    let granted = locks.take(&customers, Duration::from_secs(15)).await.unwrap();
                    assert!(granted.iter().all(|granted| *granted));
                    locks.release(&customers).await.unwrap();
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, locks);
criterion_main!(benches);
