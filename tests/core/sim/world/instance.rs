//! One instance: its core, what it has on its way, and what it must not do.

use std::collections::{BTreeMap, BTreeSet};

use millrace::core::{Action, Core, Input, Report, Settings, Time, Work, Written};
use millrace::ledger::ErrorClass;
use millrace::order::CustomerId;
use millrace::outcome::Outcome;

use super::super::catalog::{Catalog, Parcel};
use super::super::ledger::Ledger;
use super::write::customers;

#[derive(Debug)]
pub struct Instance {
    pub boot: u64,
    pub started: Time,
    pub core: Core<Parcel>,
    pub stopping: Option<Time>,
    pub stopped: bool,
    pub report: Option<Report>,
    pub had_faults: bool,
    /// Every delivery that it got, with its end.
    pub deliveries: BTreeMap<u64, Option<Outcome>>,
    /// What it had given up before it was asked to stop.
    pub given_up: BTreeSet<u64>,
    slots: BTreeMap<usize, Work<Parcel>>,
    polls: BTreeSet<u64>,
    calls: BTreeMap<u64, bool>,
    /// Customers of commits with an unknown outcome.
    frozen: BTreeSet<CustomerId>,
}

impl Instance {
    pub fn new(boot: u64, core: Core<Parcel>, started: Time) -> Self {
        Self {
            boot,
            started,
            core,
            stopping: None,
            stopped: false,
            report: None,
            had_faults: false,
            deliveries: BTreeMap::new(),
            given_up: BTreeSet::new(),
            slots: BTreeMap::new(),
            polls: BTreeSet::new(),
            calls: BTreeMap::new(),
            frozen: BTreeSet::new(),
        }
    }

    pub fn asked_to_stop(&mut self, now: Time) {
        if self.stopping.is_none() {
            self.stopping = Some(now);
            let held: BTreeSet<u64> = self.core.held().map(|parcel| parcel.receipt).collect();
            self.given_up = self.deliveries.keys().filter(|receipt| !held.contains(receipt)).copied().collect();
        }
    }

    /// Checks an action before it is carried out.
    pub fn note(&mut self, action: &Action<Parcel>, ledger: &Ledger, catalog: &Catalog) {
        assert!(!self.stopped, "after the stop: {action:?}");
        match action {
            Action::Receive { poll, .. } => {
                assert!(self.stopping.is_none(), "it receives while it stops");
                assert!(self.polls.insert(*poll));
            }
            Action::Delete { call, payloads } => {
                self.check_call(*call, payloads, true);
                for parcel in payloads {
                    let outcome = self.deliveries[&parcel.receipt].expect("deleted before its end");
                    assert_ne!(outcome, Outcome::Returned, "deleted although it was returned");
                }
            }
            Action::SetVisibility { call, payloads, timeout } => {
                self.check_call(*call, payloads, false);
                for parcel in payloads.iter().filter(|_| timeout.is_zero()) {
                    assert_eq!(self.deliveries[&parcel.receipt], Some(Outcome::Returned));
                }
            }
            Action::Write { slot, work } => {
                self.check_frozen(work, catalog);
                assert!(self.slots.insert(*slot, work.clone()).is_none(), "two jobs for one committer");
            }
            Action::Ended { payload, outcome } => {
                let end = self.deliveries.get_mut(&payload.receipt).expect("an end without a delivery");
                assert_eq!(*end, None, "a second end: {payload:?} {outcome:?}");
                *end = Some(*outcome);
                let durable = ledger.has(catalog, payload.entry);
                assert!(*outcome == Outcome::Returned || durable, "{outcome:?} of what is nowhere: {payload:?}");
            }
            Action::Stop(report) => {
                self.stopped = true;
                self.report = Some(*report);
            }
            Action::Lock { .. } | Action::Unparked { .. } | Action::Quarantined { .. } | Action::Alarm(_) => {}
        }
    }

    fn check_call(&mut self, call: u64, payloads: &[Parcel], delete: bool) {
        assert!(self.calls.insert(call, delete).is_none());
        assert!((1..=10).contains(&payloads.len()), "{payloads:?}");
        let different: BTreeSet<u64> = payloads.iter().map(|parcel| parcel.receipt).collect();
        assert_eq!(different.len(), payloads.len(), "a handle twice in one call");
    }

    /// I11: after an unknown commit nothing of its customers is written but that commit again.
    fn check_frozen(&self, work: &Work<Parcel>, catalog: &Catalog) {
        let touched = customers(work, &|parcel| catalog.entry(parcel).customer.clone());
        let frozen = touched.iter().any(|name| self.frozen.contains(name));
        match work {
            Work::Commit { resolve, .. } => assert!(*resolve || !frozen, "I11: {work:?}"),
            // A look-up only reads, and what blocks nobody stands in no line.
            Work::LookUp(_) | Work::Quarantine { blocks: false, .. } => {}
            _ => assert!(!frozen, "I11: {work:?}"),
        }
    }

    /// Takes note of an answer before the core gets it.
    pub fn answered(&mut self, input: &Input<Parcel>) {
        match input {
            Input::Received { poll, result } => {
                assert!(self.polls.remove(poll));
                for arrival in result.iter().flatten() {
                    self.deliveries.insert(arrival.payload.receipt, None);
                }
            }
            Input::Settled { call, .. } => {
                self.calls.remove(call);
            }
            Input::Wrote { slot, written } => {
                let work = self.slots.remove(slot).expect("an answer to no job");
                if let (Work::Commit { runs, .. }, Written::Commit(result)) = (work, written) {
                    let names = runs.into_iter().map(|(name, _)| name);
                    match result.as_ref().map_err(|error| error.class) {
                        Err(ErrorClass::Unknown) => self.frozen.extend(names),
                        Ok(_) | Err(ErrorClass::Fault | ErrorClass::Taken) => {
                            names.for_each(|name| {
                                self.frozen.remove(&name);
                            });
                        }
                        Err(_) => {}
                    }
                }
            }
            Input::Wake | Input::Locked { .. } | Input::Shutdown => {}
        }
    }

    /// I12.
    pub fn check_bounds(&self, settings: &Settings) {
        let snapshot = self.core.snapshot();
        assert!(snapshot.messages <= settings.messages_max, "I12: {} messages", snapshot.messages);
        assert!(self.polls.len() <= settings.polls_max, "I12: polls");
        let deletes = self.calls.values().filter(|delete| **delete).count();
        assert!(deletes <= settings.calls_max, "I12: deletes");
        assert!(self.calls.len() - deletes <= 2 * settings.calls_max, "I12: visibility calls");
        let open = self.deliveries.values().filter(|end| end.is_none()).count();
        assert!(open <= snapshot.messages, "{open} deliveries without an end, {} held", snapshot.messages);
    }
}
