//! What can go wrong on the way, and what the engine hears of it.

use std::time::Duration;

use millrace::config;
use millrace::inbox::sqs::Sqs;
use millrace::inbox::sqs::producer::{Outgoing, Producer, Sent};
use millrace::inbox::{Inbox as _, InboxErrorClass, Settled};
use tokio::time::timeout;

use super::{bodies, queue, receipts, receive, send, settings};
use crate::servers::rustack::{Counts, Fault, Operation, Rustack, When};

/// Far above every bound that is tested; only a call that never ends gets here.
const NEVER: Duration = Duration::from_mins(1);

/// A queue whose calls end after a second, a receive after its wait and a second.
fn hasty(server: &Rustack, url: &str) -> Sqs {
    let settings = config::Inbox { attempt_timeout: Duration::from_secs(1), ..settings(url) };
    Sqs::new(&server.sdk_config(), &settings)
}

#[tokio::test]
async fn every_entry_of_a_delete_has_its_answer() {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let queue = queue(&server.sdk_config(), &url);
    send(&server.sdk_config(), &url, &[("a", None), ("b", None), ("c", None)]).await;
    let receipts = receipts(&receive(&queue, 3).await);

    let delete = Operation::DeleteMessageBatch;
    server.faults().set(delete, When::Nth(1), Fault::FailEntries { entries: vec![0], sender_fault: true });
    server.faults().set(delete, When::Nth(2), Fault::FailEntries { entries: vec![1, 2], sender_fault: false });
    server.faults().set(delete, When::Nth(3), Fault::LeaveOut(vec![1]));
    let answers = queue.delete(&receipts).await.unwrap();
    assert!(matches!(answers[..], [Settled::Gone(_), Settled::Done, Settled::Done]), "{answers:?}");
    let answers = queue.delete(&receipts).await.unwrap();
    assert!(matches!(answers[..], [Settled::Done, Settled::Again(_), Settled::Again(_)]), "{answers:?}");
    let answers = queue.delete(&receipts).await.unwrap();
    assert!(matches!(answers[..], [Settled::Done, Settled::Again(_), Settled::Done]), "{answers:?}");
}

#[tokio::test]
async fn every_entry_of_a_visibility_change_has_its_answer() {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let queue = queue(&server.sdk_config(), &url);
    send(&server.sdk_config(), &url, &[("a", None), ("b", None), ("c", None)]).await;
    let receipts = receipts(&receive(&queue, 3).await);
    let visibility = Operation::ChangeMessageVisibilityBatch;
    server.faults().set(visibility, When::Nth(1), Fault::FailEntries { entries: vec![2], sender_fault: true });
    server.faults().set(visibility, When::Nth(2), Fault::FailEntries { entries: vec![0, 1, 2], sender_fault: false });
    let minute = Duration::from_mins(1);
    let answers = queue.set_visibility(&receipts, minute).await.unwrap();
    assert!(matches!(answers[..], [Settled::Done, Settled::Done, Settled::Gone(_)]), "{answers:?}");
    let answers = queue.set_visibility(&receipts, minute).await.unwrap();
    assert!(matches!(answers[..], [Settled::Again(_), Settled::Again(_), Settled::Again(_)]), "{answers:?}");
    // Without a fault: the server itself says that a deleted message is not in flight.
    queue.delete(&receipts[..1]).await.unwrap();
    let answers = queue.set_visibility(&receipts, minute).await.unwrap();
    assert!(matches!(answers[..], [Settled::Gone(_), Settled::Done, Settled::Done]), "{answers:?}");
}

#[tokio::test]
async fn every_entry_of_a_send_has_its_answer() {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let producer = Producer::new(&server.sdk_config(), &settings(&url));
    let messages: Vec<Outgoing> =
        (0..4).map(|n| Outgoing { body: n.to_string(), group: None, deduplication_id: None }).collect();
    let send = Operation::SendMessageBatch;
    server.faults().set(send, When::Nth(1), Fault::FailEntries { entries: vec![1], sender_fault: true });
    server.faults().set(send, When::Nth(2), Fault::FailEntries { entries: vec![3], sender_fault: false });
    server.faults().set(send, When::Nth(3), Fault::LeaveOut(vec![0]));
    server.faults().set(send, When::Nth(4), Fault::THROTTLED);
    server.faults().set(send, When::Nth(5), Fault::ACCESS_DENIED);
    server.faults().set(send, When::Nth(6), Fault::LoseReply);
    let answers = producer.send(&messages).await;
    assert!(matches!(answers[..], [Sent::Done, Sent::Rejected(_), Sent::Done, Sent::Done]), "{answers:?}");
    let answers = producer.send(&messages).await;
    assert!(matches!(answers[..], [Sent::Done, Sent::Done, Sent::Done, Sent::Again(_)]), "{answers:?}");
    let answers = producer.send(&messages).await;
    assert!(matches!(answers[..], [Sent::Unknown(_), Sent::Done, Sent::Done, Sent::Done]), "{answers:?}");
    let one = &messages[..1];
    assert!(matches!(producer.send(one).await[..], [Sent::Again(_)]));
    assert!(matches!(producer.send(one).await[..], [Sent::Refused(_)]));
    assert!(matches!(producer.send(one).await[..], [Sent::Unknown(_)]));
    server.stop().await;
    let answers = producer.send(one).await;
    assert!(matches!(answers[..], [Sent::Again(_)]), "a refused connection has sent nothing: {answers:?}");
}

