//! The steps of a window: each is one statement in autocommit, whose guard is judged on the locked row of the gate.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use super::Shared;
use super::columns::Moment;
use super::errors::Step;
use super::session::{PgSession, broken, gate, read};
use crate::ledger::LedgerError;
use crate::ledger::gatekeeper::Gatekeeper;
use crate::window::{Epoch, GateView, Notice};

/// Microseconds as numbers: a `timestamptz` may also be infinite.
const VIEW: &str = "
SELECT g.state, g.epoch, a.epoch,
       pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
       (extract(epoch FROM g.since) * 1000000)::bigint,
       CASE WHEN g.state <> 'OPEN' AND isfinite(g.until) THEN (extract(epoch FROM g.until) * 1000000)::bigint END,
       CASE WHEN g.state <> 'OPEN' THEN g.reason END, CASE WHEN g.state <> 'OPEN' THEN g.actor END
FROM gate g, gate_announced a WHERE g.id = 1 AND a.id = 1";

const ANNOUNCE: &str = "UPDATE gate_announced SET epoch = $1::bigint WHERE id = 1 AND epoch < $1::bigint RETURNING 1";

/// Its subquery may be older than the row that it waited for: what is announced only grows.
const CLOSE: &str = "
UPDATE gate SET state = 'CLOSED', epoch = $2::bigint,
    since = CASE WHEN state = 'OPEN' THEN now() ELSE since END,
    reason = CASE WHEN state = 'OPEN' OR $3::text IS NOT NULL THEN $3::text ELSE reason END,
    actor = CASE WHEN state = 'OPEN' OR $3::text IS NOT NULL THEN $4::text ELSE actor END,
    until = CASE WHEN state = 'OPEN' OR $3::text IS NOT NULL THEN $5::timestamptz ELSE until END,
    granted_by = NULL, reopened_by = NULL
WHERE id = 1 AND epoch = $1::bigint AND $1::bigint < $2::bigint
  AND $2::bigint <= (SELECT epoch FROM gate_announced WHERE id = 1)
RETURNING 1";

const GRANT: &str = "
UPDATE gate SET state = 'DRAINING', granted_by = $2::text
WHERE id = 1 AND state = 'CLOSED' AND epoch = $1::bigint
  AND epoch = (SELECT epoch FROM gate_announced WHERE id = 1)
RETURNING 1";

const REOPEN: &str = "
UPDATE gate SET state = 'OPEN', since = now(), reopened_by = $2::text
WHERE id = 1 AND state = 'DRAINING' AND epoch = $1::bigint
RETURNING 1";

/// A gatekeeper of [`super::Postgres`].
#[derive(Debug)]
pub struct PgGatekeeper {
    session: PgSession,
}

impl PgGatekeeper {
    pub(super) async fn connect(shared: Arc<Shared>) -> Result<Self, LedgerError> {
        Ok(Self { session: PgSession::unprepared(shared).await? })
    }

    /// Whether the step changed the row.
    async fn take(&mut self, query: Query<'_, sqlx::Postgres, PgArguments>) -> Result<bool, LedgerError> {
        Ok(!self.session.rows(Step::Write, query).await?.is_empty())
    }
}

impl Gatekeeper for PgGatekeeper {
    async fn view(&mut self) -> Result<GateView, LedgerError> {
        let rows = self.session.rows(Step::Read, sqlx::query(VIEW)).await?;
        let Some(row) = rows.first() else { return Err(broken("the gate has no row")) };
        self.session.still_the_writer(read(row.try_get(3))?)?;
        let until: Option<i64> = read(row.try_get(5))?;
        Ok(GateView {
            gate: gate(read(row.try_get(0))?)?,
            epoch: epoch(read(row.try_get(1))?)?,
            announced: epoch(read(row.try_get(2))?)?,
            since: moment(read(row.try_get(4))?)?,
            notice: Notice {
                reason: read(row.try_get(6))?,
                actor: read(row.try_get(7))?,
                until: until.map(moment).transpose()?,
            },
        })
    }

    async fn announce(&mut self, epoch: Epoch) -> Result<bool, LedgerError> {
        self.take(sqlx::query(ANNOUNCE).bind(number(epoch))).await
    }

    async fn close(&mut self, from: Epoch, to: Epoch, notice: &Notice) -> Result<bool, LedgerError> {
        let query = sqlx::query(CLOSE)
            .bind(number(from))
            .bind(number(to))
            .bind(notice.reason.as_deref())
            .bind(notice.actor.as_deref())
            .bind(notice.until.map(Moment::from));
        self.take(query).await
    }

    async fn grant(&mut self, epoch: Epoch, actor: &str) -> Result<bool, LedgerError> {
        self.take(sqlx::query(GRANT).bind(number(epoch)).bind(actor)).await
    }

    async fn reopen(&mut self, epoch: Epoch, actor: &str) -> Result<bool, LedgerError> {
        self.take(sqlx::query(REOPEN).bind(number(epoch)).bind(actor)).await
    }
}

fn number(epoch: Epoch) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}

fn epoch(number: i64) -> Result<Epoch, LedgerError> {
    Epoch::try_from(number).map_err(|_| broken(&format!("the gate's epoch is {number}")))
}

fn moment(microseconds: i64) -> Result<Timestamp, LedgerError> {
    Timestamp::from_microsecond(microseconds).map_err(|error| broken(&format!("a time of the gate: {error}")))
}
