//! Risks to the network, as sentences.

use aurora_discovery_registry::Census;

use crate::history::Recent;

/// With fewer peers, ratios are not reported, because a single peer is a large share.
const FEW: u64 = 10;
/// A warning is given when no client has requested peers for this many minutes: legacy clients
/// request them every ten seconds.
const SILENT_MINUTES: u64 = 3;
/// The ratio of undiscovered peers from which a warning is given. A lower ratio is normal: the next
/// discovers reach those peers.
const MIN_UNDISCOVERED_RATIO: f64 = 0.05;
/// The maximum number of archetypes of one peer that are named.
const NAMED: usize = 5;

/// A sentence for each risk that the figures show.
pub(super) fn sentences(
    census: &Census,
    recent: Option<&Recent>,
    undiscovered_ratio: Option<f64>,
) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(recent) = recent {
        sentences.extend(silence(census.live, recent));
        sentences.extend(shrinkage(census.live, recent));
    }
    // Slots are not stamped for peers that clients learn about by following changes.
    let followed = recent.is_some_and(|recent| recent.is_followed);
    if let Some(ratio) =
        undiscovered_ratio.filter(|ratio| !followed && census.live >= FEW && *ratio >= MIN_UNDISCOVERED_RATIO)
    {
        sentences.push(format!(
            "{:.0} % of peers were introduced to nobody during their last lease: raise `limit` or discover more often",
            ratio * 100.0
        ));
    }
    sentences.extend(islands(census));
    sentences
}

fn silence(live: u64, recent: &Recent) -> Option<String> {
    let minutes = recent.silent_minutes;
    (live > 1 && minutes >= SILENT_MINUTES).then(|| {
        format!("No discover was answered, and nobody followed, for {minutes} minutes: newcomers meet nobody")
    })
}

fn shrinkage(live: u64, recent: &Recent) -> Option<String> {
    (recent.most_live >= FEW && live <= recent.most_live / 2).then(|| {
        let before = recent.most_live;
        format!("the network shrank by half in 5 minutes, from {before} peers to {live}: check what they reach the service by")
    })
}

/// Archetypes that only one peer carries, in a network with other archetypes.
fn islands(census: &Census) -> Vec<String> {
    let alone = || census.by_archetype.iter().filter(|(_, peers)| *peers == 1 && census.live > 1);
    let mut sentences: Vec<String> = alone()
        .take(NAMED)
        .map(|(archetype, _)| format!("archetype `{archetype}` has 1 peer: use fill=any"))
        .collect();
    match alone().count().saturating_sub(NAMED) {
        0 => {}
        1 => sentences.push("1 more archetype has 1 peer".to_owned()),
        more => sentences.push(format!("{more} more archetypes have 1 peer each")),
    }
    sentences
}

#[cfg(test)]
mod tests {
    use aurora_discovery_protocol::Archetype;

    use super::*;

    fn census(live: u64, archetypes: &[(&str, u64)]) -> Census {
        let by_archetype =
            archetypes.iter().map(|(name, peers)| (Archetype::parse(name).unwrap(), *peers)).collect();
        Census { live, by_archetype, ..Census::default() }
    }

    fn recent(silent_minutes: u64, most_live: u64) -> Recent {
        Recent { rates: None, silent_minutes, is_followed: false, most_live }
    }

    #[test]
    fn nothing_is_said_where_nothing_is_at_risk() {
        let sound = census(100, &[("a", 100), ("b", 2)]);
        assert_eq!(sentences(&sound, Some(&recent(2, 150)), Some(0.04)), [""; 0]);
        assert_eq!(sentences(&sound, None, None), [""; 0]);
        let followed = Recent { is_followed: true, ..recent(0, 100) };
        assert_eq!(sentences(&sound, Some(&followed), Some(1.0)), [""; 0], "followers are told of peers too");
        assert_eq!(sentences(&census(1, &[("a", 1)]), Some(&recent(5, 1)), Some(1.0)), [""; 0]);
    }

    #[test]
    fn each_danger_is_a_sentence_that_says_what_to_do() {
        let said = sentences(&census(50, &[("a", 49), ("x", 1)]), Some(&recent(3, 100)), Some(0.17));
        assert_eq!(said.len(), 4);
        assert!(said[0].starts_with("No discover was answered, and nobody followed, for 3 minutes"));
        assert!(said[1].starts_with("the network shrank by half in 5 minutes, from 100 peers to 50"));
        assert_eq!(
            said[2],
            "17 % of peers were introduced to nobody during their last lease: raise `limit` or discover more often"
        );
        assert_eq!(said[3], "archetype `x` has 1 peer: use fill=any");
    }

    #[test]
    fn few_of_many_lonely_archetypes_are_named() {
        let names: Vec<_> = (0..8).map(|n| format!("a{n}")).collect();
        let archetypes: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let said = sentences(&census(8, &archetypes), None, None);
        assert_eq!((said.len(), said[5].as_str()), (6, "3 more archetypes have 1 peer each"));
    }
}
