//! The suite for the HTTP contract. Each case is named after the sentence of the contract that it
//! proves.
//!
//! A case only knows a base URL and does not depend on what serves it, so the same suite applies to
//! every way to run the service. One line runs it, with a function that starts the service:
//!
//! ```text
//! aurora_discovery_contract_tests::contract_suite!(start);
//!
//! async fn start(needs: Needs) -> Option<Target> { … }
//! ```
#![allow(missing_docs, reason = "a case's name says what it proves")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a case fails by panicking")]

pub mod body;
mod caller;
pub mod delta;
pub mod deregister;
pub mod discover;
pub mod full;
pub mod header;
pub mod heartbeat;
pub mod holder;
pub mod inline;
pub mod life;
pub mod network;
pub mod paging;
pub mod refusal;
pub mod register;
pub mod seed;
mod target;
mod wire;

pub use target::{Needs, Sources, Target};

/// Expands to one test per case. Each test calls `$start`, an `async fn(Needs) -> Option<Target>`,
/// to start a service. `None` means that this way to run the service cannot meet the needs, and the
/// case is skipped.
#[macro_export]
macro_rules! contract_suite {
    ($start:path) => {
        $crate::contract_tests! { $start,
            seed:
                the_seeds_registration_answers_with_the_seeds_shape
                the_seeds_discovery_answers_with_the_seeds_shape
                the_seeds_discovery_filters_by_archetype
                the_seeds_heartbeat_answers_with_the_seeds_shape
                the_seeds_health_check_is_healthy_and_says_nothing_else
                todays_python_client_reads_each_peer
                todays_python_client_registers_beats_and_discovers;
            register:
                a_registration_is_answered_with_its_lease
                a_peer_that_says_only_its_id_is_registered
                null_for_an_optional_key_leaves_it_out
                unknown_keys_are_ignored
                a_blank_address_is_the_one_that_the_request_came_from
                every_kind_of_address_is_listed_as_it_came
                any_port_is_listed_as_it_came
                repeated_archetypes_are_kept_once
                metadata_comes_back_byte_for_byte
                a_lease_may_be_asked_for_within_the_bounds
                a_heartbeat_is_wanted_within_a_third_of_the_lease
                registering_again_replaces_the_whole_registration
                an_id_may_hold_any_visible_ascii
                what_is_refused_changes_nothing;
            heartbeat:
                a_heartbeat_is_answered_with_the_lease
                a_heartbeat_keeps_the_duration_that_was_granted
                each_further_heartbeat_is_wanted_at_its_own_time_within_a_third_of_the_lease
                a_heartbeat_never_creates_a_peer
                a_heartbeat_may_come_from_any_address
                heartbeats_for_many_are_each_answered_in_the_order_asked
                a_hundred_heartbeats_fit_one_call_and_one_more_does_not
                nobody_renewed_is_an_answer_too
                a_page_rides_along_with_heartbeats_for_many;
            discover:
                any_of_several_archetypes_matches
                an_empty_archetype_is_no_filter
                an_unknown_archetype_gives_an_empty_list
                archetypes_of_any_script_are_matched_exactly
                a_limit_cuts_the_list_and_the_total_counts_all
                the_excluded_peer_is_neither_listed_nor_counted
                the_full_view_adds_when_it_expires_and_registered
                the_deprecated_name_of_the_legacy_view_is_accepted
                unknown_parameters_are_ignored
                samples_differ_from_call_to_call
                a_rare_archetype_is_filled_up_with_others
                an_enumeration_is_not_filled_up;
            paging:
                an_enumeration_lists_each_peer_once
                an_enumeration_survives_what_comes_and_goes
                a_cursor_implies_an_enumeration
                a_cursor_is_good_for_the_same_query_only
                a_cursor_that_was_changed_is_refused
                a_sample_has_no_next_page
                a_page_holds_at_most_a_mebibyte_and_goes_on;
            delta:
                who_asks_from_now_on_is_told_who_joins_changes_and_leaves
                who_lays_down_an_archetype_leaves_its_followers
                a_renewal_is_no_change
                a_page_of_changes_is_bounded_and_goes_on
                an_enumeration_and_what_follows_it_miss_nothing
                what_changed_is_listed_with_the_seeds_keys
                a_since_is_good_for_the_same_query_only
                a_since_comes_without_an_order_or_a_cursor
                where_nothing_is_remembered_the_caller_is_told_what_to_ask;
            inline:
                a_page_rides_along_with_a_heartbeat
                a_page_rides_along_with_a_registration
                an_enumeration_rides_along_with_heartbeats
                twenty_are_listed_unless_asked_otherwise
                a_page_that_is_refused_changes_nothing
                without_it_no_page_is_answered
                a_newcomers_first_peers_come_with_its_registration;
            network:
                the_networks_figures_are_answered
                what_is_at_risk_is_said_in_sentences
                rates_come_together_or_not_at_all
                the_deprecated_name_of_the_undiscovered_ratio_has_the_same_value;
            deregister:
                a_deregistered_peer_is_gone
                a_peer_that_is_not_there_cannot_be_deregistered;
            holder:
                a_stranger_can_neither_replace_nor_deregister_a_live_peer
                the_holder_is_known_by_its_address
                the_holder_is_known_by_its_token
                a_token_that_was_proven_goes_on
                without_its_token_the_holder_gets_a_new_one;
            life:
                a_lease_ends_in_silence_and_a_heartbeat_revives
                anyone_may_replace_a_dormant_peer
                after_the_revival_window_a_peer_is_unknown
                a_steady_peer_is_asked_less_often_and_may_miss_one_heartbeat;
            body:
                a_body_is_read_whatever_its_content_type_says
                a_body_may_come_in_chunks
                a_body_may_have_16_kib_and_not_a_byte_more
                a_chunked_body_is_bounded_the_same
                a_length_far_too_large_is_refused_before_the_body_comes
                a_body_that_is_no_object_is_refused
                a_body_that_is_not_utf_8_is_refused
                a_key_written_twice_is_refused
                a_body_with_a_get_has_no_meaning;
            refusal:
                every_key_that_breaks_its_rule_is_named
                every_key_of_a_page_that_rides_along_is_named
                every_parameter_that_breaks_its_rule_is_named
                every_call_needs_its_peer
                what_is_bounded_is_accepted_up_to_its_bound
                leases_out_of_bounds_are_refused
                there_is_nothing_elsewhere
                a_wrong_method_is_answered_with_the_right_ones
                a_refusal_has_the_contracts_shape;
            header:
                every_answer_may_be_read_by_browsers
                every_answer_is_uncached
                every_answer_has_a_name_of_its_own
                every_answer_with_a_body_is_json
                options_answers_204_everywhere
                head_says_what_get_would_without_a_body
                a_trailing_slash_means_the_same
                a_large_page_is_compressed_only_where_that_is_accepted;
            full:
                a_full_registry_refuses_newcomers_never_members;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($start:path, $($room:ident: $($case:ident)+;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(target) = $start($crate::$room::NEEDS).await {
                    $crate::$room::$case(&target).await;
                }
            }
        )+)+
    };
}
