//! The second, independent SQS server: a process that `scripts/test` starts.

#![allow(dead_code, reason = "the fleet's tests use the rest of it")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;

use super::rustack::sdk_config;

/// A connection to the server.
pub(crate) struct Ministack {
    endpoint: String,
    client: Client,
}

impl Ministack {
    /// Connects to the server that the environment names.
    pub(crate) fn connect() -> Self {
        let endpoint = std::env::var("MILLRACE_TEST_MINISTACK")
            .expect("MILLRACE_TEST_MINISTACK is not set: run scripts/test, which starts the servers");
        let client = Client::new(&sdk_config(&endpoint));
        Self { endpoint, client }
    }

    /// Where it listens, for child processes.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// AWS settings that lead there.
    pub(crate) fn sdk_config(&self) -> SdkConfig {
        sdk_config(&self.endpoint)
    }

    /// Creates a standard queue of a name that nobody else uses, and gives its URL.
    pub(crate) async fn create_queue(&self, prefix: &str) -> String {
        self.create(&unique(prefix), &[]).await
    }

    /// Creates a FIFO queue of a name that nobody else uses, and gives its URL.
    pub(crate) async fn create_fifo_queue(&self, prefix: &str) -> String {
        let name = format!("{}.fifo", unique(prefix));
        self.create(&name, &[(QueueAttributeName::FifoQueue, "true")]).await
    }

    async fn create(&self, name: &str, attributes: &[(QueueAttributeName, &str)]) -> String {
        let mut call = self.client.create_queue().queue_name(name);
        for (attribute, value) in attributes {
            call = call.attributes(attribute.clone(), *value);
        }
        let created = call.send().await.unwrap_or_else(|error| {
            panic!("ministack at {} does not answer: run scripts/test ({error:?})", self.endpoint)
        });
        created.queue_url.expect("a created queue has a URL")
    }
}

fn unique(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{now}-{count}", std::process::id())
}
