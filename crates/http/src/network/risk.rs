//! Risks to the network, as sentences.

use aurora_discovery_protocol::Archetype;

use crate::history::Summary;

/// With fewer peers, there is no warning about ratios, because a single peer is a large share.
const MIN_PEERS: u64 = 10;
/// After this many minutes in which no client has requested peers or followed changes, there is a
/// warning. Legacy clients request peers every ten seconds.
const SILENT_MINUTES: u64 = 3;
/// From this ratio of undiscovered peers on, there is a warning. A peer is undiscovered if no page
/// has listed it during its last lease. A lower ratio is normal: the next pages will list those
/// peers.
const MIN_UNDISCOVERED_RATIO: f64 = 0.05;
/// The maximum number of archetypes with a single peer that the sentences name.
const MAX_NAMED: usize = 5;

/// A sentence for each risk that the figures show. `live` is the number of live peers, and
/// `established` the established archetypes with the number of live peers of each.
pub(super) fn sentences(
    live: u64,
    established: &[(Archetype, u64)],
    summary: Option<&Summary>,
    undiscovered_ratio: Option<f64>,
) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(summary) = summary {
        sentences.extend(silence(live, summary));
        sentences.extend(shrinkage(live, summary));
    }
    // If clients follow changes, the ratio is ignored: a peer that clients learn about from changes
    // still counts as undiscovered.
    let followed = summary.is_some_and(|summary| summary.is_followed);
    if let Some(ratio) =
        undiscovered_ratio.filter(|ratio| !followed && live >= MIN_PEERS && *ratio >= MIN_UNDISCOVERED_RATIO)
    {
        sentences.push(format!(
            "{:.0} % of peers were not listed by any page during their last lease: raise `limit` or discover more often",
            ratio * 100.0
        ));
    }
    sentences.extend(single_peer_archetypes(live, established));
    sentences
}

fn silence(live: u64, summary: &Summary) -> Option<String> {
    let minutes = summary.silent_minutes;
    // A single peer has no other peer to discover.
    (live > 1 && minutes >= SILENT_MINUTES).then(|| {
        format!(
            "no client has requested peers or followed changes for {minutes} minutes: new peers are not found"
        )
    })
}

fn shrinkage(live: u64, summary: &Summary) -> Option<String> {
    // Compares with the maximum of the last five minutes only.
    (summary.max_live >= MIN_PEERS && live <= summary.max_live / 2).then(|| {
        let before = summary.max_live;
        format!("the network shrank by half within 5 minutes, from {before} peers to {live}: check that peers can reach the service")
    })
}

/// Established archetypes that only one peer still has, in a network with other peers.
fn single_peer_archetypes(live: u64, established: &[(Archetype, u64)]) -> Vec<String> {
    let single = || established.iter().filter(|(_, peers)| *peers == 1 && live > 1);
    let mut sentences: Vec<String> = single()
        .take(MAX_NAMED)
        .map(|(archetype, _)| format!("archetype `{archetype}` has 1 peer: use fill=any"))
        .collect();
    match single().count().saturating_sub(MAX_NAMED) {
        0 => {}
        1 => sentences.push("1 more archetype has 1 peer".to_owned()),
        more => sentences.push(format!("{more} more archetypes have 1 peer each")),
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archetypes(archetypes: &[(&str, u64)]) -> Vec<(Archetype, u64)> {
        archetypes.iter().map(|(name, peers)| (Archetype::parse(name).unwrap(), *peers)).collect()
    }

    fn summary(silent_minutes: u64, max_live: u64) -> Summary {
        Summary { rates: None, silent_minutes, is_followed: false, max_live }
    }

    #[test]
    fn a_healthy_network_has_no_risks() {
        let healthy = archetypes(&[("a", 100), ("b", 2)]);
        assert_eq!(sentences(100, &healthy, Some(&summary(2, 150)), Some(0.04)), [""; 0]);
        assert_eq!(sentences(100, &healthy, None, None), [""; 0]);
        let followed = Summary { is_followed: true, ..summary(0, 100) };
        assert_eq!(
            sentences(100, &healthy, Some(&followed), Some(1.0)),
            [""; 0],
            "clients that follow changes learn about peers without pages"
        );
        assert_eq!(sentences(1, &archetypes(&[("a", 1)]), Some(&summary(5, 1)), Some(1.0)), [""; 0]);
    }

    #[test]
    fn each_risk_is_a_sentence_with_advice() {
        let risks = sentences(50, &archetypes(&[("a", 49), ("x", 1)]), Some(&summary(3, 100)), Some(0.17));
        assert_eq!(risks.len(), 4);
        assert!(risks[0].starts_with("no client has requested peers or followed changes for 3 minutes"));
        assert!(risks[1].starts_with("the network shrank by half within 5 minutes, from 100 peers to 50"));
        assert_eq!(
            risks[2],
            "17 % of peers were not listed by any page during their last lease: raise `limit` or discover more often"
        );
        assert_eq!(risks[3], "archetype `x` has 1 peer: use fill=any");
    }

    #[test]
    fn at_most_five_single_peer_archetypes_are_named() {
        let names: Vec<_> = (0..8).map(|n| format!("a{n}")).collect();
        let single: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let risks = sentences(8, &archetypes(&single), None, None);
        assert_eq!((risks.len(), risks[5].as_str()), (6, "3 more archetypes have 1 peer each"));
    }
}
