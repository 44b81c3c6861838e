//! An operator of the model: the real decisions of `maintenance begin` and `end` over what was read a while ago.

use jiff::Timestamp;
use millrace::window::{Begin, End, GateView, Next, Notice};

use super::state::{Command, State};

/// What an operator does by what it has read: the real decisions.
pub fn decides(state: &mut State, index: usize) {
    let (gate, epoch, announced) = state.operators[index].gate.take().expect("it has read the gate");
    let (since, notice) = (Timestamp::UNIX_EPOCH, Notice::default());
    let gate = GateView { gate, epoch, announced, since, notice };
    let phase = state.backlog.get().view();
    let operator = &mut state.operators[index];
    let next = match operator.command {
        Command::ToBegin => {
            operator.command = Command::Begin(Begin::new(&gate, &phase));
            return;
        }
        Command::ToEnd => {
            operator.command = Command::End(End::new(&gate));
            return;
        }
        Command::Begin(begin) => begin.next(&gate, &phase),
        Command::End(end) => end.next(&gate, &phase, true),
    };
    match next {
        Next::Take(step) => operator.step = Some(step),
        Next::Wait => {}
        Next::Done | Next::Stop(_) => {
            state.operators.remove(index);
        }
    }
}