#[tokio::test]
async fn failed_calls_have_their_class() {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let queue = queue(&server.sdk_config(), &url);
    let rows = [
        (Fault::THROTTLED, InboxErrorClass::Throttled),
        (Fault::OVER_LIMIT, InboxErrorClass::Throttled),
        (Fault::Error { code: "ThrottlingException", status: 400 }, InboxErrorClass::Throttled),
        (Fault::ACCESS_DENIED, InboxErrorClass::Refused),
        (Fault::Error { code: "InvalidSecurity", status: 403 }, InboxErrorClass::Refused),
        (Fault::Error { code: "InvalidClientTokenId", status: 403 }, InboxErrorClass::Refused),
        (Fault::INTERNAL, InboxErrorClass::Away),
        (Fault::Error { code: "ServiceUnavailable", status: 503 }, InboxErrorClass::Away),
        (Fault::Break, InboxErrorClass::Away),
    ];
    for (fault, class) in rows {
        let text = format!("{fault:?}");
        server.faults().set(Operation::ReceiveMessage, When::First(1), fault);
        let error = queue.receive(10, Duration::ZERO).await.expect_err(&text);
        assert_eq!(error.class, class, "{text}: {error}");
        server.faults().clear();
    }
    // The SDK itself tried nothing again.
    assert_eq!(server.faults().calls(Operation::ReceiveMessage), 9);
}

#[tokio::test]
async fn calls_that_hang_end_by_their_timeout() {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let queue = hasty(&server, &url);
    send(&server.sdk_config(), &url, &[("a", None)]).await;
    server.faults().set(Operation::ReceiveMessage, When::First(2), Fault::Hang);
    server.faults().set(Operation::DeleteMessageBatch, When::First(1), Fault::Hang);
    for wait in [0, 1] {
        let hanging = timeout(NEVER, queue.receive(10, Duration::from_secs(wait))).await;
        assert_eq!(hanging.expect("it ends").unwrap_err().class, InboxErrorClass::Away);
    }
    let receipts = receipts(&receive(&queue, 1).await);
    let hanging = timeout(NEVER, queue.delete(&receipts)).await;
    assert_eq!(hanging.expect("it ends").unwrap_err().class, InboxErrorClass::Away);
    assert_eq!(queue.delete(&receipts).await.unwrap(), [Settled::Done]);
}

