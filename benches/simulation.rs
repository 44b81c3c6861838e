//! Many runs of the simulator in an optimized build, by `scripts/prove sim`: the core with its own assertions, over the
//! stand-ins of `tests/core/sim`. The tests run a few hundred seeds of the same.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(unreachable_pub, reason = "a binary has no outside; pub says what the tests use")]
#![allow(dead_code, reason = "some of the simulator is there for the tests alone")]

#[path = "../tests/core"]
mod core {
    pub mod sim;
}

use std::process::ExitCode;

use clap::Parser;

use crate::core::sim::plan::Plan;
use crate::core::sim::proof::{Proof, WAYS, Way, run_told};

/// With fewer seeds of a way it may be chance that something never happened.
const SEEDS_FOR_EVERY_KIND: u64 = 300;

/// So many times faster than real time it has to be.
const RATIO_MIN: f64 = 1_000.0;

/// Runs the simulator: every seed in every way to run, on all cores.
#[derive(Parser)]
struct Asked {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this one.
    #[arg(long, value_parser = ["gapless", "fifo", "none"])]
    ordering: Option<String>,
    /// Only with or without maintenance windows.
    #[arg(long, value_parser = ["with", "without"])]
    windows: Option<String>,
    /// Tell the runs as they happen, without counting anything.
    #[arg(long)]
    tell: bool,
    /// Cargo says that this is a bench.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Asked {
    fn ways(&self) -> Vec<Way> {
        let asked = |(ordering, windows): &Way| {
            self.ordering.as_ref().is_none_or(|asked| *asked == ordering.to_string())
                && self.windows.as_ref().is_none_or(|asked| (asked == "with") == *windows)
        };
        WAYS.iter().copied().filter(asked).collect()
    }
}

fn main() -> ExitCode {
    let asked = Asked::parse();
    let ways = asked.ways();
    if asked.tell {
        for seed in asked.from..asked.from + asked.seeds {
            for (ordering, windows) in &ways {
                run_told(Plan::draw(seed, *ordering, *windows), true);
            }
        }
        return ExitCode::SUCCESS;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let proof = Proof::run(asked.from..asked.from + asked.seeds, &ways, threads);
    proof.print();
    if asked.seeds < SEEDS_FOR_EVERY_KIND {
        return ExitCode::SUCCESS;
    }
    for missing in proof.missing() {
        eprintln!("never happened: {missing}");
    }
    let ratio = proof.ratio();
    if ratio < RATIO_MIN {
        eprintln!("only {ratio:.0} times faster than real time; {RATIO_MIN} are asked for");
    }
    if proof.missing().is_empty() && ratio >= RATIO_MIN { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
