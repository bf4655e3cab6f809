//! The recent writes of this process, which it remembers for some seconds.
//!
//! The index, and reads with eventual consistency, lag behind the table. A process applies its own
//! recent writes to what it reads, so that it always sees them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::{Archetype, Timestamp};
use aurora_discovery_registry::Source;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::item::{Generation, StoredPeer};
use crate::lane::{RingPosition, Secret};
use crate::sample::Entries;

/// How long a write of this process takes precedence over what is read: the default lifetime of a
/// snapshot, plus a second for the lag of the index. It is no longer than that, because during this
/// time the write also hides later writes of other processes.
pub(crate) const RETENTION: Duration = Duration::from_secs(5);
/// Maximum number of writes that are remembered, which bounds the memory. It suffices for 4,000
/// writes per second, which is more than one process makes.
const MAX_WRITES: usize = 20_000;

/// The latest write of this process to a peer.
#[derive(Clone, Debug)]
pub(crate) enum RecentWrite {
    /// The peer was written in this state.
    Stored(Arc<StoredPeer>),
    /// The peer with this generation was deregistered or evicted.
    Removed(Generation),
}

/// The writes of the last seconds, by position on the ring.
#[derive(Debug, Default)]
pub(crate) struct RecentWrites(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The latest write to each peer, and its time. If two ids had the same position, a write to
    /// one peer would hide the other for some seconds. With positions of 52 bits, that is very
    /// unlikely.
    writes: BTreeMap<RingPosition, (Instant, RecentWrite)>,
    /// The time and the position of each write, oldest first. A peer that was written several times
    /// is in it several times.
    order: VecDeque<(Instant, RingPosition)>,
}

impl RecentWrites {
    /// Remembers a registration.
    pub(crate) fn record_registration(&self, position: RingPosition, stored: Arc<StoredPeer>) {
        self.0.lock().insert(position, RecentWrite::Stored(stored));
    }

    /// Remembers a renewal, unless a newer write is remembered.
    pub(crate) fn record_renewal(&self, position: RingPosition, stored: Arc<StoredPeer>) {
        let mut inner = self.0.lock();
        // A remembered registration with another generation is newer than the renewal: after the
        // renewal had read the peer, the peer was registered again or removed from the index. With
        // the same generation, it is newer if its lease is longer. A remembered removal is newer if
        // it removed the registration that was renewed. Otherwise the peer has been registered
        // since the removal.
        let newer = inner.writes.get(&position).is_some_and(|(_, written)| match written {
            RecentWrite::Stored(other) => {
                other.generation != stored.generation || other.expires_at > stored.expires_at
            }
            RecentWrite::Removed(generation) => *generation == stored.generation,
        });
        if !newer {
            inner.insert(position, RecentWrite::Stored(stored));
        }
    }

    /// Remembers a deregistration or an eviction.
    pub(crate) fn record_removal(&self, position: RingPosition, generation: Generation) {
        self.0.lock().insert(position, RecentWrite::Removed(generation));
    }

    /// The latest recent write to the peer at a position.
    pub(crate) fn get(&self, position: RingPosition) -> Option<RecentWrite> {
        let mut inner = self.0.lock();
        inner.drop_expired();
        inner.writes.get(&position).map(|(_, written)| written.clone())
    }

    /// The latest recent write to each peer in a range, with both ends included.
    pub(crate) fn range(&self, from: RingPosition, to: RingPosition) -> Vec<(RingPosition, RecentWrite)> {
        let mut inner = self.0.lock();
        inner.drop_expired();
        if inner.writes.is_empty() || from > to {
            return Vec::new();
        }
        inner.writes.range(from..=to).map(|(position, (_, written))| (*position, written.clone())).collect()
    }

    /// The positions of those live peers of a source that this process has written recently.
    pub(crate) fn live_of(&self, source: Source, now: Timestamp) -> Vec<RingPosition> {
        let mut inner = self.0.lock();
        inner.drop_expired();
        let of_source = |written: &RecentWrite| match written {
            RecentWrite::Stored(stored) => stored.holder.source == source && stored.is_live(now),
            RecentWrite::Removed(_) => false,
        };
        let writes = inner.writes.iter().filter(|(_, (_, written))| of_source(written));
        writes.map(|(position, _)| *position).collect()
    }

    /// Applies the writes of this process to the index entries of a range: adds peers that the
    /// index does not list yet, and removes peers that it should no longer list.
    pub(crate) fn apply_to(
        &self,
        (from, to): (RingPosition, RingPosition),
        archetypes: &[Archetype],
        secret: &Secret,
        entries: &mut Entries,
    ) {
        for (position, written) in self.range(from, to) {
            match written {
                RecentWrite::Stored(stored) if stored.has_any_of(archetypes) => {
                    let class = secret.class(stored.holder.source);
                    entries.insert(position, (stored.registration.peer_id.clone(), class));
                }
                RecentWrite::Stored(_) | RecentWrite::Removed(_) => drop(entries.remove(&position)),
            }
        }
    }
}

impl Inner {
    /// Adds a write. If there are too many, drops the oldest one.
    fn insert(&mut self, position: RingPosition, written: RecentWrite) {
        let now = Instant::now();
        self.drop_expired();
        if self.order.len() >= MAX_WRITES
            && let Some((at, oldest)) = self.order.pop_front()
        {
            self.drop_write(oldest, at);
        }
        self.writes.insert(position, (now, written));
        self.order.push_back((now, position));
    }

    /// Drops the writes that are older than [`RETENTION`].
    fn drop_expired(&mut self) {
        while let Some(&(at, position)) = self.order.front()
            && at.elapsed() > RETENTION
        {
            self.order.pop_front();
            self.drop_write(position, at);
        }
    }

    /// Drops the write to a position that was made at `at`, if it is still the latest one.
    fn drop_write(&mut self, position: RingPosition, at: Instant) {
        // A later write to the same position has its own entry in `order`, and must stay.
        if self.writes.get(&position).is_some_and(|(written_at, _)| *written_at == at) {
            self.writes.remove(&position);
        }
    }
}
