//! What a decision reads and writes, as both databases do it inside one transaction. What it means is in
//! [`super::steps`], once for both.
//!
//! Lock order is the engine's: the gate, then customers by name, then rows.

use std::future::Future;

use crate::ledger::{Gate, LedgerError};
use crate::order::{Order, Rank};

/// The tables, inside a transaction that is rolled back unless the decision is done.
pub(in crate::ledger) trait Desk: Send {
    /// What the gate is; unless it is closed, holds it as it is until the transaction ends.
    fn gate(&mut self) -> impl Future<Output = Result<Gate, LedgerError>> + Send;

    /// How the ledger orders, once an engine is bound to it.
    fn ordering(&mut self) -> impl Future<Output = Result<Option<String>, LedgerError>> + Send;

    /// The entry; `locked`: nobody else changes it until the transaction ends.
    fn entry(&mut self, id: &str, locked: bool) -> impl Future<Output = Result<Option<Filed>, LedgerError>> + Send;

    /// Locks the customer's row. `create`: a customer without one gets one that says that it has nothing.
    fn customer(
        &mut self,
        name: &str,
        create: bool,
    ) -> impl Future<Output = Result<Option<Customer>, LedgerError>> + Send;

    /// Where the name of an order stands.
    fn named(&mut self, order_id: &str) -> impl Future<Output = Result<Known, LedgerError>> + Send;

    /// Another entry in quarantine that is this very order.
    fn twin(
        &mut self,
        order: &Order,
        besides: &str,
    ) -> impl Future<Output = Result<Option<String>, LedgerError>> + Send;

    /// The name of what is parked at this place.
    fn parked_at(
        &mut self,
        customer: &str,
        rank: Rank,
    ) -> impl Future<Output = Result<Option<String>, LedgerError>> + Send;

    /// The highest rank of what is parked.
    fn highest(&mut self, customer: &str) -> impl Future<Output = Result<Option<Rank>, LedgerError>> + Send;

    /// What has its end at this position.
    fn end_at(
        &mut self,
        customer: &str,
        position: u64,
    ) -> impl Future<Output = Result<Option<End>, LedgerError>> + Send;

    /// The last decision about an entry.
    fn made(&mut self, id: &str) -> impl Future<Output = Result<Option<Made>, LedgerError>> + Send;

    /// Writes the customer's row back.
    fn store(&mut self, name: &str, customer: &Customer) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Parks the order; the place and the name are free.
    fn park(&mut self, order: &Order, rank: Rank) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Removes the order of this name from the parked ones.
    fn unpark(&mut self, order_id: &str) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Removes the entry from quarantine.
    fn release(&mut self, id: &str) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Leaves a position empty for good.
    fn bury(&mut self, tombstone: &Tombstone<'_>) -> impl Future<Output = Result<(), LedgerError>> + Send;

    /// Adds a row to `decisions`.
    fn record(&mut self, record: &Record<'_>) -> impl Future<Output = Result<(), LedgerError>> + Send;
}

/// An entry as it lies in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ledger) struct Filed {
    /// Its name there.
    pub(in crate::ledger) id: String,
    /// The order, when the message was one.
    pub(in crate::ledger) order_id: Option<String>,
    /// Whose it is, as far as is known.
    pub(in crate::ledger) customer: Option<String>,
    /// Its place at the source; 0 where it had none.
    pub(in crate::ledger) rank: Rank,
    /// What makes it the same.
    pub(in crate::ledger) digest: Vec<u8>,
    /// Why, in a word.
    pub(in crate::ledger) kind: String,
    /// Why, in a sentence.
    pub(in crate::ledger) reason: String,
    /// The message body.
    pub(in crate::ledger) body: Vec<u8>,
    /// Since when, as the database writes times.
    pub(in crate::ledger) created_at: String,
    /// It came from the source that the ledger belongs to now, so that its rank compares with the mark.
    pub(in crate::ledger) is_current: bool,
}

/// A customer's row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::ledger) struct Customer {
    /// The highest position that has an end.
    pub(in crate::ledger) last_position: u64,
    /// `fifo`: the highest rank that has an end.
    pub(in crate::ledger) mark: Rank,
    /// How many of its orders are parked.
    pub(in crate::ledger) parked: u64,
    /// The entry in quarantine that it waits for.
    pub(in crate::ledger) blocked_by: Option<String>,
}

/// Where the name of an order stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::ledger) struct Known {
    /// It is committed, at this position.
    pub(in crate::ledger) committed: Option<Holder>,
    /// A tombstone names it.
    pub(in crate::ledger) skipped: Option<Skipped>,
    /// It is parked, at this rank.
    pub(in crate::ledger) parked: Option<Holder>,
}

/// Who has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ledger) struct Holder {
    /// Whose it is.
    pub(in crate::ledger) customer: String,
    /// Where.
    pub(in crate::ledger) place: Rank,
    /// Which content.
    pub(in crate::ledger) digest: Vec<u8>,
}

/// A tombstone that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ledger) struct Skipped {
    /// Whose position.
    pub(in crate::ledger) customer: String,
    /// Which.
    pub(in crate::ledger) position: u64,
    /// Who decided.
    pub(in crate::ledger) actor: String,
    /// When, in UTC.
    pub(in crate::ledger) at: String,
}

/// What stands at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ledger) enum End {
    /// The order of this name.
    Order(String),
    /// Nothing, by somebody's decision.
    Skipped(Skipped),
}

/// A decision that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ledger) struct Made {
    /// What was decided: a word of `decisions.action`.
    pub(in crate::ledger) action: String,
    /// By whom.
    pub(in crate::ledger) actor: String,
    /// When, in UTC.
    pub(in crate::ledger) at: String,
    /// The digest of the order that took the entry's place.
    pub(in crate::ledger) new_digest: Option<Vec<u8>>,
    /// Its name.
    pub(in crate::ledger) new_order_id: Option<String>,
}

/// A tombstone to be written.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct Tombstone<'a> {
    /// Whose position.
    pub(in crate::ledger) customer: &'a str,
    /// Which.
    pub(in crate::ledger) position: u64,
    /// The order that has its end by it: its name, and which content.
    pub(in crate::ledger) order: Option<(&'a str, &'a [u8])>,
    /// Why.
    pub(in crate::ledger) reason: &'a str,
    /// Who decided.
    pub(in crate::ledger) actor: &'a str,
}

/// A decision to be written down.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct Record<'a> {
    /// A word of `decisions.action`.
    pub(in crate::ledger) action: &'static str,
    /// The entry as it was; none for a missing number.
    pub(in crate::ledger) entry: Option<&'a Filed>,
    /// Whose place, where it is not the entry's.
    pub(in crate::ledger) customer: Option<&'a str>,
    /// The position that a tombstone took.
    pub(in crate::ledger) position: Option<u64>,
    /// Why.
    pub(in crate::ledger) reason: Option<&'a str>,
    /// Who decided.
    pub(in crate::ledger) actor: &'a str,
    /// The order that takes the entry's place.
    pub(in crate::ledger) replacement: Option<&'a Order>,
}

/// A time as a report shows it, whatever the database wrote.
pub(in crate::ledger) fn time(text: &str) -> String {
    text.parse::<jiff::Timestamp>().map_or_else(|_| text.to_owned(), |time| time.to_string())
}
