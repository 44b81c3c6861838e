//! A ledger beside the manifest of what was sent.

use millrace::verify::{Rule, Sequence};
use serde_json::json;

use super::{Ledger, message, only, order, quarantine};

/// Everything that the ledger of the tests knows, in an order of sending that fits it.
fn sent() -> Vec<String> {
    let orders = [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2), ("c", 2), ("a", 5), ("d", 2), ("b", 3)];
    orders.iter().map(|(customer, sequence)| message(customer, *sequence).to_string()).collect()
}

#[tokio::test]
async fn what_was_sent_is_there() {
    let ledger = Ledger::fine().await;
    for promised in [Sequence::Gapless, Sequence::Fifo, Sequence::None] {
        let report = ledger.verified(promised, Some(&ledger.manifest(&sent()))).await;
        assert!(report.is_clean(), "{promised:?} {:#?}", report.findings);
        assert_eq!(report.to_string(), "verified: 6 orders, 0 lost, 0 duplicated, 0 out of order, 2 quarantined");
        assert_eq!(report.manifest.map(|facts| (facts.orders, facts.repeated, facts.malformed)), Some((9, 0, 0)));
    }
}

#[tokio::test]
async fn repeated_and_malformed_lines_are_counted() {
    let ledger = Ledger::fine().await;
    let mut lines = sent();
    lines.extend([lines[0].clone(), String::new(), "not json".into(), "{}".into(), format!("{}\r", lines[1])]);
    let mut wrong = vec![
        ("sequence", json!(0)),
        ("sequence", json!(null)),
        ("customer_id", json!("a b")),
        ("currency", json!("eur")),
        ("placed_at", json!("2026-02-30T10:00:00Z")),
        ("placed_at", json!("2026-11-22T10:00:60Z")),
        ("placed_at", json!("2026-11-22T10:00:00+24:00")),
        ("lines", json!([])),
        ("lines", json!([{ "sku": "s", "quantity": 2, "unit_price_minor": i64::MAX }])),
        ("note", json!("a\0b")),
        ("note", json!("x".repeat(262_144))),
    ];
    let malformed = 2 + wrong.len() as u64;
    for (field, value) in wrong.drain(..) {
        let mut message = message("z", 1);
        message[field] = value;
        lines.push(message.to_string());
    }
    let report = ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert_eq!(report.manifest.map(|facts| (facts.orders, facts.repeated, facts.malformed)), Some((9, 2, malformed)));
}

#[tokio::test]
async fn a_lost_order() {
    let ledger = Ledger::fine().await;
    let mut lines = sent();
    lines.push(message("a", 4).to_string());
    let report = ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await;
    only(&report, Rule::Lost, 1);
    assert_eq!(report.findings[0].examples, ["order a-4, line 10 of the manifest"]);
    assert!(report.to_string().contains("1 lost"), "{report}");
    // An operator's tombstone that names it is its end.
    ledger.run(&["UPDATE tombstones SET order_id = 'a-4'".to_owned()]).await;
    assert!(ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await.is_clean());
}

