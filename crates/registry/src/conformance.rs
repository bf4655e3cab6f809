//! The suite that every store must pass. Each case is named after the sentence of the contract
//! ([`Store`]) that it proves.
//!
//! The crate of a store runs the suite with one line in its tests, which expands to one test per
//! case:
//!
//! ```ignore
//! aurora_discovery_registry::conformance_suite!(MySubject::default());
//! ```
//!
//! The suite needs no clock, because time is an argument. Each case advances it explicitly.
#![allow(missing_docs, reason = "a case's name says what it proves")]
#![allow(clippy::expect_used, clippy::panic, reason = "a case fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use aurora_discovery_protocol::Timestamp;

use crate::{Limits, Store};

pub mod address;
pub mod bounds;
pub mod census;
pub mod enumeration;
pub mod fairness;
pub mod fill;
pub mod growth;
mod harness;
pub mod holder;
pub mod known;
pub mod lifecycle;
pub mod model;
pub mod network;
pub mod page;
pub mod proof;
pub mod race;
pub mod restart;
pub mod sampling;
mod statistics;
pub mod token_only;
pub mod unproven;
pub mod values;

/// A store under test. Each case uses a separate subject.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Opens the store within `limits`. It is empty when it is opened for the first time. When it
    /// is opened again after [`Store::close`], it contains what it has kept.
    async fn open(&self, limits: &Limits, now: Timestamp) -> Arc<dyn Store>;

    /// What the store guarantees where the contract leaves a choice.
    fn guarantees(&self) -> Guarantees {
        Guarantees::default()
    }
}

/// What a store guarantees where the contract leaves a choice. The default is the
/// strictest in-memory store.
#[derive(Clone, Debug)]
pub struct Guarantees {
    /// What the store contains after it was closed and opened again.
    pub restart: Restart,
    /// Which bounds of [`Limits`] the store enforces.
    pub bounds: Bounds,
    /// Whether `total` is exact even if a page does not hold all matching peers.
    pub exact_totals: bool,
    /// Whether `census` reflects changes immediately.
    pub exact_census: bool,
    /// The size of the larger cases.
    pub scale: Scale,
}

impl Default for Guarantees {
    fn default() -> Self {
        Self {
            restart: Restart::Empty,
            bounds: Bounds::default(),
            exact_totals: true,
            exact_census: true,
            scale: Scale::default(),
        }
    }
}

/// What a store contains after it was closed and opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Nothing, because it keeps everything in memory.
    Empty,
    /// Everything. Leases continued to run in the meantime, because other processes serve the same
    /// peers.
    LeasesContinue,
    /// Everything. Each peer that was live has one whole lease.
    LeasesRenewed,
}

/// Which bounds of [`Limits`] a store enforces.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// `max_peers`.
    pub peers: bool,
    /// `max_bytes`.
    pub bytes: bool,
    /// `max_peers_per_source`.
    pub sources: bool,
    /// `max_peers_per_network` and `max_peers_per_site`.
    pub networks: bool,
    /// `max_peers_per_address`.
    pub addresses: bool,
    /// `max_peers_per_host`.
    pub hosts: bool,
    /// The bound on the peers that one source keeps alive by unproven heartbeats.
    pub unproven: bool,
    /// The bound on the peers of one source, live and dormant: a newcomer beyond it evicts the
    /// longest dormant peer of its source.
    pub known: bool,
    /// `max_archetypes`.
    pub archetypes: bool,
    /// Whether the bounds are exact when many peers register concurrently.
    pub exact_in_races: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            peers: true,
            bytes: true,
            sources: true,
            networks: true,
            addresses: true,
            hosts: true,
            unproven: true,
            known: true,
            archetypes: true,
            exact_in_races: true,
        }
    }
}

/// The size of the larger cases.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The number of peers in a network that does not fit into one page.
    pub peers: u32,
    /// The number of samples in a statistical case.
    pub draws: u32,
    /// The number of steps in a random history.
    pub steps: u32,
}

impl Default for Scale {
    fn default() -> Self {
        Self { peers: 200, draws: 600, steps: 2_000 }
    }
}

/// Expands to one test per case of the suite. `$subject` is an expression for the store under test,
/// which is evaluated for each test.
#[macro_export]
macro_rules! conformance_suite {
    ($subject:expr) => {
        $crate::for_each_conformance_case! { conformance_tests, $subject }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    (($subject:expr) $($module:ident: $($case:ident)+;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::$module::$case(&$subject).await;
            }
        )+)+
    };
}

