//! What both commands have in common: how far a single advance came, and how long a store is waited for.

use std::time::Duration;

use tokio::time::Instant;

use super::stores::{Seen, Stores, Trouble};
use crate::reconnect::Pauses;
use crate::window::{Next, Notice, Step, Stop};

/// The pauses before a store is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How far one advance came. Each takes at most one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// Both were read for the first time; nothing was changed.
    Found(Seen),
    /// The step was taken.
    Took(Step),
    /// The step came too late, or not yet: nothing was changed.
    Refused(Step),
    /// A seal was taken back before the backlog was empty: orders are accepted again.
    TakenBack,
    /// Nothing can be done before the drain has come further.
    Wait,
    /// Done.
    Done(Seen),
    /// It cannot be done.
    Stop(Stop),
}

/// Does what is next, in the name of the notice's window and of `actor`.
///
/// # Errors
///
/// The store's that the step is in. Whether it was taken shows when both are read again.
pub async fn follow(
    next: Next,
    seen: Seen,
    stores: &mut Stores,
    notice: &Notice,
    actor: &str,
) -> Result<Advance, Trouble> {
    Ok(match next {
        Next::Take(step) if stores.take(step, notice, actor).await? => Advance::Took(step),
        Next::Take(step) => Advance::Refused(step),
        Next::Wait => Advance::Wait,
        Next::Done => Advance::Done(seen),
        Next::Stop(stop) => Advance::Stop(stop),
    })
}

/// How long a command goes on without getting anywhere.
#[derive(Debug)]
pub struct Patience {
    pauses: Pauses,
    bound: Duration,
    idle_since: Option<Instant>,
}

impl Patience {
    /// At most this long.
    #[must_use]
    pub fn of(bound: Duration) -> Self {
        Self { pauses: Pauses::new(FIRST_PAUSE, LONGEST_PAUSE), bound, idle_since: None }
    }

    /// It got somewhere.
    pub fn renew(&mut self) {
        self.pauses.reset();
        self.idle_since = None;
    }

    /// Pauses before the next attempt. False, and at once: the patience is over.
    pub async fn pause(&mut self) -> bool {
        let idle_since = *self.idle_since.get_or_insert_with(Instant::now);
        let left = self.bound.saturating_sub(idle_since.elapsed());
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.pauses.next_pause().min(left)).await;
        true
    }
}
