use aurora_discovery_protocol::{
    Address, Archetype, Archetypes, LeaseToken, Metadata, Peer, PeerId, Registration, Ttl, View,
};
use aurora_discovery_registry::{Holder, Limits, Source, TokenHash};

use super::super::{Entry, Keys, Lease};
use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_759_406_400);

fn index() -> Index {
    Index::new(Limits::default(), Keys::new())
}

fn place(index: &mut Index, n: u32, archetypes: &[&str]) {
    place_from(index, n, archetypes, [10, 0, 0, 1]);
}

fn place_from(index: &mut Index, n: u32, archetypes: &[&str], source: [u8; 4]) {
    let address = std::net::IpAddr::from(source);
    let registration = Registration {
        peer_id: PeerId::parse(&n.to_string()).unwrap(),
        address: Address::from(address),
        port: 1,
        archetypes: Archetypes::parse(archetypes).unwrap(),
        metadata: Metadata::default(),
    };
    let token = TokenHash::of(&LeaseToken::from_random([0; 16]));
    let holder = Holder { source: Source::of(address), token, page: None, token_only: false };
    let entry = Entry::new(registration, holder, Lease::begin(Ttl::from_secs(60), NOW), &index.keys);
    index.insert(&entry, None);
}

fn query(archetypes: &[&str], limit: usize) -> Query {
    let archetypes = archetypes.iter().map(|name| Archetype::parse(name).unwrap()).collect();
    Query {
        archetypes,
        exclude: None,
        view: View::Legacy,
        limit,
        page_bytes: 1 << 20,
        diverse: false,
        fill: false,
    }
}

fn sampled(page: &Page) -> Vec<usize> {
    let peers: Vec<Peer> = serde_json::from_slice(&page.peers.to_array()).unwrap();
    peers.iter().map(|peer| peer.peer_id.as_str().parse().unwrap()).collect()
}

/// The distance of the counts of equally likely outcomes from their mean, in standard deviations of
/// the chi-square distribution. About 0 for a uniform sample.
fn unevenness(counts: &[f64]) -> f64 {
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    let square: f64 = counts.iter().map(|count| (count - mean).powi(2) / mean).sum();
    let freedom = counts.len() as f64 - 1.0;
    (square - freedom) / (2.0 * freedom).sqrt()
}

/// How often each of `peers` is in a sample of 10.
fn counts(index: &Index, peers: usize, query: &Query, mut random: impl FnMut(u32) -> u32) -> Vec<f64> {
    let mut counts = vec![0.0; peers];
    for _ in 0..10_000 {
        let page = index.sample_by(query, NOW, &mut random);
        let sample = sampled(&page);
        assert_eq!(sample.len(), 10);
        for peer in sample {
            counts[peer] += 1.0;
        }
    }
    counts
}

/// Peers that have one, two or all three of the archetypes. Equally many other peers registered and
/// left in between.
fn network(peers: u32) -> Index {
    let mut index = index();
    let carried: [&[&str]; 5] = [&["a"], &["b"], &["a", "b"], &["c", "a", "b"], &["b", "c"]];
    for n in 0..peers {
        place(&mut index, peers + n, carried[n as usize % 3]);
        place(&mut index, n, carried[n as usize % 5]);
        if n % 2 == 1 {
            let gone = PeerId::parse(&(peers + n - 1).to_string()).unwrap();
            let slot = index.find_peer(&gone).unwrap();
            index.remove(slot);
        }
    }
    for n in (1..peers).step_by(2) {
        let slot = index.find_peer(&PeerId::parse(&(peers + n).to_string()).unwrap()).unwrap();
        index.remove(slot);
    }
    index.check_invariants();
    index
}

#[test]
fn every_peer_of_a_union_is_equally_likely_to_be_sampled() {
    let index = network(200);
    let mut rng = fastrand::Rng::with_seed(1);
    for archetypes in [&[][..], &["a", "b", "c"]] {
        let counts = counts(&index, 200, &query(archetypes, 10), |below| rng.u32(..below));
        assert!(unevenness(&counts) < 5.0, "{archetypes:?}: {}", unevenness(&counts));
    }
}

#[test]
fn the_uniformity_test_detects_a_biased_sample() {
    let index = network(200);
    let mut rng = fastrand::Rng::with_seed(1);
    let mut leaning =
        |below: u32| if rng.u32(..20) == 0 { rng.u32(..below / 2 + 1) } else { rng.u32(..below) };
    assert!(unevenness(&counts(&index, 200, &query(&["a", "b", "c"], 10), &mut leaning)) > 5.0);
}

fn diverse(archetypes: &[&str], limit: usize) -> Query {
    Query { diverse: true, ..query(archetypes, limit) }
}

/// A crowd of 400 peers in one /16, and 20 peers that are each alone in a network. All of these
/// have the archetype "a". Twenty peers without it are in further networks.
fn crowded() -> Index {
    let mut index = index();
    for n in 0..400_u32 {
        let [.., high, low] = n.to_be_bytes();
        place_from(&mut index, n, &["a", "b"], [10, 0, high, low]);
    }
    for n in 0..20_u8 {
        place_from(&mut index, 400 + u32::from(n), &["a"], [10, 1 + n, 0, 1]);
        place_from(&mut index, 420 + u32::from(n), &["c"], [11, n, 0, 1]);
    }
    index.check_invariants();
    index
}

