//! The model at a size that takes hours, in an optimized build, by `scripts/prove model`. The tests explore small cases.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(unreachable_pub, reason = "a binary has no outside; pub says what the tests use")]
#![allow(dead_code, reason = "some of the simulator is there for the tests alone")]

#[path = "../tests/core"]
mod core {
    pub mod model;
    pub mod sim;
}

use std::process::ExitCode;

use clap::Parser;
use millrace::order::Ordering;

use crate::core::model::protocol::Setup;
use crate::core::model::{explore, setup, window};

/// Explores every case, one after the other.
#[derive(Parser)]
struct Asked {
    /// Only this one, by its number.
    #[arg(long)]
    case: Option<usize>,
    /// Cargo says that this is a bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let asked = Asked::parse();
    let cases = thorough();
    if asked.case.is_some_and(|case| case >= cases.len()) {
        eprintln!("there are cases 0 to {}", cases.len() - 1);
        return ExitCode::from(2);
    }
    let mut states = 0;
    for (number, setup) in cases.into_iter().enumerate() {
        if asked.case.is_some_and(|case| case != number) {
            continue;
        }
        println!("{number}: {setup}");
        match explore(setup) {
            Ok(explored) => {
                states += explored.states;
                println!(
                    "    {} states, {} steps, {} deep, {:?}",
                    explored.states, explored.steps, explored.depth, explored.took
                );
            }
            Err(broken) => {
                eprintln!("{broken}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{states} states, every invariant holds in each, and from each the finished state can be reached");
    ExitCode::SUCCESS
}

/// What takes longer than the tests may.
fn thorough() -> Vec<Setup> {
    let mut setups = Vec::new();
    for ordering in [Ordering::Gapless, Ordering::Fifo] {
        let twice = |setup: Setup| Setup { faults: 2, ..setup };
        let calm = |setup: Setup| Setup { faults: 0, ..setup };
        let poison = |setup: Setup| Setup { poison: true, ..setup };
        let operators = |setup: Setup| Setup { operators: 2, unseals: 1, ..setup };
        setups.extend([
            twice(setup(ordering, &[2])),
            poison(twice(setup(ordering, &[1]))),
            setup(ordering, &[3]),
            calm(poison(setup(ordering, &[3]))),
            poison(setup(ordering, &[2])),
            Setup { committers: 2, ..setup(ordering, &[2]) },
            setup(ordering, &[1, 1]),
            calm(poison(setup(ordering, &[2, 1]))),
            twice(window(ordering, &[1])),
            poison(window(ordering, &[1])),
            window(ordering, &[2]),
            calm(poison(window(ordering, &[2]))),
            calm(window(ordering, &[1, 1])),
            operators(window(ordering, &[1])),
            calm(Setup { begins: 2, operators: 2, ..window(ordering, &[1]) }),
            calm(operators(window(ordering, &[2]))),
            twice(setup(ordering, &[1, 1])),
        ]);
    }
    setups
}
