//! A private Redis that a test may flush, kill and start again. It keeps nothing on disk, so a start is empty.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::process::Running;
use super::{PATIENCE, eventually, folder, free_port, variable};

/// One `redis-server` process. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    running: Running,
    folder: TempDir,
    port: u16,
}

impl Server {
    /// Starts one and waits until it answers.
    pub async fn start() -> Self {
        let (folder, port) = (folder("redis"), free_port());
        let mut server = Self { running: launch(&folder, port), folder, port };
        server.answers().await;
        server
    }

    /// Where it is, the same after every start.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Forgets every key, as a failover to an empty replica does.
    pub async fn flush(&self) {
        let done: String = self.ask("FLUSHALL").await.unwrap();
        assert_eq!(done, "OK");
    }

    /// Ends it at once: connections break, keys are lost.
    pub async fn kill(&mut self) {
        self.running.signal("KILL");
        self.running.ended(PATIENCE).await;
    }

    /// Starts it again, empty, on the same port, and waits until it answers.
    pub async fn start_again(&mut self) {
        assert!(!self.running.runs(), "it runs already");
        self.running = launch(&self.folder, self.port);
        self.answers().await;
    }

    async fn answers(&mut self) {
        eventually("Redis answers", PATIENCE, || {
            assert!(self.running.runs(), "redis-server ended:\n{}", self.running.log());
            let answer = self.ask("PING");
            async move { answer.await.is_ok_and(|word| word == "PONG") }
        })
        .await;
    }

    fn ask(&self, command: &'static str) -> impl Future<Output = redis::RedisResult<String>> + use<> {
        let client = redis::Client::open(self.url());
        async move {
            let mut connection = client?.get_multiplexed_async_connection().await?;
            redis::cmd(command).query_async(&mut connection).await
        }
    }
}

fn launch(folder: &TempDir, port: u16) -> Running {
    let mut command = Command::new(PathBuf::from(variable("MILLRACE_TEST_REDIS_BIN")));
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string(), "--dir"])
        .arg(folder.path());
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
    assert_eq!(server.ask("PING").await.unwrap(), "PONG");
}
