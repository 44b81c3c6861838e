//! Fed by hand: one situation a test, no chance. The desk answers what a test does not care about.

mod commits;
mod deliveries;
mod holds;
mod locks;
mod pace;
mod parks;
mod spool;
mod stops;

use std::time::Duration;

use millrace::core::{
    Action, Alarm, Arrival, Core, Input, Loaded, LockCall, PaceSettings, Report, Settings, Time, Work, Written,
};
use millrace::inbox::Settled;
use millrace::ledger::{CaseKind, ErrorClass, Gate, LedgerError, Verdict};
use millrace::order::{CustomerId, Digest, EntryId, Ordering, Rank};
use millrace::outcome::Outcome;

use super::sim::{ms, settings};

type Actions = Vec<Action<u32>>;

/// A core on a desk: inputs by hand, actions looked at.
struct Desk {
    core: Core<u32>,
    now: Time,
    polls: Vec<u64>,
    /// Whether locks are granted at once, and deletes and visibility changes done.
    obliging: bool,
}

/// What a commit asks for: its slot, its payloads by run, and whether it resolves an earlier one.
#[derive(Debug, PartialEq, Eq)]
struct Commit {
    slot: usize,
    runs: Vec<Vec<u32>>,
    resolve: bool,
}

fn desk(change: impl FnOnce(&mut Settings)) -> Desk {
    let mut settings = settings(Ordering::Gapless);
    // No sweep but the first one, and no lease that runs out, unless a test is about them.
    settings.sweep = Duration::from_hours(1);
    settings.lease = Duration::from_mins(10);
    settings.visibility_timeout = Duration::from_mins(10);
    settings.committers = 1;
    change(&mut settings);
    let mut desk = Desk { core: Core::new(settings, 1), now: Time::ZERO, polls: Vec::new(), obliging: true };
    let mut actions = desk.feed(Input::Wake);
    if let [(0, Work::Probe)] = writes(&actions)[..] {
        // A drain asks first.
        actions = desk.wrote(0, Written::Probe(Ok(Gate::Draining)));
    }
    assert!(matches!(writes(&actions)[..], [(0, Work::Sweep { .. })]), "{actions:?}");
    desk.wrote(0, Written::Sweep(Ok((Vec::new(), None))));
    desk
}

impl Desk {
    fn feed(&mut self, input: Input<u32>) -> Actions {
        self.core.handle(self.now, input);
        let mut all = Vec::new();
        while let Some(action) = self.core.poll() {
            match &action {
                Action::Receive { poll, .. } => self.polls.push(*poll),
                Action::Lock { call, customers } if self.obliging => {
                    let result = Ok(vec![true; customers.len()]);
                    self.core.handle(self.now, Input::Locked { call: *call, result });
                }
                Action::Delete { call, payloads } | Action::SetVisibility { call, payloads, .. } if self.obliging => {
                    let result = Ok(vec![Settled::Done; payloads.len()]);
                    self.core.handle(self.now, Input::Settled { call: *call, result });
                }
                _ => {}
            }
            all.push(action);
        }
        assert!(self.core.wake_at().is_none_or(|at| at > self.now), "it wants to be woken in the past");
        all
    }

    /// Lets time pass, waking the core whenever it wants.
    fn pass(&mut self, wait: Duration) -> Actions {
        let end = self.now.after(wait);
        let mut all = Vec::new();
        let mut wakes = 0;
        while let Some(at) = self.core.wake_at().filter(|at| *at <= end) {
            self.now = at;
            all.extend(self.feed(Input::Wake));
            wakes += 1;
            assert!(wakes < 10_000, "it spins");
        }
        self.now = end;
        all
    }

    fn deliver(&mut self, arrivals: Vec<Arrival<u32>>) -> Actions {
        let poll = self.polls.pop().expect("it receives");
        self.feed(Input::Received { poll, result: Ok(arrivals) })
    }

    fn wrote(&mut self, slot: usize, written: Written<u32>) -> Actions {
        self.feed(Input::Wrote { slot, written })
    }

    fn committed(&mut self, slot: usize, uptos: &[Rank]) -> Actions {
        let verdict = |upto: &Rank| Verdict::Committed { upto: *upto, parked: 0, known: Vec::new() };
        self.wrote(slot, Written::Commit(Ok(uptos.iter().map(verdict).collect())))
    }

    fn commit_fails(&mut self, slot: usize, class: ErrorClass) -> Actions {
        self.wrote(slot, Written::Commit(Err(error(class))))
    }
}

fn error(class: ErrorClass) -> LedgerError {
    LedgerError { class, message: class.label().into() }
}

fn name(customer: &str) -> CustomerId {
    CustomerId::new(customer)
}

/// Order `rank` of a customer; its payload is its number here.
fn order(payload: u32, customer: &str, rank: Rank) -> Arrival<u32> {
    Arrival {
        payload,
        customer: Some(name(customer)),
        id: EntryId::new(format!("{customer}-{rank}")),
        digest: Digest([0; 32]),
        rank,
        malformed: false,
        bytes: 10,
    }
}

fn loaded(customer: &str, upto: Rank, parked: u64, orders: Vec<Arrival<u32>>) -> Written<u32> {
    Written::Load(Ok(vec![Loaded { customer: name(customer), upto, parked, orders }]))
}

