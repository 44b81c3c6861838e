//! The operator's side of the gate: the ledger's steps of a maintenance window ([`crate::window`]).

use std::future::Future;

use super::LedgerError;
use crate::window::{Epoch, GateView, Notice};

/// A connection for the steps of a window. Each step is one atomic statement with its guard in its `WHERE`, and
/// may be repeated; false: it came too late, and nothing was changed.
pub trait Gatekeeper: Send {
    /// Reads the gate.
    fn view(&mut self) -> impl Future<Output = Result<GateView, LedgerError>> + Send;

    /// [`crate::window::Step::Announce`]: the announced epoch only grows.
    fn announce(&mut self, epoch: Epoch) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// [`crate::window::Step::Close`]: waits for the writes in flight, under the lock timeout; its error is then
    /// [`super::ErrorClass::Timeout`], and it is to be asked again. `to` must have been announced. `since` stays when
    /// the gate was not open, and so does the notice when the new one has no reason: an `end` that finishes what a
    /// `begin` left behind has none.
    fn close(
        &mut self,
        from: Epoch,
        to: Epoch,
        notice: &Notice,
    ) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// [`crate::window::Step::Grant`], unless a later epoch is announced. Since when, why and who began it stay.
    fn grant(&mut self, epoch: Epoch, actor: &str) -> impl Future<Output = Result<bool, LedgerError>> + Send;

    /// [`crate::window::Step::Reopen`]. An open gate has no notice.
    fn reopen(&mut self, epoch: Epoch, actor: &str) -> impl Future<Output = Result<bool, LedgerError>> + Send;
}
