//! What a person decides, in `gapless` mode.

use millrace::ledger::decisions::{Decision, Decisions};
use millrace::ledger::{CaseKind, CaseVerdict, Found, Ledger, Placed, Source, Verdict};
use millrace::order::Ordering::{Fifo, Gapless};

use super::Store;
use super::bench::{Bench, committed};
use super::orders::{customer, harmless, malformed, named, order, orders, other_content, poison};
use crate::probe::Probe;

/// The name of an order in quarantine.
pub(crate) fn case(placed: &Placed) -> String {
    format!("{}~{}", placed.entry.id(), &placed.entry.digest().to_string()[..16])
}

impl<S: Store> Bench<S> {
    pub(crate) async fn desk(&self) -> <S::Ledger as Ledger>::Decisions {
        self.ledger.decisions().await.unwrap()
    }

    pub(crate) async fn decide_retry(&self, id: &str) -> Decision {
        let decision = self.desk().await.retry(id, "ann").await.unwrap();
        self.audit().await;
        decision
    }

    pub(crate) async fn decide_replace(&self, id: &str, order: &Placed) -> Decision {
        let decision = self.desk().await.replace(id, order, "ann").await.unwrap();
        self.audit().await;
        decision
    }

    pub(crate) async fn decide_skip(&self, id: &str) -> Decision {
        let decision = self.desk().await.skip(id, "given up", "ann").await.unwrap();
        self.audit().await;
        decision
    }

    pub(crate) async fn decide_gap(&self, name: &str, position: u64) -> Decision {
        let decision = self.desk().await.skip_gap(&customer(name), position, "never sent", "ann").await.unwrap();
        self.audit().await;
        decision
    }

    pub(crate) async fn parked(&self) -> Vec<String> {
        self.column("SELECT order_id FROM parked_orders ORDER BY customer_id, ord").await
    }

    /// What is parked stands next, and commits.
    pub(crate) async fn drain(&mut self, name: &str) -> Verdict {
        assert_eq!(self.sweep(10).await, [name]);
        let next = self.next_run(name, 10).await;
        self.commit_parked(&next.orders).await
    }
}

/// Refused, with these words.
pub(crate) fn is_refused(decision: &Decision, words: &str) {
    let Decision::Refused(why) = decision else { panic!("not refused: {decision:?}") };
    assert!(why.contains(words), "{why}");
}

/// Decided before, with these words.
pub(crate) fn is_before(decision: &Decision, words: &str) {
    let Decision::Before(how) = decision else { panic!("not decided before: {decision:?}") };
    assert!(how.contains(words), "{how}");
}

pub(crate) async fn a_retried_head_goes_first<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let head = order("ada", 1);
    bench.quarantine(&poison(&head)).await;
    bench.park(&orders("ada", 2, 3)).await;
    assert_eq!(bench.decide_retry(&case(&head)).await, Decision::Done);
    is_before(&bench.decide_retry(&case(&head)).await, "by ann at 20");
    assert_eq!(bench.found(&head).await, Found::Parked);
    assert_eq!(bench.count("quarantined_orders").await, 0);
    assert_eq!(bench.drain("ada").await, committed(3, 0));
    assert_eq!(bench.line("ada").await, ["ada-1", "ada-2", "ada-3"]);
    // The trace: the entry as it was.
    let body = bench.probe.text_of("body");
    let sql = format!("SELECT action, case_id, order_id, customer_id, actor, kind, case_reason, {body} FROM decisions");
    let id = case(&head);
    let row = ["retry", &id, "ada-1", "ada", "ann", "poison", "a check failed", head.entry.body()];
    assert_eq!(bench.probe.rows(&sql).await, [row.map(|text| Some(text.to_owned()))]);
}

pub(crate) async fn a_retried_entry_may_fail_again<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let head = order("ada", 1);
    for round in 1..=3 {
        assert_eq!(bench.quarantine(&poison(&head)).await, CaseVerdict::Quarantined);
        assert_eq!(bench.count("parked_orders").await, 0, "it is in one place");
        assert_eq!(bench.decide_retry(&case(&head)).await, Decision::Done);
        assert_eq!(bench.count("decisions").await, round);
    }
    is_refused(&bench.decide_skip(&case(&head)).await, "sent back to its line by ann");
    assert_eq!(bench.drain("ada").await, committed(1, 0));
}

