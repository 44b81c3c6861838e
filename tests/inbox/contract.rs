//! What holds on every SQS server.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use millrace::inbox::sqs::Sqs;
use millrace::inbox::sqs::producer::{Outgoing, Producer, Sent};
use millrace::inbox::{Inbox as _, InboxErrorClass, Receipt, Settled};

use super::{assert_quiet, bodies, queue, receipts, receive, send, settings};
use crate::servers::ministack::Ministack;
use crate::servers::rustack::Rustack;

/// Runs each case on both servers, on a standard queue of its own.
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod rustack { $(
            #[tokio::test]
            async fn $case() {
                let server = super::Rustack::start().await;
                let url = server.create_queue("orders").await;
                super::$case(server.sdk_config(), url).await;
            }
        )* }

        mod ministack { $(
            #[tokio::test]
            async fn $case() {
                let server = super::Ministack::connect();
                let url = server.create_queue("contract").await;
                super::$case(server.sdk_config(), url).await;
            }
        )* }
    };
}

on_both!(
    message_comes_as_it_was_sent,
    quiet_wait_is_empty,
    receive_brings_no_more_than_asked,
    deleted_message_stays_away,
    second_delete_is_no_error,
    nothing_is_settled_without_a_call,
    zero_visibility_brings_it_back_at_once,
    message_comes_back_after_its_visibility_timeout,
    extension_keeps_it_away,
    queue_describes_itself,
    missing_queue_refuses,
    producer_fills_requests_of_ten,
);

async fn message_comes_as_it_was_sent(sdk: SdkConfig, url: String) {
    let queue = queue(&sdk, &url);
    let body = r#"{"order_id":"o-1","note":"Grüße, 注文"}"#;
    let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
    let before: i64 = now_ms();
    send(&sdk, &url, &[(body, None)]).await;
    let delivery = receive(&queue, 1).await.remove(0);
    assert_eq!(delivery.body, body);
    assert_eq!((delivery.group, delivery.sequence_number, delivery.receive_count), (None, None, 1));
    assert!(!delivery.message_id.is_empty());
    // Servers round to whole milliseconds, or seconds.
    let sent_at = delivery.sent_at_ms.expect("SentTimestamp was asked for");
    assert!((before - 1_000..=now_ms() + 1_000).contains(&sent_at), "{sent_at}");
}

async fn quiet_wait_is_empty(sdk: SdkConfig, url: String) {
    assert_quiet(&queue(&sdk, &url), 1).await;
    assert_quiet(&queue(&sdk, &url), 0).await;
}

async fn receive_brings_no_more_than_asked(sdk: SdkConfig, url: String) {
    let queue = queue(&sdk, &url);
    send(&sdk, &url, &[("a", None), ("b", None), ("c", None)]).await;
    let first = queue.receive(2, Duration::from_secs(1)).await.unwrap();
    assert!((1..=2).contains(&first.len()), "{first:?}");
    let rest = receive(&queue, 3 - first.len()).await;
    let all: BTreeSet<&str> = bodies(&first).into_iter().chain(bodies(&rest)).collect();
    assert_eq!(all, BTreeSet::from(["a", "b", "c"]));
}

async fn deleted_message_stays_away(sdk: SdkConfig, url: String) {
    let queue = back_after(1, &sdk, &url);
    send(&sdk, &url, &[("a", None), ("b", None)]).await;
    let deliveries = receive(&queue, 2).await;
    assert_eq!(queue.delete(&receipts(&deliveries)).await.unwrap(), [Settled::Done, Settled::Done]);
    assert_quiet(&queue, 5).await;
}

async fn second_delete_is_no_error(sdk: SdkConfig, url: String) {
    let queue = queue(&sdk, &url);
    send(&sdk, &url, &[("a", None)]).await;
    let receipts = receipts(&receive(&queue, 1).await);
    assert_eq!(queue.delete(&receipts).await.unwrap(), [Settled::Done]);
    // SQS says done; another server may know that the message is gone.
    let again = queue.delete(&receipts).await.unwrap();
    assert!(matches!(again[..], [Settled::Done | Settled::Gone(_)]), "{again:?}");
}

async fn nothing_is_settled_without_a_call(sdk: SdkConfig, url: String) {
    let queue = queue(&sdk, &format!("{url}-missing"));
    assert_eq!(queue.delete(&[]).await.unwrap(), []);
    assert_eq!(queue.set_visibility(&[], Duration::ZERO).await.unwrap(), []);
}

