//! What SQLite's result codes mean for the caller, in one table.

use crate::ledger::effects::Effects;
use crate::ledger::{ErrorClass, LedgerError};
use crate::sql::{Unfit, is_misfit};

/// The class of a result code (<https://www.sqlite.org/rescode.html>). The low byte is the primary code; the generic
/// code 1 says only in its message what it is.
fn class(code: i32, message: &str) -> ErrorClass {
    const UNIQUE: i32 = 2067;
    const PRIMARY_KEY: i32 = 1555;
    match code & 0xff {
        // Busy, locked, interrupted by the deadline of the call, contended WAL lock.
        5 | 6 | 9 | 15 => ErrorClass::Timeout,
        // Aborted because another statement of the connection rolled back.
        4 => ErrorClass::Retry,
        // Permission, no memory, read-only, I/O, corrupt, full, cannot open, no large files, not a database.
        3 | 7 | 8 | 10 | 11 | 13 | 14 | 22 | 26 => ErrorClass::Away,
        19 if matches!(code, UNIQUE | PRIMARY_KEY) && message.contains("failed: orders.") => ErrorClass::Taken,
        // Too big, constraint (a trigger's RAISE too), wrong type: of what was written.
        18..=20 => ErrorClass::Fault,
        // Schema changed for good, not authorized, a parameter too many.
        17 | 23 | 25 => ErrorClass::Broken,
        1 => generic(message),
        _ => ErrorClass::Unrecognised,
    }
}

/// The generic error: the value's fault, or the statement's.
fn generic(message: &str) -> ErrorClass {
    let any = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if any(&["integer overflow", "malformed JSON"]) {
        ErrorClass::Fault
    } else if any(&[
        "no such table",
        "no such column",
        "no such function",
        "no such view",
        "no such index",
        "no such module",
        "has no column named",
        "values were supplied",
        "syntax error",
        "ambiguous column name",
        "wrong number of arguments",
        "incomplete input",
        "unrecognized token",
        "may not be modified",
        "cannot modify",
        "misuse of",
        "ON CONFLICT clause does not match",
    ]) {
        ErrorClass::Broken
    } else {
        ErrorClass::Unrecognised
    }
}

/// What went wrong, for the caller.
pub(super) fn error(error: sqlx::Error) -> LedgerError {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| code.parse().ok()).unwrap_or(-1);
            let message = error.message();
            LedgerError { class: class(code, message), message: format!("SQLite {code}: {message}") }
        }
        error => {
            let class = match &error {
                sqlx::Error::Io(_) => ErrorClass::Away,
                // The thread that owns the connection is gone: it may have committed before.
                sqlx::Error::WorkerCrashed => ErrorClass::Unknown,
                error if is_misfit(error) => ErrorClass::Broken,
                _ => ErrorClass::Unrecognised,
            };
            LedgerError { class, message: format!("SQLite: {error}") }
        }
    }
}

/// Why the file cannot be used.
pub(super) fn unfit(unfit: Unfit) -> LedgerError {
    match unfit {
        Unfit::Driver(raw) => error(raw),
        Unfit::Away(message) => LedgerError { class: ErrorClass::Away, message },
        Unfit::Broken(message) => LedgerError { class: ErrorClass::Broken, message },
    }
}

/// An error of the team's statement: named by its file, and by its place where that can be told.
pub(super) fn effects(raw: sqlx::Error, effects: &Effects) -> LedgerError {
    let LedgerError { class, message } = error(raw);
    let path = effects.path().display();
    let message = match place(&message, effects) {
        Some((line, column)) => format!("effects {path}:{line}:{column}: {message}"),
        None => format!("effects {path}: {message}"),
    };
    LedgerError { class, message }
}

/// SQLite names a word and no offset (sqlx does not hand it on); a word that stands only once in the text has a place.
fn place(message: &str, effects: &Effects) -> Option<(usize, usize)> {
    let word = match message.split_once("near \"") {
        Some((_, rest)) => rest.rsplit_once("\":")?.0,
        None => message.rsplit([' ', '.']).next()?,
    };
    let mut places = effects.sql().match_indices(word);
    let (at, _) = places.next().filter(|_| !word.is_empty())?;
    places.next().is_none().then(|| effects.place(effects.sql()[..at].chars().count()))
}

