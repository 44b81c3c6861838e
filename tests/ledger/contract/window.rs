//! The steps of a maintenance window in the ledger: each is atomic, guarded, and may be repeated.

use std::collections::BTreeSet;

use jiff::Timestamp;
use millrace::ledger::gatekeeper::Gatekeeper;
use millrace::ledger::{ErrorClass, Ledger};
use millrace::order::Ordering::Gapless;
use millrace::window::{Epoch, Gate, Notice, Step};

use super::bench::Bench;
use super::{Setup, Store};
use crate::probe::Probe;

type Keeper<S> = <<S as Store>::Ledger as Ledger>::Gatekeeper;

/// The gate as the design says that steps change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rules {
    gate: Gate,
    epoch: Epoch,
    announced: Epoch,
}

impl Rules {
    /// What the step makes of it; None when it comes too late or too early.
    fn after(self, step: Step) -> Option<Self> {
        match step {
            Step::Announce(epoch) => (self.announced < epoch).then_some(Self { announced: epoch, ..self }),
            Step::Close { from, to } => (self.epoch == from && from < to && to <= self.announced).then_some(Self {
                gate: Gate::Closed,
                epoch: to,
                ..self
            }),
            Step::Grant(epoch) => {
                let due = self.gate == Gate::Closed && self.epoch == epoch && self.announced == epoch;
                due.then_some(Self { gate: Gate::Draining, ..self })
            }
            Step::Reopen(epoch) => {
                (self.gate == Gate::Draining && self.epoch == epoch).then_some(Self { gate: Gate::Open, ..self })
            }
            other => panic!("{other:?} is none of the ledger's steps"),
        }
    }

    async fn put<S: Store>(self, bench: &Bench<S>) {
        let state = format!("{:?}", self.gate).to_uppercase();
        bench.probe.execute(&format!("UPDATE gate_announced SET epoch = {}", self.announced)).await;
        bench.probe.execute(&format!("UPDATE gate SET state = '{state}', epoch = {}", self.epoch)).await;
    }

    async fn read<G: Gatekeeper>(keeper: &mut G) -> Self {
        let view = keeper.view().await.unwrap();
        Self { gate: view.gate, epoch: view.epoch, announced: view.announced }
    }
}

fn notice(reason: &str, actor: &str, until: Option<&str>) -> Notice {
    let words = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Notice { reason: words(reason), actor: words(actor), until: until.map(|time| time.parse().unwrap()) }
}

async fn take<G: Gatekeeper>(keeper: &mut G, step: Step) -> bool {
    match step {
        Step::Announce(epoch) => keeper.announce(epoch).await,
        Step::Close { from, to } => keeper.close(from, to, &notice("new disks", "ann", None)).await,
        Step::Grant(epoch) => keeper.grant(epoch, "bob").await,
        Step::Reopen(epoch) => keeper.reopen(epoch, "cyd").await,
        other => panic!("{other:?} is none of the ledger's steps"),
    }
    .unwrap()
}

async fn words<S: Store>(bench: &Bench<S>) -> Vec<Vec<Option<String>>> {
    bench.probe.rows("SELECT g.*, a.epoch FROM gate g, gate_announced a").await
}

pub(crate) async fn a_window_is_taken_step_by_step<S: Store>(store: &S) {
    let bench = Bench::new(store, Gapless).await;
    let mut keeper: Keeper<S> = bench.ledger.gatekeeper().await.unwrap();
    let mut rules = Rules { gate: Gate::Open, epoch: 0, announced: 0 };
    assert_eq!(Rules::read(&mut keeper).await, rules);
    for step in [Step::Announce(1), Step::Close { from: 0, to: 1 }, Step::Grant(1), Step::Reopen(1)] {
        assert!(take(&mut keeper, step).await, "{step:?}");
        rules = rules.after(step).unwrap();
        assert_eq!(Rules::read(&mut keeper).await, rules);
        let before = words(&bench).await;
        assert!(!take(&mut keeper, step).await, "{step:?} again");
        assert_eq!(words(&bench).await, before, "{step:?} again");
    }
}

/// Every step of every epoch, in every state.
pub(crate) async fn a_step_out_of_order_changes_nothing<S: Store>(store: &S) {
    let bench = Bench::new(store, Gapless).await;
    let mut keeper: Keeper<S> = bench.ledger.gatekeeper().await.unwrap();
    let mut steps: Vec<Step> = (1..=4).map(Step::Announce).collect();
    steps.extend((1..=3).flat_map(|from| (1..=4).map(move |to| Step::Close { from, to })));
    steps.extend((1..=3).flat_map(|epoch| [Step::Grant(epoch), Step::Reopen(epoch)]));
    let mut passed = 0;
    for gate in [Gate::Open, Gate::Closed, Gate::Draining] {
        for announced in [2, 3] {
            for step in &steps {
                let rules = Rules { gate, epoch: 2, announced };
                rules.put(&bench).await;
                let before = words(&bench).await;
                let after = rules.after(*step);
                assert_eq!(take(&mut keeper, *step).await, after.is_some(), "{step:?} in {rules:?}");
                assert_eq!(Rules::read(&mut keeper).await, after.unwrap_or(rules), "{step:?} in {rules:?}");
                if after.is_none() {
                    assert_eq!(words(&bench).await, before, "{step:?} in {rules:?}");
                }
                passed += usize::from(after.is_some());
            }
        }
    }
    // Announced: 2 or 1 each. Closed: 1 where 3 is announced. Granted: 1. Reopened: 1 whatever is announced.
    assert_eq!(passed, 3 * (2 + 1) + 3 + 1 + 2);
}

