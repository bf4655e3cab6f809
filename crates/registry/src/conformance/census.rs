//! The census.

use super::Subject;
use super::world::{Differing as _, HOME, TTL_AND_A_THIRD, WINDOW, World, archetype, at, from, peer};

pub async fn a_census_counts_live_and_dormant_peers(subject: &dyn Subject) {
    let world = World::open(subject).await;
    if !world.promises.exact_census {
        return;
    }
    world.fill("dormant", 3, &["a"], at(0)).await;
    world.fill("left", 2, &["a"], at(0)).await;
    for n in 0..4 {
        world.place(&peer(&format!("live{n}")).carrying(&["b", "c"]).lasting(900), at(0)).await;
    }
    for name in ["left0", "left1"] {
        world.remove(name, &from(HOME), at(1)).await;
    }
    let counted = async |now| {
        let census = world.census(0, now).await;
        (census.live, census.dormant, census.archetypes)
    };
    assert_eq!(counted(at(1)).await, (7, 0, 3));
    assert_eq!(counted(at(TTL_AND_A_THIRD)).await, (4, 3, 2));
    assert_eq!(counted(at(TTL_AND_A_THIRD + WINDOW)).await, (0, 4, 0));
    assert_eq!(counted(at(3 * WINDOW)).await, (0, 0, 0));
}

pub async fn a_census_names_the_most_frequent_archetypes_first(subject: &dyn Subject) {
    let world = World::open(subject).await;
    if !world.promises.exact_census {
        return;
    }
    world.fill("p", 4, &["rare", "frequent"], at(0)).await;
    world.fill("q", 5, &["frequent", "middling"], at(0)).await;
    let named = async |count, now| world.census(count, now).await.by_archetype;
    let all = [("frequent", 9), ("middling", 5), ("rare", 4)].map(|(name, count)| (archetype(name), count));
    assert_eq!(named(0, at(0)).await, []);
    assert_eq!(named(2, at(0)).await, all[..2]);
    assert_eq!(named(10, at(0)).await, all);
    world.fill("q", 5, &["rare"], at(1)).await;
    assert_eq!(named(1, at(1)).await, [(archetype("rare"), 9)]);
    assert_eq!(named(10, at(1 + TTL_AND_A_THIRD)).await, []);
}
