//! The checks of a new connection to the ledger: it belongs to the queue, where a worker started without having seen
//! it; and its gate is not open beside a backlog that is not sealed (I4).
//!
//! No window leads there, but a database that was restored from a snapshot does. Normal operation does not depend on
//! the backlog's database: when it does not answer, nothing is known and the ledger's word counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::appender::look;
use crate::backlog::Backlog;
use crate::ledger::{Binding, ErrorClass, Gate, Ledger, LedgerError, Session as _, Source};
use crate::window::{Phase, PhaseView};

/// How long the backlog may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a backlog that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(10);

/// Shared by the committers of an engine.
pub(super) struct Guard<B: Backlog> {
    backlog: B,
    eye: Arc<Mutex<Eye<B>>>,
}

struct Eye<B: Backlog> {
    unbound: Option<Source>,
    session: Option<B::Session>,
    blind_since: Option<Instant>,
}

impl<B: Backlog> Clone for Guard<B> {
    fn clone(&self) -> Self {
        Self { backlog: self.backlog.clone(), eye: Arc::clone(&self.eye) }
    }
}

impl<B: Backlog> Guard<B> {
    /// `unbound`: where orders come from, when nobody has told the ledger yet.
    pub(super) fn new(backlog: B, unbound: Option<Source>) -> Self {
        Self { backlog, eye: Arc::new(Mutex::new(Eye { unbound, session: None, blind_since: None })) }
    }

    /// Reads the phase first, and the gate after it: a window that begins meanwhile closes the gate before it spools.
    /// A window that ends meanwhile has sealed the backlog by the second look, or the next one has begun behind it.
    pub(super) async fn check<L: Ledger>(&mut self, ledger: &L, session: &mut L::Session) -> Result<(), LedgerError> {
        self.bind(ledger).await?;
        let Some(before) = self.unsealed().await else { return Ok(()) };
        if session.gate().await? != Gate::Open {
            return Ok(());
        }
        match self.unsealed().await {
            Some(view) if view.epoch == before.epoch => Err(LedgerError {
                class: ErrorClass::Inconsistent,
                message: format!(
                    "the ledger's gate is open, and the backlog of window {} is not sealed: was one of them restored \
                     from a snapshot? Look at `millrace maintenance status`",
                    view.epoch
                ),
            }),
            _ => Ok(()),
        }
    }

    async fn bind(&self, ledger: &impl Ledger) -> Result<(), LedgerError> {
        let mut eye = self.eye.lock().await;
        let Some(source) = &eye.unbound else { return Ok(()) };
        match ledger.bind(source).await? {
            Binding::Bound => {
                eye.unbound = None;
                Ok(())
            }
            Binding::Other(_) | Binding::Pending(_) => Err(LedgerError {
                class: ErrorClass::Broken,
                message: format!("the ledger's orders do not come from {}: run `millrace check`", source.queue_arn),
            }),
        }
    }

    /// None: it is sealed, or nobody knows.
    async fn unsealed(&mut self) -> Option<PhaseView> {
        self.view().await.filter(|view| view.phase != Phase::Sealed)
    }

    async fn view(&mut self) -> Option<PhaseView> {
        let mut eye = self.eye.lock().await;
        if eye.blind_since.is_some_and(|since| since.elapsed() < PAUSE) {
            return None;
        }
        let mut session = eye.session.take();
        // A read that is given up takes its session with it, and leaves nothing behind.
        let view = match timeout(PATIENCE, look(&self.backlog, &mut session)).await {
            Ok(Ok(view)) => Some(view),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the backlog does not say whether it is sealed; the ledger's word counts");
                None
            }
            Err(_) => {
                tracing::warn!("the backlog does not answer; the ledger's word counts");
                None
            }
        };
        eye.blind_since = view.is_none().then(Instant::now);
        eye.session = session;
        view
    }
}
