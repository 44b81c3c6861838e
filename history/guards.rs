//! Rule 9: a run proves something only where something happened. Each guard counts one thing; run.json says how many of
//! it there must be, or that this configuration has none.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::folder::History;
use crate::line::{Case, Name, Park, Role, Verdict, Word};
use crate::sent::Source;
use crate::worker::Deed;

/// What can be done to a run, as faults.jsonl names it.
pub(crate) const FAULTS: [&str; 22] = [
    "kill",
    "pause",
    "term_kill",
    "term",
    "ledger_restart",
    "ledger_crash",
    "ledger_read_only",
    "backlog_restart",
    "backlog_crash",
    "redis_flush",
    "redis_restart",
    "sqs_throttle",
    "sqs_outage",
    "net_latency",
    "net_reset",
    "net_black_hole",
    "net_cut",
    "net_slow_close",
    "window",
    "retry",
    "replace",
    "skip",
];

/// What the workers met.
const MET: [&str; 12] = [
    "redelivered",
    "ambiguous_committed",
    "ambiguous_rolled_back",
    "stale_refused",
    "parked",
    "unparked",
    "spooled",
    "drained",
    "duplicates",
    "poisoned",
    "shared_receives",
    "undisturbed",
];

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FAULTS.into_iter().chain(MET)
}

#[derive(Debug)]
pub(crate) struct Guard {
    pub name: &'static str,
    pub count: usize,
    /// None: this configuration has none.
    pub needed: Option<u64>,
}

/// What is counted in the logs of the workers.
pub(crate) struct Seen<'a> {
    source: &'a Source<'a>,
    counts: BTreeMap<&'static str, usize>,
    /// How often each name was received, by all processes.
    receives: HashMap<Box<str>, usize>,
    poisoned: BTreeSet<Box<str>>,
    /// Of this process: what was in a commit of which nobody knew the outcome, and in which one.
    unknown: HashMap<(Role, Name), usize>,
    /// The commits of which it is not known yet.
    unresolved: HashSet<usize>,
    commits: usize,
    /// When this process received an entry last.
    received_ms: HashMap<Name, u64>,
    /// What this process has committed, or may have.
    own: HashSet<Name>,
    /// Names that some process was told to have committed itself.
    told: HashSet<Box<str>>,
    /// Commits that seem to have been written before their answer was lost: unless another process wrote their orders.
    written_before: Vec<Vec<Box<str>>>,
    /// What was refused to a process because another one had committed it: and when the first one had received it.
    refused: Vec<(Box<str>, u64)>,
}

