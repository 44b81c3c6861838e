//! What the logs of the workers say, and rules 5 to 7 of them.

use serde_json::{Value, json};

use super::story::{BEGAN, Story, WINDOW, name, names};
use super::{is_ok, only};

/// As long as a mark of a FIFO queue may be: more than 64 bits hold.
const MARK: &str = "340282366920938463463374607431768211455";

/// A line of the event log.
fn line(at: u64, role: &str, event: &str, fields: Value) -> Value {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at).unwrap()).unwrap();
    let mut line = json!({ "timestamp": at.to_string(), "level": "TRACE", "event": event, "role": role });
    let Value::Object(fields) = fields else { panic!("{fields}") };
    line.as_object_mut().unwrap().extend(fields);
    line["target"] = json!("millrace::history");
    line
}

fn entries(ids: &[&str]) -> Value {
    json!({ "call": 1, "poll": 1, "entries": names(ids) })
}

fn received(at: u64, ids: &[&str]) -> Value {
    let mut line = line(at, "live", "received", entries(ids));
    line.as_object_mut().unwrap().remove("call");
    line
}

fn delete(role: &str, ids: &[&str]) -> Value {
    let mut line = line(BEGAN, role, "delete", entries(ids));
    line.as_object_mut().unwrap().remove("poll");
    line
}

/// A piece of work and its answers.
fn work(role: &str, work: &str, resolve: bool, entries: &str, answers: Value) -> [Value; 2] {
    let asked = json!({ "slot": 0, "work": work, "resolve": resolve, "parked": false, "entries": entries });
    let answered = match answers {
        Value::Null => json!({ "slot": 0, "work": work, "error": "unknown_outcome" }),
        answers => json!({ "slot": 0, "work": work, "answers": answers.to_string().replace("\"mark\"", MARK) }),
    };
    [line(BEGAN, role, "write", asked), line(BEGAN, role, "wrote", answered)]
}

/// A commit of orders of one customer. `verdict` null: nobody knows.
fn commit(role: &str, resolve: bool, ids: &[&str], verdict: Value) -> [Value; 2] {
    let (customer, _) = ids[0].split_once('-').unwrap();
    let run: Vec<Value> = ids.iter().map(|id| name(id)).collect();
    let answers = if verdict.is_null() { verdict } else { json!([verdict]) };
    work(role, "commit", resolve, &json!([[customer, run]]).to_string(), answers)
}

fn committed(role: &str, ids: &[&str]) -> [Value; 2] {
    commit(role, false, ids, json!(["committed", "mark", 0, []]))
}

fn append(at: u64, ids: &[&str], answer: &str) -> [Value; 2] {
    let asked = json!({ "slot": 0, "epoch": 1, "entries": names(ids) });
    [line(at, "live", "append", asked), line(at + 5, "live", "appended", json!({ "slot": 0, "answer": answer }))]
}

fn ended(id: &str, outcome: &str) -> Value {
    let name = name(id);
    line(BEGAN, "live", "ended", json!({ "id": name[0], "digest8": name[1], "outcome": outcome }))
}

impl Story {
    /// Two workers: both take from the queue, the second one drains.
    pub(super) fn logs_of_workers(&mut self) {
        let behind = || json!(["behind", 5, null, []]);
        let ada: &[&str] = &["ada-1", "ada-2"];
        let mut first = vec![received(BEGAN, ada), line(BEGAN, "live", "route", json!({ "route": "direct" }))];
        first.extend(committed("live", ada));
        first.push(delete("live", ada));
        first.push(line(BEGAN, "live", "deleted", json!({ "call": 1, "answers": "[\"done\",\"again\"]" })));
        first.push(ended("ada-1", "committed"));
        // ada-1 comes again, and a look says that it has its end.
        first.push(received(BEGAN, &["ada-1"]));
        first.extend(commit("live", false, &["ada-1"], behind()));
        // Another process commits bob-1, while this one stands still.
        first.push(received(BEGAN + 1_000, &["bob-1"]));
        first.extend(commit("live", false, &["bob-1"], behind()));
        first.extend(work("live", "look_up", false, &names(&["ada-1"]), json!(["ended"])));
        first.push(ended("ada-1", "duplicate"));
        first.push(delete("live", &["ada-1", "ada-2"]));
        // Parked, loaded, committed.
        first.extend(work("live", "park", false, &names(&["ada-4", "ada-5"]), json!(["parked", "again"])));
        first.push(delete("live", &["ada-4"]));
        first.extend(work("live", "load", false, "[[\"ada\",\"\"]]", json!([["ada", 3, 1, [name("ada-4")]]])));
        first.extend(committed("live", &["ada-4"]));
        first.push(line(BEGAN, "live", "unparked", json!({ "id": "ada-4", "digest8": name("ada-4")[1] })));
        // One commit of which nobody knows had been written, one had not.
        first.extend(commit("live", false, &["gus-1"], json!(null)));
        first.extend(commit("live", true, &["gus-1"], behind()));
        first.extend(commit("live", false, &["hal-1"], json!(null)));
        first.extend(commit("live", true, &["hal-1"], json!(["committed", 1, 0, []])));
        first.push(delete("live", &["hal-1"]));
        first.extend(work("live", "quarantine", false, &names(&["ivy-2"]), json!("quarantined")));
        first.push(delete("live", &["ivy-2"]));
        first.extend(append(WINDOW[1] + 2_000, &["bob-4", "bob-5"], "all"));
        first.push(delete("live", &["bob-4", "bob-5"]));
        first.push(json!({ "timestamp": "x", "level": "INFO", "message": "another target", "target": "millrace" }));
        let mut second = vec![line(WINDOW[2], "drain", "received", json!({ "poll": 0, "entries": names(&["bob-4"]) }))];
        second.extend(committed("drain", &["bob-4", "bob-5"]));
        second.push(delete("drain", &["bob-4", "bob-5"]));
        second.push(line(BEGAN, "live", "locked", json!({ "call": "take", "granted": 1, "refused": 0 })));
        let timeout = json!({ "call": 3, "entries": names(&["ada-3"]), "timeout_ms": 0 });
        second.push(line(BEGAN, "live", "visibility", timeout));
        second.push(line(BEGAN, "live", "made_visible", json!({ "call": 3, "error": "away" })));
        self.logs = [(1, first), (2, second)].into();
    }

