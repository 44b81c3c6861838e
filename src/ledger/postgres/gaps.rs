//! Gaps: parked orders that wait for a number which does not come.

use std::time::Duration;

use super::errors::Step;
use super::session::{PgSession, read};
use crate::ledger::{Gap, LedgerError};
use crate::order::{CustomerId, Ordering};

const GAPS: &str = "
SELECT c.customer_id, c.last_position + 1, c.parked FROM customers c
WHERE c.parked > 0 AND c.blocked_by IS NULL
  AND NOT EXISTS (SELECT FROM parked_orders p WHERE p.customer_id = c.customer_id AND p.ord = c.last_position + 1)
  AND EXISTS (SELECT FROM parked_orders p
              WHERE p.customer_id = c.customer_id AND p.parked_at < now() - $1::double precision * interval '1 second')
ORDER BY c.customer_id LIMIT $2::bigint";

impl PgSession {
    pub(super) async fn find_gaps(&mut self, limit: u32, older_than: Duration) -> Result<Vec<Gap>, LedgerError> {
        if self.ordering() != Ordering::Gapless {
            return Ok(Vec::new());
        }
        let query = sqlx::query(GAPS).bind(older_than.as_secs_f64()).bind(i64::from(limit));
        let rows = self.rows(Step::Read, query).await?;
        let gap = |row: &sqlx::postgres::PgRow| {
            use sqlx::Row as _;
            Ok(Gap {
                customer: CustomerId::new(read::<&str>(row.try_get(0))?),
                missing: read::<i64>(row.try_get(1))?.unsigned_abs(),
                parked: read::<i64>(row.try_get(2))?.unsigned_abs(),
            })
        };
        rows.iter().map(gap).collect()
    }
}
