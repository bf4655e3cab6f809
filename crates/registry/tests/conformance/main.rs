//! Tests of the suite itself: a simple, correct store passes it, and each fault in that store is
//! detected.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a reference that breaks must break the test")]

mod biased;
mod blocks;
mod fairness;
mod mail;
mod peer_life;
mod reference;
mod signed;

use std::panic::AssertUnwindSafe;

use aurora_discovery_registry::conformance::{
    address, bounds, census, diverse, enumeration, fill, growth, holder, known, lifecycle,
    mail as mail_cases, model, network, operator, page, proof, race, restart, sampling,
    signed as signed_cases, token_only, unproven, values,
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
        DormantRemovedAsLive by holder::deregistering_a_dormant_peer_needs_proof as a_dormant_peer_that_is_deregistered_as_live;
        AnyoneOverwrites by holder::another_client_can_neither_replace_nor_deregister_a_live_peer as a_registration_that_ignores_the_holder;
        AnyoneDeregisters by holder::another_client_can_neither_replace_nor_deregister_a_live_peer as a_deregistration_that_ignores_the_holder;
        RefusedPutRenews by holder::another_client_can_neither_replace_nor_deregister_a_live_peer as a_refused_registration_that_renews;
        TokenAlwaysNew by holder::a_presented_token_remains_valid as a_token_that_is_always_replaced;
        TokenNeverNew by holder::registering_without_the_token_replaces_the_token as a_token_that_is_never_replaced;
        AnyoneDeregistersDormant by holder::deregistering_a_dormant_peer_needs_proof as a_dormant_peer_that_anyone_deregisters;
        WrongTokenLocksOut by holder::a_wrong_token_counts_as_none_in_a_registration as a_wrong_token_that_locks_the_holder_out;
        IgnoresTokenOnly by token_only::only_its_token_replaces_renews_or_deregisters_a_live_token_only_peer as a_token_only_flag_that_is_ignored;
        ReservesNothing by token_only::a_token_only_name_is_reserved_for_three_leases_after_its_lease as a_token_only_name_that_is_not_reserved;
        AddressMakesTokenOnly by token_only::only_the_token_makes_a_live_registration_token_only as an_address_that_makes_a_name_token_only;
        KeepsNoSignatures by signed_cases::the_full_view_has_the_signed_registration as a_signature_that_is_not_kept;
        AcceptsAnyKey by signed_cases::only_the_key_of_a_name_replaces_it as a_key_that_is_not_checked;
        AcceptsOldRecords by signed_cases::only_a_record_with_a_higher_number_replaces_one as an_old_record_that_is_accepted;
        AddressSigns by signed_cases::the_first_signature_of_a_live_name_needs_its_token as an_address_that_signs;
        ForgetsHowLongHeld by signed_cases::a_name_stays_locked_for_as_long_as_it_was_held as a_lock_that_forgets_its_start;
        LeavesNoTombstone by signed_cases::a_deregistered_name_stays_locked_for_ten_minutes as a_deregistration_that_unlocks;
        RestartUnlocks by signed_cases::locks_and_records_survive_a_restart as a_restart_that_unlocks;
        TrustsPages by page::a_page_proves_nothing_by_its_address as a_page_that_proves_itself_by_its_address;
        ForgetsPages by page::a_page_is_the_holder_of_what_it_registered as a_page_that_is_forgotten;
        WrongTokenRenews by proof::a_wrong_token_is_refused_in_any_heartbeat as a_wrong_token_that_renews;
        WrongTokenRenews by proof::a_batch_renewal_checks_the_claim_of_each_peer as a_wrong_token_that_renews_in_a_batch;
        RefusedHeartbeatRenews by proof::a_refused_heartbeat_changes_nothing as a_refused_heartbeat_that_renews;
        NeverFreesNames by proof::anyone_may_replace_a_peer_after_12_leases_without_proof as a_name_that_strangers_hold_for_ever;
        NeverStoresProofs by proof::a_proven_heartbeat_protects_a_peer_for_another_12_leases as a_proof_that_is_not_stored;
        NeverStoresProofs by proof::a_proven_heartbeat_protects_a_peer_again_if_it_was_not_replaced as a_late_proof_that_is_not_stored;
        NeverStoresProofs by proof::the_token_proves_a_heartbeat_from_any_source as a_token_that_proves_nothing;
        NetworkProvesNothing by proof::a_heartbeat_from_the_24_or_48_of_the_holder_is_proven as a_network_that_proves_nothing;
        EveryHeartbeatProves by proof::a_heartbeat_from_the_24_or_48_of_the_holder_is_proven as a_stranger_whose_heartbeat_proves;
        TrustsPages by proof::a_heartbeat_of_a_page_is_proven_only_for_its_own_registration as a_page_whose_heartbeat_proves;
        StoresProofsWithLeases by proof::a_proof_is_stored_even_if_the_lease_needs_no_write as a_proof_that_is_stored_only_with_a_lease;
        UnboundedUnproven by unproven::unproven_heartbeats_of_one_source_keep_a_bounded_number_of_peers_alive as unproven_heartbeats_without_a_bound;
        UnboundedUnproven by unproven::a_batch_renewal_respects_the_bound_on_unproven_heartbeats as unproven_heartbeats_without_a_bound_in_a_batch;
        RefusesKeptPeers by unproven::a_source_at_its_bound_may_renew_the_peers_that_it_keeps_alive as a_kept_peer_that_is_refused;
        EveryHeartbeatIsBounded by unproven::a_proven_heartbeat_is_never_refused_for_a_bound as a_proven_heartbeat_that_is_bounded;
        BoundsUnprovenLoopback by unproven::loopback_is_exempt_from_the_bound_on_unproven_heartbeats as a_bound_on_unproven_heartbeats_from_loopback;
        ProofReleasesNothing by unproven::a_proven_heartbeat_releases_a_peer_from_the_unproven_bound as a_proof_that_releases_no_place;
        RegistrationReleasesNothing by unproven::a_registration_releases_a_peer_from_the_unproven_bound as a_registration_that_releases_no_place;
        LeaseEndReleasesNothing by unproven::the_end_of_a_lease_releases_a_peer_from_the_unproven_bound as a_lease_end_that_releases_no_place;
        IgnoresCase by values::ids_are_case_sensitive as ids_that_ignore_case;
        ReserializesMetadata by values::metadata_is_returned_byte_for_byte as metadata_that_is_reserialized;
        AlwaysFirstPage by sampling::every_peer_is_sampled_equally_often as a_sample_that_is_always_the_first_page;
        ConsecutivePeers by sampling::every_pair_of_peers_is_sampled_equally_often as a_sample_of_consecutive_peers;
        FavoursSeveralArchetypes by sampling::peers_with_several_of_the_archetypes_are_not_favoured as a_sample_that_favours_peers_with_several_archetypes;
        SamplesDormant by sampling::dormant_and_deregistered_peers_are_never_sampled as a_sample_that_counts_dormant_peers;
        IgnoresPageBytes by sampling::a_sample_stays_within_page_bytes as a_page_of_unbounded_size;
        IgnoresExclude by sampling::the_excluded_peer_is_neither_listed_nor_counted as an_excluded_peer_that_is_listed;
        NeverDiverse by diverse::half_of_a_diverse_sample_comes_from_different_networks as a_diverse_sample_that_is_uniform;
        OnlyNetworks by diverse::each_peer_keeps_half_of_its_uniform_rate_in_diverse_samples as a_diverse_sample_without_a_uniform_half;
        OnlyNetworks by diverse::a_diverse_sample_is_as_long_as_a_uniform_one as a_diverse_sample_that_is_short;
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
        BoundsRevivals by bounds::no_bound_refuses_a_revival as a_revival_that_a_bound_refuses;
        ZeroIsABound by bounds::a_source_bound_of_zero_is_no_bound as a_source_bound_of_zero_that_refuses;
        MembersMoveFreely by network::peers_per_ipv4_24_are_bounded as a_member_that_evades_the_network_bound;
        UnboundedNetworks by network::peers_per_ipv4_24_are_bounded as an_ipv4_24_without_a_bound;
        UnboundedNetworks by network::peers_per_ipv6_56_are_bounded as an_ipv6_56_without_a_bound;
        UnboundedSites by network::peers_per_ipv6_48_are_bounded as an_ipv6_48_without_a_bound;
        UnboundedHosts by address::a_host_is_bounded_whatever_the_port as a_host_without_a_bound;
        OneSourceTakesAll by address::one_source_takes_at_most_half_of_an_address_bound as a_source_that_takes_a_whole_address_bound;
        OneSourceTakesAll by address::one_source_takes_at_most_half_of_a_host_bound as a_source_that_takes_a_whole_host_bound;
        CountsLocalAddresses by address::local_addresses_are_not_counted as a_bound_on_private_addresses;
        CountsPortZero by address::peers_that_cannot_be_dialled_are_not_counted_at_their_address as a_bound_on_peers_that_cannot_be_dialled;
        CountsOwnAddress by address::a_peer_that_publishes_the_address_it_comes_from_is_never_refused_for_it as an_own_address_that_is_refused;
        CountsSpellings by address::all_forms_of_one_address_count_together as forms_of_an_address_that_count_separately;
        MembersGrowFreely by growth::a_member_that_adds_bytes_is_a_newcomer as a_member_that_evades_the_bound_on_bytes;
        MembersAddArchetypes by growth::a_member_that_adds_archetypes_is_a_newcomer as a_member_that_evades_the_bound_on_archetypes;
        RefusesKnownArchetypes by growth::a_registration_that_adds_no_archetype_is_never_refused_for_archetypes as a_newcomer_without_new_archetypes_that_is_refused;
        MembersMoveFreely by growth::a_member_from_another_source_is_a_newcomer_there as a_member_that_evades_the_source_bound;
        KnowsWithoutBound by known::at_most_twice_the_source_bound_of_peers_is_known as dormant_peers_of_a_source_without_a_bound;
        EvictsAnySource by known::a_newcomer_evicts_the_longest_dormant_peer_of_its_own_source as a_newcomer_that_evicts_peers_of_other_sources;
        EvictsNewest by known::a_newcomer_evicts_the_longest_dormant_peer_of_its_own_source as a_newcomer_that_evicts_the_newest_dormant_peer;
        ReplacementEvicts by known::registering_a_known_peer_again_evicts_no_peer as a_replacement_that_evicts;
        LeaseEndEvicts by known::the_end_of_a_lease_evicts_no_peer as a_lease_end_that_evicts;
        BoundsKnownLoopback by known::loopback_is_exempt_from_the_bound_on_known_peers as a_bound_on_known_peers_of_loopback;
        CountsDormant by census::a_census_counts_live_and_dormant_peers as a_census_that_counts_dormant_peers_as_live;
        ChecksThenActs by race::one_of_several_concurrent_registrations_of_an_unused_id_succeeds as a_put_that_is_not_atomic;
        HeartbeatNeverRevives by restart::a_network_recovers_from_an_outage_within_one_cadence
            as an_outage_without_revival;
        RestartLosesLease by restart::a_restart_gives_each_live_peer_one_full_lease as a_restart_that_ends_leases;
        ForgetsPages by restart::pages_and_token_only_names_are_recognized_after_a_restart as a_restart_without_the_page;
        RestartKeepsProof by restart::a_restart_counts_as_proof as a_restart_that_counts_as_no_proof;
        EvictsLiveOnly by operator::an_evicted_peer_is_unknown_and_its_name_is_free as a_dormant_peer_that_is_not_evicted;
        EvictsNoKeys by operator::evicting_a_key_deletes_its_peers_and_unlocks_their_names as a_key_that_is_not_evicted;
        EvictsFirstOnly by operator::evicting_a_source_deletes_the_peers_of_its_prefix as a_source_that_is_evicted_in_part;
        NamesNoLeftKeys by operator::the_key_that_locks_a_name_is_known_while_it_does as a_key_of_a_deregistered_peer_that_is_forgotten;
        ReplacesAnyBlocks by operator::the_list_of_blocks_is_replaced_only_in_its_version as a_list_of_blocks_that_is_overwritten;
        RestartForgetsBlocks by operator::the_list_of_blocks_survives_a_restart as a_restart_that_forgets_blocks;
        MailIsReadOnce by mail_cases::a_message_waits_until_it_is_acknowledged as a_message_that_is_read_once;
        MailNeverExpires by mail_cases::a_message_waits_for_a_minute as a_message_that_never_expires;
        MailForgetsSessions by mail_cases::a_session_is_refused_again_for_two_minutes as a_session_that_is_forgotten;
        MailRefusesNothing by mail_cases::a_mailbox_has_eight_messages_and_two_of_one_sender as a_mailbox_that_drops_messages;
        MailRefusesNothing by mail_cases::a_mailbox_has_sixteen_kibibytes as a_mailbox_that_drops_long_messages;
        MailForAll by mail_cases::a_message_waits_for_its_receiver_alone as a_mailbox_that_peers_share;
        MailOfAnySource by mail_cases::a_source_has_four_messages_in_a_mailbox as a_source_that_fills_a_mailbox;
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
        AnyoneDeregistersDormant by model::random_histories_agree_with_the_reference_model as a_dormant_peer_that_anyone_deregisters;
        IgnoresTokenOnly by model::random_histories_agree_with_the_reference_model as a_token_only_flag_that_is_ignored;
        ReservesNothing by model::random_histories_agree_with_the_reference_model as a_token_only_name_that_is_not_reserved;
        AddressMakesTokenOnly by model::random_histories_agree_with_the_reference_model as an_address_that_makes_a_name_token_only;
        KeepsNoSignatures by model::random_histories_agree_with_the_reference_model as a_signature_that_is_not_kept;
        AcceptsAnyKey by model::random_histories_agree_with_the_reference_model as a_key_that_is_not_checked;
        AcceptsOldRecords by model::random_histories_agree_with_the_reference_model as an_old_record_that_is_accepted;
        LeavesNoTombstone by model::random_histories_agree_with_the_reference_model as a_deregistration_that_unlocks;
        TrustsPages by model::random_histories_agree_with_the_reference_model as a_page_that_proves_itself_by_its_address;
        ForgetsPages by model::random_histories_agree_with_the_reference_model as a_page_that_is_forgotten;
        WrongTokenRenews by model::random_histories_agree_with_the_reference_model as a_wrong_token_that_renews;
        WrongTokenLocksOut by model::random_histories_agree_with_the_reference_model as a_wrong_token_that_locks_the_holder_out;
        RefusedHeartbeatRenews by model::random_histories_agree_with_the_reference_model as a_refused_heartbeat_that_renews;
        NeverFreesNames by model::random_histories_agree_with_the_reference_model as a_name_that_strangers_hold_for_ever;
        NeverStoresProofs by model::random_histories_agree_with_the_reference_model as a_proof_that_is_not_stored;
        NetworkProvesNothing by model::random_histories_agree_with_the_reference_model as a_network_that_proves_nothing;
        EveryHeartbeatProves by model::random_histories_agree_with_the_reference_model as a_stranger_whose_heartbeat_proves;
        IgnoresExclude by model::random_histories_agree_with_the_reference_model as an_excluded_peer_that_is_listed;
        SweepEvictsDormant by model::random_histories_agree_with_the_reference_model as a_sweep_that_deletes_dormant_peers;
        RestartLosesLease by model::random_histories_agree_with_the_reference_model as a_restart_that_ends_leases;
    }
}
