//! Fills the index from records, and reverts changes.

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::SignedPeer;

use super::dormant::DormantLists;
use super::entry::{Entry, Keys};
use super::lifecycle::dormant_until;
use super::memory::source::Keeper;
use super::undiscovered::LastListed;
use super::{Index, Schedule, State};
use crate::record::Record;

/// A parsed record.
#[expect(clippy::large_enum_variant, reason = "a record is applied at once, and not kept")]
pub(crate) enum ParsedRecord {
    Registered(Entry),
    Expired { peer: PeerId, at: Timestamp },
    Revived { peer: PeerId, at: Timestamp },
    Removed { peer: PeerId },
}

/// The data with which a change is reverted.
pub(crate) struct Undo {
    /// The record of the state before the change.
    pub(crate) record: Box<[u8]>,
    /// `None` if the peer was unknown before the change.
    pub(crate) unrecorded: Option<Unrecorded>,
}

/// The part of a peer's state that is not in its record, because the store does not need it after a
/// restart.
#[derive(Debug)]
pub(crate) struct Unrecorded {
    proven_at: Timestamp,
    kept_by: Option<Keeper>,
    last_listed: LastListed,
}

impl ParsedRecord {
    /// Parses and validates the bytes of a record.
    ///
    /// # Errors
    /// A sentence that describes the problem.
    pub(crate) fn parse(bytes: &[u8], keys: &Keys) -> Result<Self, String> {
        let record = Record::decode(bytes).ok_or("its kind is unknown, or it is truncated")?;
        let peer = |text: &str| PeerId::parse(text).map_err(|error| error.to_string());
        Ok(match record {
            Record::Registered(registered) => {
                let entry = Entry::from_record(&registered, keys).map_err(|error| error.to_string())?;
                Self::Registered(entry)
            }
            Record::Expired { peer: id, at } => Self::Expired { peer: peer(id)?, at },
            Record::Revived { peer: id, at } => Self::Revived { peer: peer(id)?, at },
            Record::Removed { peer: id } => Self::Removed { peer: peer(id)? },
        })
    }
}

impl Index {
    /// Applies a record. Records may be replayed twice, and may refer to peers that no longer
    /// exist.
    pub(crate) fn replay(&mut self, record: ParsedRecord) {
        match record {
            ParsedRecord::Registered(entry) => {
                let slot = self.find(&entry.peer_id, entry.hash);
                self.insert(&entry, slot);
            }
            ParsedRecord::Expired { peer, at } => self.replay_event(&peer, State::Dormant, at),
            ParsedRecord::Revived { peer, at } => self.replay_event(&peer, State::Live, at),
            ParsedRecord::Removed { peer } => {
                if let Some(slot) = self.find_peer(&peer) {
                    self.remove(slot);
                }
            }
        }
    }

    /// The data with which a change of the peer in a slot is reverted. `slot` is `None` if the
    /// change adds the peer.
    pub(crate) fn undo(&self, peer: &str, slot: Option<u32>) -> Undo {
        let mut record = Vec::new();
        match slot {
            Some(slot) => self.record(slot, 0, &mut record),
            None => Record::Removed { peer }.encode(&mut record),
        }
        Undo { record: record.into(), unrecorded: slot.map(|slot| self.unrecorded(slot)) }
    }

    /// The part of a peer's state that its record does not have.
    pub(crate) fn unrecorded(&self, number: u32) -> Unrecorded {
        let (slot, tail) = self.slots.slot_and_tail(number);
        let last_listed = slot.last_listed.clone();
        Unrecorded { proven_at: tail.proven_at(), kept_by: tail.kept_by, last_listed }
    }

