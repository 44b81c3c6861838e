//! The steps of a window. The guards are those of PostgreSQL's statements; here they may be in Rust where that is
//! plainer, because nobody else writes between the look and the step.

use jiff::Timestamp;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};

use super::values::time_text;
use super::work::Work;
use super::{drain, errors};
use crate::backlog::BacklogError;
use crate::backlog::words::number;
use crate::window::{Epoch, Notice};

/// Takes the step, if its guard lets it.
async fn changes(
    tx: &mut SqliteConnection,
    step: sqlx::query::Query<'_, sqlx::Sqlite, SqliteArguments>,
) -> Result<bool, BacklogError> {
    Ok(step.execute(tx).await.map_err(errors::error)?.rows_affected() > 0)
}

/// The next window is announced.
pub(super) struct Announce {
    pub(super) epoch: Epoch,
}

impl Work for Announce {
    type Answer = bool;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<bool, BacklogError> {
        let sql = "UPDATE backlog_announced SET epoch = ?1 WHERE id = 1 AND epoch < ?1";
        changes(tx, sqlx::query(sql).bind(number(self.epoch)?)).await
    }
}

/// Any phase of a lower epoch becomes spooling.
pub(super) struct StartSpooling<'a> {
    pub(super) epoch: Epoch,
    pub(super) notice: &'a Notice,
}

impl Work for StartSpooling<'_> {
    type Answer = bool;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<bool, BacklogError> {
        // `since` tells how long orders have been spooled, also over a window that follows another one at once.
        let sql = "UPDATE backlog_gate SET phase = 'SPOOLING', epoch = ?1, reason = ?2, actor = ?3, until = ?4,
                       since = CASE WHEN phase = 'SEALED' THEN ?5 ELSE since END
                   WHERE id = 1 AND epoch < ?1";
        let step = sqlx::query(sql)
            .bind(number(self.epoch)?)
            .bind(self.notice.reason.as_deref())
            .bind(self.notice.actor.as_deref())
            .bind(self.notice.until.map(time_text))
            .bind(time_text(Timestamp::now()));
        changes(tx, step).await
    }
}

/// The seal is announced.
pub(super) struct AnnounceSeal {
    pub(super) epoch: Epoch,
    pub(super) turn: u64,
}

impl Work for AnnounceSeal {
    type Answer = bool;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<bool, BacklogError> {
        let sql = "UPDATE backlog_announced SET seal_epoch = ?1, seal_turn = ?2 + 1
                   WHERE id = 1 AND (seal_epoch, seal_turn) < (?1, ?2 + 1)
                     AND EXISTS (SELECT 1 FROM backlog_gate g
                                 WHERE g.id = 1 AND g.phase = 'SPOOLING' AND g.epoch = ?1 AND g.turn = ?2)";
        changes(tx, sqlx::query(sql).bind(number(self.epoch)?).bind(number(self.turn)?)).await
    }
}

/// Spooling becomes sealing, as it was announced.
pub(super) struct Seal {
    pub(super) epoch: Epoch,
    pub(super) turn: u64,
}

impl Work for Seal {
    type Answer = bool;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<bool, BacklogError> {
        let sql = "UPDATE backlog_gate SET phase = 'SEALING', since = ?3
                   WHERE id = 1 AND phase = 'SPOOLING' AND epoch = ?1 AND turn = ?2
                     AND EXISTS (SELECT 1 FROM backlog_announced a
                                 WHERE a.id = 1 AND a.seal_epoch = ?1 AND a.seal_turn > ?2)";
        let step = sqlx::query(sql).bind(number(self.epoch)?).bind(number(self.turn)?);
        changes(tx, step.bind(time_text(Timestamp::now()))).await
    }
}

/// Sealing, or an announced seal, goes back to spooling.
pub(super) struct Unseal<'a> {
    pub(super) epoch: Epoch,
    pub(super) owner: &'a str,
}

impl Work for Unseal<'_> {
    type Answer = bool;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<bool, BacklogError> {
        let now = Timestamp::now();
        if drain::holder(tx).await?.is_none_or(|holder| holder.owner != self.owner || holder.until <= now) {
            return Ok(false);
        }
        let sql = "UPDATE backlog_gate AS g
                   SET phase = 'SPOOLING', turn = a.seal_turn,
                       since = CASE WHEN g.phase = 'SPOOLING' THEN g.since ELSE ?2 END
                   FROM backlog_announced a
                   WHERE g.id = 1 AND a.id = 1 AND g.epoch = ?1 AND g.phase IN ('SPOOLING', 'SEALING')
                     AND a.seal_epoch = g.epoch AND a.seal_turn > g.turn";
        changes(tx, sqlx::query(sql).bind(number(self.epoch)?).bind(time_text(now))).await
    }
}

/// Sealing becomes sealed, if no rows are left.
pub(super) struct Sealed {
    pub(super) epoch: Epoch,
}

impl Work for Sealed {
    type Answer = bool;
    const WRITES: bool = true;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<bool, BacklogError> {
        let sql = "UPDATE backlog_gate SET phase = 'SEALED', since = ?2
                   WHERE id = 1 AND phase = 'SEALING' AND epoch = ?1 AND NOT EXISTS (SELECT 1 FROM backlog_orders)";
        changes(tx, sqlx::query(sql).bind(number(self.epoch)?).bind(time_text(Timestamp::now()))).await
    }
}
