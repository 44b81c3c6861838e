//! The connection to Redis: made in the background, proven, and made anew whenever a call on it failed.
//!
//! redis-rs reconnects by itself when a connection is closed. It keeps one that fell silent, and one to a node that
//! is no primary any more (the cluster's client noticed a failover after minutes, in a reported case). So after any
//! failed call we connect from the address again: a failed call is rare, and connecting is cheap.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Client, RedisError, RedisResult, ScriptInvocation, cmd};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::locks::{LocksAway, OpenError, Unproven};
use crate::metrics::{self, Answer, Request};
use crate::reconnect::Pauses;

/// How long connecting may take, with DNS, TLS and the proof: longer than one call, which finds it connected.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The first pause after a failed attempt to connect.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause: how late we notice that the server is back.
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// Where to connect, and what the fleet agreed on.
#[derive(Debug)]
pub(super) struct Server {
    target: Target,
    prefix: String,
    buckets: u32,
}

#[derive(Debug)]
enum Target {
    Single(Client),
    Cluster(ClusterClient),
}

/// One connection; clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

/// A connection that was proven to work.
#[derive(Clone)]
pub(super) struct Up {
    pub(super) connection: Connection,
    /// Grows with each connection.
    generation: u64,
}

#[derive(Clone)]
enum State {
    Connecting,
    Up(Up),
    Down(Unproven),
}

/// The connection that a background task keeps for as long as the link lives.
#[derive(Debug)]
pub(super) struct Link {
    state: watch::Receiver<State>,
    /// The generation up to which connections are known to be broken.
    broken: watch::Sender<u64>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::Connecting => f.write_str("Connecting"),
            State::Up(up) => write!(f, "Up({})", up.generation),
            State::Down(why) => write!(f, "Down({why})"),
        }
    }
}

impl Link {
    /// Starts the task that connects.
    pub(super) fn keep(server: Server) -> Self {
        let (state, seen) = watch::channel(State::Connecting);
        let (broken, reports) = watch::channel(0);
        tokio::spawn(keep_connected(server, state, reports));
        Self { state: seen, broken }
    }

    /// The connection, if there is one. Waits only while nothing is known yet; when it is known to be down, the
    /// caller need not wait for that.
    pub(super) async fn up(&self, deadline: Instant) -> Result<Up, LocksAway> {
        match timeout_at(deadline, self.known()).await {
            Ok(State::Up(up)) => Ok(up),
            Ok(State::Down(why)) => Err(away(&why)),
            Ok(State::Connecting) | Err(_) => Err(LocksAway("not connected yet".into())),
        }
    }

    /// A call on this connection failed: make a new one.
    pub(super) fn broken(&self, up: &Up) {
        self.broken.send_if_modified(|broken| {
            let news = *broken < up.generation;
            *broken = up.generation.max(*broken);
            news
        });
    }

    pub(super) async fn prove(&self) -> Result<(), Unproven> {
        // The task's own attempt has this bound; the rest is for a busy machine.
        match timeout(CONNECT_TIMEOUT + Duration::from_secs(1), self.known()).await {
            Ok(State::Up(_)) => Ok(()),
            Ok(State::Down(why)) => Err(why),
            Ok(State::Connecting) | Err(_) => Err(LocksAway("not connected yet".into()).into()),
        }
    }

    async fn known(&self) -> State {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        known.map_or(State::Connecting, |state| state.clone())
    }
}

fn away(why: &Unproven) -> LocksAway {
    match why {
        Unproven::Away(away) => away.clone(),
        Unproven::Buckets { .. } => LocksAway(why.to_string()),
    }
}

/// Connects, waits until somebody reports the connection as broken, and connects again. Ends when the link is gone.
async fn keep_connected(server: Server, state: watch::Sender<State>, mut broken: watch::Receiver<u64>) {
    let mut pauses = Pauses::new(PAUSE_FIRST, PAUSE_LONGEST);
    let mut generation = 0;
    while !state.is_closed() {
        match server.connect_proven().await {
            Ok(connection) => {
                info!("connected to the lock server");
                pauses.reset();
                generation += 1;
                state.send_replace(State::Up(Up { connection, generation }));
                if broken.wait_for(|broken| *broken >= generation).await.is_err() {
                    return;
                }
                warn!("a call to the lock server failed; connecting anew");
                state.send_replace(State::Down(LocksAway("connecting anew after a failed call".into()).into()));
            }
            Err(why) => {
                warn!("no locks: {why}");
                state.send_replace(State::Down(why));
            }
        }
        tokio::select! {
            () = sleep(pauses.next_pause()) => {}
            () = state.closed() => {}
        }
    }
}

