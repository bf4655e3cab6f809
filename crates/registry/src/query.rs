//! Queries to a store, and the pages that it returns.

use aurora_discovery_protocol::{Archetype, PeerId, PeerList, View};

/// Which live peers to list, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// List peers that carry any of these archetypes (sorted, without duplicates), or all peers if
    /// empty.
    pub archetypes: Vec<Archetype>,
    /// A peer to exclude from the list and from the total.
    pub exclude: Option<PeerId>,
    /// The representation of each peer.
    pub view: View,
    /// The maximum number of peers in the page, at least 1.
    pub limit: usize,
    /// The maximum size of the peers in the page, in bytes. One peer is always allowed.
    pub page_bytes: usize,
    /// Whether a sample is diverse; see [`crate::Store::sample`].
    pub diverse: bool,
    /// Whether to fill a sample with other peers if fewer than `limit` match; see
    /// [`crate::Store::sample`].
    pub fill: bool,
}

/// The number of live peers that match a query, not counting the excluded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// A count.
    Exact(u64),
    /// An estimate.
    Estimate(u64),
}

impl Total {
    /// The number, exact or estimated.
    pub const fn value(self) -> u64 {
        match self {
            Self::Exact(total) | Self::Estimate(total) => total,
        }
    }
}

/// One page of peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The peers.
    pub peers: PeerList,
    /// The number of all peers that match.
    pub total: Total,
}
