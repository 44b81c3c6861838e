//! Ranks as text of 39 digits: it compares as the number does, and holds what 64 bits do not.

use super::errors;
use crate::ledger::LedgerError;
use crate::order::Rank;

/// The text of a rank.
pub(super) fn text(rank: Rank) -> String {
    format!("{rank:039}")
}

/// The rank of a text.
pub(super) fn parse(text: &str) -> Result<Rank, LedgerError> {
    text.parse().map_err(|_| errors::unreadable(format_args!("the rank {text:?}")))
}

/// The position of a rank in `gapless` mode, where the decoder lets nothing above 63 bits pass.
pub(super) fn position(rank: Rank) -> Result<i64, LedgerError> {
    i64::try_from(rank).map_err(|_| errors::misuse("a sequence above 9223372036854775807"))
}
