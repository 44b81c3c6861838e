//! A queue of a test server.

use aws_config::SdkConfig;
use millrace::config;
use millrace::inbox::sqs::producer::{Outgoing, Producer, Sent};

use crate::servers::ministack::Ministack;
use crate::servers::rustack::Rustack;

/// One queue, with its server.
pub struct Queue {
    server: Server,
    url: String,
}

enum Server {
    Rustack(Rustack),
    Ministack(Ministack),
}

impl Queue {
    /// A queue on a server inside this process.
    pub fn on_rustack(server: Rustack, url: String) -> Self {
        Self { server: Server::Rustack(server), url }
    }

    /// A FIFO queue on the second server.
    pub async fn on_ministack() -> Self {
        let server = Ministack::connect();
        let url = server.create_fifo_queue("fleet").await;
        Self { server: Server::Ministack(server), url }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server, for workers.
    pub fn endpoint(&self) -> String {
        match &self.server {
            Server::Rustack(server) => server.endpoint(),
            Server::Ministack(server) => server.endpoint().to_owned(),
        }
    }

    /// The server, for clients of the test.
    pub fn sdk_config(&self) -> SdkConfig {
        match &self.server {
            Server::Rustack(server) => server.sdk_config(),
            Server::Ministack(server) => server.sdk_config(),
        }
    }

    /// Settings for clients of the test.
    pub fn settings(&self) -> config::Inbox {
        serde_json::from_value(serde_json::json!({ "queue_url": self.url })).expect("valid settings")
    }

    /// Sends messages one after the other, which keeps their order.
    pub async fn send(&self, messages: &[Outgoing]) {
        match &self.server {
            Server::Rustack(server) => {
                for Outgoing { body, group, deduplication_id } in messages {
                    server.put(&self.url, body, group.as_deref(), deduplication_id.as_deref()).await;
                }
            }
            Server::Ministack(server) => {
                let answers = Producer::new(&server.sdk_config(), &self.settings()).send(messages).await;
                assert_eq!(answers, vec![Sent::Done; messages.len()], "the queue is not part of the faults");
            }
        }
    }

    /// The server inside this process.
    pub fn rustack(&self) -> &Rustack {
        match &self.server {
            Server::Rustack(server) => server,
            Server::Ministack(_) => panic!("this queue is on the other server"),
        }
    }
}
