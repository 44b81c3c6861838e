//! The inbox: where order messages come from. This file is the promise; `inbox/sqs.rs` keeps it over SQS.
//!
//! What always holds:
//!
//! - A message that was received and not deleted comes back after its visibility timeout, or at once after
//!   [`Inbox::set_visibility`] with zero. Nothing that the engine forgets is lost (I3).
//! - The same message may come again at any time, even after it was deleted.
//! - Every entry of a batch gets its own answer, in the order in which it was asked.

use std::future::Future;
use std::time::Duration;

pub mod backlog;
pub mod sqs;

/// A queue of order messages.
pub trait Inbox: Clone + Send + Sync + 'static {
    /// Waits for at most `max` messages (of SQS: 1 to 10), for at most `wait`. Empty after a quiet wait. On a FIFO queue
    /// the messages of one group come in their order. Received messages are invisible for the queue's
    /// [`visibility timeout`](crate::config::Inbox::visibility_timeout), counted from before the call.
    ///
    /// # Cancel safety
    ///
    /// A cancelled call may strand messages until their visibility timeout; the engine lets it finish.
    fn receive(&self, max: u32, wait: Duration) -> impl Future<Output = Result<Vec<Delivery>, InboxError>> + Send;

    /// Deletes messages (of SQS: at most 10). Call only when their orders are durable.
    fn delete(&self, receipts: &[Receipt]) -> impl Future<Output = Result<Vec<Settled>, InboxError>> + Send;

    /// Makes messages (of SQS: at most 10) invisible for `timeout` from now; zero hands them back at once.
    fn set_visibility(
        &self,
        receipts: &[Receipt],
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<Settled>, InboxError>> + Send;
}

/// The handle of one delivery, by which it is deleted or made visible.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// One delivery of one message. The same message may be delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// SQS's name of the message, the same at every delivery.
    pub message_id: String,
    /// The handle of this delivery.
    pub receipt: Receipt,
    /// What was sent.
    pub body: String,
    /// The message group of a FIFO queue (or of a fair standard queue, where it means nothing to us).
    pub group: Option<String>,
    /// SQS's `SequenceNumber` on a FIFO queue: up to 39 digits.
    pub sequence_number: Option<u128>,
    /// When it was sent, in milliseconds since 1970, by SQS's clock.
    pub sent_at_ms: Option<i64>,
    /// About how often it was delivered, this time included. Not an attempt count: deploys and outages count too.
    pub receive_count: u32,
}

/// The answer to one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Settled {
    /// Done.
    Done,
    /// SQS could not do it now; try again.
    Again(String),
    /// SQS will never do it: the handle is stale, or the message is gone. Redelivery and the ledger sort it out.
    Gone(String),
}

/// What the caller does about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InboxErrorClass {
    /// Too many requests or too many messages in flight: back off.
    Throttled,
    /// No answer in time, no connection, or an error of the service: back off.
    Away,
    /// The queue does not exist or refuses us: back off and alarm.
    Refused,
}

impl InboxErrorClass {
    /// The label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            InboxErrorClass::Throttled => "throttled",
            InboxErrorClass::Away => "away",
            InboxErrorClass::Refused => "refused",
        }
    }
}

/// A call to the queue that failed as a whole. Its outcome is unknown, which is safe: receives come back, deletes
/// and visibility changes may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("inbox ({}): {message}", class.label())]
pub struct InboxError {
    /// What to do.
    pub class: InboxErrorClass,
    /// What happened.
    pub message: String,
}

/// What the queue says of itself, for the checks at start.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct QueueFacts {
    /// Its ARN.
    pub arn: String,
    /// When it was created, in seconds since 1970. With the ARN it names the queue for good.
    pub created_at: i64,
    /// Whether it is a FIFO queue.
    pub fifo: bool,
    /// Whether SQS takes the body for the deduplication id of a message that has none (FIFO only).
    pub content_based_deduplication: bool,
    /// Its own visibility timeout in seconds; every receive asks for the configured one.
    pub visibility_timeout: u64,
    /// How long it keeps a message, in seconds.
    pub retention: u64,
    /// After how many receives its redrive policy moves a message to the dead-letter queue; `None` without a policy.
    pub max_receive_count: Option<u32>,
    /// The largest message that it takes, in bytes.
    pub max_message_bytes: u64,
    /// About how many messages wait.
    pub visible: u64,
    /// About how many messages are in flight.
    pub not_visible: u64,
    /// About how many messages are delayed by their sender.
    pub delayed: u64,
}
