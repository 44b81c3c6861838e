//! Rule 1: what was accepted has one end or is somewhere, nothing is there that nobody sent, and all as it was sent.

use std::collections::{HashMap, HashSet};

use crate::folder::{Customer, History, Order, Ordering, Tombstone};
use crate::report::{Rule, grouped};
use crate::sent::{Asked, Source};

/// Where everything is, by name.
struct Places<'a> {
    committed: HashMap<&'a str, Vec<&'a Order>>,
    buried: HashMap<&'a str, usize>,
    quarantined: HashSet<&'a str>,
    /// With the customer.
    parked: HashMap<&'a str, &'a str>,
    backlog: HashSet<&'a str>,
    /// By the digest of the body.
    queue: HashSet<&'a str>,
    /// A person put something else in its place.
    replaced: HashSet<&'a str>,
    /// A person decided about it.
    decided: HashSet<&'a str>,
    /// Customers whose parked orders wait for something.
    waiting: HashSet<&'a str>,
}

impl<'a> Places<'a> {
    fn of(history: &'a History, source: &Source<'a>) -> Self {
        let mut committed: HashMap<&str, Vec<&Order>> = HashMap::new();
        for order in &history.orders {
            committed.entry(&order.order_id).or_default().push(order);
        }
        let mut buried = HashMap::new();
        for name in history.tombstones.iter().filter_map(|tombstone| tombstone.order_id.as_deref()) {
            *buried.entry(name).or_default() += 1;
        }
        let decisions = |kinds: &[&str]| {
            let faults = history.faults.iter().filter(|fault| kinds.contains(&fault.kind.as_str()));
            faults.map(|fault| fault.target.as_str()).collect()
        };
        Self {
            committed,
            buried,
            quarantined: history.quarantined.iter().filter_map(|row| row.order_id.as_deref()).collect(),
            parked: history.parked.iter().map(|row| (row.order_id.as_str(), row.customer_id.as_str())).collect(),
            backlog: history.backlog.iter().map(|row| row.order_id.as_str()).collect(),
            queue: history.queue.iter().map(|row| row.body_sha256.as_str()).collect(),
            replaced: decisions(&["replace"]),
            decided: decisions(&["retry", "replace", "skip"]),
            waiting: waiting(history, source),
        }
    }

    fn is_left(&self, id: &str, asked: &Asked) -> bool {
        self.backlog.contains(id) || asked.bodies.iter().any(|(body, _)| self.queue.contains(body))
    }
}

/// Customers that are blocked, or (gapless) whose next order is not among their parked ones.
fn waiting<'a>(history: &'a History, source: &Source) -> HashSet<&'a str> {
    let customers: HashMap<&str, &Customer> =
        history.customers.iter().map(|customer| (customer.customer_id.as_str(), customer)).collect();
    let stands_next = |id: &str, customer: &Customer| {
        source.orders.get(id).and_then(|asked| asked.sequence) == Some(customer.last_position + 1)
    };
    let ready: HashSet<&str> = history
        .parked
        .iter()
        .filter(|row| {
            let customer = customers.get(row.customer_id.as_str());
            customer.is_none_or(|customer| stands_next(&row.order_id, customer))
        })
        .map(|row| row.customer_id.as_str())
        .collect();
    let gaps = history.run.ordering == Ordering::Gapless;
    let waits = |name: &str, row: &Customer| row.blocked_by.is_some() || (gaps && !ready.contains(name));
    customers.into_iter().filter(|(name, row)| waits(name, row)).map(|(name, _)| name).collect()
}

pub(crate) fn judge(history: &History, source: &Source) -> Rule {
    let mut rule = Rule::new(1, "ends");
    let places = Places::of(history, source);
    for (id, asked) in &source.orders {
        one_end(&mut rule, &places, id, asked);
        if asked.accepted.len() > 1
            && !(places.quarantined.contains(id) || places.decided.contains(id) || places.is_left(id, asked))
        {
            rule.broken(format_args!("{id}: of two bodies under this name one is nowhere"));
        }
    }
    malformed(&mut rule, history, source, &places);
    as_sent(&mut rule, history, source);
    decided(&mut rule, history, source, &places);
    let (orders, malformed) = (source.orders.len(), source.malformed.len());
    rule.checked(orders + malformed, format_args!("{} orders, {malformed} malformed messages", grouped(orders)))
}

