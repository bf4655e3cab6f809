//! The change log: a bounded in-memory list of recent changes, in the order in which the index made
//! them. `since=` and `/watch` read it.
//!
//! The index appends to the log while the index is locked exclusively, so the log has every change
//! in the order in which it took effect. A *follower* is a client that reads the log, by requests
//! with `since=` or by `/watch`. The index is not locked while a follower copies changes from the
//! log. Recording starts when the first position is issued or the first watch begins, because there
//! is no follower before that.
//!
//! No follower has a queue of its own. It has only a position in the log, given by the number of
//! changes before it (the *offset*). The log keeps the newest changes within bounds on their number
//! and bytes, so a slow follower costs no memory. When the changes that a follower still needs have
//! been dropped, its position has expired, and it has to enumerate the peers again. Changes of one
//! peer within a second are merged into one entry of the log, so a peer that registers very often
//! does not push out the changes of other peers.

mod change;
mod collapse;
mod log;
mod position;
mod recent;
mod signal;
mod subscription;
mod watch;

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use aurora_discovery_protocol::{Archetype, Timestamp};
use aurora_discovery_registry::{Delta, Limits, Position, PositionLookup, Query, Watch};
use parking_lot::Mutex;

pub(crate) use change::{ArchetypeHashes, ListedPeer};
use change::{Change, Filter};
use collapse::Collapse;
use log::{Log, Read};
use position::LogPosition;
use watch::Watcher;

/// The number of changes that are copied while the log is locked once. Copying takes a few
/// microseconds, during which a thread that changes the index may have to wait.
const CHUNK: usize = 256;
/// Changes examined per response: about a millisecond of work. A response that reaches this bound
/// ends there, even if its page is not full.
const MAX_EXAMINED: usize = 16_384;

/// The change log of one run of a store.
pub(crate) struct ChangeLog {
    /// Distinguishes the positions of this run from those of other runs.
    epoch: u64,
    /// Hashes archetypes with a secret key, so that clients cannot construct collisions.
    hasher: RandomState,
    /// Whether a position has been issued or a watch has begun.
    recording: AtomicBool,
    /// Whether changes were added that watchers have not been woken for yet.
    wake_due: AtomicBool,
    log: Mutex<Log>,
    watchers: AtomicU64,
    wakeups: AtomicU64,
}

/// The figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChangeFigures {
    pub(crate) retained: usize,
    pub(crate) bytes: usize,
    pub(crate) watchers: u64,
    pub(crate) wakeups: u64,
}

