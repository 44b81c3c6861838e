//! `millrace submit` over an SQS server that fails in every way it can.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser as _;
use millrace::cli::submit::{Args, Report, SubmitError, submit};
use millrace::config;
use millrace::inbox::Inbox as _;
use millrace::inbox::sqs::Sqs;
use millrace::inbox::sqs::producer::Producer;
use serde_json::json;
use tempfile::TempDir;

use crate::servers::rustack::{Counts, Fault, Operation, Rustack, When};

const SEND: Operation = Operation::SendMessageBatch;

/// A server with a queue, and a file of lines.
struct Scene {
    server: Rustack,
    url: String,
    folder: TempDir,
}

impl Scene {
    async fn new(queue: &str, lines: &[String]) -> Self {
        let server = Rustack::start().await;
        let url = if queue.strip_suffix(".fifo").is_some() {
            server.create_fifo_queue(queue).await
        } else {
            server.create_queue(queue).await
        };
        let folder = tempfile::tempdir().unwrap();
        let scene = Self { server, url, folder };
        scene.write(lines);
        scene
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("orders.jsonl")
    }

    fn write(&self, lines: &[String]) {
        std::fs::write(self.file(), lines.join("\n") + "\n").unwrap();
    }

    fn settings(&self) -> config::Inbox {
        let settings = json!({
            "queue_url": self.url, "attempt_timeout": "3s", "backoff": "1ms", "backoff_max": "5ms"
        });
        serde_json::from_value(settings).unwrap()
    }

    async fn submit(&self, args: &Args) -> Result<Report, SubmitError> {
        let settings = self.settings();
        submit(Producer::new(&self.server.sdk_config(), &settings), &settings, args).await
    }

    async fn counts(&self) -> Counts {
        self.server.counts(&self.url).await
    }

    /// Everything in the queue, deleted as it comes.
    async fn drain(&self) -> Vec<String> {
        let queue = Sqs::new(&self.server.sdk_config(), &self.settings());
        let mut bodies = Vec::new();
        loop {
            let deliveries = queue.receive(10, Duration::ZERO).await.unwrap();
            if deliveries.is_empty() {
                return bodies;
            }
            let receipts: Vec<_> = deliveries.iter().map(|delivery| delivery.receipt.clone()).collect();
            queue.delete(&receipts).await.unwrap();
            bodies.extend(deliveries.into_iter().map(|delivery| delivery.body));
        }
    }
}

fn args(file: &Path) -> Args {
    Args {
        file: file.to_owned(),
        journal: None,
        raw: false,
        rate: None,
        in_flight: NonZeroU32::new(4).unwrap(),
        tries: NonZeroU32::new(10).unwrap(),
        json: false,
    }
}

