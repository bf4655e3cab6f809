//! The positions of peers in the index.
//!
//! A keyed hash maps the id of each peer to a position on a *ring* of 2^64 positions. The ring is
//! divided into sixteen *lanes* of equal width. The position depends only on the id and the table's
//! secret, so a peer has the same position in every list that it belongs to.
//!
//! An entry of the index has two keys:
//!
//! - The hash key names a lane of a list. The list contains all peers, or the peers with one
//!   archetype. There is also a list of the peers of each source, which is short and not divided
//!   into lanes.
//! - The range key is the position on the ring, and the class of the peer's network in the lowest
//!   twelve bits.
//!
//! One query therefore reads a contiguous range of one lane of one list. Such a range is called a
//! *window*. A random window of a sample may wrap around at the end of its lane, and is then read
//! by two queries.

use std::fmt;

use aurora_discovery_protocol::{Archetype, PeerId};
use aurora_discovery_registry::Source;
use sha2::{Digest, Sha256};

/// A position on the ring. Positions are ordered in the same way as the index's range keys.
///
/// The position of a peer is the 64-bit hash of its id with the lowest twelve bits set to zero. In
/// the index's range key, these bits hold the class of the peer's network. This type also
/// represents whole range keys, and the first and last range keys of ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RingPosition(pub(crate) u64);

/// The class of a peer's wide network (an IPv4 /16 or an IPv6 /32): twelve bits of a keyed hash.
///
/// The index contains only keys, and no other attributes of the items. The class is therefore all
/// that a query of the index returns about the network of a peer.
///
/// A diverse sample of a large network treats the networks of one class as one network. The hash is
/// keyed, so that an attacker cannot search for a network that shares the class of a given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NetworkClass(u64);

impl NetworkClass {
    /// Twelve bits distinguish 4,096 classes, which is more than the number of wide networks in
    /// most deployments. The other 52 bits are enough for the position: of ten thousand tables with
    /// a million peers each, about one has two peers at one position.
    const BITS: u32 = 12;
    const MASK: u64 = (1 << Self::BITS) - 1;
}

impl RingPosition {
    /// The number of range keys that a peer at one position may have.
    pub(crate) const KEYS: u128 = 1 << NetworkClass::BITS;

    /// Splits a range key into the position and the class. Earlier releases wrote all 64 bits of
    /// the hash, so the class in their keys is random.
    pub(crate) const fn split(range_key: u64) -> (Self, NetworkClass) {
        (Self(range_key & !NetworkClass::MASK), NetworkClass(range_key & NetworkClass::MASK))
    }

    /// The range key of a peer at this position.
    pub(crate) const fn range_key(self, class: NetworkClass) -> Self {
        Self(self.0 | class.0)
    }

    /// The largest range key that a peer at this position may have. A range that includes the peer,
    /// whatever its class is, ends here or later.
    pub(crate) const fn last_key(self) -> Self {
        Self(self.0 | NetworkClass::MASK)
    }

    /// The index of this position's lock in an array of `locks` locks.
    pub(crate) const fn lock(self, locks: u64) -> u64 {
        (self.0 >> NetworkClass::BITS) % locks
    }

    pub(crate) const fn lane(self) -> Lane {
        // The shift leaves only the top four bits, so the lowest byte contains all of them.
        Lane((self.0 >> Lane::BITS_WITHIN).to_le_bytes()[0])
    }

    pub(crate) const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

/// One sixteenth of the ring, selected by the top four bits of the hash.
///
/// The lane is part of the index's hash key, by which DynamoDB chooses the partition of an entry,
/// and a partition accepts a limited number of writes. Even if all peers have the same archetype,
/// each of its lanes gets only about a sixteenth of the writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane(u8);

impl Lane {
    pub(crate) const COUNT: u8 = 16;
    const BITS_WITHIN: u32 = 60;
    /// The number of positions in a lane.
    pub(crate) const WIDTH: u64 = 1 << Self::BITS_WITHIN;

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    pub(crate) fn random() -> Self {
        Self(fastrand::u8(..Self::COUNT))
    }

