//! Early orders, parked runs, blocked customers.

use millrace::ledger::{CaseVerdict, Found, ParkVerdict};

use super::*;

/// A desk where order 3 of `a` came before order 2.
fn early(change: impl FnOnce(&mut Settings)) -> Desk {
    let mut desk = desk(change);
    desk.deliver(vec![order(1, "a", 1), order(3, "a", 3)]);
    assert!(writes(&desk.committed(0, &[1])).is_empty());
    desk
}

#[test]
fn an_early_order_waits_and_is_parked() {
    let mut desk = early(|_| {});
    assert!(writes(&desk.pass(ms(49))).is_empty());
    assert_eq!(parks(&desk.pass(ms(1))), [[3]]);
    let actions = desk.wrote(0, Written::Park(Ok(vec![ParkVerdict::Parked])));
    assert_eq!(ends(&actions), [(3, Outcome::Parked)]);
}

#[test]
fn an_early_order_goes_when_its_predecessor_comes() {
    let mut desk = early(|_| {});
    assert_eq!(runs(&desk.deliver(vec![order(2, "a", 2)])), [[2, 3]]);
}

#[test]
fn full_memory_parks_early_orders_at_once() {
    let mut desk = desk(|s| s.messages_max = 21);
    let actions = desk.deliver((0..10).map(|n| order(n, &format!("c{n}"), 5)).collect());
    assert_eq!(commits(&actions)[0].runs.len(), 10, "nothing is known of them, so they are tried");
    // There is room for ten more, which the poll on its way may bring; what these wait for may be among them.
    assert_eq!(desk.polls.len(), 1);
    let ahead = Written::Commit(Ok(vec![Verdict::Ahead { upto: 0, parked: 0 }; 10]));
    assert!(writes(&desk.wrote(0, ahead)).is_empty());
    let before = desk.now;
    let actions = desk.deliver(vec![order(10, "d", 1), order(11, "d", 2)]);
    assert_eq!((desk.now, desk.polls.len()), (before, 0));
    assert_eq!(parks(&actions)[0].len(), 10, "{actions:?}");
}

#[test]
fn a_parked_run_is_loaded_when_its_predecessor_is_committed() {
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    let verdict = Verdict::Committed { upto: 1, parked: 2, known: Vec::new() };
    let actions = desk.wrote(0, Written::Commit(Ok(vec![verdict])));
    assert_eq!(writes(&actions), [(0, Work::Load { customers: vec![name("a")], limit: 8 })]);
    let actions = desk.wrote(0, loaded("a", 1, 2, vec![order(2, "a", 2), order(3, "a", 3)]));
    assert_eq!(runs(&actions), [[2, 3]]);
    let actions = desk.committed(0, &[3]);
    assert_eq!(ends(&actions), [], "their deliveries ended before");
    let unparked = actions.iter().filter(|action| matches!(action, Action::Unparked { .. })).count();
    assert_eq!(unparked, 2);
}

#[test]
fn a_surprised_park_asks_where_the_customer_stands() {
    let mut desk = early(|_| {});
    desk.pass(ms(50));
    let mut actions = desk.wrote(0, Written::Park(Ok(vec![ParkVerdict::NotEarly])));
    actions.extend(desk.pass(ms(50)));
    assert!(matches!(&writes(&actions)[..], [(0, Work::Load { .. })]), "{actions:?}");
    // Another instance has committed both meanwhile.
    let actions = desk.wrote(0, loaded("a", 3, 0, Vec::new()));
    assert_eq!(writes(&actions), [(0, Work::LookUp(vec![(3, 3)]))]);
}

#[test]
fn a_duplicate_of_a_blocked_customer_comes_to_its_end() {
    // "Blocked" may be told before "behind", and a park says "not early": neither must go round in circles.
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    let mut actions = desk.wrote(0, Written::Commit(Ok(vec![Verdict::Blocked])));
    assert_eq!(parks(&actions), [[1]]);
    actions = desk.wrote(0, Written::Park(Ok(vec![ParkVerdict::NotEarly])));
    actions.extend(desk.pass(ms(50)));
    assert!(matches!(&writes(&actions)[..], [(0, Work::Load { .. })]), "{actions:?}");
    let actions = desk.wrote(0, loaded("a", 4, 0, Vec::new()));
    assert_eq!(writes(&actions), [(0, Work::LookUp(vec![(1, 1)]))]);
    let actions = desk.wrote(0, Written::LookUp(Ok(vec![Found::Ended])));
    assert_eq!(ends(&actions), [(1, Outcome::Duplicate)]);
}