/// Orders of `customers` customers in turn.
fn orders(many: usize, customers: usize) -> Vec<String> {
    (0..many)
        .map(|n| json!({ "order_id": format!("o{n}"), "customer_id": format!("c{}", n % customers) }).to_string())
        .collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[tokio::test]
async fn every_line_is_sent_once_and_a_second_run_sends_none() {
    let lines = orders(57, 5);
    let scene = Scene::new("orders", &lines).await;
    let report = scene.submit(&args(&scene.file())).await.unwrap();
    assert_eq!(report, Report { sent: 57, ..Report::default() });
    assert!(report.is_complete());
    assert!(scene.server.faults().calls(SEND) <= 8, "the batches are full: {}", scene.server.faults().calls(SEND));
    let report = scene.submit(&args(&scene.file())).await.unwrap();
    assert_eq!(report, Report { sent_before: 57, ..Report::default() });
    assert_eq!(sorted(scene.drain().await), sorted(lines));
}

#[tokio::test]
async fn failed_entries_and_throttled_requests_are_sent_again_alone() {
    let lines = orders(100, 5);
    let scene = Scene::new("orders", &lines).await;
    scene.server.faults().set(SEND, When::Every(3), Fault::THROTTLED);
    let some = Fault::FailEntries { entries: vec![0, 3], sender_fault: false };
    scene.server.faults().set(SEND, When::Every(2), some);
    let report = scene.submit(&args(&scene.file())).await.unwrap();
    assert_eq!(report, Report { sent: 100, ..Report::default() });
    assert!(scene.server.faults().fired(SEND) >= 6);
    assert_eq!(sorted(scene.drain().await), sorted(lines), "nothing twice");
}

#[tokio::test]
async fn lost_answers_are_reported_as_maybe_twice() {
    let lines = orders(60, 5);
    let scene = Scene::new("orders", &lines).await;
    scene.server.faults().set(SEND, When::Nth(1), Fault::LoseReply);
    scene.server.faults().set(SEND, When::Nth(3), Fault::LeaveOut(vec![1]));
    let report = scene.submit(&args(&scene.file())).await.unwrap();
    assert_eq!((report.sent, report.refused, &report.stopped), (60, 0, &None));
    assert_eq!(scene.counts().await.visible, 60 + report.may_be_twice);
    assert!((2..=11).contains(&report.may_be_twice), "{report:?}");
    let came: BTreeSet<String> = scene.drain().await.into_iter().collect();
    assert_eq!(came, lines.into_iter().collect());
}

#[tokio::test]
async fn bad_line_is_refused_by_number_and_sent_when_it_is_mended() {
    let mut lines = orders(12, 3);
    lines[4] = "not an order".to_owned();
    let scene = Scene::new("orders", &lines).await;
    let report = scene.submit(&args(&scene.file())).await.unwrap();
    assert_eq!((report.sent, report.refused), (11, 1));
    assert_eq!(report.problems[0].line, 5);
    assert!(!report.is_complete());
    lines[4] = r#"{"order_id":"mended","customer_id":"c1"}"#.to_owned();
    scene.write(&lines);
    let report = scene.submit(&args(&scene.file())).await.unwrap();
    assert_eq!((report.sent, report.sent_before, report.refused), (1, 11, 0));
    assert_eq!(sorted(scene.drain().await), sorted(lines));
}

#[tokio::test]
async fn changed_line_stops_the_second_run() {
    let mut lines = orders(12, 3);
    let scene = Scene::new("orders", &lines).await;
    scene.submit(&args(&scene.file())).await.unwrap();
    lines.remove(0);
    scene.write(&lines);
    let report = scene.submit(&args(&scene.file())).await.unwrap();
    assert!(report.stopped.as_ref().is_some_and(|reason| reason.contains("line 1 ")), "{report:?}");
    assert_eq!(scene.counts().await.visible, 12);
}

#[tokio::test]
async fn raw_lines_are_sent_as_they_are() {
    let lines = vec!["not an order".to_owned(), "[]".to_owned(), "{}".to_owned()];
    let scene = Scene::new("orders", &lines).await;
    let report = scene.submit(&Args { raw: true, ..args(&scene.file()) }).await.unwrap();
    assert_eq!(report.sent, 3);
    assert_eq!(sorted(scene.drain().await), sorted(lines));
}

#[tokio::test]
async fn gives_up_in_bounds_and_goes_on_where_it_ended() {
    let lines = orders(80, 4);
    let scene = Scene::new("orders", &lines).await;
    // The first five requests arrive; then the queue is throttled for good.
    scene.server.faults().set(SEND, When::First(5), Fault::Delay(Duration::ZERO));
    scene.server.faults().set(SEND, When::Always, Fault::THROTTLED);
    let tries = NonZeroU32::new(3).unwrap();
    let report = scene.submit(&Args { tries, ..args(&scene.file()) }).await.unwrap();
    assert_eq!(report.sent, 50);
    assert!(report.stopped.as_ref().is_some_and(|reason| reason.contains("3 times")), "{report:?}");
    scene.server.faults().clear();
    let report = scene.submit(&args(&scene.file())).await.unwrap();
    assert_eq!(report, Report { sent: 30, sent_before: 50, ..Report::default() });
    assert_eq!(sorted(scene.drain().await), sorted(lines));
}

#[tokio::test]
async fn missing_queue_stops_at_once() {
    let scene = Scene::new("orders", &orders(30, 3)).await;
    let settings = config::Inbox { queue_url: format!("{}-missing", scene.url), ..scene.settings() };
    let producer = Producer::new(&scene.server.sdk_config(), &settings);
    let one = NonZeroU32::new(1).unwrap();
    let report = submit(producer, &settings, &Args { in_flight: one, ..args(&scene.file()) }).await.unwrap();
    assert!(report.stopped.is_some() && report.sent == 0, "{report:?}");
    assert_eq!(scene.server.faults().calls(SEND), 1);
}

#[tokio::test]
async fn journal_of_another_queue_is_a_wrong_use() {
    let scene = Scene::new("orders", &orders(3, 1)).await;
    let journal = scene.folder.path().join("orders.jsonl.sent");
    std::fs::write(&journal, "millrace submit 1 http://elsewhere/1/other\n").unwrap();
    let error = scene.submit(&args(&scene.file())).await.unwrap_err();
    assert!(matches!(&error, SubmitError::Usage(text) if text.contains("elsewhere")), "{error}");
    let error = scene.submit(&args(Path::new("/nowhere/orders.jsonl"))).await.unwrap_err();
    assert!(matches!(error, SubmitError::Usage(_)), "{error}");
    assert_eq!(scene.counts().await.visible, 0);
}

#[tokio::test]
async fn fifo_keeps_the_order_of_each_customer_through_faults() {
    let mut lines = orders(200, 7);
    // Duplicates: each has a place of its own in the order of its customer.
    lines.insert(60, lines[20].clone());
    lines.insert(61, lines[21].clone());
    let scene = Scene::new("orders.fifo", &lines).await;
    let faults = scene.server.faults();
    faults.set(SEND, When::Every(5), Fault::LoseReply);
    faults.set(SEND, When::Every(3), Fault::FailEntries { entries: vec![0, 2], sender_fault: false });
    faults.set(SEND, When::Every(7), Fault::INTERNAL);
    faults.set(SEND, When::Every(11), Fault::Delay(Duration::from_millis(20)));
    // Faults go by the count of all calls, so four customers at once may leave most of them to one line: with ten tries
    // it gave up in 10 of 300 runs. When it gives up has a test of its own.
    let args = Args { tries: NonZeroU32::new(100).unwrap(), ..args(&scene.file()) };
    let report = scene.submit(&args).await.unwrap();
    assert_eq!(report, Report { sent: 202, ..Report::default() });
    assert!(faults.fired(SEND) >= 10, "{}", faults.fired(SEND));
    faults.clear();
    assert_eq!(by_customer(&scene.drain().await), by_customer(&lines));
}

#[tokio::test]
async fn fifo_stops_at_a_line_that_sqs_refuses() {
    let lines = orders(30, 1);
    let scene = Scene::new("orders.fifo", &lines).await;
    scene.server.faults().set(SEND, When::Nth(4), Fault::FailEntries { entries: vec![0], sender_fault: true });
    let report = scene.submit(&args(&scene.file())).await.unwrap();
    assert_eq!((report.sent, report.refused, report.problems[0].line), (3, 1, 4));
    assert!(report.stopped.is_some());
    assert_eq!(scene.drain().await, lines[..3]);
}

#[tokio::test]
async fn rate_is_a_ceiling() {
    let scene = Scene::new("orders", &orders(30, 3)).await;
    let started = Instant::now();
    let report = scene.submit(&Args { rate: NonZeroU32::new(40), ..args(&scene.file()) }).await.unwrap();
    assert_eq!(report.sent, 30);
    // Ten at once, ten after 250 ms, ten after 500 ms.
    assert!(started.elapsed() >= Duration::from_millis(500));
}

#[test]
fn arguments_have_their_names() {
    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        submit: Args,
    }
    let command =
        Command::try_parse_from(["submit", "-", "--journal", "j", "--rate", "100", "--raw", "--json"]).unwrap();
    let Args { file, journal, raw, rate, json, .. } = command.submit;
    assert_eq!((file, journal), (PathBuf::from("-"), Some(PathBuf::from("j"))));
    assert!(raw && json && rate == NonZeroU32::new(100));
    assert!(Command::try_parse_from(["submit", "-", "--rate", "0"]).is_err());
    assert!(Command::try_parse_from(["submit"]).is_err());
}

fn by_customer(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut customers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let order: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| order[name].as_str().unwrap().to_owned();
        customers.entry(text("customer_id")).or_default().push(text("order_id"));
    }
    customers
}
