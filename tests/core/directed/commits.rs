//! Group commits: how they grow, and how a failing one is taken apart.

use millrace::ledger::{CaseVerdict, Found};

use super::*;

#[test]
fn a_batch_grows_while_the_committer_is_busy() {
    let mut desk = desk(|_| {});
    assert_eq!(runs(&desk.deliver(vec![order(1, "a", 1)])), [[1]], "what is ready goes at once");
    assert!(writes(&desk.deliver(vec![order(2, "b", 1), order(3, "b", 2)])).is_empty());
    desk.feed(Input::Wake);
    desk.polls.push(9);
    let actions = desk.committed(0, &[1]);
    assert_eq!(runs(&actions), [vec![2, 3]]);
}

#[test]
fn a_run_ends_at_a_gap_and_goes_on_from_where_it_stood() {
    let mut desk = desk(|s| s.run_max = 2);
    let orders = (1..=4).map(|n| order(u32::try_from(n).unwrap(), "a", n)).collect();
    assert_eq!(runs(&desk.deliver(orders)), [[1, 2]]);
    assert_eq!(runs(&desk.committed(0, &[2])), [[3, 4]]);
}

#[test]
fn copies_share_one_commit_and_end_as_duplicates() {
    let mut desk = desk(|_| {});
    assert_eq!(runs(&desk.deliver(vec![order(1, "a", 1), order(2, "a", 1)])), [[1]]);
    let actions = desk.committed(0, &[1]);
    assert_eq!(ends(&actions), [(1, Outcome::Committed), (2, Outcome::Duplicate)]);
}

#[test]
fn another_order_at_the_same_place_is_looked_up() {
    let mut desk = desk(|_| {});
    let other = Arrival { id: EntryId::new("other"), ..order(2, "a", 1) };
    assert_eq!(runs(&desk.deliver(vec![order(1, "a", 1), other])), [[1]]);
    let actions = desk.committed(0, &[1]);
    assert_eq!(ends(&actions), [(1, Outcome::Committed)]);
    assert_eq!(writes(&actions), [(0, Work::LookUp(vec![(1, 2)]))]);
    let actions = desk.wrote(0, Written::LookUp(Ok(vec![Found::Conflict("taken".into())])));
    let [(0, Work::Quarantine { payload: 2, kind: CaseKind::Conflict, blocks: false, .. })] = writes(&actions)[..]
    else {
        panic!("{actions:?}")
    };
}

#[test]
fn the_single_offender_is_found_and_nobody_else_blamed() {
    let mut desk = desk(|_| {});
    let mut orders: Vec<_> = (1..=4).map(|n| order(u32::try_from(n).unwrap(), "a", n)).collect();
    orders.extend([order(11, "b", 1), order(12, "c", 1)]);
    let mut actions = desk.deliver(orders);
    assert_eq!(runs(&actions), [vec![1, 2, 3, 4], vec![11], vec![12]]);
    // Order 2 is poison.
    let mut committed = Vec::new();
    for _ in 0..30 {
        let writes = writes(&actions);
        let Some((slot, work)) = writes.first().cloned() else { break };
        actions = match work {
            Work::Commit { runs, .. } => {
                let payloads: Vec<u32> = runs.iter().flat_map(|(_, run)| run.iter().map(|(_, p)| *p)).collect();
                if payloads.contains(&2) {
                    desk.commit_fails(slot, ErrorClass::Fault)
                } else {
                    let uptos: Vec<Rank> = runs.iter().map(|(_, run)| run.last().unwrap().0).collect();
                    committed.extend(payloads);
                    desk.committed(slot, &uptos)
                }
            }
            Work::Quarantine { rank: 2, payload: 2, kind: CaseKind::Poison, blocks: true, .. } => {
                committed.sort_unstable();
                assert_eq!(committed, [1, 11, 12]);
                let actions = desk.wrote(slot, Written::Quarantine(Ok(CaseVerdict::Quarantined)));
                assert_eq!(alarms(&actions), [Alarm::Blocked(name("a"))]);
                assert_eq!(ends(&actions), [(2, Outcome::Quarantined)]);
                // Its followers are parked.
                assert_eq!(parks(&actions), [[3, 4]]);
                return;
            }
            other => panic!("{other:?}"),
        };
    }
    panic!("the offender was not found");
}

