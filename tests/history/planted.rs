//! Rules 1 to 4, and 8: what the databases say in the end, against what was sent.

use serde_json::json;

use super::story::{BEGAN, Story, sha256};
use super::{is_ok, only};

impl Story {
    /// Takes the last order of ada out, as if it had never come.
    fn lose(&mut self) {
        for table in ["orders.jsonl", "order_lines.jsonl", "order_events.jsonl"] {
            self.rows(table).retain(|row| row["order_id"] != "ada-5");
        }
        self.find("customers.jsonl", "customer_id", "ada")["last_position"] = json!(4);
        self.chains();
    }

    fn last_position(&mut self, customer: &str, position: u64) {
        self.find("customers.jsonl", "customer_id", customer)["last_position"] = json!(position);
    }

    fn park(&mut self, id: &str, customer: &str) {
        self.rows("parked_orders.jsonl").push(json!({ "order_id": id, "customer_id": customer }));
        let row = self.find("customers.jsonl", "customer_id", customer);
        row["parked"] = json!(row["parked"].as_u64().unwrap() + 1);
    }
}

#[test]
fn a_lost_order() {
    for mut story in [Story::gapless(), Story::fifo()] {
        story.lose();
        only(1, "ada-5: accepted, and nowhere", &story);
        // It may still be in the queue.
        let left = json!({ "body_sha256": sha256("the body of ada-5"), "message_id": "m" });
        story.rows("queue.jsonl").push(left);
        is_ok(&story);
        // Or it may never have come there.
        story.rows("queue.jsonl").clear();
        story.rows("sent.jsonl").retain(|line| line["kind"] != "duplicate");
        story.find("sent.jsonl", "order_id", "ada-5")["accepted"] = json!(null);
        is_ok(&story);
    }
}

#[test]
fn an_order_in_the_backlog_while_it_spools() {
    let mut story = Story::gapless();
    story.lose();
    story.rows("backlog_orders.jsonl").push(json!({ "order_id": "ada-5" }));
    story.gates = json!({ "gate": "CLOSED", "gate_epoch": 2, "phase": "SPOOLING", "backlog_epoch": 2 });
    is_ok(&story);
}

#[test]
fn parked_behind_nothing() {
    for mut story in [Story::gapless(), Story::fifo()] {
        story.lose();
        story.park("ada-5", "ada");
        only(1, "ada-5: parked, and waits for nothing", &story);
    }
    // Behind a number that does not come, it waits for something; in fifo there are no numbers.
    let mut story = Story::gapless();
    story.lose();
    story.park("ada-5", "ada");
    for table in ["orders.jsonl", "order_lines.jsonl", "order_events.jsonl"] {
        story.rows(table).retain(|row| row["order_id"] != "ada-4");
    }
    story.find("sent.jsonl", "order_id", "ada-4")["accepted"] = json!(null);
    story.last_position("ada", 3);
    story.chains();
    is_ok(&story);
}

#[test]
fn a_doubled_order() {
    let mut story = Story::fifo();
    story.commit("ada-5", "ada", 6, BEGAN + 6_200);
    story.rows("order_lines.jsonl").truncate(62);
    story.last_position("ada", 6);
    only(1, "ada-5: committed 2 times, skipped 0 times", &story);

    let mut story = Story::gapless();
    story.rows("tombstones.jsonl").push(json!({ "customer_id": "ada", "position": 6, "order_id": "ada-5" }));
    let skip = json!({ "at": BEGAN, "until": null, "kind": "skip", "target": "ada-5", "detail": "" });
    story.rows("faults.jsonl").push(skip);
    story.last_position("ada", 6);
    only(1, "ada-5: committed 1 times, skipped 1 times", &story);
}

#[test]
fn an_invented_order() {
    let mut story = Story::gapless();
    story.commit("ada-6", "ada", 6, BEGAN + 6_200);
    story.last_position("ada", 6);
    only(1, "ada-6: committed, and nobody sent it", &story);
    let mut story = Story::gapless();
    story.park("ivy-6", "ivy");
    only(1, "ivy-6: parked for ivy, and nobody sent it so", &story);
}

#[test]
fn a_position_that_nobody_skipped() {
    let mut story = Story::gapless();
    story.rows("tombstones.jsonl").push(json!({ "customer_id": "ada", "position": 6, "order_id": null }));
    story.last_position("ada", 6);
    only(1, "position 6 of ada is empty, and nobody skipped it", &story);
    let mut story = Story::gapless();
    story.find("faults.jsonl", "kind", "skip")["target"] = json!("eve-3");
    only(1, "eve-2: nobody skipped it", &story);
}

