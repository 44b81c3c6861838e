//! The SQS server of a bench, in a thread of its own.
//!
//! On one thread its tasks wake each other without the kernel, so that it takes less of the machine from what is
//! measured: real SQS takes nothing of it.

use std::future::{Future, pending};
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};

use crate::servers::rustack::Rustack;

pub struct Queues {
    server: Arc<Rustack>,
    thread: Handle,
}

impl Queues {
    pub async fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let thread = runtime.handle().clone();
        // It ends with the process.
        std::thread::spawn(move || runtime.block_on(pending::<()>()));
        let server = Arc::new(thread.spawn(Rustack::start()).await.unwrap());
        Self { server, thread }
    }

    /// Does something on its thread.
    async fn there<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.thread.spawn(work).await.unwrap()
    }

    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Creates a standard queue and gives its URL.
    pub async fn create(&self, name: &str) -> String {
        let (server, name) = (self.server.clone(), name.to_owned());
        self.there(async move { server.create_queue(&name).await }).await
    }

    /// Puts messages into a queue without a call over HTTP.
    pub async fn put(&self, queue: &str, bodies: impl Iterator<Item = String> + Send + 'static) {
        let (server, queue) = (self.server.clone(), queue.to_owned());
        self.there(async move {
            for body in bodies {
                server.put(&queue, &body, None, None).await;
            }
        })
        .await;
    }

    /// How many messages wait to be received.
    pub async fn visible(&self, queue: &str) -> u64 {
        let (server, queue) = (self.server.clone(), queue.to_owned());
        self.there(async move { server.counts(&queue).await.visible }).await
    }
}
