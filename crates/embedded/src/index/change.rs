//! Reports changes of the index to the change log.

use super::{Index, State};
use crate::changes::{Listed, Traits};

impl Index {
    /// The archetypes of a slot's peer, if it is live and changes are recorded.
    pub(super) fn traits(&self, number: u32) -> Option<Traits> {
        let slot = &self.slots[number];
        if slot.state != State::Live || !self.changes.is_followed() {
            return None;
        }
        let names = self
            .slots
            .tail(number)
            .memberships
            .as_slice()
            .iter()
            .map(|one| self.archetypes.name(one.archetype));
        Some(names.map(|name| self.changes.trait_of(name)).collect())
    }

    /// Records how a slot's peer is listed from now on. `before` has its archetypes if it was
    /// listed before.
    pub(super) fn tell(&self, number: u32, before: Option<&Traits>) {
        let traits = self.traits(number);
        if before.is_none() && traits.is_none() {
            return;
        }
        let (slot, tail) = self.slots.pair(number);
        let listed = traits.map(|traits| Listed {
            traits,
            peer: self.slots.encoded(number),
            last_seen: slot.last_seen(),
            expires_in: slot.expires_at().millis_since(slot.last_seen()) / 1_000,
            registered_ago: slot.last_seen().millis_since(tail.registered_at) / 1_000,
        });
        self.changes.add(&self.slots.encoded(number).peer_id(), before, listed);
    }

    /// Records that a slot's peer is no longer listed, if it was.
    pub(super) fn tell_departure(&self, number: u32) {
        if let Some(before) = self.traits(number) {
            self.changes.add(&self.slots.encoded(number).peer_id(), Some(&before), None);
        }
    }
}
