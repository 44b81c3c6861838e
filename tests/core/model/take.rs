//! What an action leads to: the stand-ins execute what is on its way, and the real core takes the answers.

use std::collections::BTreeMap;

use millrace::backlog::{BacklogError, ErrorClass as BacklogErrorClass};
use millrace::core::{Action as Does, Appended, Input, LockCall, Route, SpoolWork, Spooled, Time, Work, Written};
use millrace::inbox::{InboxError, InboxErrorClass, Settled};
use millrace::ledger::{ErrorClass, Verdict};
use millrace::order::{CustomerId, Rank};
use millrace::outcome::Outcome;

use super::super::sim::catalog::Parcel;
use super::super::sim::chance::Chance;
use super::super::sim::ledger::{Ledger, Pass, Runs, error};
use super::super::sim::world::write::{customers, fail};
use super::offer::worker;
use super::operator::decides;
use super::protocol::{Action, Fault, Protocol, Who};
use super::state::{Command, Ghost, Message, Operator, Part, State, Worker};

type Parked = BTreeMap<(CustomerId, Rank), Parcel>;

impl Protocol {
    pub fn take(&self, state: &mut State, action: &Action) {
        match action {
            Action::Receive(index, messages) => self.receives_messages(state, *index, messages),
            Action::Read(rows) => self.reads_rows(state, rows),
            Action::Write(who, slot, end) => self.writes(state, *who, *slot, *end),
            Action::Spool(index, slot, end) => self.spools_work(state, *index, *slot, *end),
            Action::Delete(who, executed, answered) => self.deletes(state, *who, *executed, *answered),
            Action::Wake(who) => self.wakes_up(state, *who),
            Action::Crash(who) => self.crashes(state, *who),
            Action::Expire(message) | Action::Redeliver(message) => state.messages[*message] = Message::Visible,
            Action::Ghost(index) => match state.ghosts.remove(*index) {
                Ghost::Write(pass, work) => {
                    self.execute(state, pass, &work, false);
                }
                Ghost::Append(work) => {
                    self.append(state, &work);
                }
            },
            Action::StartDrain => {
                let epoch = state.backlog.get().epoch;
                state.drain = Some(Part::new(self.boot(Some(epoch))));
                self.wakes_up(state, Who::Drain);
            }
            Action::StopDrain => leaves(state, Who::Drain),
            Action::Unseal => {
                state.unseals -= 1;
                state.backlog.change(|backlog| backlog.unseal(backlog.epoch, 0));
            }
            Action::BeginWindow => {
                state.begins -= 1;
                state.operators.push(Operator { command: Command::ToBegin, gate: None, step: None });
            }
            Action::EndWindow => state.operators.push(Operator { command: Command::ToEnd, gate: None, step: None }),
            Action::ReadGate(index) => {
                let gate = &state.ledger.get().gate;
                state.operators[*index].gate = Some((gate.state, gate.epoch, gate.announced));
            }
            Action::ReadBacklog(index) => decides(state, *index),
            Action::Step(index) => {
                let step = state.operators[*index].step.take().expect("it has decided");
                state.ledger.change(|ledger| ledger.gate.step(step));
                state.backlog.change(|backlog| backlog.step(step));
            }
            Action::Die(index) => {
                state.operators.remove(*index);
            }
            Action::Retry(name) => {
                let mut catalog = self.catalog(state).clone();
                state.ledger.change(|ledger| ledger.retry(name, &mut catalog));
                state.repaired = true;
            }
            Action::Skip(name) => {
                let catalog = self.catalog(state).clone();
                state.ledger.change(|ledger| ledger.skip(name, &catalog));
            }
        }
    }

    fn receives_messages(&self, state: &mut State, index: usize, messages: &[usize]) {
        let poll = state.workers[index].change(|worker| worker.polls.pop_first()).expect("a poll is on its way");
        let mut arrivals = Vec::new();
        for message in messages {
            state.messages[*message] = Message::InFlight(Some(index));
            arrivals.push(self.catalog(state).arrival(self.parcel(*message)));
        }
        self.feed(state, Who::Worker(index), Time::ZERO, Input::Received { poll, result: Ok(arrivals) });
    }

