//! What was sent: JSON lines of order messages.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The largest message body, in bytes.
const BODY_MAX: usize = 262_144;

/// The line of what was not in the manifest.
pub(super) const NOWHERE: u64 = 0;

/// What the manifest held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Different order ids.
    pub orders: u64,
    /// Lines that repeat an order id.
    pub repeated: u64,
    /// Lines that are no order: counted, and compared with nothing.
    pub malformed: u64,
}

/// What was sent under one order id.
#[derive(Debug)]
pub(super) struct Sent {
    /// Each different content in the order of sending; nearly always one. Only one of them can be in the ledger.
    pub(super) contents: Vec<Content>,
    /// Found in the ledger.
    pub(super) found: bool,
}

/// One content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    /// The producer's number.
    pub(super) sequence: Option<u64>,
    /// The line of the manifest, which is the order of sending.
    pub(super) line: u64,
    /// What must be the same in the ledger.
    pub(super) print: Print,
}

/// A fingerprint of customer, currency and lines.
pub(super) type Print = [u8; 16];

/// Everything that was sent, a few dozen bytes an order.
pub(super) struct Manifest {
    pub(super) orders: HashMap<String, Sent>,
    pub(super) facts: Facts,
}

impl Manifest {
    /// Reads the file line by line.
    pub(super) fn read(path: &Path, needs_sequence: bool) -> io::Result<Self> {
        let mut manifest = Self { orders: HashMap::new(), facts: Facts::default() };
        let mut reader = BufReader::new(File::open(path)?);
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            if reader.read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let body = body.strip_suffix(b"\r").unwrap_or(body);
            if !body.is_empty() {
                manifest.add(line, order(body, needs_sequence));
            }
        }
        Ok(manifest)
    }

    /// Takes an order for sent that a person put in the place of another one.
    pub(super) fn accept(&mut self, original: Option<&str>, body: &[u8]) {
        let Some(order) = order(body, false) else { return };
        let sent = original.and_then(|original| self.orders.get(original)?.contents.first());
        let content = order.content(sent.map_or(NOWHERE, |content| content.line));
        let sent = self.orders.entry(order.order_id).or_insert(Sent { contents: Vec::new(), found: false });
        sent.contents.push(content);
    }

    fn add(&mut self, line: u64, order: Option<Message>) {
        let Some(order) = order else {
            self.facts.malformed += 1;
            return;
        };
        let content = order.content(line);
        match self.orders.get_mut(&order.order_id) {
            None => {
                self.facts.orders += 1;
                self.orders.insert(order.order_id, Sent { contents: vec![content], found: false });
            }
            Some(sent) => {
                self.facts.repeated += 1;
                let same = |known: &Content| known.print == content.print && known.sequence == content.sequence;
                if !sent.contents.iter().any(same) {
                    sent.contents.push(content);
                }
            }
        }
    }
}

/// A message that is an order.
struct Message {
    order_id: String,
    customer_id: String,
    sequence: Option<u64>,
    currency: String,
    lines: Vec<Line>,
}

impl Message {
    fn content(&self, line: u64) -> Content {
        Content { sequence: self.sequence, line, print: print(&self.customer_id, &self.currency, &self.lines) }
    }
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) sku: String,
    pub(super) quantity: i64,
    pub(super) price: i64,
}

/// The fingerprint; texts go in with their length, so that none runs into the next.
pub(super) fn print(customer: &str, currency: &str, lines: &[Line]) -> Print {
    let mut hash = Sha256::new();
    for text in [customer, currency] {
        hash.update(format!("{}:{text};", text.len()));
    }
    for line in lines {
        hash.update(format!("{}:{};{};{};", line.sku.len(), line.sku, line.quantity, line.price));
    }
    let whole: [u8; 32] = hash.finalize().into();
    let mut print = Print::default();
    print.copy_from_slice(&whole[..16]);
    print
}

/// The sequence that a stored body names. What else stands there, such as a number that fits nowhere, is not looked at.
pub(super) fn sequence(body: &str) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        sequence: Option<u64>,
    }
    serde_json::from_str::<Numbered>(body).ok()?.sequence
}

/// Reads a message by the published contract; `None` when it is no order.
fn order(body: &[u8], needs_sequence: bool) -> Option<Message> {
    if body.len() > BODY_MAX {
        return None;
    }
    let message: Value = serde_json::from_slice(body).ok()?;
    if has_nul(&message) {
        return None;
    }
    let field = |name: &str| message.get(name)?.as_str().map(str::to_owned);
    let named = |name: &str| field(name).filter(|text| is_name(text));
    let sequence = match message.get("sequence") {
        None | Some(Value::Null) if !needs_sequence => None,
        given => Some(given?.as_u64().filter(|number| (1..=i64::MAX as u64).contains(number))?),
    };
    let currency =
        field("currency").filter(|text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()))?;
    field("placed_at").filter(|text| is_time(text))?;
    let lines = message.get("lines")?.as_array().filter(|lines| (1..=500).contains(&lines.len()))?;
    let lines: Vec<Line> = lines.iter().map(line).collect::<Option<_>>()?;
    let total: i128 = lines.iter().map(|line| i128::from(line.quantity) * i128::from(line.price)).sum();
    i64::try_from(total).ok()?;
    Some(Message { order_id: named("order_id")?, customer_id: named("customer_id")?, sequence, currency, lines })
}

fn line(value: &Value) -> Option<Line> {
    Some(Line {
        sku: value.get("sku")?.as_str().filter(|sku| (1..=64).contains(&sku.chars().count()))?.to_owned(),
        quantity: value.get("quantity")?.as_i64().filter(|quantity| (1..=1_000_000).contains(quantity))?,
        price: value.get("unit_price_minor")?.as_i64().filter(|price| *price >= 0)?,
    })
}

fn is_name(text: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._:-".contains(letter);
    (1..=64).contains(&text.len()) && text.chars().all(allowed)
}

/// An RFC 3339 time. The library takes more than that (other zones, second 60), so the shape is looked at too.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let zone = rest.strip_prefix('.').map_or(rest, |fraction| fraction.trim_start_matches('0'));
    let fraction = rest.len() - zone.len();
    // Behind "+" and before ":", each two digits.
    let offset_is_real = || {
        let (hours, minutes) = (&text[text.len() - 5..text.len() - 3], &text[text.len() - 2..]);
        hours < "24" && minutes < "60"
    };
    (fraction == 0 || (2..=10).contains(&fraction))
        && (zone == "Z" || (matches!(zone, "+00:00" | "-00:00") && offset_is_real()))
        && &text[17..19] != "60"
        && text.parse::<jiff::Timestamp>().is_ok()
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}
