//! The Node.js worker: `benches/peers/sqs-consumer`, where `scripts/compare` installed its packages.

use std::fmt;
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::rig::Place;
use crate::servers::rustack;

/// So many processes, consumers in each, and connections to the database in each.
#[derive(Clone, Copy)]
pub struct Peer {
    processes: u32,
    consumers: u32,
    connections: u32,
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, consumers, connections } = self;
        write!(out, "{processes} processes of {consumers} consumers and {connections} connections")
    }
}

impl Peer {
    /// What is tried. Far away each order waits longer for its connection, so that more of them are worth a try.
    pub fn shapes(far: bool) -> Vec<Peer> {
        let (counts, pools): (&[u32], &[u32]) =
            if far { (&[8, 16, 32], &[40, 80]) } else { (&[1, 2, 4, 8], &[10, 20]) };
        let mut shapes = Vec::new();
        for processes in if far { 2..=2 } else { 1..=2 } {
            for &consumers in counts {
                for &connections in pools {
                    shapes.push(Peer { processes, consumers, connections });
                }
            }
        }
        shapes
    }

    /// Orders a second, from the first commit to the last.
    pub async fn run(self, place: &Place, orders: u64) -> f64 {
        let mut workers: Vec<Child> = (0..self.processes).map(|_| self.start(place)).collect();
        place
            .until(orders, || match workers.iter_mut().find_map(|worker| worker.try_wait().unwrap()) {
                None => Ok(()),
                Some(status) => Err(format!("node ended: {status}")),
            })
            .await;
        for worker in &mut workers {
            worker.kill().await.unwrap();
        }
        place.rate().await
    }

    fn start(self, place: &Place) -> Child {
        let folder = std::env::var("MILLRACE_COMPARE_PEER").expect("scripts/compare says where its packages are");
        Command::new("node")
            .arg("worker.mjs")
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("NODE_ENV", "production")
            // The SDK says at each start until when it will support this Node.js.
            .env("NODE_NO_WARNINGS", "1")
            .env("QUEUE_URL", &place.queue)
            .env("REDIS_URL", &place.redis)
            .env("DATABASE_URL", &place.ledger)
            .env("CONSUMERS", self.consumers.to_string())
            .env("POOL", self.connections.to_string())
            .envs(rustack::environment(&place.sqs))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("node could not be started ({error})"))
    }
}
