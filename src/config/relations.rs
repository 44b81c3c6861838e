//! What must hold between settings (ARCHITECTURE.md, "Settings"): checked at start and by `millrace check`.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Config, redacted};
use crate::order::{MAX_BODY_BYTES, Ordering};

mod window;

/// SQS ends a receive after this long, whatever is asked for.
const SQS_HOLD: Duration = Duration::from_hours(12);

/// What is left of the shutdown budget after the last poll and the last statement: deletes, hand-backs, locks.
const SHUTDOWN_REST: Duration = Duration::from_secs(2);

/// Every range, URL and relation that is broken, as sentences. Empty when all is well.
pub(super) fn broken(config: &Config) -> Vec<String> {
    let mut found = Broken(Vec::new());
    counts(config, &mut found);
    durations(config, &mut found);
    urls(config, &mut found);
    deadlines(config, &mut found);
    bounds(config, &mut found);
    window::broken(config, &mut found);
    found.0
}

struct Broken(Vec<String>);

impl Broken {
    /// `key = value`, and what is wrong with it.
    fn unless(&mut self, holds: bool, key: &str, value: impl Display, problem: &str) {
        if !holds {
            self.0.push(format!("{key} = {value}: {problem}"));
        }
    }

    /// Two keys of which the first must be below the second.
    fn ordered<T: PartialOrd + Shown + Copy>(&mut self, low: (&str, T), high: (&str, T), why: &str) {
        if low.1 >= high.1 {
            let (low_is, high_is) = (low.1.shown(), high.1.shown());
            self.0.push(format!("{} = {low_is} must be below {} = {high_is}: {why}", low.0, high.0));
        }
    }

    /// Two keys of which the first may not be above the second.
    fn at_most<T: PartialOrd + Shown + Copy>(&mut self, low: (&str, T), high: (&str, T), why: &str) {
        if low.1 > high.1 {
            let (low_is, high_is) = (low.1.shown(), high.1.shown());
            self.0.push(format!("{} = {low_is} must not be above {} = {high_is}: {why}", low.0, high.0));
        }
    }
}

/// A value as the file writes it.
trait Shown {
    fn shown(&self) -> String;
}

impl Shown for Duration {
    fn shown(&self) -> String {
        jiff::SignedDuration::try_from(*self).map_or_else(|_| format!("{self:?}"), |duration| format!("{duration:#}"))
    }
}

impl Shown for u64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

fn counts(config: &Config, found: &mut Broken) {
    let (inbox, ledger, locks) = (&config.inbox, &config.ledger, &config.locks);
    found.unless((1..=10).contains(&inbox.batch), "inbox.batch", inbox.batch, "must be 1 to 10, SQS gives no more");
    found.unless(
        (2..=16).contains(&ledger.committers),
        "ledger.committers",
        ledger.committers,
        "must be 2 to 16, for SQLite too: one works while one resolves",
    );
    found.unless((1..=16_384).contains(&locks.buckets), "locks.buckets", locks.buckets, "must be 1 to 16384");
    for (key, value) in [
        ("inbox.polls_max", inbox.polls_max),
        ("inbox.calls_max", inbox.calls_max),
        ("inbox.delete_tries", inbox.delete_tries),
        ("ledger.batch_max", ledger.batch_max),
        ("ledger.run_max", ledger.run_max),
        ("ledger.alarm_tries", ledger.alarm_tries),
        ("ledger.sweep_max", ledger.sweep_max),
    ] {
        found.unless(value > 0, key, value, "must be at least 1");
    }
    let prefix = &locks.prefix;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    found.unless(
        !prefix.is_empty() && prefix.bytes().all(plain),
        "locks.prefix",
        format!("{prefix:?}"),
        "must be one or more of A-Z a-z 0-9 . _ : -, because braces would move keys between the slots of a cluster",
    );
}