#[test]
fn another_content_than_was_sent() {
    let mut story = Story::gapless();
    story.find("orders.jsonl", "order_id", "ada-2")["body_sha256"] = json!(sha256("something else"));
    only(1, "ada-2: committed with another body than was sent", &story);
    let mut story = Story::gapless();
    story.find("orders.jsonl", "order_id", "ada-2")["total_minor"] = json!(320);
    story.rows("order_lines.jsonl")[3]["unit_price_minor"] = json!(20);
    only(1, "ada-2: its total is 320, and was sent as 310", &story);
}

#[test]
fn another_customer_than_was_sent() {
    let mut story = Story::gapless();
    for table in ["orders.jsonl", "order_events.jsonl"] {
        story.find(table, "order_id", "ada-5")["customer_id"] = json!("kim");
        story.find(table, "order_id", "ada-5")["position"] = json!(2);
    }
    story.last_position("ada", 4);
    story.last_position("kim", 2);
    story.chains();
    let judged = super::judge(&story);
    assert!(judged.out.contains("ada-5: committed for kim"), "{}", judged.out);
}

#[test]
fn what_a_person_replaced_is_not_committed() {
    let mut story = Story::gapless();
    story.find("faults.jsonl", "kind", "replace")["target"] = json!("gus-2");
    // fay's poison has no end now, and gus's has one.
    only(1, "gus-2: a person replaced it, and yet it has an end of its own", &story);
}

#[test]
fn a_conflict_or_a_malformed_message_that_is_gone() {
    let mut story = Story::gapless();
    story.rows("quarantined_orders.jsonl").retain(|row| row["kind"] != "conflict");
    only(1, "hal-2: of two bodies under this name one is nowhere", &story);
    let mut story = Story::gapless();
    story.rows("quarantined_orders.jsonl").retain(|row| row["kind"] != "malformed");
    only(1, "malformed-1: accepted, and nowhere", &story);
}

#[test]
fn the_rival_may_win() {
    let mut story = Story::gapless();
    story.find("orders.jsonl", "order_id", "hal-2")["body_sha256"] = json!(sha256("another body of hal-2"));
    story.chains();
    is_ok(&story);
}

#[test]
fn swapped_positions() {
    for mut story in [Story::gapless(), Story::fifo()] {
        for table in ["orders.jsonl", "order_events.jsonl"] {
            for (id, position) in [("ada-2", 3), ("ada-3", 2)] {
                story.find(table, "order_id", id)["position"] = json!(position);
            }
        }
        for (id, event) in [("ada-2", 3), ("ada-3", 2)] {
            story.find("order_events.jsonl", "order_id", id)["event_id"] = json!(event);
        }
        only(2, "ada-2: place 2, committed behind ada-3, place 3", &story);
    }
}

/// In `gapless` a number that is left out, and everything behind it one place too early, keeps the order of all.
#[test]
fn a_position_that_is_not_the_sequence() {
    let mut story = Story::gapless();
    for table in ["orders.jsonl", "order_lines.jsonl", "order_events.jsonl"] {
        story.rows(table).retain(|row| row["order_id"] != "ada-4");
    }
    story.rows("sent.jsonl").retain(|line| line["order_id"] != "ada-4");
    for table in ["orders.jsonl", "order_events.jsonl"] {
        story.find(table, "order_id", "ada-5")["position"] = json!(4);
    }
    story.last_position("ada", 4);
    story.chains();
    only(2, "ada-5: its position is 4, and its sequence 5", &story);
}

#[test]
fn a_gap_in_the_positions() {
    for mut story in [Story::gapless(), Story::fifo()] {
        for table in ["orders.jsonl", "order_events.jsonl"] {
            story.find(table, "order_id", "ada-5")["position"] = json!(6);
        }
        story.last_position("ada", 6);
        only(2, "ada: positions 5 to 5 are missing", &story);
    }
}

#[test]
fn a_position_twice() {
    let mut story = Story::fifo();
    for table in ["orders.jsonl", "order_events.jsonl"] {
        story.find(table, "order_id", "ada-5")["position"] = json!(4);
    }
    story.last_position("ada", 4);
    only(2, "ada: position 4 is there twice", &story);
}

#[test]
fn a_last_position_that_is_not_the_last() {
    let mut story = Story::gapless();
    story.last_position("bob", 6);
    only(2, "bob: the last position is 5, and its row says 6", &story);
}

#[test]
fn events_out_of_order() {
    let mut story = Story::gapless();
    for (id, event) in [("ada-2", 3), ("ada-3", 2)] {
        story.find("order_events.jsonl", "order_id", id)["event_id"] = json!(event);
    }
    only(2, "ada: event 2 of position 3 does not follow event 3 of position 2", &story);
}

#[test]
fn committed_past_one_that_waits() {
    // In fifo no number shows it: ivy-3 is committed while its predecessor is in quarantine.
    let mut story = Story::fifo();
    story.rows("parked_orders.jsonl").remove(0);
    story.commit("ivy-3", "ivy", 2, BEGAN + 9_000);
    let row = story.find("customers.jsonl", "customer_id", "ivy");
    row["last_position"] = json!(2);
    row["parked"] = json!(2);
    story.chains();
    only(2, "ivy-2: waits, and orders of ivy behind it are committed", &story);
}

