//! Gaps: parked orders that wait for a number which does not come.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::work::Work;
use super::{Terms, errors};
use crate::ledger::{Gap, LedgerError};
use crate::order::{CustomerId, Ordering};

const GAPS: &str = "
SELECT customer_id, last_position + 1, parked FROM customers c
WHERE parked > 0 AND blocked_by IS NULL
  AND NOT EXISTS (SELECT 1 FROM parked_orders p
                  WHERE p.customer_id = c.customer_id AND p.ord = printf('%039d', c.last_position + 1))
  AND EXISTS (SELECT 1 FROM parked_orders p WHERE p.customer_id = c.customer_id
              AND p.parked_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?1))
ORDER BY customer_id LIMIT ?2";

/// The customers whose orders have been parked for longer than `older_than`.
pub(super) struct Gaps {
    pub limit: u32,
    pub older_than: Duration,
}

impl Work for Gaps {
    type Answer = Vec<Gap>;
    const WRITES: bool = false;

    async fn run(&self, tx: &mut SqliteConnection, terms: &Terms) -> Result<Vec<Gap>, LedgerError> {
        if terms.ordering != Ordering::Gapless {
            return Ok(Vec::new());
        }
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(GAPS)
            .bind(format!("-{:.3} seconds", self.older_than.as_secs_f64()))
            .bind(self.limit)
            .fetch_all(tx)
            .await
            .map_err(errors::error)?;
        let gap = |(customer, missing, parked): (String, i64, i64)| Gap {
            customer: CustomerId::new(customer),
            missing: missing.unsigned_abs(),
            parked: parked.unsigned_abs(),
        };
        Ok(rows.into_iter().map(gap).collect())
    }
}
