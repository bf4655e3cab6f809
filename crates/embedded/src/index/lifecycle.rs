//! Transitions between the states of a peer: live, dormant, deleted.

use aurora_discovery_protocol::{PeerId, Timestamp, Ttl};
use aurora_discovery_registry::Swept;

use super::entry::{IdHash, text};
use super::undiscovered::CoarseTime;
use super::{Index, State};
use crate::record::Record;

/// The outcome of a heartbeat that could not be handled by renewing a running lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revival {
    /// The peer was live after all. Has the time of its registration.
    Renewed(Ttl, Timestamp),
    /// The peer was dormant and is live again. Has the time of its registration.
    Revived(Ttl, Timestamp),
    /// The peer is not known.
    Unknown,
}

impl Index {
    /// Whether [`Index::advance`] has anything to do.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.schedule.is_due(now)
    }

    /// Applies what is due at `now`, in at most `steps` steps. Each change is passed to `log` in
    /// order.
    pub(crate) fn advance(&mut self, now: Timestamp, steps: usize, log: &mut dyn FnMut(&Record<'_>)) {
        for _ in 0..steps {
            if let Some(slot) = self.schedule.expiries().first_due(now) {
                self.swept.expired += u64::from(self.end_lease(slot, now, log));
            } else if let Some(slot) = self.schedule.evictions().first_due(now) {
                self.counts.evicted_due += 1;
                self.swept.evicted += 1;
                self.evict(slot, log);
            } else {
                break;
            }
        }
    }

    /// What [`Index::advance`] has done since the last call of this method, for any caller.
    pub(crate) fn take_swept(&mut self) -> Swept {
        std::mem::take(&mut self.swept)
    }

    /// Renews or revives a peer. The index must be up to `now`.
    pub(crate) fn revive(
        &mut self,
        peer: &PeerId,
        hash: IdHash,
        now: Timestamp,
        log: &mut dyn FnMut(&Record<'_>),
    ) -> Revival {
        let Some(slot) = self.find(peer, hash) else { return Revival::Unknown };
        let (ttl, tail) = (self.slots[slot].ttl, self.slots.tail(slot));
        let (address_key, registered_at) = (tail.address_key, tail.registered_at);
        if self.slots[slot].state == State::Live {
            self.slots[slot].renew(now);
            return Revival::Renewed(ttl, registered_at);
        }
        if self.address_is_full(address_key) {
            // The 404 makes the client register again, and the response to that states the reason.
            // Reviving the peer would let its holder bypass the limit that protects an address from
            // being published by many peers.
            self.counts.evicted_for_address += 1;
            self.evict(slot, log);
            return Revival::Unknown;
        }
        self.counts.revived += 1;
        self.leave_state(slot);
        self.slots[slot].set_lease(now, now + ttl);
        // While it was dormant, no page could list it. Like a newcomer, it is exempt from the count
        // of undiscovered peers for one lease.
        self.slots[slot].last_listed.set(CoarseTime::of(now));
        self.enter_state(slot, State::Live);
        self.record_change(slot, None);
        log(&Record::Revived { peer: peer.as_str(), at: now });
        Revival::Revived(ttl, registered_at)
    }

    /// Makes a slot's peer live or dormant, and adds it to the structures for that state.
    pub(super) fn enter_state(&mut self, number: u32, state: State) {
        let (slot, tail) = self.slots.slot_and_tail_mut(number);
        slot.state = state;
        tail.scheduled = slot.expires_at();
        if state == State::Dormant {
            tail.scheduled = tail.scheduled.plus_millis(self.limits.revival_window_millis);
            self.dormant_bytes += tail.cost();
            self.quota.add_dormant(tail.holder.source);
            self.schedule.evictions().insert(tail.scheduled, number);
            return;
        }
        tail.position = self.live.push(number);
        for membership in tail.memberships.as_mut_slice() {
            membership.position = self.archetypes.add_member(membership.archetype, number);
        }
        self.quota.add_live(tail.holder.source, tail.address_key);
        self.schedule.expiries().insert(tail.scheduled, number);
    }

    /// The reverse of [`Index::enter_state`]. The contents of the slot stay.
    pub(super) fn leave_state(&mut self, number: u32) {
        let (slot, tail) = self.slots.slot_and_tail(number);
        match slot.state {
            State::Vacant => {}
            State::Dormant => {
                self.dormant_bytes -= tail.cost();
                self.quota.remove_dormant(tail.holder.source);
                self.schedule.evictions().remove(tail.scheduled, number);
            }
            State::Live => {
                self.quota.remove_live(tail.holder.source, tail.address_key);
                self.schedule.expiries().remove(tail.scheduled, number);
                self.remove_from_members(number);
            }
        }
        self.slots[number].state = State::Vacant;
    }

    fn remove_from_members(&mut self, number: u32) {
        // Removing a member from a dense array moves the last member into the gap, so the position
        // that the moved peer stores has to be updated. This keeps removal independent of the
        // number of members.
        let position = self.slots.tail(number).position;
        if let Some(moved) = self.live.swap_remove(position) {
            self.slots.slot_and_tail_mut(moved).1.position = position;
        }
        for index in 0..self.slots.tail(number).memberships.as_slice().len() {
            let left = self.slots.tail(number).memberships.as_slice()[index];
            let Some(moved) = self.archetypes.remove_member(left.archetype, left.position) else { continue };
            let memberships = self.slots.slot_and_tail_mut(moved).1.memberships.as_mut_slice();
            if let Some(other) = memberships.iter_mut().find(|other| other.archetype == left.archetype) {
                other.position = left.position;
            }
        }
    }

    /// Deletes a peer completely. The caller writes the record.
    pub(crate) fn remove(&mut self, number: u32) {
        self.record_departure(number);
        self.leave_state(number);
        let tail = self.slots.tail(number);
        self.bytes -= tail.cost();
        self.by_id.remove(self.keys.peer(&self.slots.encoded(number).peer_id()), number);
        for membership in tail.memberships.as_slice() {
            self.archetypes.release(membership.archetype);
        }
        self.slots.release(number);
    }

    /// Deletes a peer that did not deregister, and passes the record to `log`.
    pub(super) fn evict(&mut self, number: u32, log: &mut dyn FnMut(&Record<'_>)) {
        log(&Record::Removed { peer: text(&self.slots.encoded(number).peer_id()) });
        self.remove(number);
    }

    /// Whether as many live peers as permitted publish this address.
    pub(super) fn address_is_full(&self, address_key: u64) -> bool {
        address_key != 0 && self.quota.live_at(address_key) >= self.limits.max_peers_per_address
    }

    /// Processes a live peer whose entry in the schedule is due: either its lease has ended, or
    /// heartbeats have moved the end. Returns whether the lease ended.
    fn end_lease(&mut self, number: u32, now: Timestamp, log: &mut dyn FnMut(&Record<'_>)) -> bool {
        let (slot, tail) = self.slots.slot_and_tail_mut(number);
        let expires_at = slot.expires_at();
        if now < expires_at {
            // Heartbeats have moved the end. The entry is corrected only now, so that a heartbeat
            // itself changes no ordered structure.
            self.schedule.expiries().remove(tail.scheduled, number);
            tail.scheduled = expires_at;
            self.schedule.expiries().insert(expires_at, number);
            return false;
        }
        let source = tail.holder.source;
        self.counts.expired += 1;
        // A source that keeps registering new ids would fill the memory with dormant peers.
        if !source.is_loopback() && self.quota.dormant_from(source) >= self.limits.max_peers_per_source {
            self.counts.evicted_for_source += 1;
            self.evict(number, log);
            return true;
        }
        log(&Record::Expired { peer: text(&self.slots.encoded(number).peer_id()), at: expires_at });
        self.record_departure(number);
        self.leave_state(number);
        self.enter_state(number, State::Dormant);
        true
    }
}
