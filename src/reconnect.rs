//! Pauses between attempts to connect: they grow, they differ from instance to instance, they have a bound.
//!
//! The only place that knows the crate `backoff` (unmaintained, RUSTSEC-2025-0012; `deny.toml` has the reason). It
//! only counts here: it never sleeps and never gives up, because the loops that reconnect run as long as the engine.

use std::time::Duration;

use backoff::SystemClock;
use backoff::backoff::Backoff as _;
use backoff::exponential::{ExponentialBackoff, ExponentialBackoffBuilder};

/// How far a pause may lie from its middle, as a share of it. With it a fleet that lost its server together does
/// not come back together.
const JITTER: f64 = 0.5;

/// The pauses of one loop that reconnects.
#[derive(Debug, Clone)]
pub struct Pauses {
    growing: ExponentialBackoff<SystemClock>,
    longest: Duration,
}

impl Pauses {
    /// Pauses which begin around `first` (half of it to one and a half times) and double until they lie between a
    /// third of `longest` and `longest`. None is above `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        // The jitter goes upwards too, so the middle has to stay below the bound.
        let middle_max = longest.div_f64(1.0 + JITTER);
        let growing = ExponentialBackoffBuilder::new()
            .with_initial_interval(first.min(middle_max))
            .with_max_interval(middle_max)
            .with_multiplier(2.0)
            .with_randomization_factor(JITTER)
            .with_max_elapsed_time(None)
            .build();
        Self { growing, longest }
    }

    /// How long to wait before the next attempt.
    #[must_use]
    pub fn next_pause(&mut self) -> Duration {
        // It gives up only after a longest elapsed time, and there is none.
        let pause = self.growing.next_backoff().unwrap_or(self.longest);
        pause.min(self.longest)
    }

    /// After a success: the next pause is a first one again.
    pub fn reset(&mut self) {
        self.growing.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(3);

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let mut pauses = Pauses::new(FIRST, LONGEST);
        for attempt in 0..5 {
            let middle = FIRST * 2_u32.pow(attempt);
            let pause = pauses.next_pause();
            let (low, high) = (middle.mul_f64(1.0 - JITTER), middle.mul_f64(1.0 + JITTER));
            assert!(pause >= low && pause <= high, "pause {attempt}: {pause:?} is not in {low:?} to {high:?}");
        }
        for _ in 0..1_000 {
            let pause = pauses.next_pause();
            assert!(pause <= LONGEST && pause >= LONGEST / 3 - Duration::from_millis(1), "{pause:?}");
        }
    }

    #[test]
    fn a_success_begins_anew() {
        let mut pauses = Pauses::new(FIRST, LONGEST);
        for _ in 0..20 {
            let _grown = pauses.next_pause();
        }
        pauses.reset();
        assert!(pauses.next_pause() <= FIRST.mul_f64(1.0 + JITTER));
    }

    #[test]
    fn two_instances_differ() {
        let sequence = || {
            let mut pauses = Pauses::new(FIRST, LONGEST);
            (0..10).map(|_| pauses.next_pause()).collect::<Vec<_>>()
        };
        assert_ne!(sequence(), sequence());
    }

    #[test]
    fn a_first_above_the_longest_is_cut() {
        let mut pauses = Pauses::new(Duration::from_secs(10), Duration::from_secs(1));
        assert!((0..100).all(|_| pauses.next_pause() <= Duration::from_secs(1)));
    }
}
