//! The invariants between the parts of the index, for tests.

use std::collections::{HashMap, HashSet};

use aurora_discovery_protocol::{PeerId, Timestamp};

use super::{Index, State};

impl Index {
    /// Panics if two parts of the index contradict each other.
    pub(crate) fn check_invariants(&mut self) {
        let (mut bytes, mut dormant_bytes, mut memberships) = (0, 0, 0);
        let mut states: HashMap<_, usize> = HashMap::new();
        let mut sources: HashMap<_, (u32, u32)> = HashMap::new();
        let mut addresses: HashMap<_, u32> = HashMap::new();
        let mut carried = HashSet::new();
        for number in 0..self.slots.slot_count() {
            let (slot, tail) = self.slots.slot_and_tail(number);
            *states.entry(slot.state as u8).or_default() += 1;
            if slot.state == State::Vacant {
                continue;
            }
            let scheduled = tail.scheduled;
            let id = PeerId::parse(super::entry::text(&self.slots.encoded(number).peer_id())).unwrap();
            assert_eq!(self.find_peer(&id), Some(number), "a peer is found by its id");
            bytes += tail.cost();
            let source = sources.entry(tail.holder.source).or_default();
            if slot.state == State::Dormant {
                source.1 += 1;
                dormant_bytes += tail.cost();
                assert!(
                    self.schedule.evictions().contains(scheduled, number),
                    "the eviction of a dormant peer is scheduled"
                );
                continue;
            }
            source.0 += 1;
            if tail.address_key != 0 {
                *addresses.entry(tail.address_key).or_default() += 1;
            }
            assert!(
                scheduled <= slot.expires_at(),
                "a scheduled entry is never later than the end of the lease"
            );
            assert!(
                self.schedule.expiries().contains(scheduled, number),
                "the expiry of a live peer is scheduled"
            );
            assert_eq!(self.live.as_slice()[tail.position as usize], number, "a peer knows its position");
            for membership in tail.memberships.as_slice() {
                let members = self.archetypes.members(membership.archetype).as_slice();
                assert_eq!(members[membership.position as usize], number, "a peer knows its positions");
                carried.insert(membership.archetype);
                memberships += 1;
            }
        }
        let count = |state: State| states.get(&(state as u8)).copied().unwrap_or(0);
        assert_eq!((self.bytes, self.dormant_bytes), (bytes, dormant_bytes));
        assert_eq!(self.live.len(), count(State::Live));
        assert_eq!(self.schedule.expiries().len(), count(State::Live));
        assert_eq!(self.schedule.dormant(), count(State::Dormant));
        assert_eq!(self.known(), count(State::Live) + count(State::Dormant));
        assert_eq!(self.by_id.len(), self.known());
        assert_eq!(self.quota.len(), (sources.len(), addresses.len()));
        for (source, counts) in sources {
            assert_eq!((self.quota.live_from(source), self.quota.dormant_from(source)), counts);
        }
        for (address, count) in addresses {
            assert_eq!(self.quota.live_at(address), count);
        }
        assert_eq!(self.archetypes.live(), carried.len());
        let members = carried.iter().map(|number| self.archetypes.members(*number));
        let all: usize = members.clone().map(super::Members::len).sum();
        assert_eq!(all, memberships);
        for members in members.chain([&self.live]) {
            let mut sorted = members.as_slice().to_vec();
            sorted.sort_unstable();
            assert!(members.ordered(0).eq(sorted), "the ordered members equal the dense members");
        }
    }

    /// When the lease of a known peer ends.
    pub(crate) fn expires_at(&self, peer: &PeerId) -> Option<Timestamp> {
        let slot = self.find_peer(peer)?;
        Some(self.slots[slot].expires_at())
    }
}
