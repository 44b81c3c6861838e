//! Ledger and backlog as far as a window goes: each step with the guard that the design gives it.

use jiff::Timestamp;
use millrace::window::{Epoch, Gate, GateView, Notice, Phase, PhaseView, Step};

/// Both stores, and what is in the backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stores {
    pub gate: GateRow,
    pub backlog: BacklogRow,
    /// Orders that only the backlog has.
    pub waiting: u8,
    /// Orders that are in the ledger already, and not yet removed.
    pub drained: u8,
    /// Which epochs the gate was ever closed under, a bit each: for the invariants alone.
    pub closed: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GateRow {
    pub gate: Gate,
    pub epoch: Epoch,
    pub announced: Epoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BacklogRow {
    pub phase: Phase,
    pub epoch: Epoch,
    /// How often a seal was taken back.
    pub turn: u8,
    /// A seal of this turn is announced.
    pub sealing: bool,
    /// The latest window that was announced.
    pub announced: Epoch,
}

/// How many orders wait at most, in the backlog or on their way out of it.
const ROWS: u8 = 1;

/// How often a seal is taken back in a window.
const TURNS: u8 = 1;

impl Stores {
    pub fn new() -> Self {
        Self {
            gate: GateRow { gate: Gate::Open, epoch: 0, announced: 0 },
            backlog: BacklogRow { phase: Phase::Sealed, epoch: 0, turn: 0, sealing: false, announced: 0 },
            waiting: 0,
            drained: 0,
            closed: 1,
        }
    }

    pub fn rows(&self) -> u8 {
        self.waiting + self.drained
    }

    /// The ledger's steps. False: it came too late.
    pub fn take(&mut self, step: Step) -> bool {
        let Self { gate, backlog, .. } = self;
        let due = match step {
            Step::Announce(epoch) => gate.announced < epoch,
            Step::Close { from, to } => gate.epoch == from && from < to && to <= gate.announced,
            Step::Grant(epoch) => gate.gate == Gate::Closed && gate.epoch == epoch && gate.announced == epoch,
            Step::Reopen(epoch) => gate.gate == Gate::Draining && gate.epoch == epoch,
            Step::StartSpooling(epoch) => backlog.epoch < epoch,
            Step::AnnounceSeal { epoch, turn } => backlog.is(Phase::Spooling, epoch, turn) && !backlog.sealing,
            Step::Seal { epoch, turn } => backlog.is(Phase::Spooling, epoch, turn) && backlog.sealing,
            Step::Sealed(epoch) => {
                backlog.phase == Phase::Sealing && backlog.epoch == epoch && self.waiting + self.drained == 0
            }
        };
        if !due {
            return false;
        }
        match step {
            Step::Announce(epoch) => gate.announced = epoch,
            Step::Close { to, .. } => {
                (gate.gate, gate.epoch) = (Gate::Closed, to);
                self.closed |= 1 << to;
            }
            Step::Grant(_) => gate.gate = Gate::Draining,
            Step::Reopen(_) => gate.gate = Gate::Open,
            Step::StartSpooling(epoch) => {
                let announced = backlog.announced.max(epoch);
                *backlog = BacklogRow { phase: Phase::Spooling, epoch, turn: 0, sealing: false, announced };
            }
            Step::AnnounceSeal { .. } => backlog.sealing = true,
            Step::Seal { .. } => (backlog.phase, backlog.sealing) = (Phase::Sealing, false),
            Step::Sealed(_) => backlog.phase = Phase::Sealed,
        }
        true
    }

    /// What workers and drainers may do now.
    pub fn moves_of_workers(&self) -> Vec<Self> {
        let mut next = Vec::new();
        let mut may = |may: bool, change: fn(&mut Self)| {
            if may {
                let mut stores = *self;
                change(&mut stores);
                next.push(stores);
            }
        };
        may(self.waiting < ROWS && self.backlog.view().accepts(), |stores| stores.waiting += 1);
        may(self.waiting > 0 && self.drained < ROWS && self.gate.drains(), |stores| {
            stores.waiting -= 1;
            stores.drained += 1;
        });
        may(self.drained > 0, |stores| stores.drained -= 1);
        may(self.backlog.turn < TURNS && (self.backlog.sealing || self.backlog.phase == Phase::Sealing), |stores| {
            let backlog = &mut stores.backlog;
            (backlog.phase, backlog.sealing, backlog.turn) = (Phase::Spooling, false, backlog.turn + 1);
        });
        next
    }

    /// Everything that can be drained now is.
    pub fn drain(&mut self) {
        if self.gate.drains() {
            self.waiting = 0;
        }
        self.drained = 0;
    }
}

impl GateRow {
    fn drains(&self) -> bool {
        self.gate == Gate::Draining && self.epoch == self.announced
    }

    pub fn view(&self) -> GateView {
        let &Self { gate, epoch, announced } = self;
        GateView { gate, epoch, announced, since: Timestamp::UNIX_EPOCH, notice: Notice::default() }
    }
}

impl BacklogRow {
    fn is(&self, phase: Phase, epoch: Epoch, turn: u64) -> bool {
        self.phase == phase && self.epoch == epoch && u64::from(self.turn) == turn
    }

    pub fn view(&self) -> PhaseView {
        PhaseView {
            phase: self.phase,
            epoch: self.epoch,
            turn: self.turn.into(),
            announced: self.sealing || self.announced > self.epoch,
            since: Timestamp::UNIX_EPOCH,
            notice: Notice::default(),
        }
    }
}
