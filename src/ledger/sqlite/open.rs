//! Opening a connection: only to a file that `migrate` made, of this program's schema, that takes writes.

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _, Statement as _};

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
    look_for_file(terms)?;
    let mut connection = SqliteConnection::connect_with(&terms.options).await.map_err(errors::error)?;
    check_schema(&mut connection, terms).await?;
    prove_writer(&mut connection).await?;
    wal(&mut connection).await?;
    if let Some(effects) = &terms.effects {
        connection.execute(RELATIONS).await.map_err(errors::error)?;
        prepare(&mut connection, effects).await?;
    }
    Ok(connection)
}

/// A file that is not there is a step that was forgotten; a folder that is not there is a volume that is away.
fn look_for_file(terms: &Terms) -> Result<(), LedgerError> {
    let path = &terms.path;
    let away =
        |problem: String| LedgerError { class: ErrorClass::Away, message: format!("{}: {problem}", path.display()) };
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) if path.parent().is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()) => {
            let message = format!("{}: no such file; run `millrace migrate`", path.display());
            Err(LedgerError { class: ErrorClass::Broken, message })
        }
        Ok(false) => Err(away("its folder is not there".into())),
        Err(error) => Err(away(error.to_string())),
    }
}

/// The versions of the steps that were taken; none when there is no schema yet.
pub(super) async fn versions(connection: &mut SqliteConnection) -> Result<BTreeSet<i64>, LedgerError> {
    let table = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'";
    let tables: i64 = sqlx::query_scalar(table).fetch_one(&mut *connection).await.map_err(errors::error)?;
    if tables == 0 {
        return Ok(BTreeSet::new());
    }
    let versions = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success");
    Ok(versions.fetch_all(connection).await.map_err(errors::error)?.into_iter().collect())
}

async fn check_schema(connection: &mut SqliteConnection, terms: &Terms) -> Result<(), LedgerError> {
    let there = versions(connection).await?;
    match MIGRATIONS.iter().find(|step| !there.contains(&step.version)) {
        None => Ok(()),
        Some(step) => {
            let (path, version) = (terms.path.display(), step.version);
            let message = format!("{path}: the schema lacks step {version}; run `millrace migrate`");
            Err(LedgerError { class: ErrorClass::Broken, message })
        }
    }
}

/// SQLite opens a file that it may not write without a word, and begins a transaction on it too: a write tells.
async fn prove_writer(connection: &mut SqliteConnection) -> Result<(), LedgerError> {
    match connection.begin_with("BEGIN IMMEDIATE").await {
        Ok(mut tx) => {
            let nothing = sqlx::query("UPDATE gate SET id = id WHERE id = 0").execute(&mut *tx).await;
            tx.rollback().await.map_err(errors::error)?;
            nothing.map(drop).map_err(errors::error)
        }
        // Somebody else is writing, so writes are taken; the wait for them is each call's own.
        Err(error) => match errors::error(error) {
            LedgerError { class: ErrorClass::Timeout, .. } => Ok(()),
            error => Err(error),
        },
    }
}

/// Turns on the write-ahead log. Changes nothing where it is on.
pub(super) async fn wal(connection: &mut SqliteConnection) -> Result<(), LedgerError> {
    let mode = sqlx::query_scalar("PRAGMA journal_mode = WAL");
    let mode: String = mode.fetch_one(connection).await.map_err(errors::error)?;
    if mode == "wal" {
        return Ok(());
    }
    let message = format!("journal_mode is {mode}: this file system cannot carry a write-ahead log");
    Err(LedgerError { class: ErrorClass::Broken, message })
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
