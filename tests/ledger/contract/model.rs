//! The rules of the ledger, as short as they can be said.

use std::collections::{BTreeMap, BTreeSet};

use millrace::ledger::{
    Batch, Case, CaseVerdict, ErrorClass, Found, Gate, ParkVerdict, ParkedRun, Placed, Run, Verdict,
};
use millrace::order::{CustomerId, Digest, Ordering, Rank};

#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) ordering: Ordering,
    pub(crate) gate: Gate,
    pub(crate) lines: BTreeMap<String, Line>,
    ended: BTreeMap<String, Digest>,
    skipped: BTreeMap<String, Digest>,
    quarantined: BTreeSet<(String, Digest)>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    /// Names by position; a skipped place has none.
    pub(crate) ends: Vec<Option<String>>,
    mark: Rank,
    pub(crate) head: Option<Placed>,
    pub(crate) parked: BTreeMap<Rank, Placed>,
}

fn id(placed: &Placed) -> String {
    placed.entry.id().to_string()
}

fn same(one: &Placed, other: &Placed) -> bool {
    id(one) == id(other) && one.entry.digest() == other.entry.digest()
}

fn owner(placed: &Placed) -> String {
    placed.entry.customer().unwrap().to_string()
}

impl Model {
    pub(crate) fn new(ordering: Ordering) -> Self {
        Model {
            ordering,
            gate: Gate::Open,
            lines: BTreeMap::new(),
            ended: BTreeMap::new(),
            skipped: BTreeMap::new(),
            quarantined: BTreeSet::new(),
        }
    }

    pub(crate) fn line(&self, customer: &str) -> Line {
        self.lines.get(customer).cloned().unwrap_or_default()
    }

    pub(crate) fn upto(&self, line: &Line) -> Rank {
        if self.ordering == Ordering::Gapless { line.ends.len() as Rank } else { line.mark }
    }

    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<Vec<Verdict>, ErrorClass> {
        if self.gate != Gate::Open && !(batch.parked && self.gate == Gate::Draining) {
            return Ok(vec![Verdict::GateClosed; batch.runs.len()]);
        }
        let mut next = self.clone();
        let verdicts = batch.runs.iter().map(|run| next.commit_run(run, batch.parked)).collect::<Result<_, _>>()?;
        *self = next;
        Ok(verdicts)
    }

    fn commit_run(&mut self, run: &Run, parked_run: bool) -> Result<Verdict, ErrorClass> {
        let mut line = self.line(run.customer.as_str());
        let upto = self.upto(&line);
        let gapless = self.ordering == Ordering::Gapless;
        let is_known = |placed: &&Placed| {
            !gapless && (self.ended.contains_key(&id(placed)) || self.skipped.contains_key(&id(placed)))
        };
        let (known, fresh): (Vec<_>, Vec<_>) = run.orders.iter().partition(is_known);
        let ends_alike = |placed: &Placed| {
            let end = self.skipped.get(&id(placed)).or_else(|| self.ended.get(&id(placed)));
            end == Some(&placed.entry.digest())
        };
        let copies: Vec<_> = known.iter().copied().filter(|placed| ends_alike(placed)).cloned().collect();
        let known = known.into_iter().map(|placed| placed.entry.id().clone()).collect();
        let unpark = |line: &mut Line| line.parked.retain(|_, parked| !copies.iter().any(|copy| same(copy, parked)));
        let parked = line.parked.len() as u64;
        let Some(first) = fresh.first().map(|placed| placed.rank) else {
            if line.head.is_none() {
                unpark(&mut line);
            }
            let parked = line.parked.len() as u64;
            self.lines.insert(run.customer.to_string(), line);
            return Ok(Verdict::Committed { upto, parked, known });
        };
        let lowest = line.parked.keys().next().copied();
        let rival = |placed: &Placed| line.parked.get(&placed.rank).is_some_and(|parked| !same(placed, parked));
        let waits = match (gapless, parked_run) {
            (true, _) => first > upto + 1 || run.orders.iter().any(rival),
            (false, true) => lowest.is_some_and(|lowest| lowest < run.orders[0].rank),
            (false, false) => parked > 0,
        };
        match () {
            () if first <= upto => return Ok(Verdict::Behind(upto)),
            () if line.head.is_some() => return Ok(Verdict::Blocked),
            () if waits => return Ok(Verdict::Ahead { upto, parked }),
            () => {}
        }
        for placed in fresh {
            if self.skipped.contains_key(&id(placed)) {
                return Err(ErrorClass::Taken);
            }
            if self.ended.insert(id(placed), placed.entry.digest()).is_some() {
                return Err(ErrorClass::Taken);
            }
            line.ends.push(Some(id(placed)));
            line.mark = line.mark.max(placed.rank);
            line.parked.retain(|_, parked| !same(placed, parked));
        }
        unpark(&mut line);
        let (upto, parked) = (self.upto(&line), line.parked.len() as u64);
        self.lines.insert(run.customer.to_string(), line);
        Ok(Verdict::Committed { upto, parked, known })
    }

