//! A watcher: a position and a bell.
//!
//! A watcher repeats two steps: [`Watch::read`] reads changes from its position, and
//! [`Watch::poll_changes`] waits for more. No wake-up is lost, because `poll_changes` checks for news and
//! registers its waker under the lock of the log, under which every change is also appended.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use aurora_discovery_protocol::View;
use aurora_discovery_registry::{LoggedChange, Position, Watch, WatchRead};

use super::bell::Bell;
use super::change::Filter;
use super::log::Read;
use super::{CHUNK, ChangeLog, STEPS};

/// Watches the changes that pass a filter.
pub(super) struct Watcher {
    changes: Arc<ChangeLog>,
    filter: Filter,
    view: View,
    number: u64,
    bell: Arc<Bell>,
    /// The number of changes that it has read, including those that do not concern it.
    count: u64,
}

impl Watcher {
    /// Starts after the first `from` changes, or at the end of the log.
    pub(super) fn new(changes: Arc<ChangeLog>, filter: Filter, view: View, from: Option<u64>) -> Read<Self> {
        let (number, count, known) = {
            let mut log = changes.log.lock();
            let end = log.end();
            let (number, count) = (log.interests.add(&filter, end), from.unwrap_or(end));
            (number, count, log.check(&filter, count))
        };
        changes.watchers.fetch_add(1, Relaxed);
        let watcher = Self { changes, filter, view, number, bell: Arc::default(), count };
        // In the other cases `watcher` is dropped here, which unregisters it.
        match known {
            Read::Changes(()) => Read::Changes(watcher),
            Read::Lost => Read::Lost,
            Read::Ahead => Read::Ahead,
        }
    }
}

impl Watch for Watcher {
    fn position(&self) -> Position {
        self.changes.at(self.count).encode()
    }

    fn read(&mut self, max_bytes: usize) -> WatchRead<LoggedChange> {
        // The changes between the start of the wait and the first ring do not concern this watcher,
        // and may have been dropped from the log by now. Skipping them avoids a false `Lost`.
        self.count = self.bell.rung_behind().map_or(self.count, |behind| self.count.max(behind));
        let (mut told, mut bytes, from) = (Vec::new(), 0, self.count);
        loop {
            let chunk = {
                let log = self.changes.log.lock();
                if !log.interests.has_news(&self.filter, self.count) {
                    // No change up to the end concerns this watcher. Moving its position there
                    // keeps unrelated changes from expiring the position.
                    self.count = log.end();
                    return WatchRead::Changes { changes: told, more: false };
                }
                match log.read(self.count, CHUNK) {
                    Read::Changes(chunk) => chunk,
                    // Changes that were read before are delivered first. The next call reports the
                    // gap.
                    Read::Lost | Read::Ahead if !told.is_empty() => {
                        return WatchRead::Changes { changes: told, more: true };
                    }
                    Read::Lost | Read::Ahead => {
                        self.count = log.end();
                        return WatchRead::Lagged;
                    }
                }
            };
            for change in &chunk {
                self.count += 1;
                let Some(kind) = self.filter.kind(change) else { continue };
                let Some(json) = change.told(kind, self.view) else { continue };
                bytes += json.len();
                told.push(LoggedChange { kind, json, position: self.position() });
                if bytes >= max_bytes {
                    return WatchRead::Changes { changes: told, more: true };
                }
            }
            if self.count - from >= STEPS as u64 {
                return WatchRead::Changes { changes: told, more: true };
            }
        }
    }

    fn poll_changes(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut log = self.changes.log.lock();
        if log.interests.has_news(&self.filter, self.count) {
            return Poll::Ready(());
        }
        // Nothing up to the end concerns this watcher, so it waits from there.
        self.count = log.end();
        let replaced = self.bell.hang_up(context.waker());
        log.interests.wait(&self.filter, self.number, &self.bell);
        drop(log);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.changes.log.lock().interests.remove(&self.filter, self.number);
        self.changes.watchers.fetch_sub(1, Relaxed);
    }
}
