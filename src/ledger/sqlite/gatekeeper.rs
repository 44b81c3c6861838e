//! The steps of a window: each is one statement in a transaction of its own.

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::session::SqliteSession;
use super::work::Work;
use super::{Terms, errors, gate};
use crate::ledger::LedgerError;
use crate::ledger::gatekeeper::Gatekeeper;
use crate::window::{Epoch, GateView, Notice};

const VIEW: &str = "
SELECT g.state, g.epoch, a.epoch, g.since, iif(g.state <> 'OPEN', g.reason, NULL), iif(g.state <> 'OPEN', g.actor, NULL),
       iif(g.state <> 'OPEN', g.until, NULL)
FROM gate g, gate_announced a WHERE g.id = 1 AND a.id = 1";

const ANNOUNCE: &str = "UPDATE gate_announced SET epoch = ?1 WHERE id = 1 AND epoch < ?1";

const CLOSE: &str = "
UPDATE gate SET state = 'CLOSED', epoch = ?2,
    since = iif(state = 'OPEN', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), since),
    reason = iif(state = 'OPEN' OR ?3 IS NOT NULL, ?3, reason),
    actor = iif(state = 'OPEN' OR ?3 IS NOT NULL, ?4, actor),
    until = iif(state = 'OPEN' OR ?3 IS NOT NULL, ?5, until),
    granted_by = NULL, reopened_by = NULL
WHERE id = 1 AND epoch = ?1 AND ?1 < ?2 AND ?2 <= (SELECT epoch FROM gate_announced WHERE id = 1)";

const GRANT: &str = "
UPDATE gate SET state = 'DRAINING', granted_by = ?2
WHERE id = 1 AND state = 'CLOSED' AND epoch = ?1 AND epoch = (SELECT epoch FROM gate_announced WHERE id = 1)";

const REOPEN: &str = "
UPDATE gate SET state = 'OPEN', since = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), reopened_by = ?2
WHERE id = 1 AND state = 'DRAINING' AND epoch = ?1";

/// A gatekeeper of [`super::Sqlite`].
#[derive(Debug)]
pub struct SqliteGatekeeper {
    session: SqliteSession,
}

impl SqliteGatekeeper {
    pub(super) fn over(session: SqliteSession) -> Self {
        Self { session }
    }
}

struct View;

impl Work for View {
    type Answer = GateView;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection, _: &Terms) -> Result<GateView, LedgerError> {
        let row = sqlx::query(VIEW).fetch_optional(tx).await.map_err(errors::error)?;
        let row = row.ok_or_else(|| errors::unreadable("a gate without its row"))?;
        let text = |column: usize| row.try_get::<Option<String>, _>(column).map_err(errors::error);
        let number = |column: usize| row.try_get::<i64, _>(column).map_err(errors::error);
        Ok(GateView {
            gate: gate::named(&text(0)?.unwrap_or_default())?,
            epoch: epoch(number(1)?)?,
            announced: epoch(number(2)?)?,
            since: moment(&text(3)?.unwrap_or_default())?,
            notice: Notice { reason: text(4)?, actor: text(5)?, until: text(6)?.as_deref().map(moment).transpose()? },
        })
    }
}

/// One step, with the words that go with it.
enum Take<'a> {
    Announce(Epoch),
    Close { from: Epoch, to: Epoch, notice: &'a Notice },
    Grant(Epoch, &'a str),
    Reopen(Epoch, &'a str),
}

impl Work for Take<'_> {
    type Answer = bool;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection, _: &Terms) -> Result<bool, LedgerError> {
        let query = match *self {
            Take::Announce(epoch) => sqlx::query(ANNOUNCE).bind(gate::number(epoch)),
            Take::Close { from, to, notice } => sqlx::query(CLOSE)
                .bind(gate::number(from))
                .bind(gate::number(to))
                .bind(notice.reason.as_deref())
                .bind(notice.actor.as_deref())
                .bind(notice.until.map(|until| until.to_string())),
            Take::Grant(epoch, actor) => sqlx::query(GRANT).bind(gate::number(epoch)).bind(actor),
            Take::Reopen(epoch, actor) => sqlx::query(REOPEN).bind(gate::number(epoch)).bind(actor),
        };
        Ok(query.execute(tx).await.map_err(errors::error)?.rows_affected() > 0)
    }
}

impl Gatekeeper for SqliteGatekeeper {
    async fn view(&mut self) -> Result<GateView, LedgerError> {
        self.session.transact(View).await
    }

    async fn announce(&mut self, epoch: Epoch) -> Result<bool, LedgerError> {
        self.session.transact(Take::Announce(epoch)).await
    }

    async fn close(&mut self, from: Epoch, to: Epoch, notice: &Notice) -> Result<bool, LedgerError> {
        self.session.transact(Take::Close { from, to, notice }).await
    }

    async fn grant(&mut self, epoch: Epoch, actor: &str) -> Result<bool, LedgerError> {
        self.session.transact(Take::Grant(epoch, actor)).await
    }

    async fn reopen(&mut self, epoch: Epoch, actor: &str) -> Result<bool, LedgerError> {
        self.session.transact(Take::Reopen(epoch, actor)).await
    }
}

fn epoch(number: i64) -> Result<Epoch, LedgerError> {
    Epoch::try_from(number).map_err(|_| errors::unreadable(format_args!("the gate's epoch {number}")))
}

fn moment(text: &str) -> Result<Timestamp, LedgerError> {
    text.parse().map_err(|_| errors::unreadable(format_args!("the gate's time {text:?}")))
}
