//! The backlog as it is shown: by `/status`, by `/metrics` and by `millrace backlog`.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backlog::{Depth, Drainer, Limit};
use crate::window::{Epoch, Notice, Phase, PhaseView};

/// Rates that are shown are those of the last seconds.
pub const RATES_OVER: Duration = Duration::from_secs(10);

/// The backlog at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BacklogStatus {
    /// Whether orders are accepted, drained out, or neither.
    pub phase: Phase,
    /// The window.
    pub epoch: Epoch,
    /// Since when it is in this phase.
    pub since: Timestamp,
    /// Why there is a window, and who began it.
    pub notice: Notice,
    /// Orders in it.
    pub rows: u64,
    /// Orders ever appended.
    pub appended: u64,
    /// Orders ever removed, because they are durable in the ledger.
    pub removed: u64,
    /// The age of the order that waits longest, in seconds since it was appended.
    pub oldest_seconds: Option<f64>,
    /// Orders appended a second. None until it was looked at twice.
    pub arrival_per_second: Option<f64>,
    /// Orders removed a second. None until it was looked at twice.
    pub drain_per_second: Option<f64>,
    /// When it will be empty, in seconds: rows / (drain - arrival). None when it is empty, not drained, or will not
    /// clear at this rate.
    pub eta_seconds: Option<f64>,
    /// It is being drained, and yet does not get smaller.
    pub will_not_clear: bool,
    /// Who drains. None when nobody does.
    pub drainer: Option<DrainerStatus>,
}

/// Who drains, and how it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrainerStatus {
    /// Which worker.
    pub owner: String,
    /// The rate that the pace allows, in orders a second.
    pub allowed_per_second: f64,
    /// How long commits take lately, in seconds.
    pub commit_seconds: f64,
    /// What limits the drain.
    pub limited_by: Option<Limit>,
}

impl BacklogStatus {
    /// What was read now, with what was read before for the rates.
    #[must_use]
    pub fn new(view: PhaseView, depth: &Depth, drainer: Option<Drainer>, before: Option<&Depth>) -> Self {
        let drainer = drainer.filter(|drainer| drainer.until > depth.now);
        let elapsed = before.map(|before| depth.now.duration_since(before.now).as_secs_f64()).filter(|s| *s > 0.0);
        let rate = |now: u64, then: fn(&Depth) -> u64| Some(count(now.saturating_sub(then(before?))) / elapsed?);
        let arrival_per_second = rate(depth.appended, |depth| depth.appended);
        let drain_per_second = rate(depth.removed, |depth| depth.removed);
        let gain = drain_per_second.zip(arrival_per_second).map(|(drain, arrival)| drain - arrival);
        let draining = depth.rows > 0 && drainer.is_some();
        Self {
            phase: view.phase,
            epoch: view.epoch,
            since: view.since,
            notice: view.notice,
            rows: depth.rows,
            appended: depth.appended,
            removed: depth.removed,
            oldest_seconds: depth.oldest.map(|oldest| depth.now.duration_since(oldest).as_secs_f64().max(0.0)),
            arrival_per_second,
            drain_per_second,
            eta_seconds: gain.filter(|gain| draining && *gain > 0.0).map(|gain| count(depth.rows) / gain),
            will_not_clear: draining && gain.is_some_and(|gain| gain <= 0.0),
            drainer: drainer.map(|drainer| DrainerStatus {
                owner: drainer.owner,
                allowed_per_second: drainer.progress.allowed_per_second,
                commit_seconds: drainer.progress.commit_seconds,
                limited_by: drainer.progress.limited_by,
            }),
        }
    }
}

/// What was seen lately, so that rates are those of the last seconds and not of one moment.
#[derive(Debug, Clone)]
pub struct Looks {
    span: Duration,
    kept: VecDeque<Depth>,
}

impl Looks {
    /// Rates over about this long.
    #[must_use]
    pub fn over(span: Duration) -> Self {
        Self { span, kept: VecDeque::new() }
    }

    /// What was read now, with the rates since the oldest look that is not older than the span.
    pub fn see(&mut self, view: PhaseView, depth: Depth, drainer: Option<Drainer>) -> BacklogStatus {
        let is_old = |look: &Depth| depth.now.duration_since(look.now).unsigned_abs() > self.span;
        // The newest look stays, however long ago it was: a rate over a longer time is better than none.
        while self.kept.len() > 1 && self.kept.front().is_some_and(is_old) {
            self.kept.pop_front();
        }
        let status = BacklogStatus::new(view, &depth, drainer, self.kept.front());
        self.kept.push_back(depth);
        status
    }
}

