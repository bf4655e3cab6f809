//! A watcher: a position in the log and a wake-up signal.
//!
//! A watcher repeats two steps: [`Watch::read`] reads changes from its position, and
//! [`Watch::poll_changes`] waits for more. No wake-up is lost, because `poll_changes` checks for
//! changes and registers its waker under the lock of the log, under which every change is also
//! appended.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use aurora_discovery_protocol::View;
use aurora_discovery_registry::{LoggedChange, Position, Watch, WatchRead};

use super::change::Filter;
use super::log::Read;
use super::signal::WakeSignal;
use super::{CHUNK, ChangeLog, MAX_EXAMINED};

/// Watches the changes that pass a filter.
pub(super) struct Watcher {
    changes: Arc<ChangeLog>,
    filter: Filter,
    view: View,
    number: u64,
    signal: Arc<WakeSignal>,
    /// The offset of the next change to read. The changes before it were read or do not concern the
    /// watcher.
    offset: u64,
}

impl Watcher {
    /// Starts at offset `from`, or at the end of the log.
    pub(super) fn new(changes: Arc<ChangeLog>, filter: Filter, view: View, from: Option<u64>) -> Read<Self> {
        let (number, offset, known) = {
            let mut log = changes.log.lock();
            let end = log.end();
            let (number, offset) = (log.subscriptions.add(&filter, end), from.unwrap_or(end));
            (number, offset, log.check(&filter, offset))
        };
        changes.watchers.fetch_add(1, Relaxed);
        let watcher = Self { changes, filter, view, number, signal: Arc::default(), offset };
        // If the log no longer has the changes, or the position is beyond its end, `watcher` is
        // dropped here. That unregisters it.
        match known {
            Read::Changes(()) => Read::Changes(watcher),
            Read::Lost => Read::Lost,
            Read::Ahead => Read::Ahead,
        }
    }
}

impl Watch for Watcher {
    fn position(&self) -> Position {
        self.changes.position_at(self.offset).encode()
    }

    fn read(&mut self, max_bytes: usize) -> WatchRead<LoggedChange> {
        // The changes between the start of the wait and the one that the signal recorded do not
        // concern this watcher, and may have been dropped from the log by now. Without skipping
        // them, the watcher could be reported as lagging although it missed nothing.
        self.offset = self.signal.first_change().map_or(self.offset, |first| self.offset.max(first));
        let (mut occurrences, mut bytes, mut examined, from) = (Vec::new(), 0, 0, self.offset);
        loop {
            let chunk = {
                let log = self.changes.log.lock();
                if !log.subscriptions.may_have_changes(&self.filter, self.offset) {
                    // No change up to the end concerns this watcher, so its position moves there.
                    // Otherwise the position would expire when the log drops changes that do not
                    // concern the watcher.
                    self.offset = log.end();
                    return WatchRead::Changes { changes: occurrences, more: false };
                }
                match log.read(self.offset, CHUNK) {
                    Read::Changes(chunk) => chunk,
                    // The watcher has lost changes, but some were read before that. They are
                    // returned now, and the next call reports the loss.
                    Read::Lost | Read::Ahead if !occurrences.is_empty() => {
                        return WatchRead::Changes { changes: occurrences, more: true };
                    }
                    Read::Lost | Read::Ahead => {
                        self.offset = log.end();
                        return WatchRead::Lagged;
                    }
                }
            };
            for change in &chunk {
                let kind = self.filter.kind(change, from);
                self.offset = change.number;
                let Some(kind) = kind else { continue };
                let Some(json) = change.event_json(kind, self.view) else { continue };
                bytes += json.len();
                occurrences.push(LoggedChange { kind, json, position: self.position() });
                if bytes >= max_bytes {
                    return WatchRead::Changes { changes: occurrences, more: true };
                }
            }
            examined += chunk.len();
            if examined >= MAX_EXAMINED {
                return WatchRead::Changes { changes: occurrences, more: true };
            }
        }
    }

    fn poll_changes(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut log = self.changes.log.lock();
        if log.subscriptions.may_have_changes(&self.filter, self.offset) {
            return Poll::Ready(());
        }
        // No change up to the end of the log concerns this watcher, so it waits from there.
        self.offset = log.end();
        let replaced = self.signal.arm(context.waker());
        log.subscriptions.wait(&self.filter, self.number, &self.signal);
        drop(log);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.changes.log.lock().subscriptions.remove(&self.filter, self.number);
        self.changes.watchers.fetch_sub(1, Relaxed);
    }
}
