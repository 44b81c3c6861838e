//! Rule 4: an order, its lines, its event and its customer's counter were written together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::folder::History;
use crate::report::{Rule, grouped};

pub(crate) fn judge(history: &History) -> Rule {
    let mut rule = Rule::new(4, "rows");
    events(&mut rule, history);
    lines(&mut rule, history);
    parked(&mut rule, history);
    let (orders, lines) = (history.orders.len(), history.lines.len());
    rule.checked(orders, format_args!("{} orders with {} lines", grouped(orders), grouped(lines)))
}

fn events(rule: &mut Rule, history: &History) {
    type Place<'a> = (&'a str, &'a str, u64);
    let mut balance: BTreeMap<Place, i64> = BTreeMap::new();
    for order in &history.orders {
        *balance.entry((&order.order_id, &order.customer_id, order.position)).or_default() += 1;
    }
    for event in &history.events {
        *balance.entry((&event.order_id, &event.customer_id, event.position)).or_default() -= 1;
    }
    for ((id, customer, position), left) in balance.into_iter().filter(|(_, left)| *left != 0) {
        let what = if left > 0 { "an order without its event" } else { "an event without its order" };
        rule.broken(format_args!("{id}: {what}, at position {position} of {customer}"));
    }
}

fn lines(rule: &mut Rule, history: &History) {
    let mut sums: HashMap<&str, i128> = HashMap::new();
    let mut seen = BTreeSet::new();
    for line in &history.lines {
        *sums.entry(&line.order_id).or_default() += i128::from(line.quantity) * i128::from(line.unit_price_minor);
        if !seen.insert((line.order_id.as_str(), line.line_number)) {
            rule.broken(format_args!("{}: line {} is there twice", line.order_id, line.line_number));
        }
    }
    let mut orders = BTreeSet::new();
    for order in &history.orders {
        let (id, total) = (order.order_id.as_str(), order.total_minor);
        orders.insert(id);
        match sums.get(id) {
            None => rule.broken(format_args!("{id}: an order without lines")),
            Some(sum) if *sum != i128::from(total) => {
                rule.broken(format_args!("{id}: its lines are {sum} together, and its total is {total}"));
            }
            Some(_) => {}
        }
    }
    let strays: BTreeSet<&str> = sums.keys().copied().filter(|id| !orders.contains(id)).collect();
    for id in strays {
        rule.broken(format_args!("{id}: lines without their order"));
    }
}

fn parked(rule: &mut Rule, history: &History) {
    let mut counts: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for customer in &history.customers {
        counts.entry(&customer.customer_id).or_default()[0] += customer.parked;
    }
    for row in &history.parked {
        counts.entry(&row.customer_id).or_default()[1] += 1;
    }
    for (customer, [said, rows]) in counts.into_iter().filter(|(_, [said, rows])| said != rows) {
        rule.broken(format_args!("{customer}: {rows} orders are parked, and its row says {said}"));
    }
}
