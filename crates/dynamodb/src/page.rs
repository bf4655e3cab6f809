//! A page in the making.

use aurora_protocol::{PeerList, Timestamp, View};
use aurora_registry::{Page, Query, Total};

use crate::item::Stored;

/// More than the full view adds to a peer: its two keys, and two numbers of up to ten digits.
const FULL_VIEW_BYTES: usize = 80;

/// Peers, as many as the query's bounds hold.
pub(crate) struct PageInMaking<'q> {
    query: &'q Query,
    now: Timestamp,
    peers: PeerList,
    cut: bool,
}

impl<'q> PageInMaking<'q> {
    pub(crate) fn new(query: &'q Query, now: Timestamp) -> Self {
        Self { query, now, peers: PeerList::default(), cut: false }
    }

    /// Appends a peer; says whether it found room. After one that did not, none does.
    pub(crate) fn push(&mut self, stored: &Stored) -> bool {
        let json = stored.json.as_str().as_bytes();
        let full = self.query.view == View::Full;
        let bytes = json.len() + 1 + if full { FULL_VIEW_BYTES } else { 0 };
        let fits = self.peers.is_empty() || self.peers.bytes() + bytes <= self.query.page_bytes;
        if self.cut || !fits || self.peers.len() >= self.query.limit {
            self.cut = true;
            return false;
        }
        let at = usize::from(stored.json.last_seen_at());
        if full {
            let seconds = |millis: u64| millis / 1_000;
            let expires_in = seconds(stored.expires_at.millis_since(self.now));
            let registered_ago = seconds(self.now.millis_since(stored.registered_at));
            self.peers.push_full(json, at, stored.last_seen, expires_in, registered_ago);
        } else {
            self.peers.push(json, at, stored.last_seen);
        }
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether nothing more goes in, by the limit or by the bytes.
    pub(crate) fn is_full(&self) -> bool {
        self.cut || self.peers.len() >= self.query.limit
    }

    pub(crate) fn finish(self, total: Total) -> Page {
        Page { peers: self.peers, total }
    }
}
