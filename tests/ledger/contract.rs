//! What every ledger promises, as plain functions over a [`Store`]. `contract!` makes a test of each.

pub(crate) mod bench;
pub(crate) mod commit;
pub(crate) mod decisions;
pub(crate) mod decisions_queued;
pub(crate) mod drain;
pub(crate) mod effects;
pub(crate) mod fifo;
pub(crate) mod gaps;
pub(crate) mod gate;
pub(crate) mod look_up;
pub(crate) mod model;
pub(crate) mod names;
pub(crate) mod none;
pub(crate) mod orders;
pub(crate) mod park;
pub(crate) mod quarantine;
pub(crate) mod schema;
pub(crate) mod sweep;
pub(crate) mod walk;
pub(crate) mod window;

use millrace::ledger::Ledger;
use millrace::order::Ordering;

use crate::probe::Probe;

/// How a test wants its ledger.
pub(crate) struct Setup {
    pub(crate) ordering: Ordering,
    /// Whether the schema is there.
    pub(crate) migrated: bool,
    /// The team's tables, made beside the ledger's.
    pub(crate) tables: &'static str,
    /// The team's statement.
    pub(crate) effects: Option<&'static str>,
}

impl Setup {
    pub(crate) const fn new(ordering: Ordering) -> Self {
        Setup { ordering, migrated: true, tables: "", effects: None }
    }
}

/// A kind of ledger. Every opened one is new and empty.
pub(crate) trait Store {
    type Ledger: Ledger;
    type Probe: Probe;

    async fn open(&self, setup: &Setup) -> (Self::Ledger, Self::Probe);
}

/// One test for each promise: `contract!(name_of_the_module, store)`.
macro_rules! contract {
    ($module:ident, $store:expr) => {
        $crate::ledger::contract::contract! { @ $module, $store;
            commit {
                a_first_run_is_written_whole, content_is_kept_as_it_came, each_run_has_one_verdict_in_order,
                a_refused_run_changes_nothing, a_run_that_overlaps_is_behind, a_repeated_batch_changes_nothing,
                a_taken_name_refuses_the_whole_batch, a_big_batch_is_one_commit,
                of_two_sessions_one_commits_a_run, two_sessions_commit_many_customers,
            }
            gate {
                a_closed_gate_refuses_every_write, an_announced_close_refuses_every_write,
                a_draining_gate_lets_what_is_inside_move, the_gate_is_read,
            }
            park {
                early_orders_wait_and_follow, a_first_order_is_never_early, an_order_at_its_turn_is_not_early,
                parking_twice_counts_once, another_order_for_a_parked_place_is_refused,
                what_is_parked_for_a_place_goes_before_another_order,
                a_name_parks_once_over_all_customers, orders_of_one_call_see_each_other,
                a_commit_removes_the_parked_copy, runs_end_at_gaps_and_limits, parking_and_committing_race,
            }
            look_up {
                an_order_has_its_state, another_content_is_a_conflict, another_order_at_the_place_is_a_conflict,
                tombstones_end_orders_and_places, a_parked_name_of_another_customer_is_a_conflict,
            }
            quarantine {
                a_poisoned_head_blocks_its_customer, a_stale_case_changes_nothing,
                another_head_cannot_block_twice, a_case_is_one_row, a_malformed_message_blocks_nobody,
                a_parked_head_leaves_the_parked, what_is_parked_for_the_place_stands_next, a_retried_order_goes_first, a_skipped_order_is_ended,
                the_blocked_place_is_taken,
            }
            decisions {
                a_retried_head_goes_first, a_retried_entry_may_fail_again, what_never_was_is_unknown, the_ordering_is_the_ledgers_own,
                a_closed_gate_decides_nothing, a_skipped_head_is_ended, skipping_takes_the_parked_copy,
                a_name_that_another_order_has_is_not_ended, an_entry_aside_only_leaves,
                a_conflict_is_retried_where_its_place_is_free, a_taken_place_is_refused, a_head_is_replaced,
                a_replacement_has_to_fit, a_replaced_message_gets_its_own_place, what_decodes_by_now_is_retried,
                what_is_parked_meanwhile_is_not_lost,
                entries_are_listed_and_shown,
            }
            decisions_queued {
                a_retried_head_goes_before_live_orders, a_skipped_head_moves_the_mark,
                a_malformed_head_is_skipped_by_its_message, a_malformed_head_is_replaced_in_its_group,
                below_the_mark_nothing_comes_back, what_lay_aside_goes_back_to_its_new_place, above_the_mark_it_takes_its_place,
                a_place_at_the_queue_before_is_over, a_copy_further_behind_moves_to_its_place, without_order_each_has_a_place_of_its_own,
            }
            gaps {
                a_missing_number_is_left_empty, a_missing_number_has_to_be_next,
                a_missing_number_has_to_be_missed,
            }
            names {
                a_skipped_name_is_not_committed, a_skipped_name_means_one_content,
                what_is_parked_under_a_skipped_name_is_kept, a_name_that_blocks_one_customer_is_free,
                what_lies_aside_blocks_when_it_fails,
            }
            sweep {
                what_stands_next_is_found, copies_of_ended_orders_are_removed, a_conflict_is_no_copy,
                blocked_customers_are_left_alone, the_limit_holds, a_closed_gate_sweeps_nothing,
                what_lost_its_place_goes_to_quarantine, a_conflict_that_is_committed_is_none,
            }
            fifo {
                positions_follow_arrival, known_orders_are_named_and_left_out, marks_have_39_digits,
                an_order_below_the_mark_is_behind, parked_orders_go_first, a_parked_run_needs_nothing_below,
                a_malformed_message_blocks_its_group, parking_needs_a_reason, below_the_mark_is_out_of_sequence,
                a_skipped_order_that_is_sent_again_is_known, parked_copies_of_known_orders_leave,
                a_poisoned_head_needs_nothing_parked_below,
            }
            none {
                each_order_once, nothing_is_early,
            }
            effects {
                effects_see_what_was_written, two_orders_of_one_sku_add_up, an_effects_error_is_a_fault,
                effects_run_once, known_orders_have_no_effects, a_missing_table_is_a_broken_deployment,
                a_statement_that_does_not_fit_is_named,
            }
            schema {
                a_ledger_without_schema_says_what_to_run, migrating_twice_and_at_once,
                a_source_is_bound_once, fifo_is_bound_to_its_queue, rebinding_waits_for_what_is_pending,
            }
            drain {
                who_may_write_in_gapless, who_may_write_in_fifo, who_may_write_in_none,
                a_window_that_begins_after_the_last_look_refuses_every_write, a_drain_ends_with_its_window,
            }
            window {
                a_window_is_taken_step_by_step, a_step_out_of_order_changes_nothing, two_operators_interleave,
                the_words_of_a_window_stay_until_it_is_over, a_gatekeeper_needs_the_schema,
            }
            walk {
                a_random_walk_agrees_with_the_model_gapless, a_random_walk_agrees_with_the_model_fifo,
            }
        }
    };
    (@ $module:ident, $store:expr; $($group:ident { $($test:ident),+ $(,)? })*) => {
        mod $module {
            $(mod $group {
                use super::super::*;
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    $crate::ledger::contract::$group::$test(&$store).await;
                })+
            })*
        }
    };
}
pub(crate) use contract;
