//! Orders as columns: one array a column, whatever the number of orders.

use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::types::Type;

use crate::ledger::{ErrorClass, LedgerError, Placed};
use crate::order::{CustomerId, Digest, Entry};

/// A `timestamptz` as PostgreSQL keeps it: microseconds since 2000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(i64);

impl From<jiff::Timestamp> for Moment {
    fn from(time: jiff::Timestamp) -> Self {
        /// 2000-01-01 in microseconds since 1970.
        const EPOCH: i64 = 946_684_800_000_000;
        Self(time.as_microsecond() - EPOCH)
    }
}

impl Type<sqlx::Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, sqlx::Postgres> for Moment {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<sqlx::Postgres>::encode_by_ref(&self.0, buf)
    }
}

/// The entries of a call that is not a commit. Ranks are text, because they have up to 39 digits.
pub(super) struct Entries<'a> {
    pub(super) customer: Vec<Option<&'a str>>,
    pub(super) rank: Vec<String>,
    pub(super) id: Vec<&'a str>,
    pub(super) digest: Vec<[u8; 32]>,
    pub(super) malformed: Vec<Option<&'a str>>,
    pub(super) body: Vec<&'a [u8]>,
    pub(super) case_id: Vec<String>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(orders: impl Iterator<Item = &'a Placed> + Clone) -> Self {
        let entries = orders.clone().map(|placed| &*placed.entry);
        Self {
            customer: entries.clone().map(|entry| entry.customer().map(CustomerId::as_str)).collect(),
            rank: orders.map(|placed| placed.rank.to_string()).collect(),
            id: entries.clone().map(|entry| entry.id().as_str()).collect(),
            digest: entries.clone().map(|entry| entry.digest().0).collect(),
            malformed: entries.clone().map(reason).collect(),
            body: entries.clone().map(|entry| entry.body().as_bytes()).collect(),
            case_id: entries.map(case_id).collect(),
        }
    }
}

fn reason(entry: &Entry) -> Option<&str> {
    match entry {
        Entry::Order(_) => None,
        Entry::Malformed(malformed) => Some(&malformed.reason),
    }
}

/// The name of an entry in quarantine. An order's has a part of its digest, because a conflict has the `order_id` of
/// another order, which may be there too.
pub(super) fn case_id(entry: &Entry) -> String {
    match entry {
        Entry::Order(order) => format!("{}~{}", order.order_id, &order.digest.to_string()[..16]),
        Entry::Malformed(malformed) => malformed.id.to_string(),
    }
}

/// A value from the ledger that this program cannot read. It comes after the deed.
pub(super) fn unreadable(what: &str, value: &dyn std::fmt::Debug) -> LedgerError {
    LedgerError { class: ErrorClass::Unknown, message: format!("the ledger answered {what} {value:?}") }
}

/// A digest from the ledger.
pub(super) fn digest(bytes: &[u8]) -> Result<Digest, LedgerError> {
    bytes.try_into().map(Digest).map_err(|_| unreadable("the digest", &bytes))
}
