//! Which changes are recent enough to be merged with the next change of the same peer.

use aurora_discovery_protocol::Timestamp;
use hashbrown::HashMap;

/// The time after the first change of a peer, in milliseconds, within which further changes of the
/// peer are merged with it. However often a peer changes, it therefore usually adds at most about
/// one entry per second to the log. A follower that reads each change before the next one is made
/// still sees every change.
const MERGE_MILLIS: u64 = 1_000;

/// The last change of each peer that changed recently. Entries older than [`MERGE_MILLIS`] are
/// ignored, and are removed from time to time.
#[derive(Default)]
pub(super) struct RecentChanges {
    /// By the hash of the peer's id.
    by_peer: HashMap<u64, Recent>,
    /// The number of entries at which outdated ones are removed.
    purge_at: usize,
}

struct Recent {
    /// The number of the peer's last change.
    number: u64,
    /// When the first of the changes that were merged into it was made.
    began: Timestamp,
}

impl RecentChanges {
    /// The number of the change that a change of `peer` at `now` may be merged with.
    pub(super) fn find(&self, peer: u64, now: Timestamp) -> Option<u64> {
        let recent = self.by_peer.get(&peer)?;
        recent.is_current(now).then_some(recent.number)
    }

    /// Records that the peer's last change has got another number.
    pub(super) fn advance(&mut self, peer: u64, number: u64) {
        if let Some(recent) = self.by_peer.get_mut(&peer) {
            recent.number = number;
        }
    }

    /// Records a change at `now` that was not merged. At most about twice `max` entries are kept.
    pub(super) fn begin(&mut self, peer: u64, number: u64, now: Timestamp, max: usize) {
        if self.by_peer.len() >= self.purge_at {
            self.by_peer.retain(|_, recent| recent.is_current(now));
            // Removing the entry of a peer loses no change. The next change of the peer then gets
            // an entry of its own in the log.
            if self.by_peer.len() > max {
                self.by_peer.clear();
            }
            // The next purge comes when the number of entries has doubled, so that purges cost
            // little per change.
            self.purge_at = (2 * self.by_peer.len()).max(64);
        }
        self.by_peer.insert(peer, Recent { number, began: now });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_peer.len()
    }
}

impl Recent {
    fn is_current(&self, now: Timestamp) -> bool {
        now.millis_since(self.began) < MERGE_MILLIS
    }
}
