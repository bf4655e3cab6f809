//! Bounds: a store that has reached a bound rejects newcomers, but never members.

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, OTHER_SOURCE, PutRequestBuilder as _, TTL_AND_A_THIRD, all_peers, at, claim_from,
    peer, renewed,
};
use crate::{ExceededLimit, Limits, PutResult, Removal, Renewal};

pub async fn a_full_registry_refuses_newcomers_but_never_members(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers: 3, ..Limits::default() }).await;
    if !harness.guarantees.bounds.peers {
        return;
    }
    harness.register_many("p", 3, &[], at(0)).await;
    assert_eq!(harness.put(&peer("newcomer"), at(1)).await, PutResult::Full(ExceededLimit::Peers));
    assert_eq!(harness.renew("newcomer", at(1)).await, Renewal::Unknown);
    harness.register(&peer("p1").with_archetypes(&["a"]), at(1)).await;
    harness.heartbeat("p2", at(1)).await;
    assert_eq!(harness.live(at(1)).await, ["p0", "p1", "p2"]);
    assert_eq!(
        harness.remove("p0", &claim_from(HOLDER_SOURCE), at(2)).await,
        Removal::Removed { was_live: true }
    );
    harness.register(&peer("newcomer"), at(2)).await;
}

pub async fn dormant_peers_are_evicted_for_newcomers(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers: 3, ..Limits::default() }).await;
    if !harness.guarantees.bounds.peers {
        return;
    }
    harness.register_many("p", 3, &["a"], at(0)).await;
    for live in ["p0", "p2"] {
        harness.heartbeat(live, at(250)).await;
    }
    harness.register(&peer("newcomer"), at(TTL_AND_A_THIRD)).await;
    assert_eq!(harness.live(at(TTL_AND_A_THIRD)).await, ["newcomer", "p0", "p2"]);
    assert_eq!(harness.renew("p1", at(TTL_AND_A_THIRD)).await, Renewal::Unknown);
    assert_eq!(
        harness.put(&peer("another"), at(TTL_AND_A_THIRD)).await,
        PutResult::Full(ExceededLimit::Peers)
    );
}

pub async fn the_total_size_of_registrations_is_bounded(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_bytes: 64 << 10, ..Limits::default() }).await;
    if !harness.guarantees.bounds.bytes {
        return;
    }
    let large = |name: &str| peer(name).with_metadata(&format!("{{\"x\":\"{}\"}}", "x".repeat(4_000)));
    let mut stored = 0;
    let result = loop {
        match harness.put(&large(&format!("p{stored}")), at(0)).await {
            PutResult::Stored { .. } => stored += 1,
            full => break full,
        }
        assert!(stored < 17, "sixteen of these fill 64 KiB");
    };
    assert_eq!(result, PutResult::Full(ExceededLimit::Bytes));
    assert!(stored >= 8, "the overhead of a store is smaller than the registration itself");
    harness.register(&large("p0").with_archetypes(&["member"]), at(1)).await;
    harness.heartbeat("p1", at(1)).await;
    harness.register(&large("newcomer"), at(1 + TTL_AND_A_THIRD)).await;
}

pub async fn peers_per_source_are_bounded(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers_per_source: 2, ..Limits::default() }).await;
    if !harness.guarantees.bounds.sources {
        return;
    }
    harness.register_many("p", 2, &[], at(0)).await;
    assert_eq!(harness.put(&peer("newcomer"), at(1)).await, PutResult::Full(ExceededLimit::Source));
    harness.register(&peer("p1").with_archetypes(&["a"]), at(1)).await;
    harness.register(&peer("elsewhere").with_source(OTHER_SOURCE), at(1)).await;
    assert_eq!(
        harness.remove("p0", &claim_from(HOLDER_SOURCE), at(2)).await,
        Removal::Removed { was_live: true }
    );
    harness.register(&peer("newcomer"), at(2)).await;
    assert_eq!(harness.put(&peer("another"), at(2)).await, PutResult::Full(ExceededLimit::Source));
    harness.register(&peer("another"), at(2 + TTL_AND_A_THIRD)).await;
}

pub async fn ipv6_addresses_of_one_64_are_one_source(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers_per_source: 2, ..Limits::default() }).await;
    if !harness.guarantees.bounds.sources {
        return;
    }
    harness.register(&peer("p0").with_source("2001:db8:1:2::1"), at(0)).await;
    harness.register(&peer("p1").with_source("2001:db8:1:2:ffff::1"), at(0)).await;
    let third = peer("p2").with_source("2001:db8:1:2:1:2:3:4");
    assert_eq!(harness.put(&third, at(0)).await, PutResult::Full(ExceededLimit::Source));
    harness.register(&peer("p2").with_source("2001:db8:1:3::1"), at(0)).await;
}

pub async fn loopback_is_exempt_from_the_source_bound(subject: &dyn Subject) {
    let limits = Limits {
        max_peers_per_source: 2,
        max_peers_per_network: 2,
        max_peers_per_site: 2,
        ..Limits::default()
    };
    let harness = Harness::within(subject, &limits).await;
    for n in 0..5 {
        harness.register(&peer(&format!("v4-{n}")).with_source("127.0.0.1"), at(0)).await;
        harness.register(&peer(&format!("v6-{n}")).with_source("::1"), at(0)).await;
    }
    assert_eq!(harness.live(at(0)).await.len(), 10);
}

