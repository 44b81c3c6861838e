//! What may happen in a state.

use millrace::core::{SpoolWork, Work};
use millrace::ledger::Gate;
use millrace::order::Ordering;
use millrace::window::Phase;

use super::super::sim::ledger::Pass;
use super::protocol::{Action, Fault, Protocol, Who};
use super::state::{Message, Operator, State, Worker};

impl Protocol {
    pub fn offer(&self, state: &State, actions: &mut Vec<Action>) {
        let whos: Vec<Who> =
            [Who::Worker(0), Who::Worker(1)].into_iter().chain(state.drain.is_some().then_some(Who::Drain)).collect();
        // A worker's delete touches nothing but its message, whose order is durable elsewhere: whether something else
        // happens before it makes no difference, except for faults of the delete itself, a crash, and a message that
        // comes again. (A drain's delete removes a row, on which a seal and an append depend.)
        let deletes = |who: &Who| *who != Who::Drain && !worker(state, *who).deletes.is_empty();
        if let Some(who) = whos.iter().copied().find(deletes) {
            Self::offer_delete(state, who, actions);
            if state.faults > 0 {
                actions.push(Action::Crash(who));
            }
            return;
        }
        for who in whos {
            self.offer_work(state, who, actions);
        }
        self.offer_messages(state, actions);
        actions.extend((0..state.ghosts.len()).map(Action::Ghost));
        self.offer_drain(state, actions);
        self.offer_operators(state, actions);
        for name in state.ledger.get().customers.keys() {
            if state.ledger.get().decidable(name).is_some() {
                actions.extend([Action::Retry(name.clone()), Action::Skip(name.clone())]);
            }
        }
    }

    fn offer_delete(state: &State, who: Who, actions: &mut Vec<Action>) {
        actions.push(Action::Delete(who, true, true));
        if state.faults > 0 {
            actions.extend([Action::Delete(who, false, false), Action::Delete(who, true, false)]);
        }
    }

    /// What a process has on its way.
    fn offer_work(&self, state: &State, who: Who, actions: &mut Vec<Action>) {
        let process = worker(state, who);
        for (slot, work) in &process.writes {
            if !self.changes_something(state, process, work) {
                continue;
            }
            let action = |end| Action::Write(who, *slot, end);
            actions.push(action(None));
            if state.faults > 0 {
                actions.push(action(Some(Fault::Away)));
            }
            let writes = matches!(work, Work::Commit { .. } | Work::Park(_) | Work::Quarantine { .. });
            if writes && state.faults > 0 {
                actions.push(action(Some(Fault::LostAnswer)));
            }
            if matches!(work, Work::Commit { .. }) {
                if state.faults > 0 && !state.ledger.get().parked.is_empty() {
                    actions.push(action(Some(Fault::OldSnapshot)));
                }
                if state.faults > 0 {
                    actions.push(action(Some(Fault::Timeout)));
                }
            }
        }
        if !process.deletes.is_empty() {
            Self::offer_delete(state, who, actions);
        }
        if let Who::Worker(index) = who {
            for (slot, work) in &process.spools {
                if matches!(work, SpoolWork::Look) && process.spools_to.is_none() && !is_worth_a_look(state) {
                    continue;
                }
                actions.push(Action::Spool(index, *slot, None));
                if state.faults > 0 {
                    actions.push(Action::Spool(index, *slot, Some(Fault::Away)));
                }
                if matches!(work, SpoolWork::Append { .. }) && state.faults > 0 {
                    actions.push(Action::Spool(index, *slot, Some(Fault::LostAnswer)));
                }
            }
        }
        let waits = !state.ledger.get().parked.is_empty()
            || process.core.held().next().is_some()
            || (process.spools_to.is_some() && process.spools_to != state.backlog.get().accepts());
        if waits && process.core.wake_at().is_some_and(super::falls_due) {
            actions.push(Action::Wake(who));
        }
        if state.faults > 0 {
            actions.push(Action::Crash(who));
        }
    }

    /// A question whose answer would only bring the same question again is answered later: when it would be another.
    fn changes_something(&self, state: &State, process: &Worker, work: &Work<super::Parcel>) -> bool {
        let ledger = state.ledger.get();
        match work {
            Work::Probe => {
                let wanted = if process.epoch.is_some() { Gate::Draining } else { Gate::Open };
                let spools = process.epoch.is_none() && self.spools() && state.backlog.get().accepts().is_some();
                ledger.gate.read(process.pass()) == wanted || spools
            }
            _ => true,
        }
    }

