//! The backlog in an SQLite file: the promises of every backlog, and what only it can get wrong.

use std::time::Duration;

use millrace::backlog::sqlite::Sqlite;
use millrace::backlog::{Append, Backlog, ErrorClass, Kept, Read, Session};
use millrace::config;
use millrace::order::Ordering;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;

use super::contract::bench::{all, notice};
use super::contract::orders::order;
use super::contract::{self, Store};
use crate::probe::SqliteProbe;

contract::contract!(promises, SqliteStore);

struct SqliteStore;

fn settings() -> config::Backlog {
    // A loaded test machine is slow, and none of these tests waits for it.
    config::Backlog {
        lock_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(20),
        ..config::Backlog::default()
    }
}

fn url(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("backlog.db").display())
}

impl Store for SqliteStore {
    type Backlog = Sqlite;
    type Probe = SqliteProbe;

    async fn open(&self, migrated: bool) -> (Sqlite, SqliteProbe) {
        let folder = tempfile::tempdir().unwrap();
        let url = url(&folder);
        let backlog = Sqlite::new(&url, Ordering::Gapless, &settings()).unwrap();
        if migrated {
            assert!(backlog.migrate().await.unwrap() > 0);
        }
        let file = migrated.then(|| url.parse().unwrap());
        (backlog, SqliteProbe::of(file, folder).await)
    }
}

/// Two processes: no queue is shared, only the file.
async fn two_processes(lock_timeout: Duration) -> (Sqlite, Sqlite, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings = config::Backlog { lock_timeout, ..settings() };
    let open = || Sqlite::new(&url(&folder), Ordering::Gapless, &settings).unwrap();
    let (one, two) = (open(), open());
    one.migrate().await.unwrap();
    assert!(one.connect().await.unwrap().start_spooling(1, &notice("test")).await.unwrap());
    (one, two, folder)
}

