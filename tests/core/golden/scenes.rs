//! The scenes: what is sent, and what people do, by the clock.

use std::time::Duration;

use millrace::core::Time;
use millrace::order::{CustomerId, Ordering, Rank};

use super::super::sim::at;
use super::super::sim::catalog::Catalog;
use super::super::sim::chance::Chance;
use super::super::sim::plan::Plan;
use super::super::sim::world::{Event, World};

pub struct Scene {
    pub name: &'static str,
    catalog: Catalog,
    windows: bool,
    /// When what happens, in milliseconds.
    script: Vec<(u64, Act)>,
}

enum Act {
    /// The producer sends these entries.
    Send(Vec<usize>),
    Begin,
    End,
    /// A person waits until the customer is blocked, and retries or skips.
    Decide(&'static str, bool),
    Terminate,
}

impl Scene {
    fn new(name: &'static str, ordering: Ordering) -> Self {
        let catalog = Catalog { ordering, entries: Vec::new(), sending: Vec::new() };
        Self { name, catalog, windows: false, script: Vec::new() }
    }

    /// The customer's orders with these numbers are sent.
    fn sends(mut self, at: u64, customer: &str, numbers: impl IntoIterator<Item = Rank>) -> Self {
        let add = |number| {
            let (name, id) = (CustomerId::new(customer), format!("o-{customer}-{number}"));
            self.catalog.add(Some(name), &id, 0, number)
        };
        let entries = numbers.into_iter().map(add).collect();
        self.acts(at, Act::Send(entries))
    }

    /// The same, and the order fails until it is repaired.
    fn sends_poison(self, at: u64, customer: &str, number: Rank) -> Self {
        let mut scene = self.sends(at, customer, [number]);
        let entry = scene.catalog.entries.last_mut().unwrap();
        (entry.poison, entry.was_poison) = (true, true);
        scene
    }

    /// Another entry with this name claims what the first one has.
    fn sends_rival(mut self, at: u64, first: usize, id: &str, content: u8) -> Self {
        let (customer, sequence) = (self.catalog.entries[first].customer.clone(), self.catalog.entries[first].sequence);
        let rival = self.catalog.add(customer, id, content, sequence);
        self.catalog.contest(&[first, rival]);
        self.acts(at, Act::Send(vec![rival]))
    }

    fn sends_malformed(mut self, at: u64, group: Option<&str>) -> Self {
        let entry = self.catalog.add(group.map(CustomerId::new), "!m", 2, 0);
        self.catalog.entries[entry].malformed = true;
        self.acts(at, Act::Send(vec![entry]))
    }

    fn acts(mut self, at: u64, act: Act) -> Self {
        self.script.push((at, act));
        self
    }

    /// When the last of it has happened.
    pub fn over(&self) -> Time {
        at(self.script.iter().map(|(at, _)| *at).max().unwrap_or_default() + 20)
    }

    pub fn world(&self, seed: u64) -> World {
        let plan = Plan {
            seed,
            ordering: self.catalog.ordering,
            instances: 1,
            customers: 0,
            orders: 0,
            planted: false,
            faults: false,
            windows: self.windows,
            backlog: self.windows,
            invisible_more: Duration::from_hours(1),
        };
        let mut world = World::bare(plan, self.catalog.clone(), Chance::new(seed));
        let mut name = 0;
        for (when, act) in &self.script {
            match act {
                Act::Send(entries) => {
                    for entry in entries {
                        name += 1;
                        world.event(at(*when), Event::Send(*entry, name));
                    }
                }
                Act::Begin => world.event(at(*when), Event::Begin),
                Act::End => world.event(at(*when), Event::End),
                Act::Decide(customer, retries) => {
                    world.event(at(*when), Event::Decide(CustomerId::new(*customer), *retries));
                }
                Act::Terminate => world.event(at(*when), Event::Terminate),
            }
        }
        world
    }
}

pub fn plain() -> Scene {
    Scene::new("plain", Ordering::Gapless).sends(5, "ca", 1..=4).sends(5, "cb", 1..=2)
}

pub fn early() -> Scene {
    Scene::new("early", Ordering::Gapless).sends(5, "ca", 2..=4).sends(5, "cb", [1]).sends(300, "ca", [1])
}

pub fn poison(ordering: Ordering, retried: bool) -> Scene {
    Scene::new(if retried { "poison, retried" } else { "poison, skipped" }, ordering)
        .sends(5, "ca", [1])
        .sends_poison(6, "ca", 2)
        .sends(7, "ca", 3..=4)
        .sends(5, "cb", 1..=2)
        .acts(300, Act::Decide("ca", retried))
        .sends(350, "ca", [5])
}

/// Another content of the first order, and another order for the place of the second one; behind them it goes on.
/// They come when the first two are committed for certain, or they could win.
pub fn conflict() -> Scene {
    Scene::new("conflict", Ordering::Gapless)
        .sends(5, "ca", 1..=2)
        .sends_rival(2_200, 0, "o-ca-1", 1)
        .sends_rival(2_220, 1, "o-ca-2-x", 0)
        .sends(2_240, "ca", [3])
}

pub fn malformed(ordering: Ordering) -> Scene {
    let group = (ordering == Ordering::Fifo).then_some("ca");
    let scene = Scene::new("malformed", ordering).sends(5, "ca", [1]).sends_malformed(6, group).sends(7, "ca", [2]);
    if ordering == Ordering::Fifo { scene.acts(300, Act::Decide("ca", false)) } else { scene }
}

pub fn window(ordering: Ordering) -> Scene {
    let mut scene = Scene::new("window", ordering)
        .sends(5, "ca", 1..=2)
        .acts(100, Act::Begin)
        .sends(105, "ca", [3])
        .sends(300, "ca", [4])
        .sends(310, "cb", 1..=2)
        .acts(500, Act::End)
        .sends(520, "ca", [5])
        .sends(900, "cb", [3]);
    scene.windows = true;
    scene
}

/// In the backlog: an order whose predecessor comes later, and one that fails.
pub fn window_of_trouble() -> Scene {
    let mut scene = Scene::new("window of trouble", Ordering::Gapless)
        .sends(5, "ca", [1])
        .acts(100, Act::Begin)
        .sends(300, "ca", 3..=4)
        .sends_poison(310, "cb", 1)
        .sends(320, "cb", [2])
        .acts(500, Act::End)
        .acts(600, Act::Decide("cb", true))
        .sends(1_500, "ca", [2]);
    scene.windows = true;
    scene
}

pub fn group() -> Scene {
    Scene::new("group", Ordering::Fifo).sends(5, "ca", 1..=8).sends(5, "cb", 1..=4)
}

/// Of the orders one waits for a predecessor, so that it is handed back.
pub fn shutdown() -> Scene {
    Scene::new("shutdown", Ordering::Gapless)
        .sends(5, "ca", 1..=3)
        .sends(20, "cb", [2])
        .acts(25, Act::Terminate)
        .sends(26, "ca", [4])
        .sends(500, "cb", [1])
}