#[tokio::test]
async fn a_skipped_message_that_was_no_order_is_not_invented() {
    let ledger = Ledger::fine().await;
    ledger.run(&["UPDATE tombstones SET order_id = '!57fe75ca'".to_owned()]).await;
    let report = ledger.verified(Sequence::Fifo, Some(&ledger.manifest(&sent()))).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[tokio::test]
async fn invented_orders() {
    let ledger = Ledger::fine().await;
    for missing in ["a-3", "a-5", "b-3"] {
        let lines: Vec<String> = sent().into_iter().filter(|line| !line.contains(&format!("\"{missing}\""))).collect();
        let report = ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await;
        only(&report, Rule::Invented, 1);
        assert!(report.findings[0].examples[0].contains(missing), "{:?}", report.findings);
    }
}

#[tokio::test]
async fn another_content() {
    let ledger = Ledger::fine().await;
    for (field, value) in [
        ("/currency", json!("USD")),
        ("/customer_id", json!("b")),
        ("/lines/0/sku", json!("pear")),
        ("/lines/0/quantity", json!(3)),
        ("/lines/1/unit_price_minor", json!(11)),
    ] {
        let mut lines = sent();
        let mut other = message("a", 2);
        *other.pointer_mut(field).unwrap() = value;
        lines[2] = other.to_string();
        only(&ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await, Rule::Differs, 1);
        // Sent with both contents: one of them is in the ledger, the other one was a conflict.
        lines.push(message("a", 2).to_string());
        assert!(ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await.is_clean(), "{field}");
    }
}

#[tokio::test]
async fn out_of_order_by_the_manifest() {
    let ledger = Ledger::fine().await;
    let mut lines = sent();
    lines[2] = lines[2].replace("\"sequence\":2", "\"sequence\":7");
    only(&ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await, Rule::OutOfOrder, 1);

    let mut lines = sent();
    lines.swap(0, 2);
    let manifest = ledger.manifest(&lines);
    only(&ledger.verified(Sequence::Fifo, Some(&manifest)).await, Rule::OutOfOrder, 1);
    assert!(ledger.verified(Sequence::None, Some(&manifest)).await.is_clean());
    // A later repetition does not move an order.
    let mut lines = sent();
    lines.push(lines[0].clone());
    assert!(ledger.verified(Sequence::Fifo, Some(&ledger.manifest(&lines))).await.is_clean());
}

#[tokio::test]
async fn examples_are_few_and_counts_are_whole() {
    let ledger = Ledger::fine().await;
    let mut lines = sent();
    lines.extend((10..40).map(|sequence| message("z", sequence).to_string()));
    let report = ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await;
    only(&report, Rule::Lost, 30);
    assert_eq!(report.findings[0].examples.len(), 10);
}

#[tokio::test]
async fn a_conflict_in_quarantine_is_no_loss() {
    let ledger = Ledger::fine().await;
    ledger.run(&[quarantine("a-4", "a-4~0022", "conflict")]).await;
    let mut lines = sent();
    lines.push(message("a", 4).to_string());
    assert!(ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await.is_clean());
    let mut more = order("a", 4);
    more.push("UPDATE customers SET last_position = 4 WHERE customer_id = 'a'".into());
    ledger.run(&more).await;
    assert!(ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await.is_clean());
}

/// A row of `decisions`.
fn decided(action: &str, order_id: &str, by: Option<&serde_json::Value>) -> String {
    let (name, body) = match by {
        Some(by) => (format!("'{}'", by["order_id"].as_str().unwrap()), format!("'{by}'")),
        None => ("NULL".into(), "NULL".into()),
    };
    format!(
        "INSERT INTO decisions (action, case_id, order_id, customer_id, actor, kind, new_order_id, new_body) \
         VALUES ('{action}', '{order_id}~0011', '{order_id}', 'b', 'me', 'poison', {name}, {body})"
    )
}

#[tokio::test]
async fn what_was_given_up_is_no_loss() {
    let ledger = Ledger::fine().await;
    let mut lines = sent();
    lines.push(message("a", 4).to_string());
    ledger.run(&[decided("retry", "a-4", None)]).await;
    only(&ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await, Rule::Lost, 1);
    ledger.run(&[decided("skip", "a-4", None)]).await;
    assert!(ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&lines))).await.is_clean());
}

/// An order that a person put in the place of another one is as good as one that was sent, and no better.
#[tokio::test]
async fn replaced_orders() {
    for name in ["a-2", "instead"] {
        let ledger = Ledger::fine().await;
        let mut lines = sent();
        // What was sent, and failed.
        let mut bad = message("a", 2);
        bad["lines"][0]["quantity"] = json!(99);
        lines[2] = bad.to_string();
        let mut good = message("a", 2);
        good["order_id"] = json!(name);
        if name != "a-2" {
            let renamed = |table: &str| format!("UPDATE {table} SET order_id = '{name}' WHERE order_id = 'a-2'");
            ledger.run(&["orders", "order_lines", "order_events"].map(renamed)).await;
        }
        let manifest = ledger.manifest(&lines);
        for promised in [Sequence::Gapless, Sequence::Fifo, Sequence::None] {
            assert!(!ledger.verified(promised, Some(&manifest)).await.is_clean(), "nobody decided it");
        }
        ledger.run(&[decided("replace", "a-2", Some(&good))]).await;
        for promised in [Sequence::Gapless, Sequence::Fifo, Sequence::None] {
            let report = ledger.verified(promised, Some(&manifest)).await;
            assert!(report.is_clean(), "{promised:?}: {:#?}", report.findings);
        }
        // It has to be there, with its own content and at the place of the one before it.
        ledger.run(&["UPDATE order_lines SET sku = 'pear' WHERE sku = 'apple' AND order_id LIKE 'a-3'".into()]).await;
        only(&ledger.verified(Sequence::Gapless, Some(&manifest)).await, Rule::Differs, 1);
        ledger.run(&["UPDATE order_lines SET sku = 'apple' WHERE sku = 'pear'".into()]).await;
        ledger
            .run(&[format!("UPDATE order_lines SET sku = 'pear' WHERE order_id = '{name}' AND line_number = 1")])
            .await;
        only(&ledger.verified(Sequence::Gapless, Some(&manifest)).await, Rule::Differs, 1);
    }
    let ledger = Ledger::fine().await;
    let mut gone = message("a", 4);
    gone["order_id"] = json!("gone");
    ledger.run(&[decided("replace", "a-5", Some(&gone))]).await;
    let report = ledger.verified(Sequence::Gapless, Some(&ledger.manifest(&sent()))).await;
    only(&report, Rule::Lost, 1);
    assert_eq!(report.findings[0].examples, ["order gone, line 7 of the manifest"]);
}
