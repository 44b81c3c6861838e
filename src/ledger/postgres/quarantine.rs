//! Quarantine.

use sqlx::Row as _;

use super::columns::{case_id, unreadable};
use super::errors::{self, Step};
use super::session::PgSession;
use crate::ledger::{Case, CaseVerdict, LedgerError};
use crate::order::{CustomerId, Entry};

impl PgSession {
    pub(super) async fn put_in_quarantine(&mut self, case: &Case) -> Result<CaseVerdict, LedgerError> {
        let entry = &*case.placed.entry;
        let order_id = match entry {
            Entry::Order(order) => Some(order.order_id.as_str()),
            Entry::Malformed(_) => None,
        };
        let customer = entry.customer().map(CustomerId::as_str);
        let digest = entry.digest().0;
        // Without a customer there is nobody to block.
        let (text, ordering) = match customer {
            Some(_) if case.blocks => (include_str!("quarantine_head.sql"), Some(self.ordering().to_string())),
            _ => (include_str!("quarantine_aside.sql"), None),
        };
        let blocks = ordering.is_some();
        let mut query = sqlx::query(text);
        if let Some(ordering) = ordering {
            query = query.bind(ordering);
        }
        let mut query = query
            .bind(case_id(entry))
            .bind(order_id)
            .bind(customer)
            .bind(case.placed.rank.to_string())
            .bind(digest)
            .bind(case.kind.label())
            .bind(&case.reason)
            .bind(entry.body().as_bytes())
            .bind(entry.id().as_str());
        if blocks {
            query = query.bind(self.drained_epoch());
        }
        let rows = self.rows(Step::Write, query).await?;
        let word = rows.first().map(|row| row.try_get::<&str, _>(0));
        match word.transpose().map_err(|error| errors::classify(&error, Step::Write))? {
            Some("quarantined") => Ok(CaseVerdict::Quarantined),
            Some("not next") => Ok(CaseVerdict::NotNext),
            Some("blocked") => Ok(CaseVerdict::Blocked),
            Some("gate closed") => Ok(CaseVerdict::GateClosed),
            other => Err(unreadable("the verdict", &other)),
        }
    }
}
