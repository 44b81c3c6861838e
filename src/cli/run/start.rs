//! What a worker waits for before it begins.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::preflight::{Preflight, State, preflight};
use crate::config::Config;
use crate::inbox::QueueFacts;
use crate::ledger::{AnyLedger, Binding, ErrorClass, Ledger as _, Source};
use crate::reconnect::Pauses;
use crate::status::pulse::Pulse;

/// The pauses while a dependency is away at the start.
const WAIT_FIRST: Duration = Duration::from_millis(500);
const WAIT_LONGEST: Duration = Duration::from_secs(10);

/// With what a worker starts.
pub(super) enum Start {
    /// The ledger is there, and belongs to the queue.
    Bound,
    /// The ledger is away in a maintenance window: orders go to the backlog. It is told at the first connection where
    /// they come from.
    Window(Source),
}

/// Waits for the queue and the ledger; in a maintenance window for the queue alone. What no waiting will mend is an
/// error. None: shut down meanwhile.
pub(super) async fn until_reachable(
    config: &Config,
    ledger: &AnyLedger,
    pulse: &Pulse,
    shutdown: &CancellationToken,
) -> Result<Option<Start>, String> {
    let mut pauses = Pauses::new(WAIT_FIRST, WAIT_LONGEST);
    loop {
        let preflight = preflight(config).await;
        let away = judge(&preflight)?;
        if let Some(queue) = &preflight.queue {
            let source = source(config, queue);
            if away.is_empty() && bound(ledger, &source).await? {
                return Ok(Some(Start::Bound));
            }
            if preflight.spooling && away.iter().all(|(what, _)| *what == "ledger") {
                tracing::info!("the ledger is away in a maintenance window: starting without it");
                return Ok(Some(Start::Window(source)));
            }
        }
        let waiting_for: Vec<String> = away.iter().map(|(what, found)| format!("{what}: {found}")).collect();
        tracing::warn!(waiting_for = waiting_for.join("; "), "not started yet: a dependency is away");
        let pause = pauses.next_pause();
        tokio::select! {
            () = tokio::time::sleep(pause) => pulse.beat(),
            () = shutdown.cancelled() => return Ok(None),
        }
    }
}

/// What is still away, of that which the engine cannot start without. The locks and the reader are not among it.
fn judge(preflight: &Preflight) -> Result<Vec<(&'static str, String)>, String> {
    let mut away = Vec::new();
    for finding in &preflight.findings {
        let (what, found, remedy) = (finding.what, &finding.found, &finding.remedy);
        match finding.state {
            State::Fail if finding.stops_start => return Err(format!("{what}: {found}: {remedy}")),
            State::Fail if matches!(what, "queue" | "ledger") => away.push((what, found.clone())),
            State::Fail | State::Warn => tracing::warn!(found, remedy, "{what}"),
            State::Ok => {}
        }
    }
    Ok(away)
}

fn source(config: &Config, queue: &QueueFacts) -> Source {
    Source { ordering: config.inbox.ordering, queue_arn: queue.arn.clone(), queue_created_at: queue.created_at }
}

/// Whether the ledger belongs to this queue. False when it could not be asked.
async fn bound(ledger: &AnyLedger, source: &Source) -> Result<bool, String> {
    match ledger.bind(source).await {
        Ok(Binding::Bound) => Ok(true),
        Ok(Binding::Other(other)) => Err(format!(
            "source: the ledger's orders come from {} ({}), not from {} ({}): millrace migrate --accept-queue",
            other.queue_arn, other.ordering, source.queue_arn, source.ordering
        )),
        Ok(Binding::Pending(count)) => Err(format!("source: {count} orders of the source before are not decided")),
        Err(error) if error.class == ErrorClass::Broken => Err(error.to_string()),
        Err(error) => {
            tracing::warn!(%error, "the ledger does not say where its orders come from");
            Ok(false)
        }
    }
}
