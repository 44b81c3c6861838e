//! From a message body to an order: every rule of the contract, and the reason when one is broken.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{CustomerId, Digest, EntryId, Line, MAX_BODY_BYTES, MAX_LINES, Order, Ordering};

/// Why a message is not an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The body is larger than [`MAX_BODY_BYTES`].
    #[error("too large: {bytes} bytes, at most {MAX_BODY_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON, or a field is missing or has the wrong type.
    #[error("not an order: {0}")]
    NotAnOrder(String),
    /// A field has a value outside the contract.
    #[error("{field}: {problem}")]
    Field {
        /// Where, as in `lines[3].sku`.
        field: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The total does not fit 64 bits.
    #[error("lines: the total overflows 64 bits")]
    Overflow,
    /// A NUL character somewhere in the text, which PostgreSQL cannot store.
    #[error("a NUL character (\\u0000) in the text")]
    Nul,
    /// `sequence` is missing although the queue's ordering is `gapless`.
    #[error("sequence: missing, and the ordering is gapless")]
    NoSequence,
    /// The message came without a group although the queue's ordering is `fifo`.
    #[error("no message group, and the ordering is fifo")]
    NoGroup,
    /// The message group is not the customer.
    #[error("message group {group:?} is not the customer {customer:?}")]
    GroupIsNotCustomer {
        /// SQS's message group.
        group: String,
        /// The customer in the body.
        customer: String,
    },
}

impl Order {
    /// Decodes and checks a message body.
    ///
    /// # Errors
    ///
    /// The reason, and the body back, so that it can be kept.
    pub fn decode(ordering: Ordering, body: String) -> Result<Order, (Rejection, String)> {
        match decode(ordering, &body) {
            Ok(order) => Ok(Order { body, ..order }),
            Err(rejection) => Err((rejection, body)),
        }
    }
}

/// The message as it is written. Unknown fields are allowed: they stay in the body.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    order_id: Cow<'a, str>,
    #[serde(borrow)]
    customer_id: Cow<'a, str>,
    sequence: Option<u64>,
    #[serde(borrow)]
    placed_at: Cow<'a, str>,
    #[serde(borrow)]
    currency: Cow<'a, str>,
    lines: Vec<WireLine>,
}

#[derive(Deserialize)]
struct WireLine {
    sku: String,
    quantity: i64,
    unit_price_minor: i64,
}

fn decode(ordering: Ordering, body: &str) -> Result<Order, Rejection> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Rejection::TooLarge { bytes: body.len() });
    }
    let wire: Wire<'_> = serde_json::from_str(body).map_err(|error| Rejection::NotAnOrder(error.to_string()))?;
    if has_nul(body) {
        return Err(Rejection::Nul);
    }
    if body.contains("\\ud") || body.contains("\\uD") {
        // Half of a surrogate pair in a field that is not ours: serde_json skips it unseen, databases and other readers
        // of the stored body refuse it.
        serde_json::from_str::<serde_json::Value>(body).map_err(|error| Rejection::NotAnOrder(error.to_string()))?;
    }
    check_name("order_id", &wire.order_id)?;
    check_name("customer_id", &wire.customer_id)?;
    match wire.sequence {
        None if ordering == Ordering::Gapless => return Err(Rejection::NoSequence),
        Some(0) => return Err(field("sequence", "is 0, the first order is 1")),
        // Positions are 64-bit signed in SQL.
        Some(sequence) if i64::try_from(sequence).is_err() => {
            return Err(field("sequence", "is above 9223372036854775807"));
        }
        _ => {}
    }
    let placed_at = parse_time(&wire.placed_at)?;
    if wire.currency.len() != 3 || !wire.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(field("currency", "is not three capital letters"));
    }
    let (lines, total_minor) = check_lines(wire.lines)?;
    let mut order = Order {
        order_id: EntryId::new(&*wire.order_id),
        customer_id: CustomerId::new(&*wire.customer_id),
        sequence: wire.sequence,
        placed_at,
        currency: wire.currency.into_owned(),
        lines,
        total_minor,
        digest: Digest([0; 32]),
        body: String::new(),
    };
    order.digest = digest(&order);
    Ok(order)
}

