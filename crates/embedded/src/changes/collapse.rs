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
    peers: Vec<Course>,
    by_id: HashMap<Box<[u8]>, usize>,
}

/// The net change of one peer. Only two facts are needed: whether it matched before its first
/// change, and its last change.
struct Course {
    /// Whether it matched before its first change.
    before: bool,
    last: Arc<Change>,
}

impl Collapse {
    pub(super) fn new(filter: Filter, view: View, limit: usize, page_bytes: usize) -> Self {
        Self { filter, view, limit, page_bytes, bytes: 0, peers: Vec::new(), by_id: HashMap::new() }
    }

    /// Accepts a change, or returns `false` because the page is full. The first change is always
    /// accepted, so that each page makes progress.
    pub(super) fn take(&mut self, change: &Arc<Change>) -> bool {
        // A change that the filter hides does not alter the net change: either the peer is
        // excluded, or it matched neither before nor after this change, so its last recorded change
        // still holds.
        if self.filter.kind(change).is_none() {
            return true;
        }
        let known = self.by_id.get(change.peer_id()).copied();
        let replaced = known.map_or(0, |at| self.peers[at].last.told_len(self.view));
        let bytes = self.bytes + change.told_len(self.view) - replaced;
        let full = bytes > self.page_bytes || (known.is_none() && self.peers.len() >= self.limit);
        if full && !self.peers.is_empty() {
            return false;
        }
        self.bytes = bytes;
        if let Some(at) = known {
            self.peers[at].last = change.clone();
        } else {
            self.by_id.insert(change.peer_id().into(), self.peers.len());
            self.peers.push(Course { before: self.filter.before(change), last: change.clone() });
        }
        true
    }

    /// The peers that joined, changed and left.
    pub(super) fn into_lists(self) -> (PeerList, PeerList, Vec<PeerId>) {
        let view = self.view;
        let (mut joined, mut changed, mut left) = (PeerList::default(), PeerList::default(), Vec::new());
        for Course { before, last } in &self.peers {
            match (*before, self.filter.after(last)) {
                (false, true) => last.list(view, &mut joined),
                (true, true) => last.list(view, &mut changed),
                // Also for a peer that joined and left within the page: the follower may have seen
                // it in an enumeration in between.
                (_, false) => left.extend(last.departed()),
            }
        }
        (joined, changed, left)
    }
}
