//! The words of the order message: what is refused and why, and that the published schema says the same.

use millrace::order::{Entry, MAX_BODY_BYTES, Order, Ordering, Rejection};
use serde_json::{Value, json};

mod fuzz;
mod schema;

/// A valid message.
fn message() -> Value {
    json!({
        "order_id": "o-1",
        "customer_id": "c-1",
        "sequence": 1,
        "placed_at": "2026-11-22T10:00:00Z",
        "currency": "EUR",
        "lines": [{ "sku": "apple", "quantity": 2, "unit_price_minor": 150 }],
    })
}

/// The message with one field set; `/lines/0/sku` reaches inside.
fn with(pointer: &str, value: Value) -> Value {
    let mut message = message();
    match message.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => message[pointer.trim_start_matches('/')] = value,
    }
    message
}

fn decode(message: &Value) -> Result<Order, Rejection> {
    Order::decode(Ordering::Gapless, message.to_string()).map_err(|(rejection, body)| {
        assert_eq!(body, message.to_string(), "the body comes back as it was");
        rejection
    })
}

fn reason(message: &Value) -> String {
    decode(message).expect_err("refused").to_string()
}

fn entry(ordering: Ordering, group: Option<&str>, body: &str) -> Entry {
    Entry::from_message(ordering, "7f3a", group, body.to_owned())
}

#[test]
fn a_valid_message_is_taken_whole() {
    let mut message = message();
    message["lines"] = json!([
        { "sku": "apple", "quantity": 2, "unit_price_minor": 150 },
        { "sku": "bag", "quantity": 1, "unit_price_minor": 10, "colour": "green" },
    ]);
    message["note"] = json!("Größe 42 \u{1F600}");
    let order = decode(&message).unwrap();
    assert_eq!((order.order_id.as_str(), order.customer_id.as_str(), order.sequence), ("o-1", "c-1", Some(1)));
    assert_eq!((order.total_minor, order.currency.as_str(), order.lines.len()), (310, "EUR", 2));
    assert_eq!(order.placed_at.to_string(), "2026-11-22T10:00:00Z");
    assert_eq!(order.body, message.to_string(), "other fields stay in the body");
}

#[test]
fn what_is_not_an_order() {
    for body in ["", "orders", "[]", "null", "{}", "{\"order_id\": \"o-1\"", "{} {}", "\u{FEFF}{}"] {
        let (rejection, back) = Order::decode(Ordering::Gapless, body.to_owned()).unwrap_err();
        assert!(matches!(rejection, Rejection::NotAnOrder(_)), "{body:?}: {rejection}");
        assert_eq!(back, body);
    }
    for field in ["order_id", "customer_id", "placed_at", "currency", "lines"] {
        let mut short = message();
        short.as_object_mut().unwrap().remove(field);
        assert!(reason(&short).starts_with(&format!("not an order: missing field `{field}`")), "{}", reason(&short));
        for wrong in [Value::Null, json!(7.5), json!({}), json!(["x"])] {
            assert!(matches!(decode(&with(&format!("/{field}"), wrong)), Err(Rejection::NotAnOrder(_))), "{field}");
        }
    }
    for (pointer, wrong) in [
        ("/sequence", json!("1")),
        ("/sequence", json!(-1)),
        ("/sequence", json!(1.5)),
        ("/lines/0/quantity", json!("2")),
        ("/lines/0/quantity", json!(1.5)),
        ("/lines/0/unit_price_minor", json!(null)),
        ("/lines/0/sku", json!(7)),
        ("/lines/0", json!("apple")),
    ] {
        assert!(matches!(decode(&with(pointer, wrong)), Err(Rejection::NotAnOrder(_))), "{pointer}");
    }
    let twice = message().to_string().replacen('{', "{\"currency\": \"USD\", ", 1);
    assert!(matches!(Order::decode(Ordering::Gapless, twice), Err((Rejection::NotAnOrder(_), _))));
}

#[test]
fn a_body_is_at_most_256_kib() {
    let mut body = message().to_string();
    body.push_str(&" ".repeat(MAX_BODY_BYTES - body.len()));
    assert!(Order::decode(Ordering::Gapless, body.clone()).is_ok(), "exactly at the limit");
    body.push(' ');
    let (rejection, _) = Order::decode(Ordering::Gapless, body).unwrap_err();
    assert_eq!(rejection.to_string(), "too large: 262145 bytes, at most 262144");
}