#[test]
fn one_place_and_one_order_id_a_park() {
    let mut desk = desk(|_| {});
    let twin = Arrival { id: EntryId::new("twin"), ..order(2, "a", 5) };
    let again = Arrival { id: EntryId::new("a-5"), digest: Digest([9; 32]), ..order(3, "b", 7) };
    desk.deliver(vec![order(1, "a", 5), twin, again]);
    let mut actions = desk.pass(ms(1));
    for _ in 0..2 {
        actions.extend(desk.wrote(0, Written::Commit(Ok(vec![Verdict::Ahead { upto: 0, parked: 0 }]))));
    }
    actions.extend(desk.pass(ms(100)));
    assert_eq!(parks(&actions), [[1]]);
    let actions = desk.wrote(0, Written::Park(Ok(vec![ParkVerdict::Parked])));
    assert_eq!(ends(&actions), [(1, Outcome::Parked)]);
    let later: Vec<u32> = parks(&actions).concat();
    assert_eq!(later, [3, 2], "the next call has the others: {actions:?}");
}

/// A desk where the first of `others` stands next and the ledger says that another order is parked for its place, 2.
fn contested(others: Vec<Arrival<u32>>) -> Desk {
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    desk.committed(0, &[1]);
    let first = others[0].payload;
    assert_eq!(runs(&desk.deliver(others))[0][0], first);
    let actions = desk.wrote(0, Written::Commit(Ok(vec![Verdict::Ahead { upto: 1, parked: 2 }])));
    assert!(matches!(&writes(&actions)[..], [(0, Work::Load { .. })]), "{actions:?}");
    desk
}

fn other(payload: u32) -> Arrival<u32> {
    Arrival { digest: Digest([9; 32]), ..order(payload, "a", 2) }
}

#[test]
fn what_is_parked_for_a_place_goes_before_another_order() {
    let mut desk = contested(vec![other(9), order(3, "a", 3)]);
    let actions = desk.wrote(0, loaded("a", 1, 2, vec![order(2, "a", 2), order(4, "a", 3)]));
    // One at a time: who knows what is parked behind it.
    assert_eq!(runs(&actions), [[2]]);
    let verdict = Verdict::Committed { upto: 2, parked: 1, known: Vec::new() };
    let mut actions = desk.wrote(0, Written::Commit(Ok(vec![verdict])));
    assert!(!ends(&actions).iter().any(|(payload, _)| *payload == 9), "{actions:?}");
    let mut ended = Vec::new();
    while let [(_, work)] = &writes(&actions)[..] {
        actions = match work {
            Work::LookUp(asked) => {
                assert_eq!(asked[..], [(2, 9)]);
                desk.wrote(0, Written::LookUp(Ok(vec![Found::Quarantined])))
            }
            Work::Commit { .. } => {
                assert_eq!(runs(&actions), [[3]]);
                desk.committed(0, &[3])
            }
            work => panic!("{work:?}"),
        };
        ended.extend(ends(&actions));
    }
    ended.sort_unstable_by_key(|(payload, _)| *payload);
    assert_eq!(ended, [(3, Outcome::Duplicate), (9, Outcome::Quarantined)]);
}

/// The parked order was delivered again, after the other one: it still goes first, or both would go round in circles.
#[test]
fn a_parked_order_that_is_delivered_again_goes_before_another_order() {
    let mut desk = contested(vec![other(9), order(5, "a", 2)]);
    let actions = desk.wrote(0, loaded("a", 1, 2, vec![order(2, "a", 2)]));
    assert_eq!(runs(&actions), [[5]]);
    let actions = desk.committed(0, &[2]);
    assert_eq!(ends(&actions), [(5, Outcome::Duplicate)]);
    assert_eq!(writes(&actions), [(0, Work::LookUp(vec![(2, 9)]))]);
}

/// What was loaded first and lost its row meanwhile makes room for what is parked there now.
#[test]
fn nothing_is_forgotten_when_another_order_is_loaded_for_its_place() {
    let mut desk = contested(vec![other(9)]);
    let actions = desk.wrote(0, loaded("a", 1, 1, vec![other(8)]));
    assert_eq!(runs(&actions), [[9]]);
    let actions = desk.wrote(0, Written::Commit(Ok(vec![Verdict::Ahead { upto: 1, parked: 1 }])));
    assert!(matches!(&writes(&actions)[..], [(0, Work::Load { .. })]), "{actions:?}");
    let actions = desk.wrote(0, loaded("a", 1, 1, vec![order(2, "a", 2)]));
    assert_eq!(runs(&actions), [[2]]);
    let actions = desk.committed(0, &[2]);
    assert_eq!(ends(&actions), []);
    assert_eq!(writes(&actions), [(0, Work::LookUp(vec![(2, 9)]))]);
}

