//! What is no history is said to be none, with the file and the line: half a history would be half a proof.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::run;
use super::story::Story;

/// The checker over this story, whose folder was bent.
fn bent(story: &Story, bend: impl FnOnce(&Path)) -> (Option<i32>, String) {
    let folder = story.written();
    bend(folder.path());
    let judged = run(&[folder.path().to_str().unwrap(), "--json"]);
    assert!(judged.code != Some(2) || judged.out.is_empty(), "{}", judged.out);
    (judged.code, judged.err)
}

fn refused(words: &[&str], bend: impl FnOnce(&Path)) {
    let (code, said) = bent(&Story::gapless(), bend);
    assert_eq!(code, Some(2), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{words:?} are not in {said}");
}

fn append(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    let before = fs::read_to_string(&path).unwrap();
    fs::write(path, before + text).unwrap();
}

#[test]
fn wrong_use_says_what_to_type() {
    for arguments in [&[][..], &["a", "b"], &["a", "--loud"], &["--json"]] {
        let judged = run(arguments);
        assert_eq!(judged.code, Some(2), "{arguments:?}");
        assert_eq!(judged.err, "usage: millrace-history FOLDER [--json]\n");
    }
}

#[test]
fn a_missing_file() {
    let folder = Story::gapless().written();
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files.len(), 16);
    for file in files {
        let file = file.to_str().unwrap();
        // The last log is missed by nobody; the one before it is.
        if file == "worker-2.jsonl" {
            continue;
        }
        if file == "worker-1.jsonl" {
            let missing = |folder: &Path| {
                fs::copy(folder.join("worker-1.jsonl"), folder.join("worker-3.jsonl")).unwrap();
                fs::remove_file(folder.join("worker-2.jsonl")).unwrap();
            };
            refused(&["worker-2.jsonl: is missing"], missing);
            continue;
        }
        refused(&[file], |folder| fs::remove_file(folder.join(file)).unwrap());
    }
    refused(&["worker-1.jsonl: is missing"], |folder| {
        fs::remove_file(folder.join("worker-1.jsonl")).unwrap();
        fs::remove_file(folder.join("worker-2.jsonl")).unwrap();
    });
    assert_eq!(run(&["/nowhere"]).code, Some(2));
}

#[test]
fn an_unknown_field() {
    for file in ["sent.jsonl", "faults.jsonl", "orders.jsonl", "queue.jsonl"] {
        refused(&[&format!("{file}:1: unknown field `new`")], |folder| {
            fs::write(folder.join(file), "{\"new\":1}\n").unwrap();
        });
    }
    let mut story = Story::gapless();
    story.logs.get_mut(&1).unwrap()[1]["new"] = json!(1);
    let (code, said) = bent(&story, |_| {});
    assert_eq!(code, Some(2));
    assert!(said.contains("worker-1.jsonl:2: unknown field `new`"), "{said}");
}

#[test]
fn a_field_that_is_missing_or_wrong() {
    refused(&["tombstones.jsonl:2: missing field `order_id`"], |folder| {
        append(folder, "tombstones.jsonl", "{\"customer_id\":\"ada\",\"position\":1}\n");
    });
    refused(&["gates.json: missing field"], |folder| fs::write(folder.join("gates.json"), "{}").unwrap());
    refused(&["faults.jsonl:23: no such kind of fault: rain"], |folder| {
        let rain = "{\"at\":1,\"until\":null,\"kind\":\"rain\",\"target\":\"\",\"detail\":\"\"}\n";
        append(folder, "faults.jsonl", rain);
    });
    refused(&["faults.jsonl:23: detail: "], |folder| {
        let window = "{\"at\":1,\"until\":null,\"kind\":\"window\",\"target\":\"\",\"detail\":\"\"}\n";
        append(folder, "faults.jsonl", window);
    });
    let mut story = Story::gapless();
    story.run["needs"]["rain"] = json!(1);
    let (code, said) = bent(&story, |_| {});
    assert_eq!((code, said.as_str()), (Some(2), "millrace-history: run.json: no such guard: rain\n"));
}

#[test]
fn a_producer_that_contradicts_itself() {
    for (field, value) in [("customer_id", json!("bob")), ("place", json!(4)), ("body_sha256", json!("0"))] {
        let mut story = Story::gapless();
        story.find("sent.jsonl", "kind", "duplicate")[field] = value;
        let (code, said) = bent(&story, |_| {});
        assert_eq!(code, Some(2), "{field}");
        assert!(said.contains("sent.jsonl:38: ada-5"), "{said}");
    }
}

#[test]
fn half_a_line() {
    // At the end of a log: the process was killed, or said its last words.
    // Or one of its threads spoke behind its report.
    let late = "stopped: 1 finished, 0 returned, 0 at risk\n{\"target\":\"millrace::locks\"}\n";
    for end in ["{\"timestamp\":\"2026-11-28T00:1", "stopped: 1 finished, 0 returned, 0 at risk\n", late, "\u{0}"] {
        assert_eq!(bent(&Story::gapless(), |folder| append(folder, "worker-1.jsonl", end)).0, Some(0), "{end}");
    }
    // In the middle, or in a file of the harness, something is lost.
    refused(&["worker-2.jsonl:8: control character"], |folder| {
        append(folder, "worker-2.jsonl", "{\"timestamp\":\"2026\n{\"target\":\"millrace\"}\n");
    });
    refused(&["worker-2.jsonl:8: EOF while parsing"], |folder| {
        append(folder, "worker-2.jsonl", "\n{\"target\":\"millrace\"}\n");
    });
    refused(&["orders.jsonl:32: EOF while parsing"], |folder| append(folder, "orders.jsonl", "{\"order_id\":\"ada"));
}

#[test]
fn answers_that_fit_no_question() {
    for (event, field, value, words) in [
        ("write", "work", json!("park"), "entries: invalid type"),
        ("append", "slot", json!(7), "an answer to no append"),
        ("appended", "answer", json!(null), "it needs an answer or an error"),
        ("append", "timestamp", json!("noon"), "its timestamp is none"),
        ("wrote", "work", json!("park"), "the answer to another work than Commit"),
        ("wrote", "answers", json!("[]"), "0 answers to 1 questions"),
        ("wrote", "answers", json!("[[\"perhaps\",1,0,[]]]"), "answers: unknown variant `perhaps`"),
        ("wrote", "error", json!("away"), "it needs answers or an error"),
        ("wrote", "slot", json!(7), "an answer to no write"),
        ("received", "entries", json!("[["), "entries: EOF while parsing"),
        ("received", "role", json!("boss"), "unknown variant `boss`"),
        ("received", "event", json!("dreamt"), "unknown variant `dreamt`"),
    ] {
        let mut story = Story::gapless();
        let log = story.logs.get_mut(&1).unwrap();
        log.iter_mut().find(|line| line["event"] == event).unwrap()[field] = value;
        let (code, said) = bent(&story, |_| {});
        assert_eq!(code, Some(2), "{words}: {said}");
        assert!(said.contains("worker-1.jsonl:") && said.contains(words), "{words}: {said}");
    }
}
