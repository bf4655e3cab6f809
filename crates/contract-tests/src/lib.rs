//! A test suite for the HTTP API. The name of each case is the rule of the API that it tests.
//!
//! A case gets only the base URL of a service, and a description of what its environment supports
//! ([`Target`]). The same suite therefore applies to every way to run the service. One line creates
//! the tests, with the name of a function that starts the service:
//!
//! ```text
//! aurora_discovery_contract_tests::contract_suite!(start);
//!
//! async fn start(needs: Needs) -> Option<Target> { … }
//! ```
#![allow(missing_docs, reason = "the name of a case says what it tests")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a case fails by panicking")]

pub mod admin;
pub mod body;
mod client;
pub mod delta;
pub mod deregister;
pub mod discover;
pub mod full;
pub mod header;
pub mod heartbeat;
pub mod holder;
pub mod inline;
pub mod legacy;
pub mod life;
pub mod mail;
pub mod network;
pub mod paging;
pub mod prometheus;
pub mod refusal;
pub mod register;
mod target;
pub mod token_only;
pub mod web_page;
mod wire;

pub use target::{Needs, Sources, Target};

/// Expands to one test per case. Each test calls `$start`, an `async fn(Needs) -> Option<Target>`,
/// to start a service. `None` means that this way to run the service cannot meet the needs, and the
/// case is skipped.
#[macro_export]
macro_rules! contract_suite {
    ($start:path) => {
        $crate::contract_tests! { $start,
            legacy:
                the_original_registration_example_gets_the_original_response
                the_original_discovery_example_gets_the_original_response
                the_original_discovery_example_filters_by_archetype
                the_original_heartbeat_example_gets_the_original_response
                the_health_check_returns_only_the_status
                the_legacy_python_client_can_parse_each_peer
                the_legacy_python_client_can_register_send_heartbeats_and_discover;
            register:
                a_registration_returns_its_lease
                a_registration_needs_only_an_id
                null_means_that_an_optional_key_is_absent
                unknown_keys_are_ignored
                a_blank_address_is_replaced_by_the_source_address
                every_kind_of_address_is_listed_as_registered
                every_port_is_listed_as_registered
                repeated_archetypes_are_stored_once
                metadata_is_returned_byte_for_byte
                a_requested_lease_within_the_bounds_is_granted
                the_first_heartbeat_is_requested_within_a_third_of_the_lease
                registering_again_replaces_the_whole_registration
                an_id_may_contain_any_visible_ascii_character
                a_rejected_registration_changes_nothing;
            heartbeat:
                a_heartbeat_returns_the_lease
                a_heartbeat_renews_the_lease_for_the_granted_duration
                heartbeat_intervals_are_spread_within_a_third_of_the_lease
                a_heartbeat_never_creates_a_peer
                a_heartbeat_is_accepted_from_any_address
                a_heartbeat_reports_the_address_of_a_peer_that_moved
                a_heartbeat_with_a_wrong_token_is_refused
                each_peer_of_a_list_may_have_its_token
                a_heartbeat_for_many_peers_returns_one_result_each_in_request_order
                a_heartbeat_for_many_peers_accepts_at_most_a_hundred_ids
                a_heartbeat_for_unknown_peers_only_still_succeeds
                a_heartbeat_for_many_peers_can_include_a_page;
            discover:
                a_peer_matches_if_it_has_any_of_the_archetypes
                an_empty_archetype_is_ignored
                an_unknown_archetype_returns_an_empty_list
                archetypes_of_any_script_are_matched_exactly
                the_limit_bounds_the_list_but_not_the_total
                an_excluded_peer_is_neither_listed_nor_counted
                the_full_view_adds_the_expiry_and_the_age_of_the_registration
                the_deprecated_name_of_the_legacy_view_is_accepted
                unknown_parameters_are_ignored
                each_request_draws_its_own_sample
                a_diverse_sample_is_as_long_as_a_uniform_one
                a_diverse_sample_has_no_cursor
                fill_adds_peers_without_a_rare_archetype
                fill_is_rejected_for_an_enumeration;
            paging:
                an_enumeration_lists_each_peer_once
                an_enumeration_lists_each_steady_peer_during_churn
                a_cursor_implies_an_enumeration
                a_cursor_is_valid_only_for_its_query
                a_modified_cursor_is_rejected
                a_sample_has_no_next_page
                a_page_of_a_mebibyte_continues_on_the_next_page;
            delta:
                a_delta_lists_the_peers_that_joined_changed_and_left
                a_peer_that_drops_an_archetype_leaves_its_delta
                a_renewal_is_not_a_change
                a_delta_is_limited_and_continues
                an_enumeration_and_a_delta_together_miss_no_peer
                a_delta_lists_peers_in_the_requested_view
                since_is_valid_only_for_its_query
                since_can_not_be_combined_with_order_or_cursor
                without_a_change_log_since_is_rejected_with_an_alternative;
            inline:
                a_heartbeat_can_include_a_page
                a_registration_can_include_a_page
                an_enumeration_can_be_continued_by_heartbeats
                an_inline_page_lists_twenty_peers_by_default
                a_request_with_an_invalid_page_changes_nothing
                a_response_has_no_page_unless_requested
                a_registration_returns_the_first_peers_of_a_newcomer;
            network:
                the_network_figures_count_the_peers_of_each_archetype
                risks_are_sentences
                the_rates_are_all_present_or_all_absent
                the_deprecated_name_of_the_undiscovered_ratio_has_the_same_value;
            prometheus:
                prometheus_gets_the_peers_of_an_archetype_that_accept_connections
                prometheus_gets_all_peers_and_an_empty_list_if_none_matches;
            deregister:
                a_deregistered_peer_is_removed_at_once
                an_unknown_peer_can_not_be_deregistered;
            mail:
                a_message_waits_for_its_receiver_until_it_is_acknowledged
                a_heartbeat_fetches_and_acknowledges_mail
                a_message_to_an_absent_peer_is_refused_at_once
                only_a_signed_peer_that_asks_for_it_has_a_mailbox
                a_mailbox_opens_only_with_the_lease_token_and_from_any_address
                a_message_names_its_sender_and_is_signed_by_its_key
                a_repeated_message_is_refused
                one_sender_can_not_fill_a_mailbox
                a_request_that_waits_gets_the_next_message;
            holder:
                only_the_holder_can_replace_or_deregister_a_live_peer
                the_holder_is_identified_by_its_address
                the_holder_is_identified_by_its_token
                a_proven_token_stays_valid
                a_holder_that_registers_without_its_token_gets_a_new_one;
            token_only:
                a_token_only_peer_is_changed_only_with_its_token
                making_a_live_peer_token_only_needs_its_token
                registering_with_a_token_does_not_make_the_token_required
                a_token_only_peer_becomes_an_ordinary_one_again_with_its_token;
            web_page:
                a_web_page_can_neither_replace_nor_deregister_a_peer_of_its_visitor
                a_web_page_can_change_what_it_registered_itself
                a_hidden_origin_or_several_origins_prove_nothing
                a_token_proves_the_holder_from_any_page;
            life:
                a_lease_expires_without_heartbeats_and_a_heartbeat_revives_the_peer
                any_client_can_replace_a_dormant_peer
                deregistering_a_dormant_peer_needs_proof
                a_token_only_name_stays_reserved_for_three_leases
                a_dormant_peer_is_unknown_after_the_revival_window
                a_steady_peer_gets_longer_intervals_and_may_miss_one_heartbeat;
            body:
                a_body_is_parsed_as_json_whatever_its_content_type
                a_body_may_be_sent_in_chunks
                a_body_may_have_at_most_16_kib
                a_chunked_body_has_the_same_limit
                a_far_too_large_length_is_rejected_before_the_body_arrives
                a_body_that_is_not_an_object_is_rejected
                a_body_that_is_not_utf_8_is_rejected
                a_duplicate_key_is_rejected
                the_body_of_a_get_is_ignored;
            refusal:
                an_invalid_key_is_named_in_the_error
                an_invalid_key_of_an_inline_page_is_named_in_the_error
                an_invalid_parameter_is_named_in_the_error
                every_post_requires_a_peer_id
                values_at_their_bounds_are_accepted
                a_lease_outside_the_bounds_is_rejected
                an_unknown_path_gets_404
                a_wrong_method_gets_405_with_the_allowed_methods
                every_error_has_the_same_shape;
            header:
                every_response_has_the_cors_headers_that_its_kind_needs
                every_response_forbids_caching
                every_response_has_its_own_request_id
                every_response_with_a_body_is_json
                options_gets_204_on_every_path
                head_is_like_get_without_a_body
                a_trailing_slash_does_not_change_the_path
                a_large_page_is_compressed_only_if_the_client_accepts_gzip;
            admin:
                administration_needs_a_key_that_permits_it
                an_operator_evicts_a_peer
                an_operator_blocks_a_peer_until_it_is_unblocked;
            full:
                a_full_registry_rejects_newcomers_but_never_members;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($start:path, $($module:ident: $($case:ident)+;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(target) = $start($crate::$module::NEEDS).await {
                    $crate::$module::$case(&target).await;
                }
            }
        )+)+
    };
}
