//! Random runs: a few hundred seeds an ordering. A failure names its seed, and the command that runs it again.

use millrace::order::Ordering;

use super::sim::plan::Plan;
use super::sim::proof::{Proof, WAYS, run};
use super::sim::tally::Tally;

/// So many for each of the six ways to run.
const SEEDS: u64 = 350;

/// Nothing is violated, every kind of fault came, and everything happened that has to follow from faults.
fn hold(ordering: Ordering, windows: bool) {
    let proof = Proof::run(0..SEEDS, &[(ordering, windows)], 1);
    proof.print();
    let missing = proof.missing();
    assert!(missing.is_empty(), "never happened in {SEEDS} seeds: {missing:#?}");
}

#[test]
fn gapless_holds_its_promises() {
    hold(Ordering::Gapless, false);
}

#[test]
fn fifo_holds_its_promises() {
    hold(Ordering::Fifo, false);
}

#[test]
fn none_holds_its_promises() {
    hold(Ordering::None, false);
}

#[test]
fn gapless_holds_its_promises_through_windows() {
    hold(Ordering::Gapless, true);
}

#[test]
fn fifo_holds_its_promises_through_windows() {
    hold(Ordering::Fifo, true);
}

#[test]
fn none_holds_its_promises_through_windows() {
    hold(Ordering::None, true);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for (ordering, windows) in WAYS {
        for seed in 11..15 {
            let one = run(Plan::draw(seed, ordering, windows));
            let two = run(Plan::draw(seed, ordering, windows));
            assert_eq!((one.trace, one.steps, one.now), (two.trace, two.steps, two.now), "{:?}", one.plan);
            assert_eq!(one.faults.tally, two.faults.tally, "{:?}", one.plan);
        }
    }
}

#[test]
fn a_batch_in_which_nothing_happened_is_no_proof() {
    assert!(Tally::new().missing(Ordering::Fifo, true).len() > 50);
}
