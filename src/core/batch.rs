//! Batches: what goes to the ledger in one write, and how a failing commit is taken apart.

use super::lane::{Held, Place};
use super::time::Time;
use crate::ledger::CaseKind;
use crate::order::{CustomerId, Rank};

/// A commit: its customers' lanes are busy until it has a definite answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Batch {
    pub runs: Vec<(CustomerId, Vec<Place>)>,
    pub parked: bool,
    /// An earlier try has an unknown outcome.
    pub resolve: bool,
    /// How often it was tried.
    pub tries: u32,
    /// How often it was rolled back by a timeout or a lock.
    pub stalls: u32,
    /// How many orders this instance had committed when it first stalled.
    pub progress: u64,
    /// A single order that keeps stalling: tried alone, one such at a time.
    pub lonely: bool,
}

impl Batch {
    pub(super) fn new(runs: Vec<(CustomerId, Vec<Place>)>, parked: bool) -> Self {
        Self { runs, parked, resolve: false, tries: 0, stalls: 0, progress: 0, lonely: false }
    }

    /// Takes the batch apart: by customers, then by prefix within a customer. A prefix stands for its run; what
    /// follows it stays in its lane and is tried after it. A single order cannot be taken apart.
    pub(super) fn split(&self) -> Option<Vec<Batch>> {
        let part =
            |runs: &[(CustomerId, Vec<Place>)]| Batch { runs: runs.to_vec(), tries: 0, stalls: 0, ..self.clone() };
        match self.runs.as_slice() {
            [(customer, places)] if places.len() > 1 => {
                let prefix = places[..places.len() / 2].to_vec();
                Some(vec![part(&[(customer.clone(), prefix)])])
            }
            [] | [_] => None,
            runs => {
                let (left, right) = runs.split_at(runs.len() / 2);
                Some(vec![part(left), part(right)])
            }
        }
    }
}

/// A commit that has to be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub batch: Batch,
    pub not_before: Time,
}

/// An order that is out of its lane until the ledger says what it knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Suspect<P> {
    pub customer: CustomerId,
    pub place: Place,
    pub held: Box<Held<P>>,
}

/// An entry for quarantine that blocks nobody.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LooseCase<P> {
    pub held: Box<Held<P>>,
    pub rank: Rank,
    pub kind: CaseKind,
    pub reason: Option<String>,
}

/// What a committer is doing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Busy<P> {
    Probe,
    Commit(Batch),
    Park(Vec<(CustomerId, Place)>),
    LookUp(Vec<Suspect<P>>),
    Load(Vec<CustomerId>),
    /// The head of a lane.
    Quarantine(CustomerId, Place),
    Case(LooseCase<P>),
    /// With the gaps, or without.
    Sweep(bool),
}
