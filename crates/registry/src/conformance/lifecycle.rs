//! The states of a peer: live, dormant and unknown.

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, OTHER_SOURCE, PutRequestBuilder as _, TTL, TTL_AND_A_THIRD, WINDOW, all_peers,
    at, at_millis, claim_from, id, ids_of, peer, peers_with_any, renewed,
};
use crate::{PutResult, Query, Removal, Renewal, StoreError, Swept};
use aurora_discovery_protocol::View;

pub async fn a_new_store_is_healthy_and_empty(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    assert_eq!(harness.store.health().await, Ok(()));
    assert_eq!(harness.live(at(0)).await, [""; 0]);
    assert_eq!(harness.sample(&all_peers(), at(0)).await.total.value(), 0);
    assert_eq!(harness.census(10, at(0)).await, crate::Census::default());
}

pub async fn a_registered_peer_is_listed_at_once(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_archetypes(&["a"]), at(0)).await;
    assert_eq!(harness.live(at(0)).await, ["p"]);
    assert_eq!(harness.sample(&peers_with_any(&["a"]), at(0)).await.ids(), ["p"]);
    assert_eq!(ids_of(&harness.pages(&all_peers(), at(0)).await), ["p"]);
}

pub async fn registering_again_replaces_the_whole_registration(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let first =
        peer("p").with_archetypes(&["old", "both"]).with_address("10.0.0.1", 1).with_metadata(r#"{"old":1}"#);
    let second = peer("p").with_archetypes(&["both", "new"]).with_address("10.0.0.2", 2);
    harness.register(&first, at(0)).await;
    harness.register(&second, at(1)).await;
    assert_eq!(harness.sample(&peers_with_any(&["old"]), at(1)).await.ids(), [""; 0]);
    for archetype in ["both", "new"] {
        assert_eq!(harness.sample(&peers_with_any(&[archetype]), at(1)).await.ids(), ["p"]);
    }
    let listed = harness.find("p", at(1)).await.expect("the peer is listed");
    assert_eq!((listed.address, listed.port), (second.registration.address, 2));
    assert_eq!(listed.metadata, second.registration.metadata);
    assert_eq!(harness.sample(&all_peers(), at(1)).await.total.value(), 1);
}

pub async fn registering_again_starts_a_new_lease_even_a_shorter_one(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_ttl(3_000), at(0)).await;
    harness.register(&peer("p").with_ttl(30), at(10)).await;
    assert_eq!(harness.live(at_millis(39_999)).await, ["p"]);
    assert_eq!(harness.live(at(50)).await, [""; 0]);
    let renewal = harness.renew("p", at(50)).await;
    assert_eq!(renewal, renewed(30, true, at(10)));
}

pub async fn a_lease_lasts_its_ttl_and_at_most_a_third_longer(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_archetypes(&["a"]), at(0)).await;
    let query = peers_with_any(&["a"]);
    assert_eq!(harness.live(at_millis(TTL * 1_000 - 1)).await, ["p"]);
    assert_eq!(harness.sample(&query, at_millis(TTL * 1_000 - 1)).await.ids(), ["p"]);
    assert_eq!(harness.live(at(TTL_AND_A_THIRD)).await, [""; 0]);
    assert_eq!(harness.sample(&query, at(TTL_AND_A_THIRD)).await.ids(), [""; 0]);
    assert_eq!(ids_of(&harness.pages(&query, at(TTL_AND_A_THIRD)).await), [""; 0]);
}

pub async fn a_lease_ends_exactly_at_the_reported_time(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p"), at(0)).await;
    harness.heartbeat("p", at_millis(7_001)).await;
    let end = harness.lease_end("p", at(8)).await;
    assert_eq!(harness.live(end.minus_millis(1)).await, ["p"]);
    assert_eq!(harness.lease_end("p", end.minus_millis(1)).await, end);
    assert_eq!(harness.live(end).await, [""; 0]);
    harness.register(&peer("p").with_source(OTHER_SOURCE), end).await;
}

