//! The words of the order message: what a valid order is, and why a message is not one.
//!
//! Decoding is pure. What passes here can be stored by every ledger: text has no NUL, sums fit, positions fit.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The largest message body, in bytes: what a classic SQS queue carries.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// The most lines that one order may have.
pub const MAX_LINES: usize = 500;

/// Where the order of a customer's orders comes from (`inbox.ordering`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    /// The producer numbers each customer's orders 1, 2, 3 … without gaps.
    Gapless,
    /// SQS keeps the order: a FIFO queue whose message group is the customer.
    Fifo,
    /// No order is promised; each order still takes effect once.
    None,
}

impl fmt::Display for Ordering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ordering::Gapless => "gapless",
            Ordering::Fifo => "fifo",
            Ordering::None => "none",
        })
    }
}

/// The place of an order among its customer's orders at the source: the producer's `sequence` in `gapless`,
/// SQS's `SequenceNumber` in `fifo` (up to 39 digits, so 64 bits are not enough), the arrival in `none`.
pub type Rank = u128;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is; whoever calls has checked it, or reads it back from a store.
            #[must_use]
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The ordering key: whose order it is.
    CustomerId
}

name! {
    /// The name of one entry of a customer's line: the `order_id` of an order, or `!` and the message id of a
    /// malformed message (`!` is in no valid `order_id`, so the two never meet).
    EntryId
}

/// SHA-256 over the decoded contract fields: the same `order_id` with the same digest is a duplicate,
/// with another digest a conflict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What is ordered: 1 to 64 characters.
    pub sku: String,
    /// How many: 1 to 1,000,000.
    pub quantity: i32,
    /// The price of one, in the currency's minor unit (cents).
    pub unit_price_minor: i64,
}

/// An order that may be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its name, unique over all customers.
    pub order_id: EntryId,
    /// Whose it is.
    pub customer_id: CustomerId,
    /// The producer's number of it within its customer, from 1; always there in `gapless` mode.
    pub sequence: Option<u64>,
    /// When the customer placed it; stored in microseconds.
    pub placed_at: Timestamp,
    /// Three capital letters.
    pub currency: String,
    /// 1 to 500 lines.
    pub lines: Vec<Line>,
    /// The sum over the lines of quantity × unit price, in the currency's minor unit.
    pub total_minor: i64,
    /// What makes two messages the same order.
    pub digest: Digest,
    /// The message body as it came, fields outside the contract included.
    pub body: String,
}

/// A message that is no order: kept whole, with the reason, for a person to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// `!` and SQS's message id: one entry however often SQS delivers the message.
    pub id: EntryId,
    /// SQS's message group, which stands for the customer on a FIFO queue.
    pub group: Option<CustomerId>,
    /// What is wrong with it.
    pub reason: String,
    /// The body as it came.
    pub body: String,
    /// SHA-256 of the body.
    pub digest: Digest,
}

/// One entry of a customer's line: what a message turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A valid order.
    Order(Order),
    /// A message that can only go to quarantine.
    Malformed(Malformed),
}

impl Entry {
    /// Decodes the body of message `message_id`; whatever is wrong makes it [`Malformed`].
    ///
    /// `group` is the message group of a FIFO queue, which has to be the order's customer.
    #[must_use]
    pub fn from_message(ordering: Ordering, message_id: &str, group: Option<&str>, body: String) -> Self {
        let decoded = Order::decode(ordering, body).and_then(|order| match group {
            Some(group) if ordering == Ordering::Fifo && group != order.customer_id.as_str() => Err((
                Rejection::GroupIsNotCustomer { group: group.to_owned(), customer: order.customer_id.to_string() },
                order.body,
            )),
            None if ordering == Ordering::Fifo => Err((Rejection::NoGroup, order.body)),
            _ => Ok(order),
        });
        match decoded {
            Ok(order) => Entry::Order(order),
            Err((rejection, body)) => Entry::Malformed(Malformed {
                id: EntryId::new(format!("!{message_id}")),
                group: group.map(CustomerId::new),
                reason: rejection.to_string(),
                digest: Digest(Sha256::digest(body.as_bytes()).into()),
                body,
            }),
        }
    }

    /// The name of the entry, by which a store knows it.
    #[must_use]
    pub fn id(&self) -> &EntryId {
        match self {
            Entry::Order(order) => &order.order_id,
            Entry::Malformed(malformed) => &malformed.id,
        }
    }

    /// Whose line it stands in; a malformed message without a group stands in nobody's.
    #[must_use]
    pub fn customer(&self) -> Option<&CustomerId> {
        match self {
            Entry::Order(order) => Some(&order.customer_id),
            Entry::Malformed(malformed) => malformed.group.as_ref(),
        }
    }

    /// What makes two deliveries the same entry.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Entry::Order(order) => order.digest,
            Entry::Malformed(malformed) => malformed.digest,
        }
    }

    /// The message body as it came.
    #[must_use]
    pub fn body(&self) -> &str {
        match self {
            Entry::Order(order) => &order.body,
            Entry::Malformed(malformed) => &malformed.body,
        }
    }
}

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