fn one_end(rule: &mut Rule, places: &Places, id: &str, asked: &Asked) {
    let committed = places.committed.get(id).map_or(0, Vec::len);
    let buried = places.buried.get(id).copied().unwrap_or(0);
    let replaced = places.replaced.contains(id);
    match committed + buried {
        0 if replaced || asked.accepted.is_empty() => {}
        0 if places.quarantined.contains(id) || places.is_left(id, asked) => {}
        0 => match places.parked.get(id) {
            None => rule.broken(format_args!("{id}: accepted, and nowhere")),
            Some(customer) if places.waiting.contains(customer) => {}
            Some(_) => rule.broken(format_args!("{id}: parked, and waits for nothing")),
        },
        1 if replaced => rule.broken(format_args!("{id}: a person replaced it, and yet it has an end of its own")),
        1 => {}
        _ => rule.broken(format_args!("{id}: committed {committed} times, skipped {buried} times")),
    }
}

/// They are kept for a person. In backlog and parked orders they only have the name of their message.
fn malformed(rule: &mut Rule, history: &History, source: &Source, places: &Places) {
    let kept: HashSet<&str> = history.quarantined.iter().filter_map(|row| source.malformed_in(&row.body)).collect();
    let unnamed = places.parked.keys().chain(&places.backlog).filter(|id| id.starts_with('!')).count();
    let missing: Vec<_> = source
        .malformed
        .iter()
        .filter(|(marker, sent)| {
            let known = kept.contains(*marker) || places.decided.contains(*marker);
            sent.accepted == Some(true) && !known && !places.queue.contains(sent.body_sha256.as_str())
        })
        .collect();
    if missing.len() > unnamed {
        for (marker, _) in missing {
            rule.broken(format_args!("{marker}: accepted, and nowhere"));
        }
    }
}

fn as_sent(rule: &mut Rule, history: &History, source: &Source) {
    for Order { order_id: id, customer_id: customer, body_sha256: body, total_minor: total, .. } in &history.orders {
        let Some(asked) = source.orders.get(id.as_str()) else {
            rule.broken(format_args!("{id}: committed, and nobody sent it"));
            continue;
        };
        if asked.customer != customer {
            rule.broken(format_args!("{id}: committed for {customer}, and is {}'s", asked.customer));
        }
        match asked.total(body) {
            None => rule.broken(format_args!("{id}: committed with another body than was sent")),
            Some(sent) if sent != *total => {
                rule.broken(format_args!("{id}: its total is {total}, and was sent as {sent}"));
            }
            Some(_) => {}
        }
    }
    for row in &history.parked {
        let asked = source.orders.get(row.order_id.as_str());
        if !row.order_id.starts_with('!') && asked.is_none_or(|asked| asked.customer != row.customer_id) {
            rule.broken(format_args!("{}: parked for {}, and nobody sent it so", row.order_id, row.customer_id));
        }
    }
}

/// A position stays empty by a person's decision only.
fn decided(rule: &mut Rule, history: &History, source: &Source, places: &Places) {
    let mut skips: HashMap<&str, usize> = HashMap::new();
    for fault in history.faults.iter().filter(|fault| fault.kind == "skip") {
        let target = fault.target.as_str();
        let order = source.orders.get(target).map(|asked| asked.customer);
        let customer = order.or_else(|| source.malformed.get(target).map(|sent| sent.customer_id.as_str()));
        *skips.entry(customer.unwrap_or_default()).or_default() += 1;
    }
    for Tombstone { customer_id: customer, position, order_id } in &history.tombstones {
        let named = order_id.as_deref().filter(|id| !id.starts_with('!'));
        if let Some(id) = named.filter(|id| !places.decided.contains(id)) {
            rule.broken(format_args!(
                "{id}: nobody skipped it, and yet position {position} of {customer} is empty for it"
            ));
            continue;
        }
        match skips.get_mut(customer.as_str()) {
            Some(left) if *left > 0 => *left -= 1,
            _ => rule.broken(format_args!("position {position} of {customer} is empty, and nobody skipped it")),
        }
    }
}
