//! What holds in every state, beside what the stand-ins and the core check themselves.

use millrace::ledger::Gate;
use millrace::window::Phase;

use super::protocol::Protocol;
use super::state::{Message, State};

impl Protocol {
    /// The invariant that does not hold.
    pub fn check(&self, state: &State) -> Option<String> {
        let (ledger, backlog) = (state.ledger.get(), state.backlog.get());
        if ledger.gate.state == Gate::Open
            && (backlog.phase != Phase::Sealed || !backlog.rows.is_empty() || backlog.epoch != ledger.gate.epoch)
        {
            return Some(format!("I4: the gate is open beside {backlog:?}"));
        }
        for (index, message) in state.messages.iter().enumerate() {
            let entry = self.sqs.messages[index].entry;
            let catalog = self.catalog(state);
            if *message == Message::Deleted && !ledger.has(catalog, entry) && !backlog.has(catalog, entry) {
                return Some(format!("I3: message {index} is nowhere"));
            }
        }
        for (name, customer) in &ledger.customers {
            let rows = ledger.parked_of(name).count() as u64;
            if customer.parked != rows {
                return Some(format!("the counter of {name} says {}, there are {rows} rows", customer.parked));
            }
            if customer.last as usize != customer.line.len() {
                return Some(format!("I2: {name} has {} ends at position {}", customer.line.len(), customer.last));
            }
            let sorted = customer.line.windows(2).all(|pair| pair[0] < pair[1]);
            if !sorted {
                return Some(format!("I2: {:?}", customer.line));
            }
        }
        None
    }

    /// Every order has its end, nothing is left anywhere, and no window is on.
    pub fn is_finished(&self, state: &State) -> bool {
        let (ledger, backlog) = (state.ledger.get(), state.backlog.get());
        let gate = &ledger.gate;
        gate.state == Gate::Open
            && gate.announced == gate.epoch
            && backlog.phase == Phase::Sealed
            && state.messages.iter().all(|message| *message == Message::Deleted)
            && ledger.parked.is_empty()
            && ledger.quarantine.is_empty()
            && ledger.customers.values().map(|customer| customer.line.len()).sum::<usize>() == self.sqs.messages.len()
    }
}
