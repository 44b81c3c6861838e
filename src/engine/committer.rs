//! A committer: one task that owns one connection to the ledger, and does one piece of work at a time.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::guard::Guard;
use super::parcel::{self, Handle};
use crate::backlog::Backlog;
use crate::core::{Input, Work, Written};
use crate::ledger::{Batch, Case, ErrorClass, Gap, Ledger, LedgerError, Run, Session};
use crate::metrics::{self, Answer, Failure, Request, Step};
use crate::order::{CustomerId, Entry};
use crate::status::pulse::Pulse;

/// A connection that was not used for so long is asked for the gate first: a failover or a firewall may have cut it
/// silently, and a commit would only find that out by an unknown outcome. Longer than `ledger.sweep` by default, so that
/// the sweep of an idle worker is one statement.
const IDLE: Duration = Duration::from_secs(30);

/// Works until `jobs` ends. Every job is answered.
pub(super) async fn run<L: Ledger, B: Backlog>(
    slot: usize,
    ledger: L,
    guard: Option<Guard<B>>,
    pulse: Pulse,
    mut jobs: mpsc::Receiver<Work<Handle>>,
    inputs: mpsc::Sender<Input<Handle>>,
) {
    let mut connection = Connection { ledger, guard, session: None, used_at: Instant::now() };
    while let Some(work) = jobs.recv().await {
        let busy = pulse.work(slot);
        let written = perform(&mut connection, work).await;
        drop(busy);
        if inputs.send(Input::Wrote { slot, written }).await.is_err() {
            return;
        }
    }
}

struct Connection<L: Ledger, B: Backlog> {
    ledger: L,
    guard: Option<Guard<B>>,
    session: Option<L::Session>,
    used_at: Instant,
}

impl<L: Ledger, B: Backlog> Connection<L, B> {
    /// The session: the one that there is, proven when it was idle, or a new one.
    async fn session(&mut self) -> Result<&mut L::Session, LedgerError> {
        if self.used_at.elapsed() > IDLE
            && let Some(session) = &mut self.session
        {
            let answer = timed(Request::Gate, None, session.gate()).await;
            if answer.is_err() {
                self.session = None;
            }
        }
        self.used_at = Instant::now();
        if self.session.is_none() {
            // Nothing was sent yet, so nothing can be unknown.
            self.session = Some(self.connect().await.map_err(|error| match error.class {
                ErrorClass::Broken | ErrorClass::Unrecognised | ErrorClass::Inconsistent => error,
                _ => LedgerError { class: ErrorClass::Away, ..error },
            })?);
        }
        Ok(self.session.as_mut().expect("set above"))
    }

    async fn connect(&mut self) -> Result<L::Session, LedgerError> {
        let mut session = timed(Request::Connect, None, self.ledger.connect()).await?;
        if let Some(guard) = &mut self.guard {
            guard.check(&self.ledger, &mut session).await?;
        }
        Ok(session)
    }

    fn done<T>(&mut self, answer: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if answer.as_ref().is_err_and(|error| error.class.spends_session()) {
            self.session = None;
        }
        self.used_at = Instant::now();
        answer
    }
}

/// Asks the session, once there is one, and drops it when the error says so.
macro_rules! ask {
    ($connection:expr, $request:expr, $step:expr, $session:ident => $call:expr) => {
        match $connection.session().await {
            Err(error) => Err(error),
            Ok($session) => {
                let answer = timed($request, $step, $call).await;
                $connection.done(answer)
            }
        }
    };
}

async fn perform<L: Ledger, B: Backlog>(connection: &mut Connection<L, B>, work: Work<Handle>) -> Written<Handle> {
    match work {
        Work::Probe => Written::Probe(ask!(connection, Request::Gate, None, session => session.gate())),
        Work::Commit { runs, parked, resolve } => {
            let runs: Vec<Run> = runs
                .into_iter()
                .map(|(customer, orders)| Run { customer, orders: orders.iter().map(parcel::placed).collect() })
                .collect();
            metrics::commit_size(runs.iter().map(|run| run.orders.len()).sum(), runs.len());
            let batch = Batch { runs, parked, resolve };
            let step = Some(Step::Commit);
            Written::Commit(ask!(connection, Request::Commit, step, session => session.commit(&batch)))
        }
        Work::Park(orders) => {
            let orders: Vec<_> = orders.iter().map(parcel::placed).collect();
            Written::Park(ask!(connection, Request::Park, Some(Step::Park), session => session.park(&orders)))
        }
        Work::LookUp(orders) => {
            let orders: Vec<_> = orders.iter().map(parcel::placed).collect();
            let step = Some(Step::LookUp);
            Written::LookUp(ask!(connection, Request::LookUp, step, session => session.look_up(&orders)))
        }
        Work::Load { customers, limit } => {
            let step = Some(Step::ParkedRun);
            let runs = ask!(connection, Request::ParkedRuns, step, session => session.parked_runs(&customers, limit));
            Written::Load(runs.map(|runs| runs.into_iter().map(parcel::of_run).collect()))
        }
        Work::Quarantine { rank, payload, kind, reason, blocks } => {
            let reason = reason.unwrap_or_else(|| match &*payload.entry {
                Entry::Malformed(malformed) => malformed.reason.clone(),
                Entry::Order(_) => "no reason was given".into(),
            });
            let case = Case { placed: parcel::placed(&(rank, payload)), kind, reason, blocks };
            let step = Some(Step::Quarantine);
            Written::Quarantine(ask!(connection, Request::Quarantine, step, session => session.quarantine(&case)))
        }
        Work::Sweep { limit, gap_after } => {
            let step = Some(Step::Sweep);
            Written::Sweep(ask!(connection, Request::Sweep, step, session => sweep(session, limit, gap_after)))
        }
    }
}

async fn timed<T>(
    request: Request,
    step: Option<Step>,
    call: impl Future<Output = Result<T, LedgerError>>,
) -> Result<T, LedgerError> {
    let begun = Instant::now();
    let answer = call.await;
    if let Some(step) = step {
        metrics::step(step, begun.elapsed());
    }
    metrics::request(
        request,
        match &answer {
            Ok(_) => Answer::Ok,
            Err(LedgerError { class: ErrorClass::Timeout, .. }) => Answer::TimedOut,
            Err(_) => Answer::Failed,
        },
    );
    if let Err(error) = &answer {
        metrics::failed(Failure::Ledger(error.class));
    }
    answer
}

async fn sweep<S: Session>(
    session: &mut S,
    limit: u32,
    gap_after: Option<Duration>,
) -> Result<(Vec<CustomerId>, Option<Vec<Gap>>), LedgerError> {
    let ready = session.sweep(limit).await?;
    let gaps = match gap_after {
        Some(older_than) => Some(session.gaps(limit, older_than).await?),
        None => None,
    };
    Ok((ready, gaps))
}
