//! Samples that are filled with other peers when few match.

use std::collections::HashMap;

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, Listing, PutRequestBuilder as _, TTL_AND_A_THIRD, all_peers, at, claim_from, id,
    peer, peers_with_any,
};
use super::statistics::assert_uniform;
use crate::{Query, Total};

/// A query for the carriers of `archetypes` that is filled with other peers up to `limit`.
fn filled(archetypes: &[&str], limit: usize) -> Query {
    Query { limit, fill: true, ..peers_with_any(archetypes) }
}

pub async fn a_sample_for_a_rare_archetype_is_filled_with_other_peers(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let others = harness.register_many("p", harness.guarantees.scale.peers, &["common"], at(0)).await;
    harness.register(&peer("q").with_archetypes(&["common", "rare"]), at(0)).await;
    for _ in 0..5 {
        let listing = harness.sample(&filled(&["rare"], 6), at(0)).await;
        assert_eq!((distinct(&listing), listing.total), (6, Total::Exact(1)));
        assert_eq!(listing.peers[0].peer_id.as_str(), "q", "matching peers come first");
        assert!(listing.ids().iter().all(|id| id == "q" || others.contains(id)));
    }
    let listing = harness.sample(&filled(&["unknown"], 6), at(0)).await;
    assert_eq!((distinct(&listing), listing.total), (6, Total::Exact(0)));
}

pub async fn fill_peers_are_drawn_uniformly_from_all_other_peers(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("rare", 3, &["rare", "b"], at(0)).await;
    harness.register_many("b", 10, &["b"], at(0)).await;
    harness.register_many("none", 20, &[], at(0)).await;
    let draws = harness.guarantees.scale.draws;
    let mut counts = HashMap::new();
    for _ in 0..draws {
        let listing = harness.sample(&filled(&["rare"], 8), at(0)).await;
        assert_eq!(distinct(&listing), 8);
        for id in listing.ids() {
            *counts.entry(id).or_insert(0) += 1;
        }
    }
    for n in 0..3 {
        assert_eq!(counts.remove(&format!("rare{n}")), Some(draws), "matching peers are always listed");
    }
    assert_uniform(&counts, 30, draws, 5);
}

pub async fn a_sample_with_enough_matching_peers_is_not_filled(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let some = harness.register_many("a", 12, &["a"], at(0)).await;
    harness.register_many("b", 12, &["b"], at(0)).await;
    for limit in [1, 5, 12] {
        let listing = harness.sample(&filled(&["a"], limit), at(0)).await;
        assert_eq!(distinct(&listing), limit);
        assert!(listing.ids().iter().all(|id| some.contains(id)));
    }
}

pub async fn a_network_smaller_than_the_limit_is_listed_completely(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let all = [
        harness.register_many("a", 2, &["a"], at(0)).await,
        harness.register_many("ab", 2, &["a", "b"], at(0)).await,
        harness.register_many("none", 5, &[], at(0)).await,
    ]
    .concat();
    for (archetypes, matching) in [(&["a"][..], 4), (&["a", "b"], 4), (&["b"], 2), (&["unknown"], 0)] {
        let listing = harness.sample(&filled(archetypes, 100), at(0)).await;
        assert_eq!((listing.ids(), listing.total), (all.clone(), Total::Exact(matching)), "{archetypes:?}");
    }
}

pub async fn fill_has_no_effect_without_an_archetype(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let all = harness.register_many("p", 5, &["a"], at(0)).await;
    let listing = harness.sample(&Query { fill: true, ..all_peers() }, at(0)).await;
    assert_eq!((listing.ids(), listing.total), (all, Total::Exact(5)));
}

pub async fn the_excluded_peer_is_not_used_as_fill(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("a", 2, &["a"], at(0)).await;
    harness.register_many("p", 3, &[], at(0)).await;
    for (excluded, expected, matching) in
        [("a0", ["a1", "p0", "p1", "p2"], 1), ("p1", ["a0", "a1", "p0", "p2"], 2)]
    {
        for limit in [4, 50] {
            let query = Query { exclude: Some(id(excluded)), ..filled(&["a"], limit) };
            let listing = harness.sample(&query, at(0)).await;
            assert_eq!(listing.ids(), expected);
            assert_eq!(listing.total, Total::Exact(matching));
        }
    }
}

pub async fn a_filled_sample_stays_within_page_bytes(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("a", 5, &["a"], at(0)).await;
    harness.register_many("p", 30, &["b"], at(0)).await;
    let five = harness.sample(&peers_with_any(&["a"]), at(0)).await.bytes;
    for page_bytes in [five, five + 1, 2 * five + 20, 3 * five] {
        let listing = harness.sample(&Query { page_bytes, ..filled(&["a"], 30) }, at(0)).await;
        assert!(listing.bytes <= page_bytes, "{} > {page_bytes}", listing.bytes);
        assert!(distinct(&listing) >= 5 && listing.total == Total::Exact(5));
    }
    let listing = harness.sample(&Query { page_bytes: 3 * five, ..filled(&["a"], 30) }, at(0)).await;
    assert!((13..=15).contains(&listing.peers.len()), "{}", listing.peers.len());
    let cut = harness.sample(&Query { page_bytes: five - 1, ..filled(&["a"], 30) }, at(0)).await;
    assert!(cut.ids().iter().all(|id| id.starts_with('a')), "matching peers come first: {:?}", cut.ids());
}

pub async fn dormant_and_deregistered_peers_are_not_used_as_fill(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let now = at(TTL_AND_A_THIRD);
    for n in 0..6 {
        harness.register(&peer(&format!("dormant{n}")), at(0)).await;
        harness.register(&peer(&format!("live{n}")).with_ttl(900), at(0)).await;
        harness.register(&peer(&format!("left{n}")), at(0)).await;
        harness.remove(&format!("left{n}"), &claim_from(HOLDER_SOURCE), at(1)).await;
    }
    let listing = harness.sample(&filled(&["rare"], 10), now).await;
    assert_eq!(listing.ids(), ["live0", "live1", "live2", "live3", "live4", "live5"]);
}

fn distinct(listing: &Listing) -> usize {
    let mut ids = listing.ids();
    ids.dedup();
    assert_eq!(ids.len(), listing.peers.len(), "a peer is listed twice");
    ids.len()
}
