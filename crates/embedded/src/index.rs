//! The index: the peers in memory, with stable slots, dense arrays to sample from, and a schedule
//! of the times at which leases end.
//!
//! This module does not block, lock or access the disk. A caller that holds the index exclusively
//! first calls [`Index::advance`] with `now`. After that the stored states are accurate at `now`,
//! and all counts are exact.

mod admission;
mod archetype;
mod census;
mod change;
mod entry;
mod enumerate;
mod fill;
mod lifecycle;
mod listing;
mod members;
mod membership;
mod memory;
mod quota;
mod registration;
mod replay;
mod sample;
mod schedule;
mod undiscovered;

#[cfg(test)]
mod invariant;

use std::sync::Arc;

use aurora_discovery_protocol::{PeerId, Timestamp, Ttl};
use aurora_discovery_registry::{Limits, Swept};

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
pub(crate) use lifecycle::Revival;
pub(crate) use registration::RemovalDecision;
pub(crate) use replay::ParsedRecord;

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
    /// The change log.
    changes: Arc<ChangeLog>,
    /// What [`Index::advance`] did and has not reported yet.
    swept: Swept,
    /// Distinguishes the slots of this process from those of an earlier one.
    incarnation: u64,
    /// When the stored peers were loaded; the start of the epoch if there was nothing to load.
    opened_at: Timestamp,
}

/// Counts of events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Leases that ended.
    pub(crate) expired: u64,
    /// Dormant peers that a heartbeat revived.
    pub(crate) revived: u64,
    /// Dormant peers deleted because their revival window ended.
    pub(crate) evicted_due: u64,
    /// Dormant peers deleted to make room for newcomers.
    pub(crate) evicted_for_room: u64,
    /// Dormant peers deleted because their source reached its limit of dormant peers.
    pub(crate) evicted_for_source: u64,
    /// Dormant peers deleted because too many live peers publish their address by now.
    pub(crate) evicted_for_address: u64,
}

impl Index {
    /// An empty index.
    pub(crate) fn new(limits: Limits, keys: Keys) -> Self {
        let mut index = Self::loading(limits, keys);
        index.schedule = Schedule::default();
        index
    }

    /// An empty index that [`Index::replay`] fills and [`Index::restore`] then completes.
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

    /// Number of known peers, live and dormant.
    pub(crate) fn known(&self) -> usize {
        self.slots.occupied()
    }

    /// Bytes that the known peers count against the limit.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The change log.
    pub(crate) fn changes(&self) -> &Arc<ChangeLog> {
        &self.changes
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The slot of a known peer. `hash` is the hash of its id.
    fn find(&self, peer: &PeerId, hash: IdHash) -> Option<u32> {
        self.by_id.find(hash, |slot| self.slots.encoded(slot).has_id(peer))
    }

    fn find_peer(&self, peer: &PeerId) -> Option<u32> {
        self.find(peer, self.keys.peer(peer.as_str().as_bytes()))
    }

    /// Renews the lease of a peer that is live at `now`, concurrently with reads and other
    /// renewals. Returns the length of the lease and the time of registration, or `None` if a
    /// renewal alone is not enough.
    pub(crate) fn renew(&self, peer: &PeerId, hash: IdHash, now: Timestamp) -> Option<(Ttl, Timestamp)> {
        let number = self.find(peer, hash)?;
        let (slot, tail) = self.slots.slot_and_tail(number);
        if !slot.is_live_at(now) {
            return None;
        }
        slot.renew(now);
        Some((slot.ttl, tail.registered_at))
    }
}