fn durations(config: &Config, found: &mut Broken) {
    let (inbox, ledger, locks, hold) = (&config.inbox, &config.ledger, &config.locks, &config.hold);
    for (key, value) in [
        ("inbox.attempt_timeout", inbox.attempt_timeout),
        ("inbox.backoff", inbox.backoff),
        ("ledger.connect_timeout", ledger.connect_timeout),
        ("ledger.lock_timeout", ledger.lock_timeout),
        ("ledger.backoff", ledger.backoff),
        ("ledger.sweep", ledger.sweep),
        ("locks.retry", locks.retry),
        ("locks.timeout", locks.timeout),
        ("locks.away_retry", locks.away_retry),
        ("hold.probe", hold.probe),
    ] {
        found.unless(value >= Duration::from_millis(1), key, value.shown(), "must be at least 1ms");
    }
    let at_most = |limit: u64| move |value: Duration| value <= Duration::from_secs(limit);
    found.unless(at_most(20)(inbox.wait), "inbox.wait", inbox.wait.shown(), "must be at most 20s, SQS waits no longer");
    let visibility = inbox.visibility_timeout;
    found.unless(
        visibility >= Duration::from_secs(2) && visibility <= SQS_HOLD && visibility.subsec_nanos() == 0,
        "inbox.visibility_timeout",
        visibility.shown(),
        "must be 2s to 12h, in whole seconds",
    );
    found.unless(
        inbox.wait.subsec_nanos() == 0,
        "inbox.wait",
        inbox.wait.shown(),
        "must be in whole seconds, as SQS takes it",
    );
    found.unless(
        inbox.hold_max < SQS_HOLD,
        "inbox.hold_max",
        inbox.hold_max.shown(),
        "must be below 12h, where SQS takes the message away",
    );
}

fn urls(config: &Config, found: &mut Broken) {
    let queue = &config.inbox.queue_url;
    let is_http = ["https://", "http://"].iter().any(|scheme| {
        queue
            .strip_prefix(scheme)
            .is_some_and(|rest| rest.split_once('/').is_some_and(|(host, path)| !host.is_empty() && !path.is_empty()))
    });
    found.unless(
        is_http,
        "inbox.queue_url",
        redacted(queue),
        "must be the queue's https:// URL (http:// for a local server)",
    );
    if config.inbox.ordering == Ordering::Fifo && queue.strip_suffix(".fifo").is_none() {
        found.0.push(format!(
            "inbox.ordering = fifo needs a FIFO queue, and inbox.queue_url = {} does not end in .fifo",
            redacted(queue)
        ));
    }
    let locks = &config.locks.url;
    let is_locks = locks == "local:" || ["redis://", "rediss://"].iter().any(|scheme| has_place(locks, scheme));
    found.unless(is_locks, "locks.url", redacted(locks), "must be redis://HOST, rediss://HOST or local:");
    database("ledger.url", &config.ledger.url, found);
    if let Some(reader) = &config.ledger.reader_url {
        database("ledger.reader_url", reader, found);
        let scheme = |url: &str| url.split(':').next().map(|scheme| scheme.replace("postgresql", "postgres"));
        if scheme(reader) != scheme(&config.ledger.url) {
            found.0.push(format!(
                "ledger.reader_url = {} must be the same kind of database as ledger.url = {}",
                redacted(reader),
                redacted(&config.ledger.url)
            ));
        }
    }
    let listen = &config.http.listen;
    found.unless(
        listen.parse::<SocketAddr>().is_ok(),
        "http.listen",
        listen,
        "must be an address and a port, such as 127.0.0.1:9464 or [::1]:9464",
    );
    found.unless(
        tracing_subscriber::EnvFilter::try_new(&config.log.level).is_ok(),
        "log.level",
        &config.log.level,
        "must be error, warn, info, debug or trace, or directives such as info,millrace=debug",
    );
}

fn has_place(url: &str, scheme: &str) -> bool {
    url.strip_prefix(scheme).is_some_and(|place| !place.is_empty())
}

