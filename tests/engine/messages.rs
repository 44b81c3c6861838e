//! Order messages, and the randomness of their order.

use serde_json::{Value, json};

/// Order `sequence` of `customer`, named after both: one line.
pub(crate) fn order(customer: &str, sequence: u64) -> String {
    order_of(customer, sequence, &[("apple", 1)])
}

/// The same with lines of these SKUs and quantities.
pub(crate) fn order_of(customer: &str, sequence: u64, lines: &[(&str, u64)]) -> String {
    let lines: Vec<Value> = lines
        .iter()
        .map(|(sku, quantity)| json!({ "sku": sku, "quantity": quantity, "unit_price_minor": 250 }))
        .collect();
    json!({
        "order_id": format!("{customer}-{sequence}"),
        "customer_id": customer,
        "sequence": sequence,
        "placed_at": "2026-11-22T10:00:00Z",
        "currency": "EUR",
        "lines": lines,
    })
    .to_string()
}

/// Orders 1 to `each` of so many customers, customer by customer.
pub(crate) fn orders(customers: usize, each: u64) -> Vec<String> {
    (0..customers).flat_map(|number| (1..=each).map(move |sequence| order(&customer(number), sequence))).collect()
}

/// A customer's name.
pub(crate) fn customer(number: usize) -> String {
    format!("customer-{number:03}")
}

/// The message with another value in this field.
pub(crate) fn with(body: &str, field: &str, value: Value) -> String {
    let mut order: Value = serde_json::from_str(body).unwrap();
    order[field] = value;
    order.to_string()
}

/// The message without this field.
pub(crate) fn without(body: &str, field: &str) -> String {
    let mut order: Value = serde_json::from_str(body).unwrap();
    order.as_object_mut().unwrap().remove(field).unwrap();
    order.to_string()
}
