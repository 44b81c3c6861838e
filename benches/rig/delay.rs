//! A network with delay: what goes in comes out later, and as fast.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Pieces that may be on their way at once, of at most 64 KiB each.
const PIECES: usize = 256;

/// One proxy. It ends when it is dropped.
pub struct Delay {
    address: String,
    accepting: JoinHandle<()>,
}

impl Delay {
    /// Stands before the server at `host:port`; each piece arrives so much later, each way.
    pub async fn before(server: &str, delay: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = server.to_owned();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    client.set_nodelay(true).unwrap();
                    server.set_nodelay(true).unwrap();
                    let ((up_from, down_to), (down_from, up_to)) = (client.into_split(), server.into_split());
                    tokio::spawn(carry(up_from, up_to, delay));
                    tokio::spawn(carry(down_from, down_to, delay));
                });
            }
        });
        Self { address, accepting }
    }

    /// Where it listens: `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Carries one way until the end, and the end too.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (pieces, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let delivering = tokio::spawn(async move {
        while let Some((at, piece)) = arriving.recv().await {
            if !delay.is_zero() {
                sleep_until(at).await;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if pieces.send((Instant::now() + delay, buffer[..length].to_vec())).await.is_err() {
            break;
        }
    }
    drop(pieces);
    drop(delivering.await);
}
