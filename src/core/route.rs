//! Where orders go now: to the ledger, or nowhere while it is closed or away.

use super::Settings;
use super::time::{Time, backoff};

/// Where a worker sends orders.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// To the ledger.
    Direct,
    /// Nowhere: nothing is received, what is held stays under heartbeats.
    Hold {
        /// Since when.
        since: Time,
        /// When the ledger is probed.
        probe_at: Time,
        /// Why, in a sentence.
        reason: String,
    },
    /// Nowhere yet: a probe is on its way.
    Probing {
        /// Since when nothing goes to the ledger.
        since: Time,
        /// Why, in a sentence.
        reason: String,
    },
    /// The probe passed: one small write at a time, until one succeeds.
    HalfOpen {
        /// Since when nothing goes freely to the ledger.
        since: Time,
    },
}

/// The route, and what is needed to change it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Routing {
    pub route: Route,
    failures: u32,
    /// Since when what is held waits for the ledger; none when there is nothing to hand back.
    kept_since: Option<Time>,
}

impl Routing {
    pub(super) fn new() -> Self {
        Self { route: Route::Direct, failures: 0, kept_since: None }
    }

    /// Stops sending. An outage that goes on keeps its beginning.
    pub(super) fn hold(&mut self, now: Time, reason: &str, settings: &Settings, seed: &mut u64) {
        // What was received or came back to us since the last return is kept for its own time.
        self.kept_since.get_or_insert(now);
        let since = match self.route {
            Route::Hold { .. } => return,
            Route::Direct => now,
            Route::Probing { since, .. } | Route::HalfOpen { since } => since,
        };
        self.failures += 1;
        let pause = backoff(settings.hold_probe, settings.hold_probe_max, self.failures, seed);
        self.route = Route::Hold { since, probe_at: now.after(pause), reason: reason.to_owned() };
    }

    /// Whether a probe is due; then it is on its way.
    pub(super) fn probe(&mut self, now: Time) -> bool {
        match &self.route {
            Route::Hold { since, probe_at, reason } if *probe_at <= now => {
                self.route = Route::Probing { since: *since, reason: reason.clone() };
                true
            }
            _ => false,
        }
    }

    /// The probe passed.
    pub(super) fn half_open(&mut self) {
        if let Route::Probing { since, .. } = self.route {
            self.route = Route::HalfOpen { since };
        }
    }

    /// A write succeeded.
    pub(super) fn succeeded(&mut self) {
        if matches!(self.route, Route::HalfOpen { .. }) {
            self.route = Route::Direct;
        }
        if self.route == Route::Direct {
            self.failures = 0;
            self.kept_since = None;
        }
    }

    /// Whether another write may go beside `busy` ones.
    pub(super) fn admits(&self, busy: usize) -> bool {
        match self.route {
            Route::Direct => true,
            Route::HalfOpen { .. } => busy == 0,
            Route::Hold { .. } | Route::Probing { .. } => false,
        }
    }

    /// Whether messages may be received.
    pub(super) fn receives(&self) -> bool {
        matches!(self.route, Route::Direct | Route::HalfOpen { .. })
    }

    /// Whether what is held has to be handed back now.
    pub(super) fn gives_back(&mut self, now: Time, settings: &Settings) -> bool {
        let due = self.keep_ends(settings).is_some_and(|at| at <= now);
        if due {
            self.kept_since = None;
        }
        due
    }

    fn keep_ends(&self, settings: &Settings) -> Option<Time> {
        self.kept_since.filter(|_| !self.receives()).map(|since| since.after(settings.hold_keep))
    }

    pub(super) fn wake_at(&self, settings: &Settings) -> Option<Time> {
        let probe = match self.route {
            Route::Hold { probe_at, .. } => Some(probe_at),
            _ => None,
        };
        [probe, self.keep_ends(settings)].into_iter().flatten().min()
    }
}
