//! What the commands say: each event once as a sentence, once as JSON.

use jiff::Timestamp;
use serde::Serialize;

use super::stores::{Seen, Store, Trouble};
use crate::cli::backlog::show::Told;
use crate::cli::backlog::words::span;
use crate::window::{Epoch, Gate, Notice, Phase, Step};

/// Something that an operator is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// What a command found, before it changed anything.
    Found {
        /// The gate.
        gate: Gate,
        /// The phase.
        phase: Phase,
        /// The window that it begins or ends.
        epoch: Epoch,
        /// What follows from that.
        message: String,
    },
    /// A step was taken.
    Step {
        /// Which one.
        step: &'static str,
        /// Of which window.
        epoch: Epoch,
        /// What it means.
        message: &'static str,
    },
    /// A store did not do what it was asked, and is asked again.
    Retrying {
        /// Which one.
        store: Store,
        /// What it said.
        error: String,
    },
    /// Something that an operator should do something about, or know.
    Advice {
        /// What.
        message: String,
    },
    /// The window is on.
    Begun {
        /// The window.
        epoch: Epoch,
        /// Since when the gate has not been open.
        since: Timestamp,
        /// Why.
        reason: Option<String>,
        /// Who.
        actor: Option<String>,
        /// When it is meant to end.
        until: Option<Timestamp>,
    },
    /// The window is over.
    Reopened {
        /// The window.
        epoch: Epoch,
        /// Since when the gate is open.
        since: Timestamp,
        /// Orders that left the backlog while this command watched.
        drained: u64,
    },
    /// There was nothing to end.
    NothingOn {
        /// The last window.
        epoch: Epoch,
        /// Since when the gate is open.
        since: Timestamp,
    },
}

impl Event {
    /// A step that was taken.
    #[must_use]
    pub fn taken(step: Step) -> Self {
        let (step, epoch, message) = match step {
            Step::Announce(epoch) => ("announce", epoch, "announced: no new write begins in the ledger"),
            Step::Close { to, .. } => ("close", to, "closed: no write passes any more"),
            Step::StartSpooling(epoch) => ("start_spooling", epoch, "spooling: orders are accepted into the backlog"),
            Step::Grant(epoch) => ("grant", epoch, "draining: the workers drain the backlog into the ledger"),
            Step::AnnounceSeal { epoch, .. } => {
                ("announce_seal", epoch, "sealing: little is left, so no more orders are accepted for a moment")
            }
            Step::Seal { epoch, .. } => ("seal", epoch, "sealing: the last appends are in, the rest drains"),
            Step::Sealed(epoch) => ("sealed", epoch, "sealed: the backlog is empty"),
            Step::Reopen(epoch) => ("reopen", epoch, "open: orders go to the ledger again"),
        };
        Event::Step { step, epoch, message }
    }
}

impl Told for Event {
    fn sentence(&self) -> String {
        match self {
            Event::Found { message, .. } | Event::Advice { message } => message.clone(),
            Event::Step { message, .. } => (*message).to_owned(),
            Event::Retrying { store, error } => format!("{} is asked again: {error}", store.name()),
            Event::Begun { epoch, since, reason, actor, until } => {
                begun(*epoch, *since, reason.as_deref(), actor.as_deref(), *until)
            }
            Event::Reopened { epoch, drained, .. } => {
                format!("\nWindow {epoch} is over: {drained} orders were drained while this command watched.")
            }
            Event::NothingOn { epoch: 0, .. } => "No window is on, and there has been none: the gate is open.".into(),
            Event::NothingOn { epoch, since } => {
                format!("No window is on: the gate is open since {since:.0} (the last window was {epoch}).")
            }
        }
    }
}

fn begun(
    epoch: Epoch,
    since: Timestamp,
    reason: Option<&str>,
    actor: Option<&str>,
    until: Option<Timestamp>,
) -> String {
    let until = until.map_or_else(String::new, |until| format!(", meant to end at {until:.0}"));
    format!(
        "\nWindow {epoch} is on since {since:.0}{until}: {} (by {}).\n\
         The ledger's database may be shut down now. When it is back: millrace maintenance end",
        reason.unwrap_or("no reason given"),
        actor.unwrap_or("nobody known")
    )
}

/// What a begin finds, and what it does about it.
#[must_use]
pub fn found_by_begin(seen: &Seen, epoch: Epoch) -> Event {
    let Seen { gate, backlog } = seen;
    let notice = described(&gate.notice);
    let message = match gate.gate {
        _ if gate.announced == epoch => {
            format!("a close to window {epoch} is announced, by a begin that did not end: this one goes on with it")
        }
        Gate::Open => format!("the gate is open: window {epoch} begins"),
        Gate::Closed => format!(
            "window {} is on since {:.0}{notice}: window {epoch} begins above it, and what is in the backlog stays there",
            gate.epoch, gate.since
        ),
        Gate::Draining => format!(
            "window {} is draining{notice}: this takes the ledger back under window {epoch}; the drain stops, and what \
             is left stays in the backlog, in order",
            gate.epoch
        ),
    };
    Event::Found { gate: gate.gate, phase: backlog.phase, epoch, message }
}

