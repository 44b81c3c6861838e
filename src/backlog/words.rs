//! What both stores write and read the same way.

use jiff::Timestamp;

use super::{BacklogError, Depth, ErrorClass, Progress};
use crate::order::{CustomerId, Entry};
use crate::window::{Epoch, Phase};

/// An error that no waiting mends.
pub(super) fn broken(message: impl Into<String>) -> BacklogError {
    BacklogError { class: ErrorClass::Broken, message: message.into() }
}

/// An error after which the call may be repeated.
pub(super) fn away(message: impl Into<String>) -> BacklogError {
    BacklogError { class: ErrorClass::Away, message: message.into() }
}

/// What a row holds cannot be read by this program.
pub(super) fn unreadable(what: impl std::fmt::Display) -> BacklogError {
    broken(format!("the backlog holds what this program cannot read: {what}"))
}

/// The phase of its word in the table.
pub(super) fn phase(word: &str) -> Result<Phase, BacklogError> {
    match word {
        "SPOOLING" => Ok(Phase::Spooling),
        "SEALING" => Ok(Phase::Sealing),
        "SEALED" => Ok(Phase::Sealed),
        other => Err(unreadable(format_args!("the phase {other:?}"))),
    }
}

/// An epoch or a turn, as SQL counts.
pub(super) fn number(count: u64) -> Result<i64, BacklogError> {
    i64::try_from(count).map_err(|_| BacklogError {
        class: ErrorClass::Unrecognised,
        message: format!("there is no window or turn {count}: it is above 9223372036854775807"),
    })
}

/// An epoch, a turn or a sum of rows, as it was read.
pub(super) fn count(number: i64) -> Result<Epoch, BacklogError> {
    u64::try_from(number).map_err(|_| unreadable(format_args!("the count {number}")))
}

/// How much there is, from the sums of rows ever appended and ever removed.
pub(super) fn depth(
    appended: u64,
    removed: u64,
    oldest: Option<Timestamp>,
    now: Timestamp,
) -> Result<Depth, BacklogError> {
    let left = appended.checked_sub(removed);
    let left = left.ok_or_else(|| broken(format!("{removed} rows of {appended} were removed")))?;
    // Somebody may have deleted rows by hand, which nobody counted: an empty table is empty.
    let rows = if oldest.is_some() { left } else { 0 };
    Ok(Depth { rows, appended, removed, oldest, now })
}

/// Whose line it is: the name in the table, empty for nobody's.
pub(super) fn name(entry: &Entry) -> &str {
    entry.customer().map_or("", CustomerId::as_str)
}

/// The customer of a name in the table.
pub(super) fn customer(name: &str) -> Option<CustomerId> {
    (!name.is_empty()).then(|| CustomerId::new(name))
}

/// Why it is no order. PostgreSQL's text cannot hold a NUL, and a reason must not keep the message out.
pub(super) fn reason(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Order(_) => None,
        Entry::Malformed(malformed) => Some(malformed.reason.replace('\0', "\u{fffd}")),
    }
}

/// How the drain goes, as JSON.
pub(super) fn progress_text(progress: &Progress) -> String {
    serde_json::to_string(progress).expect("numbers and a word are JSON")
}

/// Nothing depends on it: what a newer version says in new words reads as nothing said.
pub(super) fn progress(text: &str) -> Progress {
    serde_json::from_str(text).unwrap_or_default()
}
