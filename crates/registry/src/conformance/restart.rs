//! A store that was closed and opened again.

use aurora_discovery_protocol::Timestamp;

use super::world::{
    Differing as _, ELSEWHERE, HOME, TTL, TTL_AND_A_THIRD, World, at, at_millis, carriers_of, everybody,
    from, ids_of, peer, token,
};
use super::{Restart, Subject};
use crate::{Enumeration, Limits, Placement, Query, Removal, Renewal};

pub async fn what_was_registered_is_there_after_a_restart(subject: &dyn Subject) {
    let world = World::open(subject).await;
    let registration = peer("p").carrying(&["ética", "b"]).saying(r#"{"n": 1e999}"#);
    world.place(&registration.clone().carrying(&["old"]), at(0)).await;
    world.place(&registration, at(1)).await;
    world.place(&peer("q"), at(1)).await;
    let Some(world) = restarted(subject, world, at(10)).await else { return };
    assert_eq!(world.live(at(10)).await, ["p", "q"]);
    assert_eq!(ids_of(&world.pages(&everybody(), at(10)).await), ["p", "q"]);
    assert_eq!(world.sample(&carriers_of(&["old"]), at(10)).await.ids(), [""; 0]);
    let listed = world.sample(&carriers_of(&["ética"]), at(10)).await.peers.pop().expect("it is listed");
    assert_eq!(listed.metadata, registration.registration.metadata);
    assert_eq!(listed.archetypes, registration.registration.archetypes);
    world.beat("p", at(11)).await;
}

pub async fn what_was_deregistered_is_gone_after_a_restart(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.fill("p", 3, &["a"], at(0)).await;
    assert_eq!(world.remove("p1", &from(HOME), at(1)).await, Removal::Removed { was_live: true });
    let Some(world) = restarted(subject, world, at(2)).await else { return };
    assert_eq!(world.live(at(2)).await, ["p0", "p2"]);
    assert_eq!(world.renew("p1", at(2)).await, Renewal::Unknown);
    assert_eq!(world.remove("p0", &from(HOME), at(3)).await, Removal::Removed { was_live: true });
    let Some(world) = restarted(subject, world, at(4)).await else { return };
    assert_eq!(world.live(at(4)).await, ["p2"]);
}

pub async fn a_restart_gives_each_live_peer_one_whole_lease(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p"), at(0)).await;
    world.beat("p", at(200)).await;
    let back = 10 * TTL;
    let Some(world) = restarted(subject, world, at(back)).await else { return };
    if world.promises.restart == Restart::GoesOn {
        assert_eq!(world.live(at(back)).await, [""; 0]);
        return;
    }
    assert_eq!(world.live(at_millis((back + TTL) * 1_000 - 1)).await, ["p"]);
    assert_eq!(world.live(at(back + TTL_AND_A_THIRD)).await, [""; 0]);
    let renewal = world.renew("p", at(back + TTL_AND_A_THIRD)).await;
    assert!(matches!(renewal, Renewal::Renewed { revived: true, .. }));
}

pub async fn the_holder_is_known_after_a_restart(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p").given(token(1)), at(0)).await;
    world.place(&peer("six").coming_from("2001:db8:1:2::3"), at(0)).await;
    let Some(world) = restarted(subject, world, at(1)).await else { return };
    let stranger = peer("p").coming_from(ELSEWHERE);
    assert!(matches!(world.put(&stranger, at(2)).await, Placement::Held { .. }));
    assert!(world.place(&stranger.proving(token(1)), at(2)).await);
    world.place(&peer("six").coming_from("2001:db8:1:2::4"), at(2)).await;
}

pub async fn an_enumeration_from_before_a_restart_goes_on_or_has_expired(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.fill("p", 4, &["a"], at(0)).await;
    let query = Query { limit: 2, ..carriers_of(&["a"]) };
    let (first, next) = world.enumerate(&query, None, at(0)).await;
    let Some(world) = restarted(subject, world, at(1)).await else { return };
    match world.store.enumerate(&query, next.as_ref(), at(1)).await {
        Ok(Enumeration::Page(page, None)) => assert_eq!(first.peers.len() + page.peers.len(), 4),
        Ok(Enumeration::Expired) => {}
        other => panic!("it was a position of this store: {other:?}"),
    }
}

/// Closes the store and opens it again at `now`. Returns `None` if the store keeps nothing, after
/// checking that it is empty.
async fn restarted(subject: &dyn Subject, world: World, now: Timestamp) -> Option<World> {
    world.store.close().await.expect("close does not fail");
    let promises = world.promises;
    drop(world.store);
    let store = subject.open(&Limits::default(), now).await;
    let keeps = promises.restart != Restart::Forgets;
    let world = World { store, promises };
    if keeps {
        return Some(world);
    }
    assert_eq!(world.live(now).await, [""; 0]);
    None
}

/// The interval at which legacy clients send heartbeats, in seconds, whatever interval the service
/// requests.
const CADENCE: u64 = 30;
/// The number of peers in a network that goes through an outage.
const MEMBERS: u32 = 60;

pub async fn after_an_outage_of_two_leases_a_network_is_whole_within_one_cadence(subject: &dyn Subject) {
    let world = World::open(subject).await;
    let names = world.fill("p", MEMBERS, &["a"], at(0)).await;
    let last = beats(&world, &names, 0).await;
    let back = last + 2 * TTL;
    assert_eq!(world.live(at(back)).await, [""; 0], "nobody could beat");
    beats(&world, &names, back).await;
    assert_whole(&world, &names, back + CADENCE).await;
}

pub async fn after_a_restart_two_leases_later_a_network_is_whole_within_one_cadence(subject: &dyn Subject) {
    let world = World::open(subject).await;
    let names = world.fill("p", MEMBERS, &["a"], at(0)).await;
    let back = beats(&world, &names, 0).await + 2 * TTL;
    let Some(world) = restarted(subject, world, at(back)).await else { return };
    beats(&world, &names, back).await;
    assert_whole(&world, &names, back + CADENCE).await;
}

/// Sends one heartbeat for each peer, spread evenly over one cadence. None may fail. Returns the
/// time at the end of the cadence.
async fn beats(world: &World, names: &[String], from: u64) -> u64 {
    let spread = u64::from(MEMBERS);
    for (phase, name) in (0..).zip(names) {
        let renewal = world.renew(name, at_millis(from * 1_000 + phase * CADENCE * 1_000 / spread)).await;
        assert!(matches!(renewal, Renewal::Renewed { .. }), "{name} would have to register again");
    }
    from + CADENCE
}

async fn assert_whole(world: &World, names: &[String], now: u64) {
    assert_eq!(world.live(at(now)).await, names);
    assert_eq!(world.sample(&carriers_of(&["a"]), at(now)).await.ids(), names);
}
