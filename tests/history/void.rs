//! A run in which too little happened proves nothing.

use serde_json::json;

use super::story::{GUARDS, Story};
use super::{Judged, judge, run};

fn reasons(judged: &Judged) -> Vec<String> {
    assert_eq!((judged.json()["verdict"].as_str(), judged.code), (Some("void"), Some(3)), "{}", judged.out);
    serde_json::from_value(judged.json()["void"].clone()).unwrap()
}

#[test]
fn each_guard_is_counted() {
    let good = judge(&Story::gapless()).json();
    for guard in GUARDS {
        let count = good["guards"][guard]["count"].as_u64().unwrap();
        assert!(count > 0, "{guard}: the good history has none");
        let mut story = Story::gapless();
        story.run["needs"][guard] = json!(count + 1);
        let judged = judge(&story);
        assert_eq!(reasons(&judged), [format!("guard {guard}: {count}, and {} are needed", count + 1)]);
        assert_eq!(judged.json()["guards"][guard], json!({ "count": count, "needed": count + 1 }));
    }
}

#[test]
fn each_guard_counts_what_it_says() {
    let good = judge(&Story::gapless()).json();
    let counts: Vec<Option<u64>> = GUARDS[22..].iter().map(|guard| good["guards"][guard]["count"].as_u64()).collect();
    // redelivered, ambiguous twice, stale, parked, unparked, spooled, drained, duplicates, poisoned, shared receives,
    // undisturbed
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 9].map(Some));
}

#[test]
fn each_guard_has_a_word_about_it() {
    for guard in GUARDS {
        let mut story = Story::gapless();
        story.run["needs"].as_object_mut().unwrap().remove(guard);
        assert_eq!(reasons(&judge(&story)), [format!("guard {guard}: neither in needs nor in without")]);
    }
    let mut story = Story::gapless();
    story.run["needs"].as_object_mut().unwrap().remove("retry");
    story.run["without"] = json!(["retry"]);
    super::is_ok(&story);
    assert_eq!(judge(&story).json()["guards"]["retry"], json!({ "count": 1, "needed": null }));
    story.run["needs"]["retry"] = json!(1);
    assert_eq!(reasons(&judge(&story)), ["guard retry: both in needs and in without"]);
    story.run["without"] = json!([]);
    story.run["needs"]["retry"] = json!(0);
    assert_eq!(reasons(&judge(&story)), ["guard retry: needs 0, which is none"]);
}

#[test]
fn rules_that_had_nothing_to_check() {
    let judged = judge(&Story::empty());
    let reasons = reasons(&judged);
    assert_eq!(reasons.len(), 8, "{reasons:?}");
    assert!(reasons.iter().all(|reason| reason.ends_with("there was nothing to check")), "{reasons:?}");

    // One is enough.
    let mut story = Story::gapless();
    for log in story.logs.values_mut() {
        log.retain(|line| line["event"] != "delete");
    }
    let judged = judge(&story);
    assert_eq!(super::void::reasons(&judged), ["rule 5 evidence: there was nothing to check"]);
    let folder = story.written();
    let said = run(&[folder.path().to_str().unwrap()]).out;
    assert!(said.contains("rule 5 evidence: VOID, 0 deletes of 2 processes\n") && said.ends_with("\nVOID\n"), "{said}");
}

#[test]
fn a_violation_goes_before_void() {
    let mut story = Story::gapless();
    story.run["needs"]["kill"] = json!(100);
    story.find("customers.jsonl", "customer_id", "ivy")["parked"] = json!(4);
    let judged = judge(&story);
    assert_eq!((judged.json()["verdict"].as_str(), judged.code), (Some("violated"), Some(1)));
    assert_ne!(judged.json()["void"], json!([]));
}
