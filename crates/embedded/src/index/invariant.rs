//! The invariants between the parts of the index, for tests.

use std::collections::{HashMap, HashSet};

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::Network;

use super::memory::source::{Keeper, PackedSource};
use super::memory::tail::{Links, Tail};
use super::quota::Quota;
use super::{Index, State};

/// The live peers, counted again.
#[derive(Default)]
struct Counted {
    sources: HashMap<PackedSource, u32>,
    networks: HashMap<Network, u32>,
    addresses: HashMap<u64, u32>,
    keepers: HashMap<Keeper, u32>,
}

impl Index {
    /// Panics if two parts of the index contradict each other.
    pub(crate) fn check_invariants(&mut self) {
        let (mut bytes, mut dormant_bytes, mut memberships, mut signed) = (0, 0, 0, 0);
        let mut states: HashMap<_, usize> = HashMap::new();
        let mut dormant: HashMap<_, HashSet<_>> = HashMap::new();
        let mut expected = Counted::default();
        let (mut carried, mut known_archetypes) = (HashSet::new(), HashSet::new());
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
            known_archetypes.extend(tail.memberships.as_slice().iter().map(|each| each.archetype));
            if slot.state == State::Dormant {
                dormant.entry(tail.source).or_default().insert(number);
                dormant_bytes += tail.cost();
                assert_eq!(tail.kept_by, None, "a dormant peer has no keeper");
                assert!(
                    self.schedule.evictions().contains(scheduled, number),
                    "the eviction of a dormant peer is scheduled"
                );
                continue;
            }
            signed += usize::from(self.slots.signature(number).is_some());
            expected.add(&self.quota, tail);
            assert!(
                scheduled <= slot.expires_at(),
                "a scheduled entry is never later than the end of the lease"
            );
            let Links::Live { position, in_network } = tail.links else {
                panic!("a live peer is linked as dormant")
            };
            let network = self.networks.members(tail.source);
            assert_eq!(network[in_network as usize], number, "a peer knows its position in its network");
            assert_eq!(self.live.as_slice()[position as usize], number, "a peer knows its position");
            for membership in tail.memberships.as_slice() {
                let members = self.archetypes.members(membership.archetype).as_slice();
                assert_eq!(members[membership.position as usize], number, "a peer knows its positions");
                carried.insert(membership.archetype);
                memberships += 1;
            }
            assert!(
                self.schedule.expiries().contains(scheduled, number),
                "the expiry of a live peer is scheduled"
            );
        }
        let count = |state: State| states.get(&(state as u8)).copied().unwrap_or(0);
        assert_eq!((self.bytes, self.dormant_bytes), (bytes, dormant_bytes));
        assert_eq!(self.live.len(), count(State::Live));
        assert_eq!(self.signed(), signed);
        let in_networks: usize = self.networks.iter().map(<[u32]>::len).sum();
        assert_eq!(in_networks, count(State::Live));
        assert!(self.networks.iter().all(|members| !members.is_empty()));
        assert_eq!(self.schedule.expiries().len(), count(State::Live));
        assert_eq!(self.schedule.dormant(), count(State::Dormant));
        assert_eq!(self.known(), count(State::Live) + count(State::Dormant));
        assert_eq!(self.by_id.len(), self.known());
        expected.check(&self.quota);
        self.check_dormant_lists(&dormant);
        self.archetypes.check_bytes(&known_archetypes, &carried);
        let members = carried.iter().map(|number| self.archetypes.members(*number));
        let all: usize = members.clone().map(super::Members::len).sum();
        assert_eq!(all, memberships);
        for members in members.chain([&self.live]) {
            let mut sorted = members.as_slice().to_vec();
            sorted.sort_unstable();
            assert!(members.ordered(0).eq(sorted), "the ordered members equal the dense members");
        }
    }

    fn check_dormant_lists(&self, expected: &HashMap<PackedSource, HashSet<u32>>) {
        assert_eq!(self.dormant.sources(), expected.len());
        for (source, slots) in expected {
            self.check_dormant_list(*source);
            assert_eq!(&HashSet::from_iter(self.dormant_of(*source)), slots);
        }
    }

    /// When the lease of a known peer ends.
    pub(crate) fn expires_at(&self, peer: &PeerId) -> Option<Timestamp> {
        let slot = self.find_peer(peer)?;
        Some(self.slots[slot].expires_at())
    }
}

impl Counted {
    fn add(&mut self, quota: &Quota, tail: &Tail) {
        let source = tail.source.unpack();
        *self.sources.entry(tail.source).or_default() += 1;
        for network in [Some(source.network()), source.site()].into_iter().flatten() {
            *self.networks.entry(network).or_default() += 1;
        }
        for key in quota.address_keys_of(tail).iter().flat_map(|keys| keys.all()) {
            *self.addresses.entry(key).or_default() += 1;
        }
        if let Some(keeper) = tail.kept_by {
            *self.keepers.entry(keeper).or_default() += 1;
        }
    }

    fn check(&self, quota: &Quota) {
        let Self { sources, networks, addresses, keepers } = self;
        assert_eq!(quota.len(), [sources.len(), networks.len(), addresses.len(), keepers.len()]);
        assert!(sources.iter().all(|(source, count)| quota.live_from(source.unpack()) == *count));
        assert!(networks.iter().all(|(network, count)| quota.live_in(*network) == *count));
        assert!(addresses.iter().all(|(key, count)| quota.live_at(*key) == *count));
        assert!(keepers.iter().all(|(keeper, count)| quota.kept_by(*keeper) == *count));
    }
}