#[test]
fn sums_are_checked() {
    let line = |quantity: i64, price: i64| json!({ "sku": "s", "quantity": quantity, "unit_price_minor": price });
    assert_eq!(decode(&with("/lines", json!([line(1, i64::MAX)]))).unwrap().total_minor, i64::MAX);
    for lines in [json!([line(2, i64::MAX)]), json!([line(1, i64::MAX), line(1, 1)])] {
        assert_eq!(reason(&with("/lines", lines)), "lines: the total overflows 64 bits");
    }
}

#[test]
fn a_nul_character_is_refused_wherever_it_is() {
    for pointer in ["/lines/0/sku", "/note", "/order_id", "/currency"] {
        assert_eq!(decode(&with(pointer, json!("a\0b"))), Err(Rejection::Nul), "{pointer}");
    }
    let raw = message().to_string().replace("apple", "a\0b");
    assert!(matches!(Order::decode(Ordering::Gapless, raw), Err((Rejection::NotAnOrder(_), _))), "raw NUL is not JSON");
    let in_a_name = message().to_string().replacen('{', "{\"no\\u0000te\": 1, ", 1);
    assert_eq!(Order::decode(Ordering::Gapless, in_a_name).unwrap_err().0, Rejection::Nul);
    assert!(decode(&with("/note", json!("a\\u0000b"))).is_ok(), "a backslash and five characters are none");
    // Found by damaged messages: half of a surrogate pair, in a field that is not ours.
    for half in ["\\ud800", "\\uDBFF x", "\\udc00", "\\ud83d\\u0041"] {
        let body = message().to_string().replacen('{', &format!("{{\"note\": \"{half}\", "), 1);
        let (rejection, _) = Order::decode(Ordering::Gapless, body).unwrap_err();
        assert!(matches!(rejection, Rejection::NotAnOrder(_)), "{half}: {rejection}");
    }
    let pair = message().to_string().replacen('{', "{\"note\": \"\\ud83d\\ude00\", ", 1);
    assert!(Order::decode(Ordering::Gapless, pair).is_ok());
}

#[test]
fn names_have_a_form() {
    for field in ["order_id", "customer_id"] {
        let pointer = format!("/{field}");
        for good in ["a", "A-Z.a_z:0", &"x".repeat(64)] {
            assert!(decode(&with(&pointer, json!(good))).is_ok(), "{field} {good}");
        }
        for (bad, problem) in [
            ("", "is empty"),
            (&*"x".repeat(65), "is longer than 64 characters"),
            ("a b", "has a character outside A-Z a-z 0-9 . _ : -"),
            ("a/b", "has a character outside A-Z a-z 0-9 . _ : -"),
            ("!7f3a", "has a character outside A-Z a-z 0-9 . _ : -"),
            ("{c}", "has a character outside A-Z a-z 0-9 . _ : -"),
            ("Jürgen", "has a character outside A-Z a-z 0-9 . _ : -"),
            ("a\n", "has a character outside A-Z a-z 0-9 . _ : -"),
        ] {
            assert_eq!(reason(&with(&pointer, json!(bad))), format!("{field}: {problem}"));
        }
    }
}

#[test]
fn values_have_a_range() {
    for (pointer, value, says) in [
        ("/sequence", json!(0), "sequence: is 0, the first order is 1"),
        ("/sequence", json!(u64::MAX), "sequence: is above 9223372036854775807"),
        ("/sequence", json!(null), "sequence: missing, and the ordering is gapless"),
        ("/currency", json!("EURO"), "currency: is not three capital letters"),
        ("/currency", json!("eur"), "currency: is not three capital letters"),
        ("/currency", json!("€"), "currency: is not three capital letters"),
        ("/lines", json!([]), "lines: is not 1 to 500 lines"),
        ("/lines", json!(vec![message()["lines"][0].clone(); 501]), "lines: is not 1 to 500 lines"),
        ("/lines/0/sku", json!(""), "lines[0].sku: is not 1 to 64 characters"),
        ("/lines/0/sku", json!("ü".repeat(65)), "lines[0].sku: is not 1 to 64 characters"),
        ("/lines/0/quantity", json!(0), "lines[0].quantity: is not 1 to 1000000"),
        ("/lines/0/quantity", json!(1_000_001), "lines[0].quantity: is not 1 to 1000000"),
        ("/lines/0/quantity", json!(i64::MIN), "lines[0].quantity: is not 1 to 1000000"),
        ("/lines/0/unit_price_minor", json!(-1), "lines[0].unit_price_minor: is below 0"),
    ] {
        assert_eq!(reason(&with(pointer, value)), says);
    }
    for (pointer, value) in [
        ("/sequence", json!(i64::MAX)),
        ("/lines", json!(vec![message()["lines"][0].clone(); 500])),
        ("/lines/0/sku", json!("ü".repeat(64))),
        ("/lines/0/quantity", json!(1_000_000)),
        ("/lines/0/unit_price_minor", json!(0)),
    ] {
        assert!(decode(&with(pointer, value)).is_ok(), "{pointer}");
    }
}

