//! The ledger in an SQLite file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Atomic};
use std::time::Duration;

use millrace::config;
use millrace::ledger::gatekeeper::Gatekeeper;
use millrace::ledger::sqlite::Sqlite;
use millrace::ledger::{Batch, ErrorClass, Ledger, Session, Verdict};
use millrace::order::Ordering;
use millrace::window::{Notice, Step};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;

use super::contract::bench::{batch, committed};
use super::contract::orders::{order, orders};
use super::contract::{self, Setup, Store};
use crate::probe::{Probe as _, SqliteProbe};
use crate::servers::{PATIENCE, eventually};

contract::contract!(promises, SqliteStore);

struct SqliteStore;

fn settings(url: &str, effects: Option<&Path>) -> config::Ledger {
    let mut settings: config::Ledger = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
    settings.effects = effects.map(Path::to_owned);
    // A loaded test machine is slow, and none of these tests waits for it.
    settings.connect_timeout = Duration::from_secs(20);
    settings.statement_timeout = Duration::from_secs(20);
    settings.lock_timeout = Duration::from_secs(10);
    settings
}

fn url(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("ledger.db").display())
}

impl Store for SqliteStore {
    type Ledger = Sqlite;
    type Probe = SqliteProbe;

    async fn open(&self, setup: &Setup) -> (Sqlite, SqliteProbe) {
        let folder = tempfile::tempdir().unwrap();
        let effects = setup.effects.map(|sql| {
            let path = folder.path().join("effects.sql");
            std::fs::write(&path, sql).unwrap();
            path
        });
        let url = url(&folder);
        let ledger = Sqlite::new(&url, setup.ordering, &settings(&url, effects.as_deref())).unwrap();
        if setup.migrated {
            assert!(ledger.migrate().await.unwrap() > 0);
        }
        let file = setup.migrated.then(|| url.parse::<SqliteConnectOptions>().unwrap().foreign_keys(false));
        let probe = SqliteProbe::of(file, folder).await;
        probe.execute(setup.tables).await;
        (ledger, probe)
    }
}

/// Two processes: no queue is shared, only the file.
async fn two_processes(lock_timeout: Duration) -> (Sqlite, Sqlite, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = url(&folder);
    let mut settings = settings(&url, None);
    settings.lock_timeout = lock_timeout;
    let open = || Sqlite::new(&url, Ordering::Gapless, &settings).unwrap();
    let (one, two) = (open(), open());
    one.migrate().await.unwrap();
    (one, two, folder)
}

/// Another process in the middle of a write.
async fn writing(folder: &TempDir) -> SqliteConnection {
    let options = url(folder).parse::<SqliteConnectOptions>().unwrap();
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    other
}

#[tokio::test]
async fn a_file_that_another_process_writes_is_a_timeout_and_the_session_lives() {
    let (ledger, _, folder) = two_processes(Duration::from_millis(50)).await;
    let mut session = ledger.connect().await.unwrap();
    let mut other = writing(&folder).await;
    let one = batch(&[&orders("ada", 1, 1)]);
    for batch in [one.clone(), Batch { resolve: true, ..one.clone() }] {
        let error = session.commit(&batch).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Timeout, "{error}");
    }
    // Who only reads waits for nobody, and a new session finds a writer at work.
    session.gate().await.unwrap();
    assert_eq!(session.look_up(&[order("ada", 1)]).await.unwrap().len(), 1);
    let mut second = ledger.connect().await.unwrap();
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(session.commit(&one).await.unwrap(), [committed(1, 0)]);
    assert_eq!(second.commit(&one).await.unwrap(), [Verdict::Behind(1)]);
}

#[tokio::test]
async fn a_step_waits_for_another_process_no_longer_than_for_a_lock() {
    let (ledger, _, folder) = two_processes(Duration::from_millis(50)).await;
    let mut keeper = ledger.gatekeeper().await.unwrap();
    for step in [Step::Announce(1), Step::Close { from: 0, to: 1 }, Step::Grant(1), Step::Reopen(1)] {
        let mut take = async || match step {
            Step::Announce(epoch) => keeper.announce(epoch).await,
            Step::Close { from, to } => keeper.close(from, to, &Notice::default()).await,
            Step::Grant(epoch) => keeper.grant(epoch, "ann").await,
            _ => keeper.reopen(1, "ann").await,
        };
        let mut other = writing(&folder).await;
        assert_eq!(take().await.unwrap_err().class, ErrorClass::Timeout, "{step:?}");
        other.execute("ROLLBACK").await.unwrap();
        assert_eq!(take().await, Ok(true), "{step:?}");
    }
}

