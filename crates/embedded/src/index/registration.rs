//! Registering and deregistering peers.

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Claim, Held, SignedPeer};

use super::entry::{Entry, IdHash, text};
use super::membership::Memberships;
use super::{Index, State};
use crate::record::{Record, Registered};

/// The decision about a deregistration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RemovalDecision {
    /// The peer in this slot may be deregistered by [`Index::deregister`].
    Granted { slot: u32, is_live: bool },
    /// Another client holds the registration.
    Held(Held),
    /// The peer is not known, or has already deregistered.
    Unknown,
}

impl Index {
    /// Stores a peer in its slot, or in a new slot. Performs no checks: for a registration,
    /// [`Index::admit`] must have been called.
    pub(crate) fn insert(&mut self, entry: &Entry, slot: Option<u32>) {
        let number = slot.unwrap_or_else(|| self.allocate_slot(entry));
        let listed_before = self.recorded_archetypes(number);
        // For followers of the change log, registering again with the same content is only a
        // renewal, and not a change.
        let is_renewal = listed_before.is_some()
            && !entry.dormant
            && self.slots.encoded(number).to_json() == entry.content.json.as_str().as_bytes();
        // The new archetypes are acquired before the old ones are released, so that archetypes in
        // both keep their numbers.
        let acquired = entry.archetypes.as_slice().iter().map(|archetype| self.archetypes.acquire(archetype));
        let memberships = Memberships::new(acquired);
        self.leave_state(number);
        self.bytes = self.bytes + entry.cost() - slot.map_or(0, |slot| self.slots.tail(slot).cost());
        let before = std::mem::replace(&mut self.slots.slot_and_tail_mut(number).1.memberships, memberships);
        for membership in before.as_slice() {
            self.archetypes.release(membership.archetype);
        }
        self.slots.write(number, &entry.content);
        self.enter_state(number, if entry.dormant { State::Dormant } else { State::Live });
        if !is_renewal {
            self.record_change(number, listed_before.as_ref());
        }
    }

    /// Whether `claim` permits deregistering a peer. The index must be up to `now`.
    pub(crate) fn check_removal(
        &self,
        peer: &PeerId,
        hash: IdHash,
        claim: &Claim,
        now: Timestamp,
    ) -> RemovalDecision {
        let Some(slot) = self.find(peer, hash) else { return RemovalDecision::Unknown };
        let standing = self.standing(slot, now);
        if standing.is_tombstone() {
            return RemovalDecision::Unknown;
        }
        match standing.check_removal(claim, self.limits.revival_window_millis, now) {
            Ok(()) => RemovalDecision::Granted { slot, is_live: self.slots[slot].state == State::Live },
            Err(held) => RemovalDecision::Held(held),
        }
    }

    /// Appends the record of the peer in a slot, or nothing if the slot is vacant. `offset`, in
    /// milliseconds, is added to its times. It is [`Index::time_offset`] if the reader of the
    /// record uses the wall clock, and 0 if it uses the clock of this index.
    pub(crate) fn record(&self, number: u32, offset: i64, out: &mut Vec<u8>) {
        let (slot, tail) = self.slots.slot_and_tail(number);
        if slot.state == State::Vacant {
            return;
        }
        // The slot has the compact form, and records have the complete JSON.
        let json = self.slots.encoded(number).to_json();
        let registered = Registered {
            dormant: slot.state == State::Dormant,
            holder: tail.holder(),
            signed: self.slots.signature(number),
            ttl: slot.ttl,
            registered_at: tail.registered_at,
            last_seen: slot.last_seen(),
            expires_at: slot.expires_at(),
            json: text(&json),
        };
        Record::Registered(registered.shifted_by_millis(offset)).encode(out);
    }

    /// Appends the record of a deregistration that was granted.
    pub(crate) fn encode_deregistration(&self, number: u32, now: Timestamp, out: &mut Vec<u8>) {
        let id = self.slots.encoded(number).peer_id();
        let Some(signed) = self.slots.signature(number) else {
            return Record::Removed { peer: text(&id) }.encode(out);
        };
        let (slot, tail) = self.slots.slot_and_tail(number);
        let json = self.slots.encoded(number).to_json();
        let registered = Registered {
            dormant: true,
            holder: tail.holder(),
            signed: Some(signed.left(now)),
            ttl: slot.ttl,
            registered_at: tail.registered_at,
            last_seen: slot.last_seen(),
            expires_at: slot.expires_at().min(now),
            json: text(&json),
        };
        Record::Registered(registered.shifted_by_millis(self.time_offset())).encode(out);
    }

    /// Applies a deregistration that was granted. A peer that signed leaves a tombstone.
    pub(crate) fn deregister(&mut self, number: u32, now: Timestamp) {
        let Some(signed) = self.slots.signature(number) else { return self.remove(number) };
        let left = SignedPeer::from(signed.left(now));
        self.record_departure(number);
        self.leave_state(number);
        self.bytes -= self.slots.tail(number).cost();
        self.slots.set_signature(number, &left);
        self.bytes += self.slots.tail(number).cost();
        let slot = &mut self.slots[number];
        slot.set_lease(slot.last_seen(), slot.expires_at().min(now));
        self.enter_state(number, State::Dormant);
    }

    /// Number of slots, including vacant ones. All slot numbers are below it.
    pub(crate) fn slot_count(&self) -> u32 {
        self.slots.slot_count()
    }

    fn allocate_slot(&mut self, entry: &Entry) -> u32 {
        let number = self.slots.allocate();
        self.by_id.insert(entry.hash, number);
        number
    }
}
