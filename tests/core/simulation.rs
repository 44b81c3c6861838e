//! Random runs: a few hundred seeds an ordering. A failure names its seed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use millrace::core::{Input, Route};
use millrace::order::{CustomerId, Ordering};

use super::sim::catalog::Entry;
use super::sim::chance::Chance;
use super::sim::world::{Plan, World};
use super::sim::{ms, settings};

fn plan(seed: u64, ordering: Ordering) -> Plan {
    let mut chance = Chance::new(seed.wrapping_mul(7919));
    Plan {
        seed,
        ordering,
        instances: chance.between(1, 3),
        customers: chance.between(1, 8),
        orders: chance.between(1, 16),
        planted: chance.permille(600),
        faults: chance.permille(900),
        windows: false,
        backlog: false,
    }
}

/// The same, with maintenance windows.
fn plan_of_windows(seed: u64, ordering: Ordering) -> Plan {
    let mut chance = Chance::new(seed.wrapping_mul(15_485_863));
    Plan { windows: true, backlog: chance.permille(900), ..plan(seed + 1_000_000, ordering) }
}

fn world(plan: Plan) -> World {
    let mut chance = Chance::new(plan.seed.wrapping_mul(104_729));
    let mut settings = settings(plan.ordering);
    settings.batch_max = chance.between(1, 20);
    settings.run_max = chance.between(1, 8);
    settings.committers = chance.between(1, 3);
    settings.messages_max = chance.between(20, 80);
    settings.early_wait = ms(chance.between(1, 100) as u64);
    if plan.windows {
        settings.append_max = chance.between(1, 20);
        settings.look = ms(chance.between(5, 60) as u64);
    }
    World::new(plan, settings)
}

/// One run: bad weather, then calm, then everything has come to its end.
fn run(plan: &Plan) -> World {
    let mut world = world(plan.clone());
    world.run_until(super::sim::at(4_000));
    world.calm();
    for _ in 0..40 {
        let end = world.now.after(ms(1_000));
        world.run_until(end);
        if is_quiet(&world) {
            // A person decides, until there is nothing left to decide.
            let blocked: Vec<CustomerId> = blocked(&world);
            if blocked.is_empty() {
                break;
            }
            for name in blocked {
                world.ledger.decide(&name, &mut world.catalog, &mut world.chance);
            }
        }
    }
    check_end(&world);
    stop(&mut world);
    world
}

fn blocked(world: &World) -> Vec<CustomerId> {
    let blocked = world.ledger.customers.iter().filter(|(_, customer)| customer.blocked_by.is_some());
    blocked.map(|(name, _)| name.clone()).collect()
}

fn is_quiet(world: &World) -> bool {
    world.sqs.messages.iter().all(|message| message.deleted)
        && world.instances.iter().all(|instance| instance.core.snapshot().messages == 0)
        && stuck(world).is_empty()
        && (!world.plan.windows || world.is_open())
}

/// Customers whose parked orders could be committed.
fn stuck(world: &World) -> Vec<CustomerId> {
    let ledger = &world.ledger;
    let stuck = ledger.customers.iter().filter(|(name, customer)| {
        let gapless = ledger.ordering == Ordering::Gapless;
        let stands_next = ledger.parked_of(name).any(|(rank, _)| !gapless || rank == customer.last + 1);
        customer.blocked_by.is_none() && stands_next
    });
    stuck.map(|(name, _)| name.clone()).collect()
}

