//! Rule 6: what the gate and the backlog promise. Nothing is committed while a window is closed, nothing is appended
//! outside of one or behind a live commit within it, and in the end the gate is open beside a backlog that is sealed and
//! empty, or neither.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::folder::{Fault, Gates, History, Wrong};
use crate::line::{Role, Word};
use crate::report::{Rule, grouped};
use crate::worker::{Deed, Place};

/// A maintenance window, as the operator's commands went.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Detail {
    epoch: u64,
    closed_ms: Option<u64>,
    end_called_ms: Option<u64>,
    opened_ms: Option<u64>,
}

struct Window {
    begun: u64,
    detail: Detail,
}

pub(crate) struct Windows {
    rule: Rule,
    /// By their beginning.
    all: Vec<Window>,
    appends: usize,
    /// By the epoch: when the last append was begun that the backlog took, and where that stands.
    last_append: BTreeMap<u64, (u64, String)>,
    /// By the epoch: when the first live commit was answered that was begun after the window was closed.
    first_commit: BTreeMap<u64, (u64, String)>,
}

impl Windows {
    pub(crate) fn of(history: &History) -> Result<Self, Wrong> {
        let mut windows = Vec::new();
        for (index, fault) in history.faults.iter().enumerate().filter(|(_, fault)| fault.kind == "window") {
            let Fault { at, detail, .. } = fault;
            let detail = serde_json::from_str(detail)
                .map_err(|error| Wrong::at("faults.jsonl", index + 1, format!("detail: {error}")))?;
            windows.push(Window { begun: *at, detail });
        }
        windows.sort_by_key(|window| window.begun);
        let (last_append, first_commit) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { rule: Rule::new(6, "windows"), all: windows, appends: 0, last_append, first_commit })
    }

    /// The last window that began before this time, and the next one's beginning.
    fn around(&self, at: u64) -> (Option<&Window>, u64) {
        let after = self.all.partition_point(|window| window.begun <= at);
        let next = self.all.get(after).map_or(u64::MAX, |window| window.begun);
        (after.checked_sub(1).map(|before| &self.all[before]), next)
    }

    pub(crate) fn saw(&mut self, place: &Place, role: Role, deed: &Deed) {
        match deed {
            Deed::Append { begun_ms, epoch, entries } => self.appended(place, *begun_ms, *epoch, entries.len()),
            // What was parked may be committed while a window is drained; what is sent again may have been before it.
            Deed::Commit { begun_ms, answered_ms, resolve: false, parked: false, answer: Ok(verdicts), .. }
                if role == Role::Live && verdicts.iter().any(|verdict| verdict.word() == Word::Committed) =>
            {
                self.committed(place, *begun_ms, *answered_ms);
            }
            _ => {}
        }
    }

    /// A live commit that got through.
    fn committed(&mut self, place: &Place, begun_ms: u64, answered_ms: u64) {
        let Some(Window { detail: Detail { epoch, closed_ms: Some(closed), .. }, .. }) = self.around(begun_ms).0 else {
            return;
        };
        let epoch = *epoch;
        let is_first = self.first_commit.get(&epoch).is_none_or(|(first, _)| answered_ms < *first);
        if begun_ms > *closed && is_first {
            self.first_commit.insert(epoch, (answered_ms, place.to_string()));
        }
    }

    fn appended(&mut self, place: &Place, begun_ms: u64, epoch: u64, count: usize) {
        self.appends += 1;
        if self.last_append.get(&epoch).is_none_or(|(last, _)| begun_ms > *last) {
            self.last_append.insert(epoch, (begun_ms, place.to_string()));
        }
        match self.around(begun_ms).0 {
            None => self.rule.broken(format_args!("{place}: the backlog took {count} entries before any window")),
            Some(Window { detail: Detail { epoch, opened_ms: Some(opened), .. }, .. }) if begun_ms > *opened => {
                let late = begun_ms - opened;
                let why = format!("{place}: the backlog took {count} entries {late} ms after window {epoch} was over");
                self.rule.broken(why);
            }
            Some(_) => {}
        }
    }

    pub(crate) fn judge(mut self, history: &History) -> Rule {
        let mut violations = Vec::new();
        for order in &history.orders {
            let (Some(window), next) = self.around(order.committed_ms) else { continue };
            let Detail { epoch, closed_ms: Some(closed), end_called_ms, .. } = window.detail else { continue };
            // A window that was not ended is superseded by the next one, which is closed too.
            let until = end_called_ms.unwrap_or(next);
            if closed < order.committed_ms && order.committed_ms < until {
                let (id, late) = (&order.order_id, order.committed_ms - closed);
                violations.push(format!("{id}: committed {late} ms after window {epoch} was closed"));
            }
        }
        for violation in violations {
            self.rule.broken(violation);
        }
        for (epoch, (appended, append)) in &self.last_append {
            let commit = self.first_commit.get(epoch).filter(|(committed, _)| committed < appended);
            if let Some((_, commit)) = commit {
                let why =
                    format!("{append}: the backlog took entries in window {epoch} behind a live commit, {commit}");
                self.rule.broken(why);
            }
        }
        in_the_end(&mut self.rule, history);
        let (orders, appends, windows) = (history.orders.len(), self.appends, self.all.len());
        let what = format!("{} commits and {} appends around {windows} windows", grouped(orders), grouped(appends));
        self.rule.checked(orders + appends, what)
    }
}

fn in_the_end(rule: &mut Rule, history: &History) {
    let Gates { gate, gate_epoch, phase, backlog_epoch } = &history.gates;
    let (open, sealed) = (gate.eq_ignore_ascii_case("open"), phase.eq_ignore_ascii_case("sealed"));
    if open != sealed {
        rule.broken(format_args!(
            "the gate is {gate} (epoch {gate_epoch}) beside a backlog that is {phase} (epoch {backlog_epoch})"
        ));
    }
    if sealed && !history.backlog.is_empty() {
        rule.broken(format_args!("the backlog is sealed with {} entries in it", history.backlog.len()));
    }
}
