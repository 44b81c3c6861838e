//! What the engine counts and times. `metrics/list.rs` has every metric, `metrics/labels.rs` every label's values.
//!
//! There is one registry for the process; it is made by whoever comes first, so there is nothing to install and no
//! order to mind. Counters and histograms are recorded where things happen; gauges are set from a [`Status`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use self::labels::{Alarm, Answer, Failure, Request, Step};
use self::labels::{Labels, Plain, To};
use self::list::{Kind, Metric, number};
use crate::backlog::{BacklogError, Limit};
use crate::ledger::CaseKind;
use crate::outcome::Outcome;
use crate::status::{Phase, Requests, Route, Status};

mod labels;
mod list;

/// How often what histograms recorded is folded into their buckets, when nobody asks for `/metrics`.
const UPKEEP: Duration = Duration::from_secs(5);

static RECORDERS: LazyLock<Recorders> = LazyLock::new(Recorders::new);

/// One delivery ended.
pub fn ended(outcome: Outcome) {
    RECORDERS.orders.of(outcome).increment(1);
}

/// One order of the backlog was drained.
pub fn drained(outcome: Outcome) {
    RECORDERS.drained.of(outcome).increment(1);
}

/// One entry went to quarantine.
pub fn quarantined(kind: CaseKind) {
    RECORDERS.quarantined.of(kind).increment(1);
}

/// A parked order was committed; its delivery ended before, as parked.
pub fn unparked() {
    RECORDERS.unparked.of(Plain).increment(1);
}

/// Something failed.
pub fn failed(failure: Failure) {
    RECORDERS.errors.of(failure).increment(1);
}

/// Something happened that a person should look at.
pub fn alarm(alarm: Alarm) {
    RECORDERS.alarms.of(alarm).increment(1);
}

/// One request was answered, or not.
pub fn request(request: Request, answer: Answer) {
    RECORDERS.requests.of((request, answer)).increment(1);
    RECORDERS.made(request.to()).fetch_add(1, Ordering::Relaxed);
}

/// One request to the backlog was answered, or not; passes the answer on.
///
/// # Errors
///
/// The answer's own.
pub fn backlog<T>(asked: Request, answer: Result<T, BacklogError>) -> Result<T, BacklogError> {
    request(asked, if answer.is_ok() { Answer::Ok } else { Answer::Failed });
    if let Err(error) = &answer {
        failed(Failure::Backlog(error.class));
    }
    answer
}

/// The requests of this process so far, for [`Status::requests`].
#[must_use]
pub fn requests() -> Requests {
    let made = |to| RECORDERS.made(to).load(Ordering::Relaxed);
    Requests { sqs: made(To::Sqs), redis: made(To::Redis), sql: made(To::Sql), backlog: made(To::Backlog) }
}

/// A step took so long.
pub fn step(step: Step, took: Duration) {
    RECORDERS.steps.of(step).record(took);
}

/// An order was committed so long after its message was sent.
pub fn order_took(took: Duration) {
    RECORDERS.order.of(Plain).record(took);
}

/// A group commit had so many orders of so many customers.
pub fn commit_size(orders: usize, customers: usize) {
    RECORDERS.commit_orders.of(Plain).record(number(orders as u64));
    RECORDERS.commit_customers.of(Plain).record(number(customers as u64));
}

/// A receive brought so many messages.
pub fn receive_size(messages: usize) {
    RECORDERS.receive.of(Plain).record(number(messages as u64));
}

/// A delete named so many messages.
pub fn delete_size(messages: usize) {
    RECORDERS.delete.of(Plain).record(number(messages as u64));
}

/// Every series in Prometheus's text format, the gauges as the snapshot says.
#[must_use]
pub fn render(status: &Status) -> String {
    // One at a time, so that no gauge is of another's snapshot.
    let _alone = RECORDERS.rendering.lock().unwrap_or_else(PoisonError::into_inner);
    RECORDERS.set(status);
    RECORDERS.handle.render()
}

/// The handles of one metric's series: all of them, made at the start.
struct Family<L, H>(Vec<(L, H)>);

impl<L: Labels, H> Family<L, H> {
    fn new(metric: &Metric, register: impl Fn(&Key) -> H) -> Self {
        let series = L::all().into_iter().map(|value| {
            let labels: Vec<Label> =
                L::NAMES.iter().zip(value.texts()).map(|(name, text)| Label::from_static_parts(name, text)).collect();
            (value, register(&Key::from_parts(metric.name, labels)))
        });
        Self(series.collect())
    }

    /// At most a few dozen series: looking through them costs less than hashing.
    fn of(&self, value: L) -> &H {
        let series = self.0.iter().find(|(known, _)| *known == value);
        &series.expect("every value of a label has its series since the start").1
    }
}

