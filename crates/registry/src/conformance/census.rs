//! The census.

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, PutRequestBuilder as _, TTL_AND_A_THIRD, WINDOW, archetype, at, claim_from, peer,
};

pub async fn a_census_counts_live_and_dormant_peers(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    if !harness.guarantees.exact_census {
        return;
    }
    harness.register_many("dormant", 3, &["a"], at(0)).await;
    harness.register_many("left", 2, &["a"], at(0)).await;
    for n in 0..4 {
        harness.register(&peer(&format!("live{n}")).with_archetypes(&["b", "c"]).with_ttl(900), at(0)).await;
    }
    for name in ["left0", "left1"] {
        harness.remove(name, &claim_from(HOLDER_SOURCE), at(1)).await;
    }
    let counted = async |now| {
        let census = harness.census(0, now).await;
        (census.live, census.dormant, census.archetypes)
    };
    assert_eq!(counted(at(1)).await, (7, 0, 3));
    assert_eq!(counted(at(TTL_AND_A_THIRD)).await, (4, 3, 2));
    assert_eq!(counted(at(TTL_AND_A_THIRD + WINDOW)).await, (0, 4, 0));
    assert_eq!(counted(at(3 * WINDOW)).await, (0, 0, 0));
}

pub async fn a_census_lists_the_most_frequent_archetypes_first(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    if !harness.guarantees.exact_census {
        return;
    }
    harness.register_many("p", 4, &["rare", "frequent"], at(0)).await;
    harness.register_many("q", 5, &["frequent", "middling"], at(0)).await;
    let named = async |count, now| harness.census(count, now).await.by_archetype;
    let all = [("frequent", 9), ("middling", 5), ("rare", 4)].map(|(name, count)| (archetype(name), count));
    assert_eq!(named(0, at(0)).await, []);
    assert_eq!(named(2, at(0)).await, all[..2]);
    assert_eq!(named(10, at(0)).await, all);
    harness.register_many("q", 5, &["rare"], at(1)).await;
    assert_eq!(named(1, at(1)).await, [(archetype("rare"), 9)]);
    assert_eq!(named(10, at(1 + TTL_AND_A_THIRD)).await, []);
}
