//! The holder rule: who may change a registration.

use super::Subject;
use super::world::{
    Differing as _, ELSEWHERE, HOME, TTL, TTL_AND_A_THIRD, World, at, carriers_of, from, peer, token,
};
use crate::{Claim, Placement, Put, Removal};

pub async fn a_stranger_can_neither_replace_nor_deregister_a_live_peer(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p").carrying(&["mine"]).given(token(1)), at(0)).await;
    let before = world.find("p", at(200)).await;
    let stranger = peer("p").coming_from(ELSEWHERE).carrying(&["theirs"]);
    for attempt in [stranger.clone(), stranger.clone().proving(token(2))] {
        assert!(matches!(world.put(&attempt, at(200)).await, Placement::Held { .. }));
        assert!(matches!(world.remove("p", &attempt.claim, at(200)).await, Removal::Held { .. }));
    }
    assert_eq!(world.find("p", at(200)).await, before);
    assert_eq!(world.sample(&carriers_of(&["theirs"]), at(200)).await.ids(), [""; 0]);
    assert_eq!(world.live(at(TTL_AND_A_THIRD)).await, [""; 0], "a stranger renews nothing");
}

pub async fn a_refusal_says_when_the_lease_ends(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p"), at(0)).await;
    world.beat("p", at(100)).await;
    let Placement::Held { until } = world.put(&peer("p").coming_from(ELSEWHERE), at(110)).await else {
        panic!("a stranger was not refused");
    };
    assert!((at(100 + TTL)..=at(100 + TTL_AND_A_THIRD)).contains(&until));
    assert_eq!(world.remove("p", &from(ELSEWHERE), at(110)).await, Removal::Held { until });
}

pub async fn the_holder_is_known_by_the_address_it_came_from(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p").publishing("192.0.2.50", 80), at(0)).await;
    let from_the_published_address = peer("p").coming_from("192.0.2.50");
    assert!(matches!(world.put(&from_the_published_address, at(1)).await, Placement::Held { .. }));
    world.place(&peer("p"), at(1)).await;
}

pub async fn the_holder_of_an_ipv6_address_is_known_by_its_64(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p").coming_from("2001:db8:1:2::3"), at(0)).await;
    let next_network = peer("p").coming_from("2001:db8:1:3::3");
    assert!(matches!(world.put(&next_network, at(1)).await, Placement::Held { .. }));
    world.place(&peer("p").coming_from("2001:db8:1:2:aaaa:bbbb:cccc:dddd"), at(1)).await;
}

pub async fn the_holder_is_known_by_its_token_from_anywhere(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p").given(token(1)), at(0)).await;
    let roaming = peer("p").coming_from(ELSEWHERE).proving(token(1)).carrying(&["moved"]);
    world.place(&roaming, at(1)).await;
    assert_eq!(world.sample(&carriers_of(&["moved"]), at(1)).await.ids(), ["p"]);
}

pub async fn the_holder_deregisters_by_address_or_token(subject: &dyn Subject) {
    let world = World::open(subject).await;
    let with_token = Claim { token: Some(token(1)), ..from(ELSEWHERE) };
    for claim in [from(HOME), with_token] {
        world.place(&peer("p").given(token(1)), at(0)).await;
        assert_eq!(world.remove("p", &claim, at(1)).await, Removal::Removed { was_live: true });
    }
}

pub async fn a_token_that_was_proven_goes_on(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p").given(token(1)), at(0)).await;
    let proven = peer("p").proving(token(1));
    assert!(world.place(&proven.clone().given(token(2)), at(1)).await);
    assert!(world.place(&proven.coming_from(ELSEWHERE).given(token(3)), at(2)).await);
    let never_given = peer("p").coming_from("192.0.2.1").proving(token(2));
    assert!(matches!(world.put(&never_given, at(3)).await, Placement::Held { .. }));
}

pub async fn without_its_token_the_holder_gets_a_new_one_and_the_old_one_ends(subject: &dyn Subject) {
    let world = World::open(subject).await;
    assert!(!world.place(&peer("p").given(token(1)), at(0)).await);
    assert!(!world.place(&peer("p").given(token(2)), at(1)).await);
    let elsewhere = peer("p").coming_from(ELSEWHERE);
    assert!(matches!(world.put(&elsewhere.clone().proving(token(1)), at(2)).await, Placement::Held { .. }));
    assert!(world.place(&elsewhere.proving(token(2)), at(2)).await);
}

pub async fn a_wrong_token_from_the_right_address_is_replaced(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p").given(token(1)), at(0)).await;
    assert!(!world.place(&peer("p").proving(token(9)).given(token(2)), at(1)).await);
    assert!(world.place(&peer("p").coming_from(ELSEWHERE).proving(token(2)), at(2)).await);
}

pub async fn the_address_of_the_last_registration_counts(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p").given(token(1)), at(0)).await;
    world.place(&peer("p").coming_from(ELSEWHERE).proving(token(1)), at(1)).await;
    assert!(matches!(world.put(&peer("p"), at(2)).await, Placement::Held { .. }));
    world.place(&peer("p").coming_from(ELSEWHERE), at(2)).await;
}

pub async fn a_dormant_peer_goes_on_with_its_token(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p").given(token(1)), at(0)).await;
    let woken = peer("p").coming_from(ELSEWHERE).proving(token(1)).given(token(2));
    assert!(world.place(&woken, at(TTL_AND_A_THIRD)).await);
}

pub async fn who_replaces_a_dormant_peer_holds_it(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p").given(token(1)), at(0)).await;
    let now = at(TTL_AND_A_THIRD);
    world.place(&peer("p").coming_from(ELSEWHERE).given(token(2)), now).await;
    for former in [peer("p"), peer("p").coming_from("192.0.2.1").proving(token(1))] {
        assert!(matches!(world.put(&former, now).await, Placement::Held { .. }));
    }
}

pub async fn an_unguarded_caller_counts_as_the_holder(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.place(&peer("p").given(token(1)), at(0)).await;
    let stranger = peer("p").coming_from(ELSEWHERE);
    let unguarded = Claim { unguarded: true, ..stranger.claim };
    assert!(!world.place(&Put { claim: unguarded, ..stranger }, at(1)).await);
    let another = Claim { unguarded: true, ..from("192.0.2.1") };
    assert_eq!(world.remove("p", &another, at(2)).await, Removal::Removed { was_live: true });
}
