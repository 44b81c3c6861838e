//! The backlog as an inbox, over rows in memory: whose turn it is, and that nothing is left behind.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace::inbox::backlog::BacklogInbox;
use millrace::inbox::{Delivery, Inbox, Settled};
use millrace::order::Ordering;

use crate::random::Random;
use rows::Rows;

const SHARE: u32 = 100;
const MAX: u32 = 500;

fn inbox(rows: &Rows) -> BacklogInbox<Rows> {
    BacklogInbox::new(rows.clone(), Ordering::Gapless, SHARE, 1 << 30)
}

async fn receive(inbox: &BacklogInbox<Rows>) -> Vec<Delivery> {
    inbox.receive(MAX, Duration::ZERO).await.expect("rows in memory answer")
}

async fn remove(inbox: &BacklogInbox<Rows>, deliveries: &[Delivery]) {
    let receipts: Vec<_> = deliveries.iter().map(|delivery| delivery.receipt.clone()).collect();
    let answers = inbox.delete(&receipts).await.expect("rows in memory answer");
    assert_eq!(answers, vec![Settled::Done; receipts.len()]);
}

async fn hand_back(inbox: &BacklogInbox<Rows>, deliveries: &[Delivery]) {
    let receipts: Vec<_> = deliveries.iter().map(|delivery| delivery.receipt.clone()).collect();
    inbox.set_visibility(&receipts, Duration::ZERO).await.expect("this is a matter of memory");
}

/// `customer rank` of each: the stand-in's bodies say so.
fn names(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.body.as_str()).collect()
}

fn customer(delivery: &Delivery) -> &str {
    delivery.body.split_once(' ').expect("a customer and a rank").0
}

#[tokio::test]
async fn the_small_do_not_wait_for_the_heavy() {
    let rows = Rows::default();
    for rank in 1..=10_000 {
        rows.append("heavy", rank);
    }
    for n in 0..50 {
        // Some names before the heavy one, some after it.
        rows.append(&format!("{}{n:02}", if n % 2 == 0 { "a" } else { "z" }), 1);
    }
    let inbox = inbox(&rows);
    let mut small = BTreeSet::new();
    let mut receives = 0;
    while small.len() < 50 {
        let deliveries = receive(&inbox).await;
        receives += 1;
        assert!(receives <= 4, "{} of 50 after {receives} receives", small.len());
        small.extend(deliveries.iter().map(customer).filter(|name| *name != "heavy").map(str::to_owned));
        remove(&inbox, &deliveries).await;
    }
    // The heavy one goes on meanwhile, and in order.
    let deliveries = receive(&inbox).await;
    assert!(deliveries.len() >= SHARE as usize / 2 && deliveries.iter().all(|delivery| customer(delivery) == "heavy"));
}

#[tokio::test]
async fn one_customer_alone_is_drained_to_its_end_in_order() {
    let rows = Rows::default();
    for rank in 1..=1_000 {
        rows.append("heavy", rank);
    }
    let inbox = inbox(&rows);
    let mut ranks = Vec::new();
    for _ in 0..60 {
        let deliveries = receive(&inbox).await;
        ranks.extend(names(&deliveries).iter().map(|name| name[6..].parse::<u128>().unwrap()));
        remove(&inbox, &deliveries).await;
    }
    assert_eq!(ranks, (1..=1_000).collect::<Vec<_>>());
    assert_eq!(rows.len(), 0);
}

#[tokio::test]
async fn nobody_has_more_than_a_share_in_memory() {
    let rows = Rows::default();
    for rank in 1..=1_000 {
        rows.append("heavy", rank);
    }
    let inbox = inbox(&rows);
    let mut held = 0;
    for _ in 0..20 {
        held += receive(&inbox).await.len();
        assert!(held <= SHARE as usize, "{held} in memory");
    }
    assert_eq!(held, SHARE as usize);
}

#[tokio::test]
async fn what_is_held_is_not_delivered_twice_and_what_is_handed_back_is() {
    let rows = Rows::default();
    for rank in 1..=10 {
        rows.append("a", rank);
        rows.append("b", rank);
    }
    let inbox = inbox(&rows);
    let first = receive(&inbox).await;
    assert_eq!(first.len(), 20);
    for _ in 0..3 {
        assert_eq!(names(&receive(&inbox).await), Vec::<&str>::new());
    }
    let (back, held): (Vec<_>, Vec<_>) = first.into_iter().partition(|delivery| customer(delivery) == "a");
    hand_back(&inbox, &back).await;
    let again = receive(&inbox).await;
    assert_eq!(names(&again), names(&back));
    remove(&inbox, &held).await;
    remove(&inbox, &again).await;
    assert_eq!(rows.len(), 0);
}

#[tokio::test]
async fn what_is_handed_back_comes_before_what_stands_behind_it() {
    let rows = Rows::default();
    for rank in 1..=4 {
        rows.append("a", rank);
    }
    let inbox = inbox(&rows);
    let first = receive(&inbox).await;
    assert_eq!(first.len(), 4);
    // The removal of the first is still on its way when the others go back, and another one was appended.
    hand_back(&inbox, &first[1..]).await;
    rows.append("a", 5);
    let again = receive(&inbox).await;
    assert_eq!(names(&again), ["a 2", "a 3", "a 4", "a 5"]);
}

