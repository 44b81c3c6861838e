//! What an error of PostgreSQL means to the caller: one table. No call has an unknown outcome that hurts, because each
//! may be repeated.

use std::time::Duration;

use sqlx::postgres::PgDatabaseError;

use crate::backlog::words::{away, broken};
use crate::backlog::{BacklogError, ErrorClass};
use crate::sql::postgres::{row, words};
use crate::sql::{Unfit, is_misfit};

/// A row is a SQLSTATE, or the characters that it begins with; the longer one counts.
const CODES: &[(&str, ErrorClass)] = &[
    // Rolled back, too slow, or waited too long.
    ("40001", ErrorClass::Away),
    ("40P01", ErrorClass::Away),
    ("57014", ErrorClass::Away),
    ("55P03", ErrorClass::Away),
    // The server or the connection went away, or is out of something.
    ("08", ErrorClass::Away),
    ("40003", ErrorClass::Away),
    ("53", ErrorClass::Away),
    ("57P01", ErrorClass::Away),
    ("57P02", ErrorClass::Away),
    ("57P03", ErrorClass::Away),
    ("57P05", ErrorClass::Away),
    ("58", ErrorClass::Away),
    ("XX", ErrorClass::Away),
    // Idle in a transaction, or a writer that was demoted.
    ("25P03", ErrorClass::Away),
    ("25006", ErrorClass::Away),
    // Passwords, tables, columns, privileges, databases and schemas that are missing.
    ("28", ErrorClass::Broken),
    ("42", ErrorClass::Broken),
    ("0A000", ErrorClass::Broken),
    ("3D000", ErrorClass::Broken),
    ("3F000", ErrorClass::Broken),
];

/// What an operator does about it.
const ADVICE: &[(&str, &str)] = &[
    ("28", ": check user and password in backlog.url"),
    ("42P01", ": run `millrace migrate`"),
    ("42703", ": run `millrace migrate`"),
    (
        "55P03",
        ": another session holds what this waited for, for longer than backlog.lock_timeout; nothing was changed",
    ),
    ("57014", ": it took longer than backlog.statement_timeout; nothing was changed"),
];

/// Classifies what sqlx says.
pub(super) fn classify(error: &sqlx::Error) -> BacklogError {
    let class = match error {
        sqlx::Error::Database(database) => match database.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => return of_the_server(error),
            None => ErrorClass::Unrecognised,
        },
        // The connection is of no more use, another one may be.
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => ErrorClass::Away,
        error if is_misfit(error) => ErrorClass::Broken,
        _ => ErrorClass::Unrecognised,
    };
    BacklogError { class, message: error.to_string() }
}

fn of_the_server(error: &PgDatabaseError) -> BacklogError {
    let code = error.code();
    let class = row(CODES, code).unwrap_or(ErrorClass::Unrecognised);
    let advice = row(ADVICE, code).unwrap_or_default();
    BacklogError { class, message: format!("{}{advice}", words(error)) }
}

/// Why the database cannot be used.
pub(super) fn unfit(error: Unfit) -> BacklogError {
    match error {
        Unfit::Driver(error) => classify(&error),
        Unfit::Away(message) => away(message),
        Unfit::Broken(message) => broken(message),
    }
}

/// No answer came in time.
pub(super) fn silent(limit: Duration) -> BacklogError {
    away(format!("PostgreSQL gave no answer in {:.1} s", limit.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_class_of_what_the_caller_does() {
        let rows = [
            ("40001", ErrorClass::Away),
            ("40P01", ErrorClass::Away),
            ("57014", ErrorClass::Away),
            ("55P03", ErrorClass::Away),
            ("08006", ErrorClass::Away),
            ("40003", ErrorClass::Away),
            ("53100", ErrorClass::Away),
            ("53300", ErrorClass::Away),
            ("57P01", ErrorClass::Away),
            ("57P02", ErrorClass::Away),
            ("57P03", ErrorClass::Away),
            ("57P05", ErrorClass::Away),
            ("58030", ErrorClass::Away),
            ("XX000", ErrorClass::Away),
            ("25P03", ErrorClass::Away),
            ("25006", ErrorClass::Away),
            ("28P01", ErrorClass::Broken),
            ("28000", ErrorClass::Broken),
            ("42P01", ErrorClass::Broken),
            ("42703", ErrorClass::Broken),
            ("42501", ErrorClass::Broken),
            ("0A000", ErrorClass::Broken),
            ("3D000", ErrorClass::Broken),
            ("3F000", ErrorClass::Broken),
        ];
        for (code, expected) in rows {
            assert_eq!(row(CODES, code), Some(expected), "{code}");
        }
        for (prefix, _) in CODES {
            assert!(rows.iter().any(|(code, _)| code.starts_with(prefix)), "{prefix} has no row in this test");
        }
        for code in ["25P02", "25001", "40002", "54000", "22003", "23505", "23514", "P0001", "ZZ999"] {
            assert_eq!(row(CODES, code), None, "{code} is no code that this program knows");
        }
    }

    #[test]
    fn advice_is_given_where_there_is_some() {
        assert_eq!(row(ADVICE, "42P01"), Some(": run `millrace migrate`"));
        assert!(row(ADVICE, "55P03").is_some_and(|advice| advice.contains("backlog.lock_timeout")));
        assert_eq!(row(ADVICE, "42501"), None);
    }

    #[test]
    fn errors_without_a_code() {
        for (error, expected) in [
            (sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into()), ErrorClass::Away),
            (sqlx::Error::Protocol("x".into()), ErrorClass::Away),
            (sqlx::Error::Configuration("x".into()), ErrorClass::Broken),
            (sqlx::Error::ColumnNotFound("x".into()), ErrorClass::Broken),
            (sqlx::Error::RowNotFound, ErrorClass::Unrecognised),
        ] {
            assert_eq!(classify(&error).class, expected, "{error}");
        }
    }
}
