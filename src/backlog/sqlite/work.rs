//! A piece of work: what each call of the session does inside its transaction.

use std::future::Future;

use sqlx::sqlite::SqliteConnection;

use crate::backlog::BacklogError;

/// What one transaction does.
pub(super) trait Work: Sync {
    /// What it says.
    type Answer: Send;

    /// A transaction that only reads sees one state of the file, and waits for nobody.
    const WRITES: bool;

    fn run(&self, tx: &mut SqliteConnection) -> impl Future<Output = Result<Self::Answer, BacklogError>> + Send;
}