    pub(crate) fn first(self) -> RingPosition {
        RingPosition(u64::from(self.0) << Self::BITS_WITHIN)
    }

    pub(crate) fn last(self) -> RingPosition {
        RingPosition(self.first().0 | (Self::WIDTH - 1))
    }
}

/// A list of peers in the index: sixteen lanes, which together cover the ring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LaneGroup {
    /// All peers.
    All,
    /// The peers with one archetype, in its normal form (Unicode NFC). Earlier releases, which
    /// compared archetypes as written, used the form that the peer wrote.
    OfArchetype(Box<str>),
}

impl LaneGroup {
    /// The groups whose union contains the peers of a query. For each archetype, this is the group
    /// of its normal form. If the query has the archetype in another form, the group of that form
    /// is included as well.
    pub(crate) fn for_query(archetypes: &[Archetype]) -> Vec<Self> {
        if archetypes.is_empty() {
            return vec![Self::All];
        }
        let mut names: Vec<_> = archetypes.iter().flat_map(|name| [name.key(), name.as_str()]).collect();
        names.dedup();
        names.into_iter().map(|name| Self::OfArchetype(name.into())).collect()
    }

    /// The index's hash key for a lane of this group: the archetype, `#` and one hexadecimal digit.
    /// For all peers, the part before `#` is empty. No archetype is empty, so `#0` is never a lane
    /// of an archetype.
    pub(crate) fn lane_key(&self, lane: Lane) -> String {
        let name = match self {
            Self::All => "",
            Self::OfArchetype(name) => name,
        };
        format!("{name}#{:x}", lane.0)
    }
}

/// The index's hash key for the peers of a source. A source has few peers, so their list is not
/// divided into lanes. The key begins with a space. The other hash keys begin with an archetype or
/// with `#`, and no archetype begins with a space.
pub(crate) fn source_lane_key(source: Source) -> String {
    format!(" {source}")
}

/// The table's secret, which keys the hash. If the hash had no key, an attacker could compute
/// positions. The attacker could then choose ids that crowd the ring around a victim, so that the
/// victim is sampled too rarely (see `window.rs`).
#[derive(Clone)]
pub(crate) struct Secret([u8; Self::LEN]);

impl Secret {
    pub(crate) const LEN: usize = 32;

    /// Derives the secret for the nonces of signed registrations. The derived secret does not
    /// reveal this one.
    pub(crate) fn of_nonces(&self) -> [u8; 32] {
        Sha256::new_with_prefix(self.0).chain_update(b" nonces").finalize().into()
    }

    pub(crate) const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The position of a peer.
    ///
    /// The secret is simply a prefix of the hashed bytes. This would allow a length extension
    /// attack if the whole digest were known, but only 8 of its 32 bytes are used.
    pub(crate) fn position(&self, peer: &PeerId) -> RingPosition {
        RingPosition::split(self.hash(peer.as_str().as_bytes())).0
    }

    /// The class of the wide network of a source. The hashed bytes contain a space, which no peer's
    /// id contains, so they differ from the bytes that are hashed for any position.
    pub(crate) fn class(&self, source: Source) -> NetworkClass {
        let key = source.wide_network().key().to_be_bytes();
        RingPosition::split(self.hash(&[b" network".as_slice(), &key].concat())).1
    }

