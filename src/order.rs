//! The words of the order message: what a valid order is, and why a message is not one.
//!
//! Decoding is pure. What passes here can be stored by every ledger: text has no NUL, sums fit, positions fit.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

mod decode;

pub use decode::Rejection;

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