/// What a row holds cannot be read by this program.
pub(super) fn unreadable(what: impl std::fmt::Display) -> LedgerError {
    LedgerError {
        class: ErrorClass::Broken,
        message: format!("the ledger holds what this program cannot read: {what}"),
    }
}

/// The caller broke the contract of a call: this program's own fault, never an order's.
pub(super) fn misuse(what: &str) -> LedgerError {
    LedgerError { class: ErrorClass::Unrecognised, message: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        for (code, message, expected) in [
            (5, "database is locked", ErrorClass::Timeout),
            (517, "database is locked", ErrorClass::Timeout),
            (261, "database is locked", ErrorClass::Timeout),
            (6, "database table is locked", ErrorClass::Timeout),
            (9, "interrupted", ErrorClass::Timeout),
            (15, "locking protocol", ErrorClass::Timeout),
            (516, "abort due to ROLLBACK", ErrorClass::Retry),
            (3, "access permission denied", ErrorClass::Away),
            (7, "out of memory", ErrorClass::Away),
            (8, "attempt to write a readonly database", ErrorClass::Away),
            (1032, "attempt to write a readonly database", ErrorClass::Away),
            (778, "disk I/O error", ErrorClass::Away),
            (11, "database disk image is malformed", ErrorClass::Away),
            (13, "database or disk is full", ErrorClass::Away),
            (14, "unable to open database file", ErrorClass::Away),
            (22, "large file support is disabled", ErrorClass::Away),
            (26, "file is not a database", ErrorClass::Away),
            (1555, "UNIQUE constraint failed: orders.order_id", ErrorClass::Taken),
            (2067, "UNIQUE constraint failed: orders.customer_id, orders.position", ErrorClass::Taken),
            (2067, "UNIQUE constraint failed: team_orders.id", ErrorClass::Fault),
            (275, "CHECK constraint failed: on_hand", ErrorClass::Fault),
            (1299, "NOT NULL constraint failed: stock.sku", ErrorClass::Fault),
            (1811, "raised by a trigger", ErrorClass::Fault),
            (18, "string or blob too big", ErrorClass::Fault),
            (20, "datatype mismatch", ErrorClass::Fault),
            (1, "integer overflow", ErrorClass::Fault),
            (1, "malformed JSON", ErrorClass::Fault),
            (1, "no such table: stock", ErrorClass::Broken),
            (1, "no such column: skuu", ErrorClass::Broken),
            (1, "near \"MERGE\": syntax error", ErrorClass::Broken),
            (1, "table stock has 2 columns but 1 values were supplied", ErrorClass::Broken),
            (1, "something new", ErrorClass::Unrecognised),
            (17, "database schema has changed", ErrorClass::Broken),
            (23, "not authorized", ErrorClass::Broken),
            (25, "column index out of range", ErrorClass::Broken),
            (21, "bad parameter or other API misuse", ErrorClass::Unrecognised),
            (-1, "", ErrorClass::Unrecognised),
        ] {
            assert_eq!(class(code, message), expected, "{code} {message}");
        }
    }

    #[test]
    fn errors_without_a_result_code() {
        let io = std::io::Error::other("gone");
        for (raw, expected) in [
            (sqlx::Error::Io(io), ErrorClass::Away),
            (sqlx::Error::WorkerCrashed, ErrorClass::Unknown),
            (sqlx::Error::Configuration("x".into()), ErrorClass::Broken),
            (sqlx::Error::ColumnNotFound("x".into()), ErrorClass::Broken),
            (sqlx::Error::Decode("x".into()), ErrorClass::Broken),
            (sqlx::Error::RowNotFound, ErrorClass::Unrecognised),
        ] {
            assert_eq!(error(raw).class, expected);
        }
    }
}
