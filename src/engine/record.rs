//! What is said about the engine: counters and log lines as things happen, and the status a few times a second.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use super::Role;
use super::parcel::{Handle, Parcel};
use crate::backlog::Progress;
use crate::core::{Action, Alarm, Core, Input, Route, Settings, Snapshot, Spooled};
use crate::ledger::ErrorClass;
use crate::metrics::{self, Alarm as Counted};
use crate::outcome::Outcome;
use crate::status::{LastError, LocksState, Outcomes, Phase, Route as Shown, Status};

pub(super) struct Record {
    role: Role,
    status: watch::Sender<Status>,
    /// Who keeps the locks when they are not away.
    locks: LocksState,
    outcomes: Outcomes,
    unparked: u64,
    last_errors: BTreeMap<(&'static str, &'static str), LastError>,
    route: Shown,
    route_since: Timestamp,
    messages_max: u64,
    bytes_max: u64,
    committers: u64,
}

impl Record {
    /// `status` holds what was true at the start: version, ordering, who keeps the locks.
    pub(super) fn new(role: Role, settings: &Settings, status: watch::Sender<Status>) -> Self {
        let locks = status.borrow().locks.clone();
        Self {
            role,
            status,
            locks,
            outcomes: Outcomes::default(),
            unparked: 0,
            last_errors: BTreeMap::new(),
            route: Shown::Direct,
            route_since: Timestamp::now(),
            messages_max: settings.messages_max as u64,
            bytes_max: settings.bytes_max,
            committers: settings.committers as u64,
        }
    }

    /// Notes what went wrong.
    pub(super) fn happened(&mut self, input: &Input<Handle>) {
        match input {
            Input::Received { result: Err(error), .. } | Input::Settled { result: Err(error), .. } => {
                tracing::warn!(%error, "a call to the queue failed; it is repeated after a pause");
                self.note("inbox", error.class.label(), error.message.clone());
            }
            Input::Locked { result: Err(error), .. } => {
                tracing::warn!(%error, "the locks are away; going on without them");
                self.note("locks", "away", error.0.clone());
            }
            Input::Wrote { written, .. } => {
                if let Some(error) = written.error() {
                    let class = error.class.label();
                    match error.class {
                        // A busy customer or a duplicate: ordinary, and handled.
                        ErrorClass::Taken | ErrorClass::Retry => tracing::debug!(%error, "a write failed"),
                        _ => tracing::warn!(%error, "a write failed"),
                    }
                    self.note("ledger", class, error.message.clone());
                }
            }
            Input::Spooled { spooled: Spooled::Look(Err(error)) | Spooled::Append(Err(error)), .. } => {
                tracing::warn!(%error, "a call to the backlog failed");
                self.note("backlog", error.class.label(), error.message.clone());
            }
            Input::Shutdown => tracing::info!("stopping: finishing what has begun, handing back the rest"),
            _ => {}
        }
    }

    fn note(&mut self, from: &'static str, class: &'static str, message: String) {
        let last = LastError { from: from.into(), class: class.into(), message, at: Timestamp::now() };
        self.last_errors.insert((from, class), last);
    }

    /// Counts and logs what the core decided.
    pub(super) fn does(&mut self, action: &Action<Handle>) {
        match action {
            Action::Ended { payload, outcome } => {
                self.outcomes.count(*outcome);
                match self.role {
                    Role::Live => metrics::ended(*outcome),
                    Role::Drain => metrics::drained(*outcome),
                }
                if *outcome == Outcome::Committed {
                    took(payload);
                }
                tracing::debug!(entry = %payload.entry.id(), outcome = outcome.label(), "ended");
            }
            Action::Unparked { payload } => {
                self.unparked += 1;
                metrics::unparked();
                tracing::debug!(entry = %payload.entry.id(), "a parked order was committed");
            }
            Action::Quarantined { payload, kind } => {
                metrics::quarantined(*kind);
                let customer = payload.entry.customer().map(tracing::field::display);
                tracing::warn!(entry = %payload.entry.id(), customer, kind = kind.label(), "quarantined");
            }
            Action::Alarm(alarm) => alarmed(alarm),
            _ => {}
        }
    }

    pub(super) fn publish(&mut self, core: &Core<Handle>) {
        let seen = core.snapshot();
        let now = Timestamp::now();
        let route = shown(&seen.route);
        let reason = match &seen.route {
            Route::Hold { reason, .. } | Route::Probing { reason, .. } => Some(reason.clone()),
            Route::Direct | Route::Spool { .. } | Route::HalfOpen { .. } => None,
        };
        let turn = |route| match route {
            Shown::Direct => 0,
            Shown::Spool => 1,
            Shown::Hold | Shown::Probing | Shown::HalfOpen => 2,
        };
        if turn(route) != turn(self.route) {
            self.route_since = now;
            let engine = self.role.label();
            match (route, &reason) {
                (Shown::Spool, _) => tracing::info!(engine, "a maintenance window is on: orders go to the backlog"),
                (_, Some(reason)) => {
                    tracing::warn!(engine, reason, "holding: nothing is received until orders can be taken again");
                }
                (Shown::Direct, None) => tracing::info!(engine, "the ledger takes orders again"),
                (_, None) => {}
            }
        }
        self.route = route;
        let oldest = core.held().filter_map(|parcel| parcel.sent_at_ms).min();
        self.status.send_modify(|status| self.fill(status, &seen, now, oldest, reason));
    }

