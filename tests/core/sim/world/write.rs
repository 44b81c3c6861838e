//! Writes to the ledger: carried out, refused, or gone without an answer.

use millrace::core::{Input, Work, Written};
use millrace::ledger::{ErrorClass, LedgerError};
use millrace::order::CustomerId;

use super::super::ledger::{Pass, error};
use super::super::tally::Kind;
use super::guard::Check;
use super::{Event, Parcel, World, Zombie};

impl World {
    pub fn writes(&mut self, boot: u64, slot: usize, work: Work<Parcel>) {
        if self.index(boot).is_none() && self.chance.permille(500) {
            // The connection died with its owner before the statement was sent.
            return;
        }
        if self.connects(boot, slot) && self.now >= self.ledger_away_until {
            return self.checks(boot, slot, work, Check::Phase);
        }
        let pass = self.pass(boot);
        let mut written = None;
        for _ in 0..self.effects.done(name_of(&work)) {
            written = Some(self.attempt((boot, pass), &work));
        }
        if !self.falls()
            && let Some(written) = written
        {
            let when = self.soon(0, 5);
            self.event(when, Event::Answer { boot, input: Input::Wrote { slot, written } });
        }
    }

    fn attempt(&mut self, (boot, pass): (u64, Pass), work: &Work<Parcel>) -> Written<Parcel> {
        if self.now < self.ledger_broken_until {
            return fail(work, error(ErrorClass::Broken, "42P01: a table is missing"));
        }
        if self.now < self.ledger_away_until {
            return fail(work, error(ErrorClass::Away, "connection refused"));
        }
        if let Work::Commit { runs, resolve: true, .. } = work {
            let rows: Vec<CustomerId> = runs.iter().map(|(name, _)| name.clone()).collect();
            let holders: Vec<usize> = self
                .zombies
                .iter()
                .filter(|(_, z)| z.rows.iter().any(|r| rows.contains(r)))
                .map(|(id, _)| *id)
                .collect();
            if !holders.is_empty() && self.chance.permille(300) {
                return fail(work, error(ErrorClass::Timeout, "55P03: lock timeout"));
            }
            // It waited for the rows, so the first try is over by now.
            for id in holders {
                self.lay_to_rest(id);
            }
        }
        let reads = matches!(work, Work::Probe | Work::LookUp(_) | Work::Load { .. });
        if self.now < self.ledger_read_only_until && !reads {
            return fail(work, error(ErrorClass::Away, "25006: read-only"));
        }
        if let Some(class) = self.ledger_fails() {
            if class == ErrorClass::Unknown {
                self.loses_answer((boot, pass), work);
            }
            return fail(work, error(class, "as it happens"));
        }
        self.execute(pass, work, false)
    }

    fn ledger_fails(&mut self) -> Option<ErrorClass> {
        let classes = [
            (Kind::LedgerRetry, ErrorClass::Retry),
            (Kind::LedgerTimeout, ErrorClass::Timeout),
            (Kind::LedgerRefuses, ErrorClass::Away),
            (Kind::LedgerUnrecognised, ErrorClass::Unrecognised),
            (Kind::LedgerUnknown, ErrorClass::Unknown),
        ];
        classes.into_iter().find(|(kind, _)| self.strikes(*kind)).map(|(_, class)| class)
    }

    /// The connection breaks after sending: executed, not executed, or still running.
    fn loses_answer(&mut self, (boot, pass): (u64, Pass), work: &Work<Parcel>) {
        let runs = self.chance.below(3);
        if matches!(work, Work::Probe | Work::LookUp(_) | Work::Load { .. } | Work::Sweep { .. }) {
            return;
        }
        self.faults.tally.note([Kind::UnknownNotSent, Kind::UnknownDone, Kind::UnknownRuns][runs]);
        if runs == 0 {
            return;
        }
        if runs == 1 {
            self.execute(pass, work, false);
            return;
        }
        // Its rows may be locked already, or the statement may still be on its way.
        let mut rows = Vec::new();
        // (Those that the gate does not let pass lock nothing.)
        if self.chance.permille(700) && self.ledger.gate.admits(pass, false) {
            rows = customers(work, &|parcel| self.catalog.entry(parcel).customer.clone());
            rows.retain(|row| !self.ledger.held_rows.contains(row));
        }
        self.ledger.held_rows.extend(rows.iter().cloned());
        let id = usize::try_from(self.next_event).unwrap() * 8 + usize::try_from(boot % 8).unwrap();
        self.zombies.insert(id, Zombie { work: work.clone(), pass, rows });
        let when =
            if self.plan.windows && self.chance.permille(150) { self.soon(200, 3_000) } else { self.soon(1, 200) };
        self.event(when, Event::Zombie(id));
    }

    /// A statement that nobody waits for ends: it commits, or it is rolled back.
    pub fn lay_to_rest(&mut self, id: usize) {
        let Some(zombie) = self.zombies.remove(&id) else { return };
        for row in &zombie.rows {
            self.ledger.held_rows.remove(row);
        }
        if self.chance.permille(700) {
            self.execute(zombie.pass, &zombie.work, true);
        }
    }

    /// `late`: nobody waits for the answer any more.
    fn execute(&mut self, pass: Pass, work: &Work<Parcel>, late: bool) -> Written<Parcel> {
        let unseen = self.ledger.unseen;
        let written = self.ledger.execute(pass, work, (&self.catalog, &self.sqs), &mut self.chance);
        for _ in unseen..self.ledger.unseen {
            self.faults.tally.note(Kind::CopyUnseen);
        }
        self.counts_written(pass, work, &written, late);
        written
    }
}

/// Whose rows a write locks.
pub fn customers(work: &Work<Parcel>, of: &dyn Fn(Parcel) -> Option<CustomerId>) -> Vec<CustomerId> {
    let mut names: Vec<CustomerId> = match work {
        Work::Commit { runs, .. } => runs.iter().map(|(name, _)| name.clone()).collect(),
        Work::Park(orders) | Work::LookUp(orders) => orders.iter().filter_map(|(_, parcel)| of(*parcel)).collect(),
        Work::Load { customers, .. } => customers.clone(),
        Work::Quarantine { payload, .. } => of(*payload).into_iter().collect(),
        Work::Probe | Work::Sweep { .. } => Vec::new(),
    };
    names.sort();
    names.dedup();
    names
}

/// Work that was not done.
pub fn fail(work: &Work<Parcel>, error: LedgerError) -> Written<Parcel> {
    match work {
        Work::Probe => Written::Probe(Err(error)),
        Work::Commit { .. } => Written::Commit(Err(error)),
        Work::Park(_) => Written::Park(Err(error)),
        Work::LookUp(_) => Written::LookUp(Err(error)),
        Work::Load { .. } => Written::Load(Err(error)),
        Work::Quarantine { .. } => Written::Quarantine(Err(error)),
        Work::Sweep { .. } => Written::Sweep(Err(error)),
    }
}

fn name_of(work: &Work<Parcel>) -> &'static str {
    match work {
        Work::Probe => "probe",
        Work::Commit { .. } => "commit",
        Work::Park(_) => "park",
        Work::LookUp(_) => "look up",
        Work::Load { .. } => "load",
        Work::Quarantine { .. } => "quarantine",
        Work::Sweep { .. } => "sweep",
    }
}
