//! What happened in a run, counted by kind. A run in which nothing happened proves nothing.

use millrace::order::Ordering;

/// Where a kind can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Everywhere,
    /// On a standard queue.
    Standard,
    Fifo,
    Gapless,
    /// Where there are lines that can be blocked.
    Strict,
    /// Where windows come and go.
    Windows,
    /// Where none do.
    NoWindows,
    /// Anywhere, but too seldom to be asked for.
    Seldom,
}

macro_rules! kinds {
    ($($kind:ident, $text:literal, $usual:literal, $place:ident;)*) => {
        /// A kind of fault, or of what follows from faults.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($kind),* }

        impl Kind {
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            pub fn text(self) -> &'static str {
                match self { $(Kind::$kind => $text),* }
            }

            /// How often it usually is made to happen, in a thousand cases. 0: it follows from others, or it is one of
            /// the storms, which are drawn by turns.
            pub fn usual(self) -> usize {
                match self { $(Kind::$kind => $usual),* }
            }

            fn place(self) -> Place {
                match self { $(Kind::$kind => Place::$place),* }
            }
        }
    };
}

kinds! {
    // The queue.
    SendReplyLost, "queue: send sent again after a lost reply", 60, Everywhere;
    Deduplicated, "queue: send known to the deduplication window", 0, Fifo;
    CallLost, "queue: call lost before it was carried out", 10, Everywhere;
    ReceiveReplyLost, "queue: reply of a receive lost", 15, Everywhere;
    DeleteReplyLost, "queue: reply of a delete lost", 15, Everywhere;
    VisibilityReplyLost, "queue: reply of a visibility change lost", 30, Everywhere;
    ReceiveMisses, "queue: receive that does not see what is there", 50, Everywhere;
    Duplicated, "queue: message received twice at once", 10, Standard;
    Undeleted, "queue: message received after its delete", 1, Standard;
    DeleteAgain, "queue: entry of a delete failed for now", 30, Everywhere;
    DeleteGone, "queue: entry of a delete failed for good", 15, Everywhere;
    VisibilityAgain, "queue: entry of a visibility change failed for now", 30, Everywhere;
    VisibilityGone, "queue: entry of a visibility change failed for good", 15, Everywhere;
    StaleHandle, "queue: handle that is not the newest used", 0, Everywhere;
    BackOfQueue, "queue: message sent to the back after three receives", 0, Standard;
    HeldTooLong, "queue: message asked for beyond its longest invisibility", 0, Everywhere;
    Redelivered, "queue: message received again", 0, Everywhere;
    QueueAway, "storm: queue away", 0, Everywhere;
    QueueThrottled, "storm: queue throttles", 0, Everywhere;
    QueueRefused, "storm: queue refuses", 0, Everywhere;
    // The locks.
    LockCallLost, "locks: call lost before it was carried out", 10, Everywhere;
    LockReplyLost, "locks: reply lost", 20, Everywhere;
    LockLate, "locks: reply late", 20, Everywhere;
    LockDenied, "locks: free lock denied", 30, Everywhere;
    LockDoubled, "locks: lock granted that another has", 30, Everywhere;
    LockElsewhere, "locks: lock held elsewhere", 0, Everywhere;
    LeaseRanOut, "locks: lease run out under its holder", 0, Everywhere;
    LocksAway, "storm: locks away", 0, Everywhere;
    LocksFlushed, "storm: all locks lost", 0, Everywhere;
    // The ledger.
    LedgerRetry, "ledger: rolled back by a deadlock", 30, Everywhere;
    LedgerTimeout, "ledger: rolled back by a timeout", 30, Everywhere;
    LedgerRefuses, "ledger: connection refused", 10, Everywhere;
    LedgerUnrecognised, "ledger: unknown code", 3, Everywhere;
    LedgerUnknown, "ledger: connection lost after sending", 40, Everywhere;
    UnknownNotSent, "ledger: of the lost ones, never carried out", 0, Everywhere;
    UnknownDone, "ledger: of the lost ones, carried out", 0, Everywhere;
    UnknownRuns, "ledger: of the lost ones, still running", 0, Everywhere;
    ResolvedDone, "ledger: unknown commit found committed", 0, Everywhere;
    ResolvedNotDone, "ledger: unknown commit found missing", 0, Everywhere;
    RowsLocked, "ledger: customer's row locked", 20, Everywhere;
    CopyUnseen, "ledger: parked copy not seen by an old snapshot", 50, Gapless;
    StaleRun, "ledger: stale run refused by the position", 0, Gapless;
    EarlyRun, "ledger: run refused that comes too early", 0, Gapless;
    GateRefused, "ledger: write refused by the gate", 0, Everywhere;
    StaleDrain, "ledger: write of a drain refused after its window", 0, Windows;
    LateRefused, "ledger: write refused that nobody waits for", 0, Windows;
    BlockedRun, "ledger: run refused behind a blocked order", 0, Strict;
    OwnFault, "ledger: commit failed by an order's own fault", 0, Everywhere;
    KeyTaken, "ledger: commit failed by a taken key", 0, Gapless;
    NextWindow, "ledger: one window ended and the next began while a new connection was looked over", 0, Seldom;
    LedgerAway, "storm: ledger away", 0, Everywhere;
    LedgerAwayLong, "storm: ledger away for long", 0, Everywhere;
    LedgerReadOnly, "storm: ledger read-only", 0, Everywhere;
    LedgerBroken, "storm: ledger broken", 0, Everywhere;
    GateToggled, "storm: gate opened or closed", 0, NoWindows;
    // The backlog.
    BacklogCallLost, "backlog: call lost before it was carried out", 20, Windows;
    BacklogReplyLost, "backlog: reply lost", 20, Windows;
    BacklogLate, "backlog: reply late", 60, Windows;
    AppendRuns, "backlog: append that nobody waits for", 0, Windows;
    AppendRefused, "backlog: append refused", 0, Windows;
    BacklogAway, "storm: backlog away", 0, Windows;
    BacklogBroken, "storm: backlog broken", 0, Windows;
    BothAway, "storm: ledger and backlog away", 0, Windows;
    // The processes.
    Killed, "storm: instance killed", 0, Everywhere;
    Terminated, "storm: instance asked to stop", 0, Everywhere;
    Paused, "storm: instance stands still", 0, Everywhere;
    DrainPaused, "storm: drain stands still", 0, Windows;
    DrainKilled, "storm: drain killed", 0, Windows;
    LeaseStolen, "drain lease lost under a drain that works", 15, Windows;
    DrainsOn, "drain not told in time that it is over", 700, Windows;
    PersonDecides, "storm: a person decides", 0, Everywhere;
    OperatorDied, "operator's command killed", 60, Windows;
    AnnouncerDied, "operator's command killed after its announcement", 200, Windows;
    ServerStopped, "ledger stopped for its window", 400, Windows;
    // What became of the orders.
    Committed, "orders committed", 0, Everywhere;
    Duplicates, "deliveries found to be duplicates", 0, Everywhere;
    Parked, "deliveries parked", 0, Strict;
    Unparked, "parked orders committed", 0, Strict;
    Absent, "look-ups that found nothing", 0, Seldom;
    Quarantined, "entries put into quarantine", 0, Everywhere;
    Conflicts, "conflicts put into quarantine", 0, Everywhere;
    Malformed, "malformed messages put into quarantine", 0, Everywhere;
    Poison, "poisoned orders put into quarantine", 0, Everywhere;
    Returned, "deliveries handed back", 0, Everywhere;
    Spooled, "deliveries spooled", 0, Windows;
    Drained, "orders committed by a drain", 0, Windows;
    Removed, "rows removed from the backlog", 0, Windows;
    Retried, "blocked orders retried by a person", 0, Strict;
    Skipped, "blocked orders skipped by a person", 0, Strict;
    Drains, "drains", 0, Windows;
    Seals, "seals", 0, Windows;
    Unseals, "seals taken back", 0, Windows;
    Windows, "windows ended", 0, Windows;
}

