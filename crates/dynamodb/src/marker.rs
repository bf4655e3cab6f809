//! The markers of a peer: items that list it in the index under its archetypes and its source.
//!
//! An item is in one place of the index only, and the peer's item takes its place among all peers.
//! Therefore each further list that the peer belongs to has a marker, which has the peer's position
//! in the lane of that list.
//!
//! Markers are written before their peer and deleted after it, and only if they still have the
//! generation that the deleting process saw in the peer. A crash or a race can therefore leave
//! markers without a peer, but no peer without its markers. Lists read the peers themselves, so a
//! marker without a peer lists nothing, and its time to live ends it.
//!
//! Markers have a time to live of their own. It ends two days after the time to live of the peer's
//! item, so most heartbeats renew the peer's item only.

use aurora_discovery_protocol::{Archetype, PeerId};

use crate::item::{GENERATION, Item, StoredPeer, TIME_TO_LIVE, bytes, index_keys, key, number};
use crate::lane::{LaneGroup, Secret, source_lane_key};

/// How much longer a marker lives than its peer's item, in seconds: two days. Heartbeats therefore
/// rarely have to renew markers.
const MARKER_SLACK_SECONDS: u64 = 2 * 86_400;

impl StoredPeer {
    /// The markers of this peer: one per archetype, and one for its source if sources are
    /// `counted`. They are written before the peer. They have its generation, so that a delete
    /// cannot hit the markers of a newer registration.
    pub(crate) fn markers(&self, secret: &Secret, counted: bool) -> Vec<Item> {
        let peer = &self.registration.peer_id;
        let range_key = secret.position(peer).range_key(secret.class(self.holder.source));
        let marker = |key: String, lane: String| {
            // The index lists keys only, so a marker needs nothing of the registration.
            let mut item = self::key(&key);
            item.extend(index_keys(lane, range_key));
            item.insert(GENERATION.to_owned(), bytes(self.generation.0));
            item.insert(TIME_TO_LIVE.to_owned(), number(self.markers_expire_at));
            item
        };
        let of_archetype = |archetype: &Archetype| {
            let lane = LaneGroup::OfArchetype(archetype.key().into()).lane_key(range_key.lane());
            marker(archetype_marker_key(archetype, peer), lane)
        };
        let source = self.holder.source;
        let of_source = counted.then(|| marker(self.source_marker_key(), source_lane_key(source)));
        self.archetypes().iter().map(of_archetype).chain(of_source).collect()
    }

    /// The keys of these markers.
    pub(crate) fn marker_keys(&self, counted: bool) -> Vec<String> {
        let peer = &self.registration.peer_id;
        let of_archetype = |archetype: &Archetype| archetype_marker_key(archetype, peer);
        let of_source = counted.then(|| self.source_marker_key());
        self.archetypes().iter().map(of_archetype).chain(of_source).collect()
    }

    /// When markers that are written now expire, in seconds since the epoch.
    pub(crate) fn marker_expiry(&self, revival_window_millis: u64) -> u64 {
        self.deletable_at(revival_window_millis) + MARKER_SLACK_SECONDS
    }

    /// The key of the source marker. An archetype does not begin with a space, so no marker of an
    /// archetype has it.
    pub(crate) fn source_marker_key(&self) -> String {
        format!("  {} {}", self.holder.source, self.registration.peer_id)
    }
}

fn archetype_marker_key(archetype: &Archetype, peer: &PeerId) -> String {
    format!(" {} {peer}", archetype.key())
}

#[cfg(test)]
mod tests {
    use crate::item::tests::{SECRET, stored};
    use crate::item::{KEY, LANE, is_peer, key_of, parse_index_entry, text_of};

    #[test]
    fn the_key_of_a_marker_yields_its_peer_for_any_archetype() {
        let peer = stored("p", &["two words", "#0", "é"]);
        let position = SECRET.position(&peer.registration.peer_id);
        for marker in peer.markers(&SECRET, true) {
            let class = SECRET.class(peer.holder.source);
            let expected = (position, peer.registration.peer_id.clone(), class);
            assert_eq!(parse_index_entry(&marker).unwrap(), expected);
            assert!(!is_peer(&marker));
        }
        assert_eq!(parse_index_entry(&peer.to_item(&SECRET, 1_000).unwrap()).unwrap().0, position);
    }

    #[test]
    fn a_source_marker_is_neither_in_the_lane_nor_under_the_key_of_any_archetype() {
        // Archetypes that imitate a source.
        let peer = stored("p", &["203.0.113.7", "203.0.113.7 p"]);
        let markers = peer.markers(&SECRET, true);
        let (source, others) = markers.split_last().unwrap();
        assert_eq!(key_of(source), Some("  203.0.113.7 p"));
        assert_eq!(text_of(source, LANE), Ok(" 203.0.113.7"));
        assert!(others.iter().all(|other| other[KEY] != source[KEY] && other[LANE] != source[LANE]));
        assert_eq!(peer.marker_keys(true), markers.iter().filter_map(key_of).collect::<Vec<_>>());
        assert_eq!(peer.markers(&SECRET, false), others);
        assert_eq!(peer.marker_keys(false).len(), others.len());
    }
}
