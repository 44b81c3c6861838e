//! What happened, counted: by what the cores say, and by what the stores answered.

use millrace::core::{Action, Work, Written};
use millrace::ledger::{CaseKind, CaseVerdict, ErrorClass, Found, ParkVerdict, Verdict};
use millrace::outcome::Outcome;

use super::super::ledger::Pass;
use super::super::tally::Kind;
use super::{Parcel, World};

impl World {
    pub fn counts(&mut self, boot: u64, action: &Action<Parcel>) {
        let drains = self.is_drain(boot);
        let kind = match action {
            Action::Ended { outcome: Outcome::Committed, .. } if drains => Kind::Drained,
            Action::Ended { outcome: Outcome::Committed, .. } => Kind::Committed,
            Action::Ended { outcome: Outcome::Duplicate, .. } => Kind::Duplicates,
            Action::Ended { outcome: Outcome::Parked, .. } => Kind::Parked,
            Action::Ended { outcome: Outcome::Spooled, .. } => Kind::Spooled,
            Action::Ended { outcome: Outcome::Returned, .. } => Kind::Returned,
            Action::Ended { outcome: Outcome::Quarantined, .. } => Kind::Quarantined,
            Action::Unparked { .. } => Kind::Unparked,
            Action::Quarantined { kind: CaseKind::Malformed, .. } => Kind::Malformed,
            Action::Quarantined { kind: CaseKind::Poison, .. } => Kind::Poison,
            Action::Quarantined { kind: CaseKind::Conflict, .. } => Kind::Conflicts,
            _ => return,
        };
        self.faults.tally.note(kind);
    }

    /// `work` was carried out; `late`: nobody waits for the answer any more.
    pub fn counts_written(&mut self, pass: Pass, work: &Work<Parcel>, written: &Written<Parcel>, late: bool) {
        let mut refused = 0;
        match written {
            Written::Commit(Ok(verdicts)) => {
                let resolves = matches!(work, Work::Commit { resolve: true, .. });
                for verdict in verdicts {
                    self.counts_verdict(verdict, resolves);
                    refused += usize::from(*verdict == Verdict::GateClosed);
                }
            }
            Written::Commit(Err(error)) if error.class == ErrorClass::Fault => self.faults.tally.note(Kind::OwnFault),
            Written::Commit(Err(error)) if error.class == ErrorClass::Taken => self.faults.tally.note(Kind::KeyTaken),
            Written::Park(Ok(verdicts)) => {
                refused = verdicts.iter().filter(|verdict| **verdict == ParkVerdict::GateClosed).count();
                if verdicts.contains(&ParkVerdict::Again) {
                    self.faults.tally.note(Kind::RowsLocked);
                }
            }
            Written::LookUp(Ok(found)) => {
                for _ in found.iter().filter(|found| **found == Found::Absent) {
                    self.faults.tally.note(Kind::Absent);
                }
            }
            Written::Quarantine(Ok(CaseVerdict::GateClosed)) => refused = 1,
            _ => {}
        }
        for _ in 0..refused {
            self.faults.tally.note(match pass {
                _ if late => Kind::LateRefused,
                Pass::Live => Kind::GateRefused,
                Pass::Drain(_) => Kind::StaleDrain,
            });
        }
    }

    fn counts_verdict(&mut self, verdict: &Verdict, resolves: bool) {
        let kind = match verdict {
            Verdict::Committed { known, .. } if resolves && known.is_empty() => Kind::ResolvedNotDone,
            Verdict::Committed { .. } | Verdict::Behind(_) if resolves => Kind::ResolvedDone,
            Verdict::Behind(_) => Kind::StaleRun,
            Verdict::Ahead { .. } => Kind::EarlyRun,
            Verdict::Blocked => Kind::BlockedRun,
            Verdict::Locked => Kind::RowsLocked,
            Verdict::Committed { .. } | Verdict::GateClosed => return,
        };
        self.faults.tally.note(kind);
    }
}
