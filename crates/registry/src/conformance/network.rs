//! Bounds on the peers of one network. They are needed because a provider may assign many sources
//! to one client.

use super::Subject;
use super::harness::{
    Harness, PutRequestBuilder as _, TTL_AND_A_THIRD, at, claim_from, claim_with, peer, token,
};
use crate::{ExceededLimit, Limits, PutRequest, PutResult, Removal};

const LIMITS: fn() -> Limits =
    || Limits { max_peers_per_network: 2, max_peers_per_site: 4, ..Limits::default() };

fn peer_at(source: &str) -> PutRequest {
    peer(source).with_source(source).with_new_token(token(1))
}

async fn within_networks(subject: &dyn Subject) -> Option<Harness> {
    let harness = Harness::within(subject, &LIMITS()).await;
    harness.guarantees.bounds.networks.then_some(harness)
}

pub async fn peers_per_ipv4_24_are_bounded(subject: &dyn Subject) {
    let Some(harness) = within_networks(subject).await else { return };
    for source in ["203.0.113.1", "203.0.113.2", "203.0.112.255", "203.0.114.0"] {
        harness.register(&peer_at(source), at(0)).await;
    }
    let newcomer = peer_at("203.0.113.3");
    assert_eq!(harness.put(&newcomer, at(1)).await, PutResult::Full(ExceededLimit::Network));
    harness.register(&peer_at("203.0.113.1").with_archetypes(&["member"]), at(1)).await;
    let from_the_third = claim_with(token(1), "203.0.113.3");
    let moved = |name: &str| PutRequest { claim: from_the_third, ..peer_at(name) };
    harness.register(&moved("203.0.113.2"), at(1)).await;
    let refused = harness.put(&moved("203.0.112.255"), at(1)).await;
    assert_eq!(refused, PutResult::Full(ExceededLimit::Network), "a member of another network");
    let removal = harness.remove("203.0.113.1", &claim_from("203.0.113.1"), at(2)).await;
    assert_eq!(removal, Removal::Removed { was_live: true });
    harness.register(&newcomer, at(2)).await;
    let another = peer_at("203.0.113.4");
    assert_eq!(harness.put(&another, at(2)).await, PutResult::Full(ExceededLimit::Network));
    harness.register(&another, at(2 + TTL_AND_A_THIRD)).await;
}

pub async fn peers_per_ipv6_56_are_bounded(subject: &dyn Subject) {
    let Some(harness) = within_networks(subject).await else { return };
    for source in ["2001:db8:1::1", "2001:db8:1:ff::1", "2001:db8:1:100::1"] {
        harness.register(&peer_at(source), at(0)).await;
    }
    let newcomer = peer_at("2001:db8:1:80::1");
    assert_eq!(harness.put(&newcomer, at(1)).await, PutResult::Full(ExceededLimit::Network));
}

pub async fn peers_per_ipv6_48_are_bounded(subject: &dyn Subject) {
    let Some(harness) = within_networks(subject).await else { return };
    for n in 1..=4 {
        harness.register(&peer_at(&format!("2001:db8:1:{n}00::1")), at(0)).await;
    }
    let newcomer = peer_at("2001:db8:1:500::1");
    assert_eq!(harness.put(&newcomer, at(1)).await, PutResult::Full(ExceededLimit::Site));
    harness.register(&peer_at("2001:db8:2:500::1"), at(1)).await;
}