pub async fn a_heartbeat_renews_the_lease_for_the_granted_ttl(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_ttl(60), at(0)).await;
    assert_eq!(harness.renew("p", at(59)).await, renewed(60, false, at(0)));
    assert_eq!(harness.live(at_millis(118_999)).await, ["p"]);
    assert_eq!(harness.live(at(59 + 80)).await, [""; 0]);
}

pub async fn a_peer_stays_live_while_it_sends_heartbeats(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p"), at(0)).await;
    for round in 1..=40 {
        harness.heartbeat("p", at(round * 100)).await;
        assert_eq!(harness.live(at(round * 100)).await, ["p"]);
    }
    assert_eq!(harness.live(at_millis((4_000 + TTL) * 1_000 - 1)).await, ["p"]);
    assert_eq!(harness.live(at(4_000 + TTL_AND_A_THIRD)).await, [""; 0]);
}

pub async fn a_heartbeat_never_creates_a_peer(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    assert_eq!(harness.renew("p", at(0)).await, Renewal::Unknown);
    assert_eq!(harness.live(at(0)).await, [""; 0]);
    assert_eq!(harness.renew("p", at(1)).await, Renewal::Unknown);
}

pub async fn a_dormant_peer_is_neither_listed_nor_counted(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("dormant").with_archetypes(&["a"]).with_ttl(60), at(0)).await;
    harness.register(&peer("p").with_archetypes(&["a"]), at(0)).await;
    for query in [all_peers(), peers_with_any(&["a"]), peers_with_any(&["a", "b"])] {
        let listing = harness.sample(&query, at(80)).await;
        assert_eq!((listing.ids(), listing.total.value()), (vec!["p".to_owned()], 1));
        let pages = harness.pages(&query, at(80)).await;
        assert_eq!((ids_of(&pages), pages[0].total.value()), (vec!["p".to_owned()], 1));
    }
}

pub async fn a_heartbeat_revives_a_dormant_peer(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let registration = peer("p").with_archetypes(&["a"]).with_metadata(r#"{"n":1}"#);
    harness.register(&registration, at(0)).await;
    let hours_later = 8 * 3_600;
    assert_eq!(harness.live(at(hours_later)).await, [""; 0]);
    assert_eq!(harness.renew("p", at(hours_later)).await, renewed(300, true, at(0)));
    let listed = harness
        .sample(&peers_with_any(&["a"]), at(hours_later))
        .await
        .peers
        .pop()
        .expect("the peer is listed");
    assert_eq!(listed.metadata, registration.registration.metadata);
    assert_eq!(harness.live(at_millis((hours_later + TTL) * 1_000 - 1)).await, ["p"]);
    assert_eq!(harness.live(at(hours_later + TTL_AND_A_THIRD)).await, [""; 0]);
}

pub async fn a_dormant_peer_is_unknown_after_the_revival_window(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for name in ["early", "late", "left"] {
        harness.register(&peer(name), at(0)).await;
    }
    let unknown_from = harness.lease_end("early", at(0)).await.plus_millis(WINDOW * 1_000);
    let renewal = harness.renew("early", unknown_from.minus_millis(1)).await;
    assert!(matches!(renewal, Renewal::Renewed { revived: true, .. }));
    assert_eq!(harness.renew("late", unknown_from).await, Renewal::Unknown);
    assert_eq!(harness.remove("left", &claim_from(HOLDER_SOURCE), unknown_from).await, Removal::Unknown);
    assert_eq!(harness.live(unknown_from).await, ["early"]);
}

pub async fn a_peer_can_be_revived_repeatedly(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p"), at(0)).await;
    for day in 1..=5 {
        let renewal = harness.renew("p", at(day * WINDOW)).await;
        assert!(matches!(renewal, Renewal::Renewed { revived: true, .. }), "day {day}");
    }
}

pub async fn a_deregistered_peer_is_unknown(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_archetypes(&["a"]), at(0)).await;
    assert_eq!(
        harness.remove("p", &claim_from(HOLDER_SOURCE), at(1)).await,
        Removal::Removed { was_live: true }
    );
    assert_eq!(harness.live(at(1)).await, [""; 0]);
    assert_eq!(harness.sample(&peers_with_any(&["a"]), at(1)).await.ids(), [""; 0]);
    assert_eq!(harness.remove("p", &claim_from(HOLDER_SOURCE), at(1)).await, Removal::Unknown);
    assert_eq!(harness.renew("p", at(1)).await, Renewal::Unknown);
    assert_eq!(harness.renew("p", at(TTL * 2)).await, Renewal::Unknown);
}