#[tokio::test]
async fn a_row_that_comes_before_what_is_held_is_found() {
    let rows = Rows::default();
    rows.append("a", 7);
    rows.append("b", 1);
    let inbox = inbox(&rows);
    assert_eq!(names(&receive(&inbox).await), ["a 7", "b 1"]);
    rows.append("a", 3);
    let mut found = Vec::new();
    for _ in 0..3 {
        found.extend(receive(&inbox).await);
    }
    assert_eq!(names(&found), ["a 3"]);
}

#[tokio::test]
async fn nobody_s_rows_do_not_hide_the_others() {
    let rows = Rows::default();
    for _ in 0..2_000 {
        rows.append("", 0);
    }
    rows.append("a", 1);
    rows.append("b", 1);
    let inbox = inbox(&rows);
    let mut found = Vec::new();
    for _ in 0..3 {
        found.extend(receive(&inbox).await);
    }
    let others: Vec<&str> = found.iter().map(customer).filter(|name| !name.is_empty()).collect();
    assert_eq!(others, ["a", "b"]);
    assert_eq!(found.len(), 2 + SHARE as usize);
    // A share that is larger than a receive does not hide them either, once nobody's are under way.
    let wide = BacklogInbox::new(rows.clone(), Ordering::Gapless, 5 * MAX, 1 << 30);
    let mut others = 0;
    for _ in 0..8 {
        others += receive(&wide).await.iter().filter(|delivery| !customer(delivery).is_empty()).count();
    }
    assert_eq!(others, 2);
}

#[tokio::test]
async fn bodies_bound_a_receive_and_hide_nobody() {
    let rows = Rows::default();
    for n in 0..40 {
        rows.append(&format!("c{n:02}"), 1);
    }
    // About four bodies a read.
    let inbox = BacklogInbox::new(rows.clone(), Ordering::Gapless, SHARE, 20);
    let mut found = BTreeSet::new();
    for _ in 0..40 {
        let deliveries = receive(&inbox).await;
        assert!(deliveries.len() <= 4, "{}", deliveries.len());
        found.extend(deliveries.iter().map(|delivery| customer(delivery).to_owned()));
    }
    assert_eq!(found.len(), 40);
}

#[tokio::test]
async fn an_error_loses_nobody_s_turn() {
    let rows = Rows::default();
    for rank in 1..=300 {
        rows.append("heavy", rank);
    }
    rows.append("a", 1);
    let inbox = inbox(&rows);
    let mut drained = 0;
    for n in 0..60 {
        rows.break_next(n % 3 == 1);
        let Ok(deliveries) = inbox.receive(MAX, Duration::ZERO).await else { continue };
        drained += deliveries.len();
        rows.break_next(false);
        remove(&inbox, &deliveries).await;
    }
    assert_eq!((drained, rows.len()), (301, 0));
}

/// One run: rows come, are received, removed and handed back; then all of them go.
async fn run(seed: u64) {
    let mut dice = Random::of(seed);
    let rows = Rows::default();
    let share = u32::try_from(1 + dice.below(8)).unwrap();
    let max = u32::try_from(1 + dice.below(12)).unwrap();
    let inbox = BacklogInbox::new(rows.clone(), Ordering::Gapless, share, 10 + dice.below(200));
    let mut held: BTreeMap<String, Delivery> = BTreeMap::new();
    let mut removed = BTreeSet::new();
    let customers = 1 + dice.below(12);
    for step in 0..400 {
        let over = step >= 250;
        if !over && dice.below(2) == 0 {
            let name = dice.below(customers);
            let name = if name == 0 { String::new() } else { format!("c{name}") };
            rows.append(&name, u128::from(dice.below(50)));
        }
        rows.break_next(!over && dice.below(10) == 0);
        if let Ok(deliveries) = inbox.receive(max, Duration::ZERO).await {
            assert!(deliveries.len() <= max as usize);
            for delivery in deliveries {
                let row = delivery.receipt.0.clone();
                assert!(!removed.contains(&row), "a removed row came again");
                assert!(held.insert(row.clone(), delivery).is_none(), "row {row} is held, and came again");
            }
        }
        rows.break_next(false);
        let chosen: Vec<String> = held.keys().filter(|_| over || dice.below(4) == 0).cloned().collect();
        let chosen: Vec<Delivery> = chosen.iter().filter_map(|row| held.remove(row)).collect();
        if !over && dice.below(4) == 0 {
            hand_back(&inbox, &chosen).await;
        } else {
            remove(&inbox, &chosen).await;
            removed.extend(chosen.into_iter().map(|delivery| delivery.receipt.0));
        }
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for delivery in held.values() {
            *counts.entry(customer(delivery)).or_default() += 1;
        }
        assert!(counts.values().all(|count| *count <= share), "more than a share of {share}: {counts:?}");
    }
    assert_eq!(rows.len(), 0, "left behind");
}

#[tokio::test]
async fn nothing_is_left_behind() {
    for seed in 0..300 {
        eprintln!("seed {seed}");
        run(seed).await;
    }
}
