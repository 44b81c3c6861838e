//! The backlog, as the shell would use it: appends of live workers, reads and removals of a drain.

use millrace::backlog::{BacklogError, ErrorClass};
use millrace::core::{Appended, Input, SpoolWork, Spooled, Time};
use millrace::inbox::{InboxError, InboxErrorClass, Settled};

use super::super::tally::Kind;
use super::{Event, Parcel, World};

impl World {
    /// An appender does what it was given; the answer may come late, or never.
    pub fn spools(&mut self, boot: u64, slot: usize, work: SpoolWork<Parcel>) {
        if self.index(boot).is_none() && self.chance.permille(500) {
            return;
        }
        let failure = self.backlog_fails();
        let spooled = match work {
            SpoolWork::Look => Spooled::Look(match failure {
                Some((class, _)) => Err(error(class)),
                None => Ok(self.backlog.accepts()),
            }),
            SpoolWork::Append { epoch, orders } => {
                let mut answer = None;
                if failure.is_none_or(|(_, executed)| executed) {
                    for _ in 0..self.effects.done("append") {
                        answer = Some(self.backlog.append(epoch, &orders, &self.catalog));
                    }
                    if self.falls() {
                        return;
                    }
                } else if self.faults.on && self.chance.permille(300) {
                    // It is still on its way.
                    self.faults.tally.note(Kind::AppendRuns);
                    let when = self.soon(1, 300);
                    self.event(when, Event::LateAppend { epoch, orders });
                }
                if matches!(answer, Some(Appended::Refused(_))) {
                    self.faults.tally.note(Kind::AppendRefused);
                }
                Spooled::Append(match failure {
                    Some((class, _)) => Err(error(class)),
                    None => Ok(answer.expect("what does not fail is carried out")),
                })
            }
        };
        let late = self.strikes(Kind::BacklogLate);
        let when = if late { self.soon(5, 400) } else { self.soon(0, 5) };
        self.event(when, Event::Answer { boot, input: Input::Spooled { slot, spooled } });
    }

    /// How a call fails, and whether it is carried out all the same.
    fn backlog_fails(&mut self) -> Option<(ErrorClass, bool)> {
        if self.now < self.backlog_away_until {
            return Some((ErrorClass::Away, false));
        }
        if self.now < self.backlog_broken_until {
            return Some((ErrorClass::Broken, false));
        }
        if self.strikes(Kind::BacklogCallLost) {
            return Some((ErrorClass::Away, false));
        }
        self.strikes(Kind::BacklogReplyLost).then_some((ErrorClass::Away, true))
    }

    /// A read of a drain.
    pub fn reads(&mut self, boot: u64, poll: u64, max: u32, until: Time) {
        if self.backlog_fails().is_some() {
            self.answer(boot, Input::Received { poll, result: Err(away()) });
            return;
        }
        let inbox = self.drains.get_mut(&boot).expect("a drain has an inbox");
        let parcels = inbox.receive(&self.backlog, max, &self.catalog, &mut self.chance);
        if parcels.is_empty() && self.now < until {
            let again = self.soon(2, 10);
            self.event(again, Event::Poll { boot, poll, max, until });
            return;
        }
        let result = Ok(parcels.into_iter().map(|parcel| self.catalog.arrival(parcel)).collect());
        self.answer(boot, Input::Received { poll, result });
    }

    /// A drain removes rows.
    pub fn removes(&mut self, boot: u64, call: u64, payloads: &[Parcel]) {
        let failure = self.backlog_fails();
        if failure.is_none_or(|(_, executed)| executed) {
            if self.effects.done("remove") > 0 {
                for parcel in payloads {
                    let durable = self.ledger.has(&self.catalog, parcel.entry);
                    assert!(durable, "I6: {:?} is removed and nowhere", self.catalog.entry(*parcel));
                    if self.backlog.rows.remove(&self.drains[&boot].row(parcel.receipt)).is_some() {
                        self.faults.tally.note(Kind::Removed);
                    }
                }
            }
            if self.falls() {
                return;
            }
        }
        let mut result = Err(away());
        if failure.is_none() {
            let inbox = self.drains.get_mut(&boot).expect("a drain has an inbox");
            for parcel in payloads {
                inbox.removed(parcel.receipt);
            }
            result = Ok(vec![Settled::Done; payloads.len()]);
        }
        self.answer(boot, Input::Settled { call, result });
    }

    /// A drain hands rows back. That is a matter of its own memory.
    pub fn forgets(&mut self, boot: u64, call: u64, payloads: &[Parcel]) {
        let inbox = self.drains.get_mut(&boot).expect("a drain has an inbox");
        for parcel in payloads {
            inbox.returned(parcel.receipt, self.catalog.entry(*parcel).customer.as_ref());
        }
        self.answer(boot, Input::Settled { call, result: Ok(vec![Settled::Done; payloads.len()]) });
    }
}

fn error(class: ErrorClass) -> BacklogError {
    BacklogError { class, message: "as it happens".into() }
}

fn away() -> InboxError {
    InboxError { class: InboxErrorClass::Away, message: "the backlog does not answer".into() }
}
