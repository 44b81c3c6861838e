//! A network between the engine and PostgreSQL that breaks at the worst moments.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the body of every order has in it: a chunk with it carries a write of orders.
const MARK: &[u8] = b"\"order_id\"";

/// When a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the server has seen the statement.
    BeforeStatement,
    /// The server has the statement (or its first part), and works while nobody listens.
    AfterStatement,
    /// The server has committed; its answer is lost.
    BeforeAnswer,
}

const CUTS: [Cut; 3] = [Cut::BeforeAnswer, Cut::AfterStatement, Cut::BeforeStatement];

/// It ends when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    plan: Arc<Plan>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Plan {
    /// Each so manieth chunk with orders breaks its connection; 0: none.
    every: AtomicU64,
    chunks: AtomicU64,
    cuts: AtomicU64,
}

impl Plan {
    fn next(&self, chunk: &[u8]) -> Option<Cut> {
        if !chunk.windows(MARK.len()).any(|window| window == MARK) {
            return None;
        }
        let (every, seen) = (self.every.load(Relaxed), self.chunks.fetch_add(1, Relaxed) + 1);
        (every > 0 && seen.is_multiple_of(every)).then(|| {
            let number = self.cuts.fetch_add(1, Relaxed);
            CUTS[usize::try_from(number).unwrap() % CUTS.len()]
        })
    }
}

impl Proxy {
    /// Stands before the server of this URL.
    pub(crate) async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Arc::new(Plan::default());
        let server = server_of(url).to_owned();
        let accepting = tokio::spawn({
            let plan = Arc::clone(&plan);
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let server = TcpStream::connect(&server).await.unwrap();
                    tokio::spawn(carry(client, server, Arc::clone(&plan)));
                }
            }
        });
        Self { address, plan, accepting }
    }

    /// The same URL by way of this proxy.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replace(server_of(url), &self.address.to_string())
    }

    pub(crate) fn cut_every(&self, chunks: u64) {
        self.plan.every.store(chunks, Relaxed);
    }

    /// How many connections were broken.
    pub(crate) fn cuts(&self) -> u64 {
        self.plan.cuts.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Host and port of `postgres://user@host:port/database`.
fn server_of(url: &str) -> &str {
    let (_, rest) = url.split_once('@').unwrap();
    rest.split_once('/').unwrap().0
}

/// Carries bytes both ways until one side ends, or the plan says so.
async fn carry(mut client: TcpStream, mut server: TcpStream, plan: Arc<Plan>) {
    let (mut up, mut down) = (vec![0; 1 << 20], vec![0; 1 << 16]);
    let mut answer_is_lost = false;
    loop {
        let done = tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(0) | Err(_) => true,
                Ok(length) => match plan.next(&up[..length]) {
                    Some(Cut::BeforeStatement) => true,
                    Some(Cut::AfterStatement) => {
                        server.write_all(&up[..length]).await.ok();
                        true
                    }
                    cut => {
                        answer_is_lost |= cut == Some(Cut::BeforeAnswer);
                        server.write_all(&up[..length]).await.is_err()
                    }
                },
            },
            read = server.read(&mut down) => match read {
                Ok(0) | Err(_) => true,
                Ok(_) if answer_is_lost => true,
                Ok(length) => client.write_all(&down[..length]).await.is_err(),
            },
        };
        if done {
            return;
        }
    }
}
