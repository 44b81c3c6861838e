//! `millrace run`: the composition root. It builds the parts, waits until they can be reached, and runs the engine.

use std::hash::{BuildHasher as _, RandomState};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::preflight::{Preflight, State, preflight};
use super::{DONE, FAILED, MISUSED, failed};
use crate::config::Config;
use crate::core::{Report, Settings};
use crate::engine::Engine;
use crate::http::{Server, View};
use crate::inbox::QueueFacts;
use crate::inbox::sqs::Sqs;
use crate::ledger::{self, AnyLedger, Binding, ErrorClass, Ledger as _, Source};
use crate::locks;
use crate::reconnect::Pauses;
use crate::status::pulse::Pulse;
use crate::status::{LocksState, Status};
use crate::telemetry;

/// The pauses while a dependency is away at the start.
const WAIT_FIRST: Duration = Duration::from_millis(500);
const WAIT_LONGEST: Duration = Duration::from_secs(10);

/// What a committer may take beyond connecting and one statement, before `/live` calls it stuck.
const WORK_MARGIN: Duration = Duration::from_secs(5);

/// Arguments of `millrace run`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the engine until SIGTERM or SIGINT. 0 after a shutdown, 1 when it cannot start or breaks.
#[must_use]
pub fn run(config: &Config, _args: &Args) -> ExitCode {
    if let Err(error) = telemetry::start(&config.log) {
        eprintln!("millrace run: {error}");
        return ExitCode::from(MISUSED);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed("run", &error),
    };
    let code = runtime.block_on(serve(config));
    // What is left are calls whose answers nobody awaits any more.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn serve(config: &Config) -> ExitCode {
    let shutdown = CancellationToken::new();
    if let Err(error) = on_signals(shutdown.clone()) {
        return failed("run", &error);
    }
    let server = match Server::bind(&config.http).await {
        Ok(server) => server,
        Err(error) => return failed("run", &error),
    };
    tracing::info!(address = %server.address(), "listening");
    let locks_kept_by = if config.locks.url == "local:" { LocksState::Local } else { LocksState::Redis };
    let (status, seen) = watch::channel(Status::starting(config.inbox.ordering, locks_kept_by));
    let work_max = config.ledger.connect_timeout + config.ledger.statement_timeout * 2 + WORK_MARGIN;
    let pulse = Pulse::new(config.ledger.committers as usize, work_max);
    let last = CancellationToken::new();
    let answering = tokio::spawn(server.run(View { status: seen, pulse: pulse.clone() }, last.clone()));

    let code = match work(config, status, pulse, shutdown).await {
        Ok(Some(report)) => {
            let Report { finished, returned, at_risk } = report;
            println!("stopped: {finished} finished, {returned} returned, {at_risk} at risk");
            DONE
        }
        Ok(None) => {
            println!("stopped before the start: 0 finished, 0 returned, 0 at risk");
            DONE
        }
        Err(problem) => {
            eprintln!("millrace run: {problem}");
            FAILED
        }
    };
    last.cancel();
    if let Ok(Err(error)) = answering.await {
        tracing::warn!(%error, "the status page ended with an error");
    }
    ExitCode::from(code)
}

fn on_signals(shutdown: CancellationToken) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
        shutdown.cancel();
    });
    Ok(())
}

/// Starts the engine when everything that it cannot do without is there. None: it was stopped before that.
async fn work(
    config: &Config,
    status: watch::Sender<Status>,
    pulse: Pulse,
    shutdown: CancellationToken,
) -> Result<Option<Report>, String> {
    let ledger = ledger::open(config).map_err(|error| error.to_string())?;
    let Some(()) = until_reachable(config, &ledger, &pulse, &shutdown).await? else { return Ok(None) };
    let engine = Engine {
        inbox: Sqs::from_environment(&config.inbox).await.map_err(|error| error.to_string())?,
        locks: locks::open(&config.locks).map_err(|error| error.to_string())?,
        ledger,
        settings: Settings::from(config),
        seed: RandomState::new().hash_one(std::process::id()),
        pulse,
        status,
    };
    tracing::info!(
        queue = config.inbox.queue_url,
        ordering = %config.inbox.ordering,
        version = env!("CARGO_PKG_VERSION"),
        "running"
    );
    if config.inbox.ordering == crate::order::Ordering::None {
        tracing::warn!("inbox.ordering = none: each order takes effect once, and no order of a customer's is promised");
    }
    engine.run(shutdown).await.map(Some).map_err(|error| error.to_string())
}

/// Waits for the queue and the ledger. What no waiting will mend is an error.
async fn until_reachable(
    config: &Config,
    ledger: &AnyLedger,
    pulse: &Pulse,
    shutdown: &CancellationToken,
) -> Result<Option<()>, String> {
    let mut pauses = Pauses::new(WAIT_FIRST, WAIT_LONGEST);
    loop {
        let preflight = preflight(config).await;
        let waiting_for = judge(&preflight)?;
        if waiting_for.is_empty()
            && let Some(queue) = &preflight.queue
            && bound(config, ledger, queue).await?
        {
            return Ok(Some(()));
        }
        tracing::warn!(waiting_for, "not started yet: a dependency is away");
        let pause = pauses.next_pause();
        tokio::select! {
            () = tokio::time::sleep(pause) => pulse.beat(),
            () = shutdown.cancelled() => return Ok(None),
        }
    }
}

/// What is still away, of that which the engine cannot start without. The locks and the reader are not among it.
fn judge(preflight: &Preflight) -> Result<String, String> {
    let mut away = Vec::new();
    for finding in &preflight.findings {
        let (what, found, remedy) = (finding.what, &finding.found, &finding.remedy);
        match finding.state {
            State::Fail if finding.stops_start => return Err(format!("{what}: {found}: {remedy}")),
            State::Fail if matches!(what, "queue" | "ledger") => away.push(format!("{what}: {found}")),
            State::Fail | State::Warn => tracing::warn!(found, remedy, "{what}"),
            State::Ok => {}
        }
    }
    Ok(away.join("; "))
}

/// Whether the ledger belongs to this queue. False when it could not be asked.
async fn bound(config: &Config, ledger: &AnyLedger, queue: &QueueFacts) -> Result<bool, String> {
    let source =
        Source { ordering: config.inbox.ordering, queue_arn: queue.arn.clone(), queue_created_at: queue.created_at };
    match ledger.bind(&source).await {
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
