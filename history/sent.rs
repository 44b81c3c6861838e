//! What the producer sent, order by order.

use std::collections::{BTreeMap, BTreeSet};

use crate::folder::{Kind, Sent, Wrong};

/// One order: everything that was sent under its name.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub customer: &'a str,
    pub place: u64,
    pub sequence: Option<u64>,
    /// Each body that was sent, by its digest, and the order's total in it. More than one: a conflict.
    pub bodies: Vec<(&'a str, i64)>,
    /// Those of them that the queue took for certain.
    pub accepted: BTreeSet<&'a str>,
    /// When it was accepted first (or else sent first).
    pub at: u64,
    pub poison: bool,
    /// In how many messages the queue may have it.
    pub messages: usize,
}

impl Asked<'_> {
    /// Nothing was done to it on purpose.
    pub(crate) fn is_innocent(&self) -> bool {
        !self.poison && self.bodies.len() == 1
    }

    /// The total in this body; none when nobody sent it.
    pub(crate) fn total(&self, body_sha256: &str) -> Option<i64> {
        self.bodies.iter().find(|(body, _)| *body == body_sha256).map(|(_, total)| *total)
    }
}

#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub orders: BTreeMap<&'a str, Asked<'a>>,
    /// By the marker that is in their body.
    pub malformed: BTreeMap<&'a str, &'a Sent>,
    /// Customers whose orders were meddled with on purpose.
    pub planted: BTreeSet<&'a str>,
}

impl<'a> Source<'a> {
    pub(crate) fn of(sent: &'a [Sent]) -> Result<Self, Wrong> {
        let mut source = Self { orders: BTreeMap::new(), malformed: BTreeMap::new(), planted: BTreeSet::new() };
        // A conflict is not what its order is known by.
        let (conflicts, others): (Vec<_>, Vec<_>) =
            sent.iter().enumerate().partition(|(_, line)| line.kind == Kind::Conflict);
        for (index, line) in others.into_iter().chain(conflicts) {
            source.take(line).map_err(|why| Wrong::at("sent.jsonl", index + 1, why))?;
        }
        Ok(source)
    }

    fn take(&mut self, line: &'a Sent) -> Result<(), String> {
        if !matches!(line.kind, Kind::Order | Kind::Duplicate) && !line.customer_id.is_empty() {
            self.planted.insert(&line.customer_id);
        }
        let accepted = line.accepted == Some(true);
        if line.accepted == Some(false) {
            return Err("accepted is true or null".into());
        }
        if line.kind == Kind::Malformed {
            let known = self.malformed.entry(&line.order_id).or_insert(line);
            if accepted && known.accepted.is_none() {
                *known = line;
            }
            return Ok(());
        }
        if line.kind == Kind::Conflict && !self.orders.contains_key(line.order_id.as_str()) {
            return Err(format!("a conflict with {}, which nobody sent", line.order_id));
        }
        let asked = self.orders.entry(&line.order_id).or_insert_with(|| Asked {
            customer: &line.customer_id,
            place: line.place,
            sequence: line.sequence,
            bodies: Vec::new(),
            accepted: BTreeSet::new(),
            at: line.at,
            poison: false,
            messages: 0,
        });
        if (asked.customer, asked.place, asked.sequence) != (&line.customer_id, line.place, line.sequence) {
            return Err(format!("{} has another customer, place or sequence than before", line.order_id));
        }
        if asked.total(&line.body_sha256).is_none() {
            asked.bodies.push((&line.body_sha256, line.total_minor));
        }
        if (asked.bodies.len() > 1) != (line.kind == Kind::Conflict) {
            return Err(format!("{}: a conflict has another body than its order, and nothing else has", line.order_id));
        }
        if accepted && line.kind != Kind::Conflict {
            asked.at = if asked.accepted.is_empty() { line.at } else { asked.at.min(line.at) };
        }
        if accepted {
            asked.accepted.insert(&line.body_sha256);
        }
        asked.poison |= line.kind == Kind::Poison;
        asked.messages += 1;
        Ok(())
    }

    /// Which malformed message this body is of.
    pub(crate) fn malformed_in(&self, body: &str) -> Option<&'a str> {
        body.match_indices("malformed-").find_map(|(at, word)| {
            let digits = body[at + word.len()..].bytes().take_while(u8::is_ascii_digit).count();
            self.malformed.get_key_value(&body[at..at + word.len() + digits]).map(|(marker, _)| *marker)
        })
    }
}