    /// Four bytes that distinguish the cursors of this table from those of other tables. The hashed
    /// bytes contain a space, which no peer's id contains, so they differ from the bytes that are
    /// hashed for any position.
    pub(crate) fn fingerprint(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.hash(b" fingerprint").to_be_bytes();
        [a, b, c, d]
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        let digest = Sha256::new().chain_update(self.0).chain_update(bytes).finalize();
        // The first 64 bits of the digest are uniformly distributed, as the whole digest is.
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(first)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_lies_within_its_lane() {
        for position in [0, 1, Lane::WIDTH - 1, Lane::WIDTH, u64::MAX].map(RingPosition) {
            let lane = position.lane();
            assert!(lane.first() <= position && position <= lane.last(), "{position:?}");
        }
        assert_eq!(Lane::all().map(|lane| lane.first().lane()).collect::<Vec<_>>().len(), 16);
    }

    #[test]
    fn lane_keys_differ_between_archetypes_and_from_those_of_all_peers() {
        let of_archetype = |name: &str| LaneGroup::OfArchetype(name.into());
        let lane = RingPosition(u64::MAX).lane();
        let keys: Vec<_> =
            [LaneGroup::All, of_archetype("*"), of_archetype("#"), of_archetype("#f"), of_archetype("a")]
                .iter()
                .map(|group| group.lane_key(lane))
                .collect();
        assert_eq!(keys, ["#f", "*#f", "##f", "#f#f", "a#f"]);
    }

    #[test]
    fn a_query_reads_the_lanes_of_the_normal_form_and_of_the_form_in_the_query() {
        let groups = |names: &[&str]| {
            let archetypes: Vec<_> = names.iter().map(|name| Archetype::parse(name).unwrap()).collect();
            LaneGroup::for_query(&archetypes)
        };
        let of = |name: &str| LaneGroup::OfArchetype(name.into());
        assert_eq!(groups(&["a", "\u{e9}"]), [of("a"), of("\u{e9}")]);
        assert_eq!(groups(&["e\u{301}"]), [of("\u{e9}"), of("e\u{301}")]);
        assert_eq!(groups(&[]), [LaneGroup::All]);
    }

    /// If all peers have the same archetype, no index key takes more than a fourteenth of the
    /// writes.
    #[test]
    fn peers_are_spread_evenly_over_the_lanes() {
        const PEERS: u32 = 200_000;
        let secret = Secret::from_bytes([5; Secret::LEN]);
        let mut lanes = [0_u32; 16];
        for n in 0..PEERS {
            let peer = PeerId::parse(&format!("peer-{n}")).unwrap();
            lanes[usize::from(secret.position(&peer).lane().0)] += 1;
        }
        assert!(lanes.iter().all(|count| *count < PEERS / 14), "{lanes:?}");
    }

    #[test]
    fn a_range_key_has_the_position_and_the_class() {
        let secret = Secret::from_bytes([5; Secret::LEN]);
        let position = secret.position(&PeerId::parse("p").unwrap());
        let class = |text: &str| secret.class(Source::of(text.parse().unwrap()));
        for text in ["203.0.113.7", "2001:db8::1"] {
            assert_eq!(RingPosition::split(position.range_key(class(text)).0), (position, class(text)));
            assert!(position <= position.range_key(class(text)));
            assert!(position.range_key(class(text)) <= position.last_key());
        }
        assert_eq!(class("203.0.113.7"), class("203.0.9.9"));
        assert_ne!(class("203.0.113.7"), class("203.1.113.7"));
        assert_ne!(class("203.0.113.7"), Secret::from_bytes([6; Secret::LEN]).class(Source::V6(0)));
    }

    #[test]
    fn peers_are_spread_over_the_locks() {
        let secret = Secret::from_bytes([5; Secret::LEN]);
        let lock = |n: u32| secret.position(&PeerId::parse(&format!("p{n}")).unwrap()).lock(64);
        let used: std::collections::BTreeSet<_> = (0..1_000).map(lock).collect();
        assert_eq!(used.len(), 64);
    }

    #[test]
    fn the_position_of_a_peer_depends_on_the_secret() {
        let peer = PeerId::parse("p").unwrap();
        let position = |byte| Secret::from_bytes([byte; Secret::LEN]).position(&peer);
        assert_eq!(position(1), position(1));
        assert_ne!(position(1), position(2));
    }
}
