//! Changes that peers request: registering and deregistering.

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::Claim;

use super::entry::{Entry, IdHash, text};
use super::membership::Memberships;
use super::{Index, State};
use crate::record::{Record, Registered};

/// The decision about a deregistration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The peer in this slot may be deleted by [`Index::remove`].
    Granted { slot: u32, is_live: bool },
    /// Another client holds the registration.
    Held(Timestamp),
    /// The peer is not known.
    Unknown,
}

impl Index {
    /// Stores a peer in its slot, or in a new slot. Performs no checks: [`Index::admit`] must have
    /// been called.
    pub(crate) fn place(&mut self, entry: &Entry, slot: Option<u32>) {
        let number = slot.unwrap_or_else(|| self.take_slot(entry));
        let followed = self.traits(number);
        // To followers, an identical registration is only a renewal.
        let same = followed.is_some()
            && !entry.dormant
            && self.slots.encoded(number).to_json() == entry.content.json.as_str().as_bytes();
        // The new archetypes are acquired before the old ones are released, so that archetypes in
        // both keep their numbers.
        let acquired = entry.archetypes.as_slice().iter().map(|archetype| self.archetypes.acquire(archetype));
        let memberships = Memberships::new(acquired);
        self.leave(number);
        self.bytes = self.bytes + entry.cost() - slot.map_or(0, |slot| self.slots.tail(slot).cost());
        let before = std::mem::replace(&mut self.slots.pair_mut(number).1.memberships, memberships);
        for membership in before.as_slice() {
            self.archetypes.release(membership.archetype);
        }
        self.slots.fill(number, &entry.content);
        self.enter(number, if entry.dormant { State::Dormant } else { State::Live });
        if !same {
            self.tell(number, followed.as_ref());
        }
    }

    /// Whether `claim` permits to deregister a peer. The index must be up to date.
    pub(crate) fn departure(&self, peer: &PeerId, hash: IdHash, claim: &Claim) -> Departure {
        let Some(number) = self.find(peer, hash) else { return Departure::Unknown };
        let (slot, tail) = self.slots.pair(number);
        if slot.state == State::Live && !claim.matches(&tail.holder) {
            return Departure::Held(slot.expires_at());
        }
        Departure::Granted { slot: number, is_live: slot.state == State::Live }
    }

    /// Deregisters the peer in a slot.
    pub(crate) fn remove(&mut self, slot: u32) {
        self.forget(slot);
    }

    /// Appends the record of the peer in a slot, or nothing if the slot is vacant.
    pub(crate) fn record(&self, number: u32, out: &mut Vec<u8>) {
        let (slot, tail) = self.slots.pair(number);
        if slot.state == State::Vacant {
            return;
        }
        let json = self.slots.encoded(number).to_json();
        let registered = Registered {
            dormant: slot.state == State::Dormant,
            holder: tail.holder,
            ttl: slot.ttl,
            registered_at: tail.registered_at,
            last_seen: slot.last_seen(),
            expires_at: slot.expires_at(),
            json: text(&json),
        };
        Record::Registered(registered).encode(out);
    }

    /// All slots have numbers below this one.
    pub(crate) fn end(&self) -> u32 {
        self.slots.end()
    }

    fn take_slot(&mut self, entry: &Entry) -> u32 {
        let number = self.slots.take();
        self.by_id.insert(entry.hash, number);
        number
    }
}
