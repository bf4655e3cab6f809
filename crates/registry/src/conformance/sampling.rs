//! Samples: all matching peers if they fit, otherwise a fair selection.

use std::collections::HashMap;

use aurora_discovery_protocol::Timestamp;

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, Listing, PutRequestBuilder as _, TTL_AND_A_THIRD, all_peers, at, claim_from, id,
    peer, peers_with_any,
};
use super::statistics::assert_uniform;
use crate::{Query, Total};

pub async fn all_matching_peers_are_listed_if_they_fit(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let some = harness.register_many("a", 30, &["a"], at(0)).await;
    let others = harness.register_many("b", 20, &["b"], at(0)).await;
    let all = [some.clone(), others].concat();
    for (query, expected) in
        [(all_peers(), &all), (peers_with_any(&["a"]), &some), (peers_with_any(&["a", "b"]), &all)]
    {
        let listing = harness.sample(&query, at(0)).await;
        assert_eq!(&listing.ids(), expected);
        assert_eq!(listing.total, exactly(expected.len()));
        let just_fits = Query { limit: expected.len(), page_bytes: listing.bytes, ..query };
        assert_eq!(&harness.sample(&just_fits, at(0)).await.ids(), expected);
    }
}

pub async fn a_sample_stays_within_its_limit(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let count = harness.guarantees.scale.peers;
    let all = harness.register_many("p", count, &["a"], at(0)).await;
    for limit in [1, 2, 7, all.len() - 1] {
        for query in [all_peers(), peers_with_any(&["a"])] {
            let listing = harness.sample(&Query { limit, ..query }, at(0)).await;
            assert_eq!(distinct(&listing), limit);
            assert!(listing.ids().iter().all(|id| all.contains(id)));
            check_total(&harness, &listing, all.len());
        }
    }
}

pub async fn a_sample_stays_within_page_bytes(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let all = harness.register_many("p", 40, &["a"], at(0)).await;
    let whole = harness.sample(&all_peers(), at(0)).await.bytes;
    for query in [all_peers(), peers_with_any(&["a"])] {
        let half = Query { page_bytes: whole / 2, ..query };
        let listing = harness.sample(&half, at(0)).await;
        assert!(listing.bytes <= half.page_bytes, "{} > {}", listing.bytes, half.page_bytes);
        // The peers have almost the same size, so about half of them fit.
        assert!((15..=20).contains(&distinct(&listing)), "{}", listing.peers.len());
        check_total(&harness, &listing, all.len());
    }
}

pub async fn one_peer_always_fits_a_page(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", 5, &["a"], at(0)).await;
    for query in [all_peers(), peers_with_any(&["a"])] {
        let listing = harness.sample(&Query { page_bytes: 1, ..query }, at(0)).await;
        assert_eq!(listing.peers.len(), 1);
    }
}

pub async fn the_excluded_peer_is_neither_listed_nor_counted(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", 3, &["a"], at(0)).await;
    harness.register(&peer("other").with_archetypes(&["b"]), at(0)).await;
    for (excluded, expected) in
        [("p1", vec!["p0", "p2"]), ("other", vec!["p0", "p1", "p2"]), ("unknown", vec!["p0", "p1", "p2"])]
    {
        let query = Query { exclude: Some(id(excluded)), ..peers_with_any(&["a"]) };
        let listing = harness.sample(&query, at(0)).await;
        assert_eq!((listing.ids(), listing.total), (owned(&expected), exactly(expected.len())));
        let just_fits = Query { limit: expected.len(), ..query };
        assert_eq!(harness.sample(&just_fits, at(0)).await.ids(), expected);
    }
    let others_only = Query { exclude: Some(id("p0")), limit: 1, ..all_peers() };
    for _ in 0..20 {
        let listing = harness.sample(&others_only, at(0)).await;
        assert_ne!(listing.ids(), ["p0"]);
        check_total(&harness, &listing, 3);
    }
}

pub async fn a_peer_with_several_of_the_archetypes_is_listed_once(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("a").with_archetypes(&["a"]), at(0)).await;
    harness.register(&peer("ab").with_archetypes(&["a", "b"]), at(0)).await;
    harness.register(&peer("abc").with_archetypes(&["a", "b", "c"]), at(0)).await;
    harness.register(&peer("none"), at(0)).await;
    for query in [&["a"][..], &["a", "b"], &["a", "b", "c"], &["a", "unknown"]] {
        let listing = harness.sample(&peers_with_any(query), at(0)).await;
        assert_eq!((listing.ids(), listing.total), (owned(&["a", "ab", "abc"]), exactly(3)), "{query:?}");
    }
    let listing = harness.sample(&peers_with_any(&["b", "c"]), at(0)).await;
    assert_eq!((listing.ids(), listing.total), (owned(&["ab", "abc"]), exactly(2)));
}

