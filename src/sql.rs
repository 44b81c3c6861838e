//! What every store in SQL does before its first statement: it opens a connection that is proven to be fit, and takes
//! the steps of its schema. And what of an error means the same to all of them.

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

/// Whether the driver's own error, not the server's, says that settings cannot be right or that columns are those of
/// another schema: the deployment is broken.
pub(crate) fn is_misfit(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::Configuration(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::Decode(_)
    )
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
