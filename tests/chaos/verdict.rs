//! The end of a run: everything settles, is written down, and is judged by two programs that share nothing with the
//! engine.

use std::process::Command;
use std::time::Duration;

use aws_sdk_sqs::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::history::{LEDGER, digest};
use super::stage::{Stage, number};

/// How long it may take until everything is settled when nothing goes wrong any more, and half of the run on
/// top: what outages left has to be worked off.
const SETTLED: Duration = Duration::from_mins(3);

/// Waits until nothing is left: no message in the queue, nothing parked, nobody blocked, no backlog, the gate open.
pub async fn settled(stage: &Stage) -> Result<(), String> {
    const LEDGER_LEFT: &str = "SELECT (SELECT count(*) FROM parked_orders) \
        + (SELECT count(*) FROM customers WHERE blocked_by IS NOT NULL) + (SELECT count(*) FROM gate WHERE state <> 'OPEN')";
    const BACKLOG_LEFT: &str = "SELECT (SELECT count(*) FROM backlog_orders) \
        + (SELECT count(*) FROM backlog_gate WHERE phase <> 'SEALED')";
    let bound = SETTLED + Duration::from_secs(stage.play.seconds / 2);
    let deadline = Instant::now() + bound;
    let mut quiet = 0;
    loop {
        let left = (
            messages(stage).await,
            number(&stage.ledger_url, LEDGER_LEFT).await,
            number(&stage.backlog_url, BACKLOG_LEFT).await,
        );
        quiet = if matches!(left, (0, Ok(0), Ok(0))) { quiet + 1 } else { 0 };
        // Counts of a queue are approximate.
        if quiet == 3 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("not settled after {bound:?}: messages, ledger and backlog have {left:?} left"));
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// In the queue, visible or not.
async fn messages(stage: &Stage) -> u64 {
    let inbox = millrace::inbox::sqs::Sqs::new(&stage.site.queue.sdk_config(), &stage.site.queue.settings());
    inbox.describe().await.map_or(u64::MAX, |queue| queue.visible + queue.not_visible + queue.delayed)
}

/// Writes down what databases and queue hold.
pub async fn dump(stage: &Stage) {
    for (file, query) in LEDGER {
        stage.history.dump(file, &stage.ledger_url, query).await;
    }
    stage.history.dump("backlog_orders.jsonl", &stage.backlog_url, "SELECT order_id FROM backlog_orders").await;
    let gate = "SELECT state AS gate, epoch AS gate_epoch FROM gate";
    let phase = "SELECT phase, epoch AS backlog_epoch FROM backlog_gate";
    let mut gates = json!({});
    for (url, query) in [(&stage.ledger_url, gate), (&stage.backlog_url, phase)] {
        stage.history.dump("gates.json", url, query).await;
        let text = std::fs::read_to_string(stage.history.folder.join("gates.json")).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        gates.as_object_mut().unwrap().extend(read.as_object().unwrap().clone());
    }
    stage.history.object("gates.json", &gates);
    std::fs::write(stage.history.folder.join("queue.jsonl"), rest_of_queue(stage).await).unwrap();
}

/// Receives until nothing comes, and deletes what it has written down: in a group the next message waits for that.
async fn rest_of_queue(stage: &Stage) -> String {
    let client = Client::new(&stage.site.queue.sdk_config());
    let mut rest = String::new();
    loop {
        let call = client.receive_message().queue_url(stage.site.queue.url()).max_number_of_messages(10);
        let received = call.visibility_timeout(600).wait_time_seconds(1).send().await.unwrap();
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            return rest;
        }
        for message in messages {
            let body = message.body.unwrap_or_default();
            rest += &json!({ "body_sha256": digest(&body), "message_id": message.message_id }).to_string();
            rest.push('\n');
            let handle = message.receipt_handle.unwrap_or_default();
            client.delete_message().queue_url(stage.site.queue.url()).receipt_handle(handle).send().await.unwrap();
        }
    }
}

/// What the checker says of the folder: its words, and whether it is content.
pub fn checked(stage: &Stage) -> (String, bool) {
    let ended = Command::new(env!("CARGO_BIN_EXE_millrace-history")).arg(&stage.history.folder).output().unwrap();
    let words = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (words, ended.status.code() == Some(0))
}

/// What `millrace verify` says.
pub async fn verified(stage: &Stage, manifest: &std::path::Path) -> Result<String, String> {
    let arguments = ["verify", "--manifest", manifest.to_str().unwrap()];
    let said = stage.site.command_within(Duration::from_mins(10), &arguments).await;
    if said.code == Some(0) { Ok(said.out) } else { Err(said.to_string()) }
}
