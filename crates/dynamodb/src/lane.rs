//! The places of peers in the index: sixteen lanes of a keyed hash.

use std::fmt;

use aurora_discovery_protocol::{Archetype, PeerId};
use sha2::{Digest, Sha256};

/// A peer's place on the ring of the 64-bit hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(pub(crate) u64);

impl Place {
    pub(crate) const fn lane(self) -> Lane {
        Lane((self.0 >> Lane::BITS_WITHIN).to_le_bytes()[0])
    }

    pub(crate) const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

/// One sixteenth of the ring, selected by the top four bits of the hash. With sixteen lanes, no
/// index key takes more than a sixteenth of the writes, even if all peers have the same archetype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane(u8);

impl Lane {
    pub(crate) const COUNT: u8 = 16;
    const BITS_WITHIN: u32 = 60;
    /// The width of a lane on the ring.
    pub(crate) const WIDTH: u64 = 1 << Self::BITS_WITHIN;

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    pub(crate) fn random() -> Self {
        Self(fastrand::u8(..Self::COUNT))
    }

    pub(crate) fn first(self) -> Place {
        Place(u64::from(self.0) << Self::BITS_WITHIN)
    }

    pub(crate) fn last(self) -> Place {
        Place(self.first().0 | (Self::WIDTH - 1))
    }
}

/// A set of lanes: those of all peers, or those of one archetype.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    All,
    Carrying(Archetype),
}

impl Family {
    /// The families whose union contains the peers of a query.
    pub(crate) fn of(archetypes: &[Archetype]) -> Vec<Self> {
        if archetypes.is_empty() {
            return vec![Self::All];
        }
        archetypes.iter().cloned().map(Self::Carrying).collect()
    }

    /// The index key of a lane. An archetype is never empty, so `#0` is always a lane of all peers.
    pub(crate) fn lane_key(&self, lane: Lane) -> String {
        let name = match self {
            Self::All => "",
            Self::Carrying(archetype) => archetype.as_str(),
        };
        format!("{name}#{:x}", lane.0)
    }
}

/// The table's secret. Without it, an attacker could search for ids that surround a victim on the
/// ring.
#[derive(Clone)]
pub(crate) struct Secret([u8; Self::LEN]);

impl Secret {
    pub(crate) const LEN: usize = 32;

    pub(crate) const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The place of a peer. A secret prefix is a sufficient key for the hash, because only 8 of its
    /// 32 bytes are ever exposed.
    pub(crate) fn place(&self, peer: &PeerId) -> Place {
        Place(self.hash(peer.as_str().as_bytes()))
    }

    /// Distinguishes the cursors of this table from those of other tables. The input contains a
    /// space, and a peer's id cannot, so this is not the place of any peer.
    pub(crate) fn fingerprint(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.hash(b" fingerprint").to_be_bytes();
        [a, b, c, d]
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        let digest = Sha256::new().chain_update(self.0).chain_update(bytes).finalize();
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
    fn a_place_lies_within_its_lane() {
        for place in [0, 1, Lane::WIDTH - 1, Lane::WIDTH, u64::MAX].map(Place) {
            let lane = place.lane();
            assert!(lane.first() <= place && place <= lane.last(), "{place:?}");
        }
        assert_eq!(Lane::all().map(|lane| lane.first().lane()).collect::<Vec<_>>().len(), 16);
    }

    #[test]
    fn no_archetype_shares_a_lane_with_another_or_with_all() {
        let carrying = |name| Family::Carrying(Archetype::parse(name).unwrap());
        let lane = Place(u64::MAX).lane();
        let keys: Vec<_> = [Family::All, carrying("*"), carrying("#"), carrying("#f"), carrying("a")]
            .iter()
            .map(|family| family.lane_key(lane))
            .collect();
        assert_eq!(keys, ["#f", "*#f", "##f", "#f#f", "a#f"]);
    }

    /// If all peers have the same archetype, no index key takes more than a fourteenth of the
    /// writes.
    #[test]
    fn no_lane_takes_much_more_than_a_sixteenth() {
        const PEERS: u32 = 200_000;
        let secret = Secret::from_bytes([5; Secret::LEN]);
        let mut lanes = [0_u32; 16];
        for n in 0..PEERS {
            let peer = PeerId::parse(&format!("peer-{n}")).unwrap();
            lanes[usize::from(secret.place(&peer).lane().0)] += 1;
        }
        assert!(lanes.iter().all(|count| *count < PEERS / 14), "{lanes:?}");
    }

    #[test]
    fn the_secret_decides_where_a_peer_lies() {
        let peer = PeerId::parse("p").unwrap();
        let place = |byte| Secret::from_bytes([byte; Secret::LEN]).place(&peer);
        assert_eq!(place(1), place(1));
        assert_ne!(place(1), place(2));
    }
}