    fn reads_rows(&self, state: &mut State, rows: &[u64]) {
        let drain = state.drain.as_mut().expect("it reads");
        let poll = drain.change(|drain| {
            drain.rows.extend(rows);
            drain.polls.pop_first().expect("a poll is on its way")
        });
        let parcels = rows.iter().map(|row| Parcel { receipt: *row, ..state.backlog.get().rows[row] });
        let arrivals = parcels.map(|parcel| self.catalog(state).arrival(parcel)).collect();
        self.feed(state, Who::Drain, Time::ZERO, Input::Received { poll, result: Ok(arrivals) });
    }

    fn writes(&self, state: &mut State, who: Who, slot: usize, fault: Option<Fault>) {
        let (work, pass) = process(state, who).change(|worker| {
            let work = worker.writes.remove(&slot).expect("it is on its way");
            if let Work::Commit { runs, .. } = &work
                && fault == Some(Fault::LostAnswer)
            {
                worker.frozen.extend(runs.iter().map(|(name, _)| name.clone()));
            }
            (work, worker.pass())
        });
        let written = match fault {
            None | Some(Fault::OldSnapshot) => {
                let written = self.execute(state, pass, &work, fault == Some(Fault::OldSnapshot));
                let definite = matches!(&written, Written::Commit(Ok(_)))
                    || matches!(&written, Written::Commit(Err(error)) if matches!(error.class, ErrorClass::Fault | ErrorClass::Taken));
                if definite && let Work::Commit { runs, .. } = &work {
                    process(state, who).change(|worker| {
                        for (name, _) in runs {
                            worker.frozen.remove(name);
                        }
                    });
                }
                written
            }
            Some(Fault::Away) => fail(&work, error(ErrorClass::Away, "away")),
            Some(Fault::Timeout) => fail(&work, error(ErrorClass::Timeout, "timeout")),
            Some(Fault::LostAnswer) => {
                state.ghosts.push(Ghost::Write(pass, work.clone()));
                fail(&work, error(ErrorClass::Unknown, "unknown"))
            }
        };
        self.seen.lock().unwrap().written(&written);
        self.feed(state, who, Time::ZERO, Input::Wrote { slot, written });
    }

    /// A statement of the ledger, at once.
    fn execute(&self, state: &mut State, pass: Pass, work: &Work<Parcel>, old_snapshot: bool) -> Written<Parcel> {
        let catalog = self.catalog(state);
        let before = state.ledger.clone();
        let mut ledger = state.ledger.clone();
        let mut written = ledger.change(|ledger| ledger.execute(pass, work, (catalog, &self.sqs), &mut Chance::new(0)));
        if old_snapshot && let (Work::Commit { runs, .. }, Written::Commit(Ok(verdicts))) = (work, &mut written) {
            ledger.change(|ledger| leave_copies(ledger, &before.get().parked, runs, verdicts));
        }
        state.ledger = ledger;
        written
    }

    fn spools_work(&self, state: &mut State, index: usize, slot: usize, fault: Option<Fault>) {
        let work = state.workers[index].change(|worker| worker.spools.remove(&slot)).expect("it is on its way");
        let away = || BacklogError { class: BacklogErrorClass::Away, message: "away".into() };
        let spooled = match (&work, fault) {
            (SpoolWork::Look, None) => Spooled::Look(Ok(state.backlog.get().accepts())),
            (SpoolWork::Look, _) => Spooled::Look(Err(away())),
            (SpoolWork::Append { .. }, None) => Spooled::Append(Ok(self.append(state, &work))),
            (SpoolWork::Append { .. }, _) => {
                if fault == Some(Fault::LostAnswer) {
                    state.ghosts.push(Ghost::Append(work.clone()));
                }
                Spooled::Append(Err(away()))
            }
        };
        self.seen.lock().unwrap().spooled(&spooled);
        self.feed(state, Who::Worker(index), Time::ZERO, Input::Spooled { slot, spooled });
    }

