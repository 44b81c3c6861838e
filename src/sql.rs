//! What every store in SQL does before its first statement: it opens a connection that is proven to be fit, and takes
//! the steps of its schema.

pub(crate) mod postgres;
pub(crate) mod sqlite;

/// Why a database cannot be used.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// The driver's error; the store's table of codes says what it means.
    Driver(sqlx::Error),
    /// It is not there, or takes no writes: later it may.
    Away(String),
    /// The deployment is broken: no waiting mends it.
    Broken(String),
}

impl From<sqlx::Error> for Unfit {
    fn from(error: sqlx::Error) -> Self {
        Unfit::Driver(error)
    }
}

impl From<sqlx::migrate::MigrateError> for Unfit {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Unfit::Driver(error),
            error => Unfit::Broken(format!("migrate: {error}")),
        }
    }
}