/// The turn of this process's writers is fair, and the file's lock is short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_begins_under_full_load() {
    let (ledger, other, _folder) = two_processes(Duration::from_secs(2)).await;
    let (count, mut writers) = (Arc::new(AtomicU64::new(0)), Vec::new());
    for n in 0..8 {
        let (ledger, done) = (if n < 4 { ledger.clone() } else { other.clone() }, Arc::clone(&count));
        writers.push(tokio::spawn(async move {
            let mut session = ledger.connect().await.unwrap();
            let name = format!("c{n}");
            let mut rank = 1;
            while rank < 20_000 {
                match session.commit(&batch(&[&[order(&name, rank)]])).await.as_deref() {
                    Ok([Verdict::Committed { .. }]) => {
                        done.fetch_add(1, Atomic::Relaxed);
                        rank += 1;
                    }
                    Ok([Verdict::GateClosed]) => return,
                    // Two processes poll for the file's lock, and one of them may have bad luck: once more.
                    Err(error) if error.class == ErrorClass::Timeout => {}
                    other => panic!("{other:?}"),
                }
            }
            panic!("nobody closed the gate");
        }));
    }
    let mut keeper = ledger.gatekeeper().await.unwrap();
    eventually("the load is there", PATIENCE, async || count.load(Atomic::Relaxed) > 100).await;
    let mut timeouts = 0;
    for step in [Step::Announce(1), Step::Close { from: 0, to: 1 }] {
        loop {
            let taken = match step {
                Step::Close { from, to } => keeper.close(from, to, &Notice::default()).await,
                _ => keeper.announce(1).await,
            };
            match taken {
                Ok(taken) => break assert!(taken, "{step:?}"),
                Err(error) => assert_eq!(error.class, ErrorClass::Timeout, "{error}"),
            }
            timeouts += 1;
            assert!(timeouts < 5, "the load does not let it in");
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_commit_side_by_side() {
    let (one, two, _folder) = two_processes(Duration::from_secs(10)).await;
    let task = |ledger: Sqlite, name: &'static str| async move {
        let mut session = ledger.connect().await.unwrap();
        for rank in 1..=50 {
            let runs = [order(name, rank), order("shared", rank)];
            let verdicts = session.commit(&batch(&[&runs[..1], &runs[1..]])).await.unwrap();
            assert_eq!(verdicts[0], committed(rank, 0));
            assert!(matches!(verdicts[1], Verdict::Committed { .. } | Verdict::Behind(_)), "{verdicts:?}");
        }
    };
    let (first, second) = (tokio::spawn(task(one.clone(), "ada")), tokio::spawn(task(two, "bob")));
    first.await.unwrap();
    second.await.unwrap();
    let mut session = one.connect().await.unwrap();
    let last = [order("ada", 51), order("bob", 51), order("shared", 51)];
    let verdicts = session.commit(&batch(&[&last[..1], &last[1..2], &last[2..]])).await.unwrap();
    assert_eq!(verdicts, [committed(51, 0), committed(51, 0), committed(51, 0)]);
}

/// A statement that would run for minutes.
const ENDLESS: &str = "INSERT INTO log WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000000)
    SELECT count(*) FROM n, committed";

#[tokio::test]
async fn a_statement_beyond_its_time_is_rolled_back_and_the_session_lives() {
    let folder = tempfile::tempdir().unwrap();
    let (url, effects) = (url(&folder), folder.path().join("effects.sql"));
    std::fs::write(&effects, ENDLESS).unwrap();
    let mut settings = settings(&url, Some(&effects));
    settings.statement_timeout = Duration::from_millis(300);
    settings.lock_timeout = Duration::from_millis(200);
    let ledger = Sqlite::new(&url, Ordering::Gapless, &settings).unwrap();
    ledger.migrate().await.unwrap();
    let mut other = SqliteConnection::connect_with(&url.parse().unwrap()).await.unwrap();
    other.execute("CREATE TABLE log (n bigint)").await.unwrap();
    let mut session = ledger.connect().await.unwrap();
    for _ in 0..2 {
        let error = session.commit(&batch(&[&orders("ada", 1, 1)])).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Timeout, "{error}");
    }
    let found = session.look_up(&[order("ada", 1)]).await.unwrap();
    assert_eq!(found, [millrace::ledger::Found::Absent]);
    other.execute("BEGIN IMMEDIATE; ROLLBACK").await.expect("no transaction stays open");
}

