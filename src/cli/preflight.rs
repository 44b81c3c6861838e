//! What must be true of the world before the engine starts: asked by `run`, shown by `check`.
//!
//! Settings that contradict each other never come this far ([`Config::load`]). A dependency that is away is told and
//! does not stop the start: the engine waits for it. What no waiting will mend stops it.

use serde::Serialize;

use crate::config::{Config, redacted};
use crate::inbox::sqs::Sqs;
use crate::inbox::{Inbox as _, InboxError, InboxErrorClass, QueueFacts, Receipt, Settled};
use crate::ledger::report::Reader;
use crate::ledger::{self, ErrorClass, Gate, Ledger as _, LedgerError, Session as _, Source};
use crate::locks::{self, Unproven};

pub mod backlog;
pub mod queue;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and a person should know.
    Warn,
    /// It does not work.
    Fail,
}

impl State {
    /// The word in the table.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// How bad it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when nothing.
    pub remedy: String,
    /// `run` refuses to start: waiting will not mend it.
    pub stops_start: bool,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, state: State::Ok, found: found.into(), remedy: String::new(), stops_start: false }
    }

    fn warn(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, state: State::Warn, found: found.into(), remedy: remedy.into(), stops_start: false }
    }

    /// It fails now, and may come back.
    fn away(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, state: State::Fail, found: found.into(), remedy: remedy.into(), stops_start: false }
    }

    /// It fails until somebody changes something.
    fn refused(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, state: State::Fail, found: found.into(), remedy: remedy.into(), stops_start: true }
    }
}

/// Everything that was found, and what the queue said of itself.
#[derive(Debug, Clone)]
pub struct Preflight {
    /// In the order of an order's way.
    pub findings: Vec<Finding>,
    /// `None` when the queue did not answer.
    pub queue: Option<QueueFacts>,
    /// A maintenance window is on: the backlog takes orders.
    pub spooling: bool,
}

/// Looks at every dependency. Changes nothing anywhere.
pub async fn preflight(config: &Config) -> Preflight {
    let mut findings = vec![Finding::ok("settings", "every key and relation holds")];
    let queue = queue_of(config, &mut findings).await;
    locks_of(config, &mut findings).await;
    // Side by side: a backlog that is away must not make a start wait longer than its connecting may take.
    let (gate, phase) = tokio::join!(ledger_of(config), backlog::look(config));
    let open = gate.as_ref().is_ok_and(|gate| *gate == Gate::Open);
    findings.push(ledger(config, gate));
    reader_of(config, queue.as_ref(), &mut findings).await;
    let spooling = matches!(&phase, Some(Ok(view)) if view.accepts());
    findings.extend(backlog::judge(config, phase, open));
    Preflight { findings, queue, spooling }
}

async fn queue_of(config: &Config, findings: &mut Vec<Finding>) -> Option<QueueFacts> {
    let sqs = match Sqs::from_environment(&config.inbox).await {
        Ok(sqs) => sqs,
        Err(error) => {
            findings.push(Finding::refused("queue", error.to_string(), "set AWS_REGION, and credentials or a role"));
            return None;
        }
    };
    let facts = match sqs.describe().await {
        Ok(facts) => facts,
        Err(error) => {
            findings.push(unreached(&error));
            return None;
        }
    };
    findings.extend(queue::judge(config, &facts));
    Some(facts)
}

fn unreached(error: &InboxError) -> Finding {
    let found = error.to_string();
    match error.class {
        InboxErrorClass::Throttled => Finding::away("queue", found, "try again"),
        InboxErrorClass::Away => {
            Finding::away("queue", found, "look at inbox.queue_url, AWS_ENDPOINT_URL_SQS, and the way to SQS")
        }
        InboxErrorClass::Refused => Finding::refused(
            "queue",
            found,
            "look at inbox.queue_url, AWS_REGION, and sqs:GetQueueAttributes of the role",
        ),
    }
}

/// Shows what the role may do by calls that change nothing: their receipt handle names no message.
pub async fn permissions(config: &Config) -> Vec<Finding> {
    let Ok(sqs) = Sqs::from_environment(&config.inbox).await else { return Vec::new() };
    let nothing = [Receipt("millrace-check-names-no-message".into())];
    let delete = sqs.delete(&nothing).await;
    let visibility = sqs.set_visibility(&nothing, std::time::Duration::ZERO).await;
    let judge = |what, action: &str, answer: Result<Vec<Settled>, InboxError>| match answer {
        Err(error) if error.class == InboxErrorClass::Refused => {
            Finding::away(what, error.to_string(), format!("allow {action} to the role"))
        }
        Err(error) => Finding::warn(what, error.to_string(), "try again"),
        Ok(_) => Finding::ok(what, format!("{action} is allowed")),
    };
    vec![
        judge("may delete", "sqs:DeleteMessage", delete),
        judge("may hand back", "sqs:ChangeMessageVisibility", visibility),
        // Trying would take a message away from the fleet for a moment, and count as one of its receives.
        Finding::ok("may receive", "not tried: it would take a message; sqs:ReceiveMessage must be allowed"),
    ]
}

