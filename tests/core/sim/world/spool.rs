//! The backlog, as the shell would use it: appends of live workers, reads and removals of a drain.

use millrace::backlog::{BacklogError, ErrorClass};
use millrace::core::{Input, SpoolWork, Spooled, Time};
use millrace::inbox::{InboxError, InboxErrorClass, Settled};

use super::{Event, Parcel, World};

impl World {
    /// An appender does what it was given; the answer may come late, or never.
    pub fn spools(&mut self, boot: u64, slot: usize, work: SpoolWork<Parcel>) {
        if self.index(boot).is_none() && self.chance.permille(500) {
            return;
        }
        let failure = self.backlog_fails();
        let executed = match failure {
            None => true,
            Some(ErrorClass::Away) if self.faults && self.now >= self.backlog_away_until => self.chance.permille(400),
            Some(_) => false,
        };
        let spooled = match (work, failure) {
            (SpoolWork::Look, Some(class)) => Spooled::Look(Err(error(class))),
            (SpoolWork::Look, None) => Spooled::Look(Ok(self.backlog.accepts())),
            (SpoolWork::Append { epoch, orders }, failure) => {
                if !executed && failure == Some(ErrorClass::Away) && self.chance.permille(300) {
                    // It is still on its way.
                    let when = self.soon(1, 300);
                    self.event(when, Event::LateAppend { epoch, orders: orders.clone() });
                }
                let answer = executed.then(|| self.backlog.append(epoch, &orders, &self.catalog));
                Spooled::Append(match (answer, failure) {
                    (_, Some(class)) => Err(error(class)),
                    (Some(answer), None) => Ok(answer),
                    (None, None) => unreachable!("what does not fail is executed"),
                })
            }
        };
        let late = self.faults && self.chance.permille(60);
        let when = if late { self.soon(5, 400) } else { self.soon(0, 5) };
        self.event(when, Event::Answer { boot, input: Input::Spooled { slot, spooled } });
    }

    fn backlog_fails(&mut self) -> Option<ErrorClass> {
        if self.now < self.backlog_away_until {
            return Some(ErrorClass::Away);
        }
        if self.now < self.backlog_broken_until {
            return Some(ErrorClass::Broken);
        }
        (self.faults && self.chance.permille(40)).then_some(ErrorClass::Away)
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
        let fails = self.backlog_fails().is_some();
        let result = if fails && self.chance.permille(500) {
            Err(away())
        } else {
            for parcel in payloads {
                let durable = self.ledger.has(&self.catalog, parcel.entry);
                assert!(durable, "I6: {:?} is removed and nowhere", self.catalog.entry(*parcel));
                let row = self.drains[&boot].row(parcel.receipt);
                self.backlog.rows.remove(&row);
            }
            if fails { Err(away()) } else { Ok(vec![Settled::Done; payloads.len()]) }
        };
        if result.is_ok() {
            let inbox = self.drains.get_mut(&boot).expect("a drain has an inbox");
            for parcel in payloads {
                inbox.removed(parcel.receipt);
            }
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
