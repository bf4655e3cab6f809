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

pub mod bounds;
pub mod census;
pub mod enumeration;
pub mod fairness;
pub mod fill;
mod harness;
pub mod holder;
pub mod lifecycle;
pub mod model;
pub mod race;
pub mod restart;
pub mod sampling;
mod statistics;
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

/// The choices that the contract leaves to a store, as this store makes them. The default is the
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
    /// `max_peers_per_address`.
    pub addresses: bool,
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
            addresses: true,
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
                a_fresh_store_is_healthy_and_empty
                a_registered_peer_is_listed_at_once
                registering_again_replaces_the_whole_registration
                registering_again_begins_a_new_lease_even_a_shorter_one
                a_lease_lasts_its_ttl_and_at_most_a_third_longer
                a_lease_ends_at_the_instant_it_was_said_to_end
                a_heartbeat_renews_for_the_duration_that_was_granted
                heartbeats_keep_a_peer_live_as_long_as_they_come
                a_heartbeat_never_creates_a_peer
                heartbeats_for_many_are_each_answered_for_itself
                heartbeats_for_a_hundred_renew_them_all
                a_dormant_peer_is_neither_listed_nor_counted
                a_heartbeat_revives_a_dormant_peer
                a_dormant_peer_is_unknown_after_the_revival_window
                a_revived_peer_may_be_revived_again
                a_deregistered_peer_is_unknown
                a_peer_that_left_may_come_back
                anyone_may_replace_a_dormant_peer
                anyone_may_deregister_a_dormant_peer
                a_clock_that_runs_backwards_shortens_no_lease
                a_peer_was_last_seen_when_its_lease_was_acquired_or_revived
                the_full_view_says_when_a_peer_registered_and_when_its_lease_ends
                sweeping_changes_no_answer
                sweeping_again_finds_nothing_to_do
                a_closed_store_is_unavailable;
            holder:
                a_stranger_can_neither_replace_nor_deregister_a_live_peer
                a_refusal_says_when_the_lease_ends
                the_holder_is_known_by_the_address_it_came_from
                the_holder_of_an_ipv6_address_is_known_by_its_64
                the_holder_is_known_by_its_token_from_anywhere
                the_holder_deregisters_by_address_or_token
                a_token_that_was_proven_goes_on
                without_its_token_the_holder_gets_a_new_one_and_the_old_one_ends
                a_wrong_token_from_the_right_address_is_replaced
                the_address_of_the_last_registration_counts
                a_dormant_peer_goes_on_with_its_token
                who_replaces_a_dormant_peer_holds_it
                an_unguarded_caller_counts_as_the_holder;
            values:
                any_id_is_a_peer_of_its_own
                ids_are_told_apart_by_case
                any_archetype_is_matched_exactly
                a_peer_carries_up_to_32_archetypes
                metadata_comes_back_byte_for_byte
                every_kind_of_address_comes_back
                a_peer_is_listed_with_exactly_the_seeds_six_keys
                the_full_view_adds_two_keys;
            sampling:
                all_that_match_are_listed_where_they_fit
                a_limit_cuts_a_sample
                the_bytes_of_a_page_cut_a_sample
                one_peer_always_fits_a_page
                the_excluded_peer_is_neither_listed_nor_counted
                a_peer_with_several_of_the_archetypes_is_listed_once
                an_unknown_archetype_gives_an_empty_list
                a_rare_archetype_is_found_in_a_large_network
                every_peer_is_sampled_as_often_as_any_other
                every_pair_of_peers_is_sampled_as_often_as_any_other
                peers_with_several_of_the_archetypes_are_not_favoured
                dormant_and_departed_peers_take_no_place_in_a_sample;
            fill:
                a_rare_archetype_is_no_island
                what_is_missing_is_drawn_evenly_from_all_others
                where_enough_match_nobody_else_is_listed
                a_network_smaller_than_the_limit_is_listed_whole
                without_an_archetype_nothing_is_missing
                the_excluded_peer_fills_no_gap
                the_bytes_of_a_page_bound_what_fills_it
                dormant_and_departed_peers_fill_no_gap;
            enumeration:
                an_enumeration_lists_each_peer_once
                an_enumeration_is_unmoved_by_what_comes_and_goes
                an_enumeration_lists_what_matches_any_of_the_archetypes
                a_page_cut_by_its_bytes_goes_on
                an_enumeration_leaves_the_excluded_peer_out
                a_peer_whose_lease_ends_between_pages_is_listed_no_more
                an_enumeration_of_nobody_ends
                a_position_of_no_store_is_refused;
            bounds:
                a_full_registry_refuses_newcomers_never_members
                dormant_peers_make_room_for_newcomers
                bytes_are_bounded
                peers_from_one_source_are_bounded
                addresses_of_one_64_are_one_source
                loopback_is_exempt_from_the_bound_on_sources
                a_holder_by_token_is_a_member_at_any_source
                a_revival_is_not_refused_for_its_source_or_archetypes
                a_revival_points_no_more_peers_at_an_address_than_may
                peers_that_publish_an_address_they_do_not_come_from_are_bounded
                a_member_that_moves_to_another_address_is_a_newcomer_there
                archetypes_are_bounded;
            census:
                a_census_counts_live_and_dormant_peers
                a_census_names_the_most_frequent_archetypes_first;
            race:
                of_strangers_that_register_one_free_id_at_once_one_wins
                registrations_at_once_leave_one_of_them_whole
                a_heartbeat_at_once_with_a_deregistration_brings_nobody_back
                registering_and_deregistering_at_once_leave_one_or_nothing
                peers_that_register_at_once_are_all_there
                newcomers_at_once_do_not_exceed_the_bound;
            restart:
                what_was_registered_is_there_after_a_restart
                what_was_deregistered_is_gone_after_a_restart
                a_restart_gives_each_live_peer_one_whole_lease
                the_holder_is_known_after_a_restart
                an_enumeration_from_before_a_restart_goes_on_or_has_expired
                after_an_outage_of_two_leases_a_network_is_whole_within_one_cadence
                after_a_restart_two_leases_later_a_network_is_whole_within_one_cadence;
            model:
                random_histories_agree_with_the_reference_model;
        }
    };
}