#[test]
fn a_broken_chain() {
    for (field, value, words) in [
        ("link", json!(sha256("")), "ada: the chain's link is"),
        ("orders", json!(6), "ada: the effect ran for 6 orders with 1550, not for 5 with 1550"),
        ("total_minor", json!(1240), "ada: the effect ran for 5 orders with 1240, not for 5 with 1550"),
    ] {
        let mut story = Story::gapless();
        story.find("chains.jsonl", "customer_id", "ada")[field] = value;
        only(3, words, &story);
    }
    let mut story = Story::gapless();
    story.rows("chains.jsonl").remove(0);
    only(3, "ada: 0 chains, for 5 orders", &story);
    story.rows("chains.jsonl").push(json!({ "customer_id": "zoe", "orders": 1, "total_minor": 1, "link": "" }));
    only(3, "zoe: the effect ran for 1 orders", &story);
}

#[test]
fn lines_that_are_missing_or_too_many() {
    let mut story = Story::gapless();
    story.rows("order_lines.jsonl").remove(1);
    only(4, "ada-1: its lines are 300 together, and its total is 310", &story);
    story.rows("order_lines.jsonl").remove(0);
    only(4, "ada-1: an order without lines", &story);
    let mut story = Story::gapless();
    let free = json!({ "order_id": "ada-1", "line_number": 2, "quantity": 1, "unit_price_minor": 0 });
    story.rows("order_lines.jsonl").push(free.clone());
    only(4, "ada-1: line 2 is there twice", &story);
    let mut stray = free;
    stray["order_id"] = json!("zoe-1");
    let mut story = Story::gapless();
    story.rows("order_lines.jsonl").push(stray);
    only(4, "zoe-1: lines without their order", &story);
}

#[test]
fn events_that_are_missing_or_too_many() {
    let mut story = Story::gapless();
    let event = story.rows("order_events.jsonl").remove(1);
    only(4, "ada-2: an order without its event, at position 2 of ada", &story);
    let mut again = event.clone();
    again["event_id"] = json!(1_000);
    again["position"] = json!(6);
    story.rows("order_events.jsonl").extend([event, again]);
    only(4, "ada-2: an event without its order, at position 6 of ada", &story);
}

#[test]
fn a_counter_that_is_off() {
    let mut story = Story::gapless();
    story.find("customers.jsonl", "customer_id", "ivy")["parked"] = json!(4);
    only(4, "ivy: 3 orders are parked, and its row says 4", &story);
}

#[test]
fn who_waits_too_long() {
    let mut story = Story::gapless();
    story.find("orders.jsonl", "order_id", "ada-5")["committed_ms"] = json!(BEGAN + 35_001);
    only(8, "ada-5: waited 30001 ms without an outage, more than 30000 ms", &story);
    // From the commit of its predecessor on; or an outage explains it, with the time to recover from it.
    story.find("orders.jsonl", "order_id", "ada-4")["committed_ms"] = json!(BEGAN + 10_000);
    is_ok(&story);
    story.find("orders.jsonl", "order_id", "ada-5")["committed_ms"] = json!(BEGAN + 52_000);
    only(8, "ada-5: waited 42000 ms", &story);
    let mut outage = json!({
        "at": BEGAN + 15_000, "until": BEGAN + 16_000, "kind": "ledger_restart", "target": "ledger", "detail": "",
    });
    story.rows("faults.jsonl").push(outage.clone());
    only(8, "ada-5: waited 31000 ms", &story);
    outage["at"] = json!(BEGAN + 20_000);
    outage["until"] = json!(BEGAN + 20_001);
    story.rows("faults.jsonl").push(outage);
    is_ok(&story);
}

#[test]
fn a_kill_excuses_the_time_of_its_leases() {
    let mut story = Story::gapless();
    story.find("orders.jsonl", "order_id", "ada-5")["committed_ms"] = json!(BEGAN + 70_000);
    let kill = json!({ "at": BEGAN + 5_000, "until": null, "kind": "kill", "target": "worker-1", "detail": "" });
    story.rows("faults.jsonl").push(kill);
    is_ok(&story);
    story.find("orders.jsonl", "order_id", "ada-5")["committed_ms"] = json!(BEGAN + 70_001);
    only(8, "ada-5: waited 30001 ms", &story);
    story.run["leases_ms"] = json!(36_000);
    is_ok(&story);
}

#[test]
fn whose_line_was_meddled_with_waits_for_a_person() {
    let mut story = Story::gapless();
    for id in ["eve-5", "fay-5", "gus-5", "hal-5"] {
        story.find("orders.jsonl", "order_id", id)["committed_ms"] = json!(BEGAN + 90_000);
    }
    is_ok(&story);
}
