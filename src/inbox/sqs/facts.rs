//! What SQS says about a queue.

use std::collections::HashMap;

use aws_sdk_sqs::types::QueueAttributeName as Name;

use crate::inbox::{InboxError, InboxErrorClass, QueueFacts};

/// Reads the answer of `GetQueueAttributes`.
pub(super) fn read(attributes: &HashMap<Name, String>) -> Result<QueueFacts, InboxError> {
    let flag = |name| attributes.get(&name).is_some_and(|value| value == "true");
    Ok(QueueFacts {
        arn: attributes.get(&Name::QueueArn).cloned().ok_or_else(|| wrong(&Name::QueueArn, "nothing"))?,
        created_at: number(attributes, &Name::CreatedTimestamp)?,
        fifo: flag(Name::FifoQueue),
        content_based_deduplication: flag(Name::ContentBasedDeduplication),
        visibility_timeout: number(attributes, &Name::VisibilityTimeout)?,
        retention: number(attributes, &Name::MessageRetentionPeriod)?,
        max_receive_count: attributes.get(&Name::RedrivePolicy).map(|policy| max_receive_count(policy)).transpose()?,
        max_message_bytes: number(attributes, &Name::MaximumMessageSize)?,
        visible: number(attributes, &Name::ApproximateNumberOfMessages)?,
        not_visible: number(attributes, &Name::ApproximateNumberOfMessagesNotVisible)?,
        delayed: number(attributes, &Name::ApproximateNumberOfMessagesDelayed)?,
    })
}

fn number<T: std::str::FromStr>(attributes: &HashMap<Name, String>, name: &Name) -> Result<T, InboxError> {
    let value = attributes.get(name).map_or("nothing", String::as_str);
    value.parse().map_err(|_| wrong(name, value))
}

/// SQS takes and gives the count as a number or as a string.
fn max_receive_count(policy: &str) -> Result<u32, InboxError> {
    serde_json::from_str::<serde_json::Value>(policy)
        .ok()
        .and_then(|policy| match policy.get("maxReceiveCount")? {
            serde_json::Value::String(text) => text.parse().ok(),
            value => value.as_u64().and_then(|count| count.try_into().ok()),
        })
        .ok_or_else(|| wrong(&Name::RedrivePolicy, policy))
}

fn wrong(name: &Name, value: &str) -> InboxError {
    InboxError {
        class: InboxErrorClass::Away,
        message: format!("GetQueueAttributes: {} is {value}, which cannot be", name.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_receive_count_is_a_number_or_a_string() {
        assert_eq!(max_receive_count(r#"{"deadLetterTargetArn":"a","maxReceiveCount":1000}"#), Ok(1000));
        assert_eq!(max_receive_count(r#"{"deadLetterTargetArn":"a","maxReceiveCount":"5"}"#), Ok(5));
        for wrong in ["", "{}", r#"{"maxReceiveCount":-1}"#, r#"{"maxReceiveCount":"many"}"#] {
            assert!(max_receive_count(wrong).is_err(), "{wrong}");
        }
    }
}
