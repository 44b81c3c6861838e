//! The lock server is away, silent, emptied, or somebody else's.

use std::time::Duration;

use millrace::config;
use millrace::locks::redis::RedisLocks;
use millrace::locks::{AnyLocks, Locks as _, LocksAway, OpenError, Unproven, open};
use millrace::metrics;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{LONG, names, settings, until};
use crate::servers::redis::{Server, ask};
use crate::servers::{free_port, redis_prefix};

/// Far above every timeout used here, far below "for ever".
const SOON: Duration = Duration::from_secs(20);

fn at(url: &str) -> config::Locks {
    let timeout = Duration::from_secs(1);
    config::Locks { url: url.into(), prefix: redis_prefix(), timeout, ..config::Locks::default() }
}

/// Deletes what begins with the prefix: what FLUSHALL would do to a server that is not shared.
async fn forget(settings: &config::Locks, what: &str) -> usize {
    let keys: Vec<String> = ask(&settings.url, &["KEYS", &format!("{}:{what}", settings.prefix)]).await.unwrap();
    let names = keys.iter().map(String::as_str);
    let deleted: usize = ask(&settings.url, &["DEL"].into_iter().chain(names).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(deleted, keys.len());
    keys.len()
}

#[tokio::test]
async fn a_forgotten_lock_is_not_renewed_and_can_be_taken() {
    let settings = settings(256);
    let (ours, theirs) = (RedisLocks::open(&settings).unwrap(), RedisLocks::open(&settings).unwrap());
    let customers = names(&["a", "b", "c"]);
    assert_eq!(ours.take(&customers, LONG).await, Ok(vec![true; 3]));
    assert_eq!(forget(&settings, "*:lock:*").await, 3);
    assert_eq!(ours.renew(&customers, LONG).await, Ok(vec![false; 3]));
    assert_eq!(theirs.take(&customers, LONG).await, Ok(vec![true; 3]));
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_learns_them_again() {
    let server = Server::start().await;
    let locks = RedisLocks::open(&at(&server.url())).unwrap();
    let customers = names(&["a"]);
    for _ in 0..3 {
        assert_eq!(locks.take(&customers, LONG).await, Ok(vec![true]));
        assert_eq!(locks.renew(&customers, LONG).await, Ok(vec![true]));
        assert_eq!(locks.release(&customers).await, Ok(()));
        server.ask::<()>(&["SCRIPT", "FLUSH"]).await;
    }
}

#[tokio::test]
async fn the_value_of_a_lock_is_its_owner_and_the_lease_its_life() {
    let server = Server::start().await;
    let settings = at(&server.url());
    let before = metrics::requests().redis;
    let locks = RedisLocks::open(&settings).unwrap();
    assert_eq!(locks.take(&names(&["a"]), LONG).await, Ok(vec![true]));
    assert!(metrics::requests().redis >= before + 2, "the proof and the script are counted");
    let key = format!("{}:{{b0}}:lock:a", settings.prefix);
    assert_eq!(server.ask::<String>(&["GET", &key]).await, locks.owner());
    let left: u64 = server.ask(&["PTTL", &key]).await;
    assert!((30_000..=60_000).contains(&left), "{left} ms left");
}

#[tokio::test]
async fn nobody_listens() {
    let locks = open(&at(&format!("redis://127.0.0.1:{}", free_port()))).unwrap();
    let asked = Instant::now();
    let away = locks.take(&names(&["a"]), LONG).await.unwrap_err();
    assert!(asked.elapsed() < SOON);
    assert!(away.0.to_lowercase().contains("refused"), "{away}");
    assert!(matches!(locks.prove().await, Err(Unproven::Away(_))));
    assert!(locks.renew(&names(&["a"]), LONG).await.is_err());
    assert!(locks.release(&names(&["a"])).await.is_err());
}

/// A server that accepts and never answers.
#[tokio::test]
async fn nobody_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let accepting = tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(silent.accept().await.unwrap());
        }
    });
    let locks = open(&at(&url)).unwrap();
    let asked = Instant::now();
    assert!(locks.take(&names(&["a"]), LONG).await.is_err());
    assert!(asked.elapsed() < SOON);
    assert_eq!(locks.prove().await, Err(Unproven::Away(LocksAway("not connected within 3s".into()))));
    accepting.abort();
}

/// A server that falls silent after it has worked: its process is stopped, the connection stays open.
#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_and_found_again() {
    let mut server = Server::start().await;
    let locks = RedisLocks::open(&at(&server.url())).unwrap();
    let customers = names(&["a"]);
    assert_eq!(locks.take(&customers, LONG).await, Ok(vec![true]));
    // Every command of clients waits, for much longer than the test.
    server.ask::<()>(&["CLIENT", "PAUSE", "600000"]).await;
    let asked = Instant::now();
    assert_eq!(locks.take(&customers, LONG).await, Err(LocksAway("no answer within 1s".into())));
    assert!(asked.elapsed() < SOON);
    server.kill().await;
    server.start_again().await;
    until("the locks come back", || async { locks.take(&customers, LONG).await == Ok(vec![true]) }).await;
}

/// Passes bytes to a server; when told, what is connected falls silent for ever, and only new connections work. So does
/// a network that forgets a connection: nobody says that it is closed.
async fn forgetful_network(server: &Server) -> (String, watch::Sender<u32>) {
    let (url, port) = (server.url(), server.port());
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = door.local_addr().unwrap().to_string();
    let (forget, epoch) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = door.accept().await.unwrap();
            let mut epoch = epoch.clone();
            epoch.mark_unchanged();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = epoch.changed() => std::future::pending().await,
                }
            });
        }
    });
    (url.replace(&format!("127.0.0.1:{port}"), &address), forget)
}

