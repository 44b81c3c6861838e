//! Defaults of the sections that have a key without one.

use std::time::Duration;

use crate::order::Ordering;

pub(super) const fn ordering() -> Ordering {
    Ordering::Gapless
}
pub(super) const fn wait() -> Duration {
    Duration::from_secs(20)
}
pub(super) const fn ten() -> u32 {
    10
}
pub(super) const fn polls_max() -> u32 {
    32
}
pub(super) const fn visibility_timeout() -> Duration {
    Duration::from_secs(30)
}
pub(super) const fn hold_max() -> Duration {
    Duration::from_hours(11)
}
pub(super) const fn attempt_timeout() -> Duration {
    Duration::from_secs(5)
}
pub(super) const fn ack_linger() -> Duration {
    Duration::from_millis(20)
}
pub(super) const fn calls_max() -> u32 {
    32
}
pub(super) const fn delete_tries() -> u32 {
    5
}
pub(super) const fn backoff() -> Duration {
    Duration::from_millis(200)
}
pub(super) const fn backoff_max() -> Duration {
    Duration::from_secs(20)
}
pub(super) const fn early_wait() -> Duration {
    Duration::from_secs(1)
}
pub(super) const fn committers() -> u32 {
    2
}
pub(super) const fn batch_max() -> u32 {
    500
}
pub(super) const fn run_max() -> u32 {
    50
}
pub(super) const fn lock_timeout() -> Duration {
    Duration::from_secs(2)
}
pub(super) const fn statement_timeout() -> Duration {
    Duration::from_secs(5)
}
pub(super) const fn connect_timeout() -> Duration {
    Duration::from_secs(3)
}
pub(super) const fn ledger_backoff() -> Duration {
    Duration::from_millis(20)
}
pub(super) const fn ledger_backoff_max() -> Duration {
    Duration::from_secs(2)
}
pub(super) const fn alarm_tries() -> u32 {
    20
}
pub(super) const fn sweep() -> Duration {
    Duration::from_secs(10)
}
pub(super) const fn sweep_max() -> u32 {
    500
}

pub(super) const fn gap_after() -> Duration {
    Duration::from_mins(5)
}
