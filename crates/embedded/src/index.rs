//! The index: the peers in memory, with stable slots, dense arrays to sample from, and a schedule
//! of the times at which leases end.
//!
//! This module does not block or access the disk. A caller that holds the index exclusively
//! first calls [`Index::advance`] with `now`, until nothing is due any more. The index is then *up
//! to `now`*: the stored states are those at `now`, and all counts are exact.

mod admission;
mod archetype;
mod census;
mod change;
mod dormant;
mod entry;
mod enumerate;
mod fill;
mod lifecycle;
mod listing;
mod members;
mod membership;
mod memory;
mod networks;
mod quota;
mod registration;
mod renewal;
mod replay;
mod replica;
mod sample;
mod schedule;
mod transfer;
mod undiscovered;

#[cfg(test)]
mod invariant;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use aurora_discovery_protocol::{PeerId, PublicKey, Timestamp};
use aurora_discovery_registry::{KnownPeer, Limits, Standing, Swept};
use parking_lot::Mutex;

use crate::changes::ChangeLog;
use archetype::ArchetypeTable;
use dormant::DormantLists;
use members::Members;
use memory::arena::Arena;
use memory::ids::IdTable;
use memory::slot::State;
use networks::NetworkLists;
use quota::Quota;
use schedule::Schedule;

use entry::IdHash;
pub(crate) use entry::{Entry, Keys, Lease};
pub(crate) use registration::RemovalDecision;
pub(crate) use replay::{ParsedRecord, Undo};
pub use replica::LeaseState;
pub(crate) use replica::RenewalDecision;

/// All known peers.
pub(crate) struct Index {
    limits: Limits,
    keys: Keys,
    slots: Arena,
    by_id: IdTable,
    live: Members,
    networks: NetworkLists,
    archetypes: ArchetypeTable,
    schedule: Schedule,
    quota: Quota,
    dormant: DormantLists,
    /// The size of all peers in bytes, without their archetypes, as it counts against `max_bytes`.
    bytes: u64,
    /// The part of `bytes` that belongs to dormant peers.
    dormant_bytes: u64,
    /// How many of the dormant slots are tombstones.
    tombstones: usize,
    /// How many of the live peers have signed.
    signed: usize,
    counts: Counts,
    /// The change log.
    changes: Arc<ChangeLog>,
    /// The time of the latest advance. Changes are recorded with this time.
    now: Timestamp,
    /// The wall clock minus the clock of this index, in milliseconds. It is added to the times that
    /// are listed, exported or stored.
    time_offset: AtomicI64,
    /// The leases that ended and the dormant peers that were evicted since the last
    /// [`Index::take_swept`].
    swept: Swept,
    /// The dormant peers that were evicted, if the index is of a replica.
    evicted: Option<Arc<EvictedPeers>>,
    /// Distinguishes the slots of this process from those of an earlier one.
    incarnation: u64,
    /// When [`Index::restore`] completed the index. The Unix epoch if the store is in memory only.
    opened_at: Timestamp,
}

/// A list of dormant peers that were evicted, with their leases.
pub(crate) type EvictedPeers = Mutex<Vec<(PeerId, LeaseState)>>;

/// Counts of events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Leases that ended.
    pub(crate) expired: u64,
    /// Dormant peers that a heartbeat revived.
    pub(crate) revived: u64,
    /// Dormant peers and tombstones deleted because their revival window or their lock ended.
    pub(crate) evicted_due: u64,
    /// Dormant peers deleted to make room for newcomers.
    pub(crate) evicted_for_room: u64,
    /// Dormant peers deleted for newcomers from their own source, because that source already had
    /// twice as many peers as may be live.
    pub(crate) evicted_for_source: u64,
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
            networks: NetworkLists::new(),
            archetypes: ArchetypeTable::new(),
            schedule: Schedule::deferred(),
            quota: Quota::new(),
            dormant: DormantLists::new(),
            bytes: 0,
            dormant_bytes: 0,
            tombstones: 0,
            signed: 0,
            counts: Counts::default(),
            now: Timestamp::default(),
            time_offset: AtomicI64::new(0),
            swept: Swept::default(),
            evicted: None,
            incarnation: fastrand::u64(..),
            opened_at: Timestamp::default(),
        }
    }

    /// From now on, adds each peer that is evicted to the returned list.
    pub(crate) fn list_evicted(&mut self) -> Arc<EvictedPeers> {
        Arc::clone(self.evicted.get_or_insert_default())
    }

    /// The wall clock minus the clock of this index, in milliseconds.
    pub(crate) fn time_offset(&self) -> i64 {
        self.time_offset.load(Relaxed)
    }

    /// Sets the [`Index::time_offset`].
    pub(crate) fn set_time_offset(&self, millis: i64) {
        self.time_offset.store(millis, Relaxed);
    }

    /// Number of known peers, live and dormant, including tombstones.
    pub(crate) fn known(&self) -> usize {
        self.slots.occupied()
    }

    /// The size of the known peers and their archetypes in bytes, as it counts against `max_bytes`.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes + self.archetypes.bytes()
    }

    /// The number of live peers that have signed.
    pub(crate) fn signed(&self) -> usize {
        self.signed
    }

    /// The change log.
    pub(crate) fn changes(&self) -> &Arc<ChangeLog> {
        &self.changes
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The slot of a known peer. `hash` is the hash of its id.
    pub(crate) fn find(&self, peer: &PeerId, hash: IdHash) -> Option<u32> {
        self.by_id.find(hash, |slot| self.slots.encoded(slot).has_id(peer))
    }

    pub(crate) fn find_peer(&self, peer: &PeerId) -> Option<u32> {
        self.find(peer, self.keys.peer(peer.as_str().as_bytes()))
    }

    /// The key that locks a name. The index must be up to the current time.
    pub(crate) fn locking_key(&self, peer: &PeerId) -> Option<PublicKey> {
        self.slots.signature(self.find_peer(peer)?).map(|signed| signed.lock.key)
    }

    /// What is known of a peer. The index must be up to `now`.
    pub(crate) fn known_peer(&self, peer: &PeerId, hash: IdHash, now: Timestamp) -> Option<KnownPeer> {
        let number = self.find(peer, hash)?;
        let standing = self.standing(number, now);
        let record = self.slots.signature(number).map(|signed| signed.record.into());
        (!standing.is_tombstone()).then_some(KnownPeer { standing, record })
    }

    /// The data from which the rules decide about the peer in a slot. The index must be up to
    /// `now`, unless the peer is live at `now`.
    fn standing(&self, number: u32, now: Timestamp) -> Standing {
        let (slot, tail) = self.slots.slot_and_tail(number);
        let expires_at = match slot.state {
            State::Live => slot.expires_at(),
            // The clock may have gone back since the lease ended. The peer is dormant nevertheless,
            // so the end of its lease must not be after `now`.
            State::Dormant | State::Vacant => slot.expires_at().min(now),
        };
        let lock = self.slots.signature(number).map(|signed| signed.lock);
        Standing { holder: tail.holder(), proven_at: tail.proven_at(), ttl: slot.ttl, expires_at, lock }
    }
}
