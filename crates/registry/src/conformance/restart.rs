//! A store that was closed and opened again.

use aurora_discovery_protocol::Timestamp;

use super::harness::{
    HOLDER_SOURCE, Harness, OTHER_SOURCE, PutRequestBuilder as _, TTL, TTL_AND_A_THIRD, all_peers, at,
    at_millis, claim_from, ids_of, peer, peers_with_any, renewed, token,
};
use super::{Restart, Subject};
use crate::{Enumeration, Limits, PutResult, Query, Removal, Renewal};

pub async fn registered_peers_survive_a_restart(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let registration = peer("p").with_archetypes(&["ética", "b"]).with_metadata(r#"{"n": 1e99}"#);
    harness.register(&registration.clone().with_archetypes(&["old"]), at(0)).await;
    harness.register(&registration, at(1)).await;
    harness.register(&peer("q"), at(1)).await;
    let Some(harness) = restarted(subject, harness, at(10)).await else { return };
    assert_eq!(harness.live(at(10)).await, ["p", "q"]);
    assert_eq!(ids_of(&harness.pages(&all_peers(), at(10)).await), ["p", "q"]);
    assert_eq!(harness.sample(&peers_with_any(&["old"]), at(10)).await.ids(), [""; 0]);
    let listed =
        harness.sample(&peers_with_any(&["ética"]), at(10)).await.peers.pop().expect("the peer is listed");
    assert_eq!(listed.metadata, registration.registration.metadata);
    assert_eq!(listed.archetypes, registration.registration.archetypes);
    harness.heartbeat("p", at(11)).await;
}

pub async fn deregistered_peers_stay_removed_after_a_restart(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", 3, &["a"], at(0)).await;
    assert_eq!(
        harness.remove("p1", &claim_from(HOLDER_SOURCE), at(1)).await,
        Removal::Removed { was_live: true }
    );
    let Some(harness) = restarted(subject, harness, at(2)).await else { return };
    assert_eq!(harness.live(at(2)).await, ["p0", "p2"]);
    assert_eq!(harness.renew("p1", at(2)).await, Renewal::Unknown);
    assert_eq!(
        harness.remove("p0", &claim_from(HOLDER_SOURCE), at(3)).await,
        Removal::Removed { was_live: true }
    );
    let Some(harness) = restarted(subject, harness, at(4)).await else { return };
    assert_eq!(harness.live(at(4)).await, ["p2"]);
}

pub async fn a_restart_gives_each_live_peer_one_full_lease(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p"), at(0)).await;
    harness.heartbeat("p", at(200)).await;
    let back = 10 * TTL;
    let Some(harness) = restarted(subject, harness, at(back)).await else { return };
    if harness.guarantees.restart == Restart::LeasesContinue {
        assert_eq!(harness.live(at(back)).await, [""; 0]);
        return;
    }
    assert_eq!(harness.live(at_millis((back + TTL) * 1_000 - 1)).await, ["p"]);
    assert_eq!(harness.live(at(back + TTL_AND_A_THIRD)).await, [""; 0]);
    let renewal = harness.renew("p", at(back + TTL_AND_A_THIRD)).await;
    assert!(matches!(renewal, Renewal::Renewed { revived: true, .. }));
}

pub async fn the_holder_is_recognized_after_a_restart(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    harness.register(&peer("six").with_source("2001:db8:1:2::3"), at(0)).await;
    let Some(harness) = restarted(subject, harness, at(1)).await else { return };
    let other_client = peer("p").with_source(OTHER_SOURCE);
    assert!(matches!(harness.put(&other_client, at(2)).await, PutResult::Held(_)));
    assert!(harness.register(&other_client.with_token(token(1)), at(2)).await);
    harness.register(&peer("six").with_source("2001:db8:1:2::4"), at(2)).await;
}

pub async fn pages_and_token_only_names_are_recognized_after_a_restart(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let page = "https://app.example";
    harness.register(&peer("page").with_page(page), at(0)).await;
    harness.register(&peer("token-only").with_new_token(token(1)).with_token_only(), at(0)).await;
    let Some(harness) = restarted(subject, harness, at(1)).await else { return };
    let other_page = peer("page").with_page("https://other.example");
    assert!(matches!(harness.put(&other_page, at(2)).await, PutResult::Held(_)));
    harness.register(&peer("page").with_page(page), at(2)).await;
    assert!(matches!(harness.put(&peer("token-only"), at(2)).await, PutResult::Held(_)));
    assert!(matches!(harness.renew("token-only", at(2)).await, Renewal::Held(_)));
    assert!(harness.register(&peer("token-only").with_token(token(1)), at(2)).await);
}

pub async fn a_restart_counts_as_proof(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p"), at(0)).await;
    let stranger = claim_from(OTHER_SOURCE);
    let back = 3_000;
    for second in (100..back).step_by(100) {
        assert_eq!(harness.renew_as("p", &stranger, at(second)).await, renewed(300, false, at(0)));
    }
    let Some(harness) = restarted(subject, harness, at(back)).await else { return };
    // Opening the store counts as a proof, unless other processes served the peers in the meantime.
    let proven = if harness.guarantees.restart == Restart::LeasesRenewed { back } else { 0 };
    for second in (back..proven + 12 * TTL).step_by(100) {
        assert_eq!(harness.renew_as("p", &stranger, at(second)).await, renewed(300, false, at(0)));
    }
    let (end, taker) = (proven + 12 * TTL, peer("p").with_source("192.0.2.200"));
    let early = harness.put(&taker, at_millis(end * 1_000 - 1)).await;
    assert!(matches!(early, PutResult::Held(_)), "{early:?}");
    harness.register(&taker, at(end)).await;
}

pub async fn an_enumeration_continues_or_has_expired_after_a_restart(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", 4, &["a"], at(0)).await;
    let query = Query { limit: 2, ..peers_with_any(&["a"]) };
    let (first, next) = harness.enumerate(&query, None, at(0)).await;
    let Some(harness) = restarted(subject, harness, at(1)).await else { return };
    match harness.store.enumerate(&query, next.as_ref(), at(1)).await {
        Ok(Enumeration::Page(page, None)) => assert_eq!(first.peers.len() + page.peers.len(), 4),
        Ok(Enumeration::Expired) => {}
        other => panic!("the position is from this store: {other:?}"),
    }
}

/// Closes the store and opens it again at `now`. Returns `None` if the store keeps nothing, after
/// checking that it is empty.
async fn restarted(subject: &dyn Subject, harness: Harness, now: Timestamp) -> Option<Harness> {
    harness.store.close().await.expect("close does not fail");
    let guarantees = harness.guarantees;
    drop(harness.store);
    let store = subject.open(&Limits::default(), now).await;
    let keeps = guarantees.restart != Restart::Empty;
    let harness = Harness { store, guarantees };
    if keeps {
        return Some(harness);
    }
    assert_eq!(harness.live(now).await, [""; 0]);
    None
}

/// The interval at which legacy clients send heartbeats, in seconds, whatever interval the service
/// requests.
const CADENCE: u64 = 30;
/// The number of peers in a network that goes through an outage.
const MEMBERS: u32 = 60;

pub async fn a_network_recovers_from_an_outage_within_one_cadence(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let names = harness.register_many("p", MEMBERS, &["a"], at(0)).await;
    let last = send_heartbeats(&harness, &names, 0).await;
    let back = last + 2 * TTL;
    assert_eq!(harness.live(at(back)).await, [""; 0], "all leases ended during the outage");
    send_heartbeats(&harness, &names, back).await;
    assert_complete(&harness, &names, back + CADENCE).await;
}

pub async fn a_network_recovers_from_a_late_restart_within_one_cadence(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let names = harness.register_many("p", MEMBERS, &["a"], at(0)).await;
    let back = send_heartbeats(&harness, &names, 0).await + 2 * TTL;
    let Some(harness) = restarted(subject, harness, at(back)).await else { return };
    send_heartbeats(&harness, &names, back).await;
    assert_complete(&harness, &names, back + CADENCE).await;
}

/// Sends one heartbeat for each peer, spread evenly over one cadence. None may fail. Returns the
/// time at the end of the cadence.
async fn send_heartbeats(harness: &Harness, names: &[String], from: u64) -> u64 {
    let spread = u64::from(MEMBERS);
    for (phase, name) in (0..).zip(names) {
        let renewal = harness.renew(name, at_millis(from * 1_000 + phase * CADENCE * 1_000 / spread)).await;
        assert!(matches!(renewal, Renewal::Renewed { .. }), "the heartbeat of {name} got {renewal:?}");
    }
    from + CADENCE
}

async fn assert_complete(harness: &Harness, names: &[String], now: u64) {
    assert_eq!(harness.live(at(now)).await, names);
    assert_eq!(harness.sample(&peers_with_any(&["a"]), at(now)).await.ids(), names);
}
