//! Tests of the suite itself: a simple, correct store passes it, and each fault in that store is
//! detected.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a reference that breaks must break the test")]

mod biased;
mod fairness;
mod reference;

use std::panic::AssertUnwindSafe;

use aurora_discovery_registry::conformance::{
    bounds, census, enumeration, fill, holder, lifecycle, model, race, restart, sampling, values,
};
use futures_util::FutureExt as _;
use reference::{Fault, Reference};

mod a_correct_store_passes {
    aurora_discovery_registry::conformance_suite!(crate::Reference::correct());
}

#[tokio::test]
async fn a_correct_store_passes_histories_of_other_seeds() {
    for seed in 0..20 {
        model::history(&Reference::correct(), 2_000, seed).await;
    }
}

/// Expands to one test per fault, with a case that detects it.
macro_rules! detected {
    ($($fault:ident by $module:ident::$case:ident as $name:ident;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let broken = Reference::with(Fault::$fault);
                let outcome = AssertUnwindSafe($module::$case(&broken)).catch_unwind().await;
                assert!(outcome.is_err(), "{} does not detect {:?}", stringify!($case), Fault::$fault);
            }
        )+
    };
}

mod a_fault_is_detected {
    use super::*;

    detected! {
        NeverExpires by lifecycle::a_lease_lasts_its_ttl_and_at_most_a_third_longer as a_lease_that_never_expires;
        ExpiresEarly by lifecycle::a_lease_lasts_its_ttl_and_at_most_a_third_longer as a_lease_that_expires_early;
        RenewsForLong by lifecycle::a_heartbeat_renews_the_lease_for_the_granted_ttl as a_renewal_that_is_too_long;
        HeartbeatCreates by lifecycle::a_heartbeat_never_creates_a_peer as a_heartbeat_that_creates_a_peer;
        HeartbeatNeverRevives by lifecycle::a_heartbeat_revives_a_dormant_peer as a_heartbeat_that_revives_no_peer;
        RevivesForever by lifecycle::a_dormant_peer_is_unknown_after_the_revival_window as an_endless_revival_window;
        OlderTimeShortens by lifecycle::a_clock_that_steps_back_does_not_shorten_a_lease as an_older_time_that_shortens_a_lease;
        LastSeenNeverMoves by lifecycle::last_seen_is_the_time_of_registration_or_revival as a_last_seen_that_never_changes;
        KeepsOldArchetypes by lifecycle::registering_again_replaces_the_whole_registration as old_archetypes_that_still_match;
        SweepEvictsDormant by lifecycle::a_sweep_does_not_change_any_response as a_sweep_that_deletes_dormant_peers;
        WorksWhenClosed by lifecycle::a_closed_store_is_unavailable as calls_that_succeed_after_close;
        DormantRemovedAsLive by lifecycle::deregistering_a_dormant_peer_needs_proof as a_dormant_peer_that_is_deregistered_as_live;
        AnyoneOverwrites by holder::another_client_can_neither_replace_nor_deregister_a_live_peer as a_registration_that_ignores_the_holder;
        AnyoneDeregisters by holder::another_client_can_neither_replace_nor_deregister_a_live_peer as a_deregistration_that_ignores_the_holder;
        RefusedPutRenews by holder::another_client_can_neither_replace_nor_deregister_a_live_peer as a_refused_registration_that_renews;
        TokenAlwaysNew by holder::a_presented_token_remains_valid as a_token_that_is_always_replaced;
        TokenNeverNew by holder::registering_without_the_token_replaces_the_token as a_token_that_is_never_replaced;
        IgnoresCase by values::ids_are_case_sensitive as ids_that_ignore_case;
        ReserializesMetadata by values::metadata_is_returned_byte_for_byte as metadata_that_is_reserialized;
        AlwaysFirstPage by sampling::every_peer_is_sampled_equally_often as a_sample_that_is_always_the_first_page;
        ConsecutivePeers by sampling::every_pair_of_peers_is_sampled_equally_often as a_sample_of_consecutive_peers;
        FavoursSeveralArchetypes by sampling::peers_with_several_of_the_archetypes_are_not_favoured as a_sample_that_favours_peers_with_several_archetypes;
        SamplesDormant by sampling::dormant_and_deregistered_peers_are_never_sampled as a_sample_that_counts_dormant_peers;
        IgnoresPageBytes by sampling::a_sample_stays_within_page_bytes as a_page_of_unbounded_size;
        IgnoresExclude by sampling::the_excluded_peer_is_neither_listed_nor_counted as an_excluded_peer_that_is_listed;
        NeverFills by fill::a_sample_for_a_rare_archetype_is_filled_with_other_peers as a_sample_that_is_not_filled;
        FillIsCounted by fill::a_network_smaller_than_the_limit_is_listed_completely as a_total_that_counts_fill_peers;
        FillsInOrder by fill::fill_peers_are_drawn_uniformly_from_all_other_peers as fill_peers_in_a_fixed_order;
        FillsWithExcluded by fill::the_excluded_peer_is_not_used_as_fill as an_excluded_peer_that_is_used_as_fill;
        OffsetPositions by enumeration::an_enumeration_is_complete_under_churn as a_position_that_is_an_offset;
        AcceptsAnyPosition by enumeration::a_foreign_position_is_refused as a_position_that_is_never_refused;
        RefusesMembers by bounds::a_full_registry_refuses_newcomers_but_never_members as a_member_that_is_refused;
        NeverEvictsDormant by bounds::dormant_peers_are_evicted_for_newcomers as dormant_peers_that_are_not_evicted;
        CountsLoopback by bounds::loopback_is_exempt_from_the_source_bound as a_source_bound_on_loopback;
        MembersEvadeAddressBound by bounds::a_member_that_publishes_another_address_is_a_newcomer_there as a_member_that_evades_the_address_bound;
        UnboundedSources by bounds::peers_per_source_are_bounded as sources_without_a_bound;
        CountsDormant by census::a_census_counts_live_and_dormant_peers as a_census_that_counts_dormant_peers_as_live;
        ChecksThenActs by race::one_of_several_concurrent_registrations_of_an_unused_id_succeeds as a_put_that_is_not_atomic;
        HeartbeatNeverRevives by restart::a_network_recovers_from_an_outage_within_one_cadence
            as an_outage_without_revival;
        RestartLosesLease by restart::a_restart_gives_each_live_peer_one_full_lease as a_restart_that_ends_leases;
        RestartForgetsTokens by restart::the_holder_is_recognized_after_a_restart as a_restart_that_forgets_tokens;
    }
}

