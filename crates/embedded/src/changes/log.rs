//! The log itself: a queue of changes that drops the oldest first, and the watchers that wait for
//! more.
//!
//! Changes are numbered from 1 for the whole run. The log keeps the last of them, so change `n` is
//! at index `n - 1 - forgotten` of the queue, and a position is simply a number of changes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::bell::Bell;
use super::change::{Change, Filter};
use super::interest::Interests;

/// The newest changes, within the bounds.
pub(super) struct Log {
    changes: VecDeque<Arc<Change>>,
    /// The number of changes that were dropped.
    forgotten: u64,
    bytes: usize,
    max_changes: usize,
    max_bytes: usize,
    pub(super) interests: Interests,
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
        let (changes, interests) = (VecDeque::new(), Interests::default());
        Self { changes, forgotten: 0, bytes: 0, max_changes, max_bytes, interests }
    }

    /// The number of changes so far, including those that were dropped.
    pub(super) fn end(&self) -> u64 {
        self.forgotten + self.changes.len() as u64
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
        let ringing = self.interests.concern(&change, count);
        self.changes.push_back(Arc::new(change));
        while self.changes.len() > self.max_changes || self.bytes > self.max_bytes {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= oldest.cost();
            self.forgotten += 1;
        }
        ringing
    }

    /// At most `most` changes after the first `from`.
    pub(super) fn read(&self, from: u64, most: usize) -> Read<Vec<Arc<Change>>> {
        if from > self.end() {
            return Read::Ahead;
        }
        let Some(start) = from.checked_sub(self.forgotten) else { return Read::Lost };
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.changes.len());
        let end = self.changes.len().min(start.saturating_add(most));
        Read::Changes(self.changes.range(start..end).cloned().collect())
    }

    /// Whether all changes that a filter passes after the first `from` are still in memory. Dropped
    /// changes that do not concern the filter do not matter.
    pub(super) fn check(&self, filter: &Filter, from: u64) -> Read<()> {
        if from > self.end() {
            Read::Ahead
        } else if from < self.forgotten && self.interests.has_news(filter, from) {
            Read::Lost
        } else {
            Read::Changes(())
        }
    }

    /// The bells to ring for the changes that were added.
    pub(super) fn take_ringing(&mut self) -> Vec<Arc<Bell>> {
        self.interests.take_ringing()
    }
}
