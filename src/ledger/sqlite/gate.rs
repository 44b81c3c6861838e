//! The gate, read inside the transaction that it allows.

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::errors;
use crate::ledger::{Gate, LedgerError};

/// What the gate is now. A close that is announced counts as closed.
pub(super) async fn read(tx: &mut SqliteConnection) -> Result<Gate, LedgerError> {
    let sql = "SELECT g.state, g.epoch >= a.epoch FROM gate g, gate_announced a WHERE g.id = 1 AND a.id = 1";
    let row = sqlx::query(sql).fetch_optional(tx).await.map_err(errors::error)?;
    let row = row.ok_or_else(|| errors::unreadable("a gate without its row"))?;
    let state: String = row.try_get(0).map_err(errors::error)?;
    let current: bool = row.try_get(1).map_err(errors::error)?;
    match state.as_str() {
        _ if !current => Ok(Gate::Closed),
        "OPEN" => Ok(Gate::Open),
        "DRAINING" => Ok(Gate::Draining),
        "CLOSED" => Ok(Gate::Closed),
        _ => Err(errors::unreadable(format_args!("the gate's state {state:?}"))),
    }
}

/// Whether live orders may be written.
pub(super) async fn open(tx: &mut SqliteConnection) -> Result<bool, LedgerError> {
    Ok(read(tx).await? == Gate::Open)
}

/// Whether what is in the ledger already may move on: parked runs, quarantine.
pub(super) async fn open_or_draining(tx: &mut SqliteConnection) -> Result<bool, LedgerError> {
    Ok(read(tx).await? != Gate::Closed)
}
