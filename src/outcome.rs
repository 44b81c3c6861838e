//! How a delivery ends: exactly one of these, which is also the metric label and the table in the README.

use serde::Serialize;

/// The end of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// This delivery's order was written to the ledger; the message is deleted.
    Committed,
    /// The order was in the ledger already (or its place was skipped by name); the message is deleted.
    Duplicate,
    /// The order is durable in the ledger and waits for its turn; the message is deleted.
    Parked,
    /// The order is durable in the backlog; the message is deleted.
    Spooled,
    /// The message went back to SQS, visible at once or when its visibility timeout ends.
    Returned,
    /// The message waits for a person, whole and with its reason; it is deleted from SQS.
    Quarantined,
}

impl Outcome {
    /// Every outcome, in the order of the table in the README.
    pub const ALL: [Outcome; 6] = [
        Outcome::Committed,
        Outcome::Duplicate,
        Outcome::Parked,
        Outcome::Spooled,
        Outcome::Returned,
        Outcome::Quarantined,
    ];

    /// The label in metrics and JSON.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Committed => "committed",
            Outcome::Duplicate => "duplicate",
            Outcome::Parked => "parked",
            Outcome::Spooled => "spooled",
            Outcome::Returned => "returned",
            Outcome::Quarantined => "quarantined",
        }
    }
}