/// Every order of the elements of both that keeps each one's own.
fn interleavings(one: &[Step], two: &[Step]) -> Vec<Vec<(usize, Step)>> {
    let (Some(first), Some(second)) = (one.first(), two.first()) else {
        let left = |who: usize, rest: &[Step]| rest.iter().map(move |step| (who, *step)).collect::<Vec<_>>();
        return vec![[left(0, one), left(1, two)].concat()];
    };
    let with = |head: (usize, Step), tails: Vec<Vec<(usize, Step)>>| -> Vec<Vec<(usize, Step)>> {
        tails.into_iter().map(|tail| [vec![head], tail].concat()).collect()
    };
    [with((0, *first), interleavings(&one[1..], two)), with((1, *second), interleavings(one, &two[1..]))].concat()
}

/// Two operators who do not look: the guards alone hold the order. They begin and end the same window, or one begins
/// the next one over the other's.
pub(crate) async fn two_operators_interleave<S: Store>(store: &S) {
    let bench = Bench::new(store, Gapless).await;
    let mut keepers: [Keeper<S>; 2] =
        [bench.ledger.gatekeeper().await.unwrap(), bench.ledger.gatekeeper().await.unwrap()];
    let whole =
        |from: Epoch, to: Epoch| [Step::Announce(to), Step::Close { from, to }, Step::Grant(to), Step::Reopen(to)];
    let mut ends = BTreeSet::new();
    for second in [whole(1, 2), whole(2, 3)] {
        for order in interleavings(&whole(1, 2), &second) {
            let mut rules = Rules { gate: Gate::Open, epoch: 1, announced: 1 };
            rules.put(&bench).await;
            for (who, step) in &order {
                let after = rules.after(*step);
                assert_eq!(take(&mut keepers[*who], *step).await, after.is_some(), "{step:?} of {who} in {order:?}");
                let next = after.unwrap_or(rules);
                assert!(next.epoch >= rules.epoch && next.announced >= next.epoch, "{next:?} in {order:?}");
                rules = next;
            }
            assert_eq!(Rules::read(&mut keepers[0]).await, rules, "{order:?}");
            ends.insert(format!("{:?} {} {}", rules.gate, rules.epoch, rules.announced));
        }
    }
    // The third: the next window was announced before this one was closed, and each of them came too late for a step.
    // Whoever looks again goes on.
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), ["Closed 2 3", "Open 2 2", "Open 3 3"]);
}

pub(crate) async fn the_words_of_a_window_stay_until_it_is_over<S: Store>(store: &S) {
    let bench = Bench::new(store, Gapless).await;
    let mut keeper: Keeper<S> = bench.ledger.gatekeeper().await.unwrap();
    let opened = keeper.view().await.unwrap();
    assert_eq!(opened.notice, Notice::default());
    let first = notice("new disks", "ann", Some("2026-11-23T04:00:00.123456Z"));
    keeper.announce(1).await.unwrap();
    assert_eq!(keeper.view().await.unwrap().notice, Notice::default(), "it is announced, and has no words yet");
    assert!(keeper.close(0, 1, &first).await.unwrap());
    let closed = keeper.view().await.unwrap();
    assert_eq!(closed.notice, first);
    assert!(closed.since >= opened.since && closed.since <= Timestamp::now() + jiff::SignedDuration::from_secs(5));
    assert!(keeper.grant(1, "bob").await.unwrap());
    let draining = keeper.view().await.unwrap();
    assert_eq!((draining.since, &draining.notice), (closed.since, &first), "the drain belongs to the window");
    // Another `end` finishes what a `begin` announced: it has no reason of its own.
    keeper.announce(2).await.unwrap();
    assert!(keeper.close(1, 2, &notice("", "cyd", None)).await.unwrap());
    let taken = keeper.view().await.unwrap();
    assert_eq!((taken.since, &taken.notice), (closed.since, &first));
    // Another `begin` has one, and does not say until when.
    keeper.announce(3).await.unwrap();
    let second = notice("it is not over", "dan", None);
    assert!(keeper.close(2, 3, &second).await.unwrap());
    let longer = keeper.view().await.unwrap();
    assert_eq!((longer.since, &longer.notice), (closed.since, &second));
    assert!(keeper.grant(3, "eve").await.unwrap());
    assert!(keeper.reopen(3, "fay").await.unwrap());
    let open = keeper.view().await.unwrap();
    assert!(open.since >= closed.since);
    assert_eq!(open.notice, Notice::default(), "nothing is announced to anybody");
    let kept = bench.probe.rows("SELECT reason, actor, granted_by, reopened_by FROM gate").await;
    let kept: Vec<_> = kept[0].iter().map(Option::as_deref).collect();
    assert_eq!(kept, [Some("it is not over"), Some("dan"), Some("eve"), Some("fay")], "who it was is still there");
    // The next window has nothing of this one.
    keeper.announce(4).await.unwrap();
    assert!(keeper.close(3, 4, &Notice::default()).await.unwrap());
    let next = keeper.view().await.unwrap();
    assert!(next.since >= open.since);
    assert_eq!(next.notice, Notice::default());
    assert_eq!(bench.column("SELECT coalesce(granted_by, reopened_by, '-') FROM gate").await, ["-"]);
}

pub(crate) async fn a_gatekeeper_needs_the_schema<S: Store>(store: &S) {
    let (ledger, _probe) = store.open(&Setup { migrated: false, ..Setup::new(Gapless) }).await;
    let error = ledger.gatekeeper().await.err().expect("there is no schema");
    assert_eq!(error.class, ErrorClass::Broken, "{error}");
    assert!(error.message.contains("run `millrace migrate`"), "{error}");
    ledger.migrate().await.unwrap();
    ledger.gatekeeper().await.unwrap().view().await.unwrap();
}
