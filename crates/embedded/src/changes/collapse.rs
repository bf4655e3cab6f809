//! Many changes as few: each peer once, as the last of its changes left it.

use std::sync::Arc;

use aurora_protocol::{PeerId, PeerList, View};
use hashbrown::HashMap;

use super::change::{Change, Filter};

/// Takes changes in their order until a page is full.
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

/// What became of one peer.
struct Course {
    /// Whether it matched before its first change.
    before: bool,
    last: Arc<Change>,
}

impl Collapse {
    pub(super) fn new(filter: Filter, view: View, limit: usize, page_bytes: usize) -> Self {
        Self { filter, view, limit, page_bytes, bytes: 0, peers: Vec::new(), by_id: HashMap::new() }
    }

    /// Takes a change, or refuses it because the page is full. The first is always taken.
    pub(super) fn take(&mut self, change: &Arc<Change>) -> bool {
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

    /// Who joined, who changed, and who left.
    pub(super) fn into_lists(self) -> (PeerList, PeerList, Vec<PeerId>) {
        let view = self.view;
        let (mut joined, mut changed, mut left) = (PeerList::default(), PeerList::default(), Vec::new());
        for Course { before, last } in &self.peers {
            match (*before, self.filter.after(last)) {
                (false, true) => last.list(view, &mut joined),
                (true, true) => last.list(view, &mut changed),
                // Who came and went in between may have been enumerated in between.
                (_, false) => left.extend(last.departed()),
            }
        }
        (joined, changed, left)
    }
}