/// SQLite ends the transaction by itself here, so that ours cannot be rolled back.
#[tokio::test]
async fn effects_that_roll_back_by_themselves_are_a_fault_and_the_session_lives() {
    let folder = tempfile::tempdir().unwrap();
    let (url, effects) = (url(&folder), folder.path().join("effects.sql"));
    std::fs::write(&effects, "INSERT OR ROLLBACK INTO once SELECT customer_id FROM committed").unwrap();
    let ledger = Sqlite::new(&url, Ordering::Gapless, &settings(&url, Some(&effects))).unwrap();
    ledger.migrate().await.unwrap();
    let mut other = SqliteConnection::connect_with(&url.parse().unwrap()).await.unwrap();
    other.execute("CREATE TABLE once (customer_id text PRIMARY KEY)").await.unwrap();
    let mut session = ledger.connect().await.unwrap();
    assert_eq!(session.commit(&batch(&[&orders("ada", 1, 1)])).await.unwrap(), [committed(1, 0)]);
    let error = session.commit(&batch(&[&orders("ada", 2, 2)])).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Fault, "{error}");
    assert_eq!(session.commit(&batch(&[&orders("bob", 1, 1)])).await.unwrap(), [committed(1, 0)]);
    assert_eq!(session.look_up(&[order("ada", 2)]).await.unwrap(), [millrace::ledger::Found::Absent]);
}

#[tokio::test]
async fn what_is_no_ledger_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let open = |url: &str| Sqlite::new(url, Ordering::Gapless, &settings(url, None));
    let connect = async |url: &str| open(url).unwrap().connect().await.expect_err("there is no ledger");

    let missing = connect(&url(&folder)).await;
    assert_eq!(missing.class, ErrorClass::Broken, "{missing}");
    assert!(missing.message.contains("run `millrace migrate`"), "{missing}");
    assert!(!path.exists(), "connecting makes no file");

    let away = connect(&format!("sqlite://{}/volume/ledger.db", folder.path().display())).await;
    assert_eq!(away.class, ErrorClass::Away, "{away}");
    std::fs::create_dir(folder.path().join("folder.db")).unwrap();
    let no_file = connect(&format!("sqlite://{}/folder.db", folder.path().display())).await;
    assert_eq!(no_file.class, ErrorClass::Away, "{no_file}");

    std::fs::write(&path, "this is a text of more than a hundred bytes and no database at all ".repeat(4)).unwrap();
    let text = connect(&url(&folder)).await;
    assert_eq!(text.class, ErrorClass::Away, "{text}");

    std::fs::remove_file(&path).unwrap();
    open(&url(&folder)).unwrap().migrate().await.unwrap();
    let read_only = connect(&format!("{}?mode=ro", url(&folder))).await;
    assert_eq!(read_only.class, ErrorClass::Away, "{read_only}");

    for bad in ["sqlite::memory:", "sqlite://x.db?mode=memory", "sqlite://x.db?what=1", "sqlite://"] {
        assert_eq!(open(bad).expect_err("refused").class, ErrorClass::Broken, "{bad}");
    }
}

#[tokio::test]
async fn a_ledger_of_a_newer_version_is_accepted_and_of_an_older_one_is_not() {
    let (ledger, _, folder) = two_processes(Duration::from_secs(1)).await;
    let mut other = SqliteConnection::connect_with(&url(&folder).parse().unwrap()).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'to come', true, x'00', 0)";
    other.execute(newer).await.unwrap();
    ledger.connect().await.unwrap();
    assert_eq!(ledger.migrate().await, Ok(0));
    other.execute("DELETE FROM _sqlx_migrations WHERE version < 9999").await.unwrap();
    assert_eq!(ledger.connect().await.expect_err("too old").class, ErrorClass::Broken);
}

#[tokio::test]
async fn commits_are_durable_in_the_write_ahead_log() {
    let (_, _, folder) = two_processes(Duration::from_secs(1)).await;
    let mut other = SqliteConnection::connect_with(&url(&folder).parse().unwrap()).await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut other).await.unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn effects_with_parameters_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (url, effects) = (url(&folder), folder.path().join("effects.sql"));
    let ledger = || Sqlite::new(&url, Ordering::Gapless, &settings(&url, Some(&effects)));
    std::fs::write(&effects, "SELECT 1").unwrap();
    let error = ledger().expect_err("it writes nothing");
    assert!(error.class == ErrorClass::Broken && error.message.contains("effects.sql:1: `SELECT`"), "{error}");
    std::fs::write(&effects, "DELETE FROM orders WHERE order_id = ?1").unwrap();
    let ledger = ledger().unwrap();
    ledger.migrate().await.unwrap();
    let error = ledger.connect().await.expect_err("nobody binds it");
    assert!(error.class == ErrorClass::Broken && error.message.contains("parameters"), "{error}");
}
