//! From a message body to an order: JSON, every rule of the contract, the digest.
//!
//! Unit: orders a second on one core. Not in it: the receive, and the copy of the body that each round needs.

#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use millrace::order::{Order, Ordering};

/// An order with so many lines.
fn body(lines: usize) -> String {
    let line = |number| format!(r#"{{"sku":"sku-{number}","quantity":2,"unit_price_minor":1990}}"#);
    let lines: Vec<String> = (0..lines).map(line).collect();
    format!(
        r#"{{"order_id":"order-00000001","customer_id":"customer-0000001","sequence":1,"placed_at":"2026-11-22T10:00:00Z","currency":"EUR","lines":[{}]}}"#,
        lines.join(",")
    )
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    for lines in [1, 2, 10, 100, 500] {
        let body = body(lines);
        group.bench_function(format!("{lines} lines, {} bytes", body.len()), |bencher| {
            bencher.iter_batched(
                || body.clone(),
                |body| Order::decode(Ordering::Gapless, body).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
