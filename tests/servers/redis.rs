//! A private Redis that a test may flush, kill and start again. It keeps nothing on disk, so a start is empty.

use std::path::PathBuf;
use std::process::Command;

use redis::FromRedisValue;
use rustix::process::Signal;
use tempfile::TempDir;

use super::process::Running;
use super::{PATIENCE, eventually, folder, free_port, variable};

/// One `redis-server` process. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    running: Running,
    folder: TempDir,
    port: u16,
    options: Vec<String>,
}

impl Server {
    /// Starts one and waits until it answers.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further options of the command line, such as `--cluster-enabled yes`.
    pub async fn start_with(options: &[&str]) -> Self {
        let (folder, port) = (folder("redis"), free_port());
        let options = options.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut server = Self { running: launch(&folder, port, &options), folder, port, options };
        server.answers().await;
        server
    }

    /// Its port, the same after every start.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is, the same after every start.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Forgets every key, as a failover to an empty replica does.
    pub async fn flush(&self) {
        let () = self.ask(&["FLUSHALL"]).await;
    }

    /// Ends it at once: connections break, keys are lost.
    pub async fn kill(&mut self) {
        self.running.signal(Signal::KILL);
        self.running.ended(PATIENCE).await;
    }

    /// Starts it again, empty, on the same port, and waits until it answers.
    pub async fn start_again(&mut self) {
        assert!(!self.running.runs(), "it runs already");
        self.running = launch(&self.folder, self.port, &self.options);
        self.answers().await;
    }

    async fn answers(&mut self) {
        eventually("Redis answers", PATIENCE, || {
            assert!(self.running.runs(), "redis-server ended:\n{}", self.running.log());
            let url = self.url();
            async move { ask::<String>(&url, &["PING"]).await.is_ok_and(|word| word == "PONG") }
        })
        .await;
    }

    /// The answer to one command, over a connection of its own.
    pub async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        ask(&self.url(), command).await.unwrap()
    }
}

/// The answer to one command, over a connection of its own.
pub async fn ask<T: FromRedisValue>(url: &str, command: &[&str]) -> redis::RedisResult<T> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await
}

fn launch(folder: &TempDir, port: u16, options: &[String]) -> Running {
    let mut command = Command::new(PathBuf::from(variable("MILLRACE_TEST_REDIS_BIN")));
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string(), "--dir"])
        .arg(folder.path())
        .args(options);
    Running::start("redis-server", command, folder.path())
}

#[tokio::test]
async fn a_private_redis_forgets_and_comes_back() {
    let mut server = Server::start().await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SET").arg("key").arg(1).exec_async(&mut connection).await.unwrap();
    server.flush().await;
    let gone: Option<i64> = redis::cmd("GET").arg("key").query_async(&mut connection).await.unwrap();
    assert_eq!(gone, None);

    server.kill().await;
    assert!(client.get_multiplexed_async_connection().await.is_err());
    server.start_again().await;
    assert_eq!(server.ask::<String>(&["PING"]).await, "PONG");
}
