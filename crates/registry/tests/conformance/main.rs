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

mod a_sound_store_passes {
    aurora_discovery_registry::conformance_suite!(crate::Reference::sound());
}

#[tokio::test]
async fn other_histories_of_a_sound_store_pass_too() {
    for seed in 0..20 {
        model::history(&Reference::sound(), 2_000, seed).await;
    }
}

/// Expands to one test per fault, with a case that detects it.
macro_rules! caught {
    ($($fault:ident by $module:ident::$case:ident as $name:ident;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let broken = Reference::with(Fault::$fault);
                let outcome = AssertUnwindSafe($module::$case(&broken)).catch_unwind().await;
                assert!(outcome.is_err(), "{} lets {:?} pass", stringify!($case), Fault::$fault);
            }
        )+
    };
}

mod a_fault_is_caught {
    use super::*;

    caught! {
        NeverExpires by lifecycle::a_lease_lasts_its_ttl_and_at_most_a_third_longer as leases_that_never_end;
        ExpiresEarly by lifecycle::a_lease_lasts_its_ttl_and_at_most_a_third_longer as leases_that_end_early;
        RenewsForLong by lifecycle::a_heartbeat_renews_for_the_duration_that_was_granted as renewals_for_too_long;
        HeartbeatCreates by lifecycle::a_heartbeat_never_creates_a_peer as heartbeats_that_make_peers;
        HeartbeatRevivesNobody by lifecycle::a_heartbeat_revives_a_dormant_peer as heartbeats_that_revive_nobody;
        RevivesForever by lifecycle::a_dormant_peer_is_unknown_after_the_revival_window as an_endless_revival_window;
        OlderTimeShortens by lifecycle::a_clock_that_runs_backwards_shortens_no_lease as older_time_that_shortens;
        LastSeenNeverMoves by lifecycle::a_peer_was_last_seen_when_its_lease_was_acquired_or_revived as a_last_seen_that_stays;
        KeepsOldArchetypes by lifecycle::registering_again_replaces_the_whole_registration as old_archetypes_that_match;
        SweepEvictsDormant by lifecycle::sweeping_changes_no_answer as a_sweep_that_forgets_dormant_peers;
        AnswersWhenClosed by lifecycle::a_closed_store_is_unavailable as answers_after_the_end;
        DormantLeaveAsLive by lifecycle::anyone_may_deregister_a_dormant_peer as dormant_peers_that_leave_as_live_ones;
        StrangersOverwrite by holder::a_stranger_can_neither_replace_nor_deregister_a_live_peer as strangers_that_overwrite;
        StrangersDeregister by holder::a_stranger_can_neither_replace_nor_deregister_a_live_peer as strangers_that_deregister;
        RefusedPutRenews by holder::a_stranger_can_neither_replace_nor_deregister_a_live_peer as a_refusal_that_renews;
        TokenAlwaysNew by holder::a_token_that_was_proven_goes_on as tokens_that_never_go_on;
        TokenNeverNew by holder::without_its_token_the_holder_gets_a_new_one_and_the_old_one_ends as tokens_that_never_end;
        FoldsCase by values::ids_are_told_apart_by_case as ids_without_case;
        ParsesMetadata by values::metadata_comes_back_byte_for_byte as metadata_written_anew;
        FirstPage by sampling::every_peer_is_sampled_as_often_as_any_other as samples_of_the_first_page;
        Runs by sampling::every_pair_of_peers_is_sampled_as_often_as_any_other as samples_of_neighbours;
        FavoursCarriersOfSeveral by sampling::peers_with_several_of_the_archetypes_are_not_favoured as samples_that_favour_some;
        DormantTakePlaces by sampling::dormant_and_departed_peers_take_no_place_in_a_sample as dormant_peers_in_samples;
        IgnoresPageBytes by sampling::the_bytes_of_a_page_cut_a_sample as pages_of_any_size;
        IgnoresExclude by sampling::the_excluded_peer_is_neither_listed_nor_counted as an_excluded_peer_that_is_listed;
        FillsNoGap by fill::a_rare_archetype_is_no_island as rare_archetypes_that_are_islands;
        FillIsCounted by fill::a_network_smaller_than_the_limit_is_listed_whole as totals_that_count_others;
        FillsFromTheFirst by fill::what_is_missing_is_drawn_evenly_from_all_others as gaps_filled_from_the_first;
        FillsWithExcluded by fill::the_excluded_peer_fills_no_gap as an_excluded_peer_that_fills_a_gap;
        OffsetPositions by enumeration::an_enumeration_is_unmoved_by_what_comes_and_goes as positions_that_count;
        AnyPositionGoes by enumeration::a_position_of_no_store_is_refused as positions_of_any_kind;
        RefusesMembers by bounds::a_full_registry_refuses_newcomers_never_members as members_that_are_refused;
        DropsNoDormant by bounds::dormant_peers_make_room_for_newcomers as dormant_peers_that_take_room;
        CountsLoopback by bounds::loopback_is_exempt_from_the_bound_on_sources as a_bound_on_loopback;
        MoversGoFree by bounds::a_member_that_moves_to_another_address_is_a_newcomer_there as members_that_move_unbounded;
        UnboundedSources by bounds::peers_from_one_source_are_bounded as sources_without_a_bound;
        CountsDormant by census::a_census_counts_live_and_dormant_peers as a_census_of_the_dormant;
        ChecksThenActs by race::of_strangers_that_register_one_free_id_at_once_one_wins as puts_that_are_not_atomic;
        HeartbeatRevivesNobody by restart::after_an_outage_of_two_leases_a_network_is_whole_within_one_cadence
            as outages_that_nobody_comes_back_from;
        RestartLosesLease by restart::a_restart_gives_each_live_peer_one_whole_lease as a_restart_that_ends_leases;
        RestartForgetsTokens by restart::the_holder_is_known_after_a_restart as a_restart_that_forgets_tokens;
    }
}

mod the_reference_model_catches {
    use super::*;

    caught! {
        NeverExpires by model::random_histories_agree_with_the_reference_model as leases_that_never_end;
        ExpiresEarly by model::random_histories_agree_with_the_reference_model as leases_that_end_early;
        RenewsForLong by model::random_histories_agree_with_the_reference_model as renewals_for_too_long;
        HeartbeatCreates by model::random_histories_agree_with_the_reference_model as heartbeats_that_make_peers;
        HeartbeatRevivesNobody by model::random_histories_agree_with_the_reference_model as heartbeats_that_revive_nobody;
        RevivesForever by model::random_histories_agree_with_the_reference_model as an_endless_revival_window;
        CountsDormant by model::random_histories_agree_with_the_reference_model as a_census_of_the_dormant;
        KeepsOldArchetypes by model::random_histories_agree_with_the_reference_model as old_archetypes_that_match;
        StrangersOverwrite by model::random_histories_agree_with_the_reference_model as strangers_that_overwrite;
        StrangersDeregister by model::random_histories_agree_with_the_reference_model as strangers_that_deregister;
        TokenAlwaysNew by model::random_histories_agree_with_the_reference_model as tokens_that_never_go_on;
        IgnoresExclude by model::random_histories_agree_with_the_reference_model as an_excluded_peer_that_is_listed;
        SweepEvictsDormant by model::random_histories_agree_with_the_reference_model as a_sweep_that_forgets_dormant_peers;
        RestartLosesLease by model::random_histories_agree_with_the_reference_model as a_restart_that_ends_leases;
    }
}
