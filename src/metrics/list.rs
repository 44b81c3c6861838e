//! Every metric, in one list: name, kind, unit, help. The labels of a metric are in the type of its family
//! ([`super::Recorders`]).

use metrics::Unit;

use crate::status::{LocksState, Status};

/// How a gauge is read from a snapshot.
pub(super) type Value = fn(&Status) -> f64;

/// What a metric counts with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
    /// With its value.
    Gauge(Value),
    /// A gauge with a label: 1 for the value that is the case, 0 for every other one.
    Case,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) help: &'static str,
}

impl Metric {
    /// Where the value of a gauge comes from.
    pub(super) fn value(&self) -> Option<Value> {
        match self.kind {
            Kind::Gauge(value) => Some(value),
            Kind::Counter | Kind::Histogram(_) | Kind::Case => None,
        }
    }
}

/// Seconds of a step: from half a millisecond to the longest long poll and past it.
const STEP: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];

/// Seconds of an order: from milliseconds to the hours of a maintenance window.
const ORDER: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0];

/// Things in a batch.
const BATCH: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];

/// Things in a batch of SQS.
const TEN: &[f64] = &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0];

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, help }
}

const fn gauge(name: &'static str, unit: Unit, help: &'static str, value: Value) -> Metric {
    Metric { name, kind: Kind::Gauge(value), unit, help }
}

const fn case(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Case, unit: Unit::Count, help }
}

/// What Prometheus counts with; above 2^53 the last digits go.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
pub(super) const fn number(count: u64) -> f64 {
    count as f64
}

const fn histogram(name: &'static str, bounds: &'static [f64], unit: Unit, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram(bounds), unit, help }
}

macro_rules! list {
    ($($constant:ident = $metric:expr;)+) => {
        $(pub(super) const $constant: Metric = $metric;)+

        /// Every metric.
        pub(super) const ALL: &[Metric] = &[$($constant),+];
    };
}

