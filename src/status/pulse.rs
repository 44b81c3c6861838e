//! The engine's pulse: whether its loop and its committers still advance. `/live` asks nothing else, so that no
//! server's trouble makes the orchestrator kill a healthy process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How old the last beat may be.
pub const BEAT_MAX: Duration = Duration::from_secs(10);

/// Shared by the engine, which beats, and by `/live`, which listens. A clone is the same pulse.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    beat_max: Duration,
    work_max: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    beat: Instant,
    /// Since when each committer is busy.
    busy: Vec<Option<Instant>>,
}

/// One piece of a committer's work; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the work ends when this is dropped"]
pub struct Work {
    pulse: Pulse,
    committer: usize,
}

impl Pulse {
    /// The pulse of an engine with so many committers, whose work is bounded by `work_max`: statement timeout,
    /// client's margin and reconnecting together. It starts with a beat.
    #[must_use]
    pub fn new(committers: usize, work_max: Duration) -> Self {
        let seen = Seen { beat: Instant::now(), busy: vec![None; committers] };
        Self(Arc::new(Inner { beat_max: BEAT_MAX, work_max, seen: Mutex::new(seen) }))
    }

    /// The loop came by; to be called at least every few seconds.
    pub fn beat(&self) {
        self.seen().beat = Instant::now();
    }

    /// A committer (counted from 0) begins a piece of work.
    ///
    /// # Panics
    ///
    /// When there is no such committer.
    pub fn work(&self, committer: usize) -> Work {
        self.seen().busy[committer] = Some(Instant::now());
        Work { pulse: self.clone(), committer }
    }

    /// Why the engine is not alive, if it is not.
    #[must_use]
    pub fn stuck(&self) -> Option<String> {
        let seen = self.seen();
        let still = seen.beat.elapsed();
        if still > self.0.beat_max {
            return Some(format!("the engine's loop stands still since {:.1} s", still.as_secs_f64()));
        }
        let busy = seen.busy.iter().enumerate().filter_map(|(number, since)| Some((number, since.as_ref()?.elapsed())));
        let (number, longest) = busy.max_by_key(|(_, busy)| *busy)?;
        (longest > self.0.work_max)
            .then(|| format!("committer {number} is at one piece of work since {:.1} s", longest.as_secs_f64()))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Every change is a single assignment, so a panic elsewhere leaves nothing half done.
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.pulse.seen().busy[self.committer] = None;
    }
}
