//! An appender: one task that owns one connection to the backlog, and appends what the core gives it.

use std::time::Instant;

use tokio::sync::mpsc;

use super::parcel::{self, Handle};
use crate::backlog::{Append, Backlog, BacklogError, Session};
use crate::core::{Appended, Input, SpoolWork, Spooled};
use crate::metrics::{self, Request, Step};
use crate::window::{Epoch, PhaseView};

/// Works until `jobs` ends. Every job is answered.
pub(super) async fn run<B: Backlog>(
    slot: usize,
    backlog: B,
    mut jobs: mpsc::Receiver<SpoolWork<Handle>>,
    inputs: mpsc::Sender<Input<Handle>>,
) {
    let mut session = None;
    while let Some(work) = jobs.recv().await {
        let spooled = perform(&backlog, &mut session, work).await;
        if inputs.send(Input::Spooled { slot, spooled }).await.is_err() {
            return;
        }
    }
}

async fn perform<B: Backlog>(backlog: &B, session: &mut Option<B::Session>, work: SpoolWork<Handle>) -> Spooled {
    match work {
        SpoolWork::Look => Spooled::Look(look(backlog, session).await.map(|view| accepts(&view))),
        SpoolWork::Append { epoch, orders } => Spooled::Append(append(backlog, session, epoch, &orders).await),
    }
}

/// Reads the phase, over the session that there is or a new one.
pub(super) async fn look<B: Backlog>(backlog: &B, session: &mut Option<B::Session>) -> Result<PhaseView, BacklogError> {
    let mut connected = connected(backlog, session).await?;
    let view = metrics::backlog(Request::BacklogLook, connected.phase().await)?;
    // Only a session without an error is kept.
    *session = Some(connected);
    Ok(view)
}

async fn append<B: Backlog>(
    backlog: &B,
    session: &mut Option<B::Session>,
    epoch: Epoch,
    orders: &[(crate::order::Rank, Handle)],
) -> Result<Appended, BacklogError> {
    let mut connected = connected(backlog, session).await?;
    let orders: Vec<_> = orders.iter().map(parcel::spooled).collect();
    let begun = Instant::now();
    let answer = metrics::backlog(Request::Append, connected.append(epoch, &orders).await)?;
    metrics::step(Step::Append, begun.elapsed());
    *session = Some(connected);
    Ok(match answer {
        Append::Spooled(kept) => {
            debug_assert_eq!(kept.len(), orders.len(), "one answer for each order");
            Appended::All
        }
        Append::Refused(view) => Appended::Refused(accepts(&view)),
    })
}

async fn connected<B: Backlog>(backlog: &B, session: &mut Option<B::Session>) -> Result<B::Session, BacklogError> {
    match session.take() {
        Some(session) => Ok(session),
        None => metrics::backlog(Request::BacklogConnect, backlog.connect().await),
    }
}

fn accepts(view: &PhaseView) -> Option<Epoch> {
    view.accepts().then_some(view.epoch)
}
