//! What an error of PostgreSQL means to the caller: one table.

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use crate::ledger::{ErrorClass, LedgerError};
use crate::sql::Unfit;
use crate::sql::postgres::{self as sql, row};

/// What was being done when the error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Connecting, and looking at what answers: nothing was written.
    Connect,
    /// Reading: nothing was written.
    Read,
    /// A statement that writes was sent.
    Write,
}

/// A row is a SQLSTATE, or the two characters of its class; the longer one counts.
const CODES: &[(&str, ErrorClass)] = &[
    // Rolled back; the same batch may pass at the next try.
    ("40001", ErrorClass::Retry),
    ("40P01", ErrorClass::Retry),
    ("57014", ErrorClass::Timeout),
    ("55P03", ErrorClass::Timeout),
    // The server or the connection went away, or is out of something: whether the commit came through is not said.
    ("08", ErrorClass::Unknown),
    ("40003", ErrorClass::Unknown),
    ("53", ErrorClass::Unknown),
    ("57P01", ErrorClass::Unknown),
    ("57P02", ErrorClass::Unknown),
    ("57P03", ErrorClass::Unknown),
    ("57P05", ErrorClass::Unknown),
    ("58", ErrorClass::Unknown),
    ("XX", ErrorClass::Unknown),
    // A writer that was demoted answers pings and reads; it refuses to write.
    ("25006", ErrorClass::Away),
    ("28", ErrorClass::Away),
    // An order's own fault; of effects also "more than one row" and RAISE.
    ("22", ErrorClass::Fault),
    ("23", ErrorClass::Fault),
    ("21000", ErrorClass::Fault),
    ("P0001", ErrorClass::Fault),
    // Tables, columns, privileges, databases and schemas that are missing.
    ("42", ErrorClass::Broken),
    ("0A000", ErrorClass::Broken),
    ("3D000", ErrorClass::Broken),
    ("3F000", ErrorClass::Broken),
];

/// The unique keys of `orders`; a violation says that somebody has the place or the name, not whose fault it is.
const KEYS_OF_ORDERS: [&str; 2] = ["orders_pkey", "orders_customer_id_position_key"];

/// The class of a SQLSTATE.
fn class(code: &str, constraint: Option<&str>, step: Step) -> ErrorClass {
    if code == "23505" && constraint.is_some_and(|constraint| KEYS_OF_ORDERS.contains(&constraint)) {
        return ErrorClass::Taken;
    }
    match (row(CODES, code), step) {
        // What writes nothing has no unknown outcome; and while connecting nobody's order was sent that could be tried
        // again: the ledger is busy or in somebody's hands.
        (Some(ErrorClass::Unknown), Step::Connect | Step::Read)
        | (Some(ErrorClass::Retry | ErrorClass::Timeout), Step::Connect) => ErrorClass::Away,
        (Some(class), _) => class,
        (None, _) => ErrorClass::Unrecognised,
    }
}

/// Classifies what sqlx says. After sending, whatever is not the database's own word is an unknown outcome.
pub(super) fn classify(error: &sqlx::Error, step: Step) -> LedgerError {
    let lost = if step == Step::Write { ErrorClass::Unknown } else { ErrorClass::Away };
    match error {
        sqlx::Error::Database(database) => match database.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => LedgerError { class: class(error.code(), error.constraint(), step), message: words(error) },
            None => LedgerError { class: ErrorClass::Unrecognised, message: database.to_string() },
        },
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => LedgerError { class: lost, message: error.to_string() },
        // Settings that cannot be right, and values that cannot be sent: nothing was sent.
        sqlx::Error::Configuration(_) => LedgerError { class: ErrorClass::Broken, message: error.to_string() },
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => {
            LedgerError { class: ErrorClass::Unrecognised, message: error.to_string() }
        }
        // An answer that was not understood comes after the deed.
        _ if step == Step::Write => LedgerError { class: ErrorClass::Unknown, message: error.to_string() },
        _ => LedgerError { class: ErrorClass::Unrecognised, message: error.to_string() },
    }
}

/// Why the database cannot be used.
pub(super) fn unfit(error: Unfit, step: Step) -> LedgerError {
    match error {
        Unfit::Driver(error) => classify(&error, step),
        Unfit::Away(message) => LedgerError { class: ErrorClass::Away, message },
        Unfit::Broken(message) => LedgerError { class: ErrorClass::Broken, message },
    }
}