impl Server {
    /// Reads `locks.url`. `?cluster=true` is ours; everything else in it is understood by redis-rs.
    pub(super) fn from_url(url: &str, prefix: String, buckets: u32) -> Result<Self, OpenError> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let mut cluster = false;
        let mut protocol = false;
        let mut kept = String::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair {
                "cluster=true" => cluster = true,
                "cluster=false" => cluster = false,
                _ if pair.starts_with("cluster=") => {
                    return Err(OpenError::Url(format!("{pair} is neither cluster=true nor cluster=false")));
                }
                _ => {
                    protocol |= pair.starts_with("protocol=");
                    kept.push('&');
                    kept.push_str(pair);
                }
            }
        }
        if !protocol {
            // Only with this protocol does redis-rs notice at once, and mend, a connection that was closed while idle.
            kept.push_str("&protocol=resp3");
        }
        let address = format!("{address}?{}", &kept[1..]);
        if address.starts_with("rediss:") && rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
            tracing::debug!("rustls has a provider of cryptography already");
        }
        let refused = |error: RedisError| OpenError::Url(error.to_string());
        let target = if cluster {
            let client = ClusterClient::builder([address])
                .connection_timeout(CONNECT_TIMEOUT)
                .response_timeout(CONNECT_TIMEOUT)
                // For redirections while slots move; a failure is ours to handle.
                .retries(3)
                .build();
            Target::Cluster(client.map_err(refused)?)
        } else {
            Target::Single(Client::open(address).map_err(refused)?)
        };
        Ok(Self { target, prefix, buckets })
    }

    async fn connect_proven(&self) -> Result<Connection, Unproven> {
        let attempt = async {
            let connection = self.connect().await.map_err(|error| LocksAway(error.to_string()))?;
            let agreed = self.agree(&connection).await.map_err(|error| LocksAway(error.to_string()))?;
            if agreed == self.buckets.to_string() {
                Ok(connection)
            } else {
                Err(Unproven::Buckets { ours: self.buckets, theirs: agreed, prefix: self.prefix.clone() })
            }
        };
        let (proven, answer) = match timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(connection)) => (Ok(connection), Answer::Ok),
            Ok(Err(why)) => (Err(why), Answer::Failed),
            Err(_) => (Err(LocksAway(format!("not connected within {CONNECT_TIMEOUT:?}")).into()), Answer::TimedOut),
        };
        metrics::request(Request::Prove, answer);
        proven
    }

    async fn connect(&self) -> RedisResult<Connection> {
        match &self.target {
            Target::Single(client) => {
                // Every call has a deadline of its own, so the manager needs none.
                let settings = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(None)
                    .set_number_of_retries(1);
                ConnectionManager::new_with_config(client.clone(), settings).await.map(Connection::Single)
            }
            Target::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }

    /// A sign of life, and the fleet's number of buckets: the first instance sets it, the others read it. Writing also
    /// shows that the node is no replica.
    async fn agree(&self, connection: &Connection) -> RedisResult<String> {
        let key = format!("{}:buckets", self.prefix);
        connection.query::<String>(&cmd("PING")).await?;
        connection.query::<bool>(cmd("SETNX").arg(&key).arg(self.buckets)).await?;
        connection.query(cmd("GET").arg(&key)).await
    }
}

impl Connection {
    async fn query<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> RedisResult<T> {
        match self.clone() {
            Connection::Single(mut connection) => command.query_async(&mut connection).await,
            Connection::Cluster(mut connection) => command.query_async(&mut connection).await,
        }
    }

    pub(super) async fn run(&self, call: &ScriptInvocation<'_>) -> RedisResult<Vec<bool>> {
        match self.clone() {
            Connection::Single(mut connection) => call.invoke_async(&mut connection).await,
            Connection::Cluster(mut connection) => call.invoke_async(&mut connection).await,
        }
    }
}
