//! What every backlog promises, as plain functions over a [`Store`]. `contract!` makes a test of each.

pub(crate) mod append;
pub(crate) mod bench;
pub(crate) mod lease;
pub(crate) mod model;
pub(crate) mod orders;
pub(crate) mod read;
pub(crate) mod schema;
pub(crate) mod walk;
pub(crate) mod window;

use millrace::backlog::Backlog;

use crate::probe::Probe;

/// A kind of backlog. Every opened one is new and empty.
pub(crate) trait Store {
    type Backlog: Backlog;
    type Probe: Probe;

    /// With its schema, or without.
    async fn open(&self, migrated: bool) -> (Self::Backlog, Self::Probe);
}

/// One test for each promise: `contract!(name_of_the_module, store)`.
macro_rules! contract {
    ($module:ident, $store:expr) => {
        $crate::backlog::contract::contract! { @ $module, $store;
            append {
                what_was_appended_is_read_as_it_came, an_append_that_is_repeated_changes_nothing,
                the_same_order_twice_in_a_call_is_one_row, a_conflict_is_another_row,
                malformed_messages_are_kept, a_reason_with_a_nul_keeps_nothing_out, nothing_is_appended_at_once,
                what_was_removed_may_come_again, removing_twice_counts_once, the_counts_are_exact,
                a_big_append_is_one_call, the_oldest_is_the_first_that_is_left,
                two_sessions_with_the_same_orders_make_one_row_each,
            }
            window {
                a_new_backlog_is_sealed, a_window_from_its_begin_to_its_end, a_repeated_step_changes_nothing_more,
                steps_out_of_order_change_nothing, a_seal_needs_its_announcement,
                a_refusal_changes_nothing_and_names_the_phase, a_refusal_is_all_or_nothing,
                a_stale_end_has_no_effect, an_announced_seal_is_taken_back, a_seal_is_taken_back,
                only_the_drainer_unseals, a_begin_over_any_phase_keeps_the_rows,
                since_stays_over_a_window_that_follows_another, a_notice_is_kept_as_it_was_said,
                nothing_seals_a_backlog_that_has_rows, a_stream_of_appends_does_not_starve_a_step,
            }
            read {
                a_line_is_read_by_rank_then_by_arrival, ranks_have_39_digits, every_customer_has_its_share,
                floors_hide_what_is_in_memory, customers_in_memory_hide_nobody, the_limit_holds,
                the_walk_goes_round, nobody_comes_last, a_heavy_customer_hides_nobody,
                names_compare_byte_by_byte, one_customer_is_read_alone_and_bytes_are_bounded,
            }
            lease {
                one_owner_at_a_time, a_lease_that_expired_is_taken_over, a_lease_is_given_back_by_its_owner,
                progress_is_read_by_others, of_many_claims_one_is_held,
            }
            schema {
                a_backlog_without_schema_says_what_to_run, migrating_twice_and_at_once,
                a_table_that_is_missing_is_a_broken_deployment, an_error_spends_the_session,
            }
            walk {
                a_random_walk_agrees_with_the_model,
            }
        }
    };
    (@ $module:ident, $store:expr; $($group:ident { $($test:ident),+ $(,)? })*) => {
        mod $module {
            $(mod $group {
                use super::super::*;
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    $crate::backlog::contract::$group::$test(&$store).await;
                })+
            })*
        }
    };
}
pub(crate) use contract;
