//! Runs without any weather, cut at each of their effects: whatever the shell is asked for, and whatever a store does.
//! The process dies just before the effect, or just after it; or it is carried out twice. However a run is cut, it ends
//! as it does uncut: every order has the same end, once and in order, and nothing is lost.

mod scenes;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use millrace::ledger::CaseKind;
use millrace::order::{CustomerId, Digest, EntryId, Ordering};

use super::sim::world::World;
use super::sim::world::effect::{Effect, Twist};
use super::sim::{end, ms};
use scenes::Scene;

/// Each scene is played with other settings and other times for each of them.
const SEEDS: u64 = 2;

/// What is compared: each customer's line, and what never came into one.
#[derive(Debug, PartialEq, Eq)]
struct End {
    lines: BTreeMap<CustomerId, Vec<EntryId>>,
    tombstones: Vec<(EntryId, Digest)>,
    quarantine: BTreeMap<(EntryId, Digest), CaseKind>,
}

impl End {
    fn of(world: &World) -> Self {
        let ledger = &world.ledger;
        let mut lines: BTreeMap<_, _> =
            ledger.customers.iter().map(|(name, customer)| (name.clone(), customer.line.clone())).collect();
        if ledger.ordering == Ordering::None {
            for line in lines.values_mut() {
                line.sort();
            }
        }
        let tombstones = ledger.tombstones.iter().cloned().collect();
        Self { lines, tombstones, quarantine: ledger.quarantine.clone() }
    }
}

/// Plays a scene to its end. What must hold in every run is checked on the way, by the world itself.
fn play(scene: &Scene, seed: u64, cut: Option<(usize, Twist)>) -> (End, Vec<Effect>) {
    let mut world = scene.world(seed);
    world.effects.cut = cut;
    world.start();
    world.run_until(scene.over());
    for _ in 0..1_000 {
        if end::is_quiet(&world) && end::blocked(&world).is_empty() {
            break;
        }
        let soon = world.now.after(ms(20));
        world.run_until(soon);
    }
    end::check(&world);
    let (end, effects) = (End::of(&world), world.effects.seen.clone());
    world.effects.cut = None;
    end::stop(&mut world);
    (end, effects)
}

/// Cuts a scene at every effect, in every way. Says how many effects there were, and how many cuts.
fn cut_everywhere(scene: &Scene, seed: u64) -> (usize, usize) {
    let (end, effects) = play(scene, seed, None);
    let mut cuts = 0;
    for (number, effect) in effects.iter().enumerate() {
        for twist in [Twist::DieBefore, Twist::DieAfter, Twist::Twice] {
            // What is only asked for twice is done twice, which is another effect.
            if twist == Twist::Twice && !effect.in_store {
                continue;
            }
            cuts += 1;
            let played = catch_unwind(AssertUnwindSafe(|| {
                let (cut, _) = play(scene, seed, Some((number, twist)));
                assert_eq!(cut, end, "it ends otherwise than uncut");
            }));
            if let Err(panic) = played {
                eprintln!("{}, seed {seed}: {twist:?} effect {number}, {effect:?}", scene.name);
                resume_unwind(panic);
            }
        }
    }
    (effects.len(), cuts)
}

/// Cuts a scene everywhere. It has at least so many effects, and these among them: otherwise it shows nothing.
fn hold(scene: &Scene, at_least: usize, among_them: &[&str]) {
    let (mut effects, mut cuts) = (0, 0);
    for seed in 0..SEEDS {
        let (more_effects, more_cuts) = cut_everywhere(scene, seed);
        (effects, cuts) = (effects + more_effects, cuts + more_cuts);
    }
    println!("{}: {effects} effects, cut in {cuts} ways", scene.name);
    assert!(effects >= at_least, "{}: only {effects} effects", scene.name);
    let (_, seen) = play(scene, 0, None);
    for what in among_them {
        assert!(seen.iter().any(|effect| effect.in_store && effect.what == *what), "{}: no {what}", scene.name);
    }
}

#[test]
fn a_run_is_committed() {
    hold(&scenes::plain(), 50, &["receive", "lock", "commit", "delete"]);
}

#[test]
fn an_early_order_is_parked_and_loaded() {
    hold(&scenes::early(), 100, &["park", "load", "commit", "delete"]);
}

#[test]
fn a_poisoned_head_is_retried() {
    hold(&scenes::poison(Ordering::Gapless, true), 150, &["quarantine", "park", "retry", "load", "commit"]);
}

#[test]
fn a_poisoned_head_is_skipped() {
    hold(&scenes::poison(Ordering::Gapless, false), 150, &["quarantine", "park", "skip", "load", "commit"]);
}

#[test]
fn conflicts_go_to_quarantine() {
    hold(&scenes::conflict(), 100, &["commit", "look up", "quarantine", "delete"]);
}

#[test]
fn a_malformed_message_goes_to_quarantine() {
    hold(&scenes::malformed(Ordering::Gapless), 30, &["quarantine", "commit", "delete"]);
}

#[test]
fn a_malformed_message_blocks_its_group() {
    hold(&scenes::malformed(Ordering::Fifo), 80, &["quarantine", "skip", "commit", "delete"]);
}

#[test]
fn a_window_comes_and_goes() {
    let steps = ["announce", "close", "start spooling", "grant", "announce seal", "seal", "sealed", "reopen"];
    let among_them = [steps.as_slice(), &["append", "lease", "commit", "remove", "delete"]].concat();
    for ordering in [Ordering::Gapless, Ordering::Fifo, Ordering::None] {
        hold(&scenes::window(ordering), 300, &among_them);
    }
}

#[test]
fn a_drain_meets_what_is_early_and_poisoned() {
    hold(&scenes::window_of_trouble(), 300, &["append", "park", "quarantine", "retry", "load", "remove", "reopen"]);
}

#[test]
fn a_group_comes_in_one_receive() {
    hold(&scenes::group(), 80, &["receive", "commit", "delete"]);
}

#[test]
fn a_poisoned_order_stands_in_a_group() {
    hold(&scenes::poison(Ordering::Fifo, true), 150, &["quarantine", "park", "retry", "load", "commit"]);
}

#[test]
fn a_process_is_asked_to_stop() {
    hold(&scenes::shutdown(), 100, &["commit", "set visibility", "delete"]);
}
