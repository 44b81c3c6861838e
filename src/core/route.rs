//! Where orders go now: to the ledger, to the backlog, or nowhere.
//!
//! A worker tries the ledger. When it is closed or away, the backlog is asked: spooling means that a window is on.
//! Anything else, or no answer, means that orders stay where they are. An outage alone never leads to the backlog.

use super::Settings;
use super::time::{Time, backoff};
use crate::window::Epoch;

/// Where a worker sends orders.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// To the ledger.
    Direct,
    /// To the backlog.
    Spool {
        /// The window.
        epoch: Epoch,
        /// When the phase is looked at again.
        look_at: Time,
    },
    /// Nowhere: nothing is received, what is held stays under heartbeats.
    Hold {
        /// Since when.
        since: Time,
        /// When backlog and ledger are asked.
        probe_at: Time,
        /// Why, in a sentence.
        reason: String,
    },
    /// Nowhere yet: a probe is on its way.
    Probing {
        /// Since when nothing goes anywhere.
        since: Time,
        /// Why, in a sentence.
        reason: String,
        /// How far the probe is.
        probe: Probe,
    },
    /// The probe passed: one small write at a time, until one succeeds.
    HalfOpen {
        /// Since when nothing goes freely to the ledger.
        since: Time,
    },
}

/// A probe asks the backlog first, where there is one, and then the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Probe {
    /// The backlog was asked.
    Looking,
    /// The backlog is not spooling, or does not answer: the ledger is to be asked.
    Ask,
    /// The ledger was asked.
    Asking,
}

/// The route, and what is needed to change it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Routing {
    pub route: Route,
    has_backlog: bool,
    /// The gate was found open beside a backlog that is not sealed. Until it is known to be closed the backlog is not
    /// asked: by its word this worker would spool beside others that commit.
    barred: bool,
    failures: u32,
    /// Since when what is held waits for the ledger; none when there is nothing to hand back.
    kept_since: Option<Time>,
    /// How often the ledger was opened to writes. What the backlog was asked before that says nothing after it.
    pub opened: u64,
}

impl Routing {
    pub(super) fn new(settings: &Settings) -> Self {
        let has_backlog = settings.appenders > 0;
        let route = if settings.pace.is_none() {
            Route::Direct
        } else {
            // A drain comes to a database that was just started: it asks before it writes.
            Route::Hold { since: Time::ZERO, probe_at: Time::ZERO, reason: "the drain begins with a probe".into() }
        };
        Self { route, has_backlog, barred: false, failures: 0, kept_since: None, opened: 0 }
    }

    /// Stops sending to the ledger. An outage that goes on keeps its beginning. While orders go to the backlog it does
    /// not matter how the ledger is.
    pub(super) fn hold(&mut self, now: Time, reason: &str, settings: &Settings, seed: &mut u64) {
        let since = match self.route {
            Route::Spool { .. } => return,
            // What was received or came back to us since the last return is kept for its own time.
            Route::Hold { .. } => {
                self.kept_since.get_or_insert(now);
                return;
            }
            Route::Direct => now,
            Route::Probing { since, .. } | Route::HalfOpen { since } => since,
        };
        // The backlog is asked at once whether a window has begun.
        let at_once = self.asks_backlog() && self.route == Route::Direct;
        self.hold_since(since, at_once, now, reason, settings, seed);
    }

    /// The ledger's gate is open beside a backlog that is not sealed.
    pub(super) fn bar(&mut self) {
        self.barred = true;
    }

    /// The ledger's gate is closed.
    pub(super) fn unbar(&mut self) {
        self.barred = false;
    }

    fn asks_backlog(&self) -> bool {
        self.has_backlog && !self.barred
    }

    fn hold_since(&mut self, since: Time, at_once: bool, now: Time, reason: &str, settings: &Settings, seed: &mut u64) {
        self.kept_since.get_or_insert(now);
        let probe_at = if at_once {
            now
        } else {
            self.failures += 1;
            now.after(backoff(settings.hold_probe, settings.hold_probe_max, self.failures, seed))
        };
        self.route = Route::Hold { since, probe_at, reason: reason.to_owned() };
    }

