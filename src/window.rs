//! A maintenance window: the words that ledger and backlog share, and what an operator's command does next.
//!
//! Every window has an epoch. Each [`Step`] is one atomic step in one store, whose guard stands in its `WHERE`; a step
//! that comes too late changes nothing. A command reads both stores, asks [`Begin::next`] or [`End::next`], takes the
//! step, and reads again: so it can be killed anywhere and run again, by two operators at once, and a window can always be
//! ended (L3).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The number of a window; it only grows.
pub type Epoch = u64;

/// The state of the ledger's gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Live orders may be written.
    Open,
    /// Nothing may be written.
    Closed,
    /// Only the drain of the backlog may write.
    Draining,
}

/// The phase of the backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Orders are accepted.
    Spooling,
    /// No more orders are accepted: the rest is drained. May go back to spooling.
    Sealing,
    /// Empty, and closed until the next window.
    Sealed,
}

/// Why there is a window, as both stores keep it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notice {
    /// Why, in an operator's words.
    pub reason: Option<String>,
    /// Who.
    pub actor: Option<String>,
    /// When it is meant to end. Nothing happens by itself then.
    pub until: Option<Timestamp>,
}

/// The ledger's gate as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GateView {
    /// What may be written. Not yet true for new writes when an announced close waits: see `announced`.
    pub gate: Gate,
    /// The window that this state belongs to.
    pub epoch: Epoch,
    /// The latest epoch that was announced. Above `epoch`: every write is refused, a close is under way.
    pub announced: Epoch,
    /// Since when it is open; otherwise since when it was closed, drain included.
    pub since: Timestamp,
    /// Why, and who. Empty while the gate is open.
    pub notice: Notice,
}

/// The backlog's phase as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhaseView {
    /// What may be appended. Not any more when an announced seal or window waits: see [`PhaseView::accepts`].
    pub phase: Phase,
    /// The window that it belongs to.
    pub epoch: Epoch,
    /// How many seals and unseals there were.
    pub turn: u64,
    /// A seal of this turn, or the next window, was announced: appends are refused until it is done or taken back.
    pub announced: bool,
    /// Since when the backlog is in this phase.
    pub since: Timestamp,
    /// Why, and who.
    pub notice: Notice,
}

impl PhaseView {
    /// Whether orders may be appended under [`PhaseView::epoch`].
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.phase == Phase::Spooling && !self.announced
    }
}

/// One step of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Ledger: new writes are refused from now on, so that the close waits only for those in flight.
    Announce(Epoch),
    /// Ledger: any state of epoch `from` becomes closed under `to`, once the writes in flight have ended.
    Close {
        /// The epoch that was read.
        from: Epoch,
        /// The epoch of the window, which was announced.
        to: Epoch,
    },
    /// Backlog: any phase of a lower epoch becomes spooling. Only after the close of this epoch is known to be
    /// committed.
    StartSpooling(Epoch),
    /// Ledger: closed becomes draining.
    Grant(Epoch),
    /// Backlog: appends are refused from now on, so that the seal waits only for those in flight.
    AnnounceSeal {
        /// The window.
        epoch: Epoch,
        /// The turn that was read.
        turn: u64,
    },
    /// Backlog: spooling becomes sealing.
    Seal {
        /// The window.
        epoch: Epoch,
        /// The turn that was read.
        turn: u64,
    },
    /// Backlog: sealing becomes sealed, if no rows are left.
    Sealed(Epoch),
    /// Ledger: draining becomes open. Only when the backlog is sealed under this epoch.
    Reopen(Epoch),
}

/// What a command does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Take this step, then read again.
    Take(Step),
    /// Nothing can be done before the drain has come further. Read again in a moment.
    Wait,
    /// It is done.
    Done,
    /// It cannot be done.
    Stop(Stop),
}

