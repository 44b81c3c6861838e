//! Rule 3: the team's effect ran once for each order, in order. Each customer's chain of digests is made again from what
//! was sent; one value proves the order, the completeness and the content of the whole line.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::folder::{Chain, History};
use crate::report::{Rule, grouped};
use crate::sent::{Asked, Source};

/// An item of a chain: its place, its name, the digest of its body, its total.
type Item<'a> = (u64, &'a str, &'a str, i64);

pub(crate) fn judge(history: &History, source: &Source) -> Rule {
    let mut rule = Rule::new(3, "chain");
    let bodies: HashMap<&str, &str> =
        history.orders.iter().map(|order| (order.order_id.as_str(), order.body_sha256.as_str())).collect();
    let mut lines: BTreeMap<&str, Vec<Item>> = BTreeMap::new();
    for (id, asked) in &source.orders {
        if let Some(body) = bodies.get(id) {
            let (body, total) = sent(asked, body);
            lines.entry(asked.customer).or_default().push((asked.place, id, body, total));
        }
    }
    let mut rows: HashMap<&str, Vec<&Chain>> = HashMap::new();
    for row in &history.chains {
        rows.entry(&row.customer_id).or_default().push(row);
    }
    let customers: BTreeSet<&str> = lines.keys().chain(rows.keys()).copied().collect();
    for customer in &customers {
        let items = lines.get_mut(customer).map_or(&mut [][..], |items| items);
        items.sort_unstable();
        match rows.get(customer).map_or(&[][..], |rows| rows) {
            [row] => compare(&mut rule, row, items),
            rows => rule.broken(format_args!("{customer}: {} chains, for {} orders", rows.len(), items.len())),
        }
    }
    let items: usize = lines.values().map(Vec::len).sum();
    rule.checked(items, format_args!("{} orders in {} chains", grouped(items), grouped(customers.len())))
}

/// Which of the bodies that were sent is in the chain: the committed one, where there is a choice.
fn sent<'a>(asked: &Asked<'a>, committed: &str) -> (&'a str, i64) {
    *asked.bodies.iter().find(|(body, _)| *body == committed).unwrap_or(&asked.bodies[0])
}

fn compare(rule: &mut Rule, row: &Chain, items: &[Item]) {
    let mut link = String::new();
    for (_, id, body, _) in items {
        link = hex(&format!("{link}{id}:{body}"));
    }
    let total: i64 = items.iter().map(|item| item.3).sum();
    let Chain { customer_id: customer, orders, total_minor, link: found } = row;
    if (*orders, *total_minor) != (items.len() as u64, total) {
        let count = items.len();
        rule.broken(format_args!(
            "{customer}: the effect ran for {orders} orders with {total_minor}, not for {count} with {total}"
        ));
    }
    if *found != link {
        rule.broken(format_args!("{customer}: the chain's link is {found}, and {link} by what was sent"));
    }
}

fn hex(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text) {
        write!(hex, "{byte:02x}").expect("a text takes everything");
    }
    hex
}
