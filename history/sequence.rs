//! Rule 2: a customer's positions are contiguous and in the order of the source, and so are its events.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::folder::{History, Order, Ordering};
use crate::report::{Rule, grouped};
use crate::sent::{Asked, Source};

/// One customer in the ledger.
#[derive(Default)]
struct Line<'a> {
    last_position: u64,
    orders: Vec<&'a Order>,
    /// Of orders and tombstones.
    positions: Vec<u64>,
    /// Position and number.
    events: Vec<(u64, u64)>,
}

pub(crate) fn judge(history: &History, source: &Source) -> Rule {
    let mut rule = Rule::new(2, "order");
    let mut lines: BTreeMap<&str, Line> = BTreeMap::new();
    for row in &history.customers {
        lines.entry(&row.customer_id).or_default().last_position = row.last_position;
    }
    for order in &history.orders {
        let line = lines.entry(&order.customer_id).or_default();
        line.positions.push(order.position);
        line.orders.push(order);
    }
    for tombstone in &history.tombstones {
        lines.entry(&tombstone.customer_id).or_default().positions.push(tombstone.position);
    }
    for event in &history.events {
        lines.entry(&event.customer_id).or_default().events.push((event.position, event.event_id));
    }
    let mut furthest = HashMap::new();
    for (customer, line) in &mut lines {
        contiguous(&mut rule, customer, line);
        let last = in_order(&mut rule, source, line, history.run.ordering);
        furthest.insert(*customer, last);
        line.events.sort_unstable();
        for pair in line.events.windows(2).filter(|pair| pair[0].1 >= pair[1].1) {
            let [(before, earlier), (position, event)] = [pair[0], pair[1]];
            rule.broken(format_args!(
                "{customer}: event {event} of position {position} does not follow event {earlier} of position {before}"
            ));
        }
    }
    overtaken(&mut rule, history, source, &furthest);
    let what = format!("{} orders of {} customers", grouped(history.orders.len()), grouped(lines.len()));
    rule.checked(history.orders.len(), what)
}

fn contiguous(rule: &mut Rule, customer: &str, line: &mut Line) {
    line.positions.sort_unstable();
    let mut expected = 1;
    for &position in &line.positions {
        if position < expected {
            rule.broken(format_args!("{customer}: position {position} is there twice, or below 1"));
            continue;
        }
        if position > expected {
            rule.broken(format_args!("{customer}: positions {expected} to {} are missing", position - 1));
        }
        expected = position + 1;
    }
    if line.last_position != expected - 1 {
        let last = line.last_position;
        rule.broken(format_args!("{customer}: the last position is {}, and its row says {last}", expected - 1));
    }
}

/// Returns the furthest place that is committed.
fn in_order(rule: &mut Rule, source: &Source, line: &mut Line, ordering: Ordering) -> u64 {
    line.orders.sort_unstable_by_key(|order| order.position);
    let mut last = (0, "");
    for Order { order_id: id, position, .. } in &line.orders {
        // What nobody sent has no place; rule 1 says so.
        let Some(asked) = source.orders.get(id.as_str()) else { continue };
        if asked.place < last.0 {
            rule.broken(format_args!("{id}: place {}, committed behind {}, place {}", asked.place, last.1, last.0));
        } else {
            last = (asked.place, id);
        }
        if ordering == Ordering::Gapless && asked.sequence != Some(*position) {
            rule.broken(format_args!("{id}: its position is {position}, and its sequence {:?}", asked.sequence));
        }
    }
    last.0
}

/// Nothing is committed while something before it has no end. (What is nowhere at all is a violation of rule 1.)
fn overtaken(rule: &mut Rule, history: &History, source: &Source, furthest: &HashMap<&str, u64>) {
    let replaced = history.faults.iter().filter(|fault| fault.kind == "replace").map(|fault| fault.target.as_str());
    let ended: HashSet<&str> = history
        .orders
        .iter()
        .map(|order| order.order_id.as_str())
        .chain(history.tombstones.iter().filter_map(|tombstone| tombstone.order_id.as_deref()))
        .chain(replaced)
        .collect();
    let queue: HashSet<&str> = history.queue.iter().map(|row| row.body_sha256.as_str()).collect();
    let is_queued = |asked: &Asked| asked.bodies.iter().any(|(body, _)| queue.contains(body));
    let queued = source.orders.iter().filter(|(_, asked)| is_queued(asked)).map(|(id, _)| *id);
    let waiting: BTreeSet<&str> = history
        .parked
        .iter()
        .map(|row| row.order_id.as_str())
        .chain(history.quarantined.iter().filter_map(|row| row.order_id.as_deref()))
        .chain(history.backlog.iter().map(|row| row.order_id.as_str()))
        .chain(queued)
        .filter(|id| !ended.contains(id))
        .collect();
    for id in waiting {
        if let Some(asked) = source.orders.get(id)
            && furthest.get(asked.customer).is_some_and(|last| *last > asked.place)
        {
            rule.broken(format_args!("{id}: waits, and orders of {} behind it are committed", asked.customer));
        }
    }
}
