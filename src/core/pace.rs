//! How fast the drain may go: additive increase, multiplicative decrease on commit latency and errors, under a ceiling.

use std::collections::VecDeque;
use std::time::Duration;

use super::time::Time;
use crate::backlog::Limit;

/// How often the pace is adjusted.
const WINDOW: Duration = Duration::from_millis(500);

/// Windows from nothing to the ceiling while all is well: 20 seconds.
const RAMP: u32 = 40;

/// So many commits are remembered; the second slowest of them counts, so that one hiccup does not.
const COMMITS: usize = 20;

/// Credit for so long may be saved up: it bounds the burst after a pause.
const BURST: Duration = Duration::from_millis(200);

/// A commit waits for credit for at least so long a time, so that a slow pace does not mean tiny batches.
const QUANTUM: Duration = Duration::from_millis(50);

const MICRO: u64 = 1_000_000;

/// The bounds of a pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PaceSettings {
    /// Orders a second at most.
    pub rate_max: u32,
    /// Orders a second at least.
    pub rate_min: u32,
    /// A commit that takes longer makes it slower.
    pub commit_target: Duration,
}

/// The pace as an operator may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaceSeen {
    /// Orders a second that are allowed now.
    pub allowed: u32,
    /// How long a commit takes lately.
    pub commit: Duration,
    /// What limits the drain.
    pub limited_by: Limit,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is true or not by itself")]
pub(super) struct Pace {
    settings: PaceSettings,
    allowed: u32,
    /// Millionths of orders that may go now.
    credit: u64,
    credited: Time,
    adjusted: Time,
    commits: VecDeque<Duration>,
    /// In this window: an error, or more was wanted than there was credit for.
    failed: bool,
    short: bool,
    /// In the window before.
    was_short: bool,
    /// The last change was a cut.
    cut: bool,
}

impl Pace {
    pub(super) fn new(settings: PaceSettings) -> Self {
        let allowed = (settings.rate_max / RAMP).max(settings.rate_min);
        Self {
            settings,
            allowed,
            credit: 0,
            credited: Time::ZERO,
            adjusted: Time::ZERO,
            commits: VecDeque::new(),
            failed: false,
            short: false,
            was_short: false,
            cut: false,
        }
    }

    /// How many of `most` orders may go in one write now. None, until [`Self::wake_at`], for fewer than are worth one.
    pub(super) fn grants(&mut self, most: usize, now: Time) -> usize {
        self.adjust(now);
        self.refill(now);
        let credit = usize::try_from(self.credit / MICRO).unwrap_or(usize::MAX);
        let granted = credit.min(most);
        if granted < self.quantum().min(most) { 0 } else { granted }
    }

    /// So many orders went; `short`: more would have gone if there had been credit for them.
    pub(super) fn spend(&mut self, orders: usize, short: bool) {
        self.short |= short;
        self.credit = self.credit.saturating_sub(orders as u64 * MICRO);
    }

    pub(super) fn committed(&mut self, took: Duration) {
        if self.commits.len() == COMMITS {
            self.commits.pop_front();
        }
        self.commits.push_back(took);
    }

    pub(super) fn failed(&mut self) {
        self.failed = true;
    }

    /// When a grant that was short is worth asking for again.
    pub(super) fn wake_at(&self) -> Option<Time> {
        let missing = (self.quantum() as u64 * MICRO).saturating_sub(self.credit);
        self.short.then(|| self.credited.after(Duration::from_micros(missing / u64::from(self.allowed) + 1)))
    }

    /// `above`: what limits the drain whatever the pace; `below`: what does when the pace would allow more.
    pub(super) fn seen(&self, above: Option<Limit>, below: Limit) -> PaceSeen {
        let limited_by = match above {
            Some(limit) => limit,
            None if !(self.was_short || self.short) => below,
            None if self.cut => Limit::DatabaseLatency,
            None if self.allowed == self.settings.rate_max => Limit::Ceiling,
            None => Limit::RampUp,
        };
        PaceSeen { allowed: self.allowed, commit: self.slow_commit(), limited_by }
    }

    fn slow_commit(&self) -> Duration {
        let mut sorted: Vec<Duration> = self.commits.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len().saturating_sub(2)).copied().unwrap_or_default()
    }

    fn quantum(&self) -> usize {
        (share(self.allowed, QUANTUM) / MICRO).max(1) as usize
    }

    fn refill(&mut self, now: Time) {
        let earned = share(self.allowed, now.since(self.credited));
        // At least one quantum has to fit, or a very slow pace would never grant one.
        let most = share(self.allowed, BURST).max(self.quantum() as u64 * MICRO);
        self.credit = (self.credit + earned).min(most);
        self.credited = self.credited.max(now);
    }

    fn adjust(&mut self, now: Time) {
        if now.since(self.adjusted) < WINDOW {
            return;
        }
        self.adjusted = now;
        let PaceSettings { rate_max, rate_min, commit_target } = self.settings;
        if self.failed || self.slow_commit() > commit_target {
            // Errors halve it, slow commits take three tenths. What was measured before the cut says nothing after it.
            let cut = if self.failed { self.allowed / 2 } else { self.allowed / 10 * 7 };
            self.allowed = cut.max(rate_min);
            self.commits.clear();
            self.cut = true;
        } else if self.short {
            self.allowed = (self.allowed + (rate_max / RAMP).max(1)).min(rate_max);
            self.cut = false;
        }
        self.was_short = std::mem::take(&mut self.short);
        self.failed = false;
    }
}

/// What `rate` orders a second come to in this time, in millionths of orders.
fn share(rate: u32, time: Duration) -> u64 {
    u64::from(rate).saturating_mul(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
