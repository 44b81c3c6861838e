//! Spool: in and out of a maintenance window, with the backlog as the core sees it.

mod leaving;

use millrace::backlog::{BacklogError, ErrorClass as BacklogClass};
use millrace::core::{Appended, Route, SpoolWork, Spooled};
use millrace::ledger::{CaseVerdict, Found};

use super::*;

fn spools(actions: &Actions) -> Vec<(usize, SpoolWork<u32>)> {
    let spool = |action: &Action<u32>| match action {
        Action::Spool { slot, work } => Some((*slot, work.clone())),
        _ => None,
    };
    actions.iter().filter_map(spool).collect()
}

/// The appends: slot, epoch, payloads.
fn appends(actions: &Actions) -> Vec<(usize, u64, Vec<u32>)> {
    let append = |(slot, work)| match work {
        SpoolWork::Append { epoch, orders } => Some((slot, epoch, orders.into_iter().map(|(_, p)| p).collect())),
        SpoolWork::Look => None,
    };
    spools(actions).into_iter().filter_map(append).collect()
}

fn looks(actions: &Actions) -> usize {
    spools(actions).iter().filter(|(_, work)| *work == SpoolWork::Look).count()
}

fn probes(actions: &Actions) -> usize {
    writes(actions).iter().filter(|(_, work)| *work == Work::Probe).count()
}

fn gone() -> BacklogError {
    BacklogError { class: BacklogClass::Away, message: "connection refused".into() }
}

fn desk_of(appenders: usize, change: impl FnOnce(&mut Settings)) -> Desk {
    desk(|s| {
        s.appenders = appenders;
        s.look = Duration::from_secs(1);
        s.hold_keep = Duration::from_mins(10);
        change(s);
    })
}

impl Desk {
    fn spooled(&mut self, slot: usize, spooled: Spooled) -> Actions {
        self.feed(Input::Spooled { slot, spooled })
    }

    fn look(&mut self, accepts: Option<u64>) -> Actions {
        self.spooled(0, Spooled::Look(Ok(accepts)))
    }

    fn appended(&mut self, slot: usize, appended: Appended) -> Actions {
        self.spooled(slot, Spooled::Append(Ok(appended)))
    }

    /// The gate is found closed by a commit; answers with what the core does about it.
    fn gate_closes(&mut self, runs: usize) -> Actions {
        self.wrote(0, Written::Commit(Ok(vec![Verdict::GateClosed; runs])))
    }

    fn route(&self) -> Route {
        self.core.snapshot().route
    }
}

/// A core in the window of epoch 3 that has nothing more to append.
fn spooling(appenders: usize, change: impl FnOnce(&mut Settings)) -> Desk {
    let mut desk = desk_of(appenders, change);
    desk.deliver(vec![order(1, "a", 1)]);
    assert_eq!(looks(&desk.gate_closes(1)), 1);
    assert_eq!(appends(&desk.look(Some(3))), [(0, 3, vec![1])]);
    let actions = desk.appended(0, Appended::All);
    assert_eq!(ends(&actions), [(1, Outcome::Spooled)]);
    desk
}

#[test]
fn a_closed_gate_is_one_look_and_then_everything_held_is_appended_in_source_order() {
    let mut desk = desk_of(1, |s| s.early_wait = Duration::from_mins(1));
    // The third is early, and waits in memory.
    desk.deliver(vec![order(3, "a", 3), order(1, "a", 1), order(2, "a", 2), order(5, "b", 5)]);
    let actions = desk.gate_closes(2);
    assert_eq!((looks(&actions), writes(&actions).len()), (1, 0), "{actions:?}");
    let actions = desk.look(Some(1));
    assert_eq!(appends(&actions), [(0, 1, vec![1, 2, 3, 5])]);
    assert!(ends(&actions).is_empty(), "an end before it is durable");
    let actions = desk.appended(0, Appended::All);
    let spooled = [1, 2, 3, 5].map(|payload| (payload, Outcome::Spooled));
    assert_eq!(ends(&actions), spooled);
    assert!(deletes(&desk.pass(ms(10)))[0].1 == [1, 2, 3, 5] || !deletes(&actions).is_empty());
}