    pub(crate) fn park(&mut self, placed: &Placed) -> ParkVerdict {
        if self.gate != Gate::Open {
            return ParkVerdict::GateClosed;
        }
        let mut line = self.line(&owner(placed));
        let upto = self.upto(&line);
        let blocked = line.head.is_some();
        let early = match self.ordering {
            Ordering::Gapless => placed.rank > upto + 1 || (blocked && placed.rank > upto),
            _ => placed.rank > upto && (blocked || !line.parked.is_empty()),
        };
        if !early {
            return ParkVerdict::NotEarly;
        }
        let at_head = line.head.as_ref().is_some_and(|head| same(head, placed) || head.rank == placed.rank);
        if at_head || line.parked.contains_key(&placed.rank) || self.parked(&id(placed)).is_some() {
            return ParkVerdict::Taken;
        }
        line.parked.insert(placed.rank, placed.clone());
        self.lines.insert(owner(placed), line);
        ParkVerdict::Parked
    }

    pub(crate) fn parked(&self, name: &str) -> Option<&Placed> {
        self.lines.values().flat_map(|line| line.parked.values()).find(|parked| id(parked) == name)
    }

    pub(crate) fn look_up(&self, placed: &Placed) -> Found {
        let (name, digest) = (id(placed), placed.entry.digest());
        let conflict = || Found::Conflict(String::new());
        if let Some(ended) = self.ended.get(&name) {
            return if *ended == digest { Found::Ended } else { conflict() };
        }
        if let Some(skipped) = self.skipped.get(&name) {
            return if *skipped == digest { Found::Ended } else { conflict() };
        }
        if self.quarantined.contains(&(name.clone(), digest)) {
            return Found::Quarantined;
        }
        if let Some(parked) = self.parked(&name) {
            let same = parked.entry.digest() == digest && owner(parked) == owner(placed);
            return if same { Found::Parked } else { conflict() };
        }
        let line = self.line(&owner(placed));
        let gapless = self.ordering == Ordering::Gapless;
        let below = placed.rank <= self.upto(&line);
        let taken = line.parked.contains_key(&placed.rank)
            || line.head.as_ref().is_some_and(|head| head.rank == placed.rank)
            || (gapless && below);
        match () {
            () if taken => conflict(),
            () if !gapless && below => Found::OutOfSequence,
            () => Found::Absent,
        }
    }

    pub(crate) fn run(&self, customer: &CustomerId, limit: usize) -> ParkedRun {
        let line = self.line(customer.as_str());
        let upto = self.upto(&line);
        let all = line.parked.values().cloned();
        let orders = match self.ordering {
            _ if line.head.is_some() => Vec::new(),
            Ordering::Gapless => {
                let next = all.filter(|placed| placed.rank > upto).zip(upto + 1..);
                next.take_while(|(placed, expected)| placed.rank == *expected).map(|(placed, _)| placed).collect()
            }
            _ => all.collect(),
        };
        let orders = orders.into_iter().take(limit).collect();
        ParkedRun { customer: customer.clone(), upto, parked: line.parked.len() as u64, orders }
    }