pub async fn a_deregistered_peer_can_register_again(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for round in 0..5 {
        harness.register(&peer("p").with_archetypes(&["a"]), at(round * 10)).await;
        assert_eq!(harness.sample(&peers_with_any(&["a"]), at(round * 10)).await.ids(), ["p"]);
        assert_eq!(
            harness.remove("p", &claim_from(HOLDER_SOURCE), at(round * 10 + 5)).await,
            Removal::Removed { was_live: true }
        );
        assert_eq!(harness.sample(&peers_with_any(&["a"]), at(round * 10 + 5)).await.ids(), [""; 0]);
    }
}

pub async fn any_client_can_replace_a_dormant_peer(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_archetypes(&["old"]), at(0)).await;
    let other_client = peer("p").with_source(OTHER_SOURCE).with_archetypes(&["new"]);
    harness.register(&other_client, at(TTL_AND_A_THIRD)).await;
    let now = at(TTL_AND_A_THIRD);
    assert_eq!(harness.sample(&peers_with_any(&["new"]), now).await.ids(), ["p"]);
    assert_eq!(harness.sample(&peers_with_any(&["old"]), now).await.ids(), [""; 0]);
    assert!(matches!(harness.put(&peer("p"), now).await, PutResult::Held(_)));
}

pub async fn a_clock_that_steps_back_does_not_shorten_a_lease(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_archetypes(&["a"]), at(100)).await;
    harness.sweep(at(100)).await;
    harness.heartbeat("p", at(95)).await;
    assert_eq!(harness.live(at(96)).await, ["p"]);
    assert_eq!(harness.sample(&peers_with_any(&["a"]), at_millis(399_999)).await.ids(), ["p"]);
    assert_eq!(harness.live(at(100 + TTL_AND_A_THIRD)).await, [""; 0]);
}

pub async fn last_seen_is_the_time_of_registration_or_revival(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let seen = async |now| {
        let peer = harness.find("p", now).await.expect("the peer is listed");
        peer.last_seen.expect("the legacy view has it").as_secs()
    };
    harness.register(&peer("p"), at(0)).await;
    assert_eq!(seen(at(5)).await, at(0).as_secs());
    harness.register(&peer("p"), at(10)).await;
    assert_eq!(seen(at(15)).await, at(10).as_secs());
    harness.heartbeat("p", at(100)).await;
    // A store may skip writing a renewal, which then does not change `last_seen`.
    assert!((at(10).as_secs()..=at(100).as_secs()).contains(&seen(at(100)).await));
    harness.renew("p", at(3_600)).await;
    assert_eq!(seen(at(3_605)).await, at(3_600).as_secs());
}

pub async fn the_full_view_reports_the_age_and_the_remaining_lease(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let full = Query { view: View::Full, ..all_peers() };
    harness.register(&peer("p"), at(0)).await;
    harness.heartbeat("p", at(40)).await;
    let listed = harness.sample(&full, at(50)).await.peers.pop().expect("the peer is listed");
    assert_eq!(listed.registered_seconds_ago, Some(50));
    let expires_in = listed.expires_in_seconds.expect("the full view contains it");
    assert!((TTL - 10..=TTL_AND_A_THIRD).contains(&expires_in), "{expires_in}");
    harness.register(&peer("p"), at(60)).await;
    let paged = harness.pages(&full, at(60)).await.remove(0).peers.pop().expect("the peer is listed");
    assert_eq!(paged.registered_seconds_ago, Some(0));
}

