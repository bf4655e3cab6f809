//! The log itself: a list of changes that drops the oldest first, and the watchers that wait for
//! more.
//!
//! Changes are numbered from 1 for the whole run, and the offset of a position is the number of
//! changes before it. A change that is merged into a later one leaves a gap in the numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use aurora_discovery_protocol::Timestamp;

use super::change::{Change, Filter};
use super::recent::RecentChanges;
use super::signal::WakeSignal;
use super::subscription::Subscriptions;

/// The newest changes, within the bounds.
pub(super) struct Log {
    /// By number. Followers read ranges, and merging removes changes from the middle.
    changes: BTreeMap<u64, Arc<Change>>,
    /// The number of the last change.
    end: u64,
    /// The number of the last change that was dropped.
    dropped: u64,
    recent: RecentChanges,
    bytes: usize,
    max_changes: usize,
    max_bytes: usize,
    pub(super) subscriptions: Subscriptions,
}

/// The result of reading after a position.
pub(super) enum Read<T> {
    Changes(T),
    /// Some of the changes were dropped.
    Lost,
    /// The position is beyond the end, so this log never issued it.
    Ahead,
}

impl Log {
    pub(super) fn new(max_changes: usize, max_bytes: usize) -> Self {
        Self {
            changes: BTreeMap::new(),
            end: 0,
            dropped: 0,
            recent: RecentChanges::default(),
            bytes: 0,
            max_changes,
            max_bytes,
            subscriptions: Subscriptions::default(),
        }
    }

    /// The number of changes so far, including those that were dropped.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The number of changes in memory and their size in bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.changes.len(), self.bytes)
    }

    /// Appends a change at `now`, drops the oldest ones beyond the bounds, and returns whether any
    /// watcher must be woken. `peer` is the hash of the peer's id.
    pub(super) fn push(&mut self, mut change: Change, peer: u64, now: Timestamp) -> bool {
        self.end += 1;
        // This marks the watchers of the change itself to be woken. Those of the earlier changes
        // that are merged into it below were marked when these changes were made.
        let must_wake = self.subscriptions.record(&change, self.end);
        change.number = self.end;
        let recent = self.recent.find(peer, now);
        let change = match recent.and_then(|number| self.take_mergeable(number, &change)) {
            Some(earlier) => {
                self.recent.advance(peer, self.end);
                let merged = change.merged_with(earlier);
                self.subscriptions.advance(merged.merged_archetypes(), self.end);
                merged
            }
            None => {
                self.recent.begin(peer, self.end, now, self.max_changes);
                change
            }
        };
        self.append(change);
        must_wake
    }

    /// Takes the change with this number out of the log, if `later` can be merged with it.
    fn take_mergeable(&mut self, number: u64, later: &Change) -> Option<Arc<Change>> {
        // Two ids may have the same hash, so the ids are compared.
        let earlier = self.changes.get(&number)?;
        if earlier.id_bytes() != later.id_bytes() || !earlier.has_room() {
            return None;
        }
        let earlier = self.changes.remove(&number)?;
        self.bytes -= earlier.cost();
        Some(earlier)
    }

    fn append(&mut self, change: Change) {
        self.bytes += change.cost();
        self.changes.insert(change.number, Arc::new(change));
        // This drops even the new change, if it alone is larger than the limit of bytes.
        while self.changes.len() > self.max_changes || self.bytes > self.max_bytes {
            let Some((number, oldest)) = self.changes.pop_first() else { break };
            self.bytes -= oldest.cost();
            self.dropped = number;
        }
    }

    /// At most `limit` changes from offset `from` on.
    pub(super) fn read(&self, from: u64, limit: usize) -> Read<Vec<Arc<Change>>> {
        if from > self.end() {
            return Read::Ahead;
        }
        if from < self.dropped {
            return Read::Lost;
        }
        Read::Changes(self.changes.range(from + 1..).take(limit).map(|(_, change)| change.clone()).collect())
    }

    /// Whether all changes from offset `from` on that pass a filter are certainly still in memory.
    /// If some of the changes since `from` were dropped, this is certain only if no change since
    /// `from`, dropped or not, concerns the filter.
    pub(super) fn check(&self, filter: &Filter, from: u64) -> Read<()> {
        if from > self.end() {
            Read::Ahead
        } else if from < self.dropped && self.subscriptions.may_have_changes(filter, from) {
            Read::Lost
        } else {
            Read::Changes(())
        }
    }

    #[cfg(test)]
    pub(super) fn recent_peers(&self) -> usize {
        self.recent.len()
    }

    /// The signals of the watchers to wake for the changes that were added.
    pub(super) fn take_signals(&mut self) -> Vec<Arc<WakeSignal>> {
        self.subscriptions.take_signals()
    }
}
