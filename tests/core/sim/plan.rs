//! What is drawn for a run, from nothing but its seed.

use std::time::Duration;

use millrace::core::Settings;
use millrace::order::Ordering;

use super::catalog::MESSAGE_BYTES;
use super::chance::Chance;
use super::{ms, settings};

#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub struct Plan {
    pub seed: u64,
    pub ordering: Ordering,
    pub instances: usize,
    pub customers: usize,
    pub orders: usize,
    pub planted: bool,
    pub faults: bool,
    /// Windows come and go.
    pub windows: bool,
    /// The workers know a backlog.
    pub backlog: bool,
    /// The longest invisibility of a message, beyond what the core counts with.
    pub invisible_more: Duration,
}

impl Plan {
    pub fn draw(seed: u64, ordering: Ordering, windows: bool) -> Self {
        let mut chance = Chance::new(seed.wrapping_mul(7919) ^ u64::from(windows));
        Self {
            seed,
            ordering,
            instances: chance.between(1, 3),
            customers: chance.between(1, 8),
            orders: chance.between(1, 16),
            planted: chance.permille(600),
            faults: chance.permille(950),
            windows,
            backlog: windows && chance.permille(900),
            invisible_more: ms(chance.between(1, 800) as u64),
        }
    }

    /// What the cores decide by.
    pub fn settings(&self) -> Settings {
        let mut chance = Chance::new(self.seed.wrapping_mul(104_729));
        let mut settings = settings(self.ordering);
        let mut times = |low: usize, high: usize| ms(chance.between(low, high) as u64);
        settings.early_wait = times(1, 100);
        settings.visibility_timeout = times(650, 2_000);
        settings.hold_max = settings.visibility_timeout + times(1, 3_000);
        settings.hold_keep = times(50, 500);
        if times(0, 3).is_zero() {
            // Long enough for messages to grow too old in our hands.
            settings.hold_keep = settings.hold_max;
        }
        if self.windows {
            settings.look = times(5, 60);
        }
        settings.batch_max = chance.between(1, 20);
        settings.run_max = chance.between(1, 8);
        settings.committers = chance.between(1, 3);
        settings.messages_max = chance.between(20, 80);
        settings.receive_bytes = u64::from(settings.receive_max) * u64::from(MESSAGE_BYTES);
        settings.bytes_max = chance.between(20, 80) as u64 * u64::from(MESSAGE_BYTES);
        if self.windows {
            settings.append_max = chance.between(1, 20);
        }
        settings
    }
}
