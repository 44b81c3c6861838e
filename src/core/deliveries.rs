//! The deliveries in our hands: heartbeats while they are held, batched deletes and returns when they end.
//!
//! A delivery counts as held until SQS has answered its delete or return, so deletes keep up with receives (I12).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::time::{Time, backoff};
use super::{Action, Settings};
use crate::inbox::{InboxError, Settled};
use crate::outcome::Outcome;

/// The core's number of a delivery.
pub(super) type DeliveryNo = u64;

/// SQS takes at most so many entries in one call.
const CALL_MAX: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Delivery<P> {
    payload: P,
    bytes: u32,
    received: Time,
    /// Extending failed for good: the message comes again by itself.
    lost: bool,
    tries: u32,
}

/// What a call to the queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Delete,
    Return,
    Extend,
}

/// Numbers for the report at the end and for the status page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Counts {
    /// Ended with their message deleted, or to be deleted.
    pub finished: u64,
    /// Handed back.
    pub returned: u64,
    /// Handing back failed, or the handle was lost: their visibility timeout has to end first.
    pub at_risk: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Deliveries<P> {
    next_no: DeliveryNo,
    next_call: u64,
    held: BTreeMap<DeliveryNo, Delivery<P>>,
    bytes: u64,
    /// When a heartbeat is due; in order, because every extension is for the same time.
    heartbeats: VecDeque<(Time, DeliveryNo)>,
    deletes: VecDeque<DeliveryNo>,
    /// Since when the first of `deletes` waits.
    deletes_since: Option<Time>,
    returns: VecDeque<DeliveryNo>,
    calls: BTreeMap<u64, (Kind, Vec<DeliveryNo>)>,
    /// After a failed call: nothing before this time.
    paused_until: Time,
    failures: u32,
    pub counts: Counts,
}

