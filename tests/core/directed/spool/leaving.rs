//! What must not be carried over between ledger and backlog.

use millrace::ledger::ParkVerdict;

use super::*;

/// The append under way is refused, and the gate is open again.
fn window_ends(desk: &mut Desk) -> Actions {
    desk.appended(0, Appended::Refused(None));
    assert_eq!(looks(&desk.pass(ms(20))), 1);
    assert_eq!(probes(&desk.look(None)), 1);
    desk.wrote(0, Written::Probe(Ok(Gate::Open)))
}

#[test]
fn what_waited_to_be_appended_goes_to_the_ledger() {
    let mut desk = spooling(1, |_| {});
    desk.deliver(vec![order(2, "a", 2)]);
    // The appender is busy: this one waits for it.
    assert!(spools(&desk.deliver(vec![order(3, "b", 1)])).is_empty());
    let mut runs = runs(&window_ends(&mut desk));
    runs.sort_unstable();
    assert_eq!(runs, [[2], [3]]);
}

#[test]
fn an_error_of_the_ledger_does_not_end_the_spooling() {
    let mut desk = desk_of(1, |s| s.committers = 2);
    desk.deliver(vec![order(1, "a", 1)]);
    desk.deliver(vec![order(2, "b", 1)]);
    desk.wrote(1, Written::Commit(Ok(vec![Verdict::GateClosed])));
    desk.look(Some(1));
    desk.commit_fails(0, ErrorClass::Away);
    assert!(matches!(desk.route(), Route::Spool { epoch: 1, .. }), "{:?}", desk.route());
    assert_eq!(appends(&desk.appended(0, Appended::All)), [(0, 1, vec![1])]);
}

#[test]
fn what_was_believed_of_the_ledger_is_forgotten() {
    let mut desk = desk_of(1, |_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    let actions = desk.wrote(0, Written::Commit(Ok(vec![Verdict::Blocked])));
    assert_eq!(parks(&actions), [[1]]);
    desk.wrote(0, Written::Park(Ok(vec![ParkVerdict::GateClosed])));
    assert_eq!(appends(&desk.look(Some(1))), [(0, 1, vec![1])]);
    // A person may have decided meanwhile, and the drain gone on.
    let actions = window_ends(&mut desk);
    assert_eq!(runs(&actions), [[1]], "it is tried, not parked");
}

#[test]
fn an_open_gate_beside_an_unsealed_backlog_never_leads_to_the_backlog() {
    let mut desk = desk_of(1, |_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    let actions = desk.commit_fails(0, ErrorClass::Inconsistent);
    assert!(matches!(alarms(&actions)[..], [Alarm::Inconsistent(_)]), "{actions:?}");
    // By the backlog's word this worker would spool, beside others that commit: it asks the ledger alone.
    let actions = [actions, desk.pass(Duration::from_mins(1))].concat();
    assert_eq!((looks(&actions), probes(&actions)), (0, 1), "{actions:?}");
    let again = desk.wrote(0, Written::Probe(Err(error(ErrorClass::Inconsistent))));
    let again = [again, desk.pass(Duration::from_mins(1))].concat();
    assert_eq!((looks(&again), probes(&again)), (0, 1), "{again:?}");
    // A window begins: from now on the backlog's word counts.
    desk.wrote(0, Written::Probe(Ok(Gate::Closed)));
    assert_eq!(looks(&desk.pass(Duration::from_mins(1))), 1);
    assert_eq!(appends(&desk.look(Some(7))), [(0, 7, vec![1])]);
}