#[test]
fn times_are_rfc_3339() {
    for good in [
        "2026-11-22T10:00:00Z",
        "2026-11-22T10:00:00.123456789Z",
        "2026-11-22T10:00:00+05:30",
        "2024-02-29T23:59:59-23:59",
    ] {
        assert!(decode(&with("/placed_at", json!(good))).is_ok(), "{good}");
    }
    for bad in [
        "",
        "now",
        "2026-11-22",
        "2026-11-22 10:00:00Z",
        "2026-11-22T10:00:00",
        "2026-11-22t10:00:00z",
        "2026-11-22T10:00Z",
        "2026-11-22T10:00:00.Z",
        "2026-11-22T10:00:00.1234567890Z",
        "2026-11-22T10:00:00+0530",
        "2026-11-22T10:00:00+24:00",
        "2026-11-22T10:00:00+05:60",
        "2026-11-22T10:00:00Z[UTC]",
        "2026-02-30T10:00:00Z",
        "2025-02-29T10:00:00Z",
        "2026-13-01T10:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T10:60:00Z",
        "2026-11-22T10:00:60Z",
        "1763805600",
    ] {
        assert!(reason(&with("/placed_at", json!(bad))).starts_with("placed_at: is not an RFC 3339 time"), "{bad}");
    }
}

#[test]
fn the_sequence_is_asked_for_in_gapless_only() {
    let mut short = message();
    short.as_object_mut().unwrap().remove("sequence");
    assert_eq!(decode(&short), Err(Rejection::NoSequence));
    for ordering in [Ordering::Fifo, Ordering::None] {
        assert_eq!(Order::decode(ordering, short.to_string()).unwrap().sequence, None);
    }
}

#[test]
fn the_group_is_the_customer_in_fifo() {
    let body = message().to_string();
    assert!(matches!(entry(Ordering::Fifo, Some("c-1"), &body), Entry::Order(_)));
    for (group, says) in [
        (Some("c-2"), "message group \"c-2\" is not the customer \"c-1\""),
        (None, "no message group, and the ordering is fifo"),
    ] {
        let Entry::Malformed(malformed) = entry(Ordering::Fifo, group, &body) else { panic!("{group:?} is taken") };
        assert_eq!((malformed.reason.as_str(), malformed.body.as_str()), (says, body.as_str()));
        assert_eq!(malformed.group.as_ref().map(millrace::order::CustomerId::as_str), group);
    }
    for ordering in [Ordering::Gapless, Ordering::None] {
        assert!(matches!(entry(ordering, Some("c-2"), &body), Entry::Order(_)), "a fair queue's group means nothing");
    }
}

#[test]
fn a_malformed_message_keeps_its_body_and_one_name() {
    let first = entry(Ordering::Gapless, None, "not json");
    assert_eq!((first.id().as_str(), first.body(), first.customer()), ("!7f3a", "not json", None));
    assert_eq!(first, entry(Ordering::Gapless, None, "not json"), "every delivery of it is the same entry");
    assert_ne!(first.digest(), entry(Ordering::Gapless, None, "not jsoN").digest());
}

#[test]
fn the_digest_is_of_the_contract_fields_alone() {
    let digest = |message: &Value| decode(message).unwrap().digest;
    let same = digest(&message());
    assert_eq!(same, digest(&with("/note", json!("another"))));
    assert_eq!(same, digest(&with("/placed_at", json!("2026-11-22T11:00:00.000+01:00"))), "the same moment");
    for (pointer, value) in [
        ("/order_id", json!("o-2")),
        ("/customer_id", json!("c-2")),
        ("/sequence", json!(2)),
        ("/placed_at", json!("2026-11-22T10:00:01Z")),
        ("/currency", json!("USD")),
        ("/lines/0/sku", json!("pear")),
        ("/lines/0/quantity", json!(3)),
        ("/lines/0/unit_price_minor", json!(151)),
    ] {
        assert_ne!(same, digest(&with(pointer, value)), "{pointer}");
    }
}
