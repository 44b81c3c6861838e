//! One instance: its core, what it has on its way, and what it must not do.

use std::collections::{BTreeMap, BTreeSet};

use millrace::core::{Action, Core, Input, Report, Route, Settings, SpoolWork, Time, Work, Written};
use millrace::ledger::ErrorClass;
use millrace::order::CustomerId;
use millrace::outcome::Outcome;

use super::super::backlog::Backlog;
use super::super::catalog::{Catalog, Parcel};
use super::super::ledger::Ledger;
use super::write::customers;

/// It stands still.
#[derive(Debug)]
pub struct Pause {
    pub since: Time,
    /// Its clock stands still too.
    pub clock_stops: bool,
    /// What was answered meanwhile.
    pub waiting: Vec<Input<Parcel>>,
}

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
    pub pause: Option<Pause>,
    /// The committers whose connection was looked over.
    pub sessions: BTreeSet<usize>,
    settings: Settings,
    /// The jobs of the committers, with the time at which they were given.
    slots: BTreeMap<usize, (Time, Work<Parcel>)>,
    appenders: BTreeMap<usize, SpoolWork<Parcel>>,
    polls: BTreeSet<u64>,
    calls: BTreeMap<u64, bool>,
    /// Customers of commits with an unknown outcome, and when these were sent.
    frozen: BTreeMap<CustomerId, Time>,
}

impl Instance {
    pub fn new(boot: u64, core: Core<Parcel>, started: Time, settings: Settings) -> Self {
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
            pause: None,
            sessions: BTreeSet::new(),
            settings,
            slots: BTreeMap::new(),
            appenders: BTreeMap::new(),
            polls: BTreeSet::new(),
            calls: BTreeMap::new(),
            frozen: BTreeMap::new(),
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
    pub fn note(
        &mut self,
        action: &Action<Parcel>,
        (ledger, backlog): (&Ledger, &Backlog),
        catalog: &Catalog,
        now: Time,
    ) {
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
                assert!(!self.is_spooling(), "a write to the ledger while it spools: {work:?}");
                let before = self.slots.insert(*slot, (now, work.clone()));
                assert!(before.is_none(), "two jobs for one committer");
            }
            Action::Ended { payload, outcome } => {
                let end = self.deliveries.get_mut(&payload.receipt).expect("an end without a delivery");
                assert_eq!(*end, None, "a second end: {payload:?} {outcome:?}");
                *end = Some(*outcome);
                let spooled = backlog.has(catalog, payload.entry);
                let durable = spooled || ledger.has(catalog, payload.entry);
                assert!(*outcome == Outcome::Returned || durable, "{outcome:?} of what is nowhere: {payload:?}");
            }
            Action::Stop(report) => {
                self.stopped = true;
                self.report = Some(*report);
            }
            Action::Spool { slot, work } => {
                let before = self.appenders.insert(*slot, work.clone());
                assert!(*slot < self.settings.appenders && before.is_none(), "two jobs for one appender");
                if let SpoolWork::Append { orders, .. } = work {
                    assert!(self.is_spooling(), "an append although the route is another: {orders:?}");
                    assert!((1..=self.settings.append_max).contains(&orders.len()), "{orders:?}");
                    assert!(self.stopping.is_none(), "it appends while it stops");
                }
            }
            Action::Lock { .. } | Action::Unparked { .. } | Action::Quarantined { .. } | Action::Alarm(_) => {}
        }
    }

    fn check_call(&mut self, call: u64, payloads: &[Parcel], delete: bool) {
        assert!(self.calls.insert(call, delete).is_none());
        assert!((1..=self.settings.call_max).contains(&payloads.len()), "{payloads:?}");
        let different: BTreeSet<u64> = payloads.iter().map(|parcel| parcel.receipt).collect();
        assert_eq!(different.len(), payloads.len(), "a handle twice in one call");
    }

    /// What a committer is doing.
    pub fn job(&self, slot: usize) -> &Work<Parcel> {
        &self.slots[&slot].1
    }

    /// What an appender is doing.
    pub fn spool_job(&self, slot: usize) -> &SpoolWork<Parcel> {
        &self.appenders[&slot]
    }

    fn is_spooling(&self) -> bool {
        matches!(self.core.snapshot().route, Route::Spool { .. })
    }

    /// I11: a worker that spools may forget its unknown commits, if the gate was shut after they were sent.
    pub fn thaw(&mut self, ledger: &Ledger) {
        if !self.frozen.is_empty() && self.is_spooling() {
            let shut = ledger.gate.shut_at;
            for (name, sent) in std::mem::take(&mut self.frozen) {
                assert!(shut.is_some_and(|shut| shut >= sent), "I11: it spools, but nothing was shut for {name}");
            }
        }
    }

    /// I11: after an unknown commit nothing of its customers is written but that commit again.
    fn check_frozen(&self, work: &Work<Parcel>, catalog: &Catalog) {
        let touched = customers(work, &|parcel| catalog.entry(parcel).customer.clone());
        let frozen = touched.iter().any(|name| self.frozen.contains_key(name));
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
                let (sent, work) = self.slots.remove(slot).expect("an answer to no job");
                if written.error().is_some_and(|error| error.class.spends_session()) {
                    self.sessions.remove(slot);
                }
                if let (Work::Commit { runs, .. }, Written::Commit(result)) = (work, written) {
                    let names = runs.into_iter().map(|(name, _)| name);
                    match result.as_ref().map_err(|error| error.class) {
                        Err(ErrorClass::Unknown) => self.frozen.extend(names.map(|name| (name, sent))),
                        Ok(_) | Err(ErrorClass::Fault | ErrorClass::Taken) => {
                            names.for_each(|name| {
                                self.frozen.remove(&name);
                            });
                        }
                        Err(_) => {}
                    }
                }
            }
            Input::Spooled { slot, .. } => {
                self.appenders.remove(slot).expect("an answer to no job");
            }
            Input::Wake | Input::Locked { .. } | Input::Shutdown => {}
        }
    }

    /// I12.
    pub fn check_bounds(&self) {
        let settings = &self.settings;
        let snapshot = self.core.snapshot();
        assert!(snapshot.messages <= settings.messages_max, "I12: {} messages", snapshot.messages);
        assert!(snapshot.bytes <= settings.bytes_max, "I12: {} bytes", snapshot.bytes);
        assert!(self.polls.len() <= settings.polls_max, "I12: polls");
        let deletes = self.calls.values().filter(|delete| **delete).count();
        assert!(deletes <= settings.calls_max, "I12: deletes");
        assert!(self.calls.len() - deletes <= 2 * settings.calls_max, "I12: visibility calls");
        let open = self.deliveries.values().filter(|end| end.is_none()).count();
        assert!(open <= snapshot.messages, "{open} deliveries without an end, {} held", snapshot.messages);
    }
}