    fn append(&self, state: &mut State, work: &SpoolWork<Parcel>) -> Appended {
        let SpoolWork::Append { epoch, orders } = work else { unreachable!("a look is no ghost") };
        let catalog = self.catalog(state);
        let mut backlog = state.backlog.clone();
        let answer = backlog.change(|backlog| backlog.append(*epoch, orders, catalog));
        state.backlog = backlog;
        answer
    }

    fn deletes(&self, state: &mut State, who: Who, executed: bool, answered: bool) {
        let (call, payloads) =
            process(state, who).change(|worker| worker.deletes.pop_first()).expect("it is on its way");
        if executed {
            for parcel in &payloads {
                let gone = who == Who::Drain;
                let durable = state.ledger.get().has(self.catalog(state), parcel.entry)
                    || (!gone && state.backlog.get().has(self.catalog(state), parcel.entry));
                assert!(durable, "I3: {parcel:?} is deleted and nowhere");
                if gone {
                    state.backlog.change(|backlog| backlog.rows.remove(&parcel.receipt));
                } else {
                    state.messages[message(*parcel)] = Message::Deleted;
                }
            }
        }
        if gone_for_good(who, answered) {
            process(state, who).change(|drain| {
                for parcel in &payloads {
                    drain.rows.remove(&parcel.receipt);
                }
            });
        }
        let result = if answered {
            Ok(vec![Settled::Done; payloads.len()])
        } else {
            Err(InboxError { class: InboxErrorClass::Away, message: "away".into() })
        };
        self.feed(state, who, Time::ZERO, Input::Settled { call, result });
    }

    /// Time passes for one process until its next deadline; or it begins.
    pub fn wakes_up(&self, state: &mut State, who: Who) {
        let at = worker(state, who).core.wake_at().filter(|at| super::falls_due(*at)).unwrap_or(Time::ZERO);
        self.feed(state, who, at, Input::Wake);
    }

    /// A process dies, and another one begins; a drain is left to whoever starts one.
    fn crashes(&self, state: &mut State, who: Who) {
        leaves(state, who);
        if let Who::Worker(index) = who {
            state.workers[index] = Part::new(self.boot(None));
            for message in &mut state.messages {
                if *message == Message::InFlight(Some(index)) {
                    *message = Message::InFlight(None);
                }
            }
            self.wakes_up(state, who);
        }
    }

    /// Hands the core its input, and does what needs no time: locks are granted to whoever asks.
    fn feed(&self, state: &mut State, who: Who, now: Time, input: Input<Parcel>) {
        let mut worker = process(state, who).clone();
        worker.change(|worker| {
            let mut inputs = vec![input];
            while let Some(input) = inputs.pop() {
                worker.core.handle(now, input);
                while let Some(action) = worker.core.poll() {
                    self.does(state, worker, action, &mut inputs);
                }
            }
            worker.spools_to = None;
            if let Route::Spool { epoch, .. } = worker.core.snapshot().route {
                worker.spools_to = Some(epoch);
                worker.frozen.clear();
            }
            worker.rebase();
        });
        *process(state, who) = worker;
    }

    fn does(&self, state: &State, worker: &mut Worker, action: Does<Parcel>, inputs: &mut Vec<Input<Parcel>>) {
        match action {
            Does::Receive { poll, .. } => assert!(worker.polls.insert(poll)),
            Does::Delete { call, payloads } => assert!(worker.deletes.insert(call, payloads).is_none()),
            Does::SetVisibility { .. } => unreachable!("nothing is held for so long"),
            Does::Lock { call, customers } => {
                let granted = if call == LockCall::Release { 0 } else { customers.len() };
                inputs.push(Input::Locked { call, result: Ok(vec![true; granted]) });
            }
            Does::Write { slot, work: Work::Sweep { limit, gap_after } } if !self.finds(state, worker, limit) => {
                // Another one comes when there is something to find.
                let gaps = gap_after.map(|_| Vec::new());
                inputs.push(Input::Wrote { slot, written: Written::Sweep(Ok((Vec::new(), gaps))) });
            }
            Does::Write { slot, work } => {
                self.check_frozen(state, worker, &work);
                assert!(worker.writes.insert(slot, work).is_none());
            }
            Does::Spool { slot, work } => assert!(worker.spools.insert(slot, work).is_none()),
            Does::Ended { payload, outcome } => {
                let durable = state.ledger.get().has(self.catalog(state), payload.entry)
                    || state.backlog.get().has(self.catalog(state), payload.entry);
                assert!(outcome == Outcome::Returned || durable, "I3: {outcome:?} of what is nowhere: {payload:?}");
            }
            Does::Unparked { .. } | Does::Quarantined { .. } | Does::Alarm(_) => {}
            Does::Stop(_) => unreachable!("nobody asked it to stop"),
        }
    }

