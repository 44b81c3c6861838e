//! Every order with its lines, beside what was sent.

use futures_util::TryStreamExt as _;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::manifest::{Content, Line, Manifest, NOWHERE, print, sequence};
use super::{Report, Rule, Sequence, VerifyError, during, text};

/// The body comes with the first line only: an order of 500 lines would send it 500 times.
const ORDERS: &str = "SELECT o.customer_id, CAST(o.position AS text), o.order_id, o.currency, \
        CAST(o.total_minor AS text), CASE WHEN COALESCE(l.line_number, 1) <= 1 THEN o.body END, \
        CAST(l.line_number AS text), l.sku, CAST(l.quantity AS text), CAST(l.unit_price_minor AS text) \
    FROM orders o LEFT JOIN order_lines l ON l.order_id = o.order_id \
    ORDER BY o.customer_id, o.position, o.order_id, l.line_number";

/// Everything that is known by its order id and is not an order. A message that was no order and was skipped leaves a
/// tombstone with its message id behind `!`, which no order's name begins with.
const REST: &str = "SELECT 'tombstone', order_id FROM tombstones WHERE order_id IS NOT NULL AND order_id NOT LIKE '!%' \
    UNION ALL SELECT 'parked', order_id FROM parked_orders WHERE malformed IS NULL \
    UNION ALL SELECT 'quarantined', order_id FROM quarantined_orders WHERE order_id IS NOT NULL \
        AND kind <> 'malformed' \
    UNION ALL SELECT 'decided', order_id FROM decisions WHERE order_id IS NOT NULL AND kind <> 'malformed' \
        AND action IN ('replace', 'skip')";

/// What a person put in the place of what was sent.
const REPLACED: &str = "SELECT order_id, new_body FROM decisions WHERE action = 'replace' ORDER BY decision_id";

/// One order as it is put together from its rows.
struct Stored {
    customer: Option<String>,
    position: Option<String>,
    order_id: Option<String>,
    currency: Option<String>,
    total: Option<String>,
    body: Option<String>,
    lines: Vec<Line>,
    /// The number of the last line, to know a repeated one.
    last_line: Option<String>,
    /// Columns of its lines that cannot be read.
    unreadable: Vec<&'static str>,
}

/// Where a customer's orders stand in the manifest.
#[derive(Default)]
struct Walk {
    customer: Option<String>,
    line: u64,
}

/// Judges every order.
pub(super) async fn judge(
    ledger: &mut AnyConnection,
    promised: Sequence,
    mut manifest: Option<&mut Manifest>,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let mut rows = sqlx::query(ORDERS).fetch(ledger);
    let mut open: Option<Stored> = None;
    let mut walk = Walk::default();
    while let Some(row) = rows.try_next().await.map_err(during("reading orders"))? {
        let next = Stored::from_row(&row);
        if let Some(stored) = open.take_if(|stored| !stored.is(&next)) {
            stored.judge(promised, manifest.as_deref_mut(), &mut walk, report);
        }
        open.get_or_insert(next).add_line(&row);
    }
    if let Some(stored) = open {
        stored.judge(promised, manifest, &mut walk, report);
    }
    Ok(())
}

impl Stored {
    fn from_row(row: &AnyRow) -> Self {
        Self {
            customer: text(row, 0),
            position: text(row, 1),
            order_id: text(row, 2),
            currency: text(row, 3),
            total: text(row, 4),
            body: text(row, 5),
            lines: Vec::new(),
            last_line: None,
            unreadable: Vec::new(),
        }
    }

    fn is(&self, other: &Self) -> bool {
        (&self.customer, &self.position, &self.order_id) == (&other.customer, &other.position, &other.order_id)
    }

    fn add_line(&mut self, row: &AnyRow) {
        let number = text(row, 6);
        // No line at all is a rule of its own, and so is a repeated one.
        if number.is_none() || number == self.last_line {
            return;
        }
        let whole = |column| text(row, column).and_then(|text| text.parse::<i64>().ok());
        match (text(row, 7), whole(8), whole(9)) {
            (Some(sku), Some(quantity), Some(price)) => self.lines.push(Line { sku, quantity, price }),
            (None, ..) => self.unreadable.push("sku"),
            (_, None, _) => self.unreadable.push("quantity"),
            (.., None) => self.unreadable.push("unit_price_minor"),
        }
        self.last_line = number;
    }

