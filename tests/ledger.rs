//! The ledger's promises, over every store that keeps them.

mod effects;
mod postgres;
