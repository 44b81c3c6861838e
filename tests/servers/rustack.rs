//! An SQS server inside this process, with faults: for tests, the demo and the benches (each includes this file by
//! `#[path]`, so it depends on nothing else of ours).
//!
//! The messages live in the provider, which outlives the listener: [`Rustack::stop`] and [`Rustack::restart`] are
//! "SQS is away" and "SQS is back", on the same port, with every message still there.
//!
//! What differs from SQS: at most one message of a FIFO group in one receive, a delete with a stale handle is
//! reported as done, a poll that waits for a visibility timeout wakes on a tick of one second, no retention.

#![allow(dead_code, unused_imports, reason = "tests, demo and benches include this file, and each uses a part of it")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::body::SqsResponseBody;
use rustack_sqs_http::service::{SqsHttpConfig, SqsHttpService};
use rustack_sqs_model::input::{CreateQueueInput, GetQueueAttributesInput, SendMessageInput};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

#[path = "rustack/faults.rs"]
mod faults;

pub(crate) use faults::{Fault, Faults, When};
pub(crate) use rustack_sqs_model::operations::SqsOperation as Operation;

/// AWS settings for a local server: test credentials, `us-east-1`, and its address as the endpoint.
pub(crate) fn sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .build()
}

/// The same for a child process, as environment variables.
pub(crate) fn environment(endpoint: &str) -> [(&'static str, String); 4] {
    [
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT_URL_SQS", endpoint.to_owned()),
    ]
}

/// How many messages of a queue are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Waiting to be received.
    pub(crate) visible: u64,
    /// Received, neither deleted nor visible again.
    pub(crate) in_flight: u64,
    /// Sent with a delay.
    pub(crate) delayed: u64,
}

/// The server. It ends when it is dropped.
pub(crate) struct Rustack {
    address: SocketAddr,
    provider: Arc<RustackSqs>,
    faults: Arc<Faults>,
    listening: Mutex<Option<Listening>>,
}

struct Listening {
    accepting: JoinHandle<()>,
    /// Each change cuts all connections.
    cuts: watch::Sender<()>,
}

impl Rustack {
    /// Starts a server on a free port of the loopback interface.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        // Every field is set: SqsConfig::from_env would read the environment of whoever runs the tests.
        let provider = Arc::new(RustackSqs::new(SqsConfig {
            skip_signature_validation: true,
            default_region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
            host: address.ip().to_string(),
            port: address.port(),
        }));
        let faults = Arc::new(Faults::new(RustackSqsHandler::new(provider.clone())));
        let listening = Mutex::new(Some(Listening::start(listener, faults.clone())));
        Self { address, provider, faults, listening }
    }

    /// Where it listens, as in `http://127.0.0.1:4566`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// AWS settings that lead here.
    pub(crate) fn sdk_config(&self) -> SdkConfig {
        sdk_config(&self.endpoint())
    }

    /// What can go wrong, and what was called.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Creates a standard queue and gives its URL.
    pub(crate) async fn create_queue(&self, name: &str) -> String {
        self.create_queue_with(name, &[]).await
    }

    /// Creates a FIFO queue; its name ends in `.fifo`.
    pub(crate) async fn create_fifo_queue(&self, name: &str) -> String {
        assert!(name.strip_suffix(".fifo").is_some(), "the name of a FIFO queue ends in .fifo");
        self.create_queue_with(name, &[("FifoQueue", "true")]).await
    }

    /// Creates a queue with attributes of SQS's `CreateQueue`.
    pub(crate) async fn create_queue_with(&self, name: &str, attributes: &[(&str, &str)]) -> String {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let input = CreateQueueInput {
            queue_name: name.to_owned(),
            attributes: attributes.collect(),
            ..CreateQueueInput::default()
        };
        let output = self.provider.create_queue(input).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        output.queue_url.expect("a created queue has a URL")
    }

    /// Puts a message into a queue without a call over HTTP: a load of thousands costs next to nothing.
    pub(crate) async fn put(&self, queue_url: &str, body: &str, group: Option<&str>, deduplication_id: Option<&str>) {
        let input = SendMessageInput {
            queue_url: queue_url.to_owned(),
            message_body: body.to_owned(),
            message_group_id: group.map(str::to_owned),
            message_deduplication_id: deduplication_id.map(str::to_owned),
            ..SendMessageInput::default()
        };
        self.provider.send_message(input).await.unwrap_or_else(|error| panic!("{queue_url}: {error:?}"));
    }

    /// Where the messages of a queue are. Asks the provider itself: it works while the listener is stopped, and is
    /// not counted as a call.
    pub(crate) async fn counts(&self, queue_url: &str) -> Counts {
        let input =
            GetQueueAttributesInput { queue_url: queue_url.to_owned(), attribute_names: vec!["All".to_owned()] };
        let output = self.provider.get_queue_attributes(input).await.expect("the queue exists");
        let count = |name: &str| {
            output.attributes.get(name).and_then(|count| count.parse().ok()).expect("every queue has its counts")
        };
        Counts {
            visible: count("ApproximateNumberOfMessages"),
            in_flight: count("ApproximateNumberOfMessagesNotVisible"),
            delayed: count("ApproximateNumberOfMessagesDelayed"),
        }
    }

    /// SQS is away: connections break, new ones are refused. The messages stay.
    pub(crate) async fn stop(&self) {
        let listening = self.listening.lock().expect("no panic inside").take();
        if let Some(listening) = listening {
            listening.accepting.abort();
            // The port is free when the task has ended; that it was cancelled is no news.
            drop(listening.accepting.await);
        }
    }

    /// SQS is back, on the same port.
    pub(crate) async fn restart(&self) {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await.expect("the port is still ours");
        *self.listening.lock().expect("no panic inside") = Some(Listening::start(listener, self.faults.clone()));
    }

    /// Breaks every open connection; calls that are under way lose their reply.
    pub(crate) fn cut_connections(&self) {
        if let Some(listening) = &*self.listening.lock().expect("no panic inside") {
            listening.cuts.send_replace(());
        }
    }
}

impl Drop for Rustack {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.lock().expect("no panic inside").take() {
            listening.accepting.abort();
        }
    }
}

impl Listening {
    fn start(listener: TcpListener, faults: Arc<Faults>) -> Self {
        let service = Breakable(SqsHttpService::new(faults, SqsHttpConfig::default()));
        let (cuts, mut cut) = watch::channel(());
        let accepting = tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((stream, _)) = accepted {
                            connections.spawn(serve(stream, service.clone()));
                        }
                    }
                    Ok(()) = cut.changed() => connections.abort_all(),
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { accepting, cuts }
    }
}

async fn serve(stream: TcpStream, service: Breakable) {
    if stream.set_nodelay(true).is_ok() {
        // A client that went away, or a reply that was lost on purpose: neither is an error here.
        drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
    }
}

/// The server's HTTP, except that an answer marked [`faults::Lost`] breaks the connection instead.
#[derive(Clone)]
struct Breakable(SqsHttpService<Faults>);

impl hyper::service::Service<http::Request<Incoming>> for Breakable {
    type Response = http::Response<SqsResponseBody>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let answering = self.0.call(request);
        Box::pin(async move {
            match answering.await {
                Ok(answer) if answer.extensions().get::<faults::Lost>().is_some() => {
                    Err(io::Error::other("the reply is lost"))
                }
                Ok(answer) => Ok(answer),
            }
        })
    }
}