async fn zero_visibility_brings_it_back_at_once(sdk: SdkConfig, url: String) {
    // Its visibility timeout would end long after this test.
    let queue = queue(&sdk, &url);
    send(&sdk, &url, &[("a", None)]).await;
    let first = receive(&queue, 1).await;
    assert_eq!(queue.set_visibility(&receipts(&first), Duration::ZERO).await.unwrap(), [Settled::Done]);
    let second = receive(&queue, 1).await;
    assert_eq!(second[0].message_id, first[0].message_id);
    assert_eq!(second[0].receive_count, 2);
}

async fn message_comes_back_after_its_visibility_timeout(sdk: SdkConfig, url: String) {
    let queue = back_after(1, &sdk, &url);
    send(&sdk, &url, &[("a", None)]).await;
    let first = receive(&queue, 1).await;
    let second = receive(&queue, 1).await;
    assert_eq!(second[0].message_id, first[0].message_id);
    assert_ne!(second[0].receipt, first[0].receipt);
}

async fn extension_keeps_it_away(sdk: SdkConfig, url: String) {
    let queue = back_after(3, &sdk, &url);
    send(&sdk, &url, &[("a", None)]).await;
    let receipts = receipts(&receive(&queue, 1).await);
    assert_eq!(queue.set_visibility(&receipts, Duration::from_mins(1)).await.unwrap(), [Settled::Done]);
    assert_quiet(&queue, 5).await;
    assert_eq!(queue.delete(&receipts).await.unwrap(), [Settled::Done]);
}

async fn queue_describes_itself(sdk: SdkConfig, url: String) {
    let queue = queue(&sdk, &url);
    send(&sdk, &url, &[("a", None), ("b", None)]).await;
    receive_one(&queue).await;
    let facts = queue.describe().await.unwrap();
    assert!(facts.arn.starts_with("arn:aws:sqs:us-east-1:"), "{facts:?}");
    assert_eq!(facts.arn.rsplit(':').next(), url.rsplit('/').next());
    assert!(facts.created_at > 1_700_000_000, "{facts:?}");
    assert!(!facts.fifo && !facts.content_based_deduplication, "{facts:?}");
    assert_eq!((facts.visibility_timeout, facts.retention, facts.max_receive_count), (30, 345_600, None));
    assert!(facts.max_message_bytes >= 262_144, "{facts:?}");
    assert_eq!((facts.visible, facts.not_visible, facts.delayed), (1, 1, 0));
}

async fn missing_queue_refuses(sdk: SdkConfig, url: String) {
    let queue = queue(&sdk, &format!("{url}-missing"));
    let receipts = [Receipt("handle".to_owned())];
    let errors = [
        queue.receive(10, Duration::ZERO).await.unwrap_err(),
        queue.delete(&receipts).await.unwrap_err(),
        queue.set_visibility(&receipts, Duration::ZERO).await.unwrap_err(),
        queue.describe().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.class, InboxErrorClass::Refused, "{error}");
    }
    let producer = Producer::new(&sdk, &settings(&format!("{url}-missing")));
    let answers = producer.send(&[outgoing("a")]).await;
    assert!(matches!(answers[..], [Sent::Refused(_)]), "{answers:?}");
}

async fn producer_fills_requests_of_ten(sdk: SdkConfig, url: String) {
    let bodies_sent: Vec<String> = (0..23).map(|number| format!("body {number}")).collect();
    let messages: Vec<Outgoing> = bodies_sent.iter().map(|body| outgoing(body)).collect();
    let answers = Producer::new(&sdk, &settings(&url)).send(&messages).await;
    assert_eq!(answers, vec![Sent::Done; 23]);
    let deliveries = receive(&queue(&sdk, &url), 23).await;
    let came: BTreeSet<&str> = bodies(&deliveries).into_iter().collect();
    assert_eq!(came, bodies_sent.iter().map(String::as_str).collect());
}

/// A queue whose messages come back after so many seconds.
fn back_after(seconds: u64, sdk: &SdkConfig, url: &str) -> Sqs {
    Sqs::new(sdk, &millrace::config::Inbox { visibility_timeout: Duration::from_secs(seconds), ..settings(url) })
}

async fn receive_one(queue: &Sqs) {
    assert_eq!(queue.receive(1, Duration::from_secs(2)).await.unwrap().len(), 1);
}

fn outgoing(body: &str) -> Outgoing {
    Outgoing { body: body.to_owned(), group: None, deduplication_id: None }
}
