//! What a bench found: rates, latency, requests, cost, and which setting would lower it.

use std::time::Duration;

use serde::Serialize;

use super::load::float;
use super::workers::Usage;

/// SQS bills a receive or a batch as one request for each 64 KiB of it.
const SQS_CHUNK: usize = 64 * 1024;

/// The messages of a full request.
const FULL: f64 = 10.0;

/// What things cost, in dollars.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prices {
    /// A million requests to SQS.
    pub sqs_million: f64,
    /// A virtual CPU for an hour.
    pub vcpu_hour: f64,
}

/// What was measured.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub orders: u64,
    pub messages: u64,
    pub body_bytes: usize,
    /// The sending of all messages.
    pub sending: Duration,
    /// From the beginning of the sending until the last order was seen in the ledger.
    pub committing: Duration,
    pub latencies: Vec<Duration>,
    pub used: Usage,
}

/// What is said about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Orders that were committed.
    pub orders: u64,
    /// Messages that were sent, copies included.
    pub messages: u64,
    /// Messages sent a second.
    pub sent_per_second: f64,
    /// Orders committed a second, from the beginning of the sending until the last was seen.
    pub committed_per_second: f64,
    /// From sending to being seen in the ledger, in milliseconds; none without samples.
    pub latency: Option<Latency>,
    /// Requests to SQS an order.
    pub sqs_per_order: f64,
    /// Of these: receives, deletes, visibility changes.
    pub receives_per_order: f64,
    /// See above.
    pub deletes_per_order: f64,
    /// See above.
    pub visibility_per_order: f64,
    /// Calls to Redis an order.
    pub redis_per_order: f64,
    /// Transactions and queries of the ledger an order.
    pub sql_per_order: f64,
    /// CPU of the workers an order, in microseconds.
    pub cpu_us_per_order: f64,
    /// Dollars for a million orders: requests to SQS.
    pub sqs_dollars_per_million: f64,
    /// Dollars for a million orders: CPU of the workers.
    pub cpu_dollars_per_million: f64,
    /// Settings that would lower it, with the reason.
    pub advice: Vec<String>,
}

/// From sending to being seen in the ledger, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the orders took at most so long.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// How many orders were watched.
    pub samples: u64,
}

impl Figures {
    pub(super) fn of(measured: Measured, prices: Prices) -> Self {
        let Measured { orders, messages, body_bytes, sending, committing, latencies, used } = measured;
        let each = 1.0 / float(orders);
        let (receives, deletes) = (used.receives * each, used.deletes * each);
        // A receive brings bodies, a delete only names.
        let chunks = float((body_bytes * 10).div_ceil(SQS_CHUNK).max(1) as u64);
        let billed = used.receives * chunks + used.deletes + used.visibility;
        let figures = Self {
            orders,
            messages,
            sent_per_second: float(messages) / sending.as_secs_f64(),
            committed_per_second: float(orders) / committing.as_secs_f64().max(f64::EPSILON),
            latency: Latency::of(latencies),
            sqs_per_order: used.sqs() * each,
            receives_per_order: receives,
            deletes_per_order: deletes,
            visibility_per_order: used.visibility * each,
            redis_per_order: used.redis * each,
            sql_per_order: used.sql * each,
            cpu_us_per_order: used.cpu_seconds * each * 1e6,
            sqs_dollars_per_million: billed * each * prices.sqs_million,
            cpu_dollars_per_million: used.cpu_seconds * each * 1e6 / 3_600.0 * prices.vcpu_hour,
            advice: Vec::new(),
        };
        Self { advice: figures.advise(float(messages), used), ..figures }
    }