list! {
    ORDERS = counter("millrace_orders_total", "Deliveries by how they ended.");
    DRAINED = counter("millrace_drained_total", "Orders of the backlog that this worker drained, by how they ended.");
    UNPARKED = counter("millrace_unparked_total", "Parked orders that were committed.");
    QUARANTINED = counter("millrace_quarantined_total", "Entries put into quarantine, by why.");
    ERRORS = counter("millrace_errors_total", "Errors by where they came from and by what the engine does about them.");
    ALARMS = counter("millrace_alarms_total", "Things that a person should look at, by kind.");
    REQUESTS = counter("millrace_requests_total", "Requests to SQS, Redis, the ledger and the backlog, by kind and result.");

    STEP_SECONDS = histogram("millrace_step_seconds", STEP, Unit::Seconds, "How long each step took, in seconds.");
    ORDER_SECONDS = histogram(
        "millrace_order_seconds", ORDER, Unit::Seconds,
        "From the sending of an order's message to its commit, in seconds, by SQS's clock and ours."
    );
    COMMIT_ORDERS = histogram("millrace_commit_orders", BATCH, Unit::Count, "Orders in a group commit.");
    COMMIT_CUSTOMERS = histogram("millrace_commit_customers", BATCH, Unit::Count, "Customers in a group commit.");
    RECEIVE_MESSAGES = histogram("millrace_receive_messages", TEN, Unit::Count, "Messages in a receive.");
    DELETE_MESSAGES = histogram("millrace_delete_messages", TEN, Unit::Count, "Messages in a delete.");

    PHASE = case("millrace_phase", "1 for what the process is doing: starting, running or stopping.");
    ROUTE = case("millrace_route", "1 for where orders go now: direct, spool, hold, probing or half_open.");
    IN_FLIGHT = gauge("millrace_in_flight_messages", Unit::Count, "Messages received and neither deleted nor returned.", |status| number(status.held_messages + status.pending_deletes));
    HELD_MESSAGES = gauge("millrace_held_messages", Unit::Count, "Messages in memory whose order has no end yet.", |status| number(status.held_messages));
    HELD_MESSAGES_MAX = gauge("millrace_held_messages_max", Unit::Count, "The bound of held messages: there receiving stops.", |status| number(status.held_messages_max));
    HELD_BYTES = gauge("millrace_held_bytes", Unit::Bytes, "The bytes of the held messages' bodies.", |status| number(status.held_bytes));
    HELD_BYTES_MAX = gauge("millrace_held_bytes_max", Unit::Bytes, "The bound of held bytes: there receiving stops.", |status| number(status.held_bytes_max));
    PENDING_DELETES = gauge("millrace_pending_deletes", Unit::Count, "Messages whose order has its end and that are not deleted yet.", |status| number(status.pending_deletes));
    EARLY = gauge("millrace_early_messages", Unit::Count, "Held messages whose order came before its predecessor.", |status| number(status.early));
    OLDEST = gauge("millrace_oldest_order_seconds", Unit::Seconds, "The age since sending of the oldest held message, in seconds; 0 when none is held.", |status| status.oldest_order_seconds.unwrap_or(0.0));
    PARKED = gauge("millrace_parked_orders", Unit::Count, "Orders parked in the ledger, as far as this instance last saw.", |status| number(status.parked_known));
    BLOCKED = gauge("millrace_blocked_customers", Unit::Count, "Customers known to be blocked by a quarantined order.", |status| number(status.blocked_customers));
    LANES = gauge("millrace_lanes", Unit::Count, "Customers with an order in memory.", |status| number(status.lanes));
    LANES_WAITING = gauge("millrace_lanes_waiting_for_lock", Unit::Count, "Customers whose lock another instance has.", |status| number(status.lanes_waiting_for_lock));
    LANES_WITHOUT = gauge("millrace_lanes_without_lock", Unit::Count, "Customers that go on without a lock.", |status| number(status.lanes_without_lock));
    LOCKS_AWAY = gauge("millrace_locks_away", Unit::Count, "1 while the lock server does not answer.", |status| number(matches!(status.locks, LocksState::Away { .. }).into()));
    POLLS = gauge("millrace_polls", Unit::Count, "Long polls under way.", |status| number(status.polls));
    COMMITTERS = gauge("millrace_committers", Unit::Count, "Committers.", |status| number(status.committers));
    COMMITTERS_BUSY = gauge("millrace_committers_busy", Unit::Count, "Committers at work.", |status| number(status.committers_busy));
    BACKLOG_ROWS = gauge("millrace_backlog_orders", Unit::Count, "Orders in the backlog, as it was last looked at.", |status| status.backlog.as_ref().map_or(0.0, |backlog| number(backlog.rows)));
    BACKLOG_OLDEST = gauge("millrace_backlog_oldest_seconds", Unit::Seconds, "How long the order that waits longest has been in the backlog, in seconds; 0 when it is empty.", |status| status.backlog.as_ref().and_then(|backlog| backlog.oldest_seconds).unwrap_or(0.0));
    BACKLOG_ARRIVAL = gauge("millrace_backlog_arrival_per_second", Unit::CountPerSecond, "Orders appended to the backlog a second.", |status| status.backlog.as_ref().and_then(|backlog| backlog.arrival_per_second).unwrap_or(0.0));
    BACKLOG_DRAIN = gauge("millrace_backlog_drain_per_second", Unit::CountPerSecond, "Orders drained from the backlog a second.", |status| status.backlog.as_ref().and_then(|backlog| backlog.drain_per_second).unwrap_or(0.0));
    BACKLOG_ETA = gauge("millrace_backlog_eta_seconds", Unit::Seconds, "When the backlog will be empty, in seconds; -1 when it will not clear at this rate, 0 when it is empty or not drained.", |status| status.backlog.as_ref().map_or(0.0, |backlog| if backlog.will_not_clear { -1.0 } else { backlog.eta_seconds.unwrap_or(0.0) }));
    DRAIN_ALLOWED = gauge("millrace_drain_allowed_per_second", Unit::CountPerSecond, "The rate that the pace of the drain allows, in orders a second; 0 when nobody drains.", |status| status.backlog.as_ref().and_then(|backlog| backlog.drainer.as_ref()).map_or(0.0, |drainer| drainer.allowed_per_second));
    DRAIN_LIMITED_BY = case("millrace_drain_limited_by", "1 for what limits the drain now; nobody_drains while nobody does.");
    CPU = gauge("millrace_cpu_seconds", Unit::Seconds, "CPU that the process has used so far, in seconds: all threads, user and system.", |status| status.cpu_seconds);
    STARTED = gauge("millrace_started_seconds", Unit::Seconds, "When the process started, in seconds since 1970.", |status| number(status.started_at.as_second().try_into().unwrap_or(0)));
}
