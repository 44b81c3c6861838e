//! One thing wrong in a ledger that is fine otherwise, found without a manifest.

use millrace::verify::{Rule, Sequence};

use super::{Ledger, event, only, order, park};

/// Plants the statements, and exactly this rule is broken.
async fn planted(sql: &[&str], rule: Rule, count: u64) {
    let ledger = Ledger::fine().await;
    for table in ["orders", "order_lines", "order_events", "tombstones", "customers", "parked_orders"] {
        if sql.iter().any(|statement| statement.contains("/* without constraints */") && statement.contains(table)) {
            ledger.without_constraints(table).await;
        }
    }
    ledger.run(&sql.iter().map(|statement| (*statement).to_owned()).collect::<Vec<_>>()).await;
    only(&ledger.verified(Sequence::Gapless, None).await, rule, count);
}

#[tokio::test]
async fn an_order_committed_twice() {
    // At the same position with all that belongs to it: the place is taken twice as well.
    let ledger = Ledger::fine().await;
    ledger.without_constraints("orders").await;
    ledger.run(&["INSERT INTO orders SELECT * FROM orders WHERE order_id = 'a-1'".to_owned()]).await;
    let report = ledger.verified(Sequence::None, None).await;
    assert_eq!((report.count(Rule::Duplicated), report.count(Rule::TakenTwice), report.findings.len()), (1, 1, 2));
    assert!(report.to_string().contains("7 orders, 0 lost, 1 duplicated"), "{report}");
}

#[tokio::test]
async fn two_events() {
    planted(&[&event("a-1", "a", 1)], Rule::Duplicated, 1).await;
}

#[tokio::test]
async fn an_event_of_another_kind_is_nothing() {
    let ledger = Ledger::fine().await;
    ledger.run(&[event("a-1", "a", 1).replace("'committed'", "'shipped'")]).await;
    assert!(ledger.verified(Sequence::Gapless, None).await.is_clean());
}

#[tokio::test]
async fn lines_twice() {
    let twice = "INSERT INTO order_lines /* without constraints */ SELECT * FROM order_lines WHERE order_id = 'a-1'";
    planted(&[twice], Rule::Duplicated, 2).await;
}

#[tokio::test]
async fn an_order_with_a_tombstone() {
    planted(&["UPDATE tombstones SET order_id = 'a-1'"], Rule::Duplicated, 1).await;
}