/// `fifo`: a parked order that is delivered again goes with the parked ones, or both would wait for each other.
#[test]
fn a_parked_order_and_its_delivery_are_one() {
    let mut desk = desk(|s| s.ordering = Ordering::Fifo);
    desk.deliver(vec![order(5, "a", 100)]);
    let actions = desk.wrote(0, Written::Commit(Ok(vec![Verdict::Ahead { upto: 50, parked: 1 }])));
    assert!(matches!(&writes(&actions)[..], [(0, Work::Load { .. })]), "{actions:?}");
    let actions = desk.wrote(0, loaded("a", 50, 1, vec![order(6, "a", 100)]));
    let [(0, Work::Commit { parked: true, .. })] = &writes(&actions)[..] else { panic!("{actions:?}") };
    let actions = desk.committed(0, &[100]);
    assert_eq!(ends(&actions), [(5, Outcome::Duplicate)]);
}

/// `fifo`: its name was known to the commit that took its neighbours, and whoever heard that died. Nobody else would
/// ever look at it, and it would stand before its customer for ever.
#[test]
fn what_was_left_below_the_mark_is_looked_up() {
    let mut desk = desk(|s| s.ordering = Ordering::Fifo);
    desk.deliver(vec![order(5, "a", 300)]);
    let actions = desk.wrote(0, Written::Commit(Ok(vec![Verdict::Ahead { upto: 200, parked: 1 }])));
    assert!(matches!(&writes(&actions)[..], [(0, Work::Load { .. })]), "{actions:?}");
    let actions = desk.wrote(0, loaded("a", 200, 1, vec![order(6, "a", 100)]));
    assert_eq!(writes(&actions), [(0, Work::LookUp(vec![(100, 6)]))]);
    let actions = desk.wrote(0, Written::LookUp(Ok(vec![Found::Conflict("its name is another's".into())])));
    let aside = |work: &Work<u32>| matches!(work, Work::Quarantine { payload: 6, blocks: false, .. });
    assert!(writes(&actions).iter().any(|(_, work)| aside(work)), "{actions:?}");
}

/// `fifo`: a malformed message whose quarantine came too early keeps its place, and nothing passes it.
#[test]
fn nothing_passes_a_malformed_message() {
    let mut desk = desk(|s| s.ordering = Ordering::Fifo);
    let malformed = Arrival { malformed: true, ..order(1, "a", 100) };
    let actions = desk.deliver(vec![malformed, order(2, "a", 200)]);
    assert!(matches!(&writes(&actions)[..], [(0, Work::Quarantine { blocks: true, .. })]), "{actions:?}");
    let mut actions = desk.wrote(0, Written::Quarantine(Ok(CaseVerdict::NotNext)));
    actions.extend(desk.pass(ms(50)));
    assert!(matches!(&writes(&actions)[..], [(0, Work::Load { .. })]), "{actions:?}");
    let actions = desk.wrote(0, loaded("a", 50, 1, vec![order(3, "a", 60)]));
    let [(0, Work::Commit { parked: true, .. })] = &writes(&actions)[..] else { panic!("{actions:?}") };
    let actions = desk.committed(0, &[60]);
    assert!(matches!(&writes(&actions)[..], [(0, Work::Quarantine { payload: 1, .. })]), "{actions:?}");
    let actions = desk.wrote(0, Written::Quarantine(Ok(CaseVerdict::Quarantined)));
    assert_eq!(parks(&actions), [[2]]);
}

/// What stood in its way is gone since: it is nowhere, so it has no end, and is judged again.
#[test]
fn what_a_look_up_does_not_find_goes_back_into_its_lane() {
    let mut desk = early(|_| {});
    desk.pass(ms(50));
    let actions = desk.wrote(0, Written::Park(Ok(vec![ParkVerdict::Taken])));
    assert!(matches!(&writes(&actions)[..], [(0, Work::LookUp(orders))] if orders.len() == 1), "{actions:?}");
    let mut actions = desk.wrote(0, Written::LookUp(Ok(vec![Found::Absent])));
    assert_eq!(ends(&actions), []);
    actions.extend(desk.pass(ms(50)));
    assert_eq!(runs(&actions), [[3]], "where it stands is asked anew: {actions:?}");
}
