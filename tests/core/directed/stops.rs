//! The end: finished, handed back, reported, and nothing after it.

use super::*;

fn close_polls(desk: &mut Desk) -> Actions {
    let polls = std::mem::take(&mut desk.polls);
    polls.into_iter().flat_map(|poll| desk.feed(Input::Received { poll, result: Ok(Vec::new()) })).collect()
}

#[test]
fn an_idle_engine_stops_when_its_poll_is_back() {
    let mut desk = desk(|_| {});
    assert_eq!(report(&desk.feed(Input::Shutdown)), None);
    let actions = close_polls(&mut desk);
    assert_eq!(report(&actions), Some(Report { finished: 0, returned: 0, at_risk: 0 }));
    assert_eq!(desk.core.wake_at(), None);
}

#[test]
fn what_has_begun_is_finished_and_the_rest_handed_back() {
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1), order(2, "a", 5), order(3, "b", 1)]);
    let mut actions = desk.feed(Input::Shutdown);
    actions.extend(close_polls(&mut desk));
    assert_eq!(report(&actions), None);
    actions.extend(desk.committed(0, &[1, 1]));
    assert_eq!(ends(&actions), [(1, Outcome::Committed), (2, Outcome::Returned), (3, Outcome::Committed)]);
    assert_eq!(locks(&actions), [(LockCall::Release, vec![name("a"), name("b")])]);
    // The report comes with the last answer of SQS and of the locks.
    assert_eq!(report(&actions), Some(Report { finished: 2, returned: 1, at_risk: 0 }));
}

#[test]
fn what_a_poll_brings_late_goes_straight_back() {
    let mut desk = desk(|_| {});
    desk.feed(Input::Shutdown);
    let actions = desk.deliver(vec![order(1, "a", 1)]);
    assert_eq!(ends(&actions), [(1, Outcome::Returned)]);
    assert_eq!(report(&actions), Some(Report { finished: 0, returned: 1, at_risk: 0 }));
}

#[test]
fn what_would_have_to_be_looked_up_is_handed_back() {
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    desk.feed(Input::Shutdown);
    close_polls(&mut desk);
    let actions = desk.wrote(0, Written::Commit(Ok(vec![Verdict::Behind(1)])));
    assert_eq!(ends(&actions), [(1, Outcome::Returned)]);
    assert_eq!(report(&actions), Some(Report { finished: 0, returned: 1, at_risk: 0 }));
}

#[test]
fn an_unknown_commit_is_resolved_first() {
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    desk.feed(Input::Shutdown);
    close_polls(&mut desk);
    desk.commit_fails(0, ErrorClass::Unknown);
    let again = commits(&desk.pass(ms(50)));
    assert!(again[0].resolve);
    assert_eq!(report(&desk.committed(0, &[1])), Some(Report { finished: 1, returned: 0, at_risk: 0 }));
}

#[test]
fn a_commit_that_would_have_to_wait_is_not_waited_for() {
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    desk.feed(Input::Shutdown);
    close_polls(&mut desk);
    let actions = desk.commit_fails(0, ErrorClass::Timeout);
    assert_eq!(report(&actions), Some(Report { finished: 0, returned: 1, at_risk: 0 }));
}

#[test]
fn with_the_ledger_away_the_unknown_goes_back() {
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    desk.commit_fails(0, ErrorClass::Unknown);
    desk.pass(ms(50));
    desk.commit_fails(0, ErrorClass::Away);
    let mut actions = desk.feed(Input::Shutdown);
    actions.extend(close_polls(&mut desk));
    assert_eq!(report(&actions), Some(Report { finished: 0, returned: 1, at_risk: 0 }));
}

#[test]
fn nobody_waits_past_the_budget_and_nothing_comes_after_the_stop() {
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    desk.feed(Input::Shutdown);
    assert_eq!(report(&desk.pass(ms(2_999))), None);
    assert_eq!(report(&desk.pass(ms(1))), Some(Report { finished: 0, returned: 0, at_risk: 1 }));
    assert_eq!(desk.committed(0, &[1]), []);
    assert_eq!(desk.feed(Input::Shutdown), []);
    assert_eq!(desk.core.wake_at(), None);
}
