//! An instance that stands still: stopped by a signal, or its machine is. What it has asked for goes on elsewhere.

use millrace::backlog::{BacklogError, ErrorClass as Backlog};
use millrace::core::{Input, SpoolWork, Spooled};
use millrace::inbox::{InboxError, InboxErrorClass};
use millrace::ledger::ErrorClass;
use millrace::locks::LocksAway;

use super::super::ledger::error;
use super::instance::{Instance, Pause};
use super::write::fail;
use super::{Event, Parcel, World};

impl World {
    /// Stands still for so long that leases and invisibilities run out.
    pub fn pauses(&mut self, index: usize) {
        // A machine that is suspended may stop its clock too: then the instance believes that no time has passed.
        let clock_stops = self.chance.permille(300);
        let timeout = usize::try_from(self.settings.visibility_timeout.as_millis()).unwrap();
        let until = self.soon(20, 2 * timeout);
        let now = self.now;
        let instance = &mut self.instances[index];
        instance.pause.get_or_insert(Pause { since: now, clock_stops, waiting: Vec::new() });
        let boot = instance.boot;
        self.event(until, Event::Resume(boot));
    }

    /// Goes on. What was answered meanwhile waits in its sockets, or the connection was given up.
    pub fn resumes(&mut self, boot: u64) {
        let Some(index) = self.index(boot) else { return };
        let Some(pause) = self.instances[index].pause.take() else { return };
        if pause.clock_stops {
            let instance = &mut self.instances[index];
            instance.started = instance.started.after(self.now.since(pause.since));
        }
        for input in pause.waiting {
            // (What a drain has read is in its memory already.)
            let read = self.is_drain(boot) && matches!(input, Input::Received { .. });
            let times_out = !read && self.faults.on && self.chance.permille(300);
            let input = if times_out { timed_out(&self.instances[index], input) } else { input };
            let when = self.soon(0, 2);
            self.event(when, Event::Answer { boot, input });
        }
    }

    /// Everybody goes on.
    pub fn resume_all(&mut self) {
        for boot in self.instances.iter().map(|instance| instance.boot).collect::<Vec<_>>() {
            self.resumes(boot);
        }
    }
}

/// The answer came after the client had given up.
fn timed_out(instance: &Instance, input: Input<Parcel>) -> Input<Parcel> {
    let inbox = || InboxError { class: InboxErrorClass::Away, message: "timed out".into() };
    match input {
        Input::Received { poll, .. } => Input::Received { poll, result: Err(inbox()) },
        Input::Settled { call, .. } => Input::Settled { call, result: Err(inbox()) },
        Input::Locked { call, .. } => Input::Locked { call, result: Err(LocksAway("timed out".into())) },
        Input::Wrote { slot, .. } => {
            let written = fail(instance.job(slot), error(ErrorClass::Unknown, "timed out"));
            Input::Wrote { slot, written }
        }
        Input::Spooled { slot, .. } => {
            let error = BacklogError { class: Backlog::Away, message: "timed out".into() };
            let spooled = match instance.spool_job(slot) {
                SpoolWork::Look => Spooled::Look(Err(error)),
                SpoolWork::Append { .. } => Spooled::Append(Err(error)),
            };
            Input::Spooled { slot, spooled }
        }
        Input::Wake | Input::Shutdown => input,
    }
}
