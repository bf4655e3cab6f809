//! The bound on the peers that the unproven heartbeats of one source keep alive.

use super::Subject;
use super::harness::{
    Harness, OTHER_SOURCE, PutRequestBuilder as _, TTL_AND_A_THIRD, at, claim_from, claim_with, id, peer,
    renewed, token,
};
use crate::{Claim, Limits, PutRequest, Renewal};

/// A time, in seconds, at which a store cannot skip the write of a heartbeat. A lease of 300 s that
/// began at 0 ends at 400 s at the latest, and a heartbeat at this time must extend it to 500 s.
const LATE: u64 = 200;

/// Peer `n`, from a network of its own.
fn member(n: u8) -> PutRequest {
    peer(&format!("p{n}")).with_source(&format!("203.0.{n}.1")).with_new_token(token(1))
}

fn stranger() -> Claim {
    claim_from(OTHER_SOURCE)
}

/// Opens a store in which one source may keep two peers alive, with peers 0 to 3. A stranger keeps
/// the first two alive.
async fn with_two_peers_kept_by_a_stranger(subject: &dyn Subject) -> Option<Harness> {
    let harness = Harness::within(subject, &Limits { max_peers_per_source: 2, ..Limits::default() }).await;
    if !harness.guarantees.bounds.unproven {
        return None;
    }
    for n in 0..4 {
        harness.register(&member(n), at(0)).await;
    }
    for name in ["p0", "p1"] {
        assert_eq!(harness.renew_as(name, &stranger(), at(LATE)).await, renewed(300, false, at(0)));
    }
    Some(harness)
}

pub async fn unproven_heartbeats_of_one_source_keep_a_bounded_number_of_peers_alive(subject: &dyn Subject) {
    let Some(harness) = with_two_peers_kept_by_a_stranger(subject).await else { return };
    let end = harness.lease_end("p2", at(LATE)).await;
    assert_eq!(harness.renew_as("p2", &stranger(), at(LATE)).await, Renewal::UnprovenLimit);
    assert_eq!(harness.lease_end("p2", at(LATE)).await, end, "a refused heartbeat changes nothing");
    let another = claim_from("192.0.2.1");
    assert_eq!(harness.renew_as("p3", &another, at(LATE)).await, renewed(300, false, at(0)));
    assert_eq!(harness.live(at(TTL_AND_A_THIRD)).await, ["p0", "p1", "p3"]);
}

pub async fn a_source_at_its_bound_may_renew_the_peers_that_it_keeps_alive(subject: &dyn Subject) {
    let Some(harness) = with_two_peers_kept_by_a_stranger(subject).await else { return };
    for round in 1..5 {
        for name in ["p0", "p1"] {
            let renewal = harness.renew_as(name, &stranger(), at(LATE + 200 * round)).await;
            assert_eq!(renewal, renewed(300, false, at(0)));
        }
    }
    assert_eq!(harness.live(at(LATE + 1_000)).await, ["p0", "p1"]);
}

pub async fn a_batch_renewal_respects_the_bound_on_unproven_heartbeats(subject: &dyn Subject) {
    let Some(harness) = with_two_peers_kept_by_a_stranger(subject).await else { return };
    let with_token = claim_with(token(1), OTHER_SOURCE);
    let peers = [("p0", stranger()), ("p2", stranger()), ("p3", with_token)];
    let peers = peers.map(|(name, claim)| (id(name), claim));
    let renewals = harness.store.renew_many(&peers, at(LATE + 50)).await;
    let renewed = Ok(renewed(300, false, at(0)));
    assert_eq!(renewals, [renewed.clone(), Ok(Renewal::UnprovenLimit), renewed]);
}

pub async fn a_proven_heartbeat_is_never_refused_for_a_bound(subject: &dyn Subject) {
    let Some(harness) = with_two_peers_kept_by_a_stranger(subject).await else { return };
    let with_token = claim_with(token(1), OTHER_SOURCE);
    for (name, claim) in [("p2", with_token), ("p3", claim_from("203.0.3.1"))] {
        assert_eq!(harness.renew_as(name, &claim, at(LATE)).await, renewed(300, false, at(0)));
    }
}

pub async fn loopback_is_exempt_from_the_bound_on_unproven_heartbeats(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers_per_source: 2, ..Limits::default() }).await;
    for n in 0..5 {
        harness.register(&member(n), at(0)).await;
    }
    for n in 0..5 {
        for loopback in ["127.0.0.1", "::1"] {
            let renewal = harness.renew_as(&format!("p{n}"), &claim_from(loopback), at(LATE)).await;
            assert_eq!(renewal, renewed(300, false, at(0)));
        }
    }
}

/// Asserts that the stranger may keep exactly one more peer alive.
async fn assert_one_more_peer_can_be_kept_alive(harness: &Harness, second: u64) {
    assert_eq!(harness.renew_as("p2", &stranger(), at(second)).await, renewed(300, false, at(0)));
    assert_eq!(harness.renew_as("p3", &stranger(), at(second)).await, Renewal::UnprovenLimit);
}

pub async fn a_proven_heartbeat_releases_a_peer_from_the_unproven_bound(subject: &dyn Subject) {
    let Some(harness) = with_two_peers_kept_by_a_stranger(subject).await else { return };
    assert_eq!(
        harness.renew_as("p0", &claim_from("203.0.0.1"), at(LATE + 1)).await,
        renewed(300, false, at(0))
    );
    assert_one_more_peer_can_be_kept_alive(&harness, LATE + 2).await;
}

pub async fn a_registration_releases_a_peer_from_the_unproven_bound(subject: &dyn Subject) {
    let Some(harness) = with_two_peers_kept_by_a_stranger(subject).await else { return };
    harness.register(&member(0), at(LATE + 1)).await;
    assert_one_more_peer_can_be_kept_alive(&harness, LATE + 2).await;
}

pub async fn a_deregistration_releases_a_peer_from_the_unproven_bound(subject: &dyn Subject) {
    let Some(harness) = with_two_peers_kept_by_a_stranger(subject).await else { return };
    harness.remove("p0", &claim_from("203.0.0.1"), at(LATE + 1)).await;
    assert_one_more_peer_can_be_kept_alive(&harness, LATE + 2).await;
}

pub async fn the_end_of_a_lease_releases_a_peer_from_the_unproven_bound(subject: &dyn Subject) {
    let Some(harness) = with_two_peers_kept_by_a_stranger(subject).await else { return };
    let now = at(LATE + TTL_AND_A_THIRD);
    for n in 4..7 {
        harness.register(&member(n).with_ttl(900), at(LATE)).await;
    }
    for name in ["p4", "p5"] {
        assert_eq!(harness.renew_as(name, &stranger(), now).await, renewed(900, false, at(LATE)));
    }
    assert_eq!(harness.renew_as("p6", &stranger(), now).await, Renewal::UnprovenLimit);
}
