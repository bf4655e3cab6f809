//! What changed of late: a bounded memory for those who follow, beside the index and in its order.
//!
//! The index adds to it while it is held exclusively, so that it has every change in the order in which it took effect; who follows
//! reads it without holding the index. Nothing is kept until the first position has been handed out, for nobody could ask for it.

mod bell;
mod change;
mod collapse;
mod interest;
mod log;
mod position;
mod watch;

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use aurora_protocol::Archetype;
use aurora_registry::{Delta, Followed, Limits, Position, Query, Watch};
use parking_lot::Mutex;

use change::{Change, Filter};
pub(crate) use change::{Listed, Traits};
use collapse::Collapse;
use log::{Log, Read};
use position::At;
use watch::Watcher;

/// Changes that are copied out of the memory in one hold of it: some microseconds, which the index may have to wait for.
const CHUNK: usize = 256;
/// Changes that one answer looks at: a millisecond's work. An answer that finds less than it may in them says that there is more.
const STEPS: usize = 16_384;

/// The memory of changes of one run of a store.
pub(crate) struct ChangeLog {
    /// Tells the positions of this run from those of others.
    epoch: u64,
    /// Under which archetypes are hashed, so that nobody can make two collide.
    hasher: RandomState,
    /// Whether anybody has been handed a position.
    followed: AtomicBool,
    /// Whether somebody is to be woken for what was added.
    due: AtomicBool,
    log: Mutex<Log>,
    watchers: AtomicU64,
    wakeups: AtomicU64,
}

/// What is counted of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChangeFigures {
    pub(crate) remembered: usize,
    pub(crate) bytes: usize,
    pub(crate) watchers: u64,
    pub(crate) wakeups: u64,
}

impl ChangeLog {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            epoch: fastrand::u64(..),
            hasher: RandomState::new(),
            followed: AtomicBool::new(false),
            due: AtomicBool::new(false),
            log: Mutex::new(Log::new(limits.max_changes, limits.max_changes_bytes)),
            watchers: AtomicU64::new(0),
            wakeups: AtomicU64::new(0),
        })
    }

    /// Whether changes are to be added: whether anybody can ever ask for them.
    pub(crate) fn is_followed(&self) -> bool {
        self.followed.load(Relaxed)
    }

    /// An archetype as changes know it. Two that collide, one in 2⁶⁴, would tell a follower of a peer too many.
    pub(crate) fn trait_of(&self, archetype: &str) -> u64 {
        self.hasher.hash_one(archetype)
    }

    /// Adds a change of `peer`: how it was listed before, and how it is now. Whoever calls holds the index, and calls
    /// [`ChangeLog::announce`] once it no longer does.
    pub(crate) fn add(&self, peer: &[u8], before: Option<&Traits>, after: Option<Listed<'_>>) {
        let change = Change::new(peer, before, after);
        if self.log.lock().push(change) {
            self.due.store(true, Relaxed);
        }
    }

    /// Wakes whoever watches what was added. Not while the index is held: there may be thousands.
    pub(crate) fn announce(&self) {
        if !self.due.load(Relaxed) || !self.due.swap(false, Relaxed) {
            return;
        }
        let bells = self.log.lock().take_ringing();
        let woken = bells.into_iter().filter(|bell| bell.ring()).count();
        self.wakeups.fetch_add(woken as u64, Relaxed);
    }

    /// The position behind everything that was added. From here on, changes are added. The index must be held, be it shared, so that
    /// none is on its way.
    pub(crate) fn head(&self) -> Position {
        self.followed.store(true, Relaxed);
        self.at(self.log.lock().end()).encode()
    }

    /// What became of the peers that changed behind a position. The index should be up to date.
    pub(crate) fn delta(&self, query: &Query, after: &Position) -> Followed<Delta> {
        let from = match self.count_of(after) {
            Followed::Known(from) => from,
            Followed::Expired => return Followed::Expired,
            Followed::Foreign => return Followed::Foreign,
        };
        let mut collapse = Collapse::new(self.filter(query), query.view, query.limit, query.page_bytes);
        let mut next = from;
        let more = loop {
            let chunk = match self.log.lock().read(next, CHUNK) {
                Read::Changes(chunk) => chunk,
                Read::Lost => return Followed::Expired,
                Read::Ahead => return Followed::Foreign,
            };
            let taken = chunk.iter().take_while(|change| collapse.take(change)).count();
            next += taken as u64;
            if taken < chunk.len() {
                break true;
            }
            if chunk.len() < CHUNK {
                break false;
            }
            if next - from >= STEPS as u64 {
                break next < self.log.lock().end();
            }
        };
        let (joined, changed, left) = collapse.into_lists();
        Followed::Known(Delta { joined, changed, left, next: self.at(next).encode(), more })
    }

    /// Watches from behind a position, or from now on.
    pub(crate) fn watch(
        self: &Arc<Self>,
        query: &Query,
        after: Option<&Position>,
    ) -> Followed<Box<dyn Watch>> {
        let from = match after.map(|after| self.count_of(after)) {
            None => None,
            Some(Followed::Known(from)) => Some(from),
            Some(Followed::Expired) => return Followed::Expired,
            Some(Followed::Foreign) => return Followed::Foreign,
        };
        self.followed.store(true, Relaxed);
        match Watcher::new(self.clone(), self.filter(query), query.view, from) {
            Read::Changes(watcher) => Followed::Known(Box::new(watcher)),
            Read::Lost => Followed::Expired,
            Read::Ahead => Followed::Foreign,
        }
    }

    pub(crate) fn figures(&self) -> ChangeFigures {
        let (remembered, bytes) = self.log.lock().size();
        let (watchers, wakeups) = (self.watchers.load(Relaxed), self.wakeups.load(Relaxed));
        ChangeFigures { remembered, bytes, watchers, wakeups }
    }

    fn filter(&self, query: &Query) -> Filter {
        let wanted = query.archetypes.iter().map(Archetype::as_str).map(|name| self.trait_of(name));
        Filter { wanted: wanted.collect(), exclude: query.exclude.clone() }
    }

    fn at(&self, count: u64) -> At {
        At { epoch: self.epoch, count }
    }

    /// How many changes lie before a position of this run.
    fn count_of(&self, position: &Position) -> Followed<u64> {
        match At::decode(position) {
            None => Followed::Foreign,
            Some(at) if at.epoch != self.epoch => Followed::Expired,
            Some(at) => Followed::Known(at.count),
        }
    }
}
