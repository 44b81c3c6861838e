//! The inbox over Amazon SQS.
//!
//! The SDK does not retry: the core backs off, and a hidden retry would hold a receive far longer than it was
//! told. Every call has two bounds: the SDK's own attempt timeout, and one around it, because the SDK's receive is
//! known to hang.
//!
//! Requests go to the endpoint of the SDK's configuration; of the queue's URL the server sees only the text. So a
//! URL that names another region than `AWS_REGION` ends in "queue does not exist".

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::StalledStreamProtectionConfig;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName,
};

use super::{Delivery, Inbox, InboxError, InboxErrorClass, QueueFacts, Receipt, Settled};
use crate::config;

mod attempts;
mod errors;
mod facts;
pub mod producer;

use attempts::Attempts;

/// The most entries of one request, and the most messages of one receive.
const BATCH_MAX: usize = 10;

/// The longest wait of a long poll, in seconds: SQS refuses more.
const WAIT_MAX: u64 = 20;

/// The longest visibility timeout, in seconds: SQS refuses more.
const VISIBILITY_MAX: u64 = 12 * 3600;

/// What the outer bound of a call waits beyond the SDK's own.
const NET: Duration = Duration::from_secs(1);

/// An SQS queue. Clones share one client.
#[derive(Debug, Clone)]
pub struct Sqs(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    client: Client,
    /// For receives, whose attempts may last longer by `inbox.wait`. A client of its own costs less than an override in
    /// each call.
    receiving: Client,
    url: String,
    /// Whole seconds, as SQS counts.
    visibility_timeout: i32,
    attempt_timeout: Duration,
    /// FIFO only: what a receive is called, so that a lost reply can be asked for again.
    attempts: Option<Attempts>,
}

impl Sqs {
    /// A queue with the AWS settings of the SDK's own chain: environment, profile, task role.
    ///
    /// # Errors
    ///
    /// The chain knows no region.
    pub async fn from_environment(inbox: &config::Inbox) -> Result<Self, InboxError> {
        Ok(Self::new(&environment().await?, inbox))
    }

    /// A queue with the given AWS settings. Opens no connection yet.
    #[must_use]
    pub fn new(sdk: &SdkConfig, inbox: &config::Inbox) -> Self {
        Self(Arc::new(Queue {
            client: client(sdk, inbox.attempt_timeout),
            receiving: client(sdk, inbox.wait + inbox.attempt_timeout),
            url: inbox.queue_url.clone(),
            visibility_timeout: whole_seconds(inbox.visibility_timeout),
            attempt_timeout: inbox.attempt_timeout,
            attempts: is_fifo(&inbox.queue_url).then(|| Attempts::new(inbox.visibility_timeout)),
        }))
    }

    /// Asks SQS what the queue is, for the checks at start.
    ///
    /// # Errors
    ///
    /// The call failed, or the answer lacks what every queue has.
    pub async fn describe(&self) -> Result<QueueFacts, InboxError> {
        let call = self
            .0
            .client
            .get_queue_attributes()
            .queue_url(&self.0.url)
            .attribute_names(aws_sdk_sqs::types::QueueAttributeName::All)
            .send();
        let answer = bounded("GetQueueAttributes", self.0.attempt_timeout, call).await?;
        facts::read(&answer.attributes.unwrap_or_default())
    }
}

