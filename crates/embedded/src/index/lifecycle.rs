//! Transitions between the states of a peer: live, dormant, deleted.

use std::sync::atomic::Ordering::Relaxed;

use aurora_discovery_protocol::{PeerId, Subject, Timestamp};
use aurora_discovery_registry::{Lock, Swept, is_subject};

use super::entry::text;
use super::memory::tail::Links;
use super::{Index, State};
use crate::record::Record;

impl Index {
    /// Whether [`Index::advance`] has anything to do.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.schedule.is_due(now)
    }

    /// Ends leases and evicts dormant peers that are due at `now`, in at most `steps` steps. Passes
    /// the record of each change to `log`, in order.
    pub(crate) fn advance(&mut self, now: Timestamp, steps: usize, log: &mut dyn FnMut(&Record<'_>)) {
        self.now = now;
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

    /// The number of leases that ended and of dormant peers that were evicted since the last call
    /// of this method. [`Index::advance`] counts them, whichever operation calls it.
    pub(crate) fn take_swept(&mut self) -> Swept {
        std::mem::take(&mut self.swept)
    }

    /// Makes a slot's peer live or dormant, and adds it to the structures for that state.
    pub(super) fn enter_state(&mut self, number: u32, state: State) {
        let lock = self.slots.signature(number).map(|signed| signed.lock);
        let (slot, tail) = self.slots.slot_and_tail_mut(number);
        slot.state = state;
        tail.scheduled = slot.expires_at();
        if state == State::Dormant {
            tail.scheduled = dormant_until(lock, tail.scheduled, self.limits.revival_window_millis);
            self.tombstones += usize::from(lock.is_some_and(|lock| lock.is_tombstone()));
            self.dormant_bytes += tail.cost();
            self.schedule.evictions().insert(tail.scheduled, number);
            self.link_dormant(number);
            return;
        }
        self.signed += usize::from(lock.is_some());
        let in_network = self.networks.push(tail.source, number);
        tail.links = Links::Live { position: self.live.push(number), in_network };
        for membership in tail.memberships.as_mut_slice() {
            membership.position = self.archetypes.add_member(membership.archetype, number);
        }
        self.quota.add_live(tail);
        self.schedule.expiries().insert(tail.scheduled, number);
    }

    /// The reverse of [`Index::enter_state`]. The contents of the slot stay.
    pub(super) fn leave_state(&mut self, number: u32) {
        let (slot, tail) = self.slots.slot_and_tail(number);
        match slot.state {
            State::Vacant => {}
            State::Dormant => {
                self.tombstones -= usize::from(self.slots.is_tombstone(number));
                self.dormant_bytes -= tail.cost();
                self.schedule.evictions().remove(tail.scheduled, number);
                self.unlink_dormant(number);
            }
            State::Live => {
                self.signed -= usize::from(self.slots.signature(number).is_some());
                self.quota.remove_live(tail);
                self.schedule.expiries().remove(tail.scheduled, number);
                self.set_keeper(number, None);
                self.remove_from_members(number);
            }
        }
        self.slots[number].state = State::Vacant;
    }

    fn remove_from_members(&mut self, number: u32) {
        // Removing a member from a dense array moves the last member into the gap, so the position
        // that the moved peer stores has to be updated. This keeps removal independent of the
        // number of members.
        let tail = self.slots.tail(number);
        if let Links::Live { position, in_network } = tail.links {
            if let Some(moved) = self.networks.remove(tail.source, in_network)
                && let Links::Live { in_network: moved_from, .. } =
                    &mut self.slots.slot_and_tail_mut(moved).1.links
            {
                *moved_from = in_network;
            }
            if let Some(moved) = self.live.swap_remove(position)
                && let Links::Live { position: moved_from, .. } =
                    &mut self.slots.slot_and_tail_mut(moved).1.links
            {
                *moved_from = position;
            }
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

    /// Deletes a peer completely, without a record. If the deletion must be durable, the caller
    /// appends the record.
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

    /// Whether the peer in a slot belongs to one of the subjects.
    pub(crate) fn is_of_any(&self, number: u32, subjects: &[Subject]) -> bool {
        let (slot, tail) = self.slots.slot_and_tail(number);
        if slot.state == State::Vacant {
            return false;
        }
        let Ok(peer) = PeerId::parse(&self.id_of(number)) else { return false };
        let key = self.slots.signature(number).map(|signed| signed.lock.key);
        subjects.iter().any(|subject| is_subject(subject, &peer, key.as_ref(), tail.holder().source))
    }

    /// The id of the peer in a slot.
    pub(crate) fn id_of(&self, number: u32) -> String {
        text(&self.slots.encoded(number).peer_id()).to_owned()
    }

    /// Whether the peer in a slot is live. `None` if it has deregistered.
    pub(crate) fn liveness_of(&self, number: u32) -> Option<bool> {
        (!self.slots.is_tombstone(number)).then(|| self.slots[number].state == State::Live)
    }

    /// Deletes a dormant peer or a tombstone, and passes the record of the deletion to `log`.
    pub(super) fn evict(&mut self, number: u32, log: &mut dyn FnMut(&Record<'_>)) {
        log(&Record::Removed { peer: text(&self.slots.encoded(number).peer_id()) });
        if let Some(evicted) = &self.evicted
            && let Ok(peer) = PeerId::parse(&self.id_of(number))
        {
            evicted.lock().push((peer, self.lease_state(number)));
        }
        self.remove(number);
    }

    /// Processes a live peer whose entry in the schedule is due: either its lease has ended, or
    /// heartbeats have moved the end of the lease. Returns whether the lease ended.
    fn end_lease(&mut self, number: u32, now: Timestamp, log: &mut dyn FnMut(&Record<'_>)) -> bool {
        let (slot, tail) = self.slots.slot_and_tail_mut(number);
        let expires_at = slot.expires_at();
        if now < expires_at {
            // Heartbeats have moved the end of the lease. The entry in the schedule is corrected
            // only now, so that a heartbeat itself changes no ordered structure.
            self.schedule.expiries().remove(tail.scheduled, number);
            tail.scheduled = expires_at;
            self.schedule.expiries().insert(expires_at, number);
            return false;
        }
        self.counts.expired += 1;
        // This record has the time of the wall clock, because the next process starts with the wall
        // clock's time.
        let at = expires_at.shifted_by_millis(self.time_offset.load(Relaxed));
        log(&Record::Expired { peer: text(&self.slots.encoded(number).peer_id()), at });
        self.record_departure(number);
        self.leave_state(number);
        self.enter_state(number, State::Dormant);
        true
    }
}

/// When a dormant peer is evicted.
pub(super) fn dormant_until(
    lock: Option<Lock>,
    expires_at: Timestamp,
    revival_window_millis: u64,
) -> Timestamp {
    lock.map_or(expires_at.plus_millis(revival_window_millis), |lock| lock.ends_at(expires_at))
}