#[test]
fn a_diverse_sample_of_all_peers_draws_networks_uniformly() {
    let index = crowded();
    let mut rng = fastrand::Rng::with_seed(1);
    let counts = counts(&index, 440, &diverse(&[], 10), |below| rng.u32(..below));
    // There are 10,000 samples of 10 peers. Five peers of each are drawn uniformly from all 440, so
    // this half lists each peer about 114 times. The other five come from different networks, of
    // which there are 41, so this half lists each network about 1,220 times. It skips a network
    // whose only peer is already listed, so the counts of such peers are slightly lower.
    assert!(unevenness(&counts[400..]) < 5.0, "{}", unevenness(&counts[400..]));
    assert!(counts[400..].iter().all(|count| (1_200.0..1_450.0).contains(count)), "{counts:?}");
    assert!(unevenness(&counts[..400]) < 5.0, "{}", unevenness(&counts[..400]));
    let crowd: f64 = counts[..400].iter().sum();
    assert!((44_000.0..49_000.0).contains(&crowd), "{crowd}");
}

#[test]
fn a_diverse_sample_by_archetype_draws_the_networks_of_its_candidates() {
    let index = crowded();
    let mut rng = fastrand::Rng::with_seed(1);
    for archetypes in [&["a"][..], &["a", "b"]] {
        let counts = counts(&index, 440, &diverse(archetypes, 10), |below| rng.u32(..below));
        assert!(counts[420..].iter().all(|count| *count == 0.0));
        // The networks are those of 160 candidates, which are drawn from 420 peers. A peer that is
        // alone in its network is a candidate in 38 % of the samples.
        assert!(unevenness(&counts[400..420]) < 5.0);
        assert!(counts[400..420].iter().all(|count| *count > 1_500.0), "{counts:?}");
        assert!(unevenness(&counts[..400]) < 5.0, "{}", unevenness(&counts[..400]));
    }
}

#[test]
fn diverse_samples_are_distinct_complete_and_without_the_excluded_peer() {
    let index = crowded();
    for archetypes in [&[][..], &["a"], &["c"], &["a", "b"], &["unknown"]] {
        let all = sampled(&index.sample(&query(archetypes, 1_000), NOW));
        for limit in [1, 2, 3, 20, all.len().max(2) - 1, all.len().max(1), 1_000] {
            for excluded in [None, all.first()] {
                let exclude = excluded.map(|peer| PeerId::parse(&peer.to_string()).unwrap());
                let page = index.sample(&Query { exclude, ..diverse(archetypes, limit) }, NOW);
                let mut listed = sampled(&page);
                let expected = all.len() - usize::from(excluded.is_some());
                assert_eq!(listed.len(), expected.min(limit), "{archetypes:?} {limit}");
                assert!(!listed.iter().any(|peer| Some(peer) == excluded));
                listed.sort_unstable();
                listed.dedup();
                assert_eq!(listed.len(), expected.min(limit));
                assert!(listed.iter().all(|peer| all.contains(peer)));
            }
        }
    }
    assert_eq!(index.sample(&diverse(&[], 5), NOW).total, Total::Exact(440));
    assert_eq!(index.sample(&diverse(&["a"], 5), NOW).total, Total::Exact(420));
}

#[test]
fn in_one_network_a_diverse_sample_is_uniform() {
    let index = network(200);
    let mut rng = fastrand::Rng::with_seed(1);
    for archetypes in [&[][..], &["a", "b", "c"]] {
        let counts = counts(&index, 200, &diverse(archetypes, 10), |below| rng.u32(..below));
        assert!(unevenness(&counts) < 5.0, "{archetypes:?}: {}", unevenness(&counts));
    }
}

#[test]
fn draws_are_distinct_and_end_when_all_numbers_are_drawn() {
    let mut rng = fastrand::Rng::with_seed(1);
    for bound in [0, 1, 2, 100] {
        let mut draws = Draws::new(bound, 10);
        let mut drawn: Vec<_> = std::iter::from_fn(|| draws.next(&mut |below| rng.u32(..below))).collect();
        drawn.sort_unstable();
        assert!(drawn.into_iter().eq(0..bound));
    }
}

#[test]
fn every_order_of_draws_is_equally_likely() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut counts = [0.0; 24];
    for _ in 0..24_000 {
        let mut draws = Draws::new(4, 4);
        let mut next = || draws.next(&mut |below| rng.u32(..below)).unwrap();
        let [a, b, c] = [next(), next(), next()];
        let rank = |n: u32, before: &[u32]| n as usize - before.iter().filter(|other| **other < n).count();
        counts[a as usize * 6 + rank(b, &[a]) * 2 + rank(c, &[a, b])] += 1.0;
    }
    assert!(unevenness(&counts) < 5.0, "{counts:?}");
}

#[test]
fn the_estimated_total_of_a_union_is_unbiased() {
    let index = network(1_000);
    let query = query(&["a", "b", "c"], 5);
    let totals = (0..1_000).map(|_| index.sample(&query, NOW).total);
    let sum: u64 =
        totals.inspect(|total| assert!(matches!(total, Total::Estimate(_)))).map(Total::value).sum();
    // The query has 1,800 positions, of which 5 in 9 count. The mean of a thousand estimates from
    // 64 draws each has a standard deviation of 3.5. It is off by 20 once in a hundred million
    // runs.
    assert!((980..1_020).contains(&(sum / 1_000)), "{sum}");
}
