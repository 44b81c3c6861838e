//! The phase, and the steps of a window: each is one statement with its guard in its `WHERE`, but for two that need a
//! statement before.

use sqlx::{PgConnection, Row as _};

use super::{PgSession, bounded, errors, read, time, time_text};
use crate::backlog::BacklogError;
use crate::backlog::words::{broken, count, number, phase};
use crate::sql::postgres::demoted;
use crate::window::{Epoch, Notice, PhaseView};

const VIEW: &str = "SELECT g.phase, g.epoch, g.turn,
        a.epoch > g.epoch OR (g.phase = 'SPOOLING' AND a.seal_epoch = g.epoch AND a.seal_turn > g.turn),
        (extract(epoch FROM g.since) * 1000000)::bigint, g.reason, g.actor,
        (extract(epoch FROM g.until) * 1000000)::bigint,
        pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean
    FROM backlog_gate g, backlog_announced a WHERE g.id = 1 AND a.id = 1";

const ANNOUNCE: &str = "UPDATE backlog_announced SET epoch = $1 WHERE id = 1 AND epoch < $1";

/// `since` tells how long orders have been spooled, also over a window that follows another one at once.
const SPOOL: &str = "UPDATE backlog_gate
    SET phase = 'SPOOLING', epoch = $1, reason = $2, actor = $3, until = $4::timestamptz,
        since = CASE WHEN phase = 'SEALED' THEN clock_timestamp() ELSE since END
    WHERE id = 1 AND epoch < $1";

/// The gate is read without a lock: when it moves on meanwhile, this announcement means nothing to it any more.
const ANNOUNCE_SEAL: &str = "UPDATE backlog_announced a SET seal_epoch = $1, seal_turn = $2 + 1 FROM backlog_gate g
    WHERE a.id = 1 AND (a.seal_epoch, a.seal_turn) < ($1, $2 + 1)
      AND g.id = 1 AND g.phase = 'SPOOLING' AND g.epoch = $1 AND g.turn = $2";

const SEAL: &str = "UPDATE backlog_gate g SET phase = 'SEALING', since = clock_timestamp()
    WHERE g.id = 1 AND g.phase = 'SPOOLING' AND g.epoch = $1 AND g.turn = $2
      AND EXISTS (SELECT FROM backlog_announced a WHERE a.id = 1 AND a.seal_epoch = $1 AND a.seal_turn > $2)";

/// The lease's row is locked, so that it is judged as it is, and stays so until the end.
const UNSEAL: &str = "WITH held AS MATERIALIZED (
        SELECT d.id FROM backlog_drainer d WHERE d.id = 1 AND d.owner = $2 AND d.until > clock_timestamp() FOR SHARE
    )
    UPDATE backlog_gate g
    SET phase = 'SPOOLING', turn = a.seal_turn,
        since = CASE WHEN g.phase = 'SPOOLING' THEN g.since ELSE clock_timestamp() END
    FROM held h, backlog_announced a
    WHERE g.id = 1 AND a.id = 1 AND g.epoch = $1 AND g.phase IN ('SPOOLING', 'SEALING')
      AND a.seal_epoch = g.epoch AND a.seal_turn > g.turn";

/// In a statement of its own, because the next one is to have a snapshot that is younger than this lock.
const LOCK: &str = "SELECT g.id FROM backlog_gate g WHERE g.id = 1 FOR UPDATE";

const SEALED: &str = "UPDATE backlog_gate SET phase = 'SEALED', since = clock_timestamp()
    WHERE id = 1 AND phase = 'SEALING' AND epoch = $1 AND NOT EXISTS (SELECT FROM backlog_orders)";

impl PgSession {
    pub(super) async fn view(&mut self) -> Result<PhaseView, BacklogError> {
        let rows = self.rows(sqlx::query(VIEW)).await?;
        let row = rows.first().ok_or_else(|| broken("the phase has no row"))?;
        if read(row.try_get(8))? {
            self.conn = None;
            return Err(errors::unfit(demoted()));
        }
        let until: Option<i64> = read(row.try_get(7))?;
        Ok(PhaseView {
            phase: phase(read(row.try_get(0))?)?,
            epoch: count(read(row.try_get(1))?)?,
            turn: count(read(row.try_get(2))?)?,
            announced: read(row.try_get(3))?,
            since: time(read(row.try_get(4))?)?,
            notice: Notice {
                reason: read(row.try_get(5))?,
                actor: read(row.try_get(6))?,
                until: until.map(time).transpose()?,
            },
        })
    }

    pub(super) async fn announce_and_spool(&mut self, epoch: Epoch, notice: &Notice) -> Result<bool, BacklogError> {
        let epoch = number(epoch)?;
        // Committed before the update waits: appends that begin from now on do not stand in its way.
        self.changes(sqlx::query(ANNOUNCE).bind(epoch)).await?;
        let spool = sqlx::query(SPOOL)
            .bind(epoch)
            .bind(notice.reason.as_deref())
            .bind(notice.actor.as_deref())
            .bind(notice.until.map(time_text));
        self.changes(spool).await
    }

    pub(super) async fn announce_a_seal(&mut self, epoch: Epoch, turn: u64) -> Result<bool, BacklogError> {
        self.changes(sqlx::query(ANNOUNCE_SEAL).bind(number(epoch)?).bind(number(turn)?)).await
    }

    pub(super) async fn spooling_to_sealing(&mut self, epoch: Epoch, turn: u64) -> Result<bool, BacklogError> {
        self.changes(sqlx::query(SEAL).bind(number(epoch)?).bind(number(turn)?)).await
    }

    pub(super) async fn back_to_spooling(&mut self, epoch: Epoch, owner: &str) -> Result<bool, BacklogError> {
        self.changes(sqlx::query(UNSEAL).bind(number(epoch)?).bind(owner)).await
    }

    pub(super) async fn sealing_to_sealed(&mut self, epoch: Epoch) -> Result<bool, BacklogError> {
        let epoch = number(epoch)?;
        let mut conn = self.take()?;
        let work = async { lock_then_seal(&mut conn, epoch).await.map_err(|error| errors::classify(&error)) };
        let done = bounded(self.limit() * 2, work).await?;
        self.conn = Some(conn);
        Ok(done)
    }
}

async fn lock_then_seal(conn: &mut PgConnection, epoch: i64) -> Result<bool, sqlx::Error> {
    sqlx::raw_sql("BEGIN ISOLATION LEVEL READ COMMITTED").execute(&mut *conn).await?;
    sqlx::query(LOCK).fetch_optional(&mut *conn).await?;
    let done = sqlx::query(SEALED).bind(epoch).execute(&mut *conn).await?;
    sqlx::raw_sql("COMMIT").execute(conn).await?;
    Ok(done.rows_affected() > 0)
}
