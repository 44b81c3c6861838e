//! What SQLite's result codes mean for the caller, in one table.

use crate::backlog::words::{away, broken};
use crate::backlog::{BacklogError, ErrorClass};
use crate::sql::{Unfit, is_misfit};

/// The class of a result code (<https://www.sqlite.org/rescode.html>). The low byte is the primary code; the generic
/// code 1 says only in its message what it is.
fn class(code: i32, message: &str) -> ErrorClass {
    match code & 0xff {
        // Permission, aborted, busy, locked, no memory, read-only, interrupted by the deadline of the call, I/O,
        // corrupt, full, cannot open, contended WAL lock, no large files, not a database.
        3..=11 | 13..=15 | 22 | 26 => ErrorClass::Away,
        // Schema changed for good, not authorized, a parameter too many.
        17 | 23 | 25 => ErrorClass::Broken,
        1 if ["no such table", "no such column", "has no column named"].iter().any(|part| message.contains(part)) => {
            ErrorClass::Broken
        }
        _ => ErrorClass::Unrecognised,
    }
}

/// What an operator does about it.
fn advice(code: i32, message: &str) -> &'static str {
    match code & 0xff {
        5 | 6 => ": another process holds the file for longer than backlog.lock_timeout; nothing was changed",
        9 => ": it took longer than backlog.statement_timeout; nothing was changed",
        1 if message.contains("no such") => ": run `millrace migrate`",
        _ => "",
    }
}

/// What went wrong, for the caller.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
pub(super) fn error(error: sqlx::Error) -> BacklogError {
    let class = match &error {
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| code.parse().ok()).unwrap_or(-1);
            let message = error.message();
            let class = class(code, message);
            return BacklogError { class, message: format!("SQLite {code}: {message}{}", advice(code, message)) };
        }
        // The thread that owns the connection is gone; another one may live.
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => ErrorClass::Away,
        error if is_misfit(error) => ErrorClass::Broken,
        _ => ErrorClass::Unrecognised,
    };
    BacklogError { class, message: format!("SQLite: {error}") }
}

/// Why the file cannot be used.
pub(super) fn unfit(unfit: Unfit) -> BacklogError {
    match unfit {
        Unfit::Driver(raw) => error(raw),
        Unfit::Away(message) => away(message),
        Unfit::Broken(message) => broken(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        for (code, message, expected) in [
            (3, "access permission denied", ErrorClass::Away),
            (516, "abort due to ROLLBACK", ErrorClass::Away),
            (5, "database is locked", ErrorClass::Away),
            (517, "database is locked", ErrorClass::Away),
            (6, "database table is locked", ErrorClass::Away),
            (7, "out of memory", ErrorClass::Away),
            (1032, "attempt to write a readonly database", ErrorClass::Away),
            (9, "interrupted", ErrorClass::Away),
            (778, "disk I/O error", ErrorClass::Away),
            (11, "database disk image is malformed", ErrorClass::Away),
            (13, "database or disk is full", ErrorClass::Away),
            (14, "unable to open database file", ErrorClass::Away),
            (15, "locking protocol", ErrorClass::Away),
            (22, "large file support is disabled", ErrorClass::Away),
            (26, "file is not a database", ErrorClass::Away),
            (1, "no such table: backlog_orders", ErrorClass::Broken),
            (1, "no such column: turn", ErrorClass::Broken),
            (1, "table backlog_orders has no column named body", ErrorClass::Broken),
            (17, "database schema has changed", ErrorClass::Broken),
            (23, "not authorized", ErrorClass::Broken),
            (25, "column index out of range", ErrorClass::Broken),
            (1, "something new", ErrorClass::Unrecognised),
            (12, "unknown operation", ErrorClass::Unrecognised),
            (18, "string or blob too big", ErrorClass::Unrecognised),
            (2067, "UNIQUE constraint failed", ErrorClass::Unrecognised),
            (21, "bad parameter or other API misuse", ErrorClass::Unrecognised),
            (-1, "", ErrorClass::Unrecognised),
        ] {
            assert_eq!(class(code, message), expected, "{code} {message}");
        }
    }

    #[test]
    fn errors_without_a_result_code() {
        for (raw, expected) in [
            (sqlx::Error::Io(std::io::Error::other("gone")), ErrorClass::Away),
            (sqlx::Error::WorkerCrashed, ErrorClass::Away),
            (sqlx::Error::Configuration("x".into()), ErrorClass::Broken),
            (sqlx::Error::ColumnNotFound("x".into()), ErrorClass::Broken),
            (sqlx::Error::RowNotFound, ErrorClass::Unrecognised),
        ] {
            assert_eq!(error(raw).class, expected);
        }
    }
}
