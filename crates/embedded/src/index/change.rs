//! Reports changes of the index to the change log.

use std::sync::atomic::Ordering::Relaxed;

use super::{Index, State};
use crate::changes::{ArchetypeHashes, ListedPeer};

impl Index {
    /// The archetypes of a slot's peer, if it is live and changes are recorded.
    pub(super) fn recorded_archetypes(&self, number: u32) -> Option<ArchetypeHashes> {
        let slot = &self.slots[number];
        if slot.state != State::Live || !self.changes.is_recording() {
            return None;
        }
        let names = self
            .slots
            .tail(number)
            .memberships
            .as_slice()
            .iter()
            .map(|membership| self.archetypes.name(membership.archetype));
        Some(names.map(|name| self.changes.hash_archetype(name)).collect())
    }

    /// Records how a slot's peer is listed from now on. `before` has its archetypes if it was
    /// listed before.
    pub(super) fn record_change(&self, number: u32, before: Option<&ArchetypeHashes>) {
        let archetypes = self.recorded_archetypes(number);
        if before.is_none() && archetypes.is_none() {
            return;
        }
        let (slot, tail) = self.slots.slot_and_tail(number);
        let listed = archetypes.map(|archetypes| ListedPeer {
            archetypes,
            peer: self.slots.encoded(number),
            last_seen: slot.last_seen().shifted_by_millis(self.time_offset.load(Relaxed)),
            expires_in: slot.expires_at().millis_since(slot.last_seen()) / 1_000,
            registered_ago: slot.last_seen().millis_since(tail.registered_at) / 1_000,
            signed: self.slots.signature(number).map(|signed| signed.record),
        });
        self.changes.add(&self.slots.encoded(number).peer_id(), before, listed, self.now);
    }

    /// Records that a slot's peer is no longer listed, if it was.
    pub(super) fn record_departure(&self, number: u32) {
        if let Some(before) = self.recorded_archetypes(number) {
            self.changes.add(&self.slots.encoded(number).peer_id(), Some(&before), None, self.now);
        }
    }
}
