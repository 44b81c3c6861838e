//! `config/order.schema.json` and the decoder judge every message alike.
//!
//! Written down as exceptions, because a schema cannot say them, or parsers of JSON differ: the size of the body, the
//! total's overflow, NUL, half of a surrogate pair, a field twice in one object, integers written as `1.0`, `1e2` or `-0`, the last hours of
//! the year 9999. The schema names them in its `$comment`.

use std::cell::Cell;

use jsonschema::Validator;
use millrace::order::{Order, Ordering};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::message;

pub fn validators() -> [(Ordering, Validator); 3] {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/order.schema.json"));
    let schema: Value = serde_json::from_str(&text.expect("the schema is there")).expect("the schema is JSON");
    let gapless = json!({ "$ref": "#/$defs/whole/$defs/gapless", "$defs": { "whole": schema } });
    [(Ordering::Gapless, &gapless), (Ordering::Fifo, &schema), (Ordering::None, &schema)].map(|(ordering, schema)| {
        let options = jsonschema::options().should_validate_formats(true);
        (ordering, options.build(schema).expect("the schema is a schema"))
    })
}

/// A time, mostly one that is right in most places.
fn time() -> impl Strategy<Value = Value> {
    let parts = (
        "(0001|1969|2024|2025|2026)-(0[0-9]|1[0-3])-([0-2][0-9]|28|29|3[0-2])",
        prop_oneof![9 => Just("T"), 1 => Just("t"), 1 => Just(" ")],
        "([01][0-9]|2[0-4]):([0-5][0-9]|59|60):([0-5][0-9]|59|60)",
        "(\\.[0-9]{0,10})?",
        "(Z|Z|z||[+-]([01][0-9]|2[0-5]):([0-5][0-9]|59|60))",
    );
    parts.prop_map(|(date, t, clock, fraction, zone)| Value::from(format!("{date}{t}{clock}{fraction}{zone}")))
}

/// A value for a field: near its limits, or of another type.
fn value() -> impl Strategy<Value = Value> {
    let names = "[A-Za-z0-9._:-]{0,3}[ !/ü\n]?[A-Za-z0-9]{0,2}";
    prop_oneof![
        4 => names.prop_map(Value::from),
        2 => time(),
        2 => (0..67_usize).prop_map(|length| Value::from("x".repeat(length))),
        1 => (0..67_usize).prop_map(|length| Value::from("ü".repeat(length))),
        2 => "[A-Z]{2,4}|[a-z]{3}|[A-Z]{2}[0-9é\n]".prop_map(Value::from),
        4 => (-2_i64..3).prop_map(Value::from),
        2 => (999_998_i64..1_000_003).prop_map(Value::from),
        2 => (0_u64..3).prop_map(|above| Value::from(u64::MAX / 2 - 1 + above)),
        1 => Just(json!(u64::MAX)),
        1 => Just(json!(0.5)),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!([])),
        1 => Just(json!({})),
        1 => prop_oneof![0..3_usize, 499..502_usize].prop_map(|count| json!(vec![message()["lines"][0].clone(); count])),
    ]
}

/// A message with some of its fields changed, removed or added.
fn messages() -> impl Strategy<Value = Value> {
    let places = prop::sample::select(vec![
        "/order_id",
        "/customer_id",
        "/sequence",
        "/placed_at",
        "/currency",
        "/lines",
        "/lines/0/sku",
        "/lines/0/quantity",
        "/lines/0/unit_price_minor",
        "/lines/1",
        "/note",
    ]);
    let change = prop_oneof![
        4 => (places, prop::option::weighted(0.9, value())),
        1 => time().prop_map(|time| ("/placed_at", Some(time))),
    ];
    prop::collection::vec(change, 0..3).prop_map(|changes| {
        let mut message = message();
        message["lines"] = json!([message["lines"][0], message["lines"][0]]);
        for (pointer, value) in changes {
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
            let Some(parent) = message.pointer_mut(parent) else { continue };
            match (parent, value) {
                (Value::Object(map), Some(value)) => drop(map.insert(field.to_owned(), value)),
                (Value::Object(map), None) => drop(map.remove(field)),
                (Value::Array(lines), Some(value)) => lines.push(value),
                _ => {}
            }
        }
        message
    })
}

#[test]
fn the_schema_and_the_decoder_judge_alike() {
    let validators = validators();
    let (taken, refused) = (Cell::new(0), Cell::new(0));
    let config = Config { cases: 8_000, failure_persistence: None, ..Config::default() };
    let judged = TestRunner::new(config).run(&messages(), |message| {
        let body = message.to_string();
        // The exception of overflow: two prices near the limit.
        let overflows = |ordering| {
            let rejection = Order::decode(ordering, body.clone()).err().map(|(rejection, _)| rejection);
            rejection == Some(millrace::order::Rejection::Overflow)
        };
        for (ordering, validator) in &validators {
            if overflows(*ordering) {
                continue;
            }
            let decoded = Order::decode(*ordering, body.clone()).map_err(|(rejection, _)| rejection.to_string());
            let count = if decoded.is_ok() { &taken } else { &refused };
            count.set(count.get() + 1);
            prop_assert_eq!(
                validator.is_valid(&message),
                decoded.is_ok(),
                "{}: the decoder says {:?} of {}",
                ordering,
                decoded,
                body
            );
        }
        Ok(())
    });
    if let Err(error) = judged {
        panic!("{error}");
    }
    assert!(taken.get() > 3_000 && refused.get() > 3_000, "{} taken, {} refused", taken.get(), refused.get());
}

/// The exceptions are real: each of these is what a schema passes and the decoder refuses.
#[test]
fn what_the_schema_cannot_say() {
    let [(_, gapless), ..] = validators();
    let mut overflow = message();
    overflow["lines"] = json!([{ "sku": "s", "quantity": 2, "unit_price_minor": i64::MAX }]);
    let mut large = message();
    large["note"] = json!("x".repeat(millrace::order::MAX_BODY_BYTES));
    let mut nul = message();
    nul["note"] = json!("a\0b");
    let mut late = message();
    late["placed_at"] = json!("9999-12-31T23:59:59Z");
    let mut bodies: Vec<String> = [overflow, large, nul, late].map(|message| message.to_string()).into();
    bodies.push(message().to_string().replacen('{', "{\"currency\":\"EUR\",", 1));
    bodies.push(message().to_string().replace("\"quantity\":2", "\"quantity\":2.0"));
    bodies.push(message().to_string().replace("\"unit_price_minor\":150", "\"unit_price_minor\":-0"));
    for body in bodies {
        let shown: String = body.chars().take(200).collect();
        assert!(Order::decode(Ordering::Gapless, body.clone()).is_err(), "the decoder takes {shown}");
        let message: Value = serde_json::from_str(&body).expect("it is JSON");
        assert!(gapless.is_valid(&message), "the schema refuses {shown}");
    }
}