    /// The backlog takes orders, as it was asked when `opened` was this. Says whether that is news.
    pub(super) fn spool(&mut self, epoch: Epoch, opened: u64, now: Time, settings: &Settings) -> bool {
        if opened != self.opened {
            // Since then commits were sent, which no gate was closed behind as far as we know.
            return false;
        }
        let news = !matches!(self.route, Route::Spool { .. });
        self.route = Route::Spool { epoch, look_at: now.after(settings.look) };
        self.failures = 0;
        self.kept_since = None;
        news
    }

    /// The backlog took orders.
    pub(super) fn spooled(&mut self, now: Time, settings: &Settings) {
        if let Route::Spool { look_at, .. } = &mut self.route {
            *look_at = now.after(settings.look);
        }
    }

    /// The backlog takes no orders any more, or does not answer.
    pub(super) fn stop_spooling(&mut self, now: Time, reason: &str, settings: &Settings, seed: &mut u64) {
        if matches!(self.route, Route::Spool { .. }) {
            self.hold_since(now, false, now, reason, settings, seed);
        }
    }

    /// The backlog is not spooling, or does not answer: it is the ledger's turn.
    pub(super) fn not_spooling(&mut self) {
        if let Route::Probing { probe: probe @ Probe::Looking, .. } = &mut self.route {
            *probe = Probe::Ask;
        }
    }

    /// Whether a look at the backlog's phase is due; then it is on its way.
    pub(super) fn look(&mut self, now: Time, settings: &Settings) -> bool {
        let asks_backlog = self.asks_backlog();
        match &mut self.route {
            Route::Hold { since, probe_at, reason } if asks_backlog && *probe_at <= now => {
                self.route = Route::Probing { since: *since, reason: reason.clone(), probe: Probe::Looking };
                true
            }
            Route::Spool { look_at, .. } if *look_at <= now => {
                *look_at = now.after(settings.look);
                true
            }
            _ => false,
        }
    }

    /// Whether a probe of the ledger is due; then it is on its way.
    pub(super) fn probe(&mut self, now: Time) -> bool {
        let asks_backlog = self.asks_backlog();
        match &mut self.route {
            Route::Hold { since, probe_at, reason } if !asks_backlog && *probe_at <= now => {
                self.route = Route::Probing { since: *since, reason: reason.clone(), probe: Probe::Asking };
                true
            }
            Route::Probing { probe: probe @ Probe::Ask, .. } => {
                *probe = Probe::Asking;
                true
            }
            _ => false,
        }
    }

    /// The probe passed. What is received from now on is kept for its own time, if nothing is held from before.
    pub(super) fn half_open(&mut self, holds_nothing: bool) {
        if let Route::Probing { since, .. } = self.route {
            self.route = Route::HalfOpen { since };
            self.opened += 1;
            if holds_nothing {
                self.kept_since = None;
            }
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

    /// Whether another write may go to the ledger beside `busy` ones.
    pub(super) fn admits(&self, busy: usize) -> bool {
        match self.route {
            Route::Direct => true,
            Route::HalfOpen { .. } => busy == 0,
            Route::Spool { .. } | Route::Hold { .. } | Route::Probing { .. } => false,
        }
    }

    /// Whether messages may be received.
    pub(super) fn receives(&self) -> bool {
        matches!(self.route, Route::Direct | Route::Spool { .. } | Route::HalfOpen { .. })
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

    /// `asked`: what [`Self::opened`] was for each question to the backlog that is on its way.
    pub(super) fn rebase<'a>(&mut self, now: Time, asked: impl Iterator<Item = &'a mut u64>) {
        // Only whether the ledger was opened since is ever asked.
        for opened in asked {
            *opened = u64::from(*opened == self.opened);
        }
        self.opened = 1;
        self.failures = 0;
        self.kept_since = self.kept_since.map(|since| since.from(now));
        match &mut self.route {
            Route::Direct => {}
            Route::Spool { look_at, .. } => *look_at = look_at.from(now),
            Route::Hold { since, probe_at, .. } => (*since, *probe_at) = (since.from(now), probe_at.from(now)),
            Route::Probing { since, .. } | Route::HalfOpen { since } => *since = since.from(now),
        }
    }

    pub(super) fn wake_at(&self, settings: &Settings) -> Option<Time> {
        let next = match self.route {
            Route::Hold { probe_at, .. } => Some(probe_at),
            Route::Spool { look_at, .. } => Some(look_at),
            _ => None,
        };
        [next, self.keep_ends(settings)].into_iter().flatten().min()
    }
}
