//! How much is asked for: the number of long polls follows the load and the room left (I12).

use std::collections::{BTreeMap, VecDeque};

use super::time::{Time, backoff};
use super::{Action, Settings};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    next_poll: u64,
    /// Polls on their way, and when they began.
    polls: BTreeMap<u64, Time>,
    /// What polls below this number bring goes straight back.
    returned_below: u64,
    /// How many there may be: one when idle, one more for each full answer, one less for each that is not half full.
    target: usize,
    failures: u32,
    paused_until: Time,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self {
            next_poll: 0,
            polls: BTreeMap::new(),
            returned_below: 0,
            target: 1,
            failures: 0,
            paused_until: Time::ZERO,
        }
    }

    pub(super) fn polls(&self) -> usize {
        self.polls.len()
    }

    /// Whether one more receive would fit beside what is held and what is being asked for.
    pub(super) fn has_room(&self, settings: &Settings, messages: usize, bytes: u64) -> bool {
        let receives = self.polls.len() + 1;
        let most = receives as u64 * settings.receive_bytes;
        messages + receives * settings.receive_max as usize <= settings.messages_max
            && bytes + most <= settings.bytes_max
    }

    pub(super) fn pump<P>(
        &mut self,
        settings: &Settings,
        now: Time,
        (messages, bytes): (usize, u64),
        actions: &mut VecDeque<Action<P>>,
    ) {
        while now >= self.paused_until && self.polls.len() < self.target && self.has_room(settings, messages, bytes) {
            let poll = self.next_poll;
            self.next_poll += 1;
            self.polls.insert(poll, now);
            actions.push_back(Action::Receive { poll, max: settings.receive_max, wait: settings.wait });
        }
    }

    /// What is held was handed back. A poll that is on its way may bring what stands behind that, so it goes back too.
    pub(super) fn hand_back(&mut self) {
        self.returned_below = self.next_poll;
    }

    /// Whether what the poll brings goes straight back.
    pub(super) fn is_handed_back(&self, poll: u64) -> bool {
        poll < self.returned_below
    }

    /// Takes the answer to a poll: how many messages came. Says when it began, and nothing for an unknown poll.
    pub(super) fn received(&mut self, poll: u64, count: usize, settings: &Settings) -> Option<Time> {
        let begun = self.polls.remove(&poll)?;
        self.failures = 0;
        let full = settings.receive_max as usize;
        if count >= full {
            self.target = (self.target + 1).min(settings.polls_max);
        } else if count == 0 {
            self.target = 1;
        } else if count < full / 2 {
            // Fewer polls get fuller answers, and each answer is paid for.
            self.target = (self.target - 1).max(1);
        }
        Some(begun)
    }

    pub(super) fn failed(&mut self, poll: u64, settings: &Settings, now: Time, seed: &mut u64) {
        self.polls.remove(&poll);
        self.target = 1;
        self.failures += 1;
        self.paused_until = now.after(backoff(settings.inbox_backoff, settings.inbox_backoff_max, self.failures, seed));
    }

    pub(super) fn rebase(&mut self, now: Time) {
        let first = self.polls.first_key_value().map_or(self.next_poll, |(poll, _)| *poll);
        self.next_poll -= first;
        self.returned_below = self.returned_below.saturating_sub(first);
        self.polls = self.polls.iter().map(|(poll, begun)| (poll - first, begun.from(now))).collect();
        self.paused_until = self.paused_until.from(now);
        self.failures = 0;
    }

    pub(super) fn wake_at(&self, now: Time) -> Option<Time> {
        (self.polls.len() < self.target && self.paused_until > now).then_some(self.paused_until)
    }
}