pub(crate) async fn what_never_was_is_unknown<S: Store>(store: &S) {
    let bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.decide_retry("x~1").await, Decision::Unknown);
    assert_eq!(bench.decide_skip("x~1").await, Decision::Unknown);
    assert_eq!(bench.decide_replace("x~1", &order("ada", 1)).await, Decision::Unknown);
    assert_eq!(bench.desk().await.show("x~1").await, Ok(None));
    assert_eq!(bench.count("customers").await, 0, "nothing is written");
}

pub(crate) async fn a_closed_gate_decides_nothing<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let (one, two, three) = (order("ada", 1), order("bob", 1), order("cyd", 1));
    for head in [&one, &two, &three] {
        bench.quarantine(&poison(head)).await;
    }
    bench.park_one(&order("dan", 2)).await;
    let closes = ["UPDATE gate_announced SET epoch = 1", "UPDATE gate SET state = 'CLOSED', epoch = 1"];
    for close in closes {
        bench.probe.execute(close).await;
        assert_eq!(bench.decide_retry(&case(&one)).await, Decision::GateClosed);
        assert_eq!(bench.decide_skip(&case(&two)).await, Decision::GateClosed);
        assert_eq!(bench.decide_replace(&case(&three), &three).await, Decision::GateClosed);
        assert_eq!(bench.decide_gap("dan", 1).await, Decision::GateClosed);
    }
    assert_eq!((bench.count("quarantined_orders").await, bench.count("decisions").await), (3, 0));
    bench.gate("DRAINING", 1).await;
    assert_eq!(bench.decide_retry(&case(&one)).await, Decision::Done);
    assert_eq!(bench.decide_skip(&case(&two)).await, Decision::Done);
    assert_eq!(bench.decide_replace(&case(&three), &three).await, Decision::Done);
    is_refused(&bench.decide_gap("dan", 1).await, "may still lie in the backlog");
    bench.gate("OPEN", 1).await;
    assert_eq!(bench.decide_gap("dan", 1).await, Decision::Done);
}

/// With the settings of another deployment an entry would be given another place.
pub(crate) async fn the_ordering_is_the_ledgers_own<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let head = order("ada", 1);
    bench.quarantine(&poison(&head)).await;
    let source = Source { ordering: Fifo, queue_arn: "a.fifo".to_owned(), queue_created_at: 1 };
    bench.ledger.bind(&source).await.unwrap();
    let words = "inbox.ordering is gapless here, and the ledger is ordered by fifo";
    is_refused(&bench.decide_retry(&case(&head)).await, words);
    is_refused(&bench.decide_replace(&case(&head), &head).await, words);
    is_refused(&bench.decide_skip(&case(&head)).await, words);
    is_refused(&bench.decide_gap("ada", 1).await, words);
    assert_eq!((bench.count("quarantined_orders").await, bench.count("decisions").await), (1, 0));
    bench.probe.execute("UPDATE ledger_source SET ordering = 'gapless'").await;
    assert_eq!(bench.decide_retry(&case(&head)).await, Decision::Done);
}

pub(crate) async fn a_skipped_head_is_ended<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let head = order("ada", 2);
    bench.commit_one(&[order("ada", 1)]).await;
    bench.quarantine(&poison(&head)).await;
    bench.park(&orders("ada", 3, 4)).await;
    assert_eq!(bench.decide_skip(&case(&head)).await, Decision::Done);
    is_before(&bench.decide_skip(&case(&head)).await, "skipped by ann at 20");
    is_refused(&bench.decide_retry(&case(&head)).await, "skipped by ann");
    assert_eq!(bench.found(&head).await, Found::Ended, "a redelivery is a duplicate");
    let sql = "SELECT customer_id, position, order_id, reason, actor FROM tombstones";
    let row = ["ada", "2", "ada-2", "given up", "ann"].map(|text| Some(text.to_owned()));
    assert_eq!(bench.probe.rows(sql).await, [row]);
    assert_eq!(bench.column("SELECT position FROM decisions").await, ["2"]);
    assert_eq!(bench.drain("ada").await, committed(4, 0));
    assert_eq!(bench.line("ada").await, ["ada-1", "ada-3", "ada-4"]);
}