impl<L: Labels> Family<L, Gauge> {
    /// 1 for this value, 0 for every other one.
    fn is(&self, value: L) {
        for (known, gauge) in &self.0 {
            gauge.set(if *known == value { 1.0 } else { 0.0 });
        }
    }
}

/// The handle of every series.
struct Recorders {
    handle: PrometheusHandle,
    rendering: Mutex<()>,
    orders: Family<Outcome, Counter>,
    drained: Family<Outcome, Counter>,
    unparked: Family<Plain, Counter>,
    quarantined: Family<CaseKind, Counter>,
    errors: Family<Failure, Counter>,
    alarms: Family<Alarm, Counter>,
    requests: Family<(Request, Answer), Counter>,
    requests_made: [AtomicU64; 4],
    steps: Family<Step, Histogram>,
    order: Family<Plain, Histogram>,
    commit_orders: Family<Plain, Histogram>,
    commit_customers: Family<Plain, Histogram>,
    receive: Family<Plain, Histogram>,
    delete: Family<Plain, Histogram>,
    phase: Family<Phase, Gauge>,
    route: Family<Route, Gauge>,
    limited_by: Family<Option<Limit>, Gauge>,
    gauges: Vec<(Gauge, list::Value)>,
}

impl Recorders {
    fn new() -> Self {
        let recorder = recorder();
        let place = Metadata::new("millrace", Level::INFO, None);
        let counter = |key: &Key| recorder.register_counter(key, &place);
        let gauge = |key: &Key| recorder.register_gauge(key, &place);
        let histogram = |key: &Key| recorder.register_histogram(key, &place);
        Self {
            handle: keep_up(recorder.handle()),
            rendering: Mutex::new(()),
            orders: Family::new(&list::ORDERS, counter),
            drained: Family::new(&list::DRAINED, counter),
            unparked: Family::new(&list::UNPARKED, counter),
            quarantined: Family::new(&list::QUARANTINED, counter),
            errors: Family::new(&list::ERRORS, counter),
            alarms: Family::new(&list::ALARMS, counter),
            requests: Family::new(&list::REQUESTS, counter),
            requests_made: Default::default(),
            steps: Family::new(&list::STEP_SECONDS, histogram),
            order: Family::new(&list::ORDER_SECONDS, histogram),
            commit_orders: Family::new(&list::COMMIT_ORDERS, histogram),
            commit_customers: Family::new(&list::COMMIT_CUSTOMERS, histogram),
            receive: Family::new(&list::RECEIVE_MESSAGES, histogram),
            delete: Family::new(&list::DELETE_MESSAGES, histogram),
            phase: Family::new(&list::PHASE, gauge),
            route: Family::new(&list::ROUTE, gauge),
            limited_by: Family::new(&list::DRAIN_LIMITED_BY, gauge),
            gauges: list::ALL
                .iter()
                .filter_map(|metric| metric.value().map(|value| (gauge(&Key::from_name(metric.name)), value)))
                .collect(),
        }
    }

    fn set(&self, status: &Status) {
        self.phase.is(status.phase);
        self.route.is(status.route);
        let drainer = status.backlog.as_ref().and_then(|backlog| backlog.drainer.as_ref());
        self.limited_by.is(drainer.and_then(|drainer| drainer.limited_by));
        for (gauge, value) in &self.gauges {
            gauge.set(value(status));
        }
    }

    fn made(&self, to: To) -> &AtomicU64 {
        &self.requests_made[to as usize]
    }
}

/// A registry that knows every metric's help and every histogram's buckets.
fn recorder() -> PrometheusRecorder {
    let mut builder = PrometheusBuilder::new();
    for metric in list::ALL {
        if let Kind::Histogram(bounds) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, bounds).expect("every histogram in the list has buckets");
        }
    }
    let recorder = builder.build_recorder();
    for metric in list::ALL {
        let (name, unit, help) = (metric.name.into(), Some(metric.unit), metric.help.into());
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge(_) | Kind::Case => recorder.describe_gauge(name, unit, help),
            Kind::Histogram(_) => recorder.describe_histogram(name, unit, help),
        }
    }
    recorder
}

/// A histogram keeps every single value until it is folded. Rendering does that; without a scraper somebody has to,
/// or memory grows. A thread, because the registry belongs to the process and not to one runtime.
fn keep_up(handle: PrometheusHandle) -> PrometheusHandle {
    let folding = handle.clone();
    std::thread::Builder::new()
        .name("metrics".into())
        .spawn(move || {
            loop {
                std::thread::sleep(UPKEEP);
                folding.run_upkeep();
            }
        })
        .expect("a process that starts can start one thread");
    handle
}
