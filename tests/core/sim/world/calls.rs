//! Calls to SQS and to the locks, as the shell would make them.

use std::time::Duration;

use millrace::core::{Input, LockCall, Time};
use millrace::inbox::{InboxError, InboxErrorClass, Settled};
use millrace::locks::LocksAway;
use millrace::order::CustomerId;

use super::{Event, Parcel, World};

impl World {
    pub fn answer(&mut self, boot: u64, input: Input<Parcel>) {
        let when = self.soon(0, 8);
        self.event(when, Event::Answer { boot, input });
    }

    /// Whether a call fails: before (`Some(false)`) or after it was carried out.
    fn sqs_fails(&mut self) -> Option<bool> {
        if self.now < self.sqs_away_until {
            return Some(false);
        }
        (self.faults && self.chance.permille(20)).then(|| self.chance.permille(500))
    }

    pub fn polled(&mut self, boot: u64, poll: u64, max: u32, until: Time) {
        let dead = self.index(boot).is_none();
        if self.is_drain(boot) {
            if !dead {
                self.reads(boot, poll, max, until);
            }
            return;
        }
        let fails = self.sqs_fails();
        if dead && self.chance.permille(500) {
            return;
        }
        if fails == Some(false) {
            self.answer(boot, Input::Received { poll, result: Err(self.inbox_error()) });
            return;
        }
        let parcels = self.sqs.receive(self.now, max, &mut self.chance);
        if parcels.is_empty() && self.now < until {
            let again = self.soon(5, 20);
            self.event(again, Event::Poll { boot, poll, max, until });
            return;
        }
        let result = if fails.is_some() {
            Err(self.inbox_error())
        } else {
            Ok(parcels.into_iter().map(|parcel| self.catalog.arrival(parcel)).collect())
        };
        self.answer(boot, Input::Received { poll, result });
    }

    fn inbox_error(&self) -> InboxError {
        let class = if self.steps.is_multiple_of(2) { InboxErrorClass::Throttled } else { InboxErrorClass::Away };
        InboxError { class, message: "no answer".into() }
    }

    fn hit(&mut self, boot: u64) {
        if let Some(index) = self.index(boot) {
            self.instances[index].had_faults = true;
        }
    }

    pub fn deletes(&mut self, boot: u64, call: u64, payloads: &[Parcel]) {
        if self.is_drain(boot) {
            return self.removes(boot, call, payloads);
        }
        let fails = self.sqs_fails();
        let mut result = Err(self.inbox_error());
        if fails != Some(false) {
            let mut answers = Vec::new();
            for parcel in payloads {
                // I3: whatever is deleted is durable.
                let durable = self.is_durable(parcel.entry);
                assert!(durable, "I3: {:?} is deleted and nowhere", self.catalog.entry(*parcel));
                let (answer, _) = self.sqs.delete(parcel.receipt, self.now, &mut self.chance);
                answers.push(answer);
            }
            result = Ok(answers);
        }
        if fails.is_some() {
            self.hit(boot);
            result = Err(self.inbox_error());
        }
        self.answer(boot, Input::Settled { call, result });
    }

    pub fn visible(&mut self, boot: u64, call: u64, payloads: &[Parcel], timeout: Duration) {
        if self.is_drain(boot) {
            assert!(timeout.is_zero(), "a row needs no heartbeat");
            return self.forgets(boot, call, payloads);
        }
        let fails = self.sqs_fails();
        let mut result = Err(self.inbox_error());
        if fails != Some(false) {
            let answers: Vec<Settled> = payloads
                .iter()
                .map(|parcel| self.sqs.set_visibility(parcel.receipt, timeout, self.now, &mut self.chance))
                .collect();
            if answers.iter().any(|answer| *answer != Settled::Done) {
                self.hit(boot);
            }
            result = Ok(answers);
        }
        if fails.is_some() {
            self.hit(boot);
            result = Err(self.inbox_error());
        }
        self.answer(boot, Input::Settled { call, result });
    }

    pub fn locks_asked(&mut self, boot: u64, call: LockCall, customers: &[CustomerId]) {
        assert!(!customers.is_empty() && customers.len() <= 256, "{customers:?}");
        if self.is_drain(boot) {
            // Its locks are its own.
            let result = Ok(vec![true; customers.len()]);
            self.answer(boot, Input::Locked { call, result });
            return;
        }
        if self.now < self.locks_away_until {
            let result = Err(LocksAway("no answer".into()));
            self.answer(boot, Input::Locked { call, result });
            return;
        }
        let granted = self.locks.call(call, boot, customers, self.now);
        let lost = self.faults && self.chance.permille(10);
        let result = if lost { Err(LocksAway("no answer".into())) } else { Ok(granted) };
        self.answer(boot, Input::Locked { call, result });
    }
}
