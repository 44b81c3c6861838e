//! The servers that tests run against: shared ones that `scripts/test` started, and private ones that a test may
//! stop, kill and start again.
//!
//! Shared servers are told apart by databases and key prefixes of the test's own. A server that is not there is a
//! failure, never a skipped test.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

pub(crate) mod ministack;
pub mod postgres;
pub mod process;
pub mod redis;
pub(crate) mod rustack;

/// How long anything may take that a healthy machine does at once: generous, because CI has two busy cores.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A variable that `scripts/test` sets.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test"))
}

/// Asks again every 20 ms until the answer is yes; panics with `what` after `bound`.
pub async fn eventually<F: Future<Output = bool>>(what: &str, bound: Duration, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + bound;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {bound:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A name that no other test of this or another run has: letters, digits and underscores.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}_{}_{count}_{:08x}", std::process::id(), random() & 0xffff_ffff)
}

/// A database of the test's own on the shared PostgreSQL. It is dropped with this value, also when the test panics.
#[derive(Debug)]
pub struct Database {
    name: String,
    server: String,
    url: String,
}

impl Database {
    /// Where it is: `postgres://…/name`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Executes statements of the test.
    pub async fn sql(&self, sql: &str) {
        let mut conn = PgConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    /// Gives sessions that begin from now on a setting, as in `deadlock_timeout = '5s'`.
    pub async fn set(&self, setting: &str) {
        self.sql(&format!("ALTER DATABASE {} SET {setting}", self.name)).await;
    }

    /// The one value that a query yields, as text.
    pub async fn value(&self, sql: &str) -> String {
        let mut conn = PgConnection::connect(&self.url).await.unwrap();
        let sql = format!("SELECT coalesce(({sql})::text, 'NULL')");
        let value = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        value
    }

    /// Waits until so many of its sessions wait for a lock.
    pub async fn waiting(&self, sessions: usize) {
        let query = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let waits = async || self.value(query).await == sessions.to_string();
        eventually("sessions wait for a lock", PATIENCE, waits).await;
    }

    /// Rows and blocks that were touched so far, once its sessions have reported that they inserted so many into the
    /// table.
    pub async fn touched(&self, table: &str, inserted: u64) -> u64 {
        let reported = format!("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = '{table}'");
        let reports = async || self.value(&reported).await == inserted.to_string();
        eventually("the sessions report their counts", PATIENCE, reports).await;
        let touched = "SELECT (SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables)
            + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)
            + (SELECT sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit) FROM pg_statio_user_tables)";
        self.value(touched).await.parse().unwrap()
    }
}

/// Creates an empty database on the shared PostgreSQL.
pub async fn database() -> Database {
    let server = variable("MILLRACE_TEST_POSTGRES");
    let name = unique("millrace_test");
    let mut connection = PgConnection::connect(&server)
        .await
        .unwrap_or_else(|error| panic!("no PostgreSQL at {server} ({error}): run scripts/test"));
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (host, _) = server.rsplit_once('/').expect("a URL has a slash before its database");
    Database { url: format!("{host}/{name}"), name, server }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime cannot be entered from within another one, so the farewell has a thread of its own.
        let farewell = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await?;
                sqlx::query(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))
                    .execute(&mut connection)
                    .await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            })
        });
        // Best effort: the server is a temporary one, and a second panic would hide the first.
        if let Ok(Err(error)) = farewell.join() {
            eprintln!("database {} was not dropped: {error}", self.name);
        }
    }
}

/// The shared Redis. Put [`redis_prefix`] before every key.
pub fn redis_url() -> String {
    variable("MILLRACE_TEST_REDIS")
}

/// A prefix for the test's keys on the shared Redis.
pub fn redis_prefix() -> String {
    unique("test")
}

/// A port on which nobody listens, below the range that the system gives to outgoing connections: so it is still
/// free when a stopped server comes back to it.
pub fn free_port() -> u16 {
    (0..1_000)
        .map(|_| 20_000 + u16::try_from(random() % 12_000).expect("below 12,000"))
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("one of 1,000 ports is free")
}

/// A folder for one private server, removed with it. Under `scripts/test` it lies where that script looks for what
/// killed tests left behind.
fn folder(of: &str) -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let parent = std::env::var_os("MILLRACE_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::Builder::new()
        .prefix(&format!("millrace-{of}-"))
        // The postgres user must be able to go through it.
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir_in(parent)
        .unwrap()
}

/// Another number in every process, and at every call.
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[tokio::test]
async fn a_database_is_empty_and_gone_with_its_value() {
    let database = database().await;
    let (name, server) = (database.name.clone(), database.server.clone());
    let mut inside = PgConnection::connect(database.url()).await.unwrap();
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        .fetch_one(&mut inside)
        .await
        .unwrap();
    assert_eq!(tables, 0);
    // Dropped with a session still in it, as after a panic.
    drop(database);
    let mut outside = PgConnection::connect(&server).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE datname = $1")
        .bind(&name)
        .fetch_one(&mut outside)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn the_shared_redis_answers_and_prefixes_differ() {
    assert_ne!(redis_prefix(), redis_prefix());
    let client = ::redis::Client::open(redis_url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let answer: String = ::redis::cmd("PING").query_async(&mut connection).await.unwrap();
    assert_eq!(answer, "PONG");
}
