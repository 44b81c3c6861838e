//! The drain of the backlog, beside the live work of every worker: one drainer for the fleet, by a lease in the
//! backlog's database. Two would be correct too: the ledger judges every order, and rows leave only behind it.
//!
//! A drainer is an engine over the ledger as it is under the window's epoch, with the backlog for its inbox. This loop
//! looks at the backlog, takes the lease when there is something to drain and an operator has granted it, tells how
//! it goes, and takes a seal back that holds the workers up for too long.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backlog::{Backlog, BacklogError, Claim, Depth, Drainer, Lease, Limit, Progress, Session as _};
use crate::config::Config;
use crate::core::{Report, Settings};
use crate::engine::{Broken, Engine, Role};
use crate::inbox::backlog::BacklogInbox;
use crate::ledger::gatekeeper::Gatekeeper as _;
use crate::ledger::{Binding, Gate, Ledger, LedgerError, Source};
use crate::locks::local::LocalLocks;
use crate::metrics::{self, Request};
use crate::status::backlog::{Looks, RATES_OVER};
use crate::status::pulse::Pulse;
use crate::status::{LocksState, Outcomes, Route, Status};
use crate::window::{Epoch, Phase, PhaseView};

/// How long a drainer may take to begin committing again after its ledger came back, before a seal is taken back for
/// it: less than `maintenance.seal_limit` would be, because nobody knows how long the ledger stays away.
const LEDGER_AWAY: Duration = Duration::from_secs(1);

/// The drain of one worker.
pub struct Drain<L: Ledger, B: Backlog> {
    /// Where orders take effect.
    pub ledger: L,
    /// What is drained.
    pub backlog: B,
    /// The settings.
    pub config: Config,
    /// This boot of this worker.
    pub owner: String,
    /// Where the orders come from, when nobody has told the ledger yet.
    pub unbound: Option<Source>,
    /// Varies the jitter of this instance.
    pub seed: u64,
    /// Where the worker's status is published.
    pub status: watch::Sender<Status>,
}

/// What was read at one look.
struct Look {
    view: PhaseView,
    depth: Option<Depth>,
    drainer: Option<Drainer>,
}

impl Look {
    fn is_drained_by_another(&self, owner: &str) -> bool {
        let now = self.depth.as_ref().map(|depth| depth.now);
        self.drainer.as_ref().is_some_and(|drainer| drainer.owner != owner && Some(drainer.until) > now)
    }
}

/// What the ledger says to a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant {
    Given,
    Refused,
    /// It does not answer.
    Unknown,
}

/// An engine that drains under one epoch.
struct Running {
    epoch: Epoch,
    stop: CancellationToken,
    status: watch::Receiver<Status>,
    engine: JoinHandle<Result<Report, Broken>>,
}