#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
fn count(rows: u64) -> f64 {
    rows as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backlog::Progress;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn view() -> PhaseView {
        let notice = Notice { reason: Some("upgrade".into()), actor: Some("ann".into()), until: Some(at(3_600)) };
        PhaseView { phase: Phase::Spooling, epoch: 3, turn: 0, announced: false, since: at(0), notice }
    }

    fn depth(second: i64, appended: u64, removed: u64) -> Depth {
        let rows = appended - removed;
        Depth { rows, appended, removed, oldest: (rows > 0).then(|| at(second - 40)), now: at(second) }
    }

    fn drainer(until: i64) -> Drainer {
        let progress =
            Progress { allowed_per_second: 500.0, commit_seconds: 0.1, limited_by: Some(Limit::DatabaseLatency) };
        Drainer { owner: "worker-1".into(), until: at(until), progress }
    }

    #[track_caller]
    fn near(found: Option<f64>, want: f64) {
        assert!(found.is_some_and(|found| (found - want).abs() < 1e-9), "{found:?}, not {want}");
    }

    #[test]
    fn a_backlog_that_clears() {
        let status =
            BacklogStatus::new(view(), &depth(110, 2_000, 1_200), Some(drainer(111)), Some(&depth(100, 1_000, 0)));
        near(status.arrival_per_second, 100.0);
        near(status.drain_per_second, 120.0);
        near(status.eta_seconds, 800.0 / 20.0);
        near(status.oldest_seconds, 40.0);
        assert!(!status.will_not_clear);
        assert_eq!(status.drainer.unwrap().limited_by, Some(Limit::DatabaseLatency));
        assert_eq!((status.rows, status.appended, status.removed), (800, 2_000, 1_200));
        assert_eq!((status.phase, status.epoch, status.notice), (Phase::Spooling, 3, view().notice));
    }

    #[test]
    fn a_backlog_that_grows_or_stands_still_will_not_clear() {
        for removed in [0, 500, 1_000] {
            let now = depth(110, 2_000, removed);
            let status = BacklogStatus::new(view(), &now, Some(drainer(111)), Some(&depth(100, 1_000, 0)));
            assert!(status.will_not_clear && status.eta_seconds.is_none(), "{status:?}");
        }
    }

    #[test]
    fn without_a_drain_nothing_is_foretold() {
        for nobody in [None, Some(drainer(110)), Some(drainer(90))] {
            let before = depth(100, 1_000, 900);
            let status = BacklogStatus::new(view(), &depth(110, 1_000, 950), nobody, Some(&before));
            assert_eq!((status.drainer, status.eta_seconds, status.will_not_clear), (None, None, false));
            near(status.drain_per_second, 5.0);
        }
    }

    #[test]
    fn an_empty_backlog_has_no_eta() {
        let status =
            BacklogStatus::new(view(), &depth(110, 1_000, 1_000), Some(drainer(111)), Some(&depth(100, 1_000, 0)));
        assert_eq!((status.rows, status.eta_seconds, status.oldest_seconds), (0, None, None));
        assert!(!status.will_not_clear);
    }

    #[test]
    fn one_look_has_no_rates() {
        for before in [None, Some(depth(110, 2_000, 0)), Some(depth(111, 2_000, 0))] {
            let status = BacklogStatus::new(view(), &depth(110, 2_000, 0), Some(drainer(111)), before.as_ref());
            assert_eq!((status.arrival_per_second, status.drain_per_second), (None, None));
            assert_eq!((status.eta_seconds, status.will_not_clear), (None, false));
        }
    }

    /// A database that was restored counts from an earlier number: no rate below zero.
    #[test]
    fn counters_that_went_back_are_no_rate() {
        let status = BacklogStatus::new(view(), &depth(110, 10, 5), Some(drainer(111)), Some(&depth(100, 1_000, 900)));
        near(status.arrival_per_second, 0.0);
        near(status.drain_per_second, 0.0);
    }

    #[test]
    fn rates_are_of_the_last_seconds() {
        let mut looks = Looks::over(Duration::from_secs(10));
        assert_eq!(looks.see(view(), depth(0, 0, 0), None).arrival_per_second, None);
        near(looks.see(view(), depth(5, 500, 0), None).arrival_per_second, 100.0);
        near(looks.see(view(), depth(10, 500, 0), None).arrival_per_second, 50.0);
        near(looks.see(view(), depth(12, 500, 0), None).arrival_per_second, 0.0);
        // After a long silence the last look is the only one to compare with.
        near(looks.see(view(), depth(112, 1_500, 0), None).arrival_per_second, 10.0);
    }
}
