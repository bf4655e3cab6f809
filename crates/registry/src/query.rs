//! What is asked of a store, and the page it answers with.

use aurora_protocol::{Archetype, PeerId, PeerList, View};

/// Which live peers to list, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Peers that carry any of these, sorted, each once; all peers if empty.
    pub archetypes: Vec<Archetype>,
    /// A peer to leave out of the list and of the total.
    pub exclude: Option<PeerId>,
    /// How much is said of each peer.
    pub view: View,
    /// Most peers in the page, at least 1.
    pub limit: usize,
    /// Most bytes of peers in the page; one peer always fits.
    pub page_bytes: usize,
    /// Whether a sample in which fewer than `limit` match goes on with others; see [`crate::Store::sample`].
    pub fill: bool,
}

/// How many live peers match a query, the excluded one left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// Counted.
    Exact(u64),
    /// Estimated.
    Estimate(u64),
}

impl Total {
    /// The number, counted or estimated.
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
    /// How many match in all.
    pub total: Total,
}