    /// Reverts a change. The arguments are the two parts of its [`Undo`]. Leases that heartbeats
    /// have extended since then stay extended.
    pub(crate) fn revert(&mut self, before: ParsedRecord, unrecorded: Option<Unrecorded>) {
        let ParsedRecord::Registered(mut entry) = before else { return self.replay(before) };
        let slot = self.find(&entry.peer_id, entry.hash);
        // A heartbeat may have been acknowledged after the registration that is now reverted. The
        // restored lease must last as long as the response to that heartbeat stated.
        let renewed_at = slot
            .filter(|slot| !self.slots.is_tombstone(*slot))
            .map(|slot| self.slots.slot_and_tail(slot))
            .filter(|(slot, tail)| slot.last_seen() > tail.registered_at);
        if let Some(renewed_at) = renewed_at.map(|(slot, _)| slot.last_seen()) {
            let content = &mut entry.content;
            content.last_seen = content.last_seen.max(renewed_at);
            content.expires_at = content.expires_at.max(renewed_at + content.ttl);
            entry.dormant = false;
        }
        self.insert(&entry, slot);
        let (Some(before), Some(number)) = (unrecorded, self.find(&entry.peer_id, entry.hash)) else {
            return;
        };
        let (slot, tail) = self.slots.slot_and_tail_mut(number);
        tail.set_proven_at(before.proven_at);
        slot.last_listed = before.last_listed;
        if slot.state == State::Live {
            self.set_keeper(number, before.kept_by);
        }
    }

    /// Ends the loading. Every live peer gets a full lease from `now`, because its heartbeats could
    /// not arrive while the store was stopped. For the same reason, all holders count as proven.
    /// Each lease is extended by a random time of up to a third, so that the leases do not all end
    /// at once. `jitter` returns a number in `0..=` its argument.
    pub(crate) fn restore(&mut self, now: Timestamp, mut jitter: impl FnMut(u64) -> u64) {
        self.opened_at = now;
        let mut expiries = Vec::with_capacity(self.live.len());
        let mut evictions = Vec::new();
        let window = self.limits.revival_window_millis;
        for number in 0..self.slots.slot_count() {
            self.cap_times(number, now);
            let lock = self.slots.signature(number).map(|signed| signed.lock);
            let (slot, tail) = self.slots.slot_and_tail_mut(number);
            tail.set_proven_at(now);
            match slot.state {
                State::Vacant => {}
                State::Dormant => {
                    // The clock may have been set back since the lease ended.
                    if slot.expires_at() > now {
                        slot.set_lease(slot.last_seen().min(now), now);
                        tail.scheduled = dormant_until(lock, now, window);
                    }
                    evictions.push((tail.scheduled, number));
                }
                State::Live => {
                    let millis = slot.ttl.as_millis();
                    slot.set_lease(now, now.plus_millis(millis + jitter(millis / 3)));
                    tail.scheduled = slot.expires_at();
                    expiries.push((tail.scheduled, number));
                }
            }
        }
        // The records were not in the order in which leases ended, so the lists of dormant peers
        // are built again, in the order of the scheduled evictions.
        evictions.sort_unstable();
        self.dormant = DormantLists::new();
        for (_, number) in &evictions {
            self.link_dormant(*number);
        }
        self.schedule = Schedule::default();
        self.schedule.build(expiries, evictions);
    }

    /// Replaces the times at which a peer registered and was locked by `now` if they are later. They
    /// are if the wall clock was set back after it had been ahead.
    fn cap_times(&mut self, number: u32, now: Timestamp) {
        if self.slots[number].state == State::Vacant {
            return;
        }
        let tail = self.slots.slot_and_tail_mut(number).1;
        tail.registered_at = tail.registered_at.min(now);
        let Some(signed) = self.slots.signature(number) else { return };
        let lock = signed.lock.capped_at(now);
        if lock != signed.lock {
            self.slots.set_signature(number, &SignedPeer { lock, ..signed.into() });
        }
    }

    /// Replays an event of a known peer: its lease ended, or it was revived, at the given time.
    fn replay_event(&mut self, peer: &PeerId, state: State, at: Timestamp) {
        let Some(number) = self.find_peer(peer) else { return };
        self.leave_state(number);
        let slot = &mut self.slots[number];
        match state {
            State::Live => slot.set_lease(at, at + slot.ttl),
            State::Dormant | State::Vacant => slot.set_lease(slot.last_seen(), at),
        }
        self.enter_state(number, state);
    }
}
