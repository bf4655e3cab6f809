//! Bounds: a store that has reached one rejects newcomers, never members.

use super::Subject;
use super::world::{
    Differing as _, ELSEWHERE, HOME, TTL_AND_A_THIRD, World, at, everybody, from, peer, token,
};
use crate::{Limits, Placement, Removal, Renewal, Shortage};

const FULL: fn(Shortage) -> Placement = Placement::Full;

pub async fn a_full_registry_refuses_newcomers_never_members(subject: &dyn Subject) {
    let world = World::within(subject, &Limits { max_peers: 3, ..Limits::default() }).await;
    if !world.promises.bounds.peers {
        return;
    }
    world.fill("p", 3, &[], at(0)).await;
    assert_eq!(world.put(&peer("newcomer"), at(1)).await, FULL(Shortage::Peers));
    assert_eq!(world.renew("newcomer", at(1)).await, Renewal::Unknown);
    world.place(&peer("p1").carrying(&["a"]), at(1)).await;
    world.beat("p2", at(1)).await;
    assert_eq!(world.live(at(1)).await, ["p0", "p1", "p2"]);
    assert_eq!(world.remove("p0", &from(HOME), at(2)).await, Removal::Removed { was_live: true });
    world.place(&peer("newcomer"), at(2)).await;
}

pub async fn dormant_peers_make_room_for_newcomers(subject: &dyn Subject) {
    let world = World::within(subject, &Limits { max_peers: 3, ..Limits::default() }).await;
    if !world.promises.bounds.peers {
        return;
    }
    world.fill("p", 3, &["a"], at(0)).await;
    for live in ["p0", "p2"] {
        world.beat(live, at(250)).await;
    }
    world.place(&peer("newcomer"), at(TTL_AND_A_THIRD)).await;
    assert_eq!(world.live(at(TTL_AND_A_THIRD)).await, ["newcomer", "p0", "p2"]);
    assert_eq!(world.renew("p1", at(TTL_AND_A_THIRD)).await, Renewal::Unknown);
    assert_eq!(world.put(&peer("another"), at(TTL_AND_A_THIRD)).await, FULL(Shortage::Peers));
}

pub async fn bytes_are_bounded(subject: &dyn Subject) {
    let world = World::within(subject, &Limits { max_bytes: 64 << 10, ..Limits::default() }).await;
    if !world.promises.bounds.bytes {
        return;
    }
    let large = |name: &str| peer(name).saying(&format!("{{\"x\":\"{}\"}}", "x".repeat(4_000)));
    let mut placed = 0;
    let refusal = loop {
        match world.put(&large(&format!("p{placed}")), at(0)).await {
            Placement::Placed { .. } => placed += 1,
            refused => break refused,
        }
        assert!(placed < 17, "sixteen of these fill 64 KiB");
    };
    assert_eq!(refusal, FULL(Shortage::Bytes));
    assert!(placed >= 8, "what a store needs beside is less than what the peer says");
    world.place(&large("p0").carrying(&["member"]), at(1)).await;
    world.beat("p1", at(1)).await;
    world.place(&large("newcomer"), at(1 + TTL_AND_A_THIRD)).await;
}

pub async fn peers_from_one_source_are_bounded(subject: &dyn Subject) {
    let world = World::within(subject, &Limits { max_peers_per_source: 2, ..Limits::default() }).await;
    if !world.promises.bounds.sources {
        return;
    }
    world.fill("p", 2, &[], at(0)).await;
    assert_eq!(world.put(&peer("newcomer"), at(1)).await, FULL(Shortage::Source));
    world.place(&peer("p1").carrying(&["a"]), at(1)).await;
    world.place(&peer("elsewhere").coming_from(ELSEWHERE), at(1)).await;
    assert_eq!(world.remove("p0", &from(HOME), at(2)).await, Removal::Removed { was_live: true });
    world.place(&peer("newcomer"), at(2)).await;
    assert_eq!(world.put(&peer("another"), at(2)).await, FULL(Shortage::Source));
    world.place(&peer("another"), at(2 + TTL_AND_A_THIRD)).await;
}

pub async fn addresses_of_one_64_are_one_source(subject: &dyn Subject) {
    let world = World::within(subject, &Limits { max_peers_per_source: 2, ..Limits::default() }).await;
    if !world.promises.bounds.sources {
        return;
    }
    world.place(&peer("p0").coming_from("2001:db8:1:2::1"), at(0)).await;
    world.place(&peer("p1").coming_from("2001:db8:1:2:ffff::1"), at(0)).await;
    let third = peer("p2").coming_from("2001:db8:1:2:1:2:3:4");
    assert_eq!(world.put(&third, at(0)).await, FULL(Shortage::Source));
    world.place(&peer("p2").coming_from("2001:db8:1:3::1"), at(0)).await;
}

pub async fn loopback_is_exempt_from_the_bound_on_sources(subject: &dyn Subject) {
    let world = World::within(subject, &Limits { max_peers_per_source: 2, ..Limits::default() }).await;
    for n in 0..5 {
        world.place(&peer(&format!("v4-{n}")).coming_from("127.0.0.1"), at(0)).await;
        world.place(&peer(&format!("v6-{n}")).coming_from("::1"), at(0)).await;
    }
    assert_eq!(world.live(at(0)).await.len(), 10);
}