/// A client of the file.
async fn by_hand(folder: &TempDir) -> SqliteConnection {
    SqliteConnection::connect_with(&url(folder).parse().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_append_and_drain_side_by_side() {
    const ROUNDS: u128 = 40;
    let (one, two, _folder) = two_processes(Duration::from_secs(10)).await;
    let mut tasks = Vec::new();
    for (backlog, name) in [(one.clone(), "ada"), (two.clone(), "bob")] {
        tasks.push(tokio::spawn(async move {
            let mut session = backlog.connect().await.unwrap();
            let mut new = 0;
            for rank in 1..=ROUNDS {
                let orders = [order(name, rank), order("shared", rank)];
                match session.append(1, &orders).await.unwrap() {
                    Append::Spooled(kept) => new += kept.iter().filter(|kept| **kept == Kept::New).count(),
                    Append::Refused(view) => panic!("{view:?}"),
                }
                let rows = session.read(&Read { share: 1, limit: 1, ..Read::default() }).await.unwrap();
                session.remove(&rows.iter().map(|row| row.row).collect::<Vec<_>>()).await.unwrap();
            }
            new as u64
        }));
    }
    let mut new = 0;
    for task in tasks {
        new += task.await.unwrap();
    }
    let mut session = two.connect().await.unwrap();
    let depth = session.depth().await.unwrap();
    let rows = session.read(&all()).await.unwrap();
    assert_eq!((depth.appended, depth.rows), (new, rows.len() as u64));
}

#[tokio::test]
async fn a_file_that_another_process_writes_is_away_and_says_why() {
    let (backlog, _, folder) = two_processes(Duration::from_millis(50)).await;
    let mut session = backlog.connect().await.unwrap();
    let mut other = by_hand(&folder).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    // Who only reads waits for nobody, and a new session finds a writer at work.
    session.phase().await.unwrap();
    let error = session.append(1, &[order("ada", 1)]).await.unwrap_err();
    assert!(error.class == ErrorClass::Away && error.message.contains("backlog.lock_timeout"), "{error}");
    let mut session = backlog.connect().await.unwrap();
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(session.append(1, &[order("ada", 1)]).await.unwrap(), Append::Spooled(vec![Kept::New]));
}

/// What is written by another process while a step waits for the file counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_sees_what_was_appended_while_it_waited() {
    let (backlog, _, folder) = two_processes(Duration::from_secs(10)).await;
    let mut session = backlog.connect().await.unwrap();
    assert!(session.announce_seal(1, 0).await.unwrap() && session.seal(1, 0).await.unwrap());
    let mut other = by_hand(&folder).await;
    other.execute("BEGIN IMMEDIATE; UPDATE backlog_gate SET phase = 'SPOOLING', turn = 1").await.unwrap();
    let sealed = tokio::spawn(async move { session.sealed(1).await });
    other
        .execute(
            "INSERT INTO backlog_orders (customer_id, ord, order_id, digest, message_id, body, appended_at)
             VALUES ('ada', '1', 'ada-1', x'00', 'm', x'00', '');
             UPDATE backlog_gate SET phase = 'SEALING'; COMMIT",
        )
        .await
        .unwrap();
    assert!(!sealed.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_statement_beyond_its_time_is_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let settings = config::Backlog { statement_timeout: Duration::from_millis(300), ..settings() };
    let backlog = Sqlite::new(&url(&folder), Ordering::Gapless, &settings).unwrap();
    backlog.migrate().await.unwrap();
    backlog.connect().await.unwrap().start_spooling(1, &notice("test")).await.unwrap();
    let mut other = by_hand(&folder).await;
    let endless = "CREATE TABLE log (n bigint);
        CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000000)
            SELECT count(*) AS n FROM n;
        CREATE TRIGGER endless AFTER INSERT ON backlog_orders BEGIN INSERT INTO log SELECT n FROM endless; END";
    other.execute(endless).await.unwrap();
    let error = backlog.connect().await.unwrap().append(1, &[order("ada", 1)]).await.unwrap_err();
    assert!(error.class == ErrorClass::Away && error.message.contains("backlog.statement_timeout"), "{error}");
    other.execute("DROP TRIGGER endless").await.expect("no transaction stays open");
    let mut session = backlog.connect().await.unwrap();
    assert_eq!(session.depth().await.unwrap().appended, 0);
    assert_eq!(session.append(1, &[order("ada", 1)]).await.unwrap(), Append::Spooled(vec![Kept::New]));
}

#[tokio::test]
async fn what_is_no_backlog_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let open = |url: &str| Sqlite::new(url, Ordering::Gapless, &settings());
    let connect = async |url: &str| open(url).unwrap().connect().await.expect_err("there is no backlog");
    let missing = connect(&url(&folder)).await;
    assert!(missing.class == ErrorClass::Broken && missing.message.contains("run `millrace migrate`"), "{missing}");
    assert!(!folder.path().join("backlog.db").exists(), "connecting makes no file");
    let away = connect(&format!("sqlite://{}/volume/backlog.db", folder.path().display())).await;
    assert_eq!(away.class, ErrorClass::Away, "{away}");
    open(&url(&folder)).unwrap().migrate().await.unwrap();
    let read_only = connect(&format!("{}?mode=ro", url(&folder))).await;
    assert_eq!(read_only.class, ErrorClass::Away, "{read_only}");
    for bad in ["sqlite::memory:", "sqlite://x.db?mode=memory", "sqlite://x.db?what=1", "sqlite://"] {
        let error = open(bad).expect_err("refused");
        assert!(error.class == ErrorClass::Broken && error.message.contains("backlog.url"), "{bad}: {error}");
    }
}

#[tokio::test]
async fn it_may_share_its_file_with_the_ledger() {
    use millrace::ledger::{Ledger, Session as _};
    let (backlog, _, folder) = two_processes(Duration::from_secs(10)).await;
    let settings = serde_json::from_value(serde_json::json!({ "url": url(&folder) })).unwrap();
    let ledger = millrace::ledger::sqlite::Sqlite::new(&url(&folder), Ordering::Gapless, &settings).unwrap();
    assert!(ledger.migrate().await.unwrap() > 0);
    assert_eq!(backlog.migrate().await, Ok(0));
    ledger.connect().await.unwrap().gate().await.unwrap();
    assert!(backlog.connect().await.unwrap().phase().await.unwrap().accepts());
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut by_hand(&folder).await).await.unwrap();
    assert_eq!(mode, "wal");
}