fn writes(actions: &Actions) -> Vec<(usize, Work<u32>)> {
    let write = |action: &Action<u32>| match action {
        Action::Write { slot, work } => Some((*slot, work.clone())),
        _ => None,
    };
    actions.iter().filter_map(write).collect()
}

fn commits(actions: &Actions) -> Vec<Commit> {
    let commit = |(slot, work)| match work {
        Work::Commit { runs, resolve, .. } => {
            let run = |(_, orders): (CustomerId, Vec<(Rank, u32)>)| orders.into_iter().map(|(_, p)| p).collect();
            Some(Commit { slot, runs: runs.into_iter().map(run).collect(), resolve })
        }
        _ => None,
    };
    writes(actions).into_iter().filter_map(commit).collect()
}

/// The runs of the only commit.
fn runs(actions: &Actions) -> Vec<Vec<u32>> {
    let mut commits = commits(actions);
    assert_eq!(commits.len(), 1, "{actions:?}");
    commits.remove(0).runs
}

fn parks(actions: &Actions) -> Vec<Vec<u32>> {
    let park = |(_, work)| match work {
        Work::Park(orders) => Some(orders.into_iter().map(|(_, payload)| payload).collect()),
        _ => None,
    };
    writes(actions).into_iter().filter_map(park).collect()
}

fn ends(actions: &Actions) -> Vec<(u32, Outcome)> {
    let end = |action: &Action<u32>| match action {
        Action::Ended { payload, outcome } => Some((*payload, *outcome)),
        _ => None,
    };
    actions.iter().filter_map(end).collect()
}

fn alarms(actions: &Actions) -> Vec<Alarm> {
    let alarm = |action: &Action<u32>| match action {
        Action::Alarm(alarm) => Some(alarm.clone()),
        _ => None,
    };
    actions.iter().filter_map(alarm).collect()
}

fn locks(actions: &Actions) -> Vec<(LockCall, Vec<CustomerId>)> {
    let lock = |action: &Action<u32>| match action {
        Action::Lock { call, customers } => Some((*call, customers.clone())),
        _ => None,
    };
    actions.iter().filter_map(lock).collect()
}

fn deletes(actions: &Actions) -> Vec<(u64, Vec<u32>)> {
    let delete = |action: &Action<u32>| match action {
        Action::Delete { call, payloads } => Some((*call, payloads.clone())),
        _ => None,
    };
    actions.iter().filter_map(delete).collect()
}

fn visibilities(actions: &Actions) -> Vec<(u64, Vec<u32>, Duration)> {
    let change = |action: &Action<u32>| match action {
        Action::SetVisibility { call, payloads, timeout } => Some((*call, payloads.clone(), *timeout)),
        _ => None,
    };
    actions.iter().filter_map(change).collect()
}

fn report(actions: &Actions) -> Option<Report> {
    actions.iter().find_map(|action| match action {
        Action::Stop(report) => Some(*report),
        _ => None,
    })
}

fn hash(core: &Core<u32>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    core.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn equal_states_are_equal_and_hash_alike() {
    let mut one = desk(|_| {});
    one.deliver(vec![order(1, "a", 1), order(2, "a", 3), order(3, "b", 1)]);
    let mut two = one.core.clone();
    assert_eq!((&one.core, hash(&one.core)), (&two, hash(&two)));
    let before = hash(&one.core);
    one.committed(0, &[1, 1]);
    assert_ne!(one.core, two);
    assert_ne!(before, hash(&one.core));
    let verdict = |upto| Verdict::Committed { upto, parked: 0, known: Vec::new() };
    two.handle(one.now, Input::Wrote { slot: 0, written: Written::Commit(Ok(vec![verdict(1), verdict(1)])) });
    let waiting = std::iter::from_fn(|| two.poll()).count();
    assert!(waiting > 0);
    // Only the desk's own answers are missing.
    assert_eq!(two.snapshot().messages, 3);
}

#[test]
fn an_idle_core_sleeps() {
    let mut desk = desk(|_| {});
    let actions = desk.pass(Duration::from_mins(1));
    assert_eq!(actions, []);
}

#[test]
fn a_malformed_message_goes_to_quarantine_without_a_line() {
    let mut desk = desk(|_| {});
    let malformed = Arrival { customer: None, rank: 0, malformed: true, ..order(7, "x", 0) };
    let actions = desk.deliver(vec![malformed]);
    let [(0, Work::Quarantine { payload: 7, kind: CaseKind::Malformed, blocks: false, .. })] = writes(&actions)[..]
    else {
        panic!("{actions:?}")
    };
    let actions = desk.wrote(0, Written::Quarantine(Ok(millrace::ledger::CaseVerdict::Quarantined)));
    assert_eq!(ends(&actions), [(7, Outcome::Quarantined)]);
}

#[test]
fn half_an_hour_of_probing_a_closed_gate_is_not_a_storm() {
    let mut desk = desk(|s| s.hold_probe_max = Duration::from_secs(10));
    desk.deliver(vec![order(1, "a", 1)]);
    desk.wrote(0, Written::Commit(Ok(vec![Verdict::GateClosed])));
    let mut probes = 0;
    for _ in 0..1800 {
        let actions = desk.pass(Duration::from_secs(1));
        if matches!(writes(&actions)[..], [(0, Work::Probe)]) {
            probes += 1;
            desk.wrote(0, Written::Probe(Ok(Gate::Closed)));
        }
    }
    assert!((150..600).contains(&probes), "{probes}");
}
