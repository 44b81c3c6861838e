//! A network between one worker and one server that goes wrong on demand.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// What an answer of SQS with messages has in it.
const MESSAGES: &[u8] = b"\"ReceiptHandle\"";
/// What a statement with orders has in it: their bodies.
const ORDERS: &[u8] = b"\"order_id\"";

/// What the network is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// It carries everything at once.
    Fair,
    /// Each piece arrives later.
    Latency(Duration),
    /// Connections are reset, new ones too.
    Reset,
    /// Connections are accepted, and nothing arrives: no byte, no end. What was sent arrives when it is over.
    BlackHole,
    /// Each connection carries so many more bytes this way, and is reset.
    Cut(Way, usize),
    /// The same, counted from a statement with orders on: it does not arrive as a whole (to the server), or it was
    /// executed, and its answer is lost (to the worker).
    CutOrders(Way, usize),
    /// The worker's side of each connection is reset at once; the server hears of it after a while, and keeps the
    /// session with its locks until then.
    SlowClose(Duration),
}

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Up,
    /// To the worker.
    Down,
}

/// One proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    weather: watch::Sender<Weather>,
    deliveries: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Stands before the server at `host:port`.
    pub async fn before(server: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (weather, seen) = watch::channel(Weather::Fair);
        let deliveries = Arc::new(AtomicU64::new(0));
        let link = Link { server: server.to_owned(), weather: seen, deliveries: deliveries.clone() };
        let accepting = tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((client, _)) = accepted {
                            connections.spawn(link.clone().carry(client));
                        }
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { address, weather, deliveries, accepting }
    }

    /// Where it listens: `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on it is like this.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// How many pieces with messages of SQS were carried to the worker.
    pub fn deliveries(&self) -> u64 {
        self.deliveries.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// One side closed it.
    Closed,
    /// The network did.
    Broken,
}

#[derive(Clone)]
struct Link {
    server: String,
    weather: watch::Receiver<Weather>,
    deliveries: Arc<AtomicU64>,
}

impl Link {
    /// Carries bytes both ways until one side ends, or the network says so.
    async fn carry(self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(&self.server).await else {
            // As if nobody listened: the worker sees a reset.
            drop(client.set_zero_linger());
            return;
        };
        if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
            return;
        }
        let end = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let orders = AtomicBool::new(false);
            tokio::select! {
                end = self.pump(Way::Up, from_client, to_server, &orders) => end,
                end = self.pump(Way::Down, from_server, to_client, &orders) => end,
            }
        };
        let slowly = match *self.weather.borrow() {
            Weather::SlowClose(pause) => Some(pause),
            _ => None,
        };
        if end == End::Broken {
            drop(client.set_zero_linger());
            if slowly.is_none() {
                drop(server.set_zero_linger());
            }
        }
        drop(client);
        if let Some(pause) = slowly {
            sleep(pause).await;
        }
    }

    /// Carries one way. `orders`: a statement with orders went up while it is to be cut.
    async fn pump(
        &self,
        way: Way,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        orders: &AtomicBool,
    ) -> End {
        let mut weather = self.weather.clone();
        let mut now = *weather.borrow_and_update();
        let mut buffer = vec![0; 1 << 14];
        // Of a cut.
        let mut left = None;
        loop {
            if now == Weather::Reset {
                return End::Broken;
            }
            let length = tokio::select! {
                biased;
                changed = weather.changed() => {
                    now = *weather.borrow_and_update();
                    left = None;
                    orders.store(false, Relaxed);
                    if changed.is_err() || matches!(now, Weather::SlowClose(_)) {
                        return End::Broken;
                    }
                    continue;
                }
                read = from.read(&mut buffer), if now != Weather::BlackHole => match read {
                    Ok(0) | Err(_) => return End::Closed,
                    Ok(length) => length,
                },
            };
            let piece = &buffer[..length];
            if let Weather::Latency(pause) = now {
                sleep(pause).await;
            }
            match way {
                Way::Up if matches!(now, Weather::CutOrders(..)) && has(piece, ORDERS) => orders.store(true, Relaxed),
                Way::Down if has(piece, MESSAGES) => {
                    self.deliveries.fetch_add(1, Relaxed);
                }
                _ => {}
            }
            match now {
                Weather::Cut(there, bytes) if there == way => left = left.or(Some(bytes)),
                Weather::CutOrders(there, bytes) if there == way && orders.load(Relaxed) => left = left.or(Some(bytes)),
                _ => {}
            }
            let carried = left.map_or(length, |left: usize| left.min(length));
            if to.write_all(&piece[..carried]).await.is_err() {
                return End::Closed;
            }
            if let Some(left) = &mut left {
                *left -= carried;
                if *left == 0 {
                    return End::Broken;
                }
            }
        }
    }
}