fn field(field: impl Into<String>, problem: &'static str) -> Rejection {
    Rejection::Field { field: field.into(), problem }
}

/// `order_id` and `customer_id`: 1 to 64 of `A-Z a-z 0-9 . _ : -`.
fn check_name(name: &str, value: &str) -> Result<(), Rejection> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    match value.len() {
        0 => Err(field(name, "is empty")),
        65.. => Err(field(name, "is longer than 64 characters")),
        _ if !value.bytes().all(allowed) => Err(field(name, "has a character outside A-Z a-z 0-9 . _ : -")),
        _ => Ok(()),
    }
}

/// RFC 3339 and nothing looser: date, `T`, time, offset.
fn parse_time(text: &str) -> Result<Timestamp, Rejection> {
    let bad = || field("placed_at", "is not an RFC 3339 time such as 2026-11-22T10:00:00Z");
    let shape = |pattern: &[u8], bytes: &[u8]| {
        pattern.len() == bytes.len()
            && pattern.iter().zip(bytes).all(|(want, byte)| match want {
                b'0' => byte.is_ascii_digit(),
                b'+' => matches!(byte, b'+' | b'-'),
                want => byte == want,
            })
    };
    let bytes = text.as_bytes();
    let (date_time, mut rest) = bytes.split_at_checked(19).ok_or_else(bad)?;
    if !shape(b"0000-00-00T00:00:00", date_time) {
        return Err(bad());
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return Err(bad());
        }
        rest = &fraction[digits..];
    }
    if rest != b"Z" && !(shape(b"+00:00", rest) && rest[1..3] <= b"23"[..] && rest[4..6] <= b"59"[..]) {
        return Err(bad());
    }
    // The parser would take second 60 for 59 and two different texts for one time.
    if &date_time[17..19] == b"60" {
        return Err(bad());
    }
    text.parse().map_err(|_| bad())
}

fn check_lines(wire: Vec<WireLine>) -> Result<(Vec<Line>, i64), Rejection> {
    if wire.is_empty() || wire.len() > MAX_LINES {
        return Err(field("lines", "is not 1 to 500 lines"));
    }
    let mut total: i64 = 0;
    let mut lines = Vec::with_capacity(wire.len());
    for (index, line) in wire.into_iter().enumerate() {
        let at = |name: &str| format!("lines[{index}].{name}");
        if line.sku.is_empty() || line.sku.chars().count() > 64 {
            return Err(field(at("sku"), "is not 1 to 64 characters"));
        }
        let quantity = i32::try_from(line.quantity)
            .ok()
            .filter(|quantity| (1..=1_000_000).contains(quantity))
            .ok_or_else(|| field(at("quantity"), "is not 1 to 1000000"))?;
        if line.unit_price_minor < 0 {
            return Err(field(at("unit_price_minor"), "is below 0"));
        }
        total = line
            .unit_price_minor
            .checked_mul(i64::from(quantity))
            .and_then(|price| total.checked_add(price))
            .ok_or(Rejection::Overflow)?;
        lines.push(Line { sku: line.sku, quantity, unit_price_minor: line.unit_price_minor });
    }
    Ok((lines, total))
}

/// Whether a JSON text has the escape `\u0000` (a raw NUL is not JSON). Two backslashes before `u0000` are a
/// backslash and five characters, so what counts is whether the run of backslashes is odd.
fn has_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let before = json.as_bytes()[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        before % 2 == 0
    })
}

fn digest(order: &Order) -> Digest {
    let mut hash = Sha256::new();
    // Each text goes in behind its length, so that no two orders run together to the same bytes.
    let text = |hash: &mut Sha256, text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    text(&mut hash, "millrace order 1");
    text(&mut hash, order.order_id.as_str());
    text(&mut hash, order.customer_id.as_str());
    hash.update(order.sequence.unwrap_or(0).to_be_bytes());
    hash.update(order.placed_at.as_nanosecond().to_be_bytes());
    text(&mut hash, &order.currency);
    for line in &order.lines {
        text(&mut hash, &line.sku);
        hash.update(line.quantity.to_be_bytes());
        hash.update(line.unit_price_minor.to_be_bytes());
    }
    Digest(hash.finalize().into())
}
