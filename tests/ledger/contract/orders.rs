//! Orders for tests.

use std::sync::Arc;

use millrace::ledger::{Case, CaseKind, Placed, Run};
use millrace::order::{CustomerId, Digest, Entry, EntryId, Malformed, Order, Ordering, Rank};

pub(crate) fn customer(name: &str) -> CustomerId {
    CustomerId::new(name)
}

/// The order `{customer}-{rank}`: one line, two of `bolt` at 250.
pub(crate) fn order(customer: &str, rank: Rank) -> Placed {
    named(&format!("{customer}-{rank}"), customer, rank)
}

/// An order of any name.
pub(crate) fn named(id: &str, customer: &str, rank: Rank) -> Placed {
    with_lines(id, customer, rank, r#"[{"sku":"bolt","quantity":2,"unit_price_minor":250}]"#)
}

/// The same name and place with another content.
pub(crate) fn other_content(placed: &Placed) -> Placed {
    let customer = placed.entry.customer().unwrap();
    let lines = r#"[{"sku":"nut","quantity":1,"unit_price_minor":1}]"#;
    with_lines(placed.entry.id().as_str(), customer.as_str(), placed.rank, lines)
}

/// The same message sent once more, as SQS numbers it.
pub(crate) fn resent(placed: &Placed, rank: Rank) -> Placed {
    Placed { rank, entry: Arc::clone(&placed.entry) }
}

/// A sequence is written where the rank can be one; `fifo` does not look at it.
pub(crate) fn with_lines(id: &str, customer: &str, rank: Rank, lines: &str) -> Placed {
    let sequence = i64::try_from(rank).ok().filter(|rank| *rank > 0);
    let sequence = sequence.map(|sequence| format!(r#""sequence":{sequence},"#)).unwrap_or_default();
    let body = format!(
        r#"{{"order_id":"{id}","customer_id":"{customer}",{sequence}"placed_at":"2026-11-22T10:00:00Z","currency":"EUR","lines":{lines}}}"#
    );
    decoded(rank, body)
}

/// The order of a body.
pub(crate) fn decoded(rank: Rank, body: String) -> Placed {
    let order = Order::decode(Ordering::None, body).expect("the test's own order is valid");
    Placed { rank, entry: Arc::new(Entry::Order(order)) }
}

/// A message that is no order.
pub(crate) fn malformed(message_id: &str, group: Option<&str>, rank: Rank) -> Placed {
    let entry = Entry::Malformed(Malformed {
        id: EntryId::new(format!("!{message_id}")),
        group: group.map(CustomerId::new),
        reason: "not an order: expected value".into(),
        body: format!("{{broken {message_id} ä"),
        digest: Digest([7; 32]),
    });
    Placed { rank, entry: Arc::new(entry) }
}

/// A run of orders of one customer.
pub(crate) fn run(orders: &[Placed]) -> Run {
    Run { customer: orders[0].entry.customer().unwrap().clone(), orders: orders.to_vec() }
}

/// The orders `from..=to` of a customer.
pub(crate) fn orders(customer: &str, from: Rank, to: Rank) -> Vec<Placed> {
    (from..=to).map(|rank| order(customer, rank)).collect()
}

/// It failed while it stood next.
pub(crate) fn poison(placed: &Placed) -> Case {
    Case { placed: placed.clone(), kind: CaseKind::Poison, reason: "a check failed".into(), blocks: true }
}

/// A case that blocks nobody.
pub(crate) fn harmless(placed: &Placed, kind: CaseKind) -> Case {
    Case { placed: placed.clone(), kind, reason: "its place belongs to another".into(), blocks: false }
}