pub async fn an_unknown_archetype_gives_an_empty_list(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", 3, &["a"], at(0)).await;
    let listing = harness.sample(&peers_with_any(&["unknown"]), at(0)).await;
    assert_eq!((listing.ids(), listing.total), (vec![], exactly(0)));
}

pub async fn a_rare_archetype_is_found_in_a_large_network(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", harness.guarantees.scale.peers, &["common"], at(0)).await;
    harness.register(&peer("q").with_archetypes(&["common", "rare"]), at(0)).await;
    for _ in 0..5 {
        let listing = harness.sample(&Query { limit: 5, ..peers_with_any(&["rare"]) }, at(0)).await;
        assert_eq!((listing.ids(), listing.total), (owned(&["q"]), exactly(1)));
    }
}

pub async fn every_peer_is_sampled_equally_often(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for n in 0..40_u32 {
        let archetypes: Vec<_> = (0..n % 4).map(|a| format!("a{a}")).collect();
        harness.register(&peer(&format!("p{n}")).with_archetypes(&archetypes), at(u64::from(n))).await;
    }
    let draws = harness.guarantees.scale.draws;
    let counts = draw(&harness, &Query { limit: 5, ..all_peers() }, at(60)).await;
    assert_uniform(&counts, 40, draws, 5);
    let others = Query { limit: 5, exclude: Some(id("p7")), ..all_peers() };
    let counts = draw(&harness, &others, at(60)).await;
    assert!(!counts.contains_key("p7"));
    assert_uniform(&counts, 39, draws, 5);
}

pub async fn every_pair_of_peers_is_sampled_equally_often(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", 12, &["a"], at(0)).await;
    let draws = harness.guarantees.scale.draws;
    for query in [all_peers(), peers_with_any(&["a"])] {
        let mut counts = HashMap::new();
        for _ in 0..draws {
            let pair = harness.sample(&Query { limit: 2, ..query.clone() }, at(0)).await.ids().join(" ");
            *counts.entry(pair).or_insert(0) += 1;
        }
        assert_uniform(&counts, 12 * 11 / 2, draws, 1);
    }
}

pub async fn peers_with_several_of_the_archetypes_are_not_favoured(subject: &dyn Subject) {
    // 36 peers are in the union of "a" and "b", but the two lists have 42 entries. A store that
    // draws uniformly from the entries lists the six peers with both archetypes twice as often as
    // the others.
    let harness = Harness::open(subject).await;
    harness.register_many("few", 3, &["a"], at(0)).await;
    harness.register_many("many", 27, &["b"], at(0)).await;
    harness.register_many("both", 6, &["a", "b"], at(0)).await;
    let draws = harness.guarantees.scale.draws;
    let counts = draw(&harness, &Query { limit: 4, ..peers_with_any(&["a", "b"]) }, at(60)).await;
    assert_uniform(&counts, 36, draws, 4);
}

pub async fn dormant_and_deregistered_peers_are_never_sampled(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let now = at(TTL_AND_A_THIRD);
    for n in 0..20 {
        harness.register(&peer(&format!("dormant{n}")).with_archetypes(&["a"]), at(0)).await;
        harness.register(&peer(&format!("live{n}")).with_archetypes(&["a"]).with_ttl(900), at(0)).await;
        harness.register(&peer(&format!("left{n}")).with_archetypes(&["a"]), at(0)).await;
        harness.remove(&format!("left{n}"), &claim_from(HOLDER_SOURCE), at(1)).await;
    }
    let draws = harness.guarantees.scale.draws;
    for query in [all_peers(), peers_with_any(&["a"])] {
        let counts = draw(&harness, &Query { limit: 4, ..query }, now).await;
        assert!(counts.keys().all(|name| name.starts_with("live")), "{counts:?}");
        assert_uniform(&counts, 20, draws, 4);
    }
    assert_eq!(harness.sample(&all_peers(), now).await.total, exactly(20));
}

/// The number of samples in which each peer appears. The number of draws depends on the store's
/// scale.
async fn draw(harness: &Harness, query: &Query, now: Timestamp) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for _ in 0..harness.guarantees.scale.draws {
        let listing = harness.sample(query, now).await;
        assert_eq!(listing.peers.len(), query.limit, "a sample has limit peers if enough peers match");
        for id in listing.ids() {
            *counts.entry(id).or_insert(0) += 1;
        }
    }
    counts
}

fn distinct(listing: &Listing) -> usize {
    let mut ids = listing.ids();
    ids.dedup();
    assert_eq!(ids.len(), listing.peers.len(), "a peer is listed twice");
    ids.len()
}

/// Checks `total` of a page that may not hold all matching peers.
fn check_total(harness: &Harness, listing: &Listing, matching: usize) {
    if harness.guarantees.exact_totals || matches!(listing.total, Total::Exact(_)) {
        assert_eq!(listing.total, exactly(matching));
    }
}

fn exactly(count: usize) -> Total {
    Total::Exact(u64::try_from(count).expect("a count fits"))
}

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
