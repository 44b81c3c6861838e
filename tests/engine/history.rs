//! The event log says what the engine does, in the order in which it does it.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};

use millrace::order::Ordering;
use serde_json::{Value, json};

use super::bench::{Bench, Store};
use super::messages::{order, with};
use crate::history;

const HISTORY: &str = "info,millrace::history=trace";

/// Where a subscriber writes to.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs an engine over early, doubled and malformed messages, and gives its log as `log.format = "json"` writes it. It
/// works on the test's own thread, so its lines come to the test's own subscriber.
async fn run(level: &str, ordering: Ordering) -> String {
    let lines = Lines::default();
    let to = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(move || to.clone())
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let mut bench = Bench::new(ordering, Store::Sqlite).await;
    let worker = bench.start();
    bench.send(&[order("ada", 2), order("ada", 2), order("bob", 1)]).await;
    bench.send_as(&[("cyd".into(), with(&order("cyd", 1), "sequence", json!(0)))]).await;
    worker.ended(4).await;
    bench.send(&[order("ada", 1)]).await;
    bench.finished(3).await;
    worker.stop().await;
    let written = lines.0.lock().unwrap().clone();
    String::from_utf8(written).unwrap()
}

fn parsed(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn entries(line: &Value, field: &str) -> Vec<(String, String)> {
    serde_json::from_str(line[field].as_str().unwrap_or_else(|| panic!("{field}: {line}"))).unwrap()
}

/// What the field holds, a text within the text.
fn inner(line: &Value, field: &str) -> Value {
    serde_json::from_str(line[field].as_str().unwrap_or_else(|| panic!("{field}: {line}"))).unwrap()
}

#[tokio::test]
async fn every_step_is_a_line() {
    let lines = parsed(&run(HISTORY, Ordering::Gapless).await);
    let lines: Vec<&Value> = lines.iter().filter(|line| line["target"] == "millrace::history").collect();
    let of = |event: &'static str| lines.iter().copied().filter(move |line| line["event"] == event);
    for line in &lines {
        assert!(line["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{line}");
        assert_eq!((&line["role"], &line["level"]), (&json!("live"), &json!("TRACE")), "{line}");
    }

    let received: Vec<_> = of("received").flat_map(|line| entries(line, "entries")).collect();
    assert_eq!(received.len(), 5, "{received:?}");
    assert!(received.iter().all(|(_, digest8)| digest8.len() == 8), "{received:?}");
    let malformed: Vec<_> = received.iter().filter(|(id, _)| id.starts_with('!')).collect();
    assert_eq!(malformed.len(), 1, "{received:?}");

    // Every write has its answer, from the same committer.
    let mut works = HashSet::new();
    for line in of("write") {
        let answer = lines.iter().find(|answer| {
            (&answer["event"], &answer["slot"], &answer["work"]) == (&json!("wrote"), &line["slot"], &line["work"])
        });
        assert!(answer.is_some(), "{line}");
        works.insert(line["work"].as_str().unwrap());
    }
    for work in ["commit", "park", "load", "quarantine", "sweep"] {
        assert!(works.contains(work), "{work}: {works:?}");
    }
    let runs: Vec<Value> =
        of("write").filter(|line| line["work"] == "commit").map(|line| inner(line, "entries")).collect();
    assert!(runs.iter().any(|runs| runs[0][0] == "bob" && runs[0][1][0][0] == "bob-1"), "{runs:?}");
    let committed = of("wrote").filter(|line| line["work"] == "commit").map(|line| inner(line, "answers"));
    assert!(committed.into_iter().any(|verdicts| verdicts[0] == json!(["committed", 1, 0, []])));
    let quarantined: Vec<_> = of("wrote").filter(|line| line["work"] == "quarantine").collect();
    assert_eq!(quarantined.iter().map(|line| inner(line, "answers")).collect::<Vec<_>>(), [json!("quarantined")]);
    assert_eq!(of("unparked").map(|line| &line["id"]).collect::<Vec<_>>(), [&json!("ada-2")]);

    let deleted: Vec<_> = of("delete").flat_map(|line| entries(line, "entries")).collect();
    assert_eq!(deleted.len(), 5, "{deleted:?}");
    let done: usize = of("deleted").map(|line| inner(line, "answers").as_array().unwrap().len()).sum();
    assert_eq!(done, 5);
    let outcomes: Vec<_> = of("ended").map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes.len(), 5, "{outcomes:?}");
    assert_eq!(of("route").map(|line| &line["route"]).collect::<Vec<_>>(), [&json!("direct")]);
    assert!(of("locked").any(|line| line["call"] == "take" && line["granted"] == 1));

    // As things happened: bob's order is written before its message is deleted.
    let place = |wanted: &dyn Fn(&Value) -> bool| lines.iter().position(|line| wanted(line)).unwrap();
    let says = |line: &Value, event: &str, text: &str| line["event"] == event && line.to_string().contains(text);
    let arrived = place(&|line| says(line, "received", "bob-1"));
    let written = place(&|line| says(line, "write", "bob-1"));
    let deleted = place(&|line| says(line, "delete", "bob-1"));
    let slot = &lines[written]["slot"];
    let answered =
        written + lines[written..].iter().position(|line| line["event"] == "wrote" && line["slot"] == *slot).unwrap();
    assert!(arrived < written && answered < deleted, "{arrived} {written} {answered} {deleted}");
}

#[tokio::test]
async fn there_is_none_unless_it_is_switched_on() {
    let lines = parsed(&run("debug", Ordering::Gapless).await);
    assert!(lines.iter().any(|line| line["target"] == "millrace::engine::record"), "the subscriber hears nothing");
    assert!(lines.iter().all(|line| line["target"] != "millrace::history"));
}

/// What one of the two calls a line, the other reads as one.
#[tokio::test]
async fn the_checker_reads_it() {
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let log = run(HISTORY, ordering).await;
        let report = history::of_log(&log);
        assert_eq!(
            (&report["rules"]["5"]["checked"], &report["rules"]["5"]["count"]),
            (&json!(5), &json!(0)),
            "{report}"
        );
        assert_eq!(report["guards"]["redelivered"]["count"], 1, "{report}");
        let early = u64::from(ordering == Ordering::Gapless);
        assert_eq!(report["guards"]["unparked"]["count"], early, "{report}");
        // Without what it was told, it knew nothing to be durable.
        let deaf: Vec<&str> = log.lines().filter(|line| !line.contains("\"wrote\"")).collect();
        assert_eq!(history::of_log(&deaf.join("\n"))["rules"]["5"]["count"], 5);
    }
}