impl<P: Clone> Deliveries<P> {
    pub(super) fn new() -> Self {
        Self {
            next_no: 0,
            next_call: 0,
            held: BTreeMap::new(),
            bytes: 0,
            heartbeats: VecDeque::new(),
            deletes: VecDeque::new(),
            deletes_since: None,
            returns: VecDeque::new(),
            calls: BTreeMap::new(),
            paused_until: Time::ZERO,
            failures: 0,
            counts: Counts::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn payloads(&self) -> impl Iterator<Item = &P> {
        self.held.values().map(|delivery| &delivery.payload)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn deletes_waiting(&self) -> usize {
        self.deletes.len()
    }

    /// Whether SQS has answered for everything that ended.
    pub(super) fn is_settled(&self) -> bool {
        self.deletes.is_empty()
            && self.returns.is_empty()
            && !self.calls.values().any(|(kind, _)| *kind != Kind::Extend)
    }

    /// Takes a delivery that was received by a call begun at `polled`.
    pub(super) fn take(&mut self, payload: P, bytes: u32, polled: Time, settings: &Settings) -> DeliveryNo {
        let no = self.next_no;
        self.next_no += 1;
        self.bytes += u64::from(bytes);
        self.held.insert(no, Delivery { payload, bytes, received: polled, lost: false, tries: 0 });
        self.heartbeats.push_back((polled.after(settings.visibility_timeout / 2), no));
        no
    }

    /// Ends a delivery: its message is deleted, or handed back when it is returned.
    pub(super) fn end(&mut self, no: DeliveryNo, outcome: Outcome, now: Time, actions: &mut VecDeque<Action<P>>) {
        let delivery = self.held.get(&no).expect("a delivery ends once");
        actions.push_back(Action::Ended { payload: delivery.payload.clone(), outcome });
        match (outcome, delivery.lost) {
            (Outcome::Returned, true) => {
                self.counts.at_risk += 1;
                self.forget(no);
            }
            (Outcome::Returned, false) => self.returns.push_back(no),
            (_, lost) => {
                self.counts.finished += 1;
                if lost {
                    self.forget(no);
                } else {
                    self.deletes.push_back(no);
                    self.deletes_since.get_or_insert(now);
                }
            }
        }
    }

    fn forget(&mut self, no: DeliveryNo) {
        if let Some(delivery) = self.held.remove(&no) {
            self.bytes -= u64::from(delivery.bytes);
        }
    }

    /// Starts the calls that are due.
    pub(super) fn pump(&mut self, settings: &Settings, now: Time, flush: bool, actions: &mut VecDeque<Action<P>>) {
        if now < self.paused_until {
            return;
        }
        while self.room(Kind::Return, settings) && !self.returns.is_empty() {
            let nos = first(&mut self.returns);
            self.call(Kind::Return, nos, Duration::ZERO, actions);
        }
        let lingered = |since: Option<Time>| since.is_some_and(|since| since.after(settings.ack_linger) <= now);
        while self.room(Kind::Delete, settings)
            && (self.deletes.len() >= CALL_MAX || (!self.deletes.is_empty() && (flush || lingered(self.deletes_since))))
        {
            let nos = first(&mut self.deletes);
            self.deletes_since = (!self.deletes.is_empty()).then_some(now);
            self.call(Kind::Delete, nos, Duration::ZERO, actions);
        }
        self.beat(settings, now, actions);
    }

    /// Extends what is due. What is due within an eighth of the timeout shares the call.
    fn beat(&mut self, settings: &Settings, now: Time, actions: &mut VecDeque<Action<P>>) {
        let timeout = settings.visibility_timeout;
        while self.heartbeats.front().is_some_and(|(due, _)| *due <= now) && self.room(Kind::Extend, settings) {
            let mut nos = Vec::with_capacity(CALL_MAX);
            while nos.len() < CALL_MAX
                && let Some((due, no)) = self.heartbeats.front().copied()
                && due <= now.after(timeout / 8)
            {
                self.heartbeats.pop_front();
                match self.held.get_mut(&no) {
                    // SQS ends a message's invisibility 12 h after its receive, whatever is asked.
                    Some(delivery) if now.since(delivery.received) >= settings.hold_max => delivery.lost = true,
                    Some(delivery) if !delivery.lost => nos.push(no),
                    _ => {}
                }
            }
            if !nos.is_empty() {
                self.call(Kind::Extend, nos, timeout, actions);
            }
        }
    }

    fn room(&self, kind: Kind, settings: &Settings) -> bool {
        self.calls.values().filter(|(other, _)| *other == kind).count() < settings.calls_max
    }

    fn call(&mut self, kind: Kind, nos: Vec<DeliveryNo>, timeout: Duration, actions: &mut VecDeque<Action<P>>) {
        let call = self.next_call;
        self.next_call += 1;
        let payloads = nos.iter().filter_map(|no| self.held.get(no)).map(|held| held.payload.clone()).collect();
        self.calls.insert(call, (kind, nos));
        actions.push_back(match kind {
            Kind::Delete => Action::Delete { call, payloads },
            Kind::Return | Kind::Extend => Action::SetVisibility { call, payloads, timeout },
        });
    }

    /// Takes the answer to a call. The numbers of a call are all still held: only its answer removes them.
    pub(super) fn answered(
        &mut self,
        call: u64,
        answer: Result<Vec<Settled>, InboxError>,
        settings: &Settings,
        now: Time,
        seed: &mut u64,
    ) {
        let Some((kind, nos)) = self.calls.remove(&call) else { return };
        let answers = match answer {
            Ok(answers) => {
                self.failures = 0;
                answers
            }
            Err(error) => {
                self.failures += 1;
                let pause = backoff(settings.inbox_backoff, settings.inbox_backoff_max, self.failures, seed);
                self.paused_until = now.after(pause);
                vec![Settled::Again(error.message); nos.len()]
            }
        };
        debug_assert_eq!(answers.len(), nos.len(), "one answer for each entry");
        for (no, answer) in nos.into_iter().zip(answers) {
            match kind {
                Kind::Delete => self.deleted(no, &answer, settings, now),
                Kind::Return => self.returned(no, &answer, settings),
                Kind::Extend => self.extended(no, &answer, settings, now),
            }
        }
    }

    fn deleted(&mut self, no: DeliveryNo, answer: &Settled, settings: &Settings, now: Time) {
        let tried = self.tried(no);
        match answer {
            Settled::Again(_) if tried < settings.delete_tries => {
                self.deletes.push_back(no);
                self.deletes_since.get_or_insert(now);
            }
            // It comes again, and the ledger says that it is a duplicate.
            _ => self.forget(no),
        }
    }

    fn returned(&mut self, no: DeliveryNo, answer: &Settled, settings: &Settings) {
        let tried = self.tried(no);
        match answer {
            Settled::Again(_) if tried < settings.delete_tries => self.returns.push_back(no),
            Settled::Done => {
                self.counts.returned += 1;
                self.forget(no);
            }
            Settled::Again(_) | Settled::Gone(_) => {
                self.counts.at_risk += 1;
                self.forget(no);
            }
        }
    }

    fn extended(&mut self, no: DeliveryNo, answer: &Settled, settings: &Settings, now: Time) {
        let Some(delivery) = self.held.get_mut(&no) else { return };
        match answer {
            Settled::Done => self.heartbeats.push_back((now.after(settings.visibility_timeout / 2), no)),
            // Soon again, ahead of the others: half of its time is over.
            Settled::Again(_) => self.heartbeats.push_front((now.after(settings.visibility_timeout / 16), no)),
            Settled::Gone(_) => delivery.lost = true,
        }
    }

    fn tried(&mut self, no: DeliveryNo) -> u32 {
        self.held.get_mut(&no).map_or(u32::MAX, |delivery| {
            delivery.tries += 1;
            delivery.tries
        })
    }

    /// When [`Self::pump`] has something to do.
    pub(super) fn wake_at(&self, settings: &Settings, flush: bool) -> Option<Time> {
        let returns = (!self.returns.is_empty() && self.room(Kind::Return, settings)).then_some(Time::ZERO);
        let deletes = self
            .deletes_since
            .filter(|_| self.room(Kind::Delete, settings))
            .map(|since| if flush { Time::ZERO } else { since.after(settings.ack_linger) });
        let beats = self.heartbeats.front().filter(|_| self.room(Kind::Extend, settings)).map(|(due, _)| *due);
        [returns, deletes, beats].into_iter().flatten().min().map(|at| at.max(self.paused_until))
    }
}

fn first(queue: &mut VecDeque<DeliveryNo>) -> Vec<DeliveryNo> {
    let count = queue.len().min(CALL_MAX);
    queue.drain(..count).collect()
}