    fn judge(self, promised: Sequence, manifest: Option<&mut Manifest>, walk: &mut Walk, report: &mut Report) {
        let shown = self.order_id.clone().unwrap_or_else(|| "NULL".to_owned());
        let position = self.position.as_deref().and_then(|text| text.parse::<u64>().ok());
        let total = self.total.as_deref().and_then(|text| text.parse::<i64>().ok());
        let mut unreadable = self.unreadable.clone();
        for (column, is_read) in [
            ("order_id", self.order_id.is_some()),
            ("customer_id", self.customer.is_some()),
            ("position", position.is_some()),
            ("currency", self.currency.is_some()),
            ("total_minor", total.is_some()),
            ("body", self.body.is_some()),
        ] {
            if !is_read {
                unreadable.push(column);
            }
        }
        for column in &unreadable {
            report.add(Rule::Unreadable, || format!("order {shown}: {column} cannot be read"));
        }
        if let (Some(total), true, false) = (total, unreadable.is_empty(), self.lines.is_empty()) {
            let sum: i128 = self.lines.iter().map(|line| i128::from(line.quantity) * i128::from(line.price)).sum();
            if sum != i128::from(total) {
                report.add(Rule::Total, || format!("order {shown}: total_minor is {total}, the lines sum to {sum}"));
            }
        }
        let sent = self.sent(manifest, unreadable.is_empty(), report);
        if let Some(position) = position {
            match promised {
                Sequence::Gapless => {
                    let number = sent.map_or_else(|| self.body.as_deref().and_then(sequence), |sent| sent.sequence);
                    if number != Some(position) && self.body.is_some() {
                        let number = number.map_or_else(|| "missing".to_owned(), |number| number.to_string());
                        report.add(Rule::OutOfOrder, || {
                            format!("order {shown}: its sequence is {number}, its position {position}")
                        });
                    }
                }
                Sequence::Fifo => self.walk(&shown, sent, walk, report),
                Sequence::None => {}
            }
        }
    }

    /// Finds the order in the manifest, and compares.
    fn sent(&self, manifest: Option<&mut Manifest>, readable: bool, report: &mut Report) -> Option<Content> {
        let manifest = manifest?;
        let order_id = self.order_id.as_ref()?;
        let Some(sent) = manifest.orders.get_mut(order_id) else {
            report.add(Rule::Invented, || format!("order {order_id}"));
            return None;
        };
        sent.found = true;
        let (customer, currency) = (self.customer.as_ref()?, self.currency.as_ref()?);
        let print = print(customer, currency, &self.lines);
        let number = self.body.as_deref().and_then(sequence);
        let same: Vec<&Content> = sent.contents.iter().filter(|content| content.print == print).collect();
        if same.is_empty() && readable && !self.lines.is_empty() {
            report.add(Rule::Differs, || format!("order {order_id}: customer, currency or lines"));
        }
        // Of contents that differ in the sequence alone, the one that was stored.
        let stored = same.iter().find(|content| content.sequence == number).or(same.first());
        stored.copied().or(sent.contents.first()).copied()
    }

    /// `fifo`: within a customer, the lines of the manifest grow with the position.
    fn walk(&self, shown: &str, sent: Option<Content>, walk: &mut Walk, report: &mut Report) {
        let Some(sent) = sent else { return };
        if walk.customer != self.customer {
            *walk = Walk { customer: self.customer.clone(), line: 0 };
        }
        // Where it was sent cannot be said of what took the place of a message that was no order.
        if sent.line == NOWHERE {
            return;
        }
        if sent.line < walk.line {
            let line = walk.line;
            report.add(Rule::OutOfOrder, || {
                format!("order {shown}: sent in line {} of the manifest, and committed after line {line}", sent.line)
            });
        }
        walk.line = walk.line.max(sent.line);
    }
}

/// Takes the orders by which a person replaced others for sent.
pub(super) async fn accept_replaced(ledger: &mut AnyConnection, manifest: &mut Manifest) -> Result<(), VerifyError> {
    let mut rows = sqlx::query(REPLACED).fetch(ledger);
    while let Some(row) = rows.try_next().await.map_err(during("reading decisions"))? {
        if let Some(body) = text(&row, 1) {
            manifest.accept(text(&row, 0).as_deref(), body.as_bytes());
        }
    }
    Ok(())
}

/// Looks for what was sent and is not among the orders, and for what nobody sent.
pub(super) async fn judge_the_rest(
    ledger: &mut AnyConnection,
    manifest: &mut Manifest,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let mut rows = sqlx::query(REST).fetch(ledger);
    while let Some(row) = rows.try_next().await.map_err(during("reading what is no order"))? {
        let place = text(&row, 0).unwrap_or_default();
        match text(&row, 1) {
            Some(order_id) => match manifest.orders.get_mut(&order_id) {
                Some(sent) => sent.found = true,
                None => report.add(Rule::Invented, || format!("{place}: order {order_id}")),
            },
            None => report.add(Rule::Unreadable, || format!("{place}: an order_id cannot be read")),
        }
    }
    let mut lost: Vec<(&String, u64)> = manifest
        .orders
        .iter()
        .filter(|(_, sent)| !sent.found)
        .map(|(order_id, sent)| (order_id, sent.contents.first().map_or(0, |content| content.line)))
        .collect();
    lost.sort_unstable_by_key(|(_, line)| *line);
    for (order_id, line) in lost {
        report.add(Rule::Lost, || match line {
            NOWHERE => format!("order {order_id}, by which another one was replaced"),
            line => format!("order {order_id}, line {line} of the manifest"),
        });
    }
    Ok(())
}