pub async fn a_source_bound_of_zero_is_no_bound(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers_per_source: 0, ..Limits::default() }).await;
    let names = harness.register_many("p", 3, &[], at(0)).await;
    for name in &names {
        let renewal = harness.renew_as(name, &claim_from(OTHER_SOURCE), at(200)).await;
        assert_eq!(renewal, renewed(300, false, at(0)));
    }
    harness.register(&peer("newcomer"), at(700)).await;
    for name in &names {
        assert_eq!(harness.renew(name, at(700)).await, renewed(300, true, at(0)));
    }
}

/// Other peers reach all of these bounds while the peer is dormant.
pub async fn no_bound_refuses_a_revival(subject: &dyn Subject) {
    let limits = Limits {
        max_peers_per_source: 1,
        max_peers_per_network: 1,
        max_peers_per_address: 2,
        max_peers_per_host: 2,
        max_archetypes: 1,
        ..Limits::default()
    };
    let harness = Harness::within(subject, &limits).await;
    let now = at(TTL_AND_A_THIRD);
    let victim = |name: &str| peer(name).with_address("192.0.2.80", 80);
    harness.register(&victim("dormant").with_archetypes(&["a"]), at(0)).await;
    harness.register(&peer("newcomer").with_archetypes(&["b"]), now).await;
    for (name, source) in [("p", "198.51.100.1"), ("q", "192.0.2.1")] {
        let mut put = victim(name);
        put.claim = claim_from(source);
        harness.register(&put, now).await;
    }
    assert_eq!(harness.renew("dormant", now).await, renewed(300, true, at(0)));
    assert_eq!(harness.live(now).await, ["dormant", "newcomer", "p", "q"]);
    harness.heartbeat("dormant", at(TTL_AND_A_THIRD + 200)).await;
}

pub async fn peers_that_publish_an_address_other_than_their_source_are_bounded(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers_per_address: 2, ..Limits::default() }).await;
    if !harness.guarantees.bounds.addresses {
        return;
    }
    let publisher =
        |name: &str, n: u8| peer(name).with_source(&format!("203.0.113.{n}")).with_address("192.0.2.80", 80);
    harness.register(&publisher("p0", 10), at(0)).await;
    harness.register(&publisher("p1", 11), at(0)).await;
    assert_eq!(harness.put(&publisher("p2", 12), at(1)).await, PutResult::Full(ExceededLimit::Address));
    harness.register(&publisher("p1", 11).with_archetypes(&["member"]), at(1)).await;
    harness.register(&publisher("p2", 12).with_address("192.0.2.80", 81), at(1)).await;
    harness.register(&peer("itself").with_source("192.0.2.80").with_address("192.0.2.80", 80), at(1)).await;
    assert_eq!(
        harness.remove("p0", &claim_from("203.0.113.10"), at(2)).await,
        Removal::Removed { was_live: true }
    );
    harness.register(&publisher("p3", 13), at(2)).await;
    assert_eq!(harness.put(&publisher("p4", 14), at(2)).await, PutResult::Full(ExceededLimit::Address));
    harness.register(&publisher("p4", 14), at(2 + TTL_AND_A_THIRD)).await;
}

pub async fn a_member_that_publishes_another_address_is_a_newcomer_there(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers_per_address: 2, ..Limits::default() }).await;
    if !harness.guarantees.bounds.addresses {
        return;
    }
    for (name, source) in [("first", OTHER_SOURCE), ("second", "192.0.2.1")] {
        let publisher = peer(name).with_source(source).with_address("peer.example.org", 80);
        harness.register(&publisher, at(0)).await;
    }
    harness.register(&peer("member"), at(0)).await;
    let before = harness.find("member", at(1)).await;
    let moved = peer("member").with_address("peer.example.org", 80);
    assert_eq!(harness.put(&moved, at(1)).await, PutResult::Full(ExceededLimit::Address));
    assert_eq!(harness.find("member", at(1)).await, before, "a refused registration changes nothing");
    let gone = peer("first").with_source(OTHER_SOURCE).with_address("peer.example.org", 81);
    harness.register(&gone, at(2)).await;
    harness.register(&moved, at(2)).await;
}

pub async fn different_archetypes_are_bounded(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_archetypes: 2, ..Limits::default() }).await;
    if !harness.guarantees.bounds.archetypes {
        return;
    }
    harness.register(&peer("p0").with_archetypes(&["a"]), at(0)).await;
    harness.register(&peer("p1").with_archetypes(&["b"]), at(0)).await;
    assert_eq!(
        harness.put(&peer("newcomer").with_archetypes(&["a", "c"]), at(1)).await,
        PutResult::Full(ExceededLimit::Archetypes)
    );
    harness.register(&peer("p2").with_archetypes(&["a", "b"]), at(1)).await;
    harness.register(&peer("plain"), at(1)).await;
    harness.register(&peer("p1").with_archetypes(&["a"]), at(2)).await;
    assert_eq!(
        harness.remove("p2", &claim_from(HOLDER_SOURCE), at(2)).await,
        Removal::Removed { was_live: true }
    );
    harness.register(&peer("newcomer").with_archetypes(&["a", "c"]), at(2)).await;
    assert_eq!(harness.sample(&all_peers(), at(2)).await.total.value(), 4);
}
