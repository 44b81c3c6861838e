//! Where a window stands, by what was read of both stores: what it means, and what to type next.

use serde::Serialize;

use crate::window::{Gate, GateView, Phase, PhaseView};

/// Where a window stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// No window is on.
    Open,
    /// A close is announced and not done.
    Announced,
    /// Closed, and not spooling yet.
    Closed,
    /// The window is on.
    Spooling,
    /// The window ends: the backlog drains.
    Draining,
    /// The window ends: no more orders are accepted, the rest drains.
    Sealing,
    /// The backlog is empty, and the gate not open yet.
    Sealed,
    /// The two stores do not fit together.
    Inconsistent,
    /// One of the stores did not answer.
    Unknown,
}

impl Standing {
    /// By what was read; none where a store did not answer.
    #[must_use]
    pub fn of(gate: Option<&GateView>, backlog: Option<&PhaseView>) -> Self {
        let (Some(gate), Some(backlog)) = (gate, backlog) else { return Standing::Unknown };
        if gate.announced > gate.epoch {
            return Standing::Announced;
        }
        match (gate.gate, backlog.phase) {
            // Not sealed beside an open gate, or of a later window: one of the two was put back in time.
            (Gate::Open, Phase::Sealed) if backlog.epoch <= gate.epoch => Standing::Open,
            (Gate::Open, _) => Standing::Inconsistent,
            _ if backlog.epoch > gate.epoch => Standing::Inconsistent,
            (Gate::Closed, _) if backlog.epoch < gate.epoch => Standing::Closed,
            (Gate::Closed, Phase::Spooling) => Standing::Spooling,
            (Gate::Closed, _) => Standing::Inconsistent,
            // The drain was granted over a backlog that is of an earlier window: an end starts it.
            (Gate::Draining, _) if backlog.epoch < gate.epoch => Standing::Inconsistent,
            (Gate::Draining, Phase::Spooling) if backlog.announced => Standing::Sealing,
            (Gate::Draining, Phase::Spooling) => Standing::Draining,
            (Gate::Draining, Phase::Sealing) => Standing::Sealing,
            (Gate::Draining, Phase::Sealed) => Standing::Sealed,
        }
    }

    /// What it means for orders.
    #[must_use]
    pub fn means(self) -> &'static str {
        match self {
            Standing::Open => "no window is on: orders go to the ledger",
            Standing::Announced => "a begin is under way, or died: no write begins in the ledger, and the workers hold",
            Standing::Closed => "the gate is closed, and the backlog does not accept orders yet: the workers hold",
            Standing::Spooling => "a window is on: orders are accepted into the backlog",
            Standing::Draining => "the backlog drains into the ledger; orders are accepted into it meanwhile",
            Standing::Sealing => "no order is accepted for a moment, while the rest of the backlog drains",
            Standing::Sealed => "the backlog is empty, and the gate not open yet: the workers hold",
            Standing::Inconsistent => {
                "the two do not fit together, and no window leads there: was one restored from a snapshot, or replaced? \
                 The workers hold where they see it"
            }
            Standing::Unknown => {
                "a store does not answer: where the window stands is not known from the other one alone"
            }
        }
    }

    /// What to type next; none when nothing has to be done.
    #[must_use]
    pub fn next(self) -> Option<&'static str> {
        match self {
            Standing::Open => None,
            Standing::Announced | Standing::Closed => {
                Some("millrace maintenance begin --reason … for a window, or millrace maintenance end to open again")
            }
            Standing::Spooling => Some("when the ledger is back: millrace maintenance end"),
            Standing::Draining | Standing::Sealing | Standing::Sealed => {
                Some("millrace maintenance end, if it does not run already: it watches the drain and opens the gate")
            }
            Standing::Inconsistent => {
                Some("millrace maintenance begin --reason … closes the gate above both; then millrace maintenance end")
            }
            Standing::Unknown => {
                Some("start what does not answer, then look again; the workers hold or spool meanwhile")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::window::{Begin, End, Epoch, Next, Notice};

    fn gate(gate: Gate, epoch: Epoch, announced: Epoch) -> GateView {
        GateView { gate, epoch, announced, since: Timestamp::UNIX_EPOCH, notice: Notice::default() }
    }

    fn backlog(phase: Phase, epoch: Epoch, announced: bool) -> PhaseView {
        PhaseView { phase, epoch, turn: 0, announced, since: Timestamp::UNIX_EPOCH, notice: Notice::default() }
    }

    #[test]
    fn the_way_of_a_window() {
        use {Gate::*, Phase::*};
        for (stands, gate, backlog) in [
            (Standing::Open, gate(Open, 0, 0), backlog(Sealed, 0, false)),
            (Standing::Announced, gate(Open, 0, 1), backlog(Sealed, 0, false)),
            (Standing::Closed, gate(Closed, 1, 1), backlog(Sealed, 0, false)),
            (Standing::Spooling, gate(Closed, 1, 1), backlog(Spooling, 1, false)),
            (Standing::Draining, gate(Draining, 1, 1), backlog(Spooling, 1, false)),
            (Standing::Sealing, gate(Draining, 1, 1), backlog(Spooling, 1, true)),
            (Standing::Sealing, gate(Draining, 1, 1), backlog(Sealing, 1, false)),
            (Standing::Sealed, gate(Draining, 1, 1), backlog(Sealed, 1, false)),
            (Standing::Open, gate(Open, 1, 1), backlog(Sealed, 1, false)),
            // Taken back while it drained.
            (Standing::Announced, gate(Draining, 1, 2), backlog(Spooling, 1, false)),
            (Standing::Closed, gate(Closed, 2, 2), backlog(Spooling, 1, false)),
        ] {
            assert_eq!(Standing::of(Some(&gate), Some(&backlog)), stands, "{gate:?} {backlog:?}");
        }
        assert_eq!(Standing::of(None, Some(&backlog(Spooling, 1, false))), Standing::Unknown);
        assert_eq!(Standing::of(Some(&gate(Open, 0, 0)), None), Standing::Unknown);
    }

    /// Wherever two stores can stand: what cannot be ended is called so, and begin then end leads out of it.
    #[test]
    fn what_end_refuses_is_inconsistent_and_begin_mends_it() {
        let mut refused = 0;
        for g in [Gate::Open, Gate::Closed, Gate::Draining] {
            for p in [Phase::Spooling, Phase::Sealing, Phase::Sealed] {
                for (epoch, beside) in [(1, 1), (2, 1), (1, 2)] {
                    let (gate, backlog) = (gate(g, epoch, epoch), backlog(p, beside, false));
                    let standing = Standing::of(Some(&gate), Some(&backlog));
                    let next = End::new(&gate).next(&gate, &backlog, true);
                    if matches!(next, Next::Stop(_)) {
                        assert_eq!(standing, Standing::Inconsistent, "{gate:?} {backlog:?}");
                        refused += 1;
                    }
                    let mended = Begin::new(&gate, &backlog).next(&gate, &backlog);
                    assert!(matches!(mended, Next::Take(_)), "{gate:?} {backlog:?}: {mended:?}");
                    assert_eq!(standing == Standing::Open, standing.next().is_none());
                }
            }
        }
        assert!(refused > 5);
    }
}