/// What an end finds, and what it does about it.
#[must_use]
pub fn found_by_end(seen: &Seen, epoch: Epoch) -> Event {
    let Seen { gate, backlog } = seen;
    let notice = described(&gate.notice);
    let message = match gate.gate {
        _ if gate.announced > gate.epoch => {
            format!("a begin of window {epoch} did not end: its steps are made good, then it is ended")
        }
        Gate::Open => format!("the gate is open (window {epoch})"),
        Gate::Closed => format!("window {epoch} is on since {:.0}{notice}: it ends now", gate.since),
        Gate::Draining => format!("window {epoch} is draining already{notice}: this goes on with it"),
    };
    Event::Found { gate: gate.gate, phase: backlog.phase, epoch, message }
}

/// Why, and who: behind a name.
fn described(notice: &Notice) -> String {
    match (&notice.reason, &notice.actor) {
        (Some(reason), Some(actor)) => format!(" ({reason}; by {actor})"),
        (Some(reason), None) => format!(" ({reason})"),
        (None, Some(actor)) => format!(" (by {actor})"),
        (None, None) => String::new(),
    }
}

/// Without a backlog there are no windows.
pub const NO_BACKLOG: &str = "no backlog is configured, so nothing was changed. Without one the workers hold while the \
    ledger is away: orders stay in SQS, up to the queue's retention, and nothing is lost. For a window set backlog.url \
    to a database that stays up, run `millrace migrate`, and restart the workers with it";

/// Why a begin does not begin, when a store did not answer before anything was changed.
#[must_use]
pub fn not_begun(trouble: &Trouble) -> String {
    let Trouble { store, message, .. } = trouble;
    match store {
        Store::Ledger => format!(
            "the ledger cannot be worked with, so nothing was changed: {message}\n\
             Without it nobody can know that no write is in flight, and orders that were accepted into the backlog \
             beside such a write would be out of order.\n\
             Meanwhile the workers hold: orders stay in SQS, up to the queue's retention, and nothing is lost. They go \
             on by themselves when the ledger is back. For a window, begin it then, before it is shut down again."
        ),
        Store::Backlog => format!(
            "the backlog cannot be worked with, so nothing was changed, and the ledger's gate stays as it is: {message}\n\
             Start its database, or run `millrace migrate` when its schema is missing, and begin again."
        ),
    }
}

/// Why an end does not end, when a store did not answer before anything was changed.
#[must_use]
pub fn not_ended(trouble: &Trouble) -> String {
    let Trouble { store, message, .. } = trouble;
    match store {
        Store::Ledger => format!(
            "the ledger cannot be worked with, so nothing was changed: {message}\n\
             Where a window is on, the workers go on accepting orders into the backlog. Run this again when the ledger is \
             back, or let it wait: millrace maintenance end --wait 30m"
        ),
        Store::Backlog => format!(
            "the backlog cannot be worked with, so nothing was changed: {message}\n\
             Until it answers the workers hold: orders stay in SQS, up to the queue's retention, and nothing is lost. \
             Start its database and run this again."
        ),
    }
}

/// A command that gave up in the middle.
#[must_use]
pub fn given_up(command: &str, trouble: &Trouble, last: Option<&Seen>) -> String {
    let stands = last.map_or_else(String::new, |Seen { gate, backlog }| {
        format!(
            "\nWhen both answered last, the gate was {} (epoch {}) and the backlog {} (epoch {}).",
            gate_word(gate.gate),
            gate.epoch,
            phase_word(backlog.phase),
            backlog.epoch
        )
    });
    format!(
        "{}{stands}\nNothing is lost: while the two do not fit together the workers hold, and orders stay in SQS. Run \
         `millrace maintenance {command}` again; it goes on from where things stand.",
        trouble.message
    )
}

/// The state of a gate.
#[must_use]
pub fn gate_word(gate: Gate) -> &'static str {
    match gate {
        Gate::Open => "open",
        Gate::Closed => "closed",
        Gate::Draining => "draining",
    }
}

/// The phase of a backlog.
#[must_use]
pub fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Spooling => "spooling",
        Phase::Sealing => "sealing",
        Phase::Sealed => "sealed",
    }
}

/// By how much a window is over its time, in seconds.
#[must_use]
pub fn overdue(until: Option<Timestamp>, now: Timestamp) -> Option<f64> {
    let over = now.duration_since(until?).as_secs_f64();
    (over > 0.0).then_some(over)
}

/// When a window is meant to end, beside the time.
#[must_use]
pub fn until(until: Option<Timestamp>, now: Timestamp) -> String {
    match (until, overdue(until, now)) {
        (None, _) => "not said".to_owned(),
        (Some(until), Some(over)) => format!("{until:.0}, overdue by {}", span(over)),
        (Some(until), None) => format!("{until:.0}, in {}", span(until.duration_since(now).as_secs_f64())),
    }
}

/// Steps are refused, and no store says why.
pub const NOT_FURTHER: &str = "the stores refuse the next step and do not change: does another operator's command run? \
    Look at `millrace maintenance status`, then run this again";
