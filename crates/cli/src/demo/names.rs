//! The names and archetypes of the demo's peers.

use aurora_discovery_protocol::{Archetypes, PeerId};

const NAMES: [&str; 32] = [
    "pepino", "lumen", "boreal", "nova", "sable", "cedar", "quill", "ember", "tundra", "wren", "coral",
    "juniper", "onyx", "saffron", "marlow", "zephyr", "isla", "rowan", "tamsin", "vesper", "clover", "fjord",
    "heron", "indigo", "kestrel", "lichen", "mirth", "nimbus", "osprey", "plume", "sorrel", "thistle",
];
const ARCHETYPES: [&str; 6] = ["pepino", "ethics", "memory", "vision", "tensor", "poetry"];

/// The id of the peer with this number: a name, followed by a number once all names are in use.
pub(super) fn peer_id(number: usize) -> Option<PeerId> {
    let name = NAMES[number % NAMES.len()];
    let round = number / NAMES.len() + 1;
    let id = if round == 1 { name.to_owned() } else { format!("{name}-{round}") };
    PeerId::parse(&id).ok()
}

/// One or two archetypes.
pub(super) fn archetypes() -> Archetypes {
    let names = fastrand::choose_multiple(ARCHETYPES, fastrand::usize(1..=2));
    Archetypes::parse(&names).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_peer_has_a_unique_name_and_an_archetype() {
        let ids: HashSet<_> = (0..500).map(|number| peer_id(number).unwrap()).collect();
        assert_eq!(ids.len(), 500);
        assert!((0..100).all(|_| !archetypes().as_slice().is_empty()));
    }
}
