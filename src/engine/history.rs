//! The engine's event log: a line for each input that is taken and each action that is carried out, as they happen (but
//! for receives that are asked for, looks at the backlog, and alarms, and for what the log has by another line).
//!
//! Tracing target `millrace::history`, level TRACE; history/FORMAT.md has the fields. `millrace-history` judges whole
//! runs by it, and people see by it what a worker did with an order. It decides nothing, and while it is switched off
//! no line is put together.

use std::collections::BTreeSet;

use serde::Serialize;
use tracing::Level;

use super::Role;
use super::parcel::Handle;
use super::record::shown;
use crate::core::{Action, Appended, Arrival, Input, LockCall, Route, SpoolWork, Spooled, Work, Written};
use crate::inbox::Settled;
use crate::ledger::{CaseVerdict, Found, LedgerError, ParkVerdict, Verdict};
use crate::order::{Digest, EntryId, Rank};

pub(super) struct History {
    role: &'static str,
    /// The deletes on their way: an answer does not say which kind of call it is to.
    deletes: BTreeSet<u64>,
    route: &'static str,
}

/// Writes one line.
macro_rules! line {
    ($history:expr, $event:literal, $($fields:tt)*) => {
        tracing::event!(
            target: "millrace::history", Level::TRACE, event = $event, role = $history.role, $($fields)*
        )
    };
}

impl History {
    /// None where it is switched off.
    pub(super) fn new(role: Role) -> Option<Self> {
        let role = role.label();
        tracing::enabled!(target: "millrace::history", Level::TRACE).then(|| Self {
            role,
            deletes: BTreeSet::new(),
            route: "",
        })
    }

    /// Before the core takes it.
    pub(super) fn happened(&mut self, input: &Input<Handle>) {
        match input {
            Input::Wake | Input::Shutdown | Input::Spooled { spooled: Spooled::Look(_), .. } => {}
            Input::Received { poll, result } => {
                let entries = json(&result.as_ref().map_or_else(|_| Vec::new(), |arrived| arrivals(arrived)));
                line!(self, "received", poll, entries, error = result.as_ref().err().map(|error| error.class.label()));
            }
            Input::Settled { call, result } => {
                let answers = result.as_ref().ok().map(|all| each(all, settled));
                let error = result.as_ref().err().map(|error| error.class.label());
                if self.deletes.remove(call) {
                    line!(self, "deleted", call, answers, error);
                } else {
                    line!(self, "made_visible", call, answers, error);
                }
            }
            Input::Locked { call, result } => {
                let call = lock_call(*call);
                let count = |granted| result.iter().flatten().filter(|answer| **answer == granted).count();
                let error = result.is_err().then_some("away");
                line!(self, "locked", call, granted = count(true), refused = count(false), error);
            }
            Input::Wrote { slot, written } => {
                let (work, answers) = wrote(written);
                line!(self, "wrote", slot, work, answers = answers.as_ref().ok(), error = answers.as_ref().err());
            }
            Input::Spooled { slot, spooled: Spooled::Append(result) } => {
                let answer = result.as_ref().ok().map(|answer| match answer {
                    Appended::All => "all",
                    Appended::Refused(_) => "refused",
                });
                line!(self, "appended", slot, answer, error = result.as_ref().err().map(|error| error.class.label()));
            }
        }
    }

    /// Before it is carried out.
    pub(super) fn does(&mut self, action: &Action<Handle>) {
        match action {
            Action::Delete { call, payloads } => {
                self.deletes.insert(*call);
                line!(self, "delete", call, entries = each(payloads, entry));
            }
            Action::SetVisibility { call, payloads, timeout } => {
                let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                line!(self, "visibility", call, entries = each(payloads, entry), timeout_ms);
            }
            Action::Write { slot, work } => self.writes(*slot, work),
            Action::Spool { slot, work: SpoolWork::Append { epoch, orders } } => {
                line!(self, "append", slot, epoch, entries = each(orders, placed));
            }
            Action::Ended { payload, outcome } => {
                let (id, digest8) = entry(payload);
                line!(self, "ended", id = id.as_str(), digest8, outcome = outcome.label());
            }
            Action::Unparked { payload } => {
                let (id, digest8) = entry(payload);
                line!(self, "unparked", id = id.as_str(), digest8);
            }
            Action::Receive { .. }
            | Action::Lock { .. }
            | Action::Spool { work: SpoolWork::Look, .. }
            | Action::Quarantined { .. }
            | Action::Alarm(_)
            | Action::Stop(_) => {}
        }
    }

    fn writes(&self, slot: usize, work: &Work<Handle>) {
        let (mut parked, mut resolve) = (false, false);
        let (work, entries) = match work {
            Work::Probe => ("probe", "[]".to_owned()),
            Work::Commit { runs, parked: were_parked, resolve: again } => {
                (parked, resolve) = (*were_parked, *again);
                ("commit", each(runs, |(customer, run)| (customer, run.iter().map(placed).collect::<Vec<_>>())))
            }
            Work::Park(orders) => ("park", each(orders, placed)),
            Work::LookUp(orders) => ("look_up", each(orders, placed)),
            Work::Load { customers, .. } => ("load", each(customers, |customer| (customer, ""))),
            Work::Quarantine { payload, .. } => ("quarantine", json(&[entry(payload)])),
            Work::Sweep { .. } => ("sweep", "[]".to_owned()),
        };
        line!(self, "write", slot, work, resolve, parked, entries);
    }