fn check_end(world: &World) {
    let open: Vec<_> = world.sqs.messages.iter().filter(|message| !message.deleted).collect();
    assert!(open.is_empty(), "L1: still in SQS: {open:?}");
    assert!(blocked(world).is_empty(), "a person decided, and it is blocked again and again");
    if world.plan.windows {
        assert!(world.is_open(), "L3: the window is not over: {:?} {:?}", world.ledger.gate, world.backlog.view());
        assert!(world.backlog.rows.is_empty(), "rows are left: {:?}", world.backlog.rows);
    }
    for instance in &world.instances {
        let route = instance.core.snapshot().route;
        assert!(matches!(route, Route::Direct | Route::HalfOpen { .. }), "{route:?} although all is well");
        assert!(instance.deliveries.values().all(Option::is_some), "a delivery without an end");
        assert_eq!(instance.core.snapshot().messages, 0, "held although everything was deleted");
    }
    for (index, entry) in world.catalog.entries.iter().enumerate() {
        assert!(world.ledger.has(&world.catalog, index), "I3: lost: {entry:?}");
        let ended = world.ledger.orders.contains_key(&entry.id)
            || world.ledger.tombstones.iter().any(|(id, _)| *id == entry.id)
            || entry.malformed
            || entry.contested
            // Nothing stands behind a poisoned order in `none`: it waits for a person.
            || (entry.poison && world.plan.ordering == Ordering::None);
        assert!(ended || behind_gap(world, entry), "L1: no end, and no gap before it: {entry:?}");
    }
    for (name, customer) in &world.ledger.customers {
        assert_eq!(customer.last as usize, customer.line.len(), "I2: {name}");
        let parked = world.ledger.parked_of(name).count() as u64;
        assert_eq!(customer.parked, parked, "the counter of {name} is not its rows");
    }
}

/// A place that a conflict or a malformed message left empty holds its followers.
fn behind_gap(world: &World, entry: &Entry) -> bool {
    let Some(customer) = entry.customer.as_ref().and_then(|name| world.ledger.customers.get(name)) else {
        return false;
    };
    world.plan.planted && world.plan.ordering == Ordering::Gapless && entry.sequence > customer.last
}

/// Without faults a shutdown leaves nothing behind.
fn stop(world: &mut World) {
    world.closing = true;
    for boot in world.instances.iter().map(|instance| instance.boot).collect::<Vec<_>>() {
        for instance in world.instances.iter_mut().filter(|instance| instance.boot == boot) {
            instance.asked_to_stop(world.now);
        }
        world.input(boot, Input::Shutdown);
    }
    let deadline = world.now.after(world.settings.shutdown_budget);
    world.run_until(deadline);
    assert!(world.instances.is_empty(), "it did not stop");
}

/// Says how many orders were spooled, and how many drains there were.
fn seeds(plan: fn(u64, Ordering) -> Plan, ordering: Ordering) -> (usize, usize) {
    let (mut spooled, mut drains) = (0, 0);
    for seed in range() {
        let plan = plan(seed, ordering);
        match catch_unwind(AssertUnwindSafe(|| run(&plan))) {
            Ok(world) => {
                spooled += world.backlog.appended;
                drains += world.drained;
            }
            Err(panic) => {
                eprintln!("{plan:?}");
                resume_unwind(panic);
            }
        }
    }
    (spooled, drains)
}

/// Windows in bad weather, and often enough to mean something.
fn seeds_of_windows(ordering: Ordering) {
    let (spooled, drains) = seeds(plan_of_windows, ordering);
    eprintln!("{spooled} orders spooled, {drains} drains");
    assert!(range().count() < 100 || (spooled > 1_000 && drains > 100), "{spooled} orders spooled, {drains} drains");
}

const SEEDS: u64 = 300;

/// `MILLRACE_SEEDS=FROM..TO` runs others than the suite's.
fn range() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("MILLRACE_SEEDS") else { return 0..SEEDS };
    let (from, to) = text.split_once("..").expect("FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn gapless_holds_its_promises() {
    seeds(plan, Ordering::Gapless);
}

#[test]
fn fifo_holds_its_promises() {
    seeds(plan, Ordering::Fifo);
}

#[test]
fn none_holds_its_promises() {
    seeds(plan, Ordering::None);
}

#[test]
fn gapless_holds_its_promises_through_windows() {
    seeds_of_windows(Ordering::Gapless);
}

#[test]
fn fifo_holds_its_promises_through_windows() {
    seeds_of_windows(Ordering::Fifo);
}

#[test]
fn none_holds_its_promises_through_windows() {
    seeds_of_windows(Ordering::None);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for ordering in [Ordering::Gapless, Ordering::Fifo, Ordering::None] {
        for plan in [plan(11, ordering), plan_of_windows(11, ordering)] {
            let (one, two) = (run(&plan), run(&plan));
            assert_eq!((one.trace, one.steps), (two.trace, two.steps));
        }
    }
}
