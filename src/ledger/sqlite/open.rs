//! Opening a connection: only to a file that `migrate` made, of this program's schema, that takes writes.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _, Statement as _};

use super::{MIGRATIONS, Terms, errors};
use crate::ledger::effects::Effects;
use crate::ledger::{ErrorClass, LedgerError};

/// What the team's statement sees, filled anew in each transaction. Temporary tables belong to the connection.
const RELATIONS: &str = "
    CREATE TEMP TABLE committed (
        order_id text PRIMARY KEY, customer_id text NOT NULL, position bigint NOT NULL, currency text NOT NULL,
        total_minor bigint NOT NULL, placed_at text NOT NULL, body text NOT NULL
    ) WITHOUT ROWID;
    CREATE TEMP TABLE committed_lines (
        order_id text NOT NULL, customer_id text NOT NULL, line_number integer NOT NULL, sku text NOT NULL,
        quantity integer NOT NULL, unit_price_minor bigint NOT NULL, PRIMARY KEY (order_id, line_number)
    ) WITHOUT ROWID;";

pub(super) async fn connection(terms: &Terms) -> Result<SqliteConnection, LedgerError> {
    let mut connection = terms.file.open(&MIGRATIONS).await.map_err(errors::unfit)?;
    if let Some(effects) = &terms.effects {
        connection.execute(RELATIONS).await.map_err(errors::error)?;
        prepare(&mut connection, effects).await?;
    }
    Ok(connection)
}

/// Whatever SQLite has against the statement is the deployment's fault.
async fn prepare(connection: &mut SqliteConnection, effects: &Effects) -> Result<(), LedgerError> {
    let sql = AssertSqlSafe(effects.sql().to_owned()).into_sql_str();
    let statement = connection.prepare(sql).await.map_err(|raw| {
        let error = errors::effects(raw, effects);
        let class = if error.class == ErrorClass::Unrecognised { ErrorClass::Broken } else { error.class };
        LedgerError { class, ..error }
    })?;
    // SQLite would read a parameter that nobody binds as NULL.
    match statement.parameters() {
        None | Some(sqlx::Either::Right(0)) => Ok(()),
        Some(_) => {
            let message = format!("effects {}: takes parameters, and there are none", effects.path().display());
            Err(LedgerError { class: ErrorClass::Broken, message })
        }
    }
}