pub(crate) async fn skipping_takes_the_parked_copy<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let head = order("ada", 1);
    bench.quarantine(&poison(&head)).await;
    leave_a_copy(&bench, "ord").await;
    assert_eq!(bench.decide_skip(&case(&head)).await, Decision::Done);
    assert_eq!(bench.count("parked_orders").await, 0);
}

/// A parked copy of everything in quarantine, as a race would leave it; at this rank.
pub(crate) async fn leave_a_copy<S: Store>(bench: &Bench<S>, rank: &str) {
    let copy = format!(
        "INSERT INTO parked_orders (customer_id, ord, order_id, digest, body)
         SELECT customer_id, {rank}, order_id, digest, body FROM quarantined_orders"
    );
    bench.probe.execute(&copy).await;
    bench.probe.execute("UPDATE customers SET parked = parked + 1").await;
    bench.audit().await;
}

/// One `order_id`, two contents: giving up the one must not end the other.
pub(crate) async fn a_name_that_another_order_has_is_not_ended<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let (bad, good) = (named("x", "ada", 1), named("x", "ada", 3));
    bench.quarantine(&poison(&bad)).await;
    bench.park(&[order("ada", 2), good.clone()]).await;
    assert_eq!(bench.decide_skip(&case(&bad)).await, Decision::Done);
    assert_eq!(bench.found(&good).await, Found::Parked);
    assert_eq!(bench.drain("ada").await, committed(3, 0));
    assert_eq!(bench.line("ada").await, ["ada-2", "x"]);
    // The same when it is committed already.
    let late = named("x", "bob", 1);
    bench.quarantine(&poison(&late)).await;
    assert_eq!(bench.decide_skip(&case(&late)).await, Decision::Done);
    assert_eq!(bench.count("tombstones WHERE order_id = 'x'").await, 0);
    assert_eq!(bench.found(&good).await, Found::Ended);
}

pub(crate) async fn an_entry_aside_only_leaves<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("ada", 1, 1)).await;
    let conflict = other_content(&order("ada", 1));
    bench.quarantine(&harmless(&conflict, CaseKind::Conflict)).await;
    bench.quarantine(&harmless(&malformed("m1", None, 0), CaseKind::Malformed)).await;
    // Its customer is blocked by another entry, which stays.
    let head = order("ada", 2);
    bench.quarantine(&poison(&head)).await;
    for id in [case(&conflict), "!m1".to_owned()] {
        assert_eq!(bench.decide_skip(&id).await, Decision::Done);
        is_before(&bench.decide_skip(&id).await, "skipped by ann");
    }
    assert_eq!(bench.column("SELECT blocked_by FROM customers").await, [case(&head)]);
    assert_eq!((bench.count("tombstones").await, bench.count("decisions").await), (0, 2));
}

pub(crate) async fn a_conflict_is_retried_where_its_place_is_free<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("ada", 1, 2)).await;
    // Of a customer that has a row, one that stands next, and one whose customer nobody knows.
    let entries = [named("x", "ada", 5), named("y", "ada", 3), named("z", "new", 4)];
    for entry in &entries {
        bench.quarantine(&harmless(entry, CaseKind::Conflict)).await;
        assert_eq!(bench.decide_retry(&case(entry)).await, Decision::Done);
        assert_eq!(bench.found(entry).await, Found::Parked);
    }
    assert_eq!(bench.parked().await, ["y", "x", "z"]);
    assert_eq!(bench.drain("ada").await, committed(3, 1));
    assert_eq!(bench.commit_one(&[order("ada", 4)]).await, committed(4, 1));
    assert_eq!(bench.drain("ada").await, committed(5, 0));
}