    pub(crate) fn quarantine(&mut self, case: &Case) -> CaseVerdict {
        let placed = &case.placed;
        let mut line = self.line(&owner(placed));
        // What blocks needs the gate of a commit: earlier orders of its customer may still be in the backlog.
        if self.gate == Gate::Closed || (case.blocks && self.gate != Gate::Open) {
            return CaseVerdict::GateClosed;
        }
        let blocks_already = |line: &Line| line.head.as_ref().is_some_and(|head| same(head, placed));
        if case.blocks && self.lines.values().any(blocks_already) {
            return CaseVerdict::Quarantined;
        }
        if case.blocks {
            let upto = self.upto(&line);
            let next = match self.ordering {
                Ordering::Gapless => {
                    placed.rank == upto + 1 && line.parked.get(&placed.rank).is_none_or(|parked| same(placed, parked))
                }
                _ => placed.rank > upto && line.parked.keys().all(|rank| *rank >= placed.rank),
            };
            match () {
                () if line.head.is_some() => return CaseVerdict::Blocked,
                () if !next => return CaseVerdict::NotNext,
                () => line.head = Some(placed.clone()),
            }
        }
        line.parked.retain(|_, parked| !same(placed, parked));
        self.lines.insert(owner(placed), line);
        self.quarantined.insert((id(placed), placed.entry.digest()));
        CaseVerdict::Quarantined
    }

    /// Whether the blocked head can go back to its line: nobody else has its name or its place.
    pub(crate) fn may_retry(&self, head: &Placed) -> bool {
        let (name, line) = (id(head), self.line(&owner(head)));
        let parked = self.parked(&name);
        !self.ended.contains_key(&name)
            && !self.skipped.contains_key(&name)
            && parked.is_none_or(|parked| same(parked, head))
            && (parked.is_some_and(|parked| parked.rank <= head.rank) || !line.parked.contains_key(&head.rank))
    }

    pub(crate) fn retry(&mut self, customer: &str) {
        let line = self.lines.get_mut(customer).unwrap();
        let head = line.head.take().unwrap();
        self.quarantined.remove(&(id(&head), head.entry.digest()));
        let before = line.parked.iter().any(|(rank, parked)| *rank <= head.rank && same(parked, &head));
        if !before {
            line.parked.retain(|_, parked| !same(parked, &head));
            line.parked.insert(head.rank, head);
        }
    }

    pub(crate) fn skip(&mut self, customer: &str) {
        let line = self.lines.get_mut(customer).unwrap();
        let head = line.head.take().unwrap();
        line.parked.retain(|_, parked| !same(parked, &head));
        line.mark = line.mark.max(head.rank);
        line.ends.push(None);
        self.quarantined.remove(&(id(&head), head.entry.digest()));
        // The name of another order is not ended by it.
        if !self.ended.contains_key(&id(&head)) && self.parked(&id(&head)).is_none() {
            self.skipped.entry(id(&head)).or_insert(head.entry.digest());
        }
    }

    pub(crate) fn sweep(&mut self) -> Vec<String> {
        if self.gate != Gate::Closed {
            let gapless = self.ordering == Ordering::Gapless;
            for line in self.lines.values_mut() {
                let upto = line.ends.len() as Rank;
                line.parked.retain(|rank, parked| {
                    let name = (id(parked), parked.entry.digest());
                    let ended = self.ended.get(&name.0) == Some(&name.1) || self.quarantined.contains(&name);
                    let skipped = self.skipped.get(&name.0) == Some(&name.1);
                    // What lost its place to another order.
                    if gapless && *rank <= upto && !ended && !skipped {
                        self.quarantined.insert(name);
                    }
                    if gapless { *rank > upto } else { !ended && !skipped }
                });
            }
        }
        let stands = |name: &&String| !self.run(&CustomerId::new(name.as_str()), 1).orders.is_empty();
        self.lines.keys().filter(stands).cloned().collect()
    }
}
