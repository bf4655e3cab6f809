//! Collapses a series of changes: each peer is listed once, in its final state.

use std::sync::Arc;

use aurora_discovery_protocol::{PeerId, PeerList, View};
use hashbrown::HashMap;

use super::change::{Change, Filter};

/// Accepts changes in order until a page is full.
pub(super) struct Collapse {
    filter: Filter,
    view: View,
    limit: usize,
    page_bytes: usize,
    bytes: usize,
    /// Peers in the order of their first change.
    peers: Vec<NetChange>,
    by_id: HashMap<Box<[u8]>, usize>,
}

/// The net change of one peer. Only two facts are needed: whether it matched before its first
/// change, and its last change.
struct NetChange {
    /// Whether it matched before its first change.
    matched_before: bool,
    last: Arc<Change>,
}

impl Collapse {
    pub(super) fn new(filter: Filter, view: View, limit: usize, page_bytes: usize) -> Self {
        Self { filter, view, limit, page_bytes, bytes: 0, peers: Vec::new(), by_id: HashMap::new() }
    }

    /// Accepts a change for a follower whose last page ended at `seen`, or returns `false` because
    /// the page is full. The first change is always accepted, so that each page makes progress.
    pub(super) fn accept(&mut self, change: &Arc<Change>, seen: u64) -> bool {
        // A change that the filter hides does not alter the net change: either the peer is
        // excluded, or it matched neither before nor after this change, so its last recorded change
        // still holds.
        if self.filter.kind(change, seen).is_none() {
            return true;
        }
        let known = self.by_id.get(change.id_bytes()).copied();
        let replaced = known.map_or(0, |index| self.peers[index].last.max_listed_len(self.view));
        let bytes = self.bytes + change.max_listed_len(self.view) - replaced;
        let full = bytes > self.page_bytes || (known.is_none() && self.peers.len() >= self.limit);
        if full && !self.peers.is_empty() {
            return false;
        }
        self.bytes = bytes;
        if let Some(index) = known {
            self.peers[index].last = change.clone();
        } else {
            self.by_id.insert(change.id_bytes().into(), self.peers.len());
            let matched_before = self.filter.matches_before(change, seen);
            self.peers.push(NetChange { matched_before, last: change.clone() });
        }
        true
    }

    /// The peers that joined, changed and left.
    pub(super) fn into_lists(self) -> (PeerList, PeerList, Vec<PeerId>) {
        let view = self.view;
        let (mut joined, mut changed, mut left) = (PeerList::default(), PeerList::default(), Vec::new());
        for NetChange { matched_before, last } in &self.peers {
            match (*matched_before, self.filter.matches_after(last)) {
                (false, true) => last.list(view, &mut joined),
                (true, true) => last.list(view, &mut changed),
                // A peer that joined and left within the page is reported as well, because the
                // follower may have seen it in an enumeration in between.
                (_, false) => left.extend(last.peer_id()),
            }
        }
        (joined, changed, left)
    }
}
