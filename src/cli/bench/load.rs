//! The orders of a bench: who orders what, which are sent twice, which are sent late.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use fastrand::Rng;
use jiff::Timestamp;

use super::Args;

/// Behind how many others at most an order is sent that is sent late, and the copy of one that is sent twice.
const LATE_MAX: usize = 50;

/// One message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    /// Whose order it is: 0 to `--customers` less one.
    pub customer: u64,
    /// Its message group, where the queue is FIFO.
    pub customer_id: String,
    pub order_id: String,
    pub body: String,
    /// It was sent before.
    pub copy: bool,
}

/// An iterator over everything that is to be sent. The same arguments and seed give the same messages.
#[derive(Debug)]
pub(super) struct Load {
    run: String,
    random: Rng,
    orders: u64,
    made: u64,
    chooser: Chooser,
    last: HashMap<u64, u64>,
    lines: u32,
    bytes: usize,
    duplicates: f64,
    shuffle: f64,
    /// What is sent later, with behind how many more.
    late: VecDeque<(usize, Planned)>,
}

/// Whose turn it is.
#[derive(Debug)]
enum Chooser {
    /// Customers take turns.
    Even(u64),
    /// The sums of the shares: customer k has one like 1 / k^s.
    Zipf(Vec<f64>),
}

impl Load {
    /// `run` names this bench: its customers and orders are those of no other.
    pub(super) fn new(args: &Args, run: &str) -> Self {
        let customers = args.customers.get();
        let chooser = match args.zipf {
            None => Chooser::Even(customers),
            Some(exponent) => {
                let mut sum = 0.0;
                Chooser::Zipf(
                    (1..=customers)
                        .map(|k| {
                            sum += float(k).powf(-exponent);
                            sum
                        })
                        .collect(),
                )
            }
        };
        Self {
            run: run.to_owned(),
            random: Rng::with_seed(args.seed),
            orders: args.orders.get(),
            made: 0,
            chooser,
            last: HashMap::new(),
            lines: args.lines,
            bytes: args.bytes,
            duplicates: args.duplicates / 100.0,
            shuffle: args.shuffle / 100.0,
            late: VecDeque::new(),
        }
    }

    fn customer(&mut self) -> u64 {
        match &self.chooser {
            Chooser::Even(customers) => self.made % customers,
            Chooser::Zipf(sums) => {
                let point = self.random.f64() * sums.last().copied().unwrap_or_default();
                let found = sums.partition_point(|sum| *sum <= point).min(sums.len() - 1);
                found as u64
            }
        }
    }

    fn make(&mut self) -> Planned {
        let customer = self.customer();
        let sequence = self.last.entry(customer).or_default();
        *sequence += 1;
        let customer_id = format!("bench-{}-c{customer:07}", self.run);
        let order_id = format!("bench-{}-{:010}", self.run, self.made);
        let mut body = format!(
            r#"{{"order_id":"{order_id}","customer_id":"{customer_id}","sequence":{sequence},"placed_at":"{}","currency":"EUR","lines":["#,
            Timestamp::now()
        );
        for line in 1..=self.lines {
            let comma = if line > 1 { "," } else { "" };
            let (quantity, price) = (self.random.u32(1..=9), self.random.u32(100..=99_999));
            let sku = self.random.u32(0..10_000);
            write!(body, r#"{comma}{{"sku":"sku-{sku:04}","quantity":{quantity},"unit_price_minor":{price}}}"#)
                .expect("writing to a string does not fail");
        }
        body.push(']');
        // With the field's own name and quotes.
        let missing = self.bytes.saturating_sub(body.len() + r#","note":""}"#.len());
        if missing > 0 {
            write!(body, r#","note":"{}""#, "x".repeat(missing)).expect("writing to a string does not fail");
        }
        body.push('}');
        self.made += 1;
        Planned { customer, customer_id, order_id, body, copy: false }
    }

    /// What was held back, and is due.
    fn due(&mut self) -> Option<Planned> {
        let ended = self.made >= self.orders;
        let at = self.late.iter().position(|(behind, _)| *behind == 0 || ended)?;
        self.late.remove(at).map(|(_, planned)| planned)
    }
}

impl Iterator for Load {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        loop {
            if let Some(planned) = self.due() {
                return Some(planned);
            }
            if self.made >= self.orders {
                return None;
            }
            let planned = self.make();
            for (behind, _) in &mut self.late {
                *behind -= 1;
            }
            if self.random.f64() < self.duplicates {
                let copy = Planned { copy: true, ..planned.clone() };
                self.late.push_back((self.random.usize(1..=LATE_MAX), copy));
            }
            if self.random.f64() < self.shuffle {
                self.late.push_back((self.random.usize(1..=LATE_MAX), planned));
            } else {
                return Some(planned);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
