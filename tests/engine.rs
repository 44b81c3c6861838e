//! The engine in process, over its real ports: rustack with faults, PostgreSQL and SQLite, Redis and local locks.

mod bench;
mod messages;
mod proxy;

mod bad_input;
mod bounds;
mod conflicts;
mod decisions;
mod drains;
mod duplicates;
mod early;
mod effects;
mod effects_broken;
mod history;
mod ledger_away;
mod locks_away;
mod locks_elsewhere;
mod modes;
mod queue_faults;
mod storm;
mod unknown;
mod unsealed;

/// The same scenario on both ledgers.
macro_rules! on_both_ledgers {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario($crate::engine::bench::Store::Sqlite).await;
            })+
        }

        mod postgres {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario($crate::engine::bench::Store::Postgres).await;
            })+
        }
    };
}

use on_both_ledgers;