fn database(key: &str, url: &str, found: &mut Broken) {
    if ["mysql:", "mariadb:"].iter().any(|scheme| url.starts_with(scheme)) {
        found.0.push(format!(
            "{key} = {}: MySQL comes in a later version; use postgres:// or sqlite:// until then",
            redacted(url)
        ));
        return;
    }
    let is_known = ["postgres://", "postgresql://", "sqlite://"].iter().any(|scheme| has_place(url, scheme));
    found.unless(is_known, key, redacted(url), "must be postgres://HOST/DATABASE or sqlite://PATH");
    // Every connection to it would be a database of its own, and it would forget.
    found.unless(!url.contains(":memory:") && !url.contains("mode=memory"), key, redacted(url), "must be a file");
}

fn deadlines(config: &Config, found: &mut Broken) {
    let (inbox, ledger, locks) = (&config.inbox, &config.ledger, &config.locks);
    let visibility = ("inbox.visibility_timeout", inbox.visibility_timeout);
    let lease = ("locks.lease", locks.lease);
    let statement = ("ledger.statement_timeout", ledger.statement_timeout);
    found.ordered(
        ("ledger.lock_timeout", ledger.lock_timeout),
        statement,
        "a statement that waits for a lock must end by the lock's limit, which blames nobody",
    );
    found.ordered(statement, lease, "a customer's lock must outlive the commit that it covers");
    found.ordered(lease, visibility, "a dead worker's lock must be free when its messages come back");
    found.ordered(
        ("inbox.wait", inbox.wait),
        visibility,
        "the visibility timeout counts from before the poll, which may wait that long",
    );
    found.at_most(visibility, ("inbox.hold_max", inbox.hold_max), "a message is held at least one visibility timeout");
    found.ordered(
        ("hold.keep", config.hold.keep),
        ("inbox.hold_max", inbox.hold_max),
        "what is held goes back before SQS takes it away",
    );
    found.ordered(("locks.timeout", locks.timeout), lease, "a lease must not run out while it is being asked for");
    found.ordered(("locks.linger", locks.linger), lease, "a lock that is kept for a moment must not run out meanwhile");
    found.at_most(
        ("locks.retry", locks.retry),
        ("locks.wait_max", locks.wait_max),
        "a waiting customer is asked for at least once",
    );
    let budget = config.shutdown.budget;
    let needed = inbox.wait.saturating_add(ledger.statement_timeout).saturating_add(SHUTDOWN_REST);
    if needed >= budget {
        found.0.push(format!(
            "inbox.wait = {} and ledger.statement_timeout = {}, with 2s for the rest, must be below shutdown.budget = {}: \
             the last poll and the last commit are let finish",
            inbox.wait.shown(),
            ledger.statement_timeout.shown(),
            budget.shown()
        ));
    }
    found.ordered(
        ("shutdown.budget", budget),
        ("shutdown.stop_timeout", config.shutdown.stop_timeout),
        "after the stop timeout comes SIGKILL",
    );
}

fn bounds(config: &Config, found: &mut Broken) {
    let (inbox, ledger, hold, flow) = (&config.inbox, &config.ledger, &config.hold, &config.flow);
    found.at_most(("inbox.backoff", inbox.backoff), ("inbox.backoff_max", inbox.backoff_max), "the pause only grows");
    found.at_most(
        ("ledger.backoff", ledger.backoff),
        ("ledger.backoff_max", ledger.backoff_max),
        "the pause only grows",
    );
    found.at_most(("hold.probe", hold.probe), ("hold.probe_max", hold.probe_max), "the pause only grows");
    found.at_most(
        ("ledger.run_max", u64::from(ledger.run_max)),
        ("ledger.batch_max", u64::from(ledger.batch_max)),
        "a customer's run is part of a batch",
    );
    found.at_most(
        ("inbox.batch", u64::from(inbox.batch)),
        ("flow.messages_max", u64::from(flow.messages_max)),
        "there must be room for one receive",
    );
    let receive = u64::from(inbox.batch) * MAX_BODY_BYTES as u64;
    if flow.bytes_max < receive {
        found.0.push(format!(
            "flow.bytes_max = {} must not be below {receive}, which is inbox.batch = {} of the largest messages",
            flow.bytes_max, inbox.batch
        ));
    }
}