#[test]
fn an_unknown_commit_is_appended_once_the_backlog_says_that_the_gate_was_closed() {
    let mut desk = desk_of(1, |_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    desk.commit_fails(0, ErrorClass::Unknown);
    assert_eq!(desk.core.snapshot().commits_pending, 1);
    let again = commits(&desk.pass(ms(50)));
    assert!(again[0].resolve);
    // Its second try is unknown too, and a third one finds the gate closed.
    desk.commit_fails(0, ErrorClass::Unknown);
    let again = commits(&desk.pass(ms(50)));
    assert!(again[0].resolve);
    desk.commit_fails(0, ErrorClass::Away);
    let actions = desk.look(Some(1));
    assert_eq!(appends(&actions), [(0, 1, vec![1])]);
    assert_eq!(desk.core.snapshot().commits_pending, 0);
    assert_eq!(ends(&desk.appended(0, Appended::All)), [(1, Outcome::Spooled)]);
}

#[test]
fn a_commit_in_flight_is_appended_when_its_answer_is_there() {
    let mut desk = desk_of(2, |s| s.committers = 2);
    assert_eq!(runs(&desk.deliver(vec![order(1, "a", 1)])), [[1]]);
    assert_eq!(runs(&desk.deliver(vec![order(2, "b", 1)])), [[2]]);
    desk.wrote(1, Written::Commit(Ok(vec![Verdict::GateClosed])));
    let actions = desk.look(Some(1));
    assert_eq!(appends(&actions), [(0, 1, vec![2])], "the other one may still be committed");
    let actions = desk.commit_fails(0, ErrorClass::Unknown);
    assert_eq!(appends(&actions), [(1, 1, vec![1])]);
    assert_eq!(desk.core.snapshot().commits_pending, 0);
}

#[test]
fn a_commit_in_flight_that_got_through_is_not_appended() {
    let mut desk = desk_of(1, |s| s.committers = 2);
    desk.deliver(vec![order(1, "a", 1)]);
    desk.deliver(vec![order(2, "b", 1)]);
    desk.wrote(1, Written::Commit(Ok(vec![Verdict::GateClosed])));
    desk.look(Some(1));
    desk.appended(0, Appended::All);
    let actions = desk.committed(0, &[1]);
    assert_eq!(ends(&actions), [(1, Outcome::Committed)]);
    assert!(spools(&actions).is_empty() && writes(&actions).is_empty(), "{actions:?}");
}

#[test]
fn an_outage_without_a_window_holds_and_appends_nothing() {
    let mut desk = desk_of(1, |_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    let mut actions = desk.commit_fails(0, ErrorClass::Away);
    let mut seen = (0, 0);
    for _ in 0..50 {
        assert!(appends(&actions).is_empty() && commits(&actions).is_empty());
        assert!(looks(&actions) + probes(&actions) <= 1, "one thing at a time: {actions:?}");
        seen = (seen.0 + looks(&actions), seen.1 + probes(&actions));
        actions = if looks(&actions) == 1 {
            desk.look(None)
        } else if probes(&actions) == 1 {
            desk.wrote(0, Written::Probe(Err(error(ErrorClass::Away))))
        } else {
            assert!(matches!(desk.route(), Route::Hold { .. }));
            desk.pass(ms(20))
        };
    }
    assert!(seen.0 >= 5 && seen.1 >= 5 && seen.0.abs_diff(seen.1) <= 1, "each look is followed by a probe: {seen:?}");
}

#[test]
fn a_backlog_that_is_away_too_is_asked_first_and_then_the_ledger() {
    let mut desk = desk_of(1, |_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    let actions = desk.commit_fails(0, ErrorClass::Away);
    assert_eq!((looks(&actions), probes(&actions)), (1, 0));
    let actions = desk.spooled(0, Spooled::Look(Err(gone())));
    assert_eq!((looks(&actions), probes(&actions)), (0, 1));
    // Normal operation does not need the backlog.
    let actions = desk.wrote(0, Written::Probe(Ok(Gate::Open)));
    assert_eq!(runs(&actions), [[1]]);
    desk.committed(0, &[1]);
    assert_eq!(desk.route(), Route::Direct);
}

#[test]
fn a_refused_append_holds_with_everything_and_loses_nothing() {
    let mut desk = spooling(1, |_| {});
    let other = Arrival { id: EntryId::new("other"), digest: Digest([9; 32]), ..order(8, "x", 0) };
    let malformed = Arrival { customer: None, malformed: true, ..other };
    let actions = desk.deliver(vec![order(2, "a", 2), order(3, "a", 3), malformed]);
    assert_eq!(appends(&actions), [(0, 3, vec![8, 2, 3])], "a malformed message is appended too");
    // The backlog is sealed.
    let mut actions = desk.appended(0, Appended::Refused(None));
    assert!(ends(&actions).is_empty() && matches!(desk.route(), Route::Hold { .. }));
    assert_eq!(desk.core.snapshot().messages, 3 + usize::from(desk.core.snapshot().ending > 0));
    actions.extend(desk.pass(ms(20)));
    assert_eq!((looks(&actions), probes(&actions)), (1, 0), "the backlog first: {actions:?}");
    assert_eq!(probes(&desk.look(None)), 1);
    let mut actions = desk.wrote(0, Written::Probe(Ok(Gate::Open)));
    let mut done = Vec::new();
    for _ in 0..6 {
        done.extend(ends(&actions));
        actions = match &writes(&actions)[..] {
            [(0, Work::Commit { runs, .. })] => {
                assert_eq!(runs[0].1, [(2, 2), (3, 3)]);
                desk.committed(0, &[3])
            }
            [(0, Work::Quarantine { payload: 8, .. })] => {
                desk.wrote(0, Written::Quarantine(Ok(CaseVerdict::Quarantined)))
            }
            _ => break,
        };
    }
    done.sort_unstable_by_key(|(payload, _)| *payload);
    assert_eq!(done, [(2, Outcome::Committed), (3, Outcome::Committed), (8, Outcome::Quarantined)]);
    assert_eq!(desk.route(), Route::Direct);
}

#[test]
fn a_seal_that_is_taken_back_goes_on_spooling() {
    let mut desk = spooling(1, |_| {});
    desk.deliver(vec![order(2, "a", 2)]);
    desk.appended(0, Appended::Refused(None));
    let mut actions = desk.pass(ms(20));
    assert_eq!(looks(&actions), 1);
    // Still sealing: the ledger is asked, and it is draining.
    desk.look(None);
    desk.wrote(0, Written::Probe(Ok(Gate::Draining)));
    actions = desk.pass(ms(80));
    assert_eq!(looks(&actions), 1);
    let actions = desk.look(Some(3));
    assert_eq!(appends(&actions), [(0, 3, vec![2])]);
    assert_eq!(ends(&desk.appended(0, Appended::All)), [(2, Outcome::Spooled)]);
}

#[test]
fn the_epoch_of_a_refusal_is_adopted() {
    let mut desk = spooling(1, |_| {});
    desk.deliver(vec![order(2, "a", 2)]);
    let actions = desk.appended(0, Appended::Refused(Some(4)));
    assert_eq!(appends(&actions), [(0, 4, vec![2])]);
    assert!(ends(&actions).is_empty());
}

#[test]
fn a_failed_append_holds_and_is_repeated() {
    let mut desk = spooling(2, |_| {});
    let actions = desk.deliver(vec![order(2, "a", 2)]);
    assert_eq!(appends(&actions), [(0, 3, vec![2])]);
    let mut actions = desk.spooled(0, Spooled::Append(Err(gone())));
    assert!(matches!(desk.route(), Route::Hold { .. }) && ends(&actions).is_empty());
    actions.extend(desk.pass(ms(20)));
    assert_eq!(looks(&actions), 1);
    assert_eq!(appends(&desk.look(Some(3))), [(0, 3, vec![2])]);
}

#[test]
fn an_order_under_suspicion_and_a_conflict_are_appended_too() {
    let mut desk = desk_of(1, |s| s.committers = 2);
    let other = Arrival { id: EntryId::new("other"), ..order(2, "a", 1) };
    desk.deliver(vec![order(1, "a", 1), other, order(3, "b", 1)]);
    let actions = desk.committed(0, &[1, 1]);
    let [(slot, Work::LookUp(_))] = writes(&actions)[..] else { panic!("{actions:?}") };
    // While it is looked up, the gate closes; and there is one more to look up.
    let late = Arrival { id: EntryId::new("late"), ..order(4, "b", 1) };
    assert_eq!(runs(&desk.deliver(vec![order(5, "c", 1)])), [[5]]);
    desk.deliver(vec![late]);
    let actions = desk.wrote(1 - slot, Written::Commit(Ok(vec![Verdict::GateClosed])));
    assert_eq!(looks(&actions), 1, "{actions:?}");
    let actions = desk.look(Some(1));
    assert_eq!(appends(&actions), [(0, 1, vec![4, 5])]);
    desk.wrote(slot, Written::LookUp(Ok(vec![Found::Conflict("taken".into())])));
    let actions = desk.appended(0, Appended::Refused(Some(2)));
    assert_eq!(appends(&actions), [(0, 2, vec![4, 2, 5])], "a refusal loses neither");
    let actions = desk.appended(0, Appended::All);
    let mut spooled = ends(&actions);
    spooled.sort_unstable_by_key(|(payload, _)| *payload);
    assert_eq!(spooled, [2, 4, 5].map(|payload| (payload, Outcome::Spooled)));
}

#[test]
fn nothing_is_written_to_the_ledger_while_it_spools() {
    let mut desk = spooling(1, |s| s.sweep = ms(200));
    for n in 2..40 {
        // With gaps, duplicates and blocked lines as they come: the drain judges them.
        let actions = desk.deliver(vec![order(n, "a", Rank::from(n) * 2), order(100 + n, &format!("b{n}"), 1)]);
        assert!(writes(&actions).is_empty() && locks(&actions).is_empty(), "{actions:?}");
        let [(slot, 3, _)] = appends(&actions)[..] else { panic!("{actions:?}") };
        let actions = desk.appended(slot, Appended::All);
        assert!(writes(&actions).is_empty() && ends(&actions).len() == 2, "{actions:?}");
        let actions = desk.pass(ms(100));
        assert!(writes(&actions).is_empty(), "{actions:?}");
    }
}

#[test]
fn an_idle_window_is_looked_at_now_and_then() {
    let mut desk = spooling(1, |_| {});
    let mut seen = 0;
    for _ in 0..100 {
        let actions = desk.pass(ms(100));
        assert!(writes(&actions).is_empty());
        if looks(&actions) > 0 {
            seen += looks(&actions);
            assert!(spools(&desk.look(Some(3))).is_empty());
        }
    }
    assert!((9..=11).contains(&seen), "{seen} looks in ten seconds at one a second");
    // A seal is noticed by a look.
    desk.pass(Duration::from_secs(1));
    desk.look(None);
    assert!(matches!(desk.route(), Route::Hold { .. }));
}

#[test]
fn a_look_that_is_not_answered_is_not_asked_again() {
    let mut desk = spooling(2, |_| {});
    let actions = desk.pass(Duration::from_mins(1));
    assert_eq!(looks(&actions), 1, "{actions:?}");
}

#[test]
fn without_a_backlog_it_never_looks() {
    let mut desk = desk_of(0, |_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    let mut actions = desk.gate_closes(1);
    for _ in 0..20 {
        assert!(spools(&actions).is_empty());
        actions =
            if probes(&actions) == 1 { desk.wrote(0, Written::Probe(Ok(Gate::Closed))) } else { desk.pass(ms(20)) };
    }
}

#[test]
fn a_shutdown_waits_for_the_append_under_way_and_returns_the_rest() {
    let mut desk = spooling(1, |s| s.append_max = 2);
    desk.polls.drain(1..);
    let orders = (2..=5).map(|n| order(n, "a", Rank::from(n))).collect();
    assert_eq!(appends(&desk.deliver(orders)), [(0, 3, vec![2, 3])]);
    let polls = std::mem::take(&mut desk.polls);
    let mut actions = desk.feed(Input::Shutdown);
    for poll in polls {
        actions.extend(desk.feed(Input::Received { poll, result: Ok(Vec::new()) }));
    }
    assert_eq!(report(&actions), None, "an append is under way");
    actions.extend(desk.appended(0, Appended::All));
    assert!(appends(&actions).is_empty(), "nothing new is begun");
    let mut done = ends(&actions);
    done.sort_unstable_by_key(|(payload, _)| *payload);
    let (spooled, returned) = (Outcome::Spooled, Outcome::Returned);
    assert_eq!(done, [(2, spooled), (3, spooled), (4, returned), (5, returned)]);
    assert_eq!(report(&actions).map(|report| (report.returned, report.at_risk)), Some((2, 0)));
}

/// The route is half-open while an append of the window before is still without its answer.
fn late_append(change: impl FnOnce(&mut Settings)) -> Desk {
    let mut desk = spooling(2, change);
    let actions = desk.deliver(vec![order(2, "x", 1)]);
    assert_eq!(appends(&actions).len(), 1, "the append of {actions:?} is late");
    let actions = desk.deliver(vec![order(3, "y", 1)]);
    let [(slot, 3, _)] = appends(&actions)[..] else { panic!("{actions:?}") };
    desk.appended(slot, Appended::Refused(None));
    let actions = desk.pass(ms(20));
    let [(slot, SpoolWork::Look)] = spools(&actions)[..] else { panic!("{actions:?}") };
    let actions = desk.spooled(slot, Spooled::Look(Ok(None)));
    assert_eq!(probes(&actions), 1);
    assert_eq!(runs(&desk.wrote(0, Written::Probe(Ok(Gate::Open)))), [[3]]);
    desk
}

#[test]
fn an_old_refusal_does_not_unfreeze_an_unknown_commit() {
    let mut desk = late_append(|s| {
        s.ledger_backoff = ms(100);
        s.ledger_backoff_max = ms(100);
    });
    desk.commit_fails(0, ErrorClass::Unknown);
    assert_eq!(desk.core.snapshot().commits_pending, 1);
    let actions = desk.appended(0, Appended::Refused(Some(4)));
    assert!(matches!(desk.route(), Route::HalfOpen { .. }));
    let mut again = commits(&actions);
    again.extend(commits(&desk.pass(ms(200))));
    assert!(again.iter().all(|commit| commit.resolve || commit.runs == [[2]]), "I11: {again:?}");
    assert!(again.iter().any(|commit| commit.resolve) || desk.core.snapshot().commits_pending == 1, "{again:?}");
}

#[test]
fn an_old_refusal_does_not_lead_into_the_backlog_behind_a_newer_commit() {
    let mut desk = late_append(|_| {});
    desk.commit_fails(0, ErrorClass::Away);
    assert!(matches!(desk.route(), Route::Hold { .. }));
    let actions = desk.appended(0, Appended::Refused(Some(4)));
    assert!(appends(&actions).is_empty() && !matches!(desk.route(), Route::Spool { .. }), "{actions:?}");
}

#[test]
fn an_old_append_that_was_done_ends_its_orders() {
    let mut desk = late_append(|_| {});
    desk.committed(0, &[1]);
    let actions = desk.appended(0, Appended::All);
    assert_eq!(ends(&actions), [(2, Outcome::Spooled)]);
    assert_eq!(desk.route(), Route::Direct);
    assert!(commits(&actions).is_empty());
}