pub(crate) async fn a_taken_place_is_refused<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("ada", 1, 2)).await;
    bench.park_one(&order("ada", 5)).await;
    bench.quarantine(&poison(&order("bob", 1))).await;
    let refusals = [
        (named("x", "ada", 2), "sequence 2 of customer ada belongs to order ada-2"),
        (other_content(&order("ada", 1)), "another order ada-1 is committed, at position 1 of customer ada"),
        (named("y", "ada", 5), "order ada-5 is parked at place 5"),
        (other_content(&order("ada", 5)), "another order ada-5 is parked"),
        (named("z", "bob", 1), "sequence 1 of customer bob is in quarantine as bob-1~"),
        (order("ada", 2), "order ada-2 is committed already, at position 2"),
    ];
    for (entry, words) in refusals {
        bench.quarantine(&harmless(&entry, CaseKind::Conflict)).await;
        is_refused(&bench.decide_retry(&case(&entry)).await, words);
    }
    assert_eq!((bench.count("quarantined_orders").await, bench.count("decisions").await), (7, 0));
    assert_eq!(bench.parked().await, ["ada-5"]);
}

pub(crate) async fn a_head_is_replaced<S: Store>(store: &S) {
    for (name, by) in [("ada", other_content(&order("ada", 1))), ("bob", named("better", "bob", 1))] {
        let mut bench = Bench::new(store, Gapless).await;
        let head = order(name, 1);
        bench.quarantine(&poison(&head)).await;
        bench.park_one(&order(name, 2)).await;
        assert_eq!(bench.decide_replace(&case(&head), &by).await, Decision::Done);
        is_before(&bench.decide_replace(&case(&head), &by).await, &format!("by order {}", by.entry.id()));
        is_refused(&bench.decide_replace(&case(&head), &named("third", name, 1)).await, "replaced by order");
        assert_eq!(bench.drain(name).await, committed(2, 0));
        let second = format!("{name}-2");
        assert_eq!(bench.line(name).await, [by.entry.id().as_str(), second.as_str()]);
        // The original is kept, and what took its place is named.
        let body = bench.probe.text_of("body");
        let kept = bench.column(&format!("SELECT {body} FROM decisions WHERE order_id = '{name}-1'")).await;
        assert_eq!(kept, [head.entry.body()]);
        assert_eq!(bench.column("SELECT new_body FROM decisions").await, [by.entry.body()]);
        assert_eq!(bench.found(&by).await, Found::Ended);
    }
}

pub(crate) async fn a_replacement_has_to_fit<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.commit_one(&orders("bob", 1, 1)).await;
    bench.park_one(&order("bob", 3)).await;
    let (head, aside) = (order("ada", 1), named("aside", "ada", 9));
    bench.quarantine(&poison(&head)).await;
    bench.quarantine(&harmless(&aside, CaseKind::Conflict)).await;
    for (order, words) in [
        (named("x", "cyd", 1), "is of customer cyd, and the entry's place belongs to customer ada"),
        (named("x", "ada", 2), "has sequence 2, and the entry's place is 1"),
        (named("bob-1", "ada", 1), "another order bob-1 is committed"),
        (named("bob-3", "ada", 1), "another order bob-3 is parked"),
        (aside.clone(), "in quarantine as aside~"),
        (malformed("m", None, 0), "not an order"),
    ] {
        is_refused(&bench.decide_replace(&case(&head), &order).await, words);
    }
    assert_eq!((bench.count("quarantined_orders").await, bench.count("decisions").await), (2, 0));
    assert_eq!(bench.count("customers").await, 2, "nobody's row is left behind");
}

pub(crate) async fn a_replaced_message_gets_its_own_place<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.park_one(&order("ada", 2)).await;
    bench.quarantine(&harmless(&malformed("m1", None, 0), CaseKind::Malformed)).await;
    is_refused(&bench.decide_retry("!m1").await, "it is no order (not an order: ");
    assert_eq!(bench.decide_replace("!m1", &order("ada", 1)).await, Decision::Done);
    assert_eq!(bench.drain("ada").await, committed(2, 0));
    // A customer that nobody knew.
    bench.quarantine(&harmless(&malformed("m2", None, 0), CaseKind::Malformed)).await;
    assert_eq!(bench.decide_replace("!m2", &order("new", 1)).await, Decision::Done);
    assert_eq!(bench.drain("new").await, committed(1, 0));
}

