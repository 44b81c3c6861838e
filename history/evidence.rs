//! Rule 5: no process deletes a message, or removes a row of the backlog, before it was told itself that what is in it is
//! durable elsewhere. What another process was told does not count: it may be gone with it.

use std::collections::HashSet;

use crate::line::{Case, Found, Name, Park, Role, Word};
use crate::report::{Rule, grouped};
use crate::worker::{Deed, Place};

pub(crate) struct Evidence {
    rule: Rule,
    deleted: usize,
    processes: usize,
    /// Entries that this process knows to be durable in the ledger.
    ledger: HashSet<Name>,
    /// And in the backlog: enough for a message, not for a row of the backlog.
    backlog: HashSet<Name>,
}

impl Default for Evidence {
    fn default() -> Self {
        let rule = Rule::new(5, "evidence");
        Self { rule, deleted: 0, processes: 0, ledger: HashSet::new(), backlog: HashSet::new() }
    }
}

impl Evidence {
    pub(crate) fn next_process(&mut self) {
        self.processes += 1;
        self.ledger.clear();
        self.backlog.clear();
    }

    pub(crate) fn saw(&mut self, place: &Place, role: Role, deed: &Deed) {
        match deed {
            Deed::Commit { runs, answer: Ok(verdicts), .. } => {
                for (run, verdict) in runs.iter().zip(verdicts).filter(|(_, verdict)| verdict.word() == Word::Committed)
                {
                    // What was known before is looked up first: it may be another content under the same name.
                    self.ledger.extend(run.iter().filter(|name| !verdict.known().contains(&name.0)).cloned());
                }
            }
            Deed::Park(answers) => {
                self.ledger.extend(told(answers, |answer| answer == Park::Parked));
            }
            Deed::LookUp(answers) => {
                let durable = |found| matches!(found, Found::Ended | Found::Parked | Found::Quarantined);
                self.ledger.extend(told(answers, durable));
            }
            Deed::Quarantine(name, Case::Quarantined) => {
                self.ledger.insert(name.clone());
            }
            Deed::Append { entries, .. } => self.backlog.extend(entries.iter().cloned()),
            Deed::Delete(entries) => {
                for name in entries {
                    self.deleted += 1;
                    let durable = self.ledger.contains(name) || (role == Role::Live && self.backlog.contains(name));
                    if !durable {
                        let what = if role == Role::Live { "deletes" } else { "removes" };
                        let Name(id, digest) = name;
                        self.rule
                            .broken(format_args!("{place}: {what} {id} ({digest}), which it does not know durable"));
                    }
                }
            }
            Deed::Quarantine(..)
            | Deed::Commit { .. }
            | Deed::Received { .. }
            | Deed::Ended { .. }
            | Deed::Unparked => {}
        }
    }

    pub(crate) fn judge(self) -> Rule {
        let what = format!("{} deletes of {} processes", grouped(self.deleted), grouped(self.processes));
        self.rule.checked(self.deleted, what)
    }
}

fn told<T: Copy>(answers: &[(Name, T)], is: impl Fn(T) -> bool) -> impl Iterator<Item = Name> {
    answers.iter().filter(move |(_, answer)| is(*answer)).map(|(name, _)| name.clone())
}