impl<'a> Seen<'a> {
    pub(crate) fn new(source: &'a Source<'a>) -> Self {
        Self {
            source,
            counts: BTreeMap::new(),
            receives: HashMap::new(),
            poisoned: BTreeSet::new(),
            unknown: HashMap::new(),
            unresolved: HashSet::new(),
            commits: 0,
            received_ms: HashMap::new(),
            own: HashSet::new(),
            told: HashSet::new(),
            written_before: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// A process that ended does not find out any more.
    pub(crate) fn next_process(&mut self) {
        self.unknown.clear();
        self.unresolved.clear();
        self.received_ms.clear();
        self.own.clear();
    }

    fn add(&mut self, name: &'static str, count: usize) {
        *self.counts.entry(name).or_default() += count;
    }

    pub(crate) fn saw(&mut self, role: Role, deed: &Deed) {
        match deed {
            Deed::Received { at_ms, entries } => {
                // What the drain reads from the backlog is no delivery.
                if role == Role::Live {
                    self.received(*at_ms, entries);
                }
            }
            Deed::Commit { resolve, runs, answer: Ok(verdicts), .. } => self.judged(role, *resolve, runs, verdicts),
            Deed::Commit { runs, answer: Err(error), .. } => {
                if error == "unknown_outcome" {
                    self.commits += 1;
                    self.unresolved.insert(self.commits);
                    let names = runs.iter().flatten();
                    self.own.extend(names.clone().cloned());
                    self.unknown.extend(names.map(|name| ((role, name.clone()), self.commits)));
                }
            }
            Deed::Park(answers) => {
                self.add("parked", answers.iter().filter(|(_, answer)| *answer == Park::Parked).count());
            }
            Deed::Quarantine(Name(id, _), Case::Quarantined) => {
                if self.source.orders.get(&**id).is_some_and(|asked| asked.poison) {
                    self.poisoned.insert(id.clone());
                }
            }
            Deed::Append { entries, .. } => self.add("spooled", entries.len()),
            Deed::Ended { outcome } => self.add("duplicates", usize::from(outcome == "duplicate")),
            Deed::Unparked => self.add("unparked", 1),
            Deed::Quarantine(..) | Deed::LookUp(_) | Deed::Delete(_) => {}
        }
    }

    fn received(&mut self, at_ms: u64, entries: &[Name]) {
        let mut customers = HashSet::new();
        let mut shared = false;
        for name in entries {
            let Name(id, _) = name;
            self.received_ms.insert(name.clone(), at_ms);
            *self.receives.entry(id.clone()).or_default() += 1;
            shared |= self.source.orders.get(&**id).is_some_and(|asked| !customers.insert(asked.customer));
        }
        self.add("shared_receives", usize::from(shared));
    }

    fn judged(&mut self, role: Role, resolve: bool, runs: &[Vec<Name>], verdicts: &[Verdict]) {
        let (mut written, mut commits) = (0, BTreeMap::<usize, Vec<Box<str>>>::new());
        for (run, verdict) in runs.iter().zip(verdicts) {
            let (word, known) = (verdict.word(), verdict.known().len());
            let (new, old) = match word {
                Word::Committed => (run.len() - known, known),
                Word::Behind => (0, run.len()),
                Word::GateClosed | Word::Locked | Word::Ahead | Word::Blocked => (0, 0),
            };
            written += new;
            if word == Word::Committed {
                let new = run.iter().filter(|Name(id, _)| !verdict.known().contains(id));
                self.own.extend(new.clone().cloned());
                self.told.extend(new.map(|Name(id, _)| id.clone()));
            }
            if !resolve {
                let is_known = |name: &&Name| word == Word::Behind || verdict.known().contains(&name.0);
                self.came_late(run.iter().filter(is_known));
            }
            if resolve && new + old > 0 {
                for name in run {
                    if let Some(commit) = self.unknown.remove(&(role, name.clone())) {
                        commits.entry(commit).or_default().push(name.0.clone());
                    }
                }
            }
        }
        if role == Role::Drain {
            self.add("drained", written);
        }
        commits.retain(|commit, _| self.unresolved.remove(commit));
        // It was written as a whole or not at all: had it been written, nothing of it could be written now.
        if written == 0 {
            self.written_before.extend(commits.into_values());
        } else if !commits.is_empty() {
            self.add("ambiguous_rolled_back", 1);
        }
    }

    /// These orders of a run are refused because they have their end: by another process, where this one has not
    /// committed them and the message was sent once.
    fn came_late<'n>(&mut self, mut refused: impl Iterator<Item = &'n Name>) {
        let once = |id: &str| self.source.orders.get(id).is_some_and(|asked| asked.messages == 1);
        let others = refused.find(|name| once(&name.0) && !self.own.contains(*name));
        if let Some((name, at)) = others.and_then(|name| Some((name, *self.received_ms.get(name)?))) {
            self.refused.push((name.0.clone(), at));
        }
    }

    /// The guards, and why the run is void.
    pub(crate) fn judge(mut self, history: &History, undisturbed: usize) -> (Vec<Guard>, Vec<String>) {
        let sent = |id: &str| self.source.orders.get(id).map_or(1, |asked| asked.messages);
        let redelivered = self.receives.iter().map(|(id, received)| received.saturating_sub(sent(id))).sum();
        self.add("redelivered", redelivered);
        self.add("poisoned", self.poisoned.len());
        self.add("undisturbed", undisturbed);
        let before = self.written_before.iter().filter(|ids| !ids.iter().any(|id| self.told.contains(id))).count();
        self.add("ambiguous_committed", before);
        let committed: HashMap<&str, u64> =
            history.orders.iter().map(|order| (order.order_id.as_str(), order.committed_ms)).collect();
        let late = |(id, received): &&(Box<str>, u64)| committed.get(&**id).is_some_and(|at| at > received);
        let stale = self.refused.iter().filter(late).count();
        self.add("stale_refused", stale);
        for fault in &history.faults {
            if let Some(name) = FAULTS.into_iter().find(|name| *name == fault.kind) {
                self.add(name, 1);
            }
        }
        let (mut guards, mut void) = (Vec::new(), Vec::new());
        for name in names() {
            let count = self.counts.get(name).copied().unwrap_or(0);
            let needed = history.run.needs.get(name).copied();
            let without = history.run.without.iter().any(|other| other == name);
            match needed {
                Some(_) if without => void.push(format!("guard {name}: both in needs and in without")),
                Some(0) => void.push(format!("guard {name}: needs 0, which is none")),
                Some(needed) if (count as u64) < needed => {
                    void.push(format!("guard {name}: {count}, and {needed} are needed"));
                }
                None if !without => void.push(format!("guard {name}: neither in needs nor in without")),
                _ => {}
            }
            guards.push(Guard { name, count, needed });
        }
        (guards, void)
    }
}
