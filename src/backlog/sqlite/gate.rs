//! The phase, read inside the transaction that it allows.

use sqlx::sqlite::SqliteConnection;

use super::errors;
use super::values::{column, time};
use super::work::Work;
use crate::backlog::BacklogError;
use crate::backlog::words::{broken, count, phase};
use crate::window::{Notice, PhaseView};

const VIEW: &str = "SELECT g.phase, g.epoch, g.turn,
        a.epoch > g.epoch OR (g.phase = 'SPOOLING' AND a.seal_epoch = g.epoch AND a.seal_turn > g.turn),
        g.since, g.reason, g.actor, g.until
    FROM backlog_gate g, backlog_announced a WHERE g.id = 1 AND a.id = 1";

/// Reads the phase.
pub(super) async fn view(tx: &mut SqliteConnection) -> Result<PhaseView, BacklogError> {
    let row = sqlx::query(VIEW).fetch_optional(tx).await.map_err(errors::error)?;
    let row = row.ok_or_else(|| broken("the phase has no row"))?;
    let until: Option<&str> = column(&row, 7)?;
    Ok(PhaseView {
        phase: phase(column(&row, 0)?)?,
        epoch: count(column(&row, 1)?)?,
        turn: count(column(&row, 2)?)?,
        announced: column(&row, 3)?,
        since: time(column(&row, 4)?)?,
        notice: Notice { reason: column(&row, 5)?, actor: column(&row, 6)?, until: until.map(time).transpose()? },
    })
}

/// Reading the phase.
pub(super) struct Look;

impl Work for Look {
    type Answer = PhaseView;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection) -> Result<PhaseView, BacklogError> {
        view(tx).await
    }
}
