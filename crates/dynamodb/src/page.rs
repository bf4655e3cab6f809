//! A page in the making.

use std::collections::HashSet;

use aurora_protocol::{PeerId, PeerList, Timestamp, View};
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
    /// Who is listed, where others are to follow that must be none of them.
    listed: Option<HashSet<PeerId>>,
    filling: bool,
}

impl<'q> PageInMaking<'q> {
    pub(crate) fn new(query: &'q Query, now: Timestamp) -> Self {
        let listed = (query.fill && !query.archetypes.is_empty()).then(HashSet::new);
        Self { query, now, peers: PeerList::default(), cut: false, listed, filling: false }
    }

    /// Whether all that match are in, and others are wanted behind them. From now on only others go in.
    pub(crate) fn goes_on_with_others(&mut self) -> bool {
        self.filling = self.listed.is_some() && !self.is_full();
        self.filling
    }

    /// Appends a peer; says whether it found room. After one that did not, none does. Where others are wanted, one that matches needs no
    /// room.
    pub(crate) fn push(&mut self, stored: &Stored) -> bool {
        if self.filling && !self.is_other(stored) {
            return true;
        }
        let peer = stored.json.encoded();
        let full = self.query.view == View::Full;
        let bytes = peer.json_len() + 1 + if full { FULL_VIEW_BYTES } else { 0 };
        let fits = self.peers.is_empty() || self.peers.bytes() + bytes <= self.query.page_bytes;
        if self.cut || !fits || self.peers.len() >= self.query.limit {
            self.cut = true;
            return false;
        }
        if full {
            let seconds = |millis: u64| millis / 1_000;
            let expires_in = seconds(stored.expires_at.millis_since(self.now));
            let registered_ago = seconds(self.now.millis_since(stored.registered_at));
            self.peers.push_full(peer, stored.last_seen, expires_in, registered_ago);
        } else {
            self.peers.push(peer, stored.last_seen);
        }
        if let Some(listed) = &mut self.listed {
            listed.insert(stored.registration.peer_id.clone());
        }
        true
    }

    fn is_other(&self, stored: &Stored) -> bool {
        let listed = self.listed.as_ref().is_some_and(|ids| ids.contains(&stored.registration.peer_id));
        !listed && !stored.carries(&self.query.archetypes)
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