/// Found by damaged messages: what stands in other fields is not ours to judge.
#[tokio::test]
async fn a_number_that_fits_nowhere_in_another_field() {
    let ledger = Ledger::fine().await;
    let odd = "UPDATE orders SET body = '{\"x\":1e999,' || substr(body, 2) WHERE order_id = 'a-2'";
    ledger.run(&[odd.to_owned()]).await;
    let report = ledger.verified(Sequence::Gapless, None).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[tokio::test]
async fn a_position_that_is_not_the_sequence() {
    let moved = "UPDATE orders SET body = replace(body, '\"sequence\":2', '\"sequence\":3') WHERE order_id = 'a-2'";
    planted(&[moved], Rule::OutOfOrder, 1).await;
    let gone = "UPDATE orders SET body = '{}' WHERE order_id = 'a-2'";
    planted(&[gone], Rule::OutOfOrder, 1).await;
    let ledger = Ledger::fine().await;
    ledger.run(&[gone.to_owned()]).await;
    for promised in [Sequence::Fifo, Sequence::None] {
        assert!(ledger.verified(promised, None).await.is_clean(), "{promised:?} does not promise it");
    }
}

#[tokio::test]
async fn a_hole() {
    planted(&["DELETE FROM tombstones"], Rule::Hole, 1).await;
    let mut far: Vec<String> = order("c", 9);
    far.push("UPDATE customers SET last_position = 9 WHERE customer_id = 'c'".into());
    let far: Vec<&str> = far.iter().map(String::as_str).collect();
    planted(&far, Rule::Hole, 1).await;
}

#[tokio::test]
async fn an_order_and_a_tombstone_at_one_place() {
    let tombstone = "INSERT INTO tombstones (customer_id, position, reason, actor) VALUES ('a', 2, 'r', 'me')";
    planted(&[tombstone], Rule::TakenTwice, 1).await;
}

#[tokio::test]
async fn a_last_position_that_is_wrong() {
    for wrong in ["2", "4", "'many'"] {
        let sql = format!("UPDATE customers SET last_position = {wrong} WHERE customer_id = 'a'");
        planted(&[&sql], Rule::LastPosition, 1).await;
    }
    planted(&["DELETE FROM customers WHERE customer_id = 'c'"], Rule::LastPosition, 1).await;
}

#[tokio::test]
async fn orders_without_lines_or_event() {
    planted(&["DELETE FROM order_lines WHERE order_id = 'a-2'"], Rule::NoLines, 1).await;
    planted(&["DELETE FROM order_events WHERE order_id = 'a-2'"], Rule::NoEvent, 1).await;
}

#[tokio::test]
async fn lines_and_events_without_their_order() {
    planted(&["INSERT INTO order_lines VALUES ('nobody', 1, 'apple', 1, 1)"], Rule::StrayLines, 1).await;
    planted(&[&event("nobody", "a", 4)], Rule::StrayEvent, 1).await;
    planted(&["UPDATE order_events SET position = 3 WHERE order_id = 'a-2'"], Rule::StrayEvent, 1).await;
    planted(&["UPDATE order_events SET customer_id = 'b' WHERE order_id = 'a-3'"], Rule::StrayEvent, 1).await;
}

#[tokio::test]
async fn events_against_the_positions() {
    planted(&["UPDATE order_events SET event_id = 100 WHERE order_id = 'a-1'"], Rule::EventOrder, 1).await;
}

#[tokio::test]
async fn parked_orders_that_are_miscounted_or_left_behind() {
    planted(&["UPDATE customers SET parked = 2 WHERE customer_id = 'a'"], Rule::ParkedCount, 1).await;
    planted(&["DELETE FROM parked_orders WHERE customer_id = 'd'"], Rule::ParkedCount, 1).await;
    planted(&[&park("nobody", 2)], Rule::ParkedCount, 1).await;
    let count = "UPDATE customers SET parked = 1 WHERE customer_id = 'b'";
    planted(&[&park("b", 2), count], Rule::ParkedEnded, 1).await;
    let skipped = "UPDATE tombstones SET order_id = 'a-5'";
    planted(&[skipped], Rule::ParkedEnded, 1).await;
}

#[tokio::test]
async fn blocked_by_nothing() {
    planted(&["DELETE FROM quarantined_orders WHERE id = 'b-3~0011'"], Rule::BlockedByNothing, 1).await;
}

#[tokio::test]
async fn totals() {
    planted(&["UPDATE orders SET total_minor = 311 WHERE order_id = 'a-2'"], Rule::Total, 1).await;
    let large = "UPDATE order_lines SET quantity = 9223372036854775807, unit_price_minor = 9223372036854775807";
    planted(&[large], Rule::Total, 6).await;
}

#[tokio::test]
async fn garbage_is_reported() {
    for (sql, count) in [
        ("UPDATE orders SET total_minor = 'much' WHERE order_id = 'a-2'", 1),
        ("UPDATE orders SET total_minor = 1.5 WHERE order_id = 'a-2'", 1),
        ("UPDATE orders SET body = x'ff00fe' WHERE order_id = 'a-2'", 1),
        ("UPDATE orders /* without constraints */ SET currency = NULL WHERE order_id = 'a-2'", 1),
        ("UPDATE orders /* without constraints */ SET body = NULL", 6),
        ("UPDATE order_lines SET quantity = 'some' WHERE order_id = 'a-2'", 2),
        ("UPDATE order_lines /* without constraints */ SET sku = NULL WHERE order_id = 'a-2'", 2),
        ("UPDATE order_lines SET unit_price_minor = x'00' WHERE order_id = 'a-2' AND line_number = 2", 1),
    ] {
        planted(&[sql], Rule::Unreadable, count).await;
    }
    // Where the garbage is a key, other rules break with it; what matters is that it is told.
    for sql in [
        "UPDATE orders SET position = 'first' WHERE order_id = 'a-1'",
        "UPDATE orders /* without constraints */ SET position = NULL, customer_id = NULL WHERE order_id = 'a-1'",
        "UPDATE orders /* without constraints */ SET order_id = NULL WHERE order_id = 'a-1'",
        "UPDATE orders SET order_id = x'ff' WHERE order_id = 'a-1'",
        "UPDATE customers /* without constraints */ SET customer_id = NULL, last_position = NULL, parked = NULL",
        "UPDATE order_events SET kind = x'00ff', order_id = x'ff', position = 'x'",
        "UPDATE tombstones /* without constraints */ SET customer_id = NULL, position = NULL",
        "UPDATE parked_orders /* without constraints */ SET customer_id = NULL, ord = NULL",
    ] {
        let ledger = Ledger::fine().await;
        if sql.contains("without constraints") {
            for table in ["orders", "customers", "tombstones", "parked_orders"] {
                ledger.without_constraints(table).await;
            }
        }
        ledger.run(&[sql.to_owned()]).await;
        let manifest = ledger.manifest(&[]);
        let report = ledger.verified(Sequence::Fifo, Some(&manifest)).await;
        assert!(!report.is_clean(), "{sql}");
    }
}