/// The storms: each comes for a while, or at once.
pub const STORMS: &[Kind] = &[
    Kind::QueueAway,
    Kind::QueueThrottled,
    Kind::QueueRefused,
    Kind::LocksAway,
    Kind::LocksFlushed,
    Kind::LedgerAway,
    Kind::LedgerAwayLong,
    Kind::LedgerReadOnly,
    Kind::LedgerBroken,
    Kind::GateToggled,
    Kind::BacklogAway,
    Kind::BacklogBroken,
    Kind::BothAway,
    Kind::Killed,
    Kind::Terminated,
    Kind::Paused,
    Kind::DrainPaused,
    Kind::DrainKilled,
    Kind::PersonDecides,
];

impl Kind {
    /// Whether it can happen there.
    pub fn belongs(self, ordering: Ordering, windows: bool) -> bool {
        match self.place() {
            Place::Everywhere | Place::Seldom => true,
            Place::Standard => ordering != Ordering::Fifo,
            Place::Fifo => ordering == Ordering::Fifo,
            Place::Gapless => ordering == Ordering::Gapless,
            Place::Strict => ordering != Ordering::None,
            Place::Windows => windows,
            Place::NoWindows => !windows,
        }
    }
}

/// How often each kind happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally([u64; Kind::ALL.len()]);

impl Tally {
    pub fn new() -> Self {
        Self([0; Kind::ALL.len()])
    }

    pub fn note(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    pub fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    pub fn add(&mut self, other: &Tally) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The kinds that had to happen and did not.
    pub fn missing(&self, ordering: Ordering, windows: bool) -> Vec<&'static str> {
        let asked = |kind: &Kind| kind.belongs(ordering, windows) && kind.place() != Place::Seldom;
        let missing = Kind::ALL.iter().filter(|kind| asked(kind) && self.of(**kind) == 0);
        missing.map(|kind| kind.text()).collect()
    }
}