/// What an earlier program took for no order.
pub(crate) async fn what_decodes_by_now_is_retried<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    bench.quarantine(&harmless(&malformed("m1", None, 0), CaseKind::Malformed)).await;
    bench.quarantine(&harmless(&order("ada", 1), CaseKind::Conflict)).await;
    let copy = "UPDATE quarantined_orders SET body = (SELECT body FROM quarantined_orders WHERE order_id = 'ada-1')
                WHERE id = '!m1'";
    bench.probe.execute(copy).await;
    is_refused(&bench.decide_retry("!m1").await, "in quarantine as ada-1~");
    assert_eq!(bench.decide_skip(&case(&order("ada", 1))).await, Decision::Done);
    assert_eq!(bench.decide_retry("!m1").await, Decision::Done);
    assert_eq!(bench.drain("ada").await, committed(1, 0));
    assert_eq!(bench.column("SELECT body FROM orders").await, [order("ada", 1).entry.body()]);
}

pub(crate) async fn what_is_parked_meanwhile_is_not_lost<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    let head = order("ada", 1);
    bench.quarantine(&poison(&head)).await;
    leave_a_copy(&bench, "ord").await;
    // The very same order: it is enough to let it go.
    assert_eq!(bench.decide_retry(&case(&head)).await, Decision::Done);
    assert_eq!(bench.parked().await, ["ada-1"]);
    // Another one at the place.
    let mut bench = Bench::new(store, Gapless).await;
    bench.quarantine(&poison(&head)).await;
    leave_a_copy(&bench, "ord").await;
    bench.probe.execute("UPDATE parked_orders SET order_id = 'other'").await;
    is_refused(&bench.decide_retry(&case(&head)).await, "order other is parked at place 1");
    assert_eq!((bench.parked().await, bench.count("quarantined_orders").await), (vec!["other".to_owned()], 1));
}

pub(crate) async fn entries_are_listed_and_shown<S: Store>(store: &S) {
    let mut bench = Bench::new(store, Gapless).await;
    assert_eq!(bench.desk().await.list(None, 10).await, Ok(vec![]));
    let head = order("ada", 1);
    bench.quarantine(&poison(&head)).await;
    bench.park(&orders("ada", 2, 4)).await;
    for message in ["m1", "m2", "m3"] {
        bench.quarantine(&harmless(&malformed(message, None, 0), CaseKind::Malformed)).await;
    }
    // Written in one moment, as a fast machine does: the name decides.
    bench.probe.execute("UPDATE quarantined_orders SET created_at = '2026-11-22T10:00:00.250Z'").await;
    let mut desk = bench.desk().await;
    let all = desk.list(None, 10).await.unwrap();
    let names: Vec<_> = all.iter().map(|entry| entry.id.clone()).collect();
    assert_eq!(names, ["!m1".to_owned(), "!m2".to_owned(), "!m3".to_owned(), case(&head)]);
    let (first, last) = (&all[0], &all[3]);
    assert_eq!((first.order_id.as_deref(), first.customer_id.as_deref(), first.rank.as_deref()), (None, None, None));
    assert_eq!((first.kind.as_str(), first.blocks, first.parked_behind), ("malformed", false, 0));
    assert_eq!((last.order_id.as_deref(), last.customer_id.as_deref()), (Some("ada-1"), Some("ada")));
    assert_eq!((last.rank.as_deref(), last.blocks, last.parked_behind), (Some("1"), true, 3));
    assert_eq!((last.reason.as_str(), last.created_at.as_str()), ("a check failed", "2026-11-22T10:00:00.25Z"));
    // Page by page, also behind one that was decided meanwhile.
    assert_eq!(desk.list(None, 2).await.unwrap(), all[..2]);
    assert_eq!(desk.skip("!m2", "x", "ann").await, Ok(Decision::Done));
    assert_eq!(desk.list(Some("!m2"), 10).await.unwrap(), all[2..]);
    let shown = desk.show(&case(&head)).await.unwrap().unwrap();
    assert_eq!((&shown.listed, shown.body.as_str()), (last, head.entry.body()));
    assert_eq!(desk.show("!m1").await.unwrap().unwrap().body, "{broken m1 ä");
}