impl ChangeLog {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            epoch: fastrand::u64(..),
            hasher: RandomState::new(),
            recording: AtomicBool::new(false),
            wake_due: AtomicBool::new(false),
            log: Mutex::new(Log::new(limits.max_changes, limits.max_changes_bytes)),
            watchers: AtomicU64::new(0),
            wakeups: AtomicU64::new(0),
        })
    }

    /// Whether changes must be recorded, because a client may ask for them.
    pub(crate) fn is_recording(&self) -> bool {
        self.recording.load(Relaxed)
    }

    /// The hash that represents an archetype in changes. If two archetypes collide (a chance of one
    /// in 2⁶⁴), a follower also sees peers that do not match.
    pub(crate) fn hash_archetype(&self, archetype: &str) -> u64 {
        self.hasher.hash_one(archetype)
    }

    /// Appends a change of `peer` at `now`: how it was listed before, and how it is listed now. The
    /// caller holds the index exclusively, and calls [`ChangeLog::wake_watchers`] after releasing
    /// it.
    pub(crate) fn add(
        &self,
        peer: &[u8],
        before: Option<&ArchetypeHashes>,
        after: Option<ListedPeer<'_>>,
        now: Timestamp,
    ) {
        let change = Change::new(peer, before, after);
        let peer = self.hasher.hash_one(peer);
        if self.log.lock().push(change, peer, now) {
            self.wake_due.store(true, Relaxed);
        }
    }

    /// Wakes the watchers that the added changes concern. Must not be called while the index is
    /// locked, because there may be thousands of watchers.
    pub(crate) fn wake_watchers(&self) {
        // Usually there is no watcher to wake. The call then costs one relaxed load, and does not
        // write to a cache line that processors share. If several callers find that there is one,
        // the swap lets exactly one of them do the work.
        if !self.wake_due.load(Relaxed) || !self.wake_due.swap(false, Relaxed) {
            return;
        }
        // The lock is released before a waker runs.
        let signals = self.log.lock().take_signals();
        let woken = signals.into_iter().filter(|signal| signal.wake()).count();
        self.wakeups.fetch_add(woken as u64, Relaxed);
    }

    /// The position after every change so far. Changes are recorded from here on. The caller must
    /// hold the index at least for reading, so that no change is in progress.
    pub(crate) fn head(&self) -> Position {
        self.recording.store(true, Relaxed);
        self.position_at(self.log.lock().end()).encode()
    }

    /// The net effect of the changes after a position. The caller first ends the leases that are
    /// due, so that the response includes these changes.
    pub(crate) fn delta(&self, query: &Query, after: &Position) -> PositionLookup<Delta> {
        let from = match self.offset_of(after) {
            PositionLookup::Known(from) => from,
            PositionLookup::Expired => return PositionLookup::Expired,
            PositionLookup::Foreign => return PositionLookup::Foreign,
        };
        let mut collapse = Collapse::new(self.filter(query), query.view, query.limit, query.page_bytes);
        let (mut next, mut examined) = (from, 0);
        // The log is read in chunks and unlocked in between, so that a change of the index never
        // waits for a whole response. Changes that are appended meanwhile belong to the response
        // too. If the next chunk is dropped meanwhile, the read reports it and the response is
        // `Expired`: a partial list would miss changes.
        let more = loop {
            let chunk = match self.log.lock().read(next, CHUNK) {
                Read::Changes(chunk) => chunk,
                Read::Lost => return PositionLookup::Expired,
                Read::Ahead => return PositionLookup::Foreign,
            };
            // If `accept` returns `false`, the page is full. The change that was not accepted is
            // then the first of the next page.
            if !chunk.iter().all(|change| {
                let accepted = collapse.accept(change, from);
                next = if accepted { change.number } else { next };
                accepted
            }) {
                break true;
            }
            examined += chunk.len();
            // A short chunk means that the end of the log is reached.
            if chunk.len() < CHUNK {
                break false;
            }
            if examined >= MAX_EXAMINED {
                break next < self.log.lock().end();
            }
        };
        let (joined, changed, left) = collapse.into_lists();
        PositionLookup::Known(Delta { joined, changed, left, next: self.position_at(next).encode(), more })
    }

    /// Watches the changes after a position. Without a position, it watches the changes from now
    /// on.
    pub(crate) fn watch(
        self: &Arc<Self>,
        query: &Query,
        after: Option<&Position>,
    ) -> PositionLookup<Box<dyn Watch>> {
        let from = match after.map(|after| self.offset_of(after)) {
            None => None,
            Some(PositionLookup::Known(from)) => Some(from),
            Some(PositionLookup::Expired) => return PositionLookup::Expired,
            Some(PositionLookup::Foreign) => return PositionLookup::Foreign,
        };
        self.recording.store(true, Relaxed);
        match Watcher::new(self.clone(), self.filter(query), query.view, from) {
            Read::Changes(watcher) => PositionLookup::Known(Box::new(watcher)),
            Read::Lost => PositionLookup::Expired,
            Read::Ahead => PositionLookup::Foreign,
        }
    }

    pub(crate) fn figures(&self) -> ChangeFigures {
        let (retained, bytes) = self.log.lock().size();
        let (watchers, wakeups) = (self.watchers.load(Relaxed), self.wakeups.load(Relaxed));
        ChangeFigures { retained, bytes, watchers, wakeups }
    }

    fn filter(&self, query: &Query) -> Filter {
        let wanted = query.archetypes.iter().map(Archetype::key).map(|name| self.hash_archetype(name));
        Filter { wanted: wanted.collect(), exclude: query.exclude.clone() }
    }

    fn position_at(&self, offset: u64) -> LogPosition {
        LogPosition { epoch: self.epoch, offset }
    }

    /// The offset of a position: the number of changes before it. It is known only if the position
    /// is of this run.
    fn offset_of(&self, position: &Position) -> PositionLookup<u64> {
        match LogPosition::decode(position) {
            None => PositionLookup::Foreign,
            Some(position) if position.epoch != self.epoch => PositionLookup::Expired,
            Some(position) => PositionLookup::Known(position.offset),
        }
    }
}
