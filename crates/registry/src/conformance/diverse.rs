//! Diverse samples: half uniform, half from different networks.

use std::collections::HashMap;

use super::Subject;
use super::harness::{Harness, PutRequestBuilder as _, all_peers, at, id, peer, peers_with_any};
use super::statistics::assert_uniform;
use crate::{Query, Total};

/// The number of peers that share one network.
const CROWD: u32 = 60;
/// The number of peers that are each alone in their network.
const ALONE: u32 = 12;
const LIMIT: usize = 10;

fn diverse(query: Query, limit: usize) -> Query {
    Query { limit, diverse: true, ..query }
}

/// A crowd in one network, and peers that are each alone in a network. Half of the lone peers use
/// IPv6.
async fn crowded(subject: &dyn Subject) -> Harness {
    let harness = Harness::open(subject).await;
    for n in 0..CROWD {
        let crowd = peer(&format!("crowd{n}")).with_source(&format!("10.0.{}.7", n + 1));
        harness.register(&crowd.with_archetypes(&["a", "b"]), at(0)).await;
    }
    for n in 0..ALONE {
        let source = if n % 2 == 0 { format!("10.{}.0.7", n + 1) } else { format!("2001:{n}::7") };
        let alone = peer(&format!("alone{n}")).with_source(&source);
        harness.register(&alone.with_archetypes(&["a"]), at(0)).await;
    }
    harness
}

fn is_alone(name: &str) -> bool {
    name.starts_with("alone")
}

pub async fn half_of_a_diverse_sample_comes_from_different_networks(subject: &dyn Subject) {
    let harness = crowded(subject).await;
    for query in [all_peers(), peers_with_any(&["a"]), peers_with_any(&["a", "b"])] {
        for _ in 0..harness.guarantees.scale.draws / 10 {
            let listed = harness.sample(&diverse(query.clone(), LIMIT), at(0)).await.ids();
            assert_eq!(listed.len(), LIMIT);
            // Five of the ten listed peers come from different networks, and the crowd is in only
            // one network. At most one of these five is therefore from the crowd. A uniform sample
            // would list fewer than two peers from outside the crowd on average.
            let alone = listed.iter().filter(|name| is_alone(name)).count();
            assert!(alone >= 4, "{listed:?}");
        }
    }
}

pub async fn each_peer_keeps_half_of_its_uniform_rate_in_diverse_samples(subject: &dyn Subject) {
    let harness = crowded(subject).await;
    let draws = harness.guarantees.scale.draws;
    for query in [all_peers(), peers_with_any(&["a"])] {
        let mut counts: HashMap<String, u32> = HashMap::new();
        for _ in 0..draws {
            for name in harness.sample(&diverse(query.clone(), LIMIT), at(0)).await.ids() {
                *counts.entry(name).or_default() += 1;
            }
        }
        // The uniform half lists each peer in 5 of 72 samples on average. The other half lists at
        // most one peer of the crowd in each sample, and each peer of the crowd is equally likely
        // to be that one.
        counts.retain(|name, _| !is_alone(name));
        let listed: u32 = counts.values().sum();
        let (least, most) = (draws * 5 * CROWD / (CROWD + ALONE), draws * 6);
        // In the uniform half of one sample, the number of the crowd's peers has a standard
        // deviation of at most 0.9.
        let margin = 7 * draws.isqrt();
        assert!((least.saturating_sub(margin)..=most).contains(&listed), "{listed} of {least} to {most}");
        assert_eq!(counts.len(), CROWD as usize, "{counts:?}");
    }
}

pub async fn a_diverse_sample_is_as_long_as_a_uniform_one(subject: &dyn Subject) {
    let harness = crowded(subject).await;
    for query in [all_peers(), peers_with_any(&["a"]), peers_with_any(&["b"]), peers_with_any(&["unknown"])] {
        let all = harness.sample(&query, at(0)).await.ids();
        for limit in [1, 2, 7, all.len().max(2) - 1, all.len().max(1), 1_000] {
            for excluded in ["crowd3", "alone4", "unknown"] {
                let query = Query { exclude: Some(id(excluded)), ..diverse(query.clone(), limit) };
                let listing = harness.sample(&query, at(0)).await;
                let expected = all.iter().filter(|name| *name != excluded).count();
                let mut listed = listing.ids();
                listed.dedup();
                assert_eq!((listed.len(), listing.peers.len()), (expected.min(limit), expected.min(limit)));
                assert!(listed.iter().all(|name| name != excluded && all.contains(name)));
                if expected <= limit {
                    assert_eq!(listing.total, Total::Exact(expected as u64));
                }
            }
        }
    }
}

pub async fn in_one_network_a_diverse_sample_is_uniform(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", 40, &["a"], at(0)).await;
    let draws = harness.guarantees.scale.draws;
    for query in [all_peers(), peers_with_any(&["a"])] {
        let mut counts = HashMap::new();
        for _ in 0..draws {
            for name in harness.sample(&diverse(query.clone(), 5), at(0)).await.ids() {
                *counts.entry(name).or_insert(0) += 1;
            }
        }
        assert_uniform(&counts, 40, draws, 5);
    }
}