fn has(piece: &[u8], mark: &[u8]) -> bool {
    piece.windows(mark.len()).any(|window| window == mark)
}

/// A server that answers each byte with the next one, and says how many connections ended.
async fn counting_server() -> (String, Arc<AtomicU64>, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ended = Arc::new(AtomicU64::new(0));
    let ends = ended.clone();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let ends = ends.clone();
            tokio::spawn(async move {
                while let Ok(byte) = stream.read_u8().await {
                    if stream.write_u8(byte.wrapping_add(1)).await.is_err() {
                        break;
                    }
                }
                ends.fetch_add(1, Relaxed);
            });
        }
    });
    (address, ended, serving)
}

async fn asked(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
    stream.write_u8(byte).await?;
    stream.read_u8().await
}

#[tokio::test]
async fn each_weather_does_what_it_says() {
    const MOMENT: Duration = Duration::from_millis(200);
    let (server, ended, serving) = counting_server().await;
    let proxy = Proxy::before(&server).await;
    let connect = async || TcpStream::connect(proxy.address()).await.unwrap();

    let mut stream = connect().await;
    assert_eq!(asked(&mut stream, 1).await.unwrap(), 2);
    proxy.set(Weather::Latency(MOMENT));
    let begun = tokio::time::Instant::now();
    assert_eq!(asked(&mut stream, 2).await.unwrap(), 3);
    assert!(begun.elapsed() >= MOMENT * 2, "there and back");

    proxy.set(Weather::BlackHole);
    assert!(tokio::time::timeout(MOMENT, asked(&mut stream, 3)).await.is_err(), "nothing arrives");
    proxy.set(Weather::Fair);
    assert_eq!(stream.read_u8().await.unwrap(), 4);

    proxy.set(Weather::Cut(Way::Down, 1));
    assert_eq!(asked(&mut stream, 4).await.unwrap(), 5);
    assert!(asked(&mut stream, 5).await.is_err(), "one byte and no more");
    let mut stream = connect().await;
    proxy.set(Weather::CutOrders(Way::Down, 0));
    assert_eq!(asked(&mut stream, 6).await.unwrap(), 7, "no orders, no cut");
    stream.write_all(ORDERS).await.unwrap();
    assert!(stream.read_u8().await.is_err(), "the answer is lost");
    let mut stream = connect().await;
    proxy.set(Weather::Reset);
    assert!(asked(&mut stream, 6).await.is_err());

    proxy.set(Weather::Fair);
    let mut stream = connect().await;
    assert_eq!(asked(&mut stream, 7).await.unwrap(), 8);
    let before = ended.load(Relaxed);
    proxy.set(Weather::SlowClose(MOMENT));
    assert!(stream.read_u8().await.is_err(), "the worker's side ends at once");
    assert_eq!(ended.load(Relaxed), before, "the server's side does not");
    crate::servers::eventually("the server hears of it", crate::servers::PATIENCE, || {
        std::future::ready(ended.load(Relaxed) > before)
    })
    .await;
    serving.abort();
}
