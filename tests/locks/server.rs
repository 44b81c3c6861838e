//! A Redis of the test's own, to be killed and started again.

use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use redis::FromRedisValue;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A `redis-server` on a free port; killed when dropped.
pub(super) struct Server {
    pub(super) port: u16,
    folder: tempfile::TempDir,
    arguments: Vec<&'static str>,
    process: Option<Child>,
}

impl Server {
    pub(super) async fn start(arguments: &[&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { port: free_port(), folder, arguments: arguments.to_vec(), process: None };
        server.start_again().await;
        server
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The answer to one command.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        ask(&self.url(), command).await
    }

    pub(super) async fn kill(&mut self) {
        self.process.take().expect("it runs").kill().await.unwrap();
    }

    pub(super) async fn start_again(&mut self) {
        let program = std::env::var("MILLRACE_TEST_REDIS_BIN").unwrap_or_else(|_| "redis-server".into());
        let process = Command::new(program)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &self.port.to_string()])
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is not there: run scripts/test");
        self.process = Some(process);
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("redis-server does not listen");
    }
}

/// A port that nobody listens on, below the range that the system gives to outgoing connections: so it is still free
/// when a killed server comes back to it. A cluster's node takes port + 10000 too.
pub(super) fn free_port() -> u16 {
    let random = || RandomState::new().hash_one(0);
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (0..1_000)
        .map(|_| 10_000 + u16::try_from(random() % 10_000).unwrap())
        .find(|port| free(*port) && free(*port + 10_000))
        .expect("one of 1,000 ports is free")
}

/// The answer to one command, over a connection of its own.
pub(super) async fn ask<T: FromRedisValue>(url: &str, command: &[&str]) -> T {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.expect("no Redis there: run scripts/test");
    redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await.unwrap()
}
