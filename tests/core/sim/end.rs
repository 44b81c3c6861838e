//! The end of a run: the weather is calm, everything comes to its end, and what must hold then.

use millrace::core::{Input, Route};
use millrace::ledger::CaseKind;
use millrace::order::{CustomerId, Digest, EntryId, Ordering};

use super::catalog::Entry;
use super::ms;
use super::world::{Instance, World};

/// Lets everything come to its end. A person decides, until there is nothing left to decide.
pub fn settle(world: &mut World) {
    for _ in 0..40 {
        let end = world.now.after(ms(1_000));
        world.run_until(end);
        let blocked: Vec<CustomerId> = blocked(world);
        if is_quiet(world) {
            if blocked.is_empty() {
                break;
            }
            for name in blocked {
                world.person_decides(&name);
            }
        }
    }
}

pub fn blocked(world: &World) -> Vec<CustomerId> {
    let blocked = world.ledger.customers.iter().filter(|(_, customer)| customer.blocked_by.is_some());
    blocked.map(|(name, _)| name.clone()).collect()
}

pub fn is_quiet(world: &World) -> bool {
    world.sqs.messages.iter().all(|message| message.deleted)
        && world.instances.iter().all(|instance| instance.core.snapshot().messages == 0 && is_direct(instance))
        && stuck(world).is_empty()
        && stale_conflicts(world) == 0
        && (!world.plan.windows || world.is_open())
}

fn is_direct(instance: &Instance) -> bool {
    matches!(instance.core.snapshot().route, Route::Direct | Route::HalfOpen { .. })
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

pub fn check(world: &World) {
    let open: Vec<_> = world.sqs.messages.iter().filter(|message| !message.deleted).collect();
    assert!(open.is_empty(), "L1: still in SQS: {open:?}");
    assert!(blocked(world).is_empty(), "a person decided, and they are blocked again and again: {:?}", blocked(world));
    if world.plan.windows {
        assert!(world.is_open(), "L3: the window is not over: {:?} {:?}", world.ledger.gate, world.backlog.view());
        assert!(world.backlog.rows.is_empty(), "rows are left: {:?}", world.backlog.rows);
    }
    for instance in &world.instances {
        assert!(is_direct(instance), "{:?} although all is well", instance.core.snapshot().route);
        assert!(instance.deliveries.values().all(Option::is_some), "a delivery without an end");
        assert_eq!(instance.core.snapshot().messages, 0, "held although everything was deleted");
    }
    for (index, entry) in world.catalog.entries.iter().enumerate() {
        assert!(world.ledger.has(&world.catalog, index), "I3: lost: {entry:?}");
        let key = (entry.id.clone(), entry.digest);
        let ended = world.ledger.has_end(&entry.id, entry.digest) || world.ledger.skipped.contains(&key);
        let waits = world.ledger.quarantine.get(&key).is_some_and(|kind| match kind {
            CaseKind::Malformed | CaseKind::Conflict => true,
            // Nothing stands behind a poisoned order in `none`.
            CaseKind::Poison => world.plan.ordering == Ordering::None,
            CaseKind::OutOfSequence => false,
        });
        assert!(ended || waits || behind_gap(world, entry), "L1: no end, and no gap before it: {entry:?}");
    }
    assert_eq!(stale_conflicts(world), 0, "a person sees a conflict that is none");
    for (name, customer) in &world.ledger.customers {
        assert_eq!(customer.last as usize, customer.line.len(), "I2: {name}");
        let parked = world.ledger.parked_of(name).count() as u64;
        assert_eq!(customer.parked, parked, "the counter of {name} is not its rows");
    }
}

/// How many orders are committed and lie in quarantine too, as conflicts: a look-up found another content parked, and
/// its answer was old when the case was written. A sweep removes them.
fn stale_conflicts(world: &World) -> usize {
    let committed = |(id, digest): &(EntryId, Digest)| world.ledger.orders.get(id).is_some_and(|(_, d)| d == digest);
    let stale = world.ledger.quarantine.iter().filter(|(entry, _)| committed(entry));
    stale.inspect(|(entry, kind)| assert_eq!(**kind, CaseKind::Conflict, "I1: {entry:?}")).count()
}

/// A place that a conflict or a malformed message left empty holds its followers.
fn behind_gap(world: &World, entry: &Entry) -> bool {
    let Some(customer) = entry.customer.as_ref().and_then(|name| world.ledger.customers.get(name)) else {
        return false;
    };
    world.plan.planted && world.plan.ordering == Ordering::Gapless && entry.sequence > customer.last
}

/// Without faults a shutdown leaves nothing behind.
pub fn stop(world: &mut World) {
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
