//! Runs, one or many: each from its seed, and what came of all of them.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use millrace::core::Time;
use millrace::order::Ordering;

use super::plan::Plan;
use super::tally::{Kind, Tally};
use super::world::World;
use super::{at, end};

/// An ordering, with windows or without.
pub type Way = (Ordering, bool);

pub const WAYS: [Way; 6] = [
    (Ordering::Gapless, false),
    (Ordering::Gapless, true),
    (Ordering::Fifo, false),
    (Ordering::Fifo, true),
    (Ordering::None, false),
    (Ordering::None, true),
];

/// One run: bad weather, then calm, then everything has come to its end.
pub fn run(plan: Plan) -> World {
    run_told(plan, false)
}

/// One run, told as it happens.
pub fn run_told(plan: Plan, told: bool) -> World {
    let mut world = World::new(plan);
    world.told = told;
    world.run_until(at(4_000));
    world.calm();
    end::settle(&mut world);
    end::check(&world);
    end::stop(&mut world);
    world
}

/// What came of many runs.
pub struct Proof {
    pub ways: Vec<Way>,
    pub seeds: u64,
    pub simulated: Duration,
    pub took: Duration,
    /// One for each way.
    pub tallies: Vec<Tally>,
}

impl Proof {
    /// Runs every seed in every way, and panics at the first that fails.
    pub fn run(seeds: Range<u64>, ways: &[Way], threads: usize) -> Self {
        let began = Instant::now();
        let (next, failed) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let sum = Mutex::new((Duration::ZERO, vec![Tally::new(); ways.len()]));
        let (count, runs) = (ways.len() as u64, (seeds.end - seeds.start) * ways.len() as u64);
        let run_of = |number: u64| (seeds.start + number / count, usize::try_from(number % count).unwrap());
        let work = || {
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= runs || number > failed.load(Relaxed) {
                    return;
                }
                let (seed, way) = run_of(number);
                let (ordering, windows) = ways[way];
                let run = catch_unwind(AssertUnwindSafe(|| run(Plan::draw(seed, ordering, windows))));
                let Ok(world) = run else {
                    failed.fetch_min(number, Relaxed);
                    return;
                };
                let mut sum = sum.lock().unwrap();
                sum.0 += world.now.since(Time::ZERO);
                sum.1[way].add(&world.faults.tally);
            }
        };
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        let number = failed.load(Relaxed);
        if number < u64::MAX {
            let (seed, way) = run_of(number);
            let (ordering, windows) = ways[way];
            panic!("{:?}\nagain: {}", Plan::draw(seed, ordering, windows), command(seed, ways[way]));
        }
        let (simulated, tallies) = sum.into_inner().unwrap();
        Self { ways: ways.to_vec(), seeds: seeds.end - seeds.start, simulated, took: began.elapsed(), tallies }
    }

    /// What had to happen in one of the ways and did not: without it nothing is proven.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.ways.iter().zip(&self.tallies).flat_map(|((ordering, windows), tally)| {
            let texts = tally.missing(*ordering, *windows).into_iter();
            texts.map(move |text| format!("{ordering:?}, windows {windows}: {text}"))
        });
        missing.collect()
    }

    /// How much faster than real time it went.
    pub fn ratio(&self) -> f64 {
        self.simulated.as_secs_f64() / self.took.as_secs_f64()
    }

    pub fn print(&self) {
        let mut all = Tally::new();
        self.tallies.iter().for_each(|tally| all.add(tally));
        for kind in Kind::ALL {
            println!("{:>14}  {}", all.of(*kind), kind.text());
        }
        let days = self.simulated.as_secs_f64() / 86_400.0;
        println!("{:>14}  seeds, each in {} ways", self.seeds, self.ways.len());
        println!("{:>14}  runs", self.seeds * self.ways.len() as u64);
        println!("{days:>14.2}  days simulated");
        println!("{:>14.1}  seconds of real time", self.took.as_secs_f64());
        println!("{:>14.0}  times faster than real time", self.ratio());
        println!("{:>14}  violations", 0);
    }
}

fn command(seed: u64, (ordering, windows): Way) -> String {
    let windows = if windows { "with" } else { "without" };
    format!("scripts/prove sim --from {seed} --seeds 1 --ordering {ordering} --windows {windows}")
}
