//! Orders to send, and the manifest that says what they are. Everything follows from the seed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use millrace::inbox::sqs::producer::Outgoing;

use crate::random::Random;

/// What is sent.
#[derive(Debug)]
pub struct Load {
    /// How many different orders.
    pub orders: usize,
    /// Every order once; those of a customer in their source order.
    pub manifest: PathBuf,
    /// Every order, 5 % of them twice, in the order of sending.
    messages: Vec<Outgoing>,
}

impl Load {
    /// For `gapless`: numbered orders, each sent up to a tenth of all places too late, and so are the duplicates. A
    /// customer's orders come in any order, and yet there is something to commit all the time.
    pub fn shuffled(orders: usize, customers: usize, folder: &Path, random: &mut Random) -> Self {
        let made = made(orders, customers, 1, true, random);
        let twice: Vec<usize> = (0..orders / 20).map(|_| random.index(orders)).collect();
        let mut sent: Vec<(usize, usize)> =
            (0..orders).chain(twice).map(|order| (order + random.index(orders / 10), order)).collect();
        sent.sort_unstable();
        let message = |order: usize| Outgoing { body: made[order].1.clone(), group: None, deduplication_id: None };
        let messages = sent.into_iter().map(|(_, order)| message(order)).collect();
        Self { orders, manifest: manifest(&made, folder), messages }
    }

    /// For `fifo`: a customer's orders are sent in their source order, up to `run` of them one after the other. The
    /// duplicates come later, as messages of their own.
    pub fn in_order(orders: usize, customers: usize, run: usize, folder: &Path, random: &mut Random) -> Self {
        let made = made(orders, customers, run, false, random);
        let mut sent: Vec<(usize, usize)> = (0..orders).map(|order| (order, order)).collect();
        for _ in 0..orders / 20 {
            let order = random.index(orders);
            sent.push((order + random.index(orders - order), order));
        }
        // Stable: the message itself goes before its own duplicate.
        sent.sort_by_key(|(place, _)| *place);
        let message = |(number, (_, order)): (usize, (usize, usize))| Outgoing {
            body: made[order].1.clone(),
            group: Some(made[order].0.clone()),
            deduplication_id: Some(format!("message-{number}")),
        };
        let messages = sent.into_iter().enumerate().map(message).collect();
        Self { orders, manifest: manifest(&made, folder), messages }
    }

    /// Blocks of so many orders, each complete by itself: an order and its duplicates are in one block. For `gapless`
    /// (`numbered`) a block comes in any order.
    pub fn blocks(
        blocks: usize,
        block: usize,
        customers: usize,
        numbered: bool,
        folder: &Path,
        random: &mut Random,
    ) -> Self {
        let orders = blocks * block;
        let made = made(orders, customers, 1, numbered, random);
        let mut messages = Vec::with_capacity(orders + orders / 20);
        for first in (0..orders).step_by(block) {
            let mut sent: Vec<(usize, usize)> = (first..first + block).map(|order| (order, order)).collect();
            for _ in 0..block / 20 {
                let order = first + random.index(block);
                sent.push((order + random.index(first + block - order), order));
            }
            if numbered {
                for (place, _) in &mut sent {
                    *place = random.index(block);
                }
            }
            // Stable: in source order the message itself goes before its own duplicate.
            sent.sort_by_key(|(place, _)| *place);
            for (_, order) in sent {
                let (customer, body) = &made[order];
                messages.push(Outgoing {
                    body: body.clone(),
                    group: (!numbered).then(|| customer.clone()),
                    deduplication_id: (!numbered).then(|| format!("message-{}", messages.len())),
                });
            }
        }
        Self { orders, manifest: manifest(&made, folder), messages }
    }

    /// Only the first orders were sent.
    pub fn cut(&mut self, orders: usize) {
        let text = std::fs::read_to_string(&self.manifest).unwrap();
        let kept: String = text.split_inclusive('\n').take(orders).collect();
        std::fs::write(&self.manifest, kept).unwrap();
        self.orders = orders;
    }

    /// Its messages in so many parts of equal size.
    pub fn parts(&self, count: usize) -> impl Iterator<Item = &[Outgoing]> {
        self.messages.chunks(self.messages.len().div_ceil(count))
    }

    /// All its messages.
    pub fn messages(&self) -> &[Outgoing] {
        &self.messages
    }
}

/// Orders with their customers, in their source order.
fn made(orders: usize, customers: usize, run: usize, numbered: bool, random: &mut Random) -> Vec<(String, String)> {
    let mut last = vec![0_u64; customers];
    let mut made = Vec::with_capacity(orders);
    let (mut customer, mut left) = (0, 0);
    for number in 0..orders {
        if left == 0 {
            (customer, left) = (random.index(customers), 1 + random.index(run));
        }
        left -= 1;
        last[customer] += 1;
        let sequence = if numbered { format!(r#""sequence":{},"#, last[customer]) } else { String::new() };
        let (second, quantity, price) = (number % 60, 1 + random.index(5), random.index(10_000));
        let name = format!("customer-{customer:03}");
        let body = format!(
            r#"{{"order_id":"order-{number:05}","customer_id":"{name}",{sequence}"placed_at":"2026-11-22T10:00:{second:02}Z","currency":"EUR","lines":[{{"sku":"sku-{price}","quantity":{quantity},"unit_price_minor":{price}}},{{"sku":"post","quantity":1,"unit_price_minor":490}}]}}"#
        );
        made.push((name, body));
    }
    made
}

fn manifest(made: &[(String, String)], folder: &Path) -> PathBuf {
    let path = folder.join("manifest.jsonl");
    let mut text = String::new();
    for (_, body) in made {
        writeln!(text, "{body}").unwrap();
    }
    std::fs::write(&path, text).unwrap();
    path
}
