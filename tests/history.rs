//! `millrace-history` finds what is planted, by its rule and by no other; and what proves nothing is void.

use std::process::Command;

use serde_json::Value;

use self::story::Story;

mod files;
mod logs;
mod planted;
mod story;
mod void;

/// What the checker said.
struct Judged {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Judged {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// The numbers of the rules that were violated.
    fn violated(&self) -> Vec<String> {
        let report = self.json();
        let rules = report["rules"].as_object().unwrap();
        rules.iter().filter(|(_, rule)| rule["count"] != 0).map(|(number, _)| number.clone()).collect()
    }
}

fn run(arguments: &[&str]) -> Judged {
    let output = Command::new(env!("CARGO_BIN_EXE_millrace-history")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Judged { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn judge(story: &Story) -> Judged {
    let folder = story.written();
    run(&[folder.path().to_str().unwrap(), "--json"])
}

fn is_ok(story: &Story) {
    let judged = judge(story);
    assert_eq!(judged.violated(), Vec::<String>::new(), "{}", judged.out);
    assert_eq!((judged.json()["verdict"].as_str(), judged.code), (Some("ok"), Some(0)), "{}", judged.out);
}

/// Exactly this rule is violated, and by this.
fn only(rule: u8, words: &str, story: &Story) {
    let judged = judge(story);
    assert_eq!(judged.violated(), [rule.to_string()], "{}", judged.out);
    assert_eq!((judged.json()["verdict"].as_str(), judged.code), (Some("violated"), Some(1)));
    let found = judged.json()["rules"][rule.to_string()]["violations"].to_string();
    assert!(found.contains(words), "{words:?} is not in {found}");
}

#[test]
fn good_histories_are_green() {
    is_ok(&Story::gapless());
    is_ok(&Story::fifo());
}

#[test]
fn people_read_a_line_a_rule_and_the_guards() {
    let folder = Story::gapless().written();
    let judged = run(&[folder.path().to_str().unwrap()]);
    assert_eq!(judged.code, Some(0), "{}{}", judged.out, judged.err);
    for line in [
        "rule 2 order: ok, 31 orders of 8 customers",
        "guard                        seen     needed",
        "ambiguous_rolled_back           1          1",
    ] {
        assert!(judged.out.lines().any(|other| other == line), "{line}:\n{}", judged.out);
    }
    assert!(judged.out.ends_with("\nok\n"), "{}", judged.out);
}

#[test]
fn violations_beyond_twenty_are_counted() {
    let mut story = Story::gapless();
    story.rows("order_lines.jsonl").clear();
    let folder = story.written();
    let judged = run(&[folder.path().to_str().unwrap()]);
    assert_eq!(judged.code, Some(1));
    assert_eq!(judged.out.lines().filter(|line| line.ends_with(": an order without lines")).count(), 20);
    assert!(judged.out.contains("\n  and 11 more\n"), "{}", judged.out);
    assert!(judged.out.ends_with("\nVIOLATED\n"), "{}", judged.out);
}
