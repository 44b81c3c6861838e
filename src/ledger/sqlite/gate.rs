//! The gate, read inside the transaction that it allows.

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::{Terms, errors};
use crate::ledger::{Gate, LedgerError};
use crate::window::Epoch;

/// What the gate is now. A close that is announced counts as closed, and so does to a drain the drain of another epoch.
pub(super) async fn read(tx: &mut SqliteConnection, drain: Option<Epoch>) -> Result<Gate, LedgerError> {
    let sql = "SELECT g.state, g.epoch >= a.epoch AND (g.state <> 'DRAINING' OR g.epoch = coalesce(?1, g.epoch))
         FROM gate g, gate_announced a WHERE g.id = 1 AND a.id = 1";
    let row = sqlx::query(sql).bind(drain.map(number)).fetch_optional(tx).await.map_err(errors::error)?;
    let row = row.ok_or_else(|| errors::unreadable("a gate without its row"))?;
    let state: String = row.try_get(0).map_err(errors::error)?;
    let current: bool = row.try_get(1).map_err(errors::error)?;
    let state = named(&state)?;
    Ok(if current { state } else { Gate::Closed })
}

/// A state of the gate.
pub(super) fn named(state: &str) -> Result<Gate, LedgerError> {
    match state {
        "OPEN" => Ok(Gate::Open),
        "DRAINING" => Ok(Gate::Draining),
        "CLOSED" => Ok(Gate::Closed),
        _ => Err(errors::unreadable(format_args!("the gate's state {state:?}"))),
    }
}

/// Whether new orders may be written: live ones, or those of the backlog that is drained.
pub(super) async fn for_new(tx: &mut SqliteConnection, terms: &Terms) -> Result<bool, LedgerError> {
    let required = if terms.draining.is_some() { Gate::Draining } else { Gate::Open };
    Ok(read(tx, terms.draining).await? == required)
}

/// Whether a run that was parked may be committed.
pub(super) async fn for_parked(tx: &mut SqliteConnection, terms: &Terms) -> Result<bool, LedgerError> {
    if terms.draining.is_some() { for_new(tx, terms).await } else { open_or_draining(tx).await }
}

/// Whether what is in the ledger already may move on: quarantine, sweep.
pub(super) async fn open_or_draining(tx: &mut SqliteConnection) -> Result<bool, LedgerError> {
    Ok(read(tx, None).await? != Gate::Closed)
}

/// An epoch as the file keeps it.
pub(super) fn number(epoch: Epoch) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}
