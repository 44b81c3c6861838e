//! Time as the core knows it: it enters as `now` and leaves as deadlines.

use std::time::Duration;

/// Microseconds since the engine started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The start of the engine.
    pub const ZERO: Time = Time(0);

    /// The time `elapsed` after the start.
    #[must_use]
    pub fn at(elapsed: Duration) -> Self {
        Time::ZERO.after(elapsed)
    }

    /// The time `wait` after this one; the end of time when that does not fit.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Time(self.0.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)))
    }

    /// The same moment counted from `origin`; what lies before that lies at it, and the end of time stays where it is.
    #[must_use]
    pub(super) fn from(self, origin: Time) -> Self {
        if self.0 == u64::MAX { self } else { Time(self.0.saturating_sub(origin.0)) }
    }

    /// How long ago `earlier` was; zero when it is later.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Exponential back-off with jitter: the pause before try `tries` (from 1), between half and the whole of
/// `first × 2^(tries - 1)`, at most `longest`. The jitter is drawn from `seed`, so that a run can be replayed.
#[must_use]
pub(super) fn backoff(first: Duration, longest: Duration, tries: u32, seed: &mut u64) -> Duration {
    let doubled = first.saturating_mul(1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX));
    let whole = doubled.min(longest);
    if whole.is_zero() {
        return whole;
    }
    // SplitMix64: small, and good enough to keep a fleet from moving in step.
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    let half = whole / 2;
    let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_micros(mixed % micros)
}