impl<L: Ledger, B: Backlog> Drain<L, B> {
    /// Looks after the backlog until `shutdown`. Errors of the backlog are told and outlasted.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut session: Option<B::Session> = None;
        let mut running: Option<Running> = None;
        let mut worker = self.status.subscribe();
        let mut watched = Watched { drained: Outcomes::default(), looks: Looks::over(RATES_OVER), sealing: None };
        loop {
            let look = self.tend(&mut session, &mut running, &mut watched).await;
            if let Err(error) = &look {
                tracing::warn!(%error, "the backlog cannot be looked at");
                session = None;
            }
            let spooling = worker.borrow_and_update().route == Route::Spool;
            let on = spooling || running.is_some() || look.is_ok_and(|phase| phase != Phase::Sealed);
            // The lease has to be renewed in time, and a window is watched closely.
            let look_every = self.config.backlog.look;
            let pause = if on { (look_every / 10).min(self.config.maintenance.lease / 3) } else { look_every };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // The live engine has found out that a window is on.
                Ok(_) = worker.wait_for(|status| status.route == Route::Spool), if !on => {}
                () = shutdown.cancelled() => break,
            }
        }
        if let Some(running) = running.take() {
            self.stop(running, &mut watched).await;
        }
        if let Some(mut session) = session
            && let Err(error) = session.release(&self.owner).await
        {
            tracing::debug!(%error, "the drain lease is left to run out");
        }
    }

    /// One look, and what follows from it.
    async fn tend(
        &self,
        session: &mut Option<B::Session>,
        running: &mut Option<Running>,
        watched: &mut Watched,
    ) -> Result<Phase, BacklogError> {
        if running.as_ref().is_some_and(|running| running.engine.is_finished())
            && let Some(ended) = running.take()
        {
            self.stop(ended, watched).await;
        }
        // Without a session nothing is known, and the lease may run out: then another one drains beside us, which is
        // correct. So the engine goes on.
        let mut connected = match session.take() {
            Some(session) => session,
            None => metrics::backlog(Request::BacklogConnect, self.backlog.connect().await)?,
        };
        let look = look(&mut connected).await?;
        self.show(&look, running.as_ref(), watched);
        let phase = look.view.phase;
        if let Some(over) = running.take_if(|running| phase == Phase::Sealed || look.view.epoch != running.epoch) {
            self.stop(over, watched).await;
        }
        if phase != Phase::Sealed {
            self.drain(&mut connected, &look, running, watched).await?;
        }
        *session = Some(connected);
        Ok(phase)
    }

    /// Drains if this worker may, and goes on if it does.
    async fn drain(
        &self,
        session: &mut B::Session,
        look: &Look,
        running: &mut Option<Running>,
        watched: &mut Watched,
    ) -> Result<(), BacklogError> {
        let view = &look.view;
        if running.is_none() {
            // Asking the ledger is a connection each time, so only who could have the lease asks.
            if look.is_drained_by_another(&self.owner) {
                return Ok(());
            }
            match self.granted(view.epoch).await {
                Grant::Given => {}
                Grant::Refused => return Ok(()),
                Grant::Unknown => return self.unseal_alone(session, view, watched).await,
            }
        }
        let progress = running.as_ref().and_then(|running| running.status.borrow().drain.clone()).unwrap_or_default();
        let claim = Claim { owner: self.owner.clone(), lease: self.config.maintenance.lease, progress };
        let lease = metrics::backlog(Request::DrainLease, session.lease(&claim).await)?;
        match (lease, &running) {
            (Lease::Held, Some(drain)) => {
                let away = matches!(drain.status.borrow().route, Route::Hold | Route::Probing);
                if watched.stuck(view, away, self.config.maintenance.seal_limit)
                    && metrics::backlog(Request::DrainLease, session.unseal(view.epoch, &self.owner).await)?
                {
                    tracing::warn!("sealing took too long: orders are accepted into the backlog again");
                }
            }
            (Lease::Held, None) => {
                tracing::info!(epoch = view.epoch, "draining the backlog");
                *running = Some(self.start(view.epoch));
            }
            (Lease::Elsewhere, _) => {
                if let Some(drain) = running.take() {
                    tracing::warn!("another worker has the drain lease now");
                    self.stop(drain, watched).await;
                }
            }
        }
        Ok(())
    }

    /// The ledger went away behind a seal, and whoever drained is gone: the workers must not be held up for as long.
    async fn unseal_alone(
        &self,
        session: &mut B::Session,
        view: &PhaseView,
        watched: &mut Watched,
    ) -> Result<(), BacklogError> {
        if !watched.stuck(view, true, self.config.maintenance.seal_limit) {
            return Ok(());
        }
        let claim = Claim {
            owner: self.owner.clone(),
            lease: self.config.maintenance.lease,
            progress: Progress { limited_by: Some(Limit::LedgerAway), ..Progress::default() },
        };
        if metrics::backlog(Request::DrainLease, session.lease(&claim).await)? == Lease::Held {
            if metrics::backlog(Request::DrainLease, session.unseal(view.epoch, &self.owner).await)? {
                tracing::warn!("the ledger is away while sealing: orders are accepted into the backlog again");
            }
            metrics::backlog(Request::DrainLease, session.release(&self.owner).await)?;
        }
        Ok(())
    }

    /// Whether an operator has granted the drain of this window, and of this queue's orders.
    async fn granted(&self, epoch: Epoch) -> Grant {
        match self.ask(epoch).await {
            Ok(true) => Grant::Given,
            Ok(false) => Grant::Refused,
            Err(error) => {
                tracing::debug!(%error, "the ledger does not say whether the backlog may be drained");
                Grant::Unknown
            }
        }
    }

    async fn ask(&self, epoch: Epoch) -> Result<bool, LedgerError> {
        let view = self.ledger.gatekeeper().await?.view().await?;
        if view.gate != Gate::Draining || view.epoch != epoch || view.announced > epoch {
            return Ok(false);
        }
        // A worker that started in the window has not asked yet: marks of another queue would judge these orders.
        let Some(source) = &self.unbound else { return Ok(true) };
        let bound = self.ledger.bind(source).await? == Binding::Bound;
        if !bound {
            tracing::error!(queue = source.queue_arn, "the ledger's orders come from another queue: `millrace check`");
        }
        Ok(bound)
    }

    fn start(&self, epoch: Epoch) -> Running {
        let Config { inbox, maintenance, .. } = &self.config;
        let settings = Settings::of_drain(&self.config);
        let (status, seen) = watch::channel(Status::starting(inbox.ordering, LocksState::Local));
        let engine = Engine {
            inbox: BacklogInbox::new(self.backlog.clone(), inbox.ordering, maintenance.share, settings.receive_bytes),
            // Only the drain may write now, so its customers are contended for by nobody.
            locks: LocalLocks::new(),
            ledger: self.ledger.draining(epoch),
            backlog: None::<B>,
            unbound: None,
            role: Role::Drain,
            pulse: Pulse::new(settings.committers, Duration::MAX),
            settings,
            seed: self.seed,
            status,
        };
        let stop = CancellationToken::new();
        Running { epoch, engine: tokio::spawn(engine.run(stop.clone())), stop, status: seen }
    }

    /// Lets the drain finish what it has begun. What it holds beside that stays in the backlog.
    async fn stop(&self, running: Running, watched: &mut Watched) {
        running.stop.cancel();
        match running.engine.await {
            Ok(Ok(_)) => tracing::info!("the drain has stopped"),
            Ok(Err(error)) => tracing::error!(%error, "the drain broke"),
            Err(error) => tracing::error!(%error, "the drain broke"),
        }
        watched.drained = watched.drained.and(running.status.borrow().outcomes);
        let drained = watched.drained;
        self.status.send_modify(|status| {
            status.drained = drained;
            status.drain = None;
        });
    }

    fn show(&self, look: &Look, running: Option<&Running>, watched: &mut Watched) {
        let Look { view, depth, drainer } = look;
        let shown = depth.clone().map(|depth| watched.looks.see(view.clone(), depth, drainer.clone()));
        let (drained, drain) = match running.map(|running| running.status.borrow()) {
            None => (watched.drained, None),
            Some(status) => (watched.drained.and(status.outcomes), status.drain.clone()),
        };
        self.status.send_modify(|status| {
            status.backlog = shown;
            status.drained = drained;
            status.drain = drain;
        });
    }
}

