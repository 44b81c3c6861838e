//! Locks: elsewhere, away, lost, released.

use millrace::locks::LocksAway;

use super::*;

fn asked(change: impl FnOnce(&mut Settings)) -> Desk {
    let mut desk = desk(change);
    desk.obliging = false;
    let actions = desk.deliver(vec![order(1, "a", 1), order(2, "b", 1)]);
    assert_eq!(locks(&actions), [(LockCall::Take, vec![name("a"), name("b")])]);
    desk
}

fn locked(desk: &mut Desk, call: LockCall, answer: &[bool]) -> Actions {
    desk.feed(Input::Locked { call, result: Ok(answer.to_vec()) })
}

#[test]
fn who_waits_is_asked_for_again_in_one_call_and_then_goes_without() {
    let mut desk = asked(|_| {});
    locked(&mut desk, LockCall::Take, &[false, false]);
    let mut rounds = 0;
    for _ in 0..100 {
        let actions = desk.pass(ms(5));
        for (call, customers) in locks(&actions) {
            assert_eq!(customers, [name("a"), name("b")]);
            rounds += 1;
            locked(&mut desk, call, &[false, false]);
        }
        if !writes(&actions).is_empty() {
            assert_eq!(runs(&actions), [[1], [2]]);
            assert!((5..=12).contains(&rounds), "{rounds}");
            assert_eq!(desk.now, Time::at(ms(100)));
            return;
        }
    }
    panic!("it waits for ever");
}

#[test]
fn away_locks_do_not_hold_anybody() {
    let mut desk = asked(|_| {});
    let away = |call| Input::Locked { call, result: Err(LocksAway("gone".into())) };
    let actions = desk.feed(away(LockCall::Take));
    assert_eq!(alarms(&actions), [Alarm::LocksAway("gone".into())]);
    assert_eq!(runs(&actions), [[1], [2]]);
    assert!(locks(&desk.deliver(vec![order(3, "c", 1)])).is_empty(), "not asked again at once");
}

#[test]
fn a_busy_customer_gets_its_lock_again_after_the_locks_were_away() {
    let mut desk = asked(|s| s.lease = ms(100));
    desk.feed(Input::Locked { call: LockCall::Take, result: Err(LocksAway("gone".into())) });
    desk.committed(0, &[1, 1]);
    let mut again = Vec::new();
    for n in 2..20 {
        desk.pass(ms(10));
        let Some(poll) = desk.polls.pop() else { break };
        let actions = desk.feed(Input::Received { poll, result: Ok(vec![order(n, "a", Rank::from(n))]) });
        again.extend(locks(&actions).into_iter().filter(|(call, _)| *call == LockCall::Take));
        assert_eq!(runs(&actions), [[n]], "it does not wait for the answer");
        desk.committed(0, &[Rank::from(n)]);
    }
    assert_eq!(again, [(LockCall::Take, vec![name("a")])]);
}

#[test]
fn a_lost_lock_is_asked_for_before_the_next_write() {
    let mut desk = asked(|s| {
        s.lease = ms(600);
        s.lock_linger = Duration::from_secs(10);
    });
    let actions = locked(&mut desk, LockCall::Take, &[true, true]);
    assert_eq!(runs(&actions), [[1], [2]]);
    let actions = desk.pass(ms(200));
    assert_eq!(locks(&actions), [(LockCall::Renew, vec![name("a"), name("b")])]);
    locked(&mut desk, LockCall::Renew, &[false, true]);
    let actions = desk.committed(0, &[1, 1]);
    assert!(locks(&actions).is_empty(), "nothing is to be done for it");
    let actions = desk.deliver(vec![order(3, "a", 2)]);
    assert_eq!(locks(&actions), [(LockCall::Take, vec![name("a")])]);
    assert!(writes(&actions).is_empty());
}

#[test]
fn a_lock_is_kept_for_a_moment_and_then_released() {
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    assert!(locks(&desk.committed(0, &[1])).is_empty());
    assert!(locks(&desk.pass(ms(29))).is_empty());
    assert_eq!(locks(&desk.pass(ms(1))), [(LockCall::Release, vec![name("a")])]);
    assert_eq!(desk.core.snapshot().lanes, 0);
}
