//! The inbox keeps its promises over two SQS servers that have nothing in common.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use aws_config::SdkConfig;
use millrace::config;
use millrace::inbox::sqs::Sqs;
use millrace::inbox::sqs::producer::{Outgoing, Producer, Sent};
use millrace::inbox::{Delivery, Inbox as _, Receipt};
use serde_json::json;

mod backlog;
mod contract;
mod faults;
mod groups;

/// Settings of a queue, with bounds that suit a test.
fn settings(queue_url: &str) -> config::Inbox {
    let settings = json!({ "queue_url": queue_url, "attempt_timeout": "3s", "visibility_timeout": "30s" });
    serde_json::from_value(settings).expect("valid settings")
}

fn queue(sdk: &SdkConfig, queue_url: &str) -> Sqs {
    Sqs::new(sdk, &settings(queue_url))
}

/// Sends `bodies`, each in the group beside it.
async fn send(sdk: &SdkConfig, queue_url: &str, bodies: &[(&str, Option<&str>)]) {
    let outgoing: Vec<Outgoing> = bodies
        .iter()
        .map(|(body, group)| Outgoing {
            body: (*body).to_owned(),
            group: group.map(str::to_owned),
            deduplication_id: group.map(|_| (*body).to_owned()),
        })
        .collect();
    let answers = Producer::new(sdk, &settings(queue_url)).send(&outgoing).await;
    assert_eq!(answers, vec![Sent::Done; bodies.len()]);
}

/// Receives until `many` messages are here; at most five empty waits of a second.
async fn receive(queue: &Sqs, many: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    let mut empty = 0;
    while deliveries.len() < many {
        let more = queue.receive(10, Duration::from_secs(1)).await.expect("the queue answers");
        empty += u32::from(more.is_empty());
        assert!(empty < 5, "{} of {many} messages came: {deliveries:?}", deliveries.len());
        deliveries.extend(more);
    }
    deliveries
}

/// That a wait of `seconds` brings nothing.
async fn assert_quiet(queue: &Sqs, seconds: u64) {
    let deliveries = queue.receive(10, Duration::from_secs(seconds)).await.expect("the queue answers");
    assert_eq!(deliveries, [], "nothing is due");
}

fn receipts(deliveries: &[Delivery]) -> Vec<Receipt> {
    deliveries.iter().map(|delivery| delivery.receipt.clone()).collect()
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.body.as_str()).collect()
}