/// Calls a macro of this crate with the list of all cases.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_conformance_case {
    ($then:ident, $subject:expr) => {
        $crate::$then! { ($subject)
            lifecycle:
                a_new_store_is_healthy_and_empty
                a_registered_peer_is_listed_at_once
                registering_again_replaces_the_whole_registration
                registering_again_starts_a_new_lease_even_a_shorter_one
                a_lease_lasts_its_ttl_and_at_most_a_third_longer
                a_lease_ends_exactly_at_the_reported_time
                a_heartbeat_renews_the_lease_for_the_granted_ttl
                a_peer_stays_live_while_it_sends_heartbeats
                a_heartbeat_never_creates_a_peer
                a_batch_renewal_returns_one_result_per_peer
                a_batch_renewal_renews_a_hundred_peers
                a_dormant_peer_is_neither_listed_nor_counted
                a_heartbeat_revives_a_dormant_peer
                a_dormant_peer_is_unknown_after_the_revival_window
                a_peer_can_be_revived_repeatedly
                a_deregistered_peer_is_unknown
                a_deregistered_peer_can_register_again
                any_client_can_replace_a_dormant_peer
                deregistering_a_dormant_peer_needs_proof
                a_clock_that_steps_back_does_not_shorten_a_lease
                last_seen_is_the_time_of_registration_or_revival
                the_full_view_reports_the_age_and_the_remaining_lease
                a_sweep_does_not_change_any_response
                a_second_sweep_finds_nothing_to_do
                a_closed_store_is_unavailable;
            holder:
                another_client_can_neither_replace_nor_deregister_a_live_peer
                a_refusal_reports_the_end_of_the_lease
                the_holder_is_recognized_by_its_source_address
                an_ipv6_holder_is_recognized_by_its_64
                the_holder_is_recognized_by_its_token_from_any_source
                the_holder_can_deregister_by_source_or_token
                a_presented_token_remains_valid
                registering_without_the_token_replaces_the_token
                a_wrong_token_counts_as_none_in_a_registration
                the_latest_registration_determines_the_source_of_the_holder
                a_dormant_peer_keeps_its_token
                a_client_that_replaces_a_dormant_peer_becomes_its_holder
                any_caller_counts_as_the_holder_if_the_holder_rule_is_disabled;
            token_only:
                only_its_token_replaces_renews_or_deregisters_a_live_token_only_peer
                a_token_only_name_is_reserved_for_three_leases_after_its_lease
                renewing_a_token_only_peer_needs_its_token_for_the_whole_revival_window
                only_the_token_makes_a_live_registration_token_only
                a_free_name_can_be_registered_token_only
                a_registration_with_the_token_can_end_token_only;
            page:
                a_page_proves_nothing_by_its_address
                a_page_is_the_holder_of_what_it_registered
                a_page_that_hides_its_origin_is_never_recognized;
            proof:
                a_wrong_token_is_refused_in_any_heartbeat
                a_refused_heartbeat_changes_nothing
                a_batch_renewal_checks_the_claim_of_each_peer
                anyone_may_replace_a_peer_after_12_leases_without_proof
                a_proven_heartbeat_protects_a_peer_for_another_12_leases
                a_proven_heartbeat_protects_a_peer_again_that_nobody_has_replaced
                the_token_proves_a_heartbeat_from_any_source
                a_heartbeat_from_the_24_or_48_of_the_holder_is_proven
                a_heartbeat_of_a_page_is_proven_only_for_its_own_registration
                a_proof_is_stored_even_if_the_lease_needs_no_write;
            unproven:
                unproven_heartbeats_of_one_source_keep_a_bounded_number_of_peers_alive
                a_source_goes_on_with_the_peers_that_it_keeps_alive
                a_batch_renewal_respects_the_bound_on_unproven_heartbeats
                a_proven_heartbeat_is_never_refused_for_a_bound
                loopback_is_exempt_from_the_bound_on_unproven_heartbeats
                a_proven_heartbeat_releases_the_place_of_an_unproven_one
                a_registration_releases_the_place_of_an_unproven_heartbeat
                a_deregistration_releases_the_place_of_an_unproven_heartbeat
                the_end_of_a_lease_releases_the_place_of_an_unproven_heartbeat;
            values:
                ids_with_special_characters_identify_distinct_peers
                ids_are_case_sensitive
                archetypes_are_matched_exactly
                a_peer_can_have_32_archetypes
                metadata_is_returned_byte_for_byte
                every_kind_of_address_is_returned_unchanged
                the_legacy_view_has_exactly_six_keys
                the_full_view_adds_two_keys;
            sampling:
                all_matching_peers_are_listed_if_they_fit
                a_sample_stays_within_its_limit
                a_sample_stays_within_page_bytes
                one_peer_always_fits_a_page
                the_excluded_peer_is_neither_listed_nor_counted
                a_peer_with_several_of_the_archetypes_is_listed_once
                an_unknown_archetype_gives_an_empty_list
                a_rare_archetype_is_found_in_a_large_network
                every_peer_is_sampled_equally_often
                every_pair_of_peers_is_sampled_equally_often
                peers_with_several_of_the_archetypes_are_not_favoured
                dormant_and_deregistered_peers_are_never_sampled;
            fill:
                a_sample_for_a_rare_archetype_is_filled_with_other_peers
                fill_peers_are_drawn_uniformly_from_all_other_peers
                a_sample_with_enough_matching_peers_is_not_filled
                a_network_smaller_than_the_limit_is_listed_completely
                fill_has_no_effect_without_an_archetype
                the_excluded_peer_is_not_used_as_fill
                a_filled_sample_stays_within_page_bytes
                dormant_and_deregistered_peers_are_not_used_as_fill;
            enumeration:
                an_enumeration_lists_each_peer_once
                an_enumeration_is_complete_under_churn
                an_enumeration_lists_peers_with_any_of_the_archetypes
                an_enumeration_continues_after_a_page_that_page_bytes_cut
                an_enumeration_omits_the_excluded_peer
                a_peer_that_expires_between_pages_is_not_listed
                an_empty_enumeration_ends
                a_foreign_position_is_refused;
            bounds:
                a_full_registry_refuses_newcomers_but_never_members
                dormant_peers_are_evicted_for_newcomers
                the_total_size_of_registrations_is_bounded
                peers_per_source_are_bounded
                ipv6_addresses_of_one_64_are_one_source
                loopback_is_exempt_from_the_source_bound
                no_bound_refuses_a_revival
                peers_that_publish_an_address_other_than_their_source_are_bounded
                a_member_that_publishes_another_address_is_a_newcomer_there
                different_archetypes_are_bounded;
            network:
                peers_per_ipv4_24_are_bounded
                peers_per_ipv6_56_are_bounded
                peers_per_ipv6_48_are_bounded;
            address:
                a_host_is_bounded_whatever_the_port
                one_source_takes_at_most_half_of_an_address_bound
                one_source_takes_at_most_half_of_a_host_bound
                addresses_that_mean_another_host_to_each_reader_are_not_counted
                peers_that_cannot_be_dialled_are_not_counted_at_their_address
                a_peer_that_publishes_the_address_it_comes_from_is_never_refused_for_it
                all_forms_of_one_address_count_together;
            growth:
                a_member_that_adds_bytes_is_a_newcomer
                a_member_that_adds_archetypes_is_a_newcomer
                a_registration_that_adds_no_archetype_is_never_refused_for_archetypes
                a_member_from_another_source_is_a_newcomer_there;
            known:
                at_most_twice_the_source_bound_of_peers_is_known
                a_newcomer_evicts_the_longest_dormant_peer_of_its_own_source
                registering_a_known_peer_again_evicts_nobody
                the_end_of_a_lease_evicts_nobody
                loopback_is_exempt_from_the_bound_on_known_peers;
            census:
                a_census_counts_live_and_dormant_peers
                a_census_lists_the_most_frequent_archetypes_first;
            race:
                one_of_several_concurrent_registrations_of_an_unused_id_succeeds
                concurrent_registrations_leave_exactly_one_of_them_complete
                a_concurrent_heartbeat_does_not_restore_a_deregistered_peer
                concurrent_registration_and_deregistration_leave_one_peer_or_none
                concurrently_registered_peers_are_all_listed
                concurrent_newcomers_do_not_exceed_the_bound;
            restart:
                registered_peers_survive_a_restart
                deregistered_peers_stay_removed_after_a_restart
                a_restart_gives_each_live_peer_one_full_lease
                the_holder_is_recognized_after_a_restart
                pages_and_token_only_names_are_recognized_after_a_restart
                a_restart_counts_as_proof
                an_enumeration_continues_or_has_expired_after_a_restart
                a_network_recovers_from_an_outage_within_one_cadence
                a_network_recovers_from_a_late_restart_within_one_cadence;
            model:
                random_histories_agree_with_the_reference_model;
        }
    };
}
