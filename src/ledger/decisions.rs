//! What a person decides about quarantined entries and missing numbers.
//!
//! Decisions are gated like parked runs (open or draining; a missing number: open), take the customer's row lock like
//! every other write, and may be repeated. Each leaves a row in `decisions`, with the entry as it was, so that nothing
//! is lost.

use std::future::Future;

use serde::Serialize;

use super::{LedgerError, Placed};
use crate::order::{CustomerId, Entry, Order};

pub(super) mod desk;
mod place;
pub(super) mod steps;

/// A connection for decisions.
pub trait Decisions: Send {
    /// Entries in quarantine, the oldest first, at most `limit` after the entry `after`.
    fn list(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Listed>, LedgerError>> + Send;

    /// One entry, whole. None: no such entry.
    fn show(&mut self, id: &str) -> impl Future<Output = Result<Option<Shown>, LedgerError>> + Send;

    /// Answers a question in one transaction, in `actor`'s name.
    fn decide(
        &mut self,
        question: Question<'_>,
        actor: &str,
    ) -> impl Future<Output = Result<Decision, LedgerError>> + Send;

    /// The entry is to be tried again as it is: moved to the parked orders, at its place, in the statement that
    /// unblocks its customer. The engine commits it like any order.
    fn retry(&mut self, id: &str, actor: &str) -> impl Future<Output = Result<Decision, LedgerError>> + Send {
        async move { self.decide(Question::Retry(id), actor).await }
    }

    /// As [`Decisions::retry`], with this order in place of the entry: at the entry's place where it blocks its
    /// customer (of the same customer, and in `gapless` of the same sequence); otherwise at its own.
    fn replace(
        &mut self,
        id: &str,
        order: &Placed,
        actor: &str,
    ) -> impl Future<Output = Result<Decision, LedgerError>> + Send {
        async move {
            match &*order.entry {
                Entry::Order(order) => self.decide(Question::Replace(id, order), actor).await,
                Entry::Malformed(malformed) => Ok(Decision::Refused(malformed.reason.clone())),
            }
        }
    }

    /// The entry is given up. Where it blocks its customer, a tombstone takes its place and what is parked goes on;
    /// elsewhere it only leaves quarantine.
    fn skip(
        &mut self,
        id: &str,
        reason: &str,
        actor: &str,
    ) -> impl Future<Output = Result<Decision, LedgerError>> + Send {
        async move { self.decide(Question::Skip(id, reason), actor).await }
    }

    /// `gapless`: the number `position` of the customer will never come: a tombstone takes its place. Only the number
    /// that stands next, of a customer that is not blocked, and only while no order is parked for it and others wait
    /// behind it. Not while the gate drains: the number may still be in the backlog.
    fn skip_gap(
        &mut self,
        customer: &CustomerId,
        position: u64,
        reason: &str,
        actor: &str,
    ) -> impl Future<Output = Result<Decision, LedgerError>> + Send {
        async move { self.decide(Question::SkipGap(customer, position, reason), actor).await }
    }
}

/// What is decided.
#[derive(Debug, Clone, Copy)]
pub enum Question<'a> {
    /// The entry is tried again.
    Retry(&'a str),
    /// This order takes its place.
    Replace(&'a str, &'a Order),
    /// It is given up, for this reason.
    Skip(&'a str, &'a str),
    /// This number of the customer never comes, for this reason.
    SkipGap(&'a CustomerId, u64, &'a str),
}

/// An entry in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name in quarantine.
    pub id: String,
    /// The order, when the message was one.
    pub order_id: Option<String>,
    /// Whose it is, as far as is known.
    pub customer_id: Option<String>,
    /// Its place at the source.
    pub rank: Option<String>,
    /// Why, in a word.
    pub kind: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Its customer waits for the decision.
    pub blocks: bool,
    /// How many orders of its customer are parked.
    pub parked_behind: u64,
    /// Since when.
    pub created_at: String,
}

/// An entry, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// What the list says.
    #[serde(flatten)]
    pub listed: Listed,
    /// The message body as it came.
    pub body: String,
}

/// What came of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Done.
    Done,
    /// It was decided before, the same way: by whom and when, in a sentence.
    Before(String),
    /// There is no such entry, and never was.
    Unknown,
    /// The gate does not allow it now.
    GateClosed,
    /// It cannot be done, and why; what to do instead, in a sentence.
    Refused(String),
}
