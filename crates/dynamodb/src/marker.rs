//! The markers of a peer: items that list it in the index under its archetypes and its source.
//!
//! # Why markers exist
//!
//! In DynamoDB, each item has at most one entry in an index. The entry of a peer's own item is in
//! the list of all peers. The peer also belongs to the list of each of its archetypes, and to that
//! of its source. It needs a further item for each of these lists, which is called a marker. A
//! marker has the peer's position in a [lane](crate::lane) of the list, and no part of the
//! registration.
//!
//! # Why a peer is never without its markers
//!
//! A query for an archetype does not find a peer without the marker of that archetype. Two rules
//! ensure that no peer lacks a marker:
//!
//! - Markers are written before their peer, and deleted after it. A crash in between leaves markers
//!   without a peer.
//! - A process deletes a marker only if the marker still has the generation that the process saw in
//!   the peer. If another process has registered the peer again meanwhile, its markers have another
//!   generation and stay.
//!
//! A marker without a peer is harmless: every list reads the peers' own items, so it does not list
//! a peer that has none. DynamoDB deletes the marker when its time to live ends.
//!
//! # How long a marker lives
//!
//! A marker is written with a time to live that ends two days after that of the peer's item. A
//! heartbeat that extends the lease therefore usually writes only the peer's item. It writes the
//! markers as well if the item would otherwise outlive them, or if the sweep has removed the peer
//! from the index.

use aurora_discovery_protocol::{Archetype, PeerId};

use crate::item::{GENERATION, Item, StoredPeer, TIME_TO_LIVE, bytes, index_keys, key, number};
use crate::lane::{LaneGroup, Secret, source_lane_key};

/// How much later the time to live of a new marker ends than that of its peer's item, in seconds:
/// two days.
const MARKER_SLACK_SECONDS: u64 = 2 * 86_400;

impl StoredPeer {
    /// The markers of this peer, with the peer's generation: first one per archetype, and then one
    /// for its source if `counted`. `counted` says whether the number of peers of this source is
    /// bounded, so that they must be counted.
    pub(crate) fn markers(&self, secret: &Secret, counted: bool) -> Vec<Item> {
        let peer = &self.registration.peer_id;
        let range_key = secret.position(peer).range_key(secret.class(self.holder.source));
        let marker = |key: String, lane: String| {
            // A query of the index returns only keys, so a marker needs no part of the
            // registration.
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

    /// The keys of [`Self::markers`], in the same order.
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

    /// The key of the source marker, which begins with two spaces. The key of an archetype's marker
    /// begins with one space and the archetype, which does not begin with a space, so the two kinds
    /// of keys never collide.
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