impl Inbox for Sqs {
    /// SQS counts whole seconds: a part of a second of `wait` is cut off.
    async fn receive(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, InboxError> {
        let queue = &*self.0;
        let seconds = wait.as_secs().min(WAIT_MAX);
        let limit = Duration::from_secs(seconds) + queue.attempt_timeout;
        let attempt = queue.attempts.as_ref().map(Attempts::next);
        let call = queue
            .receiving
            .receive_message()
            .queue_url(&queue.url)
            .max_number_of_messages(i32::try_from(max.clamp(1, 10)).expect("10 fits"))
            .wait_time_seconds(i32::try_from(seconds).expect("20 fits"))
            .visibility_timeout(queue.visibility_timeout)
            .set_message_system_attribute_names(Some(vec![
                MessageSystemAttributeName::ApproximateReceiveCount,
                MessageSystemAttributeName::SentTimestamp,
                MessageSystemAttributeName::MessageGroupId,
                MessageSystemAttributeName::SequenceNumber,
            ]))
            .set_receive_request_attempt_id(attempt.as_ref().map(ToString::to_string))
            .send();
        match bounded("ReceiveMessage", limit, call).await {
            Ok(answer) => Ok(answer.messages.unwrap_or_default().into_iter().filter_map(delivery).collect()),
            Err(Failed { error, .. }) => {
                // Only then may SQS have handed out messages whose reply is lost.
                if let (InboxErrorClass::Away, Some(attempts), Some(attempt)) = (error.class, &queue.attempts, attempt)
                {
                    attempts.lost(attempt);
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<Vec<Settled>, InboxError> {
        debug_assert!(receipts.len() <= BATCH_MAX, "the core batches by ten");
        if receipts.is_empty() {
            return Ok(Vec::new());
        }
        let entries = receipts.iter().enumerate().map(|(index, Receipt(handle))| {
            DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(handle)
                .build()
                .expect("id and handle are set")
        });
        let call =
            self.0.client.delete_message_batch().queue_url(&self.0.url).set_entries(Some(entries.collect())).send();
        let answer = bounded("DeleteMessageBatch", self.0.attempt_timeout, call).await?;
        Ok(settled(receipts.len(), answer.successful.iter().map(|entry| entry.id.as_str()), answer.failed))
    }

    async fn set_visibility(&self, receipts: &[Receipt], timeout: Duration) -> Result<Vec<Settled>, InboxError> {
        debug_assert!(receipts.len() <= BATCH_MAX, "the core batches by ten");
        if receipts.is_empty() {
            return Ok(Vec::new());
        }
        let seconds = whole_seconds(timeout);
        let entries = receipts.iter().enumerate().map(|(index, Receipt(handle))| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(handle)
                .visibility_timeout(seconds)
                .build()
                .expect("id and handle are set")
        });
        let call = self
            .0
            .client
            .change_message_visibility_batch()
            .queue_url(&self.0.url)
            .set_entries(Some(entries.collect()))
            .send();
        let answer = bounded("ChangeMessageVisibilityBatch", self.0.attempt_timeout, call).await?;
        Ok(settled(receipts.len(), answer.successful.iter().map(|entry| entry.id.as_str()), answer.failed))
    }
}

/// The AWS settings of the SDK's own chain. Without a region every call would fail as if SQS were away.
async fn environment() -> Result<SdkConfig, InboxError> {
    let sdk = aws_config::defaults(BehaviorVersion::latest()).load().await;
    if sdk.region().is_none() {
        let message = "no AWS region: set AWS_REGION, or name one in the AWS profile".to_owned();
        return Err(InboxError { class: InboxErrorClass::Refused, message });
    }
    Ok(sdk)
}

/// Whether the queue is FIFO: SQS demands this end of the name, and forbids it for others.
fn is_fifo(queue_url: &str) -> bool {
    queue_url.strip_suffix(".fifo").is_some()
}

/// A client without retries whose attempts end after `attempt_timeout`.
fn client(sdk: &SdkConfig, attempt_timeout: Duration) -> Client {
    let config = aws_sdk_sqs::config::Builder::from(sdk)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(attempt_timeout).build())
        // Its work is done by the attempt timeout, for less.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// A failed call, and whether it certainly was not carried out.
#[derive(Debug)]
struct Failed {
    error: InboxError,
    unsent: bool,
}

impl From<Failed> for InboxError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// Runs one call under its outer bound, and says what a failure means.
async fn bounded<T, E>(
    operation: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, SdkError<E>>>,
) -> Result<T, Failed>
where
    E: std::error::Error + ProvideErrorMetadata + Into<aws_sdk_sqs::Error> + 'static,
{
    let net = limit + NET;
    let Ok(answer) = tokio::time::timeout(net, call).await else {
        let message = format!("{operation}: no answer within {:.1} s", net.as_secs_f64());
        return Err(Failed { error: InboxError { class: InboxErrorClass::Away, message }, unsent: false });
    };
    answer.map_err(|error| errors::explain(operation, error))
}

/// Rounds up, so that nothing comes back before it was asked to.
fn whole_seconds(duration: Duration) -> i32 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(seconds.min(VISIBILITY_MAX)).expect("12 hours fit")
}

/// One message as it came; the strings are moved, not copied.
fn delivery(message: Message) -> Option<Delivery> {
    let (Some(message_id), Some(handle)) = (message.message_id, message.receipt_handle) else {
        // It can be neither deleted nor named. SQS shows it again after its visibility timeout.
        tracing::error!("SQS delivered a message without id or receipt handle; it is left to redelivery");
        return None;
    };
    let mut attributes = message.attributes.unwrap_or_default();
    let mut attribute = |name| attributes.remove(&name);
    let sequence_number = attribute(MessageSystemAttributeName::SequenceNumber);
    let parsed = sequence_number.as_deref().and_then(|number| number.parse().ok());
    if let (Some(number), None) = (&sequence_number, parsed) {
        tracing::error!(message_id, number, "a SequenceNumber that is no number below 2^128");
    }
    Some(Delivery {
        message_id,
        receipt: Receipt(handle),
        body: message.body.unwrap_or_default(),
        group: attribute(MessageSystemAttributeName::MessageGroupId),
        sequence_number: parsed,
        sent_at_ms: attribute(MessageSystemAttributeName::SentTimestamp).and_then(|ms| ms.parse().ok()),
        receive_count: attribute(MessageSystemAttributeName::ApproximateReceiveCount)
            .and_then(|count| count.parse().ok())
            .unwrap_or(1),
    })
}

/// Puts the answers of a batch in the order of its entries, whose ids are their indices.
fn settled<'a>(
    entries: usize,
    successful: impl Iterator<Item = &'a str>,
    failed: Vec<BatchResultErrorEntry>,
) -> Vec<Settled> {
    let mut answers: Vec<Settled> =
        (0..entries).map(|_| Settled::Again("SQS did not answer this entry".to_owned())).collect();
    for id in successful {
        if let Some(answer) = answer_of(&mut answers, id) {
            *answer = Settled::Done;
        }
    }
    // An entry that is in both lists counts as failed: a needless repetition is harmless.
    for entry in failed {
        if let Some(answer) = answer_of(&mut answers, &entry.id) {
            let text = entry_error(&entry);
            *answer = if is_final(&entry) { Settled::Gone(text) } else { Settled::Again(text) };
        }
    }
    answers
}

fn answer_of<'a, T>(answers: &'a mut [T], id: &str) -> Option<&'a mut T> {
    id.parse::<usize>().ok().and_then(|index| answers.get_mut(index))
}

