//! Rule 8: an order of a customer with whom nothing is wrong is committed within the bound, outages not counted: after it
//! was accepted and its predecessor was committed, it waits for nobody else. How many orders met no outage at all is a
//! guard of its own: for the others the rule says little.

use std::collections::{BTreeMap, HashSet};

use crate::folder::{Fault, History, Order, Run};
use crate::report::{Rule, grouped};
use crate::sent::Source;

/// The times in which something was down, one after another.
struct Outages {
    /// Begin, end, and how long all before it took together.
    spans: Vec<(u64, u64, u64)>,
}

impl Outages {
    /// What was down needs a while to be used again; a killed worker's locks and messages come free within their leases.
    fn of(faults: &[Fault], run: &Run) -> Self {
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for Fault { at, until, kind, .. } in faults {
            let recovered = until.map(|until| until + run.recovery_ms);
            let released =
                matches!(kind.as_str(), "kill" | "term_kill" | "term" | "pause").then_some(at + run.leases_ms);
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

/// The rule, and how many orders it could judge without an outage.
pub(crate) fn judge(history: &History, source: &Source) -> (Rule, usize) {
    let mut rule = Rule::new(8, "waits");
    let outages = Outages::of(&history.faults, &history.run);
    let skipped: HashSet<&str> = history.tombstones.iter().map(|tombstone| tombstone.customer_id.as_str()).collect();
    let mut lines: BTreeMap<&str, Vec<&Order>> = BTreeMap::new();
    for order in &history.orders {
        let customer = order.customer_id.as_str();
        if !source.planted.contains(customer) && !skipped.contains(customer) {
            lines.entry(customer).or_default().push(order);
        }
    }
    let (mut checked, mut undisturbed, mut longest) = (0, 0, 0);
    for orders in lines.values_mut() {
        orders.sort_unstable_by_key(|order| order.position);
        let mut before = 0;
        for Order { order_id: id, committed_ms: committed, .. } in orders.iter() {
            let Some(asked) = source.orders.get(id.as_str()) else { continue };
            let since = asked.at.max(before);
            before = *committed;
            checked += 1;
            let waited = committed.saturating_sub(since);
            let outage = outages.between(since, *committed.max(&since));
            undisturbed += usize::from(outage == 0);
            let bare = waited.saturating_sub(outage);
            longest = longest.max(bare);
            let bound = history.run.wait_bound_ms;
            if bare > bound {
                rule.broken(format_args!("{id}: waited {bare} ms without an outage, more than {bound} ms"));
            }
        }
    }
    let what = format!(
        "{} orders ({} without an outage) of {} customers, the longest wait {} ms",
        grouped(checked),
        grouped(undisturbed),
        grouped(lines.len()),
        grouped(longest)
    );
    (rule.checked(checked, what), undisturbed)
}
