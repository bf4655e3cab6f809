//! Builds a page of peers.

use std::collections::HashSet;

use aurora_discovery_protocol::{FullView, PeerId, PeerList, Timestamp};
use aurora_discovery_registry::{Page, Query, Total};

use crate::estimate::{scale, to_u64};
use crate::item::StoredPeer;
use crate::lane::LaneGroup;

/// The most bytes that one peer takes on a page, roughly: 4 KiB of metadata, archetypes of 1 KiB
/// that double when escaped, and the rest.
const LARGEST_PEER: usize = 7_000;
/// Half read units of the largest peer.
const LARGEST_READ: u64 = 2;

/// The peers of a page, within the limits of its query.
pub(crate) struct PageBuilder<'q> {
    query: &'q Query,
    now: Timestamp,
    peers: PeerList,
    /// The most that reading may cost, in half read units.
    budget: u64,
    /// What reading the peers of this page has cost, in half read units, and how many were read.
    spent: u64,
    read: u64,
    /// Whether a peer did not fit. Nothing is added after it, so that a page has no gaps.
    truncated: bool,
    /// The ids of the listed peers, if the page may be filled with other peers, which must be
    /// different.
    listed: Option<HashSet<PeerId>>,
    /// Whether the page is being filled with peers that do not match.
    filling: bool,
}

impl<'q> PageBuilder<'q> {
    /// A page whose reads cost `budget` half read units at most.
    pub(crate) fn new(query: &'q Query, budget: u64, now: Timestamp) -> Self {
        // The ids are needed only for a fill, which must not list a peer twice.
        let listed = (query.fill && !query.archetypes.is_empty()).then(HashSet::new);
        Self {
            query,
            now,
            peers: PeerList::default(),
            budget,
            spent: 0,
            read: 0,
            truncated: false,
            listed,
            filling: false,
        }
    }

    /// Starts to fill the page with peers that do not match, after all matching ones were added.
    /// Returns whether the query wants that and there is space. From here on, only peers that do
    /// not match are added.
    pub(crate) fn start_fill(&mut self) -> bool {
        self.filling = self.listed.is_some() && !self.is_full();
        self.filling
    }

    /// Appends a peer. Returns whether there was space. Once it returns `false`, no further peer is
    /// added. While the page is being filled, a peer that matches is skipped and needs no space.
    pub(crate) fn push(&mut self, stored: &StoredPeer) -> bool {
        if self.filling && !self.is_fill_peer(stored) {
            return true;
        }
        let peer = stored.json.encoded();
        // One byte more for the comma between two peers.
        let signed = stored.signed.as_ref().map(|signed| &*signed.record);
        let signed = signed.filter(|_| self.query.view.is_full());
        let bytes = peer.max_listed_len(self.query.view)
            + signed.map_or(0, |record| FullView::signed_len(record.len()))
            + 1;
        // The first peer is always added, so that an enumeration makes progress.
        let fits = self.peers.is_empty() || self.peers.bytes() + bytes <= self.query.page_bytes;
        if self.truncated || !fits || self.peers.len() >= self.query.limit {
            self.truncated = true;
            return false;
        }
        self.peers.push_in_view(self.query.view, peer, stored.last_seen, || {
            let seconds = |millis: u64| millis / 1_000;
            let expires_in = seconds(stored.expires_at.millis_since(self.now));
            let registered_ago = seconds(self.now.millis_since(stored.registered_at));
            FullView { expires_in, registered_ago, signed }
        });
        if let Some(listed) = &mut self.listed {
            listed.insert(stored.registration.peer_id.clone());
        }
        true
    }

    /// Whether a peer does not match and is not on the page yet.
    fn is_fill_peer(&self, stored: &StoredPeer) -> bool {
        let listed = self.listed.as_ref().is_some_and(|ids| ids.contains(&stored.registration.peer_id));
        !listed && !stored.has_any_of(&self.query.archetypes)
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether the page is full, by the limit or by its size in bytes.
    pub(crate) fn is_full(&self) -> bool {
        self.truncated || self.peers.len() >= self.query.limit
    }

    /// Adds what it cost to find and read this many peers, in half read units.
    pub(crate) fn charge(&mut self, half_units: u64, read: usize) {
        self.spent += half_units;
        self.read += to_u64(read);
    }

    /// What may still be spent, in half read units.
    pub(crate) fn left(&self) -> u64 {
        self.budget.saturating_sub(self.spent)
    }

    /// The groups of lanes that the query reads. A window costs half a read unit for each at least.
    pub(crate) fn groups(&self) -> u64 {
        to_u64(LaneGroup::for_query(&self.query.archetypes).len())
    }

    /// How many more peers may probably be read for this page, judged by what reading has cost. 0 if
    /// the page must end.
    pub(crate) fn readable(&self) -> usize {
        let left = self.left();
        let readable = match self.read {
            0 => left / (LARGEST_READ + self.groups()),
            read => scale(left, read, self.spent),
        };
        // A page reads at least one peer, and another one as long as anything is left.
        let least = u64::from(left > 0 || self.read == 0);
        usize::try_from(readable.max(least)).unwrap_or(usize::MAX)
    }

    /// How many more peers the page probably holds, judged by the size of those that it has. An empty
    /// page holds at least as many of the largest ones. At least 1 unless the limit is reached.
    pub(crate) fn missing(&self) -> usize {
        let left = self.query.page_bytes.saturating_sub(self.peers.bytes());
        let of_size = match self.peers.len() {
            0 => left / LARGEST_PEER,
            listed => left / (self.peers.bytes() / listed).max(1),
        };
        // A few more than average, because the page ends at the first peer that does not fit.
        of_size.saturating_add(of_size / 8 + 1).min(self.query.limit.saturating_sub(self.peers.len()))
    }

    pub(crate) fn finish(self, total: Total) -> Page {
        Page { peers: self.peers, total }
    }
}
