//! The pace of a drain.

use millrace::backlog::Limit;
use millrace::core::PaceSeen;

use super::*;

const TARGET: Duration = ms(100);

/// A drain whose queue never ends: it commits as fast as it may, each commit taking `commit`.
struct Drain {
    desk: Desk,
    next: u32,
    sent: u32,
    wakes: u32,
}

fn drain(change: impl FnOnce(&mut Settings)) -> Drain {
    let desk = desk(|s| {
        s.pace = Some(PaceSettings { rate_max: 4_000, rate_min: 40, commit_target: TARGET });
        s.gate = Gate::Draining;
        s.batch_max = 200;
        s.receive_max = 500;
        s.receive_bytes = 500;
        s.messages_max = 5_000;
        s.call_max = 500;
        s.run_max = 1;
        s.lock_linger = ms(1);
        s.committers = 2;
        change(s);
    });
    let mut drain = Drain { desk, next: 0, sent: 0, wakes: 0 };
    drain.desk.deliver(Vec::new());
    drain
}

impl Drain {
    fn seen(&self) -> PaceSeen {
        self.desk.core.snapshot().pace.expect("a drain has a pace")
    }

    /// Lets `time` pass; a commit is answered after `commit` by `answer`, where there is one to give.
    fn works(&mut self, time: Duration, commit: Duration, mut answer: impl FnMut(usize) -> Written<u32>) {
        let end = self.desk.now.after(time);
        let mut busy: Vec<(Time, usize, usize)> = Vec::new();
        while self.desk.now < end {
            let mut actions = Vec::new();
            if self.desk.core.snapshot().messages < 1_000 && !self.desk.polls.is_empty() {
                let orders = (0..500).map(|i| order(self.next + i, &format!("c{}", self.next + i), 1)).collect();
                self.next += 500;
                actions.extend(self.desk.deliver(orders));
            }
            if let Some(index) = busy.iter().position(|(at, ..)| *at <= self.desk.now) {
                let (_, slot, runs) = busy.remove(index);
                actions.extend(self.desk.wrote(slot, answer(runs)));
            }
            if actions.is_empty() {
                let answers = busy.iter().map(|(at, ..)| *at);
                let next = answers.chain(self.desk.core.wake_at()).min().unwrap_or(end).min(end);
                self.desk.now = next;
                if self.desk.core.wake_at().is_none_or(|at| at > next) && next == end {
                    break;
                }
                self.wakes += 1;
                actions.extend(self.desk.feed(Input::Wake));
            }
            for (slot, work) in writes(&actions) {
                match work {
                    Work::Commit { runs, .. } => {
                        self.sent += u32::try_from(runs.len()).unwrap();
                        busy.push((self.desk.now.after(commit), slot, runs.len()));
                    }
                    Work::Probe => {
                        let actions = self.desk.wrote(slot, Written::Probe(Ok(Gate::Draining)));
                        assert!(commits(&actions).len() <= 1);
                        for commit_now in commits(&actions) {
                            self.sent += u32::try_from(commit_now.runs.len()).unwrap();
                            busy.push((self.desk.now.after(commit), commit_now.slot, commit_now.runs.len()));
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        // What is on its way is answered now, so that the next time begins with none.
        for (at, slot, runs) in busy {
            self.desk.now = self.desk.now.max(at);
            let mut actions = self.desk.wrote(slot, answer(runs));
            while let Some(more) = commits(&actions).pop() {
                self.sent += u32::try_from(more.runs.len()).unwrap();
                actions = self.desk.wrote(more.slot, answer(more.runs.len()));
            }
        }
    }
}

fn done(runs: usize) -> Written<u32> {
    Written::Commit(Ok(vec![Verdict::Committed { upto: 1, parked: 0, known: Vec::new() }; runs]))
}

fn fails(class: ErrorClass) -> impl FnMut(usize) -> Written<u32> {
    move |_| Written::Commit(Err(error(class)))
}

#[test]
fn it_starts_low_grows_to_the_ceiling_and_stays_there() {
    let mut drain = drain(|_| {});
    assert_eq!(drain.seen().allowed, 100);
    let mut before = 100;
    for second in 1..=25 {
        let sent = drain.sent;
        drain.works(Duration::from_secs(1), ms(5), done);
        let allowed = drain.seen().allowed;
        assert!(allowed >= before && allowed <= before + 300, "additive: {before} to {allowed}");
        assert!(drain.sent - sent <= allowed + allowed / 4, "{} in second {second} at {allowed}", drain.sent - sent);
        before = allowed;
    }
    assert_eq!(before, 4_000);
    assert_eq!(drain.seen().limited_by, Limit::Ceiling);
    let (sent, wakes) = (drain.sent, drain.wakes);
    drain.works(Duration::from_secs(5), ms(5), done);
    let sent = drain.sent - sent;
    assert!((18_000..=20_900).contains(&sent), "{sent} orders in five seconds at 4,000 a second");
    assert!(drain.wakes - wakes < 3_000, "it spins: {} wakes", drain.wakes - wakes);
    assert_eq!(drain.seen().allowed, 4_000);
}

#[test]
fn it_grows_only_while_it_limits() {
    let mut drain = drain(|s| s.messages_max = 600);
    drain.works(Duration::from_secs(3), ms(5), done);
    let allowed = drain.seen().allowed;
    assert!(allowed > 300 && drain.seen().limited_by == Limit::RampUp, "{:?}", drain.seen());
    // Now and then a single order: far below what is allowed.
    for n in 0..40 {
        let orders = vec![order(1_000_000 + n, &format!("d{n}"), 1)];
        if drain.desk.polls.is_empty() {
            break;
        }
        let mut actions = drain.desk.deliver(orders);
        actions.extend(drain.desk.pass(ms(200)));
        while let Some(commit) = commits(&actions).pop() {
            actions = drain.desk.committed(commit.slot, &vec![1; commit.runs.len()]);
        }
        drain.desk.pass(ms(200));
    }
    assert!(drain.seen().allowed <= allowed + 200, "{} from {allowed} for a trickle", drain.seen().allowed);
}

#[test]
fn slow_commits_take_three_tenths_and_never_go_below_the_least() {
    let mut drain = drain(|_| {});
    drain.works(Duration::from_secs(10), ms(5), done);
    let before = drain.seen().allowed;
    drain.works(Duration::from_secs(1), ms(150), done);
    let after = drain.seen().allowed;
    assert!(after < before, "{before} to {after}");
    assert_eq!(drain.seen().limited_by, Limit::DatabaseLatency);
    drain.works(Duration::from_mins(1), ms(150), done);
    assert_eq!(drain.seen().allowed, 40);
    let sent = drain.sent;
    drain.works(Duration::from_secs(5), ms(150), done);
    assert!((150..=260).contains(&(drain.sent - sent)), "the least is still granted: {}", drain.sent - sent);
    // And back up.
    drain.works(Duration::from_secs(5), ms(5), done);
    assert!(drain.seen().allowed >= 500, "{:?}", drain.seen());
}

#[test]
fn errors_of_the_ledger_halve_it() {
    let mut drain = drain(|_| {});
    drain.works(Duration::from_secs(10), ms(5), done);
    let before = drain.seen().allowed;
    drain.works(ms(600), ms(5), fails(ErrorClass::Timeout));
    let after = drain.seen().allowed;
    assert!(after <= before / 2 + 100, "{before} to {after}");
    assert_eq!(drain.seen().limited_by, Limit::DatabaseLatency);
}

#[test]
fn an_order_s_own_fault_does_not_slow_it() {
    for class in [ErrorClass::Fault, ErrorClass::Taken] {
        let mut drain = drain(|s| s.batch_max = 50);
        drain.works(Duration::from_secs(10), ms(5), done);
        let before = drain.seen().allowed;
        let mut turn = 0;
        // Every tenth commit fails by one of its orders; the parts go through.
        drain.works(Duration::from_secs(2), ms(5), |runs| {
            turn += 1;
            if runs > 1 && turn % 10 == 0 { Written::Commit(Err(error(class))) } else { done(runs) }
        });
        assert!(drain.seen().allowed >= before, "{class:?}: {before} to {:?}", drain.seen());
    }
}

#[test]
fn at_the_least_rate_one_order_goes() {
    let mut drain = drain(|s| {
        s.pace = Some(PaceSettings { rate_max: 1, rate_min: 1, commit_target: TARGET });
    });
    drain.works(Duration::from_secs(20), ms(5), done);
    assert!((18..=22).contains(&drain.sent), "{} orders in 20 s at one a second", drain.sent);
    assert!(drain.wakes < 500, "it spins: {} wakes", drain.wakes);
}

#[test]
fn a_pause_is_not_saved_up() {
    let mut drain = drain(|_| {});
    drain.works(Duration::from_secs(25), ms(5), done);
    drain.desk.pass(Duration::from_secs(30));
    let sent = drain.sent;
    drain.works(ms(50), ms(1), done);
    let burst = drain.sent - sent;
    assert!(burst <= 800 + 200 + 200, "a burst of {burst} after a pause at 4,000 a second");
}

#[test]
fn what_limits_it_is_told() {
    // Nothing to drain.
    let mut drain = drain(|_| {});
    assert_eq!(drain.seen().limited_by, Limit::Empty);
    drain.works(Duration::from_secs(2), ms(5), done);
    assert_eq!(drain.seen().limited_by, Limit::RampUp);
    // One customer is left, and its orders go one after another.
    let mut desk = desk(|s| {
        s.pace = Some(PaceSettings { rate_max: 1_000_000, rate_min: 100_000, commit_target: TARGET });
        s.gate = Gate::Draining;
        s.committers = 2;
    });
    desk.deliver(Vec::new());
    desk.pass(ms(100));
    assert_eq!(runs(&desk.deliver(vec![order(1, "a", 1)])), [[1]]);
    desk.committed(0, &[1]);
    desk.pass(Duration::from_secs(1));
    desk.polls.drain(1..);
    let mut actions = desk.deliver((2..=9).map(|n| order(n, "a", Rank::from(n))).collect());
    actions.extend(desk.pass(ms(10)));
    assert_eq!(commits(&actions).len(), 1);
    assert_eq!(desk.core.snapshot().pace.unwrap().limited_by, Limit::HotCustomer);
    // The ledger goes away.
    desk.commit_fails(commits(&actions)[0].slot, ErrorClass::Away);
    assert_eq!(desk.core.snapshot().pace.unwrap().limited_by, Limit::LedgerAway);
}

#[test]
fn a_drain_that_may_hold_little_still_reads() {
    for messages_max in [1, 2, 300, 4_000] {
        let mut config = millrace::config::Config::new("https://queue", "sqlite:///tmp/ledger");
        config.maintenance.messages_max = messages_max;
        let desk = desk(|settings| *settings = Settings::of_drain(&config));
        assert!(!desk.polls.is_empty(), "it reads nothing with messages_max = {messages_max}");
    }
}
