//! Sending to the queue: for `millrace submit`, the demo and the benches. The engine itself never sends.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use super::{BATCH_MAX, Failed, answer_of, bounded, client, entry_error, environment, is_fifo, is_final};
use crate::config;
use crate::inbox::{InboxError, InboxErrorClass};

/// The most bytes of bodies in one request. Newer queues take more; this much every queue takes.
const REQUEST_BYTES: usize = 256 * 1024;

/// Sends to one queue. Clones share one client.
#[derive(Debug, Clone)]
pub struct Producer {
    client: Client,
    url: Arc<str>,
    attempt_timeout: Duration,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outgoing {
    /// The body.
    pub body: String,
    /// The message group; a FIFO queue demands it.
    pub group: Option<String>,
    /// On a FIFO queue SQS drops a message whose deduplication id it has seen in the last five minutes.
    pub deduplication_id: Option<String>,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sent {
    /// It is in the queue.
    Done,
    /// It is not in the queue, and may be sent again.
    Again(String),
    /// Nobody knows: the answer did not come. Sent again it may be in the queue twice.
    Unknown(String),
    /// SQS never takes this message.
    Rejected(String),
    /// The queue does not exist or refuses us: it takes no message of ours.
    Refused(String),
}

impl Producer {
    /// A producer with the AWS settings of the SDK's own chain.
    ///
    /// # Errors
    ///
    /// The chain knows no region.
    pub async fn from_environment(inbox: &config::Inbox) -> Result<Self, InboxError> {
        Ok(Self::new(&environment().await?, inbox))
    }

    /// A producer with the given AWS settings. Opens no connection yet.
    #[must_use]
    pub fn new(sdk: &SdkConfig, inbox: &config::Inbox) -> Self {
        Self {
            client: client(sdk, inbox.attempt_timeout),
            url: inbox.queue_url.as_str().into(),
            attempt_timeout: inbox.attempt_timeout,
        }
    }

    /// The URL of the queue.
    #[must_use]
    pub fn queue_url(&self) -> &str {
        &self.url
    }

    /// Whether the queue is FIFO.
    #[must_use]
    pub fn is_fifo(&self) -> bool {
        is_fifo(&self.url)
    }

    /// Sends all messages, one request after the other, and answers for each of them in its order.
    pub async fn send<M: Borrow<Outgoing>>(&self, messages: &[M]) -> Vec<Sent> {
        let mut answers = Vec::with_capacity(messages.len());
        let mut rest = messages;
        while !rest.is_empty() {
            let (request, later) = rest.split_at(request_len(rest.iter().map(|message| message.borrow().body.len())));
            answers.extend(self.send_request(request).await);
            rest = later;
        }
        answers
    }

    async fn send_request<M: Borrow<Outgoing>>(&self, messages: &[M]) -> Vec<Sent> {
        let entries = messages.iter().enumerate().map(|(index, message)| {
            let message = message.borrow();
            SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(&message.body)
                .set_message_group_id(message.group.clone())
                .set_message_deduplication_id(message.deduplication_id.clone())
                .build()
                .expect("id and body are set")
        });
        let call = self.client.send_message_batch().queue_url(&*self.url).set_entries(Some(entries.collect())).send();
        let answer = match bounded("SendMessageBatch", self.attempt_timeout, call).await {
            Ok(answer) => answer,
            Err(failed) => return vec![of_all(failed); messages.len()],
        };
        let mut answers = vec![Sent::Unknown("SQS did not answer this entry".to_owned()); messages.len()];
        for entry in &answer.successful {
            if let Some(answer) = answer_of(&mut answers, &entry.id) {
                *answer = Sent::Done;
            }
        }
        for entry in &answer.failed {
            if let Some(answer) = answer_of(&mut answers, &entry.id) {
                let text = entry_error(entry);
                *answer = if is_final(entry) { Sent::Rejected(text) } else { Sent::Again(text) };
            }
        }
        answers
    }
}

/// What the failure of a whole request means for each of its messages.
fn of_all(Failed { error, unsent }: Failed) -> Sent {
    match error.class {
        InboxErrorClass::Throttled => Sent::Again(error.message),
        InboxErrorClass::Refused => Sent::Refused(error.message),
        InboxErrorClass::Away if unsent => Sent::Again(error.message),
        InboxErrorClass::Away => Sent::Unknown(error.message),
    }
}

/// How many of the next bodies fit into one request, by number and bytes: at least one.
pub fn request_len(body_lengths: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fit = body_lengths
        .take(BATCH_MAX)
        .take_while(|length| {
            bytes += length;
            bytes <= REQUEST_BYTES
        })
        .count();
    fit.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_holds_ten_bodies_and_256_kib() {
        assert_eq!(request_len([1; 25].into_iter()), 10);
        assert_eq!(request_len([100 * 1024; 10].into_iter()), 2);
        assert_eq!(request_len([128 * 1024; 10].into_iter()), 2);
        // SQS decides about a body that is too large alone.
        assert_eq!(request_len([300 * 1024, 1].into_iter()), 1);
    }
}
