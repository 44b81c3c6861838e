//! The shell: a few tasks that carry out the core's actions and report what came of them. It decides nothing.
//!
//! One loop owns the core. Receives, deletes, visibility changes and lock calls are tasks of their own, as many at
//! once as the core asks for; each committer is a task that owns its connection. A task that panics ends the engine:
//! nothing was acked that is not durable, so a crash only costs time.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::backlog::Backlog;
use crate::core::{Action, Core, Input, Report, Settings, SpoolWork, Time, Work};
use crate::inbox::Inbox;
use crate::ledger::{Ledger, Source};
use crate::locks::Locks;
use crate::status::Status;
use crate::status::pulse::Pulse;

mod appender;
mod calls;
mod committer;
mod guard;
mod history;
mod parcel;
mod record;

use guard::Guard;
use history::History;
use parcel::Handle;
use record::Record;

/// How often the status is published.
const STATUS_EVERY: Duration = Duration::from_millis(500);

/// How many answers are taken before the actions they led to are carried out.
const ANSWERS_AT_ONCE: usize = 64;

/// What an engine works with.
#[derive(Debug)]
pub struct Engine<I, K, L, B> {
    /// Where orders come from.
    pub inbox: I,
    /// Per-customer locks.
    pub locks: K,
    /// Where orders take effect.
    pub ledger: L,
    /// Where orders go while the ledger is closed. None: nowhere, and always none of a drain.
    pub backlog: Option<B>,
    /// Where orders come from, when the ledger was not told yet: a worker that starts in a window, with the ledger away.
    pub unbound: Option<Source>,
    /// What the engine is for.
    pub role: Role,
    /// What the core decides by.
    pub settings: Settings,
    /// Varies the jitter of this instance.
    pub seed: u64,
    /// Where the loop and the committers show that they advance.
    pub pulse: Pulse,
    /// Where the status is published.
    pub status: watch::Sender<Status>,
}

/// What an engine is for: it says how its work is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It takes orders from the queue.
    Live,
    /// It drains the backlog.
    Drain,
}

impl Role {
    fn label(self) -> &'static str {
        match self {
            Role::Live => "live",
            Role::Drain => "drain",
        }
    }
}

/// A task of the engine panicked.
#[derive(Debug, thiserror::Error)]
#[error("a task of the engine ended by itself: {0}")]
pub struct Broken(#[from] JoinError);

impl<I: Inbox, K: Locks, L: Ledger, B: Backlog> Engine<I, K, L, B> {
    /// Works until `shutdown`, then finishes what has begun, hands the rest back, and reports.
    ///
    /// # Errors
    ///
    /// When a task panicked. The process should end: its messages come back by themselves.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Report, Broken> {
        // Room for every answer that can be under way, so that no task waits for the loop.
        let settings = &self.settings;
        let writers = settings.committers + settings.appenders;
        let (sender, inputs) = mpsc::channel(settings.polls_max + 2 * settings.calls_max + writers + 3);
        let mut tasks = JoinSet::new();
        let guard = self.backlog.clone().map(|backlog| Guard::new(backlog, self.unbound.clone()));
        let committers = (0..settings.committers)
            .map(|slot| {
                let (jobs, queue) = mpsc::channel(1);
                let (ledger, guard, pulse) = (self.ledger.clone(), guard.clone(), self.pulse.clone());
                tasks.spawn(committer::run(slot, ledger, guard, pulse, queue, sender.clone()));
                jobs
            })
            .collect();
        let mut appenders = Vec::new();
        if let Some(backlog) = &self.backlog {
            for slot in 0..settings.appenders {
                let (jobs, queue) = mpsc::channel(1);
                tasks.spawn(appender::run(slot, backlog.clone(), queue, sender.clone()));
                appenders.push(jobs);
            }
        }
        let running = Running {
            core: Core::new(self.settings.clone(), self.seed),
            record: Record::new(self.role, &self.settings, self.status.clone()),
            history: History::new(self.role),
            started: Instant::now(),
            calls: JoinSet::new(),
            tasks,
            committers,
            appenders,
            sender,
            engine: self,
        };
        running.go(inputs, shutdown).await
    }
}

