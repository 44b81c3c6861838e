//! Orders for tests.

use std::sync::Arc;

use millrace::backlog::Spooled;
use millrace::order::{CustomerId, Digest, Entry, EntryId, Malformed, Ordering, Rank};

pub(crate) fn customer(name: &str) -> CustomerId {
    CustomerId::new(name)
}

/// The order `{customer}-{rank}`.
pub(crate) fn order(customer: &str, rank: Rank) -> Spooled {
    named(&format!("{customer}-{rank}"), customer, rank)
}

/// An order of any name.
pub(crate) fn named(id: &str, customer: &str, rank: Rank) -> Spooled {
    selling(id, customer, rank, 2)
}

/// An order of so many bolts.
pub(crate) fn selling(id: &str, customer: &str, rank: Rank, bolts: u32) -> Spooled {
    let body = format!(
        r#"{{"order_id":"{id}","customer_id":"{customer}","placed_at":"2026-11-22T10:00:00Z","currency":"EUR",
            "lines":[{{"sku":"bolt","quantity":{bolts},"unit_price_minor":250}}],"note":"✉ “as it came” \u0041"}}"#
    );
    let entry = Entry::from_message(Ordering::None, "m", None, body);
    assert!(matches!(entry, Entry::Order(_)), "{entry:?}");
    Spooled {
        rank,
        entry: Arc::new(entry),
        message_id: format!("message-of-{id}"),
        sent_at_ms: Some(1_700_000_000_000),
    }
}

/// The orders `from..=to` of a customer.
pub(crate) fn orders(customer: &str, from: Rank, to: Rank) -> Vec<Spooled> {
    (from..=to).map(|rank| order(customer, rank)).collect()
}

/// A message that is no order.
pub(crate) fn malformed(message_id: &str, group: Option<&str>, rank: Rank, body: &str) -> Spooled {
    let entry = Entry::from_message(Ordering::Fifo, message_id, group, body.to_owned());
    assert!(matches!(entry, Entry::Malformed(_)), "{entry:?}");
    Spooled { rank, entry: Arc::new(entry), message_id: message_id.to_owned(), sent_at_ms: None }
}

/// As no decoder says it.
pub(crate) fn with_reason(message_id: &str, reason: &str) -> Spooled {
    let entry = Entry::Malformed(Malformed {
        id: EntryId::new(format!("!{message_id}")),
        group: None,
        reason: reason.to_owned(),
        body: "\0".into(),
        digest: Digest([7; 32]),
    });
    Spooled { rank: 0, entry: Arc::new(entry), message_id: message_id.to_owned(), sent_at_ms: None }
}