mod the_reference_model_detects {
    use super::*;

    detected! {
        NeverExpires by model::random_histories_agree_with_the_reference_model as a_lease_that_never_expires;
        ExpiresEarly by model::random_histories_agree_with_the_reference_model as a_lease_that_expires_early;
        RenewsForLong by model::random_histories_agree_with_the_reference_model as a_renewal_that_is_too_long;
        HeartbeatCreates by model::random_histories_agree_with_the_reference_model as a_heartbeat_that_creates_a_peer;
        HeartbeatNeverRevives by model::random_histories_agree_with_the_reference_model as a_heartbeat_that_revives_no_peer;
        RevivesForever by model::random_histories_agree_with_the_reference_model as an_endless_revival_window;
        CountsDormant by model::random_histories_agree_with_the_reference_model as a_census_that_counts_dormant_peers_as_live;
        KeepsOldArchetypes by model::random_histories_agree_with_the_reference_model as old_archetypes_that_still_match;
        AnyoneOverwrites by model::random_histories_agree_with_the_reference_model as a_registration_that_ignores_the_holder;
        AnyoneDeregisters by model::random_histories_agree_with_the_reference_model as a_deregistration_that_ignores_the_holder;
        TokenAlwaysNew by model::random_histories_agree_with_the_reference_model as a_token_that_is_always_replaced;
        IgnoresExclude by model::random_histories_agree_with_the_reference_model as an_excluded_peer_that_is_listed;
        SweepEvictsDormant by model::random_histories_agree_with_the_reference_model as a_sweep_that_deletes_dormant_peers;
        RestartLosesLease by model::random_histories_agree_with_the_reference_model as a_restart_that_ends_leases;
    }
}
