//! A proxy between one worker and the queue, which keeps a record of the calls.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};

use super::record::Record;

/// One proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    endpoint: String,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts one in front of the server at `upstream` (`http://host:port`), for the worker of this number.
    pub async fn start(upstream: &str, worker: usize, record: Arc<Record>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let address = upstream.strip_prefix("http://").expect("a local server").trim_end_matches('/').to_owned();
        let accepting = tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((stream, _)) = accepted {
                            let upstream = Upstream { address: address.clone(), worker, record: record.clone() };
                            connections.spawn(serve(stream, Arc::new(upstream)));
                        }
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { endpoint, accepting }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Upstream {
    address: String,
    worker: usize,
    record: Arc<Record>,
}

/// One connection of the worker, and one behind it: when the worker goes, its calls are broken off.
async fn serve(stream: TcpStream, upstream: Arc<Upstream>) {
    let behind = Arc::new(Mutex::new(None));
    let service = service_fn(move |request| {
        let (upstream, behind) = (upstream.clone(), behind.clone());
        async move {
            let answer = upstream.pass(request, &mut *behind.lock().await).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|_| {
                let mut away = Response::new(Full::default());
                *away.status_mut() = StatusCode::BAD_GATEWAY;
                away
            }))
        }
    });
    if stream.set_nodelay(true).is_ok() {
        // A worker that was killed is no error here.
        drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
    }
}

type Sender = SendRequest<Full<Bytes>>;

impl Upstream {
    async fn pass(&self, request: Request<Incoming>, behind: &mut Option<Sender>) -> io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let asked = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let mut kept = behind.take();
        if let Some(sender) = &mut kept
            && sender.ready().await.is_err()
        {
            kept = None;
        }
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let request = Request::from_parts(head, Full::new(asked.clone()));
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let (mut head, body) = answer.into_parts();
        let answered = body.collect().await.map_err(io::Error::other)?.to_bytes();
        *behind = Some(sender);
        if head.status.is_success() {
            let json = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
            self.record.note(self.worker, &operation, &json(&asked), &json(&answered));
        }
        head.headers.remove(TRANSFER_ENCODING);
        head.headers.remove(CONTENT_LENGTH);
        Ok(Response::from_parts(head, Full::new(answered)))
    }

    async fn connect(&self) -> io::Result<Sender> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // It ends with its sender.
        tokio::spawn(connection);
        Ok(sender)
    }
}