    /// Whether a sweep would find or change something now.
    fn finds(&self, state: &State, worker: &Worker, limit: u32) -> bool {
        let ledger = state.ledger.get();
        let mut after = ledger.clone();
        let (ready, _) = after.sweep(limit, worker.pass(), self.catalog(state));
        !ready.is_empty() || after != *ledger
    }

    /// I11: after an unknown commit nothing of its customers is written but that commit again.
    fn check_frozen(&self, state: &State, worker: &Worker, work: &Work<Parcel>) {
        let names = customers(work, &|parcel| self.catalog(state).entry(parcel).customer.clone());
        let frozen = names.iter().any(|name| worker.frozen.contains(name));
        match work {
            Work::Commit { resolve, .. } => assert!(*resolve || !frozen, "I11: {work:?}"),
            Work::LookUp(_) | Work::Quarantine { blocks: false, .. } => {}
            _ => assert!(!frozen, "I11: {work:?}"),
        }
    }
}

impl Worker {
    /// As the core counts from now on.
    fn rebase(&mut self) {
        self.core.rebase();
        let first = self.polls.first().copied().unwrap_or_default();
        self.polls = self.polls.iter().map(|poll| poll - first).collect();
        let first = self.deletes.first_key_value().map_or(0, |(call, _)| *call);
        self.deletes = std::mem::take(&mut self.deletes).into_iter().map(|(call, of)| (call - first, of)).collect();
    }
}

/// What it has on its way may still be executed.
fn leaves(state: &mut State, who: Who) {
    let process = worker(state, who).clone();
    let pass = process.pass();
    let writes = process.writes.into_values();
    let writes = writes.filter(|work| matches!(work, Work::Commit { .. } | Work::Park(_) | Work::Quarantine { .. }));
    state.ghosts.extend(writes.map(|work| Ghost::Write(pass, work)));
    let appends = process.spools.into_values().filter(|work| matches!(work, SpoolWork::Append { .. }));
    state.ghosts.extend(appends.map(Ghost::Append));
    if who == Who::Drain {
        state.drain = None;
    }
}

fn process(state: &mut State, who: Who) -> &mut Part<Worker> {
    match who {
        Who::Worker(index) => &mut state.workers[index],
        Who::Drain => state.drain.as_mut().expect("a drain that acts is there"),
    }
}

/// The message of a delivery.
fn message(parcel: Parcel) -> usize {
    usize::try_from(parcel.receipt).expect("few messages") - 1
}

fn gone_for_good(who: Who, answered: bool) -> bool {
    who == Who::Drain && answered
}

/// A commit with an old snapshot leaves the parked copies of its orders where they are.
fn leave_copies(ledger: &mut Ledger, before: &Parked, runs: &Runs, verdicts: &mut [Verdict]) {
    for (place, parcel) in before {
        let run = runs.iter().position(|(name, _)| *name == place.0);
        if let (Some(run), false) = (run, ledger.parked.contains_key(place)) {
            ledger.parked.insert(place.clone(), *parcel);
            ledger.customers.get_mut(&place.0).unwrap().parked += 1;
            if let Verdict::Committed { parked, .. } = &mut verdicts[run] {
                *parked += 1;
            }
        }
    }
}