pub async fn a_sweep_does_not_change_any_response(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_archetypes(&["a"]), at(0)).await;
    let end = harness.lease_end("p", at(0)).await;
    harness.sweep(end.minus_millis(1)).await;
    assert_eq!(harness.sample(&peers_with_any(&["a"]), end.minus_millis(1)).await.ids(), ["p"]);
    let unknown_from = end.plus_millis(WINDOW * 1_000);
    for now in [end, unknown_from.minus_millis(1)] {
        harness.sweep(now).await;
        assert_eq!(harness.live(now).await, [""; 0]);
    }
    let renewal = harness.renew("p", unknown_from.minus_millis(1)).await;
    assert!(matches!(renewal, Renewal::Renewed { revived: true, .. }));
    let later = at(5 * WINDOW);
    harness.sweep(later).await;
    assert_eq!(harness.renew("p", later).await, Renewal::Unknown);
}

pub async fn a_second_sweep_finds_nothing_to_do(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", 20, &["a"], at(0)).await;
    for now in [at(TTL_AND_A_THIRD), at(TTL_AND_A_THIRD + WINDOW)] {
        harness.sweep(now).await;
        assert_eq!(harness.sweep(now).await, Swept::default());
    }
}

pub async fn a_closed_store_is_unavailable(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p"), at(0)).await;
    harness.store.close().await.expect("close does not fail");
    let errors = [
        harness.store.put(peer("q"), at(1)).await.err(),
        harness.store.renew(&id("p"), &claim_from(HOLDER_SOURCE), at(1)).await.err(),
        harness.store.remove(&id("p"), &claim_from(HOLDER_SOURCE), at(1)).await.err(),
        harness.store.sample(&all_peers(), at(1)).await.err(),
        harness.store.enumerate(&all_peers(), None, at(1)).await.err(),
        harness.store.census(1, at(1)).await.err(),
    ];
    for error in errors {
        assert!(matches!(error, Some(StoreError::Unavailable { .. })), "{error:?}");
    }
}

pub async fn a_batch_renewal_returns_one_result_per_peer(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("live").with_ttl(3_000), at(0)).await;
    harness.register(&peer("dormant"), at(0)).await;
    harness.register(&peer("left"), at(0)).await;
    harness.remove("left", &claim_from(HOLDER_SOURCE), at(1)).await;
    let now = at(TTL_AND_A_THIRD);
    let peers = ["dormant", "unknown", "live", "left"].map(|name| (id(name), claim_from(HOLDER_SOURCE)));
    let renewals = harness.store.renew_many(&peers, now).await;
    let renewed = |seconds, revived| Ok(renewed(seconds, revived, at(0)));
    let unknown = Ok(Renewal::Unknown);
    assert_eq!(renewals, [renewed(300, true), unknown.clone(), renewed(3_000, false), unknown]);
    assert_eq!(harness.live(at_millis((TTL_AND_A_THIRD + TTL) * 1_000 - 1)).await, ["dormant", "live"]);
    assert_eq!(harness.store.renew_many(&[], now).await, []);
}

pub async fn a_batch_renewal_renews_a_hundred_peers(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let names = harness.register_many("p", 100, &[], at(0)).await;
    let peers: Vec<_> = names.iter().map(|name| (id(name), claim_from(HOLDER_SOURCE))).collect();
    for round in 1..=4 {
        let renewals = harness.store.renew_many(&peers, at(round * 100)).await;
        let renewed = Ok(renewed(300, false, at(0)));
        assert!(renewals.iter().all(|renewal| *renewal == renewed), "{renewals:?}");
        assert_eq!(renewals.len(), 100);
    }
    assert_eq!(harness.live(at_millis((400 + TTL) * 1_000 - 1)).await, names);
}