/// Whether SQS will never do it. That too many requests came is the sender's fault to AWS, and passes all the same.
fn is_final(entry: &BatchResultErrorEntry) -> bool {
    entry.sender_fault && !errors::is_throttling(&entry.code)
}

fn entry_error(entry: &BatchResultErrorEntry) -> String {
    match &entry.message {
        Some(message) => format!("{}: {message}", entry.code),
        None => entry.code.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use aws_sdk_sqs::operation::receive_message::{ReceiveMessageError, ReceiveMessageOutput};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn call_that_the_sdk_does_not_end_is_ended() {
        let limit = Duration::from_secs(25);
        let call = pending::<Result<ReceiveMessageOutput, SdkError<ReceiveMessageError>>>();
        let failed = bounded("ReceiveMessage", limit, call).await.expect_err("a failure");
        assert_eq!(failed.error.class, InboxErrorClass::Away);
        assert!(!failed.unsent);
    }

    #[test]
    fn throttled_entry_is_tried_again_whoever_is_to_blame() {
        let failed = |id: &str, code: &str, sender_fault| {
            BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender_fault).build().unwrap()
        };
        let entries = vec![
            failed("0", "RequestThrottled", true),
            failed("1", "ReceiptHandleIsInvalid", true),
            failed("2", "InternalError", false),
            // No entry of ours.
            failed("9", "InternalError", true),
            failed("x", "InternalError", true),
        ];
        let answers = settled(4, ["3", "1"].into_iter(), entries);
        assert!(
            matches!(answers[..], [Settled::Again(_), Settled::Gone(_), Settled::Again(_), Settled::Done]),
            "{answers:?}"
        );
    }

    #[test]
    fn seconds_are_rounded_up_and_bounded() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(30)), 30);
        assert_eq!(whole_seconds(Duration::from_hours(13)), 43_200);
    }
}