#[tokio::test]
async fn a_forgotten_connection_is_given_up_for_a_new_one() {
    let server = Server::start().await;
    let (url, forget) = forgetful_network(&server).await;
    let locks = RedisLocks::open(&at(&url)).unwrap();
    let customers = names(&["a"]);
    for _ in 0..2 {
        until("the locks come back", || async { locks.take(&customers, LONG).await == Ok(vec![true]) }).await;
        forget.send_modify(|epoch| *epoch += 1);
        assert_eq!(locks.renew(&customers, LONG).await, Err(LocksAway("no answer within 1s".into())));
    }
    until("the lock is still ours", || async { locks.renew(&customers, LONG).await == Ok(vec![true]) }).await;
}

#[tokio::test]
async fn a_server_that_dies_is_found_again() {
    let mut server = Server::start().await;
    let locks = RedisLocks::open(&at(&server.url())).unwrap();
    let customers = names(&["a"]);
    for _ in 0..2 {
        until("the locks come back", || async { locks.take(&customers, LONG).await == Ok(vec![true]) }).await;
        server.kill().await;
        until("the locks go", || async { locks.renew(&customers, LONG).await.is_err() }).await;
        server.start_again().await;
        until("the lost lock is noticed", || async { locks.renew(&customers, LONG).await == Ok(vec![false]) }).await;
    }
}

#[tokio::test]
async fn a_server_that_comes_after_the_start_is_found() {
    let mut server = Server::start().await;
    server.kill().await;
    let locks = RedisLocks::open(&at(&server.url())).unwrap();
    assert!(matches!(locks.prove().await, Err(Unproven::Away(_))));
    server.start_again().await;
    until("the locks come", || async { locks.take(&names(&["a"]), LONG).await == Ok(vec![true]) }).await;
    assert_eq!(locks.prove().await, Ok(()));
}

/// A primary that became a replica answers, and takes no writes; the connection to it must not be kept.
#[tokio::test]
async fn a_demoted_node_counts_as_away() {
    let server = Server::start().await;
    let locks = RedisLocks::open(&at(&server.url())).unwrap();
    assert_eq!(locks.take(&names(&["a"]), LONG).await, Ok(vec![true]));
    server.ask::<()>(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]).await;
    let away = locks.take(&names(&["b"]), LONG).await.unwrap_err();
    assert!(away.0.contains("read only replica"), "{away}");
    server.ask::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    until("the locks come back", || async { locks.take(&names(&["b"]), LONG).await == Ok(vec![true]) }).await;
}

#[tokio::test]
async fn a_fleet_agrees_on_its_buckets() {
    let ours = settings(256);
    let theirs = config::Locks { buckets: 16, ..ours.clone() };
    assert_eq!(open(&ours).unwrap().prove().await, Ok(()));
    assert_eq!(open(&ours).unwrap().prove().await, Ok(()));
    let other = open(&theirs).unwrap();
    let differ = Unproven::Buckets { ours: 16, theirs: "256".into(), prefix: ours.prefix.clone() };
    assert!(differ.to_string().starts_with("locks.buckets: 16 here, but 256 in the fleet"));
    assert_eq!(other.prove().await, Err(differ));
    assert!(other.take(&names(&["a"]), LONG).await.unwrap_err().0.contains("locks.buckets"));
    // Whoever changes the number on purpose deletes the key; who runs then finds it by himself.
    forget(&ours, "buckets").await;
    until("the number is agreed anew", || async { other.prove().await == Ok(()) }).await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let url = |url: &str| open(&config::Locks { url: url.into(), ..config::Locks::default() }).map(drop);
    for bad in ["", "local", "local:x", "http://x", "redis:", "redis://x?cluster=maybe", "redis://x?protocol=9"] {
        let error = url(bad).unwrap_err();
        assert!(error.to_string().starts_with("locks.url: "), "{bad}: {error}");
    }
    let redis = |prefix: &str, buckets| {
        let (url, prefix) = ("redis://127.0.0.1:1".into(), prefix.into());
        open(&config::Locks { url, prefix, buckets, ..config::Locks::default() }).map(drop)
    };
    assert_eq!(redis("p", 0), Err(OpenError::Buckets(0)));
    assert_eq!(redis("p", 16_385), Err(OpenError::Buckets(16_385)));
    for prefix in ["", "a b", "a{b}"] {
        assert_eq!(redis(prefix, 1), Err(OpenError::Prefix(prefix.into())));
    }
    assert_eq!(redis("p", 16_384), Ok(()));
    assert!(matches!(open(&config::Locks::default()), Ok(AnyLocks::Local(_))));
    assert_eq!(open(&config::Locks::default()).unwrap().prove().await, Ok(()));
}

/// TLS to a server that speaks none: the handshake fails, and nothing panics for want of cryptography.
#[tokio::test]
async fn tls_has_its_cryptography() {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        loop {
            let (mut stream, _) = plain.accept().await.unwrap();
            stream.write_all(b"-ERR no TLS here\r\n").await.unwrap();
        }
    });
    for query in ["", "?cluster=true"] {
        let locks = open(&at(&format!("rediss://{address}/{query}"))).unwrap();
        let Err(Unproven::Away(away)) = locks.prove().await else { panic!("it is proven") };
        assert!(away.0.contains("corrupt message"), "{query}: {away}");
    }
    answering.abort();
}
