//! Hold: probes, the half-open moment, and giving back.

use super::*;

fn away(change: impl FnOnce(&mut Settings)) -> Desk {
    let mut desk = desk(change);
    desk.deliver(vec![order(1, "a", 1)]);
    let actions = desk.commit_fails(0, ErrorClass::Away);
    assert!(ends(&actions).is_empty() && alarms(&actions).is_empty());
    desk
}

#[test]
fn nothing_is_received_or_written_while_it_holds() {
    let mut desk = away(|s| {
        s.hold_probe = Duration::from_secs(10);
        s.hold_probe_max = s.hold_probe;
    });
    let poll = desk.polls.pop().unwrap();
    let actions = desk.feed(Input::Received { poll, result: Ok(vec![order(2, "b", 1)]) });
    assert!(writes(&actions).is_empty() && desk.polls.is_empty(), "{actions:?}");
}

#[test]
fn after_a_probe_one_small_write_goes_first() {
    let mut desk = away(|s| s.committers = 2);
    let actions = desk.pass(ms(20));
    let [(slot, Work::Probe)] = writes(&actions)[..] else { panic!("{actions:?}") };
    let poll = desk.polls.pop().unwrap();
    desk.feed(Input::Received { poll, result: Ok((2..=10).map(|n| order(n, &format!("b{n}"), 1)).collect()) });
    desk.feed(Input::Wake);
    let actions = desk.wrote(slot, Written::Probe(Ok(Gate::Open)));
    let half = commits(&actions);
    assert_eq!(half.len(), 1, "one at a time: {actions:?}");
    let uptos = vec![1; half[0].runs.len()];
    assert!(uptos.len() <= 10);
    desk.committed(half[0].slot, &uptos);
    assert_eq!(desk.core.snapshot().route, millrace::core::Route::Direct);
}

#[test]
fn what_is_held_goes_back_after_the_keep() {
    let mut desk = away(|s| {
        s.hold_probe = Duration::from_secs(10);
        s.hold_probe_max = s.hold_probe;
    });
    assert!(ends(&desk.pass(ms(299))).is_empty());
    let actions = desk.pass(ms(1));
    assert_eq!(ends(&actions), [(1, Outcome::Returned)]);
    assert_eq!(visibilities(&actions).len(), 1);
    assert_eq!(desk.core.snapshot().messages, 0);
}

#[test]
fn what_a_poll_brings_behind_what_went_back_goes_back_too() {
    let mut desk = away(|s| {
        s.committers = 2;
        s.hold_probe = ms(1_000);
        s.hold_probe_max = s.hold_probe;
    });
    desk.obliging = false;
    let actions = desk.pass(ms(300));
    assert_eq!(ends(&actions), [(1, Outcome::Returned)]);
    let [(call, _, _)] = visibilities(&actions)[..] else { panic!("{actions:?}") };
    // The second of the same customer: the reader does not know yet that the first is back.
    let actions = desk.deliver(vec![order(2, "a", 2)]);
    assert_eq!(ends(&actions), [(2, Outcome::Returned)]);
    let actions = desk.pass(ms(1_000));
    let [(slot, Work::Probe)] = writes(&actions)[..] else { panic!("{actions:?}") };
    let actions = desk.wrote(slot, Written::Probe(Ok(Gate::Open)));
    assert!(writes(&actions).is_empty());
    assert!(desk.polls.is_empty(), "it asks for more before all that went back is back");
    desk.feed(Input::Settled { call, result: Ok(vec![Settled::Done]) });
    assert!(desk.polls.is_empty(), "the second is not back yet");
    let call = call + 1;
    desk.feed(Input::Settled { call, result: Ok(vec![Settled::Done]) });
    assert_eq!(desk.polls.len(), 1);
}

#[test]
fn what_came_in_half_open_is_kept_for_its_own_time() {
    let mut desk = away(|_| {});
    let mut actions = desk.pass(ms(400));
    assert_eq!(ends(&actions), [(1, Outcome::Returned)]);
    let [(slot, Work::Probe)] = writes(&actions)[..] else { panic!("{actions:?}") };
    desk.wrote(slot, Written::Probe(Ok(Gate::Open)));
    // The poll from before brings nothing.
    desk.deliver(Vec::new());
    actions = desk.deliver(vec![order(2, "b", 1)]);
    assert_eq!(runs(&actions), [[2]]);
    assert!(ends(&desk.commit_fails(0, ErrorClass::Away)).is_empty());
    let mut back = Vec::new();
    for _ in 0..40 {
        let actions = desk.pass(ms(10));
        back.extend(ends(&actions));
        if let [(slot, Work::Probe)] = writes(&actions)[..] {
            desk.wrote(slot, Written::Probe(Err(error(ErrorClass::Away))));
        }
    }
    assert_eq!(back, [(2, Outcome::Returned)]);
}

#[test]
fn an_idle_half_open_does_not_use_up_the_keep() {
    let mut desk = desk(|s| {
        s.pace = Some(PaceSettings { rate_max: 1_000_000, rate_min: 1_000, commit_target: ms(100) });
        s.gate = Gate::Draining;
    });
    // Time passes before the first order comes.
    desk.deliver(Vec::new());
    desk.pass(Duration::from_mins(50));
    assert_eq!(runs(&desk.deliver(vec![order(1, "a", 1)])), [[1]]);
    assert!(ends(&desk.commit_fails(0, ErrorClass::Away)).is_empty(), "it is handed back although it just came");
}

#[test]
fn an_unknown_commit_stays_frozen_when_its_messages_go_back() {
    let mut desk = desk(|s| {
        s.hold_probe = Duration::from_secs(1);
        s.hold_probe_max = s.hold_probe;
    });
    desk.deliver(vec![order(1, "a", 1)]);
    desk.commit_fails(0, ErrorClass::Unknown);
    let again = commits(&desk.pass(ms(50)));
    assert!(again[0].resolve);
    desk.commit_fails(0, ErrorClass::Away);
    let actions = desk.pass(ms(400));
    assert_eq!(ends(&actions), [(1, Outcome::Returned)]);
    let actions = desk.pass(ms(600));
    assert_eq!(writes(&actions), [(0, Work::Probe)]);
    let actions = desk.wrote(0, Written::Probe(Ok(Gate::Open)));
    assert_eq!(commits(&actions), [Commit { slot: 0, runs: vec![vec![1]], resolve: true }]);
    assert!(ends(&desk.committed(0, &[1])).is_empty());
}

#[test]
fn a_broken_deployment_holds_and_alarms_and_blames_nobody() {
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    let actions = desk.commit_fails(0, ErrorClass::Broken);
    assert_eq!(alarms(&actions), [Alarm::LedgerBroken("broken".into())]);
    assert!(ends(&actions).is_empty());
    assert!(matches!(desk.core.snapshot().route, millrace::core::Route::Hold { .. }));
}
