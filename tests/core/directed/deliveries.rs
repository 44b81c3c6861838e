//! Polls, deletes, heartbeats.

use millrace::inbox::{InboxError, InboxErrorClass};

use super::*;

fn throttled() -> InboxError {
    InboxError { class: InboxErrorClass::Throttled, message: "slow down".into() }
}

/// Commits what a delivery brings, one customer each.
fn commit(desk: &mut Desk, payloads: std::ops::Range<u32>) -> Actions {
    let count = payloads.len();
    desk.deliver(payloads.map(|n| order(n, &format!("c{n}"), 1)).collect());
    desk.committed(0, &vec![1; count])
}

#[test]
fn one_poll_when_idle_more_when_answers_are_full_one_again_after_an_error() {
    let mut desk = desk(|s| s.messages_max = 1000);
    assert_eq!(desk.polls.len(), 1);
    desk.deliver((0..10).map(|n| order(n, "a", Rank::from(n) + 1)).collect());
    assert_eq!(desk.polls.len(), 2);
    desk.deliver((10..20).map(|n| order(n, "a", Rank::from(n) + 1)).collect());
    assert_eq!(desk.polls.len(), 3);
    desk.deliver((20..30).map(|n| order(n, "a", Rank::from(n) + 1)).collect());
    assert_eq!(desk.polls.len(), 3, "the most that there may be");
    for _ in 0..3 {
        let poll = desk.polls.remove(0);
        desk.feed(Input::Received { poll, result: Err(throttled()) });
    }
    assert!(desk.polls.is_empty());
    desk.pass(ms(100));
    assert_eq!(desk.polls.len(), 1);
    desk.deliver(Vec::new());
    assert_eq!(desk.polls.len(), 1);
}

#[test]
fn answers_that_are_not_half_full_take_polls_away_but_the_last() {
    let mut desk = desk(|s| s.messages_max = 1000);
    let mut sent = 0;
    for (messages, polls) in [(10, 2), (10, 3), (5, 3), (9, 3), (4, 2), (5, 2), (1, 1), (1, 1), (10, 2)] {
        desk.deliver((sent..sent + messages).map(|n| order(n, "a", Rank::from(n) + 1)).collect());
        assert_eq!(desk.polls.len(), polls, "after {messages} messages");
        sent += messages;
    }
}

#[test]
fn receiving_stops_at_the_bound() {
    let mut desk = desk(|s| s.messages_max = 25);
    desk.deliver((0..10).map(|n| order(n, "a", Rank::from(n) + 1)).collect());
    assert_eq!(desk.polls.len(), 1);
    desk.deliver((10..20).map(|n| order(n, "a", Rank::from(n) + 1)).collect());
    assert_eq!(desk.polls.len(), 0, "another ten would not fit");
}

#[test]
fn deletes_go_in_tens_or_after_the_linger() {
    let mut desk = desk(|_| {});
    let actions = commit(&mut desk, 0..10);
    assert_eq!(deletes(&actions).len(), 1, "ten go at once");
    let actions = commit(&mut desk, 10..13);
    assert!(deletes(&actions).is_empty());
    assert!(deletes(&desk.pass(ms(4))).is_empty());
    assert_eq!(deletes(&desk.pass(ms(1)))[0].1, [10, 11, 12]);
}

#[test]
fn a_failed_entry_is_tried_again_and_then_left_to_redelivery() {
    let mut desk = desk(|_| {});
    desk.obliging = false;
    desk.deliver(vec![order(1, "a", 1)]);
    desk.feed(Input::Locked { call: LockCall::Take, result: Ok(vec![true]) });
    desk.committed(0, &[1]);
    for n in 1..=3 {
        let calls = deletes(&desk.pass(ms(10)));
        assert_eq!(calls.len(), 1, "try {n}");
        assert_eq!(desk.core.snapshot().messages, 1);
        let result = Ok(vec![Settled::Again("later".into())]);
        desk.feed(Input::Settled { call: calls[0].0, result });
    }
    assert!(deletes(&desk.pass(ms(100))).is_empty());
    assert_eq!(desk.core.snapshot().messages, 0);
}

