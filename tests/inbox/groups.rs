//! Message groups on ministack, which hands out several messages of one group in one receive, as SQS does.

use std::time::Duration;

use millrace::inbox::{Delivery, Inbox as _, Settled};

use super::{assert_quiet, bodies, queue, receipts, receive, send};
use crate::servers::ministack::Ministack;

#[tokio::test]
async fn messages_of_a_group_come_in_order_in_one_receive() {
    let server = Ministack::connect();
    let url = server.create_fifo_queue("groups").await;
    let (sdk, queue) = (server.sdk_config(), queue(&server.sdk_config(), &url));
    send(&sdk, &url, &[("a1", Some("a")), ("b1", Some("b")), ("a2", Some("a")), ("a3", Some("a"))]).await;
    let deliveries = queue.receive(10, Duration::from_secs(2)).await.unwrap();
    assert_eq!(bodies(&deliveries).len(), 4, "{deliveries:?}");
    let of_a: Vec<&Delivery> = deliveries.iter().filter(|delivery| delivery.group.as_deref() == Some("a")).collect();
    assert_eq!(of_a.iter().map(|delivery| delivery.body.as_str()).collect::<Vec<_>>(), ["a1", "a2", "a3"]);
    assert!(of_a.is_sorted_by_key(|delivery| delivery.sequence_number.expect("a FIFO queue numbers")), "{of_a:?}");
}

#[tokio::test]
async fn group_stands_still_until_its_messages_are_settled() {
    let server = Ministack::connect();
    let url = server.create_fifo_queue("groups").await;
    let (sdk, queue) = (server.sdk_config(), queue(&server.sdk_config(), &url));
    send(&sdk, &url, &[("a1", Some("a")), ("a2", Some("a"))]).await;
    let first = queue.receive(1, Duration::from_secs(2)).await.unwrap();
    assert_eq!(bodies(&first), ["a1"]);
    assert_quiet(&queue, 1).await;

    // Handed back, it comes again before its followers.
    assert_eq!(queue.set_visibility(&receipts(&first), Duration::ZERO).await.unwrap(), [Settled::Done]);
    let again = queue.receive(1, Duration::from_secs(2)).await.unwrap();
    assert_eq!(bodies(&again), ["a1"]);
    assert_eq!(again[0].sequence_number, first[0].sequence_number);
    assert_quiet(&queue, 1).await;

    assert_eq!(queue.delete(&receipts(&again)).await.unwrap(), [Settled::Done]);
    assert_eq!(bodies(&receive(&queue, 1).await), ["a2"]);
}

#[tokio::test]
async fn stale_handle_is_gone_and_its_neighbours_are_done() {
    let server = Ministack::connect();
    let url = server.create_queue("stale").await;
    let (sdk, queue) = (server.sdk_config(), queue(&server.sdk_config(), &url));
    send(&sdk, &url, &[("a", None)]).await;
    let stale = receipts(&receive(&queue, 1).await);
    queue.set_visibility(&stale, Duration::ZERO).await.unwrap();
    let fresh = receipts(&receive(&queue, 1).await);
    let both = [stale, fresh].concat();
    let answers = queue.set_visibility(&both, Duration::from_mins(1)).await.unwrap();
    assert!(matches!(answers[..], [Settled::Gone(_), Settled::Done]), "{answers:?}");
    let answers = queue.delete(&both).await.unwrap();
    assert!(matches!(answers[..], [Settled::Gone(_), Settled::Done]), "{answers:?}");
}

#[tokio::test]
async fn fifo_queue_describes_itself() {
    let server = Ministack::connect();
    let url = server.create_fifo_queue("facts").await;
    let facts = queue(&server.sdk_config(), &url).describe().await.unwrap();
    assert!(facts.fifo && !facts.content_based_deduplication, "{facts:?}");
}
