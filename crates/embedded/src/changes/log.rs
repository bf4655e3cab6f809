//! The changes themselves, the oldest forgotten first, and who waits for more.

use std::collections::VecDeque;
use std::sync::Arc;

use super::bell::Bell;
use super::change::{Change, Filter};
use super::interest::Interests;

/// As many changes as the bounds allow.
pub(super) struct Log {
    changes: VecDeque<Arc<Change>>,
    /// How many were forgotten.
    forgotten: u64,
    bytes: usize,
    max_changes: usize,
    max_bytes: usize,
    pub(super) interests: Interests,
}

/// What came behind a place.
pub(super) enum Read<T> {
    Changes(T),
    /// Some of it is forgotten.
    Lost,
    /// Nothing can be: there never was such a place.
    Ahead,
}

impl Log {
    pub(super) fn new(max_changes: usize, max_bytes: usize) -> Self {
        let (changes, interests) = (VecDeque::new(), Interests::default());
        Self { changes, forgotten: 0, bytes: 0, max_changes, max_bytes, interests }
    }

    /// How many changes there were.
    pub(super) fn end(&self) -> u64 {
        self.forgotten + self.changes.len() as u64
    }

    /// How many changes it has, and how many bytes they take.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.changes.len(), self.bytes)
    }

    /// Adds a change; answers whether somebody is to be woken for it.
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

    /// At most `most` changes behind the first `from`.
    pub(super) fn read(&self, from: u64, most: usize) -> Read<Vec<Arc<Change>>> {
        if from > self.end() {
            return Read::Ahead;
        }
        let Some(start) = from.checked_sub(self.forgotten) else { return Read::Lost };
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.changes.len());
        let end = self.changes.len().min(start.saturating_add(most));
        Read::Changes(self.changes.range(start..end).cloned().collect())
    }

    /// Whether nothing that a filter lets through is forgotten behind the first `from`.
    pub(super) fn check(&self, filter: &Filter, from: u64) -> Read<()> {
        if from > self.end() {
            Read::Ahead
        } else if from < self.forgotten && self.interests.has_news(filter, from) {
            Read::Lost
        } else {
            Read::Changes(())
        }
    }

    /// Whom to wake for what was added.
    pub(super) fn take_ringing(&mut self) -> Vec<Arc<Bell>> {
        self.interests.take_ringing()
    }
}
