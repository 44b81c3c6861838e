//! A worker that cannot do what its settings ask does not start, and says which setting it is.

use std::net::TcpListener;

use serde_json::json;

use super::site as ready;
use crate::fleet::queue::Queue;
use crate::fleet::site::Site;
use crate::servers::process::alone;
use crate::servers::rustack::Rustack;
use crate::servers::{PATIENCE, database, redis_prefix, redis_url};

/// Starts a worker that must end with `code` by itself, and gives what it said.
async fn refused(site: &Site, settings: &[(&str, &str)], code: i32) -> String {
    let mut worker = site.worker_with(settings);
    let ended = worker.ended(PATIENCE).await;
    let log = worker.log();
    assert_eq!(ended.code(), Some(code), "{log}");
    assert!(!log.contains("stopped: "), "it never ran:\n{log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key() {
    let _turn = alone().await;
    let (site, _ledger) = ready(&redis_prefix()).await;
    let log = refused(&site, &[("MILLRACE__INBOX__VISIBILTY_TIMEOUT", "5s")], 2).await;
    assert!(log.contains("inbox.visibilty_timeout") || log.contains("MILLRACE__INBOX__VISIBILTY_TIMEOUT"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifo_on_a_standard_queue() {
    let _turn = alone().await;
    let (site, _ledger) = ready(&redis_prefix()).await;
    let log = refused(&site, &[("MILLRACE__INBOX__ORDERING", "fifo")], 2).await;
    assert!(log.contains("inbox.ordering") && log.contains("inbox.queue_url"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_policy_that_meets_innocent_orders() {
    let _turn = alone().await;
    let server = Rustack::start().await;
    server.create_queue("dead").await;
    let policy = json!({ "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 3 });
    let url = server.create_queue_with("orders", &[("RedrivePolicy", &policy.to_string())]).await;
    let ledger = database().await;
    let queue = Queue::on_rustack(server, url);
    let site = Site::new("gapless", queue, ledger.url(), &redis_url(), &redis_prefix()).await;
    let log = refused(&site, &[], 1).await;
    assert!(log.contains("maxReceiveCount = 3") && log.contains("inbox.allow_redrive"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken() {
    let _turn = alone().await;
    let (site, _ledger) = ready(&redis_prefix()).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let log = refused(&site, &[("MILLRACE__HTTP__LISTEN", &address)], 1).await;
    assert!(log.contains("http.listen") && log.contains(&address), "{log}");
}
