//! Order messages, and the randomness of their order.

use std::hash::{BuildHasher as _, RandomState};

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

/// `SplitMix64`. Each run has another seed, which it prints; `MILLRACE_TEST_SEED` gives it back.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("MILLRACE_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("MILLRACE_TEST_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            let other = usize::try_from(self.below(index as u64 + 1)).unwrap();
            items.swap(index, other);
        }
    }

    /// The bodies in any order, `percent` of them a second time.
    pub(crate) fn scatter(&mut self, bodies: &[String], percent: u64) -> Vec<String> {
        let mut scattered = bodies.to_vec();
        for body in bodies {
            if self.below(100) < percent {
                scattered.push(body.clone());
            }
        }
        self.shuffle(&mut scattered);
        scattered
    }
}
