//! Names of receives on a FIFO queue.
//!
//! The reply of a receive may be lost after SQS handed messages out: their groups then stand still for a whole
//! visibility timeout. Asked again under the same name, SQS gives the same messages and handles at once.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long SQS remembers the name of a receive.
const REMEMBERED: Duration = Duration::from_mins(5);

/// The names in use by one process.
#[derive(Debug)]
pub(super) struct Attempts {
    /// Random, so that no two processes use the same names.
    prefix: String,
    count: AtomicU64,
    lost: Mutex<Vec<Attempt>>,
    /// After this the messages are visible to everyone again, and the name is worth nothing.
    good_for: Duration,
}

/// The name of one receive.
#[derive(Debug)]
pub(super) struct Attempt {
    number: u64,
    name: String,
    asked_at: Instant,
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Attempts {
    pub(super) fn new(visibility_timeout: Duration) -> Self {
        // The standard library's only source of randomness.
        let (one, two) = (RandomState::new().hash_one(0), RandomState::new().hash_one(1));
        Self {
            prefix: format!("{one:016x}{two:016x}"),
            count: AtomicU64::new(0),
            lost: Mutex::new(Vec::new()),
            good_for: visibility_timeout.min(REMEMBERED),
        }
    }

    /// The name for the next receive: that of a lost one while it is worth asking, else a new one. Two receives at
    /// once never have the same name.
    pub(super) fn next(&self) -> Attempt {
        let mut lost = self.lost.lock().expect("nobody panics while holding it");
        lost.retain(|attempt| attempt.asked_at.elapsed() < self.good_for);
        // The oldest first: its messages wait longest.
        let oldest = lost.iter().enumerate().min_by_key(|(_, attempt)| attempt.number).map(|(index, _)| index);
        if let Some(index) = oldest {
            return lost.swap_remove(index);
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        Attempt { number, name: format!("{}-{number}", self.prefix), asked_at: Instant::now() }
    }

    /// The reply of a receive did not come.
    pub(super) fn lost(&self, attempt: Attempt) {
        self.lost.lock().expect("nobody panics while holding it").push(attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_name_is_asked_for_again_once() {
        let attempts = Attempts::new(Duration::from_secs(30));
        let (first, second) = (attempts.next(), attempts.next());
        let names = [first.to_string(), second.to_string()];
        assert_ne!(names[0], names[1]);
        attempts.lost(second);
        attempts.lost(first);
        assert_eq!(attempts.next().to_string(), names[0]);
        assert_eq!(attempts.next().to_string(), names[1]);
        assert!(!names.contains(&attempts.next().to_string()));
    }

    #[test]
    fn name_is_forgotten_when_its_messages_are_visible_again() {
        let attempts = Attempts::new(Duration::ZERO);
        let lost = attempts.next();
        let name = lost.to_string();
        attempts.lost(lost);
        assert_ne!(attempts.next().to_string(), name);
    }
}