    fn log(&mut self, lines: impl IntoIterator<Item = Value>) {
        self.logs.get_mut(&2).unwrap().extend(lines);
    }
}

#[test]
fn deleted_before_its_answer() {
    let mut story = Story::gapless();
    let [asked, answered] = committed("live", &["kim-1"]);
    story.log([asked, delete("live", &["kim-1"]), answered]);
    only(5, "worker-2.jsonl:9: deletes kim-1", &story);
}

#[test]
fn deleted_with_no_answer_that_counts() {
    let known = commit("live", false, &["kim-1"], json!(["committed", 1, 0, ["kim-1"]]));
    let absent = work("live", "look_up", false, &names(&["kim-1"]), json!(["absent"]));
    let again = work("live", "park", false, &names(&["kim-1"]), json!(["again"]));
    let unknown = commit("live", false, &["kim-1"], json!(null));
    let refused = append(WINDOW[1], &["kim-1"], "refused");
    for [asked, answered] in [known, absent, again, unknown, refused] {
        let mut story = Story::gapless();
        story.log([asked, answered, delete("live", &["kim-1"])]);
        only(5, "deletes kim-1", &story);
    }
}

#[test]
fn another_content_of_the_name_is_no_evidence() {
    let mut story = Story::gapless();
    story.log(committed("live", &["kim-1"]));
    let mut other = delete("live", &["kim-1"]);
    other["entries"] = json!("[[\"kim-1\",\"00000000\"]]");
    story.log([other]);
    only(5, "deletes kim-1 (00000000)", &story);
}

#[test]
fn what_another_process_was_told_is_no_evidence() {
    let mut story = Story::gapless();
    // The first worker has committed it.
    story.log([delete("live", &["ada-2"])]);
    only(5, "worker-2.jsonl:8: deletes ada-2", &story);
}

#[test]
fn a_row_of_the_backlog_is_removed_behind_the_ledger_only() {
    let mut story = Story::gapless();
    story.log(append(WINDOW[1], &["kim-1"], "all"));
    story.log([delete("live", &["kim-1"])]);
    is_ok(&story);
    story.log([delete("drain", &["kim-1"])]);
    only(5, "removes kim-1", &story);
    let mut story = Story::gapless();
    let log = story.logs.get_mut(&2).unwrap();
    let at = log.iter().position(|line| line["event"] == "delete").unwrap();
    log.swap(at, at - 1);
    only(5, "removes bob-4", &story);
}

#[test]
fn committed_in_a_closed_window() {
    for (at, inside) in [(WINDOW[1], false), (WINDOW[1] + 1, true), (WINDOW[2] - 1, true), (WINDOW[2], false)] {
        let mut story = Story::gapless();
        story.find("orders.jsonl", "order_id", "bob-4")["committed_ms"] = json!(at);
        if inside {
            only(6, "bob-4: committed", &story);
        } else {
            is_ok(&story);
        }
    }
}

#[test]
fn a_window_that_was_not_ended_stays_closed() {
    let mut story = Story::gapless();
    let detail = json!({ "epoch": 1, "closed_ms": WINDOW[1], "end_called_ms": null, "opened_ms": null });
    let window = story.find("faults.jsonl", "kind", "window");
    window["detail"] = json!(detail.to_string());
    window["until"] = json!(null);
    only(6, "bob-4: committed 14004 ms after window 1 was closed", &story);
}

#[test]
fn appended_outside_of_a_window() {
    let mut story = Story::gapless();
    story.log(append(WINDOW[3] + 1, &["kim-1"], "refused"));
    story.log(append(WINDOW[3], &["kim-1"], "all"));
    is_ok(&story);
    story.log(append(WINDOW[3] + 1, &["kim-1"], "all"));
    only(6, "worker-2.jsonl:13: the backlog took 1 entries 1 ms after window 1 was over", &story);
    let mut story = Story::gapless();
    story.log(append(WINDOW[0] - 1, &["kim-1"], "all"));
    only(6, "before any window", &story);
}

