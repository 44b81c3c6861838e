//! Rule 8: an order of a customer with whom nothing is wrong is committed within the bound, outages not counted: after it
//! was accepted and its predecessor was committed, it waits for nobody else.

use std::collections::{BTreeMap, HashSet};

use crate::folder::{Fault, History, Order};
use crate::report::{Rule, grouped};
use crate::sent::Source;

/// What was down needs so long to be used again.
const RECOVERY: u64 = 10_000;

/// A killed worker's locks and messages come free within their leases.
const LEASES: u64 = 35_000;

/// The times in which something was down, one after another.
struct Outages {
    /// Begin, end, and how long all before it took together.
    spans: Vec<(u64, u64, u64)>,
}

impl Outages {
    fn of(faults: &[Fault]) -> Self {
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for Fault { at, until, kind, .. } in faults {
            let recovered = until.map(|until| until + RECOVERY);
            let released = matches!(kind.as_str(), "kill" | "term_kill" | "term" | "pause").then_some(at + LEASES);
            spans.extend(recovered.max(released).map(|end| (*at, end)));
        }
        spans.sort_unstable();
        let mut merged: Vec<(u64, u64, u64)> = Vec::new();
        for (begin, end) in spans {
            match merged.last_mut() {
                Some(last) if begin <= last.1 => last.1 = last.1.max(end),
                _ => {
                    let before = merged.last().map_or(0, |(begin, end, before)| before + end - begin);
                    merged.push((begin, end, before));
                }
            }
        }
        Self { spans: merged }
    }

    /// How much of the time before `at` was outage.
    fn until(&self, at: u64) -> u64 {
        let after = self.spans.partition_point(|(begin, ..)| *begin < at);
        let Some((begin, end, before)) = after.checked_sub(1).map(|index| self.spans[index]) else { return 0 };
        before + end.min(at) - begin
    }

    fn between(&self, from: u64, to: u64) -> u64 {
        self.until(to) - self.until(from)
    }
}

pub(crate) fn judge(history: &History, source: &Source) -> Rule {
    let mut rule = Rule::new(8, "waits");
    let outages = Outages::of(&history.faults);
    let skipped: HashSet<&str> = history.tombstones.iter().map(|tombstone| tombstone.customer_id.as_str()).collect();
    let mut lines: BTreeMap<&str, Vec<&Order>> = BTreeMap::new();
    for order in &history.orders {
        let customer = order.customer_id.as_str();
        if !source.planted.contains(customer) && !skipped.contains(customer) {
            lines.entry(customer).or_default().push(order);
        }
    }
    let (mut checked, mut longest) = (0, 0);
    for orders in lines.values_mut() {
        orders.sort_unstable_by_key(|order| order.position);
        let mut before = 0;
        for Order { order_id: id, committed_ms: committed, .. } in orders.iter() {
            let Some(asked) = source.orders.get(id.as_str()) else { continue };
            let since = asked.at.max(before);
            before = *committed;
            checked += 1;
            let waited = committed.saturating_sub(since);
            let bare = waited.saturating_sub(outages.between(since, *committed.max(&since)));
            longest = longest.max(bare);
            let bound = history.run.wait_bound_ms;
            if bare > bound {
                rule.broken(format_args!("{id}: waited {bare} ms without an outage, more than {bound} ms"));
            }
        }
    }
    let what = format!(
        "{} orders of {} customers, the longest wait {} ms",
        grouped(checked),
        grouped(lines.len()),
        grouped(longest)
    );
    rule.checked(checked, what)
}
