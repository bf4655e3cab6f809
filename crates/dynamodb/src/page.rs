//! Builds a page of peers.

use std::collections::HashSet;

use aurora_discovery_protocol::{FullView, PeerId, PeerList, Timestamp};
use aurora_discovery_registry::{Page, Query, Total};

use crate::estimate::{scale, to_u64};
use crate::item::StoredPeer;
use crate::lane::LaneGroup;

/// The approximate size of the largest peer on a page, in bytes, without its signed record: 4 KiB of
/// metadata, 1 KiB of archetypes whose size may double when they are escaped in JSON, and the other
/// fields. In the full view, a peer with a signed record can be more than twice as large.
const LARGEST_PEER: usize = 7_000;
/// The cost of reading the largest peer, in half read units.
const LARGEST_READ: u64 = 2;

/// Collects the peers of a page, within the limits of its query.
///
/// A page is bounded in three ways: by a number of peers, by a size in bytes, and by the cost of
/// the reads that are made for it. The size and the cost of a peer are known only once it has been
/// read. [`Self::missing`] and [`Self::readable`] therefore estimate how many more to read, from
/// those that were read before.
pub(crate) struct PageBuilder<'q> {
    query: &'q Query,
    now: Timestamp,
    peers: PeerList,
    /// The maximum cost of the reads for this page, in half read units.
    budget: u64,
    /// The cost of the reads so far, in half read units.
    spent: u64,
    /// The number of peers that were read so far.
    read: u64,
    /// Whether a peer did not fit. No peer is added after it, so that an enumeration can continue
    /// with it on the next page.
    truncated: bool,
    /// The ids of the peers on the page, if the page may be filled with peers that do not match.
    listed: Option<HashSet<PeerId>>,
    /// Whether the page is being filled with peers that do not match.
    filling: bool,
}

impl<'q> PageBuilder<'q> {
    /// An empty page, whose reads may cost `budget` half read units.
    pub(crate) fn new(query: &'q Query, budget: u64, now: Timestamp) -> Self {
        // A fill must not list a peer that is on the page already, so its ids are recorded.
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

    /// Starts to fill the page with peers that do not match, after all peers that match were added.
    /// Returns `false` if the query does not request this, if it has no archetypes, or if the page
    /// is full. If it returns `true`, [`Self::push`] adds only peers that do not match from then
    /// on.
    pub(crate) fn start_fill(&mut self) -> bool {
        self.filling = self.listed.is_some() && !self.is_full();
        self.filling
    }

    /// Appends a peer. Returns whether there was space for it. After this method has returned
    /// `false`, it adds no further peer. After `start_fill`, it skips a peer that matches or is on
    /// the page already, and returns `true`.
    pub(crate) fn push(&mut self, stored: &StoredPeer) -> bool {
        if self.filling && !self.is_fill_peer(stored) {
            return true;
        }
        let peer = stored.json.encoded();
        let signed = stored.signed.as_ref().map(|signed| &*signed.record);
        let signed = signed.filter(|_| self.query.view.is_full());
        // The last byte is for the comma between two peers.
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

    /// Whether a fill may add this peer: it does not match, and is not on the page yet.
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

    /// Records that finding and reading `read` peers has cost `half_units` half read units.
    pub(crate) fn charge(&mut self, half_units: u64, read: usize) {
        self.spent += half_units;
        self.read += to_u64(read);
    }

    /// How much of the budget is left, in half read units.
    pub(crate) fn left(&self) -> u64 {
        self.budget.saturating_sub(self.spent)
    }

    /// The number of lane groups that the query reads. Reading a window costs at least half a read
    /// unit for each of them.
    pub(crate) fn groups(&self) -> u64 {
        to_u64(LaneGroup::for_query(&self.query.archetypes).len())
    }

    /// How many more peers can probably be read within the budget, estimated from the average cost
    /// of those that were read. Before the first peer is read, the cost of the largest peer is
    /// assumed. 0 if the page must end.
    pub(crate) fn readable(&self) -> usize {
        let left = self.left();
        let readable = match self.read {
            0 => left / (LARGEST_READ + self.groups()),
            read => scale(left, read, self.spent),
        };
        // A page reads at least one peer, and then at least one more while any of the budget is
        // left.
        let least = u64::from(left > 0 || self.read == 0);
        usize::try_from(readable.max(least)).unwrap_or(usize::MAX)
    }

    /// How many more peers probably fit on the page, estimated from the average size of those that
    /// it has. For an empty page, the size of the largest peer is assumed. At least 1 unless the
    /// limit is reached.
    pub(crate) fn missing(&self) -> usize {
        let left = self.query.page_bytes.saturating_sub(self.peers.bytes());
        let of_size = match self.peers.len() {
            0 => left / LARGEST_PEER,
            listed => left / (self.peers.bytes() / listed).max(1),
        };
        // This is an eighth more than the estimate, plus one. Reading too few peers would cost
        // another round. If too many are read, the page ends at the first one that does not fit.
        of_size.saturating_add(of_size / 8 + 1).min(self.query.limit.saturating_sub(self.peers.len()))
    }

    pub(crate) fn finish(self, total: Total) -> Page {
        Page { peers: self.peers, total }
    }
}
