//! A private PostgreSQL that a test may stop, crash and start again. fsync is on: what it has said to be durable is.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

use super::process::Running;
use super::{PATIENCE, eventually, folder, free_port, variable};

/// One server with a data folder of its own. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    running: Running,
    folder: TempDir,
    port: u16,
}

impl Server {
    /// Makes a data folder, starts a server on it and waits until it answers.
    pub async fn start() -> Self {
        let (folder, port) = (folder("postgres"), free_port());
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
        if let Some((user, group)) = owner() {
            chown(&data, Some(user), Some(group)).unwrap();
        }
        let made = program("initdb", &data)
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("initdb could not be started ({error}): run scripts/test"));
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { running: launch(&folder, port), folder, port };
        server.answers().await;
        server
    }

    /// Where a database of it is, the same after every start. `postgres` is always there.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates an empty database and returns its URL.
    pub async fn create(&self, database: &str) -> String {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut connection).await.unwrap();
        self.url(database)
    }

    /// A crash: sessions break off, commits in flight have an unknown outcome, the next start recovers.
    pub async fn stop_immediate(&mut self) {
        self.stop(Signal::QUIT).await;
    }

    /// A planned stop: sessions are ended, their open transactions are rolled back.
    pub async fn stop_fast(&mut self) {
        self.stop(Signal::INT).await;
    }

    /// Starts it again on the same data and port, and waits until it answers.
    pub async fn start_again(&mut self) {
        assert!(!self.running.runs(), "it runs already");
        self.running = launch(&self.folder, self.port);
        self.answers().await;
    }

    /// A crash and the start after it.
    pub async fn restart(&mut self) {
        self.stop_immediate().await;
        self.start_again().await;
    }

    async fn stop(&mut self, signal: Signal) {
        self.running.signal(signal);
        self.running.ended(PATIENCE).await;
    }

    async fn answers(&mut self) {
        eventually("PostgreSQL answers", PATIENCE, || {
            assert!(self.running.runs(), "postgres ended:\n{}", self.running.log());
            let url = self.url("postgres");
            async move { PgConnection::connect(&url).await.is_ok() }
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Unlike SIGKILL it ends the sessions' processes with the server, and frees its shared memory.
        if self.running.runs() {
            self.running.signal(Signal::QUIT);
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while self.running.runs() && std::time::Instant::now() < deadline {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

fn launch(folder: &TempDir, port: u16) -> Running {
    let mut command = program("postgres", &folder.path().join("data"));
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "fsync=on",
        "synchronous_commit=on",
    ] {
        command.args(["-c", setting]);
    }
    command.args(["-p", &port.to_string()]);
    Running::start("postgres", command, folder.path())
}

/// A program of PostgreSQL over a data folder, as a user who is not root: it refuses to run as root.
fn program(name: &str, data: &Path) -> Command {
    let mut command = Command::new(PathBuf::from(variable("MILLRACE_TEST_PG_BIN")).join(name));
    command.arg("-D").arg(data).current_dir(data);
    if let Some((user, group)) = owner() {
        command.uid(user).gid(group);
    }
    command
}

/// User and group `postgres` when we are root; nobody else otherwise.
fn owner() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let id = |flag| {
        let output = Command::new("id").args([flag, "postgres"]).output().unwrap();
        let id = String::from_utf8_lossy(&output.stdout).trim().parse();
        id.unwrap_or_else(|_| panic!("there is no user postgres: run scripts/test"))
    };
    Some((id("-u"), id("-g")))
}

#[tokio::test]
async fn a_private_postgres_keeps_what_it_committed_over_a_crash_and_a_stop() {
    let mut server = Server::start().await;
    let url = server.create("kept").await;
    let mut session = PgConnection::connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE numbers (n bigint)").execute(&mut session).await.unwrap();
    for n in 0..3_i64 {
        let mut session = PgConnection::connect(&url).await.unwrap();
        sqlx::query("INSERT INTO numbers VALUES ($1)").bind(n).execute(&mut session).await.unwrap();
        if n == 1 {
            server.stop_fast().await;
            assert!(PgConnection::connect(&url).await.is_err());
            server.start_again().await;
        } else {
            server.restart().await;
        }
        assert!(session.ping().await.is_err(), "a session outlived its server");
    }
    let mut session = PgConnection::connect(&url).await.unwrap();
    let numbers: Vec<i64> =
        sqlx::query_scalar("SELECT n FROM numbers ORDER BY n").fetch_all(&mut session).await.unwrap();
    assert_eq!(numbers, [0, 1, 2]);
}
