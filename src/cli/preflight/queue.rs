//! Whether the queue fits what is asked of it.

use std::time::Duration;

use super::Finding;
use crate::config::{Config, redacted};
use crate::inbox::QueueFacts;
use crate::order::{MAX_BODY_BYTES, Ordering};

/// The longest that SQS keeps a message, in seconds.
const RETENTION_MAX: u64 = 14 * 24 * 3600;

/// A redrive policy below this count meets innocent orders: every deploy and every outage is a receive.
const RECEIVES_MIN: u32 = 100;

/// Judges the queue's own attributes.
#[must_use]
pub fn judge(config: &Config, facts: &QueueFacts) -> Vec<Finding> {
    let about = format!(
        "{}: {} waiting, {} in flight, {} delayed",
        redacted(&config.inbox.queue_url),
        facts.visible,
        facts.not_visible,
        facts.delayed
    );
    vec![
        Finding::ok("queue", about),
        ordering(config, facts),
        redrive(config, facts),
        retention(config, facts),
        Finding::ok(
            "visibility",
            format!(
                "the queue's own is {}s; receives ask for inbox.visibility_timeout = {:?}",
                facts.visibility_timeout, config.inbox.visibility_timeout
            ),
        ),
        size(facts),
    ]
}

fn ordering(config: &Config, facts: &QueueFacts) -> Finding {
    let kind = if facts.fifo { "a FIFO queue" } else { "a standard queue" };
    match config.inbox.ordering {
        Ordering::Fifo if !facts.fifo => Finding::refused(
            "ordering",
            format!("inbox.ordering = fifo, and inbox.queue_url is {kind}, which keeps no order"),
            "number the orders and use gapless, or use a FIFO queue",
        ),
        Ordering::None => Finding::warn(
            "ordering",
            format!("inbox.ordering = none on {kind}"),
            "nothing to do, if nobody needs a customer's orders in order",
        ),
        ordering => Finding::ok("ordering", format!("{ordering} on {kind}")),
    }
}

fn redrive(config: &Config, facts: &QueueFacts) -> Finding {
    let Some(count) = facts.max_receive_count else {
        return Finding::ok("redrive", "no redrive policy: what cannot commit goes to the ledger's quarantine");
    };
    let found = format!("maxReceiveCount = {count}");
    if count >= RECEIVES_MIN || config.inbox.ordering == Ordering::None {
        return Finding::ok("redrive", found);
    }
    let why = "every deploy and outage counts as a receive, so innocent orders would go to the dead-letter queue";
    if config.inbox.allow_redrive {
        return Finding::warn("redrive", format!("{found}, and inbox.allow_redrive = true"), why);
    }
    Finding::refused(
        "redrive",
        format!("{found}, and inbox.ordering = {}: {why}", config.inbox.ordering),
        "remove the redrive policy, or set maxReceiveCount to 100 or more, or inbox.allow_redrive = true",
    )
}

fn retention(config: &Config, facts: &QueueFacts) -> Finding {
    let hold_max = config.inbox.hold_max;
    let found = format!("the queue keeps messages for {}", days(facts.retention));
    if Duration::from_secs(facts.retention) <= hold_max {
        return Finding::refused(
            "retention",
            format!("{found}, which is not above inbox.hold_max = {hold_max:?}"),
            "set MessageRetentionPeriod to 1209600 (14 days)",
        );
    }
    if facts.retention < RETENTION_MAX {
        let remedy = "set MessageRetentionPeriod to 1209600 (14 days): SQS keeps the orders while the ledger is away";
        return Finding::warn("retention", found, remedy);
    }
    Finding::ok("retention", found)
}

fn days(seconds: u64) -> String {
    match (seconds / 86_400, seconds % 86_400 / 3600) {
        (0, hours) => format!("{hours} hours"),
        (days, 0) => format!("{days} days"),
        (days, hours) => format!("{days} days and {hours} hours"),
    }
}

fn size(facts: &QueueFacts) -> Finding {
    let found =
        format!("the queue takes messages of {} bytes, an order has at most {MAX_BODY_BYTES}", facts.max_message_bytes);
    if facts.max_message_bytes > MAX_BODY_BYTES as u64 {
        return Finding::warn("size", found, "set MaximumMessageSize to 262144: larger messages go to quarantine");
    }
    Finding::ok("size", found)
}