/// What was seen before.
struct Watched {
    /// By the engines that ended.
    drained: Outcomes,
    looks: Looks,
    /// Since when the backlog takes no orders, and under which turn.
    sealing: Option<(Epoch, u64, Instant)>,
}

impl Watched {
    /// Whether workers have been held up by a seal for too long, or for nothing.
    fn stuck(&mut self, view: &PhaseView, ledger_away: bool, limit: Duration) -> bool {
        if view.accepts() {
            self.sealing = None;
            return false;
        }
        let since = match self.sealing {
            Some((epoch, turn, since)) if (epoch, turn) == (view.epoch, view.turn) => since,
            _ => Instant::now(),
        };
        self.sealing = Some((view.epoch, view.turn, since));
        since.elapsed() >= if ledger_away { limit.min(LEDGER_AWAY) } else { limit }
    }
}

/// What there is to see; a sealed backlog is empty, so one statement does.
async fn look<S: crate::backlog::Session>(session: &mut S) -> Result<Look, BacklogError> {
    let view = metrics::backlog(Request::BacklogLook, session.phase().await)?;
    if view.phase == Phase::Sealed {
        return Ok(Look { view, depth: None, drainer: None });
    }
    let depth = metrics::backlog(Request::BacklogLook, session.depth().await)?;
    let drainer = metrics::backlog(Request::BacklogLook, session.drainer().await)?;
    Ok(Look { view, depth: Some(depth), drainer })
}