    /// Where orders go: a line when it is another way than before.
    pub(super) fn routed(&mut self, route: &Route) {
        let epoch = if let Route::Spool { epoch, .. } = route { Some(epoch) } else { None };
        let route = shown(route).label();
        if std::mem::replace(&mut self.route, route) != route {
            line!(self, "route", route, epoch);
        }
    }
}

/// Which work it was, and its answers, or the class of its error.
fn wrote(written: &Written<Handle>) -> (&'static str, Result<String, &'static str>) {
    fn told<T>(result: &Result<T, LedgerError>, tell: impl Fn(&T) -> String) -> Result<String, &'static str> {
        result.as_ref().map(tell).map_err(|error| error.class.label())
    }
    match written {
        Written::Probe(result) => ("probe", told(result, json)),
        Written::Commit(result) => ("commit", told(result, |all| each(all, verdict))),
        Written::Park(result) => ("park", told(result, |all| each(all, |verdict| park_verdict(*verdict)))),
        Written::LookUp(result) => ("look_up", told(result, |all| each(all, found))),
        Written::Load(result) => {
            let tell = |runs: &Vec<_>| {
                each(runs, |run: &crate::core::Loaded<Handle>| {
                    (&run.customer, run.upto, run.parked, arrivals(&run.orders))
                })
            };
            ("load", told(result, tell))
        }
        Written::Quarantine(result) => ("quarantine", told(result, |verdict| json(&case_verdict(*verdict)))),
        Written::Sweep(result) => ("sweep", told(result, |(ready, _)| json(&ready.len()))),
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists of them")
}

fn each<'a, T, S: Serialize>(all: &'a [T], tell: impl Fn(&'a T) -> S) -> String {
    json(&all.iter().map(tell).collect::<Vec<_>>())
}

/// The name of an entry, and enough of its digest to tell it from others of that name.
type Name<'a> = (&'a EntryId, String);

fn name(id: &EntryId, digest: Digest) -> Name<'_> {
    let [a, b, c, d, ..] = digest.0;
    (id, format!("{:08x}", u32::from_be_bytes([a, b, c, d])))
}

fn entry(handle: &Handle) -> Name<'_> {
    name(handle.entry.id(), handle.entry.digest())
}

fn placed((_, handle): &(Rank, Handle)) -> Name<'_> {
    entry(handle)
}

fn arrivals(all: &[Arrival<Handle>]) -> Vec<Name<'_>> {
    all.iter().map(|arrival| name(&arrival.id, arrival.digest)).collect()
}

fn settled(answer: &Settled) -> &'static str {
    match answer {
        Settled::Done => "done",
        Settled::Again(_) => "again",
        Settled::Gone(_) => "gone",
    }
}

fn lock_call(call: LockCall) -> &'static str {
    match call {
        LockCall::Take => "take",
        LockCall::Renew => "renew",
        LockCall::Release => "release",
    }
}

/// The verdict, the last position (mark), how many are parked, and what of the run was known before.
fn verdict(verdict: &Verdict) -> (&'static str, Option<Rank>, Option<u64>, &[EntryId]) {
    match verdict {
        Verdict::Committed { upto, parked, known } => ("committed", Some(*upto), Some(*parked), known),
        Verdict::GateClosed => ("gate_closed", None, None, &[]),
        Verdict::Locked => ("locked", None, None, &[]),
        Verdict::Behind(upto) => ("behind", Some(*upto), None, &[]),
        Verdict::Ahead { upto, parked } => ("ahead", Some(*upto), Some(*parked), &[]),
        Verdict::Blocked => ("blocked", None, None, &[]),
    }
}

fn park_verdict(verdict: ParkVerdict) -> &'static str {
    match verdict {
        ParkVerdict::Parked => "parked",
        ParkVerdict::NotEarly => "not_early",
        ParkVerdict::Taken => "taken",
        ParkVerdict::GateClosed => "gate_closed",
        ParkVerdict::Again => "again",
    }
}

fn found(found: &Found) -> &'static str {
    match found {
        Found::Ended => "ended",
        Found::Parked => "parked",
        Found::Quarantined => "quarantined",
        Found::Conflict(_) => "conflict",
        Found::OutOfSequence => "out_of_sequence",
        Found::Absent => "absent",
    }
}

fn case_verdict(verdict: CaseVerdict) -> &'static str {
    match verdict {
        CaseVerdict::Quarantined => "quarantined",
        CaseVerdict::NotNext => "not_next",
        CaseVerdict::Blocked => "blocked",
        CaseVerdict::GateClosed => "gate_closed",
    }
}
