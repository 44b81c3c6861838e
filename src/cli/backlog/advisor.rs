//! When a watcher is told that something stands in the way: soon, but not for a moment's sake, and not all the time.

use std::time::Duration;

use tokio::time::Instant;

use super::words;
use crate::config::Maintenance;
use crate::status::backlog::BacklogStatus;

/// A drain lease that ran out is taken by another worker within this time.
const NOBODY_AFTER: Duration = Duration::from_secs(5);

/// Rates swing; what will not clear for this long will not clear.
const STUCK_AFTER: Duration = Duration::from_secs(15);

/// Before the same is said again.
const AGAIN_AFTER: Duration = Duration::from_mins(1);

const NOBODY: &str = "no worker drains: is a `millrace run` of this version up, with this backlog.url?";

/// What was seen for how long.
#[derive(Debug, Clone, Copy, Default)]
pub struct Advisor {
    nobody: Since,
    stuck: Since,
}

#[derive(Debug, Clone, Copy, Default)]
struct Since {
    began: Option<Instant>,
    told: Option<Instant>,
}

impl Advisor {
    /// What to say now, if anything. `granted`: somebody should drain.
    pub fn advise(
        &mut self,
        status: &BacklogStatus,
        granted: bool,
        settings: &Maintenance,
        now: Instant,
    ) -> Option<String> {
        let nobody = granted && status.rows > 0 && status.drainer.is_none();
        let alone = self.nobody.is_due(nobody, NOBODY_AFTER, now).then(|| NOBODY.to_owned());
        let advice = words::advice(status, settings);
        let stuck = self.stuck.is_due(advice.is_some(), STUCK_AFTER, now);
        alone.or_else(|| advice.filter(|_| stuck))
    }
}

impl Since {
    fn is_due(&mut self, holds: bool, after: Duration, now: Instant) -> bool {
        if !holds {
            *self = Self::default();
            return false;
        }
        let long = now - *self.began.get_or_insert(now) >= after;
        let due = long && self.told.is_none_or(|told| now - told >= AGAIN_AFTER);
        if due {
            self.told = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backlog::Limit;
    use crate::cli::backlog::words::tests::status;

    #[test]
    fn advice_comes_after_a_while_and_not_all_the_time() {
        let (settings, start) = (Maintenance::default(), Instant::now());
        let alone = status(5, 0.0, 0.0, None);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut advisor = Advisor::default();
        let mut said = |seen: &BacklogStatus, granted, seconds| advisor.advise(seen, granted, &settings, at(seconds));
        assert_eq!(said(&alone, true, 0), None);
        assert_eq!(said(&alone, true, 4), None);
        assert!(said(&alone, true, 5).unwrap().contains("no worker drains"));
        assert_eq!(said(&alone, true, 64), None);
        assert!(said(&alone, true, 65).is_some());
        // Somebody came, and went.
        assert_eq!(said(&status(5, 0.0, 1.0, Some(Limit::RampUp)), true, 66), None);
        assert_eq!(said(&alone, true, 67), None);
        assert!(said(&alone, true, 72).is_some());
        // Nobody is asked to drain, or there is nothing to drain.
        assert_eq!(said(&alone, false, 200), None);
        assert_eq!(said(&alone, false, 210), None);
        assert_eq!(said(&status(0, 0.0, 0.0, None), true, 220), None);
        assert_eq!(said(&status(0, 0.0, 0.0, None), true, 230), None);
        let stuck = status(5, 20.0, 10.0, Some(Limit::Ceiling));
        assert_eq!(said(&stuck, true, 300), None);
        assert!(said(&stuck, true, 315).unwrap().contains("will not clear"));
    }
}