struct Running<I, K, L, B> {
    engine: Engine<I, K, L, B>,
    core: Core<Handle>,
    record: Record,
    /// None where nobody reads it.
    history: Option<History>,
    started: Instant,
    calls: JoinSet<()>,
    /// Committers and appenders.
    tasks: JoinSet<()>,
    committers: Vec<mpsc::Sender<Work<Handle>>>,
    appenders: Vec<mpsc::Sender<SpoolWork<Handle>>>,
    sender: mpsc::Sender<Input<Handle>>,
}

impl<I: Inbox, K: Locks, L: Ledger, B: Backlog> Running<I, K, L, B> {
    async fn go(
        mut self,
        mut inputs: mpsc::Receiver<Input<Handle>>,
        shutdown: CancellationToken,
    ) -> Result<Report, Broken> {
        let mut publish = tokio::time::interval(STATUS_EVERY);
        publish.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopping = false;
        self.take(Input::Wake);
        loop {
            while let Some(ended) = self.calls.try_join_next() {
                ended?;
            }
            if let Some(report) = self.act() {
                self.record.publish(&self.core);
                return Ok(report);
            }
            let wake_at = self.core.wake_at().map(|at| self.started + at.since(Time::ZERO));
            tokio::select! {
                // Answers go before timers: what they bring may make the timer needless.
                biased;
                input = inputs.recv() => {
                    self.take(input.expect("the loop holds a sender itself"));
                    for _ in 1..ANSWERS_AT_ONCE {
                        let Ok(input) = inputs.try_recv() else { break };
                        self.take(input);
                    }
                }
                () = shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    self.take(Input::Shutdown);
                }
                _ = publish.tick() => {
                    self.engine.pulse.beat();
                    self.record.publish(&self.core);
                    if let Some(history) = &mut self.history {
                        history.routed(&self.core.snapshot().route);
                    }
                }
                () = until(wake_at) => self.take(Input::Wake),
                Some(ended) = self.calls.join_next() => ended?,
                Some(ended) = self.tasks.join_next() => ended?,
            }
        }
    }

    fn take(&mut self, input: Input<Handle>) {
        self.record.happened(&input);
        if let Some(history) = &mut self.history {
            history.happened(&input);
        }
        self.core.handle(Time::at(self.started.elapsed()), input);
    }

    /// Carries out what the core wants. The report ends the engine.
    fn act(&mut self) -> Option<Report> {
        while let Some(action) = self.core.poll() {
            self.record.does(&action);
            if let Some(history) = &mut self.history {
                history.does(&action);
            }
            let engine = &self.engine;
            let inbox = engine.inbox.clone();
            match action {
                Action::Receive { poll, max, wait } => {
                    let ordering = engine.settings.ordering;
                    self.call(calls::receive(inbox, ordering, poll, max, wait));
                }
                Action::Delete { call, payloads } => self.call(calls::delete(inbox, call, payloads)),
                Action::SetVisibility { call, payloads, timeout } => {
                    self.call(calls::set_visibility(inbox, call, payloads, timeout));
                }
                Action::Lock { call, customers } => {
                    let (locks, lease) = (engine.locks.clone(), engine.settings.lease);
                    self.call(calls::lock(locks, call, customers, lease));
                }
                Action::Write { slot, work } => {
                    // The core gives a committer one job at a time. One that is gone is noticed by its task's end.
                    if self.committers[slot].try_send(work).is_err() {
                        tracing::error!(slot, "a committer takes no job");
                    }
                }
                Action::Spool { slot, work } => {
                    if self.appenders[slot].try_send(work).is_err() {
                        tracing::error!(slot, "an appender takes no job");
                    }
                }
                Action::Stop(report) => return Some(report),
                Action::Ended { .. } | Action::Unparked { .. } | Action::Quarantined { .. } | Action::Alarm(_) => {}
            }
        }
        None
    }

    fn call(&mut self, call: impl Future<Output = Input<Handle>> + Send + 'static) {
        let sender = self.sender.clone();
        self.calls.spawn(async move {
            let answer = call.await;
            // The loop ends only after the last answer, or when its time is over; then nobody needs this one.
            if sender.send(answer).await.is_err() {
                tracing::debug!("an answer came after the end");
            }
        });
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