    /// What could be lower by a setting. The most expensive first; nothing where nothing is to be had.
    fn advise(&self, messages: f64, used: Usage) -> Vec<String> {
        let mut advice: Vec<(f64, String)> = Vec::new();
        let dollars = |requests: f64| {
            requests / self.orders_float() * self.sqs_dollars_per_million / self.sqs_per_order.max(f64::EPSILON)
        };
        let floor = messages / FULL;
        if used.receives > 1.2 * floor {
            advice.push((
                dollars(used.receives - floor),
                format!(
                    "receives bring {:.1} messages of 10: a lower inbox.polls_max makes them fuller (and inbox.batch = 10)",
                    messages / used.receives
                ),
            ));
        }
        if used.deletes > 1.2 * floor {
            advice.push((
                dollars(used.deletes - floor),
                format!(
                    "deletes name {:.1} messages of 10: a longer inbox.ack_linger makes them fuller",
                    messages / used.deletes
                ),
            ));
        }
        if used.visibility > 0.2 * floor {
            advice.push((
                dollars(used.visibility),
                "messages are held for longer than half of inbox.visibility_timeout: a longer one needs fewer extensions"
                    .to_owned(),
            ));
        }
        if self.redis_per_order > 0.05 {
            advice.push((
                0.0,
                "locks are taken and released often: a longer locks.linger keeps them, fewer locks.buckets share calls"
                    .to_owned(),
            ));
        }
        if self.sql_per_order > 0.02 {
            advice.push((
                0.0,
                format!(
                    "commits have {:.0} orders: fewer ledger.committers, 2 at least, make them larger (and orders a little later)",
                    self.orders_float() / used.commits.max(1.0)
                ),
            ));
        }
        advice.sort_by(|a, b| b.0.total_cmp(&a.0));
        advice.into_iter().map(|(_, text)| text).collect()
    }

    fn orders_float(&self) -> f64 {
        float(self.orders)
    }
}

impl Latency {
    fn of(mut latencies: Vec<Duration>) -> Option<Self> {
        latencies.sort_unstable();
        let last = latencies.len().checked_sub(1)?;
        // The smallest that so many of 1,000 are not above.
        let at = |permille: usize| {
            let index = (latencies.len() * permille).div_ceil(1_000).saturating_sub(1).min(last);
            latencies[index].as_secs_f64() * 1e3
        };
        Some(Self { p50: at(500), p99: at(990), p999: at(999), max: at(1_000), samples: latencies.len() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(used: Usage) -> Measured {
        Measured {
            orders: 1_000,
            messages: 1_000,
            body_bytes: 300,
            sending: Duration::from_secs(2),
            committing: Duration::from_secs(4),
            latencies: (1..=1_000).map(Duration::from_millis).collect(),
            used,
        }
    }

    const PRICES: Prices = Prices { sqs_million: 0.40, vcpu_hour: 0.36 };

    #[test]
    fn full_requests_need_no_advice() {
        let used = Usage {
            receives: 100.0,
            deletes: 100.0,
            redis: 4.0,
            sql: 5.0,
            commits: 5.0,
            cpu_seconds: 0.02,
            ..Usage::default()
        };
        let figures = Figures::of(measured(used), PRICES);
        assert_eq!(figures.advice, Vec::<String>::new());
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
        close(figures.sent_per_second, 500.0);
        close(figures.committed_per_second, 250.0);
        close(figures.sqs_per_order, 0.2);
        close(figures.cpu_us_per_order, 20.0);
        // 0.2 requests an order, a million orders, 0.40 a million requests.
        close(figures.sqs_dollars_per_million, 0.08);
        // 20 s of CPU.
        close(figures.cpu_dollars_per_million, 0.002);
        let latency = figures.latency.unwrap();
        close(latency.p50, 500.0);
        close(latency.p99, 990.0);
        close(latency.p999, 999.0);
        close(latency.max, 1_000.0);
    }

    #[test]
    fn the_most_expensive_setting_comes_first() {
        let used =
            Usage { receives: 200.0, deletes: 900.0, redis: 100.0, sql: 500.0, commits: 500.0, ..Usage::default() };
        let advice = Figures::of(measured(used), PRICES).advice;
        let keys = ["inbox.ack_linger", "inbox.polls_max", "locks.linger", "ledger.committers"];
        assert_eq!(advice.len(), keys.len(), "{advice:?}");
        assert!(advice.iter().zip(keys).all(|(text, key)| text.contains(key)), "{advice:?}");
    }

    #[test]
    fn a_receive_of_large_bodies_is_billed_by_the_64_kib() {
        let used = Usage { receives: 100.0, deletes: 100.0, ..Usage::default() };
        let large = Measured { body_bytes: 20_000, ..measured(used) };
        let figures = Figures::of(large, PRICES);
        // 200,000 bytes are four chunks.
        assert!((figures.sqs_dollars_per_million - 0.2).abs() < 1e-9, "{}", figures.sqs_dollars_per_million);
    }

    #[test]
    fn without_samples_there_is_no_latency() {
        assert_eq!(Latency::of(Vec::new()), None);
    }
}