/// No answer came in time.
pub(super) fn silent(step: Step, seconds: f64) -> LedgerError {
    let class = if step == Step::Write { ErrorClass::Unknown } else { ErrorClass::Away };
    LedgerError { class, message: format!("PostgreSQL gave no answer in {seconds:.1} s") }
}

/// The character of the statement where the error is, counted from 0.
pub(super) fn position(error: &sqlx::Error) -> Option<usize> {
    let sqlx::Error::Database(database) = error else { return None };
    match database.try_downcast_ref::<PgDatabaseError>()?.position()? {
        PgErrorPosition::Original(position) => position.checked_sub(1),
        PgErrorPosition::Internal { .. } => None,
    }
}

fn words(error: &PgDatabaseError) -> String {
    let advice = if error.code().starts_with("28") { ": check user and password in ledger.url" } else { "" };
    format!("{}{advice}", sql::words(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_class_of_what_the_caller_does() {
        let rows = [
            ("40001", ErrorClass::Retry),
            ("40P01", ErrorClass::Retry),
            ("57014", ErrorClass::Timeout),
            ("55P03", ErrorClass::Timeout),
            ("08000", ErrorClass::Unknown),
            ("08006", ErrorClass::Unknown),
            ("08007", ErrorClass::Unknown),
            ("40003", ErrorClass::Unknown),
            ("53100", ErrorClass::Unknown),
            ("53300", ErrorClass::Unknown),
            ("57P01", ErrorClass::Unknown),
            ("57P02", ErrorClass::Unknown),
            ("57P03", ErrorClass::Unknown),
            ("57P05", ErrorClass::Unknown),
            ("58030", ErrorClass::Unknown),
            ("XX000", ErrorClass::Unknown),
            ("25006", ErrorClass::Away),
            ("28P01", ErrorClass::Away),
            ("28000", ErrorClass::Away),
            ("22003", ErrorClass::Fault),
            ("23514", ErrorClass::Fault),
            ("23505", ErrorClass::Fault),
            ("21000", ErrorClass::Fault),
            ("P0001", ErrorClass::Fault),
            ("42P01", ErrorClass::Broken),
            ("42501", ErrorClass::Broken),
            ("0A000", ErrorClass::Broken),
            ("3D000", ErrorClass::Broken),
            ("3F000", ErrorClass::Broken),
            ("25P02", ErrorClass::Unrecognised),
            ("25001", ErrorClass::Unrecognised),
            ("40002", ErrorClass::Unrecognised),
            ("P0004", ErrorClass::Unrecognised),
            ("54000", ErrorClass::Unrecognised),
            ("ZZ999", ErrorClass::Unrecognised),
        ];
        for (code, expected) in rows {
            assert_eq!(class(code, None, Step::Write), expected, "{code}");
        }
        for (row, _) in CODES {
            assert!(rows.iter().any(|(code, _)| code.starts_with(row)), "{row} has no row in this test");
        }
    }

    #[test]
    fn a_key_of_orders_is_taken_and_any_other_key_is_a_fault() {
        for key in KEYS_OF_ORDERS {
            assert_eq!(class("23505", Some(key), Step::Write), ErrorClass::Taken);
        }
        assert_eq!(class("23505", Some("stock_pkey"), Step::Write), ErrorClass::Fault);
        assert_eq!(class("23514", Some("orders_pkey"), Step::Write), ErrorClass::Fault);
    }

    #[test]
    fn what_writes_nothing_has_no_unknown_outcome() {
        for step in [Step::Connect, Step::Read] {
            for code in ["08006", "53300", "53400", "57P01", "57P03", "58030", "XX000"] {
                assert_eq!(class(code, None, step), ErrorClass::Away, "{code}");
            }
            assert_eq!(classify(&broken_pipe(), step).class, ErrorClass::Away);
            assert_eq!(silent(step, 6.0).class, ErrorClass::Away);
        }
        assert_eq!(class("55P03", None, Step::Connect), ErrorClass::Away);
        assert_eq!(class("55P03", None, Step::Read), ErrorClass::Timeout);
        assert_eq!(classify(&broken_pipe(), Step::Write).class, ErrorClass::Unknown);
        assert_eq!(classify(&sqlx::Error::RowNotFound, Step::Write).class, ErrorClass::Unknown);
        assert_eq!(silent(Step::Write, 6.0).class, ErrorClass::Unknown);
    }

    fn broken_pipe() -> sqlx::Error {
        sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into())
    }
}
