//! The decoder over damaged messages: it says yes or no, and loses nothing.

use millrace::order::{Entry, Order, Ordering};
use serde_json::Value;

use super::schema::validators;
use crate::mangle::Mangle;
use crate::random::Random;

const WORDS: &[&str] = &[
    "order_id",
    "customer_id",
    "sequence",
    "placed_at",
    "currency",
    "lines",
    "sku",
    "quantity",
    "unit_price_minor",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "null",
    "true",
    "-1",
    "1e9",
    "0.5",
    "1000000",
    "1000001",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "EUR",
    "2026-11-22T10:00:00Z",
    "2016-12-31T23:59:60Z",
    "9999-12-31T23:59:59Z",
    "+25:00",
    "ü",
    "\u{1F600}",
    "\u{FEFF}",
];

/// What the contract says of an order, looked at in the message itself.
fn keeps_the_contract(order: &Order, body: &str, ordering: Ordering) {
    let message = match serde_json::from_str::<Value>(body) {
        Ok(message) => message,
        // What other fields hold is not ours; a number or a depth that one parser cannot take another one can.
        Err(error)
            if ["number out of range", "recursion limit"].iter().any(|text| error.to_string().contains(text)) =>
        {
            return;
        }
        Err(error) => panic!("an order is JSON: {error}: {body}"),
    };
    assert_eq!(message["order_id"], order.order_id.as_str());
    assert_eq!(message["customer_id"], order.customer_id.as_str());
    assert_eq!(message["sequence"].as_u64(), order.sequence);
    assert!(ordering != Ordering::Gapless || order.sequence.is_some_and(|sequence| sequence >= 1));
    let lines = message["lines"].as_array().unwrap();
    let total: i128 = lines
        .iter()
        .map(|line| {
            i128::from(line["quantity"].as_i64().unwrap()) * i128::from(line["unit_price_minor"].as_i64().unwrap())
        })
        .sum();
    assert_eq!((lines.len(), total), (order.lines.len(), i128::from(order.total_minor)));
}

#[test]
fn a_damaged_message_is_an_order_or_comes_back_whole() {
    let mut random = Random::seeded();
    let mangle = Mangle::of("orders", WORDS);
    let (mut taken, mut refused) = (0, 0);
    let schemas = validators();
    for _ in 0..40_000 {
        let body = mangle.text(&mut random);
        for (ordering, schema) in &schemas {
            match Order::decode(*ordering, body.clone()) {
                Ok(order) => {
                    taken += 1;
                    assert_eq!(order.body, body, "kept as it came");
                    keeps_the_contract(&order, &body, *ordering);
                    let Ok(message) = serde_json::from_str::<Value>(&body) else { continue };
                    assert!(schema.is_valid(&message), "{ordering}: the published schema refuses {body}");
                    // What the digest is made of does not depend on how it is written down.
                    let again = Order::decode(*ordering, message.to_string()).map(|order| order.digest);
                    assert_eq!(again.ok(), Some(order.digest), "{body}");
                }
                Err((rejection, back)) => {
                    refused += 1;
                    assert_eq!(back, body, "it comes back as it was");
                    assert!(!rejection.to_string().is_empty());
                }
            }
        }
    }
    println!("{taken} taken, {refused} refused");
    assert!(taken > 2_000 && refused > 20_000, "VOID: {taken} taken, {refused} refused");
}

#[test]
fn a_damaged_message_of_any_group_has_a_name_and_its_body() {
    let mut random = Random::seeded();
    let mangle = Mangle::of("orders", WORDS);
    for _ in 0..20_000 {
        let body = mangle.text(&mut random);
        let group = [None, Some("c-1"), Some(""), Some("\u{0}x")][random.index(4)];
        for ordering in [Ordering::Gapless, Ordering::Fifo, Ordering::None] {
            match Entry::from_message(ordering, "7f3a", group, body.clone()) {
                Entry::Order(order) => {
                    assert_eq!(order.body, body);
                    assert!(ordering != Ordering::Fifo || group == Some(order.customer_id.as_str()));
                }
                Entry::Malformed(malformed) => {
                    assert_eq!(malformed.body, body, "quarantine keeps it whole");
                    assert!(!malformed.reason.is_empty());
                }
            }
        }
    }
}

/// The corpus itself: a message whose `note` is `refused` is no order, every other one is.
#[test]
fn the_corpus_is_taken_or_refused_as_it_says() {
    for text in Mangle::of("orders", WORDS).whole() {
        let body = text.trim_end();
        let good = serde_json::from_str::<Value>(body).is_ok_and(|message| message["note"] != "refused");
        assert_eq!(Order::decode(Ordering::Gapless, body.to_owned()).is_ok(), good, "{body}");
    }
}