async fn locks_of(config: &Config, findings: &mut Vec<Finding>) {
    let url = redacted(&config.locks.url);
    let locks = match locks::open(&config.locks) {
        Ok(locks) => locks,
        Err(error) => {
            findings.push(Finding::refused("locks", error.to_string(), "correct the setting"));
            return;
        }
    };
    findings.push(match locks.prove().await {
        Ok(()) if config.locks.url == "local:" && !config.ledger.url.starts_with("sqlite:") => Finding::warn(
            "locks",
            "inside this process",
            "for more than one instance set locks.url to a Redis; without it they prepare the same orders",
        ),
        Ok(()) => Finding::ok("locks", url),
        Err(Unproven::Away(error)) => {
            Finding::away("locks", format!("{url}: {error}"), "start Redis; until then work goes on without locks")
        }
        Err(error @ Unproven::Buckets { .. }) => {
            Finding::refused("locks", error.to_string(), "give the whole fleet one locks.buckets, or another prefix")
        }
    });
}

async fn ledger_of(config: &Config) -> Result<Gate, LedgerError> {
    ledger::open(config)?.connect().await?.gate().await
}

fn ledger(config: &Config, gate: Result<Gate, LedgerError>) -> Finding {
    let url = redacted(&config.ledger.url);
    match gate {
        Ok(Gate::Open) => Finding::ok("ledger", format!("{url}: the writer, its schema and effects fit, gate open")),
        Ok(Gate::Closed) => Finding::warn("ledger", format!("{url}: gate closed"), CLOSED),
        Ok(Gate::Draining) => Finding::warn("ledger", format!("{url}: draining"), CLOSED),
        Err(error) => ledger_failed(&url, &error),
    }
}

const CLOSED: &str = "live orders wait until it opens: millrace maintenance status";

fn ledger_failed(url: &str, error: &LedgerError) -> Finding {
    let found = format!("{url}: {error}");
    if error.class == ErrorClass::Broken {
        Finding::refused("ledger", found, "run `millrace migrate`; look at ledger.effects and the role's privileges")
    } else {
        Finding::away("ledger", found, "start the database, look at ledger.url and the way there; orders wait in SQS")
    }
}

/// What only reading shows: the source that the ledger knows, and how many connections its server takes.
async fn reader_of(config: &Config, queue: Option<&QueueFacts>, findings: &mut Vec<Finding>) {
    let read = async {
        let mut reader = Reader::open(config).await?;
        Ok::<_, LedgerError>((reader.source().await?, reader.connections_max().await?))
    };
    let (source, connections) = match read.await {
        Ok(read) => read,
        Err(error) => {
            // Without a reader of its own it is the ledger, and that has been told.
            if let Some(url) = &config.ledger.reader_url {
                let found = format!("{}: {error}", redacted(url));
                findings.push(Finding::away("reader", found, "look at ledger.reader_url; only reports need it"));
            }
            return;
        }
    };
    if let Some(url) = &config.ledger.reader_url {
        findings.push(Finding::ok("reader", redacted(url)));
    }
    findings.extend(source.as_ref().zip(queue).map(|(source, queue)| same_source(config, source, queue)));
    let committers = config.ledger.committers;
    findings.extend(connections.map(|most| {
        let found = format!("ledger.committers = {committers}, the server takes {most} connections");
        if committers >= most {
            Finding::refused("connections", found, "lower ledger.committers, or raise max_connections")
        } else if committers.saturating_mul(4) > most {
            Finding::warn("connections", found, "a fleet needs ledger.committers for each instance, and one to spare")
        } else {
            Finding::ok("connections", found)
        }
    }));
}

/// Whether the ledger's orders come from this queue.
fn same_source(config: &Config, source: &Source, queue: &QueueFacts) -> Finding {
    let ordering = config.inbox.ordering;
    let same_queue = source.queue_arn == queue.arn && source.queue_created_at == queue.created_at;
    if source.ordering != ordering {
        let found = format!("inbox.ordering = {ordering}, and the ledger was filled with {}", source.ordering);
        return Finding::refused("source", found, "set it back, or use a ledger of its own");
    }
    if ordering == crate::order::Ordering::Fifo && !same_queue {
        let found =
            format!("the ledger's marks belong to {}, created at {}", source.queue_arn, source.queue_created_at);
        return Finding::refused("source", found, "when that queue is empty: millrace migrate --accept-queue");
    }
    Finding::ok("source", format!("{} by {ordering}", queue.arn))
}
