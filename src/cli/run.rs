//! `millrace run`: the composition root. It builds the parts, waits until they can be reached, and runs the engine.

use std::hash::{BuildHasher as _, RandomState};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{DONE, FAILED, MISUSED, failed};
use crate::backlog;
use crate::config::Config;
use crate::core::{Report, Settings};
use crate::drain::Drain;
use crate::engine::{Engine, Role};
use crate::http::{Server, View};
use crate::inbox::sqs::Sqs;
use crate::ledger;
use crate::locks;
use crate::status::pulse::Pulse;
use crate::status::{LocksState, Status};
use crate::telemetry;

mod start;

use start::Start;

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

    let code = match Box::pin(work(config, status, pulse, shutdown)).await {
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
    let Some(start) = start::until_reachable(config, &ledger, &pulse, &shutdown).await? else { return Ok(None) };
    let backlog = backlog::open(config).map_err(|error| error.to_string())?;
    let seed = RandomState::new().hash_one(std::process::id());
    let unbound = match start {
        Start::Bound => None,
        Start::Window(source) => Some(source),
    };
    let drain = backlog.clone().map(|backlog| Drain {
        unbound: unbound.clone(),
        ledger: ledger.clone(),
        backlog,
        config: config.clone(),
        owner: format!("{}-{seed:016x}", std::process::id()),
        seed,
        status: status.clone(),
    });
    if drain.is_none() {
        tracing::info!("no backlog.url: while the ledger is closed, orders stay in the queue");
    }
    let draining = tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            if let Some(drain) = drain {
                Box::pin(drain.run(shutdown)).await;
            }
        }
    });
    let engine = Engine {
        inbox: Sqs::from_environment(&config.inbox).await.map_err(|error| error.to_string())?,
        locks: locks::open(&config.locks).map_err(|error| error.to_string())?,
        ledger,
        backlog,
        unbound,
        role: Role::Live,
        settings: Settings::from(config),
        seed,
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
    let report = engine.run(shutdown.clone()).await.map_err(|error| error.to_string());
    // An engine that broke ends the drain too: the process ends.
    shutdown.cancel();
    draining.await.map_err(|error| error.to_string())?;
    report.map(Some)
}
