//! A connection to PostgreSQL that is proven to be the writer, the steps of a schema, and the words of an error.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::Unfit;

/// An operator's command may take as long as it needs, but not for ever.
pub(crate) const COMMAND_LIMIT: Duration = Duration::from_mins(10);

/// Held by whoever migrates, so that steps are counted by the one who takes them.
const MIGRATION_LOCK: i64 = 0x6d69_6c6c_7261_6365;

/// Reads a URL.
pub(crate) fn options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?;
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("millrace"),
    };
    // The text of a group commit is long, and sqlx would log it whenever it is slow.
    Ok(options.disable_statement_logging())
}

/// Connects, proves that it is the writer, and sets the session up. Nothing is written.
pub(crate) async fn open(
    options: &PgConnectOptions,
    statement_timeout: Duration,
    lock_timeout: Duration,
) -> Result<PgConnection, Unfit> {
    let mut conn = options.connect().await?;
    let row = sqlx::query(
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
                current_setting('server_encoding')",
    )
    .fetch_one(&mut conn)
    .await?;
    if row.try_get(0)? {
        return Err(demoted());
    }
    let encoding: &str = row.try_get(1)?;
    if encoding != "UTF8" {
        let message = format!("the database's encoding is {encoding}, not UTF8: orders may hold any character");
        return Err(Unfit::Broken(message));
    }
    let milliseconds = |duration: Duration| duration.as_millis().to_string();
    let settings = [
        ("statement_timeout", milliseconds(statement_timeout)),
        ("lock_timeout", milliseconds(lock_timeout)),
        ("idle_in_transaction_session_timeout", milliseconds(statement_timeout)),
        // A session without work is no reason to lose its connection.
        ("idle_session_timeout", "0".into()),
        // When this process's machine dies, its locks go within some ten seconds.
        ("tcp_keepalives_idle", "5".into()),
        ("tcp_keepalives_interval", "1".into()),
        ("tcp_keepalives_count", "5".into()),
        ("client_connection_check_interval", "1000".into()),
        // A plan that was made while a table was empty is kept, and must not read the whole table later.
        ("enable_seqscan", "off".into()),
        ("jit", "off".into()),
    ];
    let (names, values): (Vec<&str>, Vec<String>) = settings.into_iter().unzip();
    // Through pg_settings, because older versions do not have all of them.
    sqlx::query(
        "SELECT set_config(s.name, w.value, false)
         FROM unnest($1::text[], $2::text[]) AS w (name, value) JOIN pg_settings s USING (name)",
    )
    .bind(names)
    .bind(values)
    .fetch_all(&mut conn)
    .await?;
    Ok(conn)
}

/// What a server that was the writer once is now.
pub(crate) fn demoted() -> Unfit {
    Unfit::Away("the server takes no writes: it is not the writer".into())
}

/// Takes the steps that were not taken, and says how many.
pub(crate) async fn migrate(
    conn: &mut PgConnection,
    migrator: &Migrator,
    lock_timeout: Duration,
) -> Result<usize, Unfit> {
    // Another operator's run is waited for; the steps themselves shall not stand long in the workers' way.
    let lock = format!(
        "SET lock_timeout = '{}s'; SELECT pg_advisory_lock({MIGRATION_LOCK}); SET lock_timeout = {}",
        COMMAND_LIMIT.as_secs(),
        lock_timeout.as_millis(),
    );
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *conn).await?;
    let before = applied(conn, migrator).await?.len();
    migrator.run_direct(None, conn, false).await?;
    Ok(applied(conn, migrator).await?.len() - before)
}

/// Every step that this program knows was taken; later ones of a newer version do no harm.
pub(crate) async fn schema_is_current(conn: &mut PgConnection, migrator: &Migrator, of: &str) -> Result<(), Unfit> {
    let applied = applied(conn, migrator).await?;
    let missing: Vec<_> = migrator
        .iter()
        .filter(|migration| !applied.contains(&migration.version))
        .map(|migration| migration.version)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Unfit::Broken(format!("the {of}'s schema lacks the steps {missing:?}: run `millrace migrate`")))
}

/// The versions that were taken, none when there is no table of them.
async fn applied(conn: &mut PgConnection, migrator: &Migrator) -> Result<Vec<i64>, sqlx::Error> {
    let table = &*migrator.table_name;
    let exists = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table);
    if !exists.fetch_one(&mut *conn).await? {
        return Ok(Vec::new());
    }
    let versions = format!("SELECT version FROM {table} WHERE success");
    sqlx::query_scalar(AssertSqlSafe(versions)).fetch_all(conn).await
}

/// The row for a SQLSTATE in a table of SQLSTATEs and the characters that they begin with: the longer one counts.
pub(crate) fn row<T: Copy>(table: &[(&str, T)], code: &str) -> Option<T> {
    let rows = table.iter().filter(|(prefix, _)| code.starts_with(prefix));
    rows.max_by_key(|(prefix, _)| prefix.len()).map(|(_, value)| *value)
}

/// What the server said, with its code and what it names.
pub(crate) fn words(error: &PgDatabaseError) -> String {
    let more = [("table", error.table()), ("constraint", error.constraint()), ("detail", error.detail())];
    let more = more.iter().filter_map(|(name, value)| value.map(|value| format!(", {name} {value}")));
    format!("{} (SQLSTATE {}{})", error.message(), error.code(), more.collect::<String>())
}

/// Says goodbye, where the answer does not matter any more.
pub(crate) async fn close(conn: PgConnection) {
    if let Err(error) = conn.close().await {
        tracing::debug!(%error, "closing a connection");
    }
}