#[tokio::test]
async fn long_poll_may_take_its_wait_and_more() {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let queue = hasty(&server, &url);
    // Longer than a delete may take: the timeout of a receive counts from the end of its wait.
    server.faults().set(Operation::ReceiveMessage, When::First(1), Fault::Delay(Duration::from_millis(1_500)));
    send(&server.sdk_config(), &url, &[("a", None)]).await;
    assert_eq!(queue.receive(10, Duration::from_secs(2)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn away_and_back_loses_nothing() {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let queue = queue(&server.sdk_config(), &url);
    send(&server.sdk_config(), &url, &[("a", None)]).await;
    server.stop().await;
    let error = queue.receive(10, Duration::ZERO).await.unwrap_err();
    assert_eq!(error.class, InboxErrorClass::Away, "{error}");
    assert_eq!(server.counts(&url).await, Counts { visible: 1, in_flight: 0, delayed: 0 });
    server.restart().await;
    let deliveries = receive(&queue, 1).await;
    assert_eq!(bodies(&deliveries), ["a"]);
    assert_eq!(server.counts(&url).await, Counts { visible: 0, in_flight: 1, delayed: 0 });
}

#[tokio::test]
async fn endpoint_counts_and_not_the_host_of_the_url() {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let elsewhere = "https://sqs.eu-central-1.amazonaws.com/000000000000/orders";
    send(&server.sdk_config(), elsewhere, &[("a", None)]).await;
    assert_eq!(server.counts(&url).await.visible, 1);
    assert_eq!(bodies(&receive(&queue(&server.sdk_config(), elsewhere), 1).await), ["a"]);
}

#[tokio::test]
async fn cut_connection_ends_a_long_poll() {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let queue = queue(&server.sdk_config(), &url);
    let polling = tokio::spawn({
        let queue = queue.clone();
        async move { queue.receive(10, Duration::from_secs(20)).await }
    });
    until(|| server.faults().calls(Operation::ReceiveMessage) == 1).await;
    server.cut_connections();
    let cut = timeout(NEVER, polling).await.expect("it ends").unwrap();
    assert_eq!(cut.unwrap_err().class, InboxErrorClass::Away);
}

#[tokio::test]
async fn same_message_may_come_again_after_its_delete() {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    let queue = queue(&server.sdk_config(), &url);
    send(&server.sdk_config(), &url, &[("a", None)]).await;
    server.faults().set(Operation::ReceiveMessage, When::First(1), Fault::DeliverAgain);
    let first = receive(&queue, 1).await;
    assert_eq!(queue.delete(&receipts(&first)).await.unwrap(), [Settled::Done]);
    let second = receive(&queue, 1).await;
    assert_eq!(second[0].message_id, first[0].message_id);
}

#[tokio::test]
async fn lost_reply_of_a_fifo_receive_is_asked_for_again() {
    let server = Rustack::start().await;
    let url = server.create_fifo_queue("orders.fifo").await;
    let queue = queue(&server.sdk_config(), &url);
    send(&server.sdk_config(), &url, &[("a", Some("c1")), ("b", Some("c2"))]).await;
    server.faults().set(Operation::ReceiveMessage, When::Nth(1), Fault::LoseReply);
    server.faults().set(Operation::ReceiveMessage, When::Nth(2), Fault::THROTTLED);
    let error = queue.receive(10, Duration::ZERO).await.unwrap_err();
    assert_eq!(error.class, InboxErrorClass::Away, "{error}");
    assert_eq!(server.counts(&url).await.in_flight, 2, "SQS carried it out");
    // They are invisible for 30 s, and come at once to who asks under the same name.
    let mut deliveries = queue.receive(10, Duration::ZERO).await.unwrap();
    deliveries.sort_by(|a, b| a.body.cmp(&b.body));
    assert_eq!(bodies(&deliveries), ["a", "b"]);
    assert_eq!(queue.receive(10, Duration::ZERO).await.unwrap(), []);
    let ids = server.faults().attempt_ids();
    assert_eq!(ids.len(), 3);
    assert_eq!(ids[0], ids[1], "the lost receive is asked for under its name");
    assert_ne!(ids[1], ids[2], "an answered one is not");
}

#[tokio::test]
async fn standard_queue_knows_no_attempt_ids() {
    let server = Rustack::start().await;
    let url = server.create_queue("orders").await;
    assert_eq!(queue(&server.sdk_config(), &url).receive(10, Duration::ZERO).await.unwrap(), []);
    assert_eq!(server.faults().attempt_ids(), Vec::<String>::new());
}

#[tokio::test]
async fn sequence_numbers_may_exceed_64_bits() {
    let server = Rustack::start().await;
    let url = server.create_fifo_queue("orders.fifo").await;
    let queue = queue(&server.sdk_config(), &url);
    send(&server.sdk_config(), &url, &[("a", Some("c1")), ("b", Some("c1"))]).await;
    let raised = 1 << 100;
    server.faults().set(Operation::ReceiveMessage, When::Always, Fault::RaiseSequenceNumbers(raised));
    let first = receive(&queue, 1).await;
    queue.delete(&receipts(&first)).await.unwrap();
    let second = receive(&queue, 1).await;
    let numbers = [&first, &second].map(|deliveries| deliveries[0].sequence_number.expect("a FIFO queue numbers"));
    assert!(raised < numbers[0] && numbers[0] < numbers[1], "{numbers:?}");
}

#[tokio::test]
async fn redrive_policy_is_described() {
    let server = Rustack::start().await;
    server.create_fifo_queue("dead.fifo").await;
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead.fifo","maxReceiveCount":7}"#;
    let attributes = [
        ("FifoQueue", "true"),
        ("ContentBasedDeduplication", "true"),
        ("RedrivePolicy", policy),
        ("MessageRetentionPeriod", "1209600"),
        ("VisibilityTimeout", "45"),
    ];
    let url = server.create_queue_with("orders.fifo", &attributes).await;
    let facts = queue(&server.sdk_config(), &url).describe().await.unwrap();
    assert!(facts.fifo && facts.content_based_deduplication, "{facts:?}");
    assert_eq!((facts.max_receive_count, facts.retention, facts.visibility_timeout), (Some(7), 1_209_600, 45));
}

/// Polls until it holds, for at most 10 s.
async fn until(holds: impl Fn() -> bool) {
    timeout(Duration::from_secs(10), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it comes to hold");
}
