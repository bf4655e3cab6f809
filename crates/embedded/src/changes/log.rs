//! The log itself: a queue of changes that drops the oldest first, and the watchers that wait for
//! more.
//!
//! Changes are numbered from 1 for the whole run. The log keeps the last of them, so change `n` is
//! at index `n - 1 - dropped` of the queue, and the offset of a position is the
//! number of changes before it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::change::{Change, Filter};
use super::signal::WakeSignal;
use super::subscription::Subscriptions;

/// The newest changes, within the bounds.
pub(super) struct Log {
    changes: VecDeque<Arc<Change>>,
    /// The number of changes that were dropped.
    dropped: u64,
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
        let (changes, subscriptions) = (VecDeque::new(), Subscriptions::default());
        Self { changes, dropped: 0, bytes: 0, max_changes, max_bytes, subscriptions }
    }

    /// The number of changes so far, including those that were dropped.
    pub(super) fn end(&self) -> u64 {
        self.dropped + self.changes.len() as u64
    }

    /// The number of changes in memory and their size in bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.changes.len(), self.bytes)
    }

    /// Appends a change, drops the oldest ones beyond the bounds, and returns whether any watcher
    /// must be woken.
    pub(super) fn push(&mut self, change: Change) -> bool {
        self.bytes += change.cost();
        let count = self.end() + 1;
        let must_wake = self.subscriptions.record(&change, count);
        self.changes.push_back(Arc::new(change));
        // A single change that exceeds the limit of bytes is dropped as well.
        while self.changes.len() > self.max_changes || self.bytes > self.max_bytes {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= oldest.cost();
            self.dropped += 1;
        }
        must_wake
    }

    /// At most `limit` changes from offset `from` on.
    pub(super) fn read(&self, from: u64, limit: usize) -> Read<Vec<Arc<Change>>> {
        if from > self.end() {
            return Read::Ahead;
        }
        // Offsets count all changes of the run, and indices only those in memory.
        let Some(start) = from.checked_sub(self.dropped) else { return Read::Lost };
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.changes.len());
        let end = self.changes.len().min(start.saturating_add(limit));
        Read::Changes(self.changes.range(start..end).cloned().collect())
    }

    /// Whether all changes from offset `from` on that pass a filter are still in memory. Dropped
    /// changes that do not concern the filter do not matter.
    pub(super) fn check(&self, filter: &Filter, from: u64) -> Read<()> {
        if from > self.end() {
            Read::Ahead
        } else if from < self.dropped && self.subscriptions.may_have_changes(filter, from) {
            Read::Lost
        } else {
            Read::Changes(())
        }
    }

    /// The signals of the watchers to wake for the changes that were added.
    pub(super) fn take_signals(&mut self) -> Vec<Arc<WakeSignal>> {
        self.subscriptions.take_signals()
    }
}
