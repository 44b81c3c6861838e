//! Calls to SQS and to the locks, as the shell would make them.

use std::time::Duration;

use millrace::core::{Input, LockCall, Time};
use millrace::inbox::{InboxError, InboxErrorClass, Settled};
use millrace::locks::LocksAway;
use millrace::order::CustomerId;

use super::super::tally::Kind;
use super::{Event, Parcel, World};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// It was not carried out.
    Call,
    /// It was, and nobody hears of it.
    Reply,
}

impl World {
    pub fn answer(&mut self, boot: u64, input: Input<Parcel>) {
        let when = self.soon(0, 8);
        self.event(when, Event::Answer { boot, input });
    }

    fn sqs_fails(&mut self, reply_lost: Kind) -> Option<Failure> {
        if self.now < self.sqs_away_until || self.strikes(Kind::CallLost) {
            return Some(Failure::Call);
        }
        self.strikes(reply_lost).then_some(Failure::Reply)
    }

    pub fn polled(&mut self, boot: u64, poll: u64, max: u32, until: Time) {
        let dead = self.index(boot).is_none();
        if self.is_drain(boot) {
            if !dead {
                self.reads(boot, poll, max, until);
            }
            return;
        }
        if dead && self.chance.permille(500) {
            return;
        }
        let fails = self.sqs_fails(Kind::ReceiveReplyLost);
        if fails == Some(Failure::Call) {
            self.answer(boot, Input::Received { poll, result: Err(self.inbox_error()) });
            return;
        }
        let mut parcels = Vec::new();
        if !self.strikes(Kind::ReceiveMisses) && self.sqs.has_visible(self.now) {
            for _ in 0..self.effects.done("receive") {
                parcels = self.sqs.receive(self.now, max, (&mut self.faults, &mut self.chance));
            }
            if self.falls() {
                return;
            }
        }
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
        let class = if self.now < self.sqs_away_until { self.sqs_away } else { InboxErrorClass::Away };
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
        let fails = self.sqs_fails(Kind::DeleteReplyLost);
        let mut answers = Vec::new();
        for parcel in payloads.iter().filter(|_| fails != Some(Failure::Call)) {
            // I3: whatever is deleted is durable.
            let durable = self.is_durable(parcel.entry);
            assert!(durable, "I3: {:?} is deleted and nowhere", self.catalog.entry(*parcel));
            let mut answer = Settled::Done;
            for _ in 0..self.effects.done("delete") {
                answer = self.sqs.delete(parcel.receipt, self.now, (&mut self.faults, &mut self.chance));
            }
            if self.falls() {
                return;
            }
            answers.push(answer);
        }
        self.settles(boot, call, answers, fails);
    }

    pub fn visible(&mut self, boot: u64, call: u64, payloads: &[Parcel], timeout: Duration) {
        if self.is_drain(boot) {
            assert!(timeout.is_zero(), "a row needs no heartbeat");
            return self.forgets(boot, call, payloads);
        }
        let fails = self.sqs_fails(Kind::VisibilityReplyLost);
        let mut answers = Vec::new();
        for parcel in payloads.iter().filter(|_| fails != Some(Failure::Call)) {
            let mut answer = Settled::Done;
            for _ in 0..self.effects.done("set visibility") {
                let luck = (&mut self.faults, &mut self.chance);
                answer = self.sqs.set_visibility(parcel.receipt, timeout, self.now, luck);
            }
            if self.falls() {
                return;
            }
            answers.push(answer);
        }
        if answers.iter().any(|answer| *answer != Settled::Done) {
            self.hit(boot);
        }
        self.settles(boot, call, answers, fails);
    }

    fn settles(&mut self, boot: u64, call: u64, answers: Vec<Settled>, fails: Option<Failure>) {
        let mut result = Ok(answers);
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
        let mut result = Err(LocksAway("no answer".into()));
        if self.now >= self.locks_away_until && !self.strikes(Kind::LockCallLost) {
            let mut granted = Vec::new();
            for _ in 0..self.effects.done("lock") {
                let luck = (&mut self.faults, &mut self.chance);
                granted = self.locks.call(call, boot, customers, self.now, luck);
            }
            if self.falls() {
                return;
            }
            if !self.strikes(Kind::LockReplyLost) {
                result = Ok(granted);
            }
        }
        let late = self.strikes(Kind::LockLate);
        let when = if late { self.soon(10, 900) } else { self.soon(0, 8) };
        self.event(when, Event::Answer { boot, input: Input::Locked { call, result } });
    }
}
