//! Maintenance windows, by the real commands, in the middle of everything else.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::history::now_ms;
use super::plan::Event;
use super::stage::Stage;

/// How long a command may run, and be repeated, until it is done. What is in the way are faults, which are over in
/// seconds, and the backlog, which is drained while more orders come.
const BOUND: Duration = Duration::from_mins(10);
/// How long a command that is killed may run.
const KILLED_WITHIN_MS: u64 = 400;

/// One window after the other. One that has begun is ended, also behind the end of the run.
pub async fn open(stage: &Stage, begun: Instant, events: &[Event<()>], end: Instant) {
    for event in events {
        sleep_until(begun + event.at).await;
        if Instant::now() >= end {
            return;
        }
        window(stage, event).await;
    }
}

async fn window(stage: &Stage, event: &Event<()>) {
    let mut chance = event.chance;
    let mut one_in = |n: u64| {
        let yes = chance.is_multiple_of(n);
        chance /= n;
        yes
    };
    let (kills_begin, kills_end, stops_ledger) = (one_in(2), one_in(2), one_in(2));
    let at = now_ms();
    let begin = ["maintenance", "begin", "--reason", "chaos", "--actor", "chaos"];
    if kills_begin {
        killed(stage, &begin, chance % KILLED_WITHIN_MS).await;
    }
    done(stage, &begin).await;
    let closed = now_ms();
    if stops_ledger {
        let mut ledger = stage.ledger.lock().await;
        ledger.stop_fast().await;
        sleep(event.length).await;
        ledger.start_again().await;
    } else {
        sleep(event.length).await;
    }
    let epoch = epoch(stage).await;
    let end_called = now_ms();
    let end = ["maintenance", "end", "--actor", "chaos"];
    if kills_end {
        killed(stage, &end, chance / KILLED_WITHIN_MS % (KILLED_WITHIN_MS * 5)).await;
    }
    done(stage, &end).await;
    let opened = now_ms();
    let detail = json!({ "epoch": epoch, "closed_ms": closed, "end_called_ms": end_called, "opened_ms": opened });
    stage.history.fault(at, Some(opened), "window", "", &detail.to_string());
}

/// Which window it is: the backlog knows it, also while the ledger is off.
async fn epoch(stage: &Stage) -> Value {
    let deadline = Instant::now() + BOUND;
    loop {
        let said = stage.site.command(&["maintenance", "status", "--json"]).await;
        let report: Value = serde_json::from_str(&said.out).unwrap_or_default();
        if report["backlog"]["epoch"].is_u64() {
            return report["backlog"]["epoch"].clone();
        }
        assert!(Instant::now() < deadline, "the backlog does not say which window it is: {said}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// A command that is killed in the middle of whatever it does.
async fn killed(stage: &Stage, arguments: &[&str], after_ms: u64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.arg("--config").arg(stage.site.config()).args(arguments).env_clear().kill_on_drop(true);
    drop(timeout(Duration::from_millis(after_ms), command.output()).await);
}

/// Runs a command until it is done.
async fn done(stage: &Stage, arguments: &[&str]) {
    let deadline = Instant::now() + BOUND;
    loop {
        let said = stage.site.command_within(BOUND, arguments).await;
        if said.code == Some(0) {
            return;
        }
        println!("{arguments:?} is run again: {}", said.err.lines().last().unwrap_or_default());
        assert!(Instant::now() < deadline, "not within {BOUND:?}: {arguments:?}: {said}");
        sleep(Duration::from_millis(500)).await;
    }
}