#[test]
fn an_unknown_outcome_freezes_its_customers_until_it_is_resolved() {
    let mut desk = desk(|s| s.committers = 2);
    assert_eq!(runs(&desk.deliver(vec![order(1, "a", 1)])), [[1]]);
    let actions = desk.commit_fails(0, ErrorClass::Unknown);
    assert!(writes(&actions).is_empty());
    // Another customer goes on, this one does not.
    assert_eq!(runs(&desk.deliver(vec![order(2, "a", 2), order(3, "b", 1)])), [[3]]);
    let again = commits(&desk.pass(ms(50)));
    assert_eq!(again, [Commit { slot: 1, runs: vec![vec![1]], resolve: true }]);
    // Behind: the first try had been carried out. It is looked up, and the line goes on.
    let actions = desk.wrote(1, Written::Commit(Ok(vec![Verdict::Behind(1)])));
    let works: Vec<_> = writes(&actions).into_iter().map(|(_, work)| work).collect();
    assert!(matches!(&works[..], [Work::Commit { .. } | Work::LookUp(_), ..]), "{works:?}");
    assert!(commits(&actions).iter().all(|commit| !commit.resolve));
}

#[test]
fn a_batch_that_stalls_while_others_commit_is_split_without_blame() {
    let mut desk = desk(|s| s.committers = 2);
    assert_eq!(runs(&desk.deliver(vec![order(1, "a", 1), order(2, "b", 1)])), [[1], [2]]);
    desk.commit_fails(0, ErrorClass::Timeout);
    let again = desk.pass(ms(50));
    assert_eq!(runs(&again), [[1], [2]], "nothing else commits yet, so it stays whole");
    let slot = commits(&again)[0].slot;
    let other = commits(&desk.deliver(vec![order(3, "c", 1)]));
    desk.committed(other[0].slot, &[1]);
    let mut actions = desk.commit_fails(slot, ErrorClass::Timeout);
    actions.extend(desk.pass(ms(50)));
    let mut split: Vec<_> = commits(&actions).into_iter().map(|commit| commit.runs).collect();
    split.sort();
    assert_eq!(split, [[[1]], [[2]]]);
    assert!(alarms(&actions).is_empty());
}

#[test]
fn a_single_order_that_stalls_is_tried_alone_and_reported() {
    let mut desk = desk(|s| s.committers = 2);
    let mut actions = desk.deliver(vec![order(1, "a", 1)]);
    let mut seen = Vec::new();
    for n in 0..6u32 {
        let slot = commits(&actions).iter().find(|commit| commit.runs == [[1]]).expect("tried again").slot;
        // Others commit meanwhile.
        let other = commits(&desk.deliver(vec![order(10 + n, &format!("x{n}"), 1)]));
        desk.committed(other[0].slot, &[1]);
        let failed = desk.commit_fails(slot, ErrorClass::Timeout);
        seen.extend(alarms(&failed));
        assert!(ends(&failed).is_empty(), "nobody is blamed");
        actions = desk.pass(ms(700));
        for commit in commits(&actions) {
            assert!(commit.runs.len() == 1, "it shares no batch: {commit:?}");
        }
    }
    assert_eq!(seen, [Alarm::OrderStalls(EntryId::new("a-1"), 2)]);
}

#[test]
fn a_locked_customer_is_tried_again_and_alarmed() {
    let mut desk = desk(|s| s.alarm_tries = 3);
    let mut actions = desk.deliver(vec![order(1, "a", 1)]);
    for n in 1..=3 {
        assert_eq!(runs(&actions), [[1]], "try {n}");
        actions = desk.wrote(0, Written::Commit(Ok(vec![Verdict::Locked])));
        let alarm = Alarm::CustomerStuck(name("a"), 3);
        assert_eq!(alarms(&actions).contains(&alarm), n == 3);
        actions = desk.pass(ms(50));
    }
}

#[test]
fn a_taken_order_id_is_looked_up_before_anybody_is_blamed() {
    let mut desk = desk(|_| {});
    desk.deliver(vec![order(1, "a", 1)]);
    let actions = desk.commit_fails(0, ErrorClass::Taken);
    assert_eq!(writes(&actions), [(0, Work::LookUp(vec![(1, 1)]))]);
    let actions = desk.wrote(0, Written::LookUp(Ok(vec![Found::Ended])));
    assert_eq!(ends(&actions), [(1, Outcome::Duplicate)]);
}

#[test]
fn a_batch_that_stalls_alone_for_too_long_is_split_too() {
    let mut desk = desk(|_| {});
    let mut actions = desk.deliver(vec![order(1, "a", 1), order(2, "b", 1)]);
    for stall in 1..=8 {
        assert_eq!(runs(&actions), [[1], [2]], "nothing else commits, so it stays whole: stall {stall}");
        desk.commit_fails(0, ErrorClass::Timeout);
        actions = desk.pass(ms(50));
    }
    // Perhaps one of them could go on. Which is first is left to the jitter.
    let mut alone = runs(&actions);
    actions = desk.committed(0, &[1]);
    actions.extend(desk.pass(ms(50)));
    alone.extend(runs(&actions));
    alone.sort_unstable();
    assert_eq!(alone, [[1], [2]]);
}