    fn fill(&self, status: &mut Status, seen: &Snapshot, now: Timestamp, oldest: Option<i64>, reason: Option<String>) {
        status.at = now;
        status.phase = if seen.stopping { Phase::Stopping } else { Phase::Running };
        status.route = self.route;
        status.route_since = self.route_since;
        status.route_reason = reason;
        status.held_messages = (seen.messages - seen.ending) as u64;
        status.held_bytes = seen.bytes;
        status.held_messages_max = self.messages_max;
        status.held_bytes_max = self.bytes_max;
        status.early = seen.early as u64;
        status.pending_deletes = seen.ending as u64;
        status.oldest_order_seconds = oldest.map(|sent_at| age(now, sent_at).as_secs_f64());
        status.lanes = seen.lanes as u64;
        status.lanes_waiting_for_lock = seen.lanes_waiting_for_lock as u64;
        status.lanes_without_lock = seen.lanes_without_lock as u64;
        status.locks = match seen.locks_away_for {
            None => self.locks.clone(),
            Some(away) => LocksState::Away {
                since: now - jiff::SignedDuration::try_from(away).unwrap_or_default(),
                reason: self.last_errors.get(&("locks", "away")).map_or_else(String::new, |last| last.message.clone()),
            },
        };
        status.parked_known = seen.parked;
        status.blocked_customers = seen.lanes_blocked as u64;
        status.polls = seen.polls as u64;
        status.committers_busy = seen.committers_busy as u64;
        status.committers = self.committers;
        status.outcomes = self.outcomes;
        status.unparked = self.unparked;
        if let Some(pace) = seen.pace {
            status.drain = Some(Progress {
                allowed_per_second: f64::from(pace.allowed),
                commit_seconds: pace.commit.as_secs_f64(),
                limited_by: Some(pace.limited_by),
            });
        }
        status.requests = metrics::requests();
        status.cpu_seconds = cpu_seconds();
        status.last_errors = self.last_errors.values().cloned().collect();
    }
}

/// As it is shown.
pub(super) fn shown(route: &Route) -> Shown {
    match route {
        Route::Direct => Shown::Direct,
        Route::Spool { .. } => Shown::Spool,
        Route::Hold { .. } => Shown::Hold,
        Route::Probing { .. } => Shown::Probing,
        Route::HalfOpen { .. } => Shown::HalfOpen,
    }
}

/// All threads, user and system, since the start of the process.
fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    std::time::Duration::try_from(used).unwrap_or_default().as_secs_f64()
}

fn took(parcel: &Parcel) {
    if let Some(sent_at) = parcel.sent_at_ms {
        metrics::order_took(age(Timestamp::now(), sent_at));
    }
}

/// How long ago a message was sent; zero when SQS's clock is ahead of ours.
fn age(now: Timestamp, sent_at_ms: i64) -> std::time::Duration {
    let millis = now.as_millisecond().saturating_sub(sent_at_ms);
    std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn alarmed(alarm: &Alarm) {
    metrics::alarm(match alarm {
        Alarm::LedgerBroken(_) => Counted::LedgerBroken,
        Alarm::LedgerUnrecognised(_) => Counted::LedgerUnrecognised,
        Alarm::InboxRefused(_) => Counted::InboxRefused,
        Alarm::CustomerStuck(..) => Counted::CustomerStuck,
        Alarm::OrderStalls(..) => Counted::OrderStalls,
        Alarm::Inconsistent(_) => Counted::Inconsistent,
        Alarm::BacklogBroken(_) => Counted::BacklogBroken,
        Alarm::LocksAway(_) => Counted::LocksAway,
        Alarm::Blocked(_) => Counted::Blocked,
        Alarm::Gap(_) => Counted::Gap,
    });
    match alarm {
        Alarm::LedgerBroken(reason) => tracing::error!(
            reason,
            "ALARM: the ledger's schema, privileges or effects do not fit this program; holding, nothing is quarantined"
        ),
        Alarm::LedgerUnrecognised(reason) => {
            tracing::error!(reason, "ALARM: the ledger answers with an error that this program does not know; holding");
        }
        Alarm::InboxRefused(reason) => tracing::error!(reason, "ALARM: the queue refuses us"),
        Alarm::CustomerStuck(customer, tries) => {
            tracing::error!(%customer, tries, "ALARM: a customer cannot be written");
        }
        Alarm::OrderStalls(order, stalls) => {
            tracing::error!(%order, stalls, "ALARM: an order keeps running into timeouts; it is tried alone");
        }
        Alarm::Inconsistent(reason) => tracing::error!(reason, "ALARM: ledger and backlog contradict each other"),
        Alarm::BacklogBroken(reason) => tracing::error!(reason, "ALARM: the backlog's deployment is broken"),
        Alarm::LocksAway(reason) => tracing::warn!(reason, "ALARM: the locks are away; the ledger alone keeps order"),
        Alarm::Blocked(customer) => {
            tracing::error!(%customer, "ALARM: a customer is blocked until a person decides about its quarantined order");
        }
        Alarm::Gap(gap) => tracing::warn!(
            customer = %gap.customer, missing = gap.missing, parked = gap.parked,
            "ALARM: orders are parked behind a number that does not come"
        ),
    }
}
