//! The model at the size that every change can wait for.

use std::collections::BTreeMap;

use millrace::order::Ordering;

use super::model::protocol::Setup;
use super::model::{Explored, explore, setup, window};

/// Explores all of them; together they must have seen all of this.
fn explore_all(setups: impl IntoIterator<Item = Setup>, seen: &[&str]) {
    let mut all = BTreeMap::new();
    let mut states = 0;
    for setup in setups {
        let explored = explore(setup.clone()).unwrap_or_else(|broken| panic!("{setup}\n{broken}"));
        let Explored { states: count, steps, depth, took, .. } = &explored;
        println!("{setup}: {count} states, {steps} steps, {depth} deep, {took:?}");
        states += count;
        all.extend(explored.seen);
    }
    println!("{states} states in all");
    for what in seen {
        assert!(all.contains_key(*what), "VOID: {what} never happened");
    }
}

#[test]
fn gapless() {
    let setup = |poison| Setup { poison, ..setup(Ordering::Gapless, &[2]) };
    let seen = ["ahead", "behind", "blocked", "park: Parked", "park: NotEarly", "found: Ended", "Write OldSnapshot"];
    explore_all([setup(false), setup(true)], &seen);
}

#[test]
fn fifo() {
    let poison = |setup: Setup| Setup { poison: true, ..setup };
    let two = setup(Ordering::Fifo, &[2]);
    let three = Setup { faults: 0, ..poison(setup(Ordering::Fifo, &[3])) };
    explore_all([two.clone(), poison(two), three], &["blocked", "park: Parked", "found: Ended"]);
}

#[test]
fn two_customers() {
    let setup = |ordering| Setup { faults: 0, poison: true, ..setup(ordering, &[2, 1]) };
    explore_all([setup(Ordering::Gapless), setup(Ordering::Fifo)], &["committed"]);
}

#[test]
fn a_window_with_faults() {
    let setups = [window(Ordering::Gapless, &[1]), window(Ordering::Fifo, &[1])];
    explore_all(setups, &["Die"]);
}

#[test]
fn a_window_over_several_orders() {
    let calm = |setup: Setup| Setup { faults: 0, ..setup };
    let poison = Setup { poison: true, ..window(Ordering::Fifo, &[1]) };
    let setups = [window(Ordering::Fifo, &[2]), poison];
    explore_all(setups.map(calm), &["Die"]);
}

#[test]
fn two_operators() {
    let window = |ordering| Setup { faults: 0, operators: 2, unseals: 1, ..window(ordering, &[1]) };
    explore_all([window(Ordering::Gapless), window(Ordering::Fifo)], &["Die"]);
}