#[test]
fn heartbeats_come_at_half_the_visibility_timeout() {
    let mut desk = desk(|s| {
        s.visibility_timeout = ms(1000);
        s.early_wait = Duration::from_mins(1);
        s.hold_max = ms(1800);
    });
    desk.deliver(vec![order(1, "a", 1), order(3, "a", 3)]);
    desk.committed(0, &[1]);
    assert!(visibilities(&desk.pass(ms(499))).is_empty());
    let beat = |actions: &Actions| visibilities(actions).into_iter().map(|(_, p, t)| (p, t)).collect::<Vec<_>>();
    assert_eq!(beat(&desk.pass(ms(1))), [(vec![3], ms(1000))]);
    assert_eq!(beat(&desk.pass(ms(500))), [(vec![3], ms(1000))]);
    assert_eq!(beat(&desk.pass(ms(500))), [(vec![3], ms(1000))]);
    assert!(beat(&desk.pass(Duration::from_secs(10))).is_empty(), "not past the longest hold");
}

#[test]
fn a_return_waits_for_the_heartbeat_before_it() {
    let mut desk = desk(|s| {
        s.visibility_timeout = ms(1000);
        s.early_wait = Duration::from_mins(1);
    });
    desk.deliver(vec![order(1, "a", 1), order(3, "a", 3)]);
    desk.committed(0, &[1]);
    desk.pass(ms(400));
    desk.obliging = false;
    let beat = visibilities(&desk.pass(ms(100)));
    let actions = desk.feed(Input::Shutdown);
    assert_eq!(ends(&actions), [(3, Outcome::Returned)]);
    assert!(visibilities(&actions).is_empty(), "the heartbeat may still hide it");
    let actions = desk.feed(Input::Settled { call: beat[0].0, result: Ok(vec![Settled::Done]) });
    let back = visibilities(&actions);
    assert_eq!((&back[0].1, back[0].2), (&vec![3], Duration::ZERO));
}

#[test]
fn a_failing_delete_does_not_stop_the_heartbeats() {
    let mut desk = desk(|s| {
        s.visibility_timeout = ms(1000);
        s.inbox_backoff = Duration::from_secs(20);
        s.inbox_backoff_max = Duration::from_secs(20);
        s.early_wait = Duration::from_mins(1);
    });
    desk.deliver(vec![order(1, "a", 1), order(3, "a", 3)]);
    desk.committed(0, &[1]);
    desk.obliging = false;
    let call = deletes(&desk.pass(ms(10)))[0].0;
    desk.feed(Input::Settled { call, result: Err(throttled()) });
    let beats = visibilities(&desk.pass(ms(700)));
    assert!(beats[0].1.contains(&3), "{beats:?}");
}

#[test]
fn nothing_new_is_asked_for_while_deletes_fall_behind() {
    let mut desk = desk(|s| {
        s.messages_max = 1_000;
        s.polls_max = 1;
    });
    desk.obliging = false;
    let mut calls = Vec::new();
    for n in 0..6 {
        assert_eq!(desk.polls.len(), 1, "round {n}");
        let mut actions = desk.deliver((n * 10..n * 10 + 10).map(|n| order(n, &format!("c{n}"), 1)).collect());
        let asked = locks(&actions);
        let result = Ok(vec![true; asked[0].1.len()]);
        actions.extend(desk.feed(Input::Locked { call: LockCall::Take, result }));
        // Whatever the batch has become.
        while let Some(commit) = commits(&actions).pop() {
            actions = desk.committed(commit.slot, &vec![1; commit.runs.len()]);
            calls.extend(deletes(&actions));
        }
    }
    // Two calls of ten are on their way, and forty wait: more than one round of calls.
    assert_eq!(calls.len(), 2);
    assert_eq!(desk.polls.len(), 0, "received faster than deleted");
    // It goes on at the first answer that finds no more than twenty waiting.
    for polls in [0, 0, 1] {
        let (call, _) = calls.remove(0);
        calls.extend(deletes(&desk.feed(Input::Settled { call, result: Ok(vec![Settled::Done; 10]) })));
        assert_eq!(desk.polls.len(), polls);
    }
}
