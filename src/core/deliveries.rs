//! The deliveries in our hands: heartbeats while they are held, batched deletes and returns when they end.
//!
//! A delivery counts as held until SQS has answered its delete or return, so deletes keep up with receives (I12).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::time::{Time, backoff};
use super::{Action, Settings};
use crate::inbox::{InboxError, Settled};
use crate::outcome::Outcome;

/// The core's number of a delivery.
pub(super) type DeliveryNo = u64;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Delivery<P> {
    payload: P,
    bytes: u32,
    received: Time,
    /// When its heartbeat is due. None while one is on its way, and when there will be none any more.
    beat_at: Option<Time>,
    /// A heartbeat is on its way. A return has to wait for it: overtaken, it would hide the message again.
    beating: bool,
    /// Extending failed for good: the message comes again by itself.
    lost: bool,
    stage: Stage,
    tries: u32,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Held,
    /// It ended; SQS has not answered the delete yet.
    Deleting,
    /// It ended; SQS has not answered the return yet.
    Returning,
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
    /// Ended, and their message deleted.
    pub finished: u64,
    /// Handed back.
    pub returned: u64,
    /// Deleting or handing back failed, or the handle was lost: their visibility timeout has to end first.
    pub at_risk: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Deliveries<P> {
    next_no: DeliveryNo,
    next_call: u64,
    held: BTreeMap<DeliveryNo, Delivery<P>>,
    bytes: u64,
    heartbeats: BTreeSet<(Time, DeliveryNo)>,
    /// How many have ended and wait for SQS.
    ending: usize,
    deletes: VecDeque<DeliveryNo>,
    /// Since when the first of `deletes` waits.
    deletes_since: Option<Time>,
    returns: VecDeque<DeliveryNo>,
    /// How many were handed back, and SQS has not answered.
    returning: usize,
    /// The calls on their way, and when they began.
    calls: BTreeMap<u64, (Kind, Time, Vec<DeliveryNo>)>,
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
            heartbeats: BTreeSet::new(),
            ending: 0,
            deletes: VecDeque::new(),
            deletes_since: None,
            returns: VecDeque::new(),
            returning: 0,
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

    /// Deliveries that ended, and whose delete or return SQS has not answered yet.
    pub(super) fn ending(&self) -> usize {
        self.ending
    }

    /// Whether deletes keep up with receives: no more of them wait than one round of calls takes. Otherwise messages
    /// would be received faster than they are deleted, until they come again before their delete. And whether all that
    /// was handed back is back: before, the next in line may be what stands behind it.
    pub(super) fn keep_up(&self, settings: &Settings) -> bool {
        self.deletes.len() <= settings.calls_max * settings.call_max && self.returning == 0
    }

    /// Whether SQS has answered for everything that ended.
    pub(super) fn is_settled(&self) -> bool {
        self.ending == 0
    }

    /// Takes a delivery that was received by a call begun at `polled`.
    pub(super) fn take(&mut self, payload: P, bytes: u32, polled: Time, settings: &Settings) -> DeliveryNo {
        let no = self.next_no;
        self.next_no += 1;
        self.bytes += u64::from(bytes);
        let beat_at = polled.after(settings.visibility_timeout / 2);
        let delivery = Delivery {
            payload,
            bytes,
            received: polled,
            beat_at: Some(beat_at),
            beating: false,
            lost: false,
            stage: Stage::Held,
            tries: 0,
        };
        self.held.insert(no, delivery);
        self.heartbeats.insert((beat_at, no));
        no
    }

    /// Ends a delivery: its message is deleted, or handed back when it is returned.
    pub(super) fn end(&mut self, no: DeliveryNo, outcome: Outcome, now: Time, actions: &mut VecDeque<Action<P>>) {
        let delivery = self.held.get_mut(&no).expect("a delivery is held until its end");
        debug_assert_eq!(delivery.stage, Stage::Held, "a delivery ends once");
        delivery.stage = if outcome == Outcome::Returned { Stage::Returning } else { Stage::Deleting };
        self.ending += 1;
        actions.push_back(Action::Ended { payload: delivery.payload.clone(), outcome });
        if outcome != Outcome::Returned {
            // Under heartbeats until it is deleted, so that a delete may be tried again.
            self.deletes.push_back(no);
            self.deletes_since.get_or_insert(now);
            return;
        }
        self.returning += 1;
        let (lost, beating) = (delivery.lost, delivery.beating);
        self.set_beat(no, None);
        if lost {
            self.risk(no);
        } else if !beating {
            self.returns.push_back(no);
        }
    }

    fn set_beat(&mut self, no: DeliveryNo, at: Option<Time>) {
        let Some(delivery) = self.held.get_mut(&no) else { return };
        if let Some(before) = std::mem::replace(&mut delivery.beat_at, at) {
            self.heartbeats.remove(&(before, no));
        }
        self.heartbeats.extend(at.map(|at| (at, no)));
    }

    fn risk(&mut self, no: DeliveryNo) {
        self.counts.at_risk += 1;
        self.forget(no);
    }

    fn forget(&mut self, no: DeliveryNo) {
        if let Some(delivery) = self.held.remove(&no) {
            if let Some(at) = delivery.beat_at {
                self.heartbeats.remove(&(at, no));
            }
            self.bytes -= u64::from(delivery.bytes);
            self.ending -= usize::from(delivery.stage != Stage::Held);
            self.returning -= usize::from(delivery.stage == Stage::Returning);
        }
    }

    /// Starts the calls that are due.
    pub(super) fn pump(&mut self, settings: &Settings, now: Time, flush: bool, actions: &mut VecDeque<Action<P>>) {
        if now < self.paused_until {
            return;
        }
        while self.room(Kind::Return, settings) && !self.returns.is_empty() {
            let nos = first(&mut self.returns, settings.call_max);
            self.call(Kind::Return, nos, (now, Duration::ZERO), actions);
        }
        let lingered = |since: Option<Time>| since.is_some_and(|since| since.after(settings.ack_linger) <= now);
        while self.room(Kind::Delete, settings)
            && (self.deletes.len() >= settings.call_max
                || (!self.deletes.is_empty() && (flush || lingered(self.deletes_since))))
        {
            let nos = first(&mut self.deletes, settings.call_max);
            self.deletes_since = (!self.deletes.is_empty()).then_some(now);
            self.call(Kind::Delete, nos, (now, Duration::ZERO), actions);
        }
        self.beat(settings, now, actions);
    }

    /// Extends what is due. What is due within an eighth of the timeout shares the call.
    fn beat(&mut self, settings: &Settings, now: Time, actions: &mut VecDeque<Action<P>>) {
        let timeout = settings.visibility_timeout;
        while self.heartbeats.first().is_some_and(|(due, _)| *due <= now) && self.room(Kind::Extend, settings) {
            let mut nos = Vec::with_capacity(settings.call_max);
            while nos.len() < settings.call_max
                && let Some((due, no)) = self.heartbeats.first().copied()
                && due <= now.after(timeout / 8)
            {
                self.set_beat(no, None);
                let delivery = self.held.get_mut(&no).expect("a heartbeat is of something held");
                // SQS ends a message's invisibility 12 h after its receive, whatever is asked.
                delivery.lost = now.since(delivery.received) >= settings.hold_max;
                delivery.beating = !delivery.lost;
                nos.extend(delivery.beating.then_some(no));
            }
            if !nos.is_empty() {
                self.call(Kind::Extend, nos, (now, timeout), actions);
            }
        }
    }

    fn room(&self, kind: Kind, settings: &Settings) -> bool {
        self.calls.values().filter(|(other, ..)| *other == kind).count() < settings.calls_max
    }

    fn call(
        &mut self,
        kind: Kind,
        nos: Vec<DeliveryNo>,
        (now, timeout): (Time, Duration),
        actions: &mut VecDeque<Action<P>>,
    ) {
        let call = self.next_call;
        self.next_call += 1;
        let payloads = nos.iter().filter_map(|no| self.held.get(no)).map(|held| held.payload.clone()).collect();
        self.calls.insert(call, (kind, now, nos));
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
        let Some((kind, begun, nos)) = self.calls.remove(&call) else { return };
        let answers = match answer {
            Ok(answers) => {
                self.failures = 0;
                answers
            }
            Err(_) if kind == Kind::Delete => {
                // SQS is away, and says nothing of these messages: they wait for it, held and under heartbeats.
                self.pause(settings, now, seed);
                self.deletes.extend(nos);
                self.deletes_since.get_or_insert(now);
                return;
            }
            Err(error) => {
                self.pause(settings, now, seed);
                vec![Settled::Again(error.message); nos.len()]
            }
        };
        debug_assert_eq!(answers.len(), nos.len(), "one answer for each entry");
        for (no, answer) in nos.into_iter().zip(answers) {
            match kind {
                Kind::Delete => self.deleted(no, &answer, settings, now),
                Kind::Return => self.returned(no, &answer, settings),
                Kind::Extend => self.extended(no, &answer, settings, (begun, now)),
            }
        }
    }

    fn pause(&mut self, settings: &Settings, now: Time, seed: &mut u64) {
        self.failures += 1;
        // Heartbeats pause with the others, so the pause stays small beside the visibility timeout.
        let longest = settings.inbox_backoff_max.min(settings.visibility_timeout / 8);
        self.paused_until = now.after(backoff(settings.inbox_backoff, longest, self.failures, seed));
    }

    fn deleted(&mut self, no: DeliveryNo, answer: &Settled, settings: &Settings, now: Time) {
        let tried = self.tried(no);
        match answer {
            Settled::Again(_) if tried < settings.delete_tries => {
                self.deletes.push_back(no);
                self.deletes_since.get_or_insert(now);
            }
            // It comes again, and the ledger says that it is a duplicate.
            Settled::Again(_) => self.risk(no),
            Settled::Done | Settled::Gone(_) => {
                self.counts.finished += 1;
                self.forget(no);
            }
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
            Settled::Again(_) | Settled::Gone(_) => self.risk(no),
        }
    }

    /// An extension counts from before it was asked for.
    fn extended(&mut self, no: DeliveryNo, answer: &Settled, settings: &Settings, (begun, now): (Time, Time)) {
        let Some(delivery) = self.held.get_mut(&no) else { return };
        delivery.beating = false;
        delivery.lost = matches!(answer, Settled::Gone(_));
        match (delivery.stage == Stage::Returning, answer) {
            (true, Settled::Gone(_)) => self.risk(no),
            (true, _) => self.returns.push_back(no),
            (false, Settled::Done) => self.set_beat(no, Some(begun.after(settings.visibility_timeout / 2))),
            // Soon again: half of its time is over.
            (false, Settled::Again(_)) => self.set_beat(no, Some(now.after(settings.visibility_timeout / 16))),
            (false, Settled::Gone(_)) => {}
        }
    }

    fn tried(&mut self, no: DeliveryNo) -> u32 {
        self.held.get_mut(&no).map_or(u32::MAX, |delivery| {
            delivery.tries += 1;
            delivery.tries
        })
    }

    pub(super) fn rebase(&mut self, now: Time) {
        self.next_no = self.held.last_key_value().map_or(0, |(no, _)| no + 1);
        let first = self.calls.first_key_value().map_or(self.next_call, |(call, _)| *call);
        self.next_call -= first;
        self.calls = std::mem::take(&mut self.calls).into_iter().map(|(call, of)| (call - first, of)).collect();
        for delivery in self.held.values_mut() {
            delivery.received = delivery.received.from(now);
            delivery.beat_at = delivery.beat_at.map(|at| at.from(now));
        }
        self.heartbeats = self.heartbeats.iter().map(|(at, no)| (at.from(now), *no)).collect();
        self.deletes_since = self.deletes_since.map(|at| at.from(now));
        for (_, begun, _) in self.calls.values_mut() {
            *begun = begun.from(now);
        }
        self.paused_until = self.paused_until.from(now);
        self.failures = 0;
        self.counts = Counts::default();
    }

    /// When [`Self::pump`] has something to do.
    pub(super) fn wake_at(&self, settings: &Settings, flush: bool) -> Option<Time> {
        let returns = (!self.returns.is_empty() && self.room(Kind::Return, settings)).then_some(Time::ZERO);
        let deletes = self
            .deletes_since
            .filter(|_| self.room(Kind::Delete, settings))
            .map(|since| if flush { Time::ZERO } else { since.after(settings.ack_linger) });
        let beats = self.heartbeats.first().filter(|_| self.room(Kind::Extend, settings)).map(|(due, _)| *due);
        [returns, deletes, beats].into_iter().flatten().min().map(|at| at.max(self.paused_until))
    }
}

fn first(queue: &mut VecDeque<DeliveryNo>, most: usize) -> Vec<DeliveryNo> {
    let count = queue.len().min(most);
    queue.drain(..count).collect()
}
