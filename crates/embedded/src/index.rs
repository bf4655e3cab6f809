//! The peers in memory: stable slots, dense arrays to sample from, and one schedule of what ends when.
//!
//! Nothing here waits, locks or knows a disk. Whoever holds the index exclusively brings it up to `now` by
//! [`Index::advance`] first; then live means live, and everything counted is exact.

mod archetype;
mod census;
mod change;
mod entry;
mod enumerate;
mod fill;
mod life;
mod listing;
mod members;
mod membership;
mod memory;
mod place;
mod quota;
mod replay;
mod room;
mod sample;
mod schedule;
mod undiscovered;

#[cfg(test)]
mod invariant;

use std::sync::Arc;

use aurora_protocol::{PeerId, Timestamp, Ttl};
use aurora_registry::{Limits, Swept};

use crate::changes::ChangeLog;
use archetype::ArchetypeTable;
use members::Members;
use memory::arena::Arena;
use memory::ids::IdTable;
use memory::slot::State;
use quota::Quota;
use schedule::Schedule;

use entry::IdHash;
pub(crate) use entry::{Entry, Keys, Lease};
pub(crate) use life::Revival;
pub(crate) use place::Departure;
pub(crate) use replay::Replayed;

/// All known peers.
pub(crate) struct Index {
    limits: Limits,
    keys: Keys,
    slots: Arena,
    by_id: IdTable,
    live: Members,
    archetypes: ArchetypeTable,
    schedule: Schedule,
    quota: Quota,
    bytes: u64,
    dormant_bytes: u64,
    counts: Counts,
    /// Who follows what changes.
    changes: Arc<ChangeLog>,
    /// What ended and was not reported yet.
    swept: Swept,
    /// Tells the slots of this process from those of one before.
    incarnation: u64,
    /// When what was kept was read back; the beginning of time where nothing was.
    opened_at: Timestamp,
}

/// What happened to peers so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Leases that ended.
    pub(crate) expired: u64,
    /// Dormant peers that a heartbeat brought back.
    pub(crate) revived: u64,
    /// Dormant peers deleted because their window was over.
    pub(crate) evicted_due: u64,
    /// Dormant peers deleted to make room for others.
    pub(crate) evicted_for_room: u64,
    /// Peers deleted because their source has as many dormant ones as it may.
    pub(crate) evicted_for_source: u64,
    /// Dormant peers deleted because too many live ones publish their address by now.
    pub(crate) evicted_for_address: u64,
}

impl Index {
    /// An empty index.
    pub(crate) fn new(limits: Limits, keys: Keys) -> Self {
        let mut index = Self::loading(limits, keys);
        index.schedule = Schedule::default();
        index
    }

    /// An empty index that is filled by [`Index::replay`] and then by [`Index::restore`] made ready.
    pub(crate) fn loading(limits: Limits, keys: Keys) -> Self {
        Self {
            changes: ChangeLog::new(&limits),
            limits,
            keys,
            slots: Arena::default(),
            by_id: IdTable::new(),
            live: Members::default(),
            archetypes: ArchetypeTable::new(),
            schedule: Schedule::deferred(),
            quota: Quota::new(),
            bytes: 0,
            dormant_bytes: 0,
            counts: Counts::default(),
            swept: Swept::default(),
            incarnation: fastrand::u64(..),
            opened_at: Timestamp::default(),
        }
    }

    /// Peers that it has, live and dormant.
    pub(crate) fn known(&self) -> usize {
        self.slots.occupied()
    }

    /// Bytes that these count for.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The memory of what changes here.
    pub(crate) fn changes(&self) -> &Arc<ChangeLog> {
        &self.changes
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The slot of a known peer; `hash` is that of its id.
    fn find(&self, peer: &PeerId, hash: IdHash) -> Option<u32> {
        self.by_id.find(hash, |slot| self.slots.encoded(slot).has_id(peer))
    }

    fn find_peer(&self, peer: &PeerId) -> Option<u32> {
        self.find(peer, self.keys.peer(peer.as_str().as_bytes()))
    }

    /// Renews the lease of a peer that is live at `now`, while others read and renew; `None` where more is to be done. Answers the
    /// lease's length and when the peer registered.
    pub(crate) fn renew(&self, peer: &PeerId, hash: IdHash, now: Timestamp) -> Option<(Ttl, Timestamp)> {
        let number = self.find(peer, hash)?;
        let (slot, tail) = self.slots.pair(number);
        if !slot.is_live_at(now) {
            return None;
        }
        slot.renew(now);
        Some((slot.ttl, tail.registered_at))
    }
}
