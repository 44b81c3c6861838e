//! Values as the file keeps them: what compares as text has a fixed width.

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::errors;
use crate::backlog::BacklogError;
use crate::backlog::words::unreadable;
use crate::order::Rank;

/// A rank: 39 digits hold what 64 bits do not.
pub(super) fn rank_text(rank: Rank) -> String {
    format!("{rank:039}")
}

/// The rank of a text.
pub(super) fn rank(text: &str) -> Result<Rank, BacklogError> {
    text.parse().map_err(|_| unreadable(format_args!("the rank {text:?}")))
}

/// A time in microseconds.
pub(super) fn time_text(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// The time of a text.
pub(super) fn time(text: &str) -> Result<Timestamp, BacklogError> {
    text.parse().map_err(|_| unreadable(format_args!("the time {text:?}")))
}

/// A column of an answer.
pub(super) fn column<'r, T>(row: &'r SqliteRow, at: usize) -> Result<T, BacklogError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(at).map_err(errors::error)
}