#[test]
fn the_gate_and_the_backlog_in_the_end() {
    let mut story = Story::gapless();
    story.gates["phase"] = json!("SPOOLING");
    only(6, "the gate is OPEN (epoch 1) beside a backlog that is SPOOLING (epoch 1)", &story);
    story.gates["gate"] = json!("CLOSED");
    is_ok(&story);
    story.gates["phase"] = json!("SEALED");
    only(6, "the gate is CLOSED", &story);
    let mut story = Story::gapless();
    story.rows("backlog_orders.jsonl").push(json!({ "order_id": "bob-5" }));
    only(6, "sealed with 1 entries", &story);
}

#[test]
fn an_innocent_in_quarantine() {
    let mut story = Story::gapless();
    let row = json!({
        "id": "ada-2~0011", "order_id": "ada-2", "customer_id": "ada", "kind": "poison", "body": "the body of ada-2",
    });
    story.rows("quarantined_orders.jsonl").push(row);
    only(7, "ada-2~0011 is in quarantine as poison", &story);
    // Also when a person has taken it out again.
    let mut story = Story::gapless();
    story.log(work("live", "quarantine", false, &names(&["ada-2"]), json!("not_next")));
    story.log(work("live", "quarantine", false, &names(&["!m-1"]), json!("quarantined")));
    is_ok(&story);
    story.log(work("drain", "quarantine", false, &names(&["ada-2"]), json!("quarantined")));
    only(7, "worker-2.jsonl:13: ada-2 goes to quarantine", &story);
    let mut story = Story::gapless();
    let row = json!({
        "id": "!m-2", "order_id": null, "customer_id": null, "kind": "malformed", "body": "{\"marker\":\"malformed-10\"}",
    });
    story.rows("quarantined_orders.jsonl").push(row);
    only(7, "!m-2 is in quarantine as malformed", &story);
}

/// A live commit and an append in one epoch: some worker did not know that the window had begun.
#[test]
fn appended_behind_a_live_commit() {
    let late = |parked: bool, resolve: bool, role: &str| {
        let [mut asked, mut answered] = commit(role, resolve, &["kim-1"], json!(["committed", 1, 0, []]));
        for (line, at) in [(&mut asked, WINDOW[1] + 100), (&mut answered, WINDOW[1] + 200)] {
            line["timestamp"] = self::line(at, role, "", json!({}))["timestamp"].clone();
        }
        asked["parked"] = json!(parked);
        [asked, answered]
    };
    for harmless in [late(true, false, "live"), late(false, true, "live"), late(false, false, "drain")] {
        let mut story = Story::gapless();
        story.log(harmless);
        is_ok(&story);
    }
    let mut story = Story::gapless();
    story.log(late(false, false, "live"));
    only(6, "the backlog took entries in window 1 behind a live commit, worker-2.jsonl:9", &story);
}

/// What is refused to a worker that has done nothing wrong makes no guard green.
#[test]
fn stale_is_who_had_it_before_another_committed_it() {
    let stale = |story: &Story| super::judge(story).json()["guards"]["stale_refused"]["count"].as_u64().unwrap();
    let mut story = Story::gapless();
    let before = stale(&story);
    let verdict = |word: &str| json!([word, 5, 0, []]);
    // A duplicate; an early order; a closed gate; what it committed itself; what came again after its commit.
    story.log(commit("live", false, &["ada-5"], verdict("behind")));
    story.log([received(BEGAN, &["ada-5"])]);
    story.log(commit("live", false, &["ada-5"], verdict("behind")));
    story.log(commit("live", false, &["bob-3"], verdict("ahead")));
    story.log(commit("live", false, &["bob-3"], verdict("gate_closed")));
    story.log([received(BEGAN, &["bob-2"])]);
    story.log(committed("live", &["bob-2"]));
    story.log(commit("live", false, &["bob-2"], verdict("behind")));
    story.log([received(BEGAN + 9_000, &["bob-3"])]);
    story.log(commit("live", false, &["bob-3"], verdict("behind")));
    assert_eq!(stale(&story), before);
    story.log([received(BEGAN, &["bob-3"])]);
    story.log(commit("live", false, &["bob-3"], verdict("behind")));
    assert_eq!(stale(&story), before + 1);
}

/// The first try of nobody was written: another process wrote the order meanwhile.
#[test]
fn what_another_process_wrote_is_no_answer_to_an_unknown_commit() {
    let known = |story: &Story| super::judge(story).json()["guards"]["ambiguous_committed"]["count"].as_u64().unwrap();
    let behind = json!(["behind", 5, 0, []]);
    let mut story = Story::gapless();
    let before = known(&story);
    story.log(commit("live", false, &["bob-1"], json!(null)));
    story.log(commit("live", true, &["bob-1"], behind.clone()));
    assert_eq!(known(&story), before + 1);
    story.logs.get_mut(&1).unwrap().extend(committed("live", &["bob-1"]));
    assert_eq!(known(&story), before);
}