    fn spools(&self) -> bool {
        self.settings.appenders > 0
    }

    fn offer_messages(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, message) in state.messages.iter().enumerate() {
            match message {
                Message::InFlight(None) => actions.push(Action::Expire(index)),
                Message::InFlight(Some(_)) if state.faults > 0 => actions.push(Action::Expire(index)),
                Message::Deleted if state.faults > 0 => actions.push(Action::Redeliver(index)),
                _ => {}
            }
        }
        for (index, process) in state.workers.iter().enumerate() {
            if !process.get().polls.is_empty() {
                actions.extend(self.receives(state).into_iter().map(|messages| Action::Receive(index, messages)));
            }
        }
    }

    /// What one receive may bring. In a group nothing passes an earlier message that is in flight.
    fn receives(&self, state: &State) -> Vec<Vec<usize>> {
        let visible = |index: &usize| state.messages[*index] == Message::Visible;
        if self.setup.ordering != Ordering::Fifo {
            return (0..state.messages.len()).filter(visible).map(|index| vec![index]).collect();
        }
        let mut receives = Vec::new();
        let entry = |index: usize| &self.catalog(state).entries[self.sqs.messages[index].entry];
        for customer in 0..self.setup.customers.len() {
            let name = format!("c{customer}");
            let group = (0..state.messages.len())
                .filter(|index| entry(*index).customer.as_ref().is_some_and(|customer| customer.as_str() == name))
                .filter(|index| state.messages[*index] != Message::Deleted);
            let first: Vec<usize> = group.take_while(visible).take(self.setup.receive_max).collect();
            receives.extend((1..=first.len()).map(|count| first[..count].to_vec()));
        }
        receives
    }

    fn offer_drain(&self, state: &State, actions: &mut Vec<Action>) {
        let (ledger, backlog) = (state.ledger.get(), state.backlog.get());
        let granted = backlog.phase != Phase::Sealed && ledger.gate.read(Pass::Drain(backlog.epoch)) == Gate::Draining;
        match &state.drain {
            None if granted => actions.push(Action::StartDrain),
            None => {}
            Some(drain) => {
                if backlog.phase == Phase::Sealed || drain.get().epoch != Some(backlog.epoch) {
                    actions.push(Action::StopDrain);
                }
                if !drain.get().polls.is_empty() {
                    actions.extend(self.reads(state, drain.get()).into_iter().map(Action::Read));
                }
            }
        }
        if state.unseals > 0 && backlog.clone().unseal(backlog.epoch, 0) {
            actions.push(Action::Unseal);
        }
    }

    /// What one read of a drain may bring: of one customer its next row, or its next two.
    fn reads(&self, state: &State, drain: &Worker) -> Vec<Vec<u64>> {
        let catalog = self.catalog(state);
        let mut lines: std::collections::BTreeMap<_, Vec<(u128, u64)>> = std::collections::BTreeMap::new();
        for (row, parcel) in &state.backlog.get().rows {
            if !drain.rows.contains(row) {
                lines.entry(&catalog.entry(*parcel).customer).or_default().push((parcel.rank, *row));
            }
        }
        let mut reads = Vec::new();
        for mut line in lines.into_values() {
            line.sort_unstable();
            let rows: Vec<u64> = line.into_iter().map(|(_, row)| row).take(2).collect();
            reads.extend((1..=rows.len()).map(|count| rows[..count].to_vec()));
        }
        reads
    }

    fn offer_operators(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, operator) in state.operators.iter().enumerate() {
            actions.push(Action::Die(index));
            actions.push(match operator {
                Operator { step: Some(_), .. } => Action::Step(index),
                Operator { gate: Some(_), .. } => Action::ReadBacklog(index),
                _ => Action::ReadGate(index),
            });
        }
        if state.operators.len() == self.setup.operators {
            return;
        }
        if state.begins > 0 {
            actions.push(Action::BeginWindow);
        }
        let gate = &state.ledger.get().gate;
        if gate.state != Gate::Open || gate.announced > gate.epoch || state.backlog.get().phase != Phase::Sealed {
            actions.push(Action::EndWindow);
        }
    }
}

pub fn worker(state: &State, who: Who) -> &Worker {
    match who {
        Who::Worker(index) => state.workers[index].get(),
        Who::Drain => state.drain.as_ref().expect("a drain that acts is there").get(),
    }
}

/// Whether a look at the phase leads further than to the next look.
fn is_worth_a_look(state: &State) -> bool {
    state.backlog.get().accepts().is_some() || state.ledger.get().gate.read(Pass::Live) == Gate::Open
}