pub async fn a_holder_by_token_is_a_member_at_any_source(subject: &dyn Subject) {
    let world = World::within(subject, &Limits { max_peers_per_source: 1, ..Limits::default() }).await;
    world.place(&peer("settled").coming_from(ELSEWHERE), at(0)).await;
    world.place(&peer("roaming").given(token(1)), at(0)).await;
    assert!(world.place(&peer("roaming").coming_from(ELSEWHERE).proving(token(1)), at(1)).await);
}

pub async fn a_revival_is_not_refused_for_its_source_or_archetypes(subject: &dyn Subject) {
    let limits = Limits { max_peers_per_source: 1, max_archetypes: 1, ..Limits::default() };
    let world = World::within(subject, &limits).await;
    world.place(&peer("sleeper").carrying(&["a"]), at(0)).await;
    world.place(&peer("newcomer").carrying(&["b"]), at(TTL_AND_A_THIRD)).await;
    let renewal = world.renew("sleeper", at(TTL_AND_A_THIRD)).await;
    assert!(matches!(renewal, Renewal::Renewed { revived: true, .. }), "{renewal:?}");
    assert_eq!(world.live(at(TTL_AND_A_THIRD)).await, ["newcomer", "sleeper"]);
}

pub async fn a_revival_points_no_more_peers_at_an_address_than_may(subject: &dyn Subject) {
    let world = World::within(subject, &Limits { max_peers_per_address: 1, ..Limits::default() }).await;
    if !world.promises.bounds.addresses {
        return;
    }
    let now = at(TTL_AND_A_THIRD);
    world.place(&peer("sleeper").publishing("192.0.2.80", 80), at(0)).await;
    world.place(&peer("newcomer").publishing("192.0.2.80", 80), now).await;
    // The heartbeat gets `Unknown`, so that the client registers again. The response to that
    // registration names the bound.
    assert_eq!(world.renew("sleeper", now).await, Renewal::Unknown);
    assert_eq!(world.put(&peer("sleeper").publishing("192.0.2.80", 80), now).await, FULL(Shortage::Address));
    assert_eq!(world.live(now).await, ["newcomer"]);
}

pub async fn peers_that_publish_an_address_they_do_not_come_from_are_bounded(subject: &dyn Subject) {
    let world = World::within(subject, &Limits { max_peers_per_address: 2, ..Limits::default() }).await;
    if !world.promises.bounds.addresses {
        return;
    }
    let pointing =
        |name: &str, n: u8| peer(name).coming_from(&format!("203.0.113.{n}")).publishing("192.0.2.80", 80);
    world.place(&pointing("p0", 10), at(0)).await;
    world.place(&pointing("p1", 11), at(0)).await;
    assert_eq!(world.put(&pointing("p2", 12), at(1)).await, FULL(Shortage::Address));
    world.place(&pointing("p1", 11).carrying(&["member"]), at(1)).await;
    world.place(&pointing("p2", 12).publishing("192.0.2.80", 81), at(1)).await;
    world.place(&peer("itself").coming_from("192.0.2.80").publishing("192.0.2.80", 80), at(1)).await;
    assert_eq!(world.remove("p0", &from("203.0.113.10"), at(2)).await, Removal::Removed { was_live: true });
    world.place(&pointing("p3", 13), at(2)).await;
    assert_eq!(world.put(&pointing("p4", 14), at(2)).await, FULL(Shortage::Address));
    world.place(&pointing("p4", 14), at(2 + TTL_AND_A_THIRD)).await;
}

pub async fn a_member_that_moves_to_another_address_is_a_newcomer_there(subject: &dyn Subject) {
    let world = World::within(subject, &Limits { max_peers_per_address: 1, ..Limits::default() }).await;
    if !world.promises.bounds.addresses {
        return;
    }
    world.place(&peer("first").publishing("peer.example.org", 80), at(0)).await;
    world.place(&peer("member"), at(0)).await;
    let before = world.find("member", at(1)).await;
    let moved = peer("member").publishing("peer.example.org", 80);
    assert_eq!(world.put(&moved, at(1)).await, FULL(Shortage::Address));
    assert_eq!(world.find("member", at(1)).await, before, "a refusal changes nothing");
    world.place(&peer("first").publishing("peer.example.org", 81), at(2)).await;
    world.place(&moved, at(2)).await;
}

pub async fn archetypes_are_bounded(subject: &dyn Subject) {
    let world = World::within(subject, &Limits { max_archetypes: 2, ..Limits::default() }).await;
    if !world.promises.bounds.archetypes {
        return;
    }
    world.place(&peer("p0").carrying(&["a"]), at(0)).await;
    world.place(&peer("p1").carrying(&["b"]), at(0)).await;
    assert_eq!(world.put(&peer("newcomer").carrying(&["a", "c"]), at(1)).await, FULL(Shortage::Archetypes));
    world.place(&peer("p2").carrying(&["a", "b"]), at(1)).await;
    world.place(&peer("plain"), at(1)).await;
    world.place(&peer("p1").carrying(&["a"]), at(2)).await;
    assert_eq!(world.remove("p2", &from(HOME), at(2)).await, Removal::Removed { was_live: true });
    world.place(&peer("newcomer").carrying(&["a", "c"]), at(2)).await;
    assert_eq!(world.sample(&everybody(), at(2)).await.total.value(), 4);
}
