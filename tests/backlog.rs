//! The backlog's promises, over every store that keeps them.
#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

mod contract;
mod postgres;
mod sqlite;
