//! Where a run takes place: private servers, a queue, and the configuration that all workers and commands share.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::Mutex;

use super::history::History;
use super::plan::{Dependency, Play};
use super::proxy::Proxy;
use crate::fleet::queue::Queue;
use crate::fleet::site::{Site, windows};
use crate::servers::rustack::Rustack;
use crate::servers::{postgres, redis};

/// All of it.
pub struct Stage {
    pub play: Play,
    pub site: Site,
    pub history: History,
    /// Each is locked by what is done to it, so that it is one thing at a time.
    pub ledger: Mutex<postgres::Server>,
    pub backlog: Mutex<postgres::Server>,
    pub redis: Mutex<redis::Server>,
    pub ledger_url: String,
    pub backlog_url: String,
    redis_url: String,
    /// Before a queue's server that cannot be stopped.
    pub front: Option<Proxy>,
}

impl Stage {
    /// Starts the servers, and makes the tables.
    pub async fn set(play: &Play) -> Self {
        let history = History::new(&format!("{}-{}-{}", play.ordering, play.queue, play.seed));
        let (ledger, backlog) = (postgres::Server::start().await, postgres::Server::start().await);
        let redis = redis::Server::start().await;
        let (ledger_url, backlog_url) = (ledger.create("ledger").await, backlog.create("backlog").await);
        let effects = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chaos/effects.sql");
        let sections = format!("effects = \"{effects}\"\n{}", windows(&backlog_url));
        let (queue, front) = queue(play).await;
        let site = Site::with(play.ordering, queue, &ledger_url, &redis.url(), "chaos", &sections).await;
        sql(&ledger_url, include_str!("tables.sql")).await.unwrap();
        let redis_url = redis.url();
        let (ledger, backlog, redis) = (Mutex::new(ledger), Mutex::new(backlog), Mutex::new(redis));
        let play = play.clone();
        Self { play, site, history, ledger, backlog, redis, ledger_url, backlog_url, redis_url, front }
    }

    /// Where a dependency is.
    pub fn url(&self, dependency: Dependency) -> String {
        match dependency {
            Dependency::Ledger => self.ledger_url.clone(),
            Dependency::Backlog => self.backlog_url.clone(),
            Dependency::Redis => self.redis_url.clone(),
            Dependency::Sqs => match &self.front {
                Some(front) => format!("http://{}", front.address()),
                None => self.site.queue.endpoint(),
            },
        }
    }
}

async fn queue(play: &Play) -> (Queue, Option<Proxy>) {
    if play.queue == "ministack" {
        let queue = Queue::on_ministack().await;
        let front = Proxy::before(&place(&queue.endpoint())).await;
        return (queue, Some(front));
    }
    let server = Rustack::start().await;
    let url = if play.is_gapless() {
        server.create_queue("orders").await
    } else {
        server.create_fifo_queue("orders.fifo").await
    };
    (Queue::on_rustack(server, url), None)
}

/// Host and port of a URL.
pub fn place(url: &str) -> String {
    let (_, rest) = url.split_once("://").expect("a URL");
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    rest.split('/').next().expect("a host").to_owned()
}

/// Executes statements of the test, each for itself.
pub async fn sql(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
    connection.close().await
}

/// The number that a query yields.
pub async fn number(url: &str, sql: &str) -> Result<i64, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let number = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(number)
}