/// Why a command ends without being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Another command was faster.
    #[error(
        "another operator began or ended a window meanwhile (the gate is at epoch {0}): look at `millrace maintenance status`, then decide"
    )]
    Overtaken(Epoch),
    /// The gate is open beside a backlog that is not sealed: one of the two was restored from a snapshot. So it looks
    /// also when another operator took a step between the two readings: it is true only while the gate, read once
    /// more after the backlog, is still the same (it never comes back to a state that it left). Otherwise read again.
    #[error(
        "the ledger's gate is at epoch {gate} and the backlog at epoch {backlog}, which no window leads to: was one of \
         them restored from a snapshot? `millrace maintenance begin` closes the gate above both, then `end` drains"
    )]
    Inconsistent {
        /// The gate's epoch.
        gate: Epoch,
        /// The backlog's.
        backlog: Epoch,
    },
}

/// `maintenance begin`: closes the gate and starts spooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Begin {
    epoch: Epoch,
}

impl Begin {
    /// A begin over what was read first. It joins a close that is announced, and starts a new epoch otherwise: also
    /// when the gate is closed or draining already, so that no `end` that began before can go on.
    #[must_use]
    pub fn new(gate: &GateView, backlog: &PhaseView) -> Self {
        Self { epoch: gate.announced.max(gate.epoch + 1).max(backlog.epoch + 1) }
    }

    /// The window that it begins.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What is next, by what was read now.
    #[must_use]
    pub fn next(&self, gate: &GateView, backlog: &PhaseView) -> Next {
        let to = self.epoch;
        if gate.announced < to {
            return Next::Take(Step::Announce(to));
        }
        if gate.epoch < to {
            return Next::Take(Step::Close { from: gate.epoch, to });
        }
        if gate.epoch > to || gate.gate != Gate::Closed {
            return Next::Stop(Stop::Overtaken(gate.epoch));
        }
        match backlog.epoch {
            epoch if epoch < to => Next::Take(Step::StartSpooling(to)),
            epoch if epoch == to && backlog.phase == Phase::Spooling => Next::Done,
            epoch if epoch == to => Next::Stop(Stop::Inconsistent { gate: to, backlog: epoch }),
            epoch => Next::Stop(Stop::Overtaken(epoch)),
        }
    }
}

/// `maintenance end`: grants the drain, seals the backlog when little is left of it, and reopens the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct End {
    epoch: Epoch,
}

impl End {
    /// An end over what was read first. A `begin` that died after its announcement is finished.
    #[must_use]
    pub fn new(gate: &GateView) -> Self {
        Self { epoch: gate.announced.max(gate.epoch) }
    }

    /// The window that it ends.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What is next, by what was read now. `little_left`: the rest of the backlog drains within a moment.
    #[must_use]
    pub fn next(&self, gate: &GateView, backlog: &PhaseView, little_left: bool) -> Next {
        let epoch = self.epoch;
        if gate.announced > epoch || gate.epoch > epoch {
            return Next::Stop(Stop::Overtaken(gate.announced.max(gate.epoch)));
        }
        if gate.epoch < epoch {
            return Next::Take(Step::Close { from: gate.epoch, to: epoch });
        }
        let inconsistent = Next::Stop(Stop::Inconsistent { gate: epoch, backlog: backlog.epoch });
        match (gate.gate, backlog.phase) {
            (Gate::Open, Phase::Sealed) => Next::Done,
            (Gate::Open, _) => inconsistent,
            _ if backlog.epoch > epoch => inconsistent,
            _ if backlog.epoch < epoch => Next::Take(Step::StartSpooling(epoch)),
            (Gate::Closed, Phase::Spooling) => Next::Take(Step::Grant(epoch)),
            (Gate::Closed, _) => inconsistent,
            (Gate::Draining, Phase::Spooling) if backlog.announced => {
                Next::Take(Step::Seal { epoch, turn: backlog.turn })
            }
            (Gate::Draining, Phase::Spooling) if little_left => {
                Next::Take(Step::AnnounceSeal { epoch, turn: backlog.turn })
            }
            (Gate::Draining, Phase::Spooling) => Next::Wait,
            (Gate::Draining, Phase::Sealing) => Next::Take(Step::Sealed(epoch)),
            (Gate::Draining, Phase::Sealed) => Next::Take(Step::Reopen(epoch)),
        }
    }
}
