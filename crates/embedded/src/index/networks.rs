//! The live peers of each wide network, so that a sample can draw networks uniformly.
//!
//! Only networks with live peers are kept. A million peers typically come from some tens of
//! thousands of networks (IPv4 has 65,536). The memory for the networks is therefore small, and a
//! peer costs little more than its place in the list of its network.

use std::hash::{BuildHasher, RandomState};

use super::memory::source::PackedSource;
use super::memory::table::ShardedTable;

/// The live peers by wide network.
pub(crate) struct NetworkLists {
    hasher: RandomState,
    /// The index of each network in `lists`, by its key.
    by_key: ShardedTable<u32>,
    /// The networks in no particular order, without gaps.
    lists: Vec<NetworkList>,
}

struct NetworkList {
    key: u64,
    /// The slots, unordered. The tail of each peer stores its position here.
    members: Vec<u32>,
}

/// Below this capacity it is not worth releasing memory.
const SHRINK_FROM: usize = 256;

impl NetworkLists {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), by_key: ShardedTable::new(), lists: Vec::new() }
    }

    /// The number of networks.
    pub(crate) fn len(&self) -> usize {
        self.lists.len()
    }

    /// The members of the network at an index below [`NetworkLists::len`].
    pub(crate) fn at(&self, index: u32) -> &[u32] {
        &self.lists[index as usize].members
    }

    /// Adds a slot to the network of its source. Returns its position there.
    pub(crate) fn push(&mut self, source: PackedSource, slot: u32) -> u32 {
        let key = key_of(source);
        let index = match self.find(key) {
            Some(index) => index,
            None => self.add(key),
        };
        let members = &mut self.lists[index as usize].members;
        members.push(slot);
        u32::try_from(members.len() - 1).unwrap_or(u32::MAX)
    }

    /// Removes the slot at a position in the network of its source. Returns the slot that moved
    /// into its place, if any.
    pub(crate) fn remove(&mut self, source: PackedSource, position: u32) -> Option<u32> {
        let index = self.find(key_of(source))?;
        let members = &mut self.lists[index as usize].members;
        members.swap_remove(position as usize);
        if members.is_empty() {
            self.drop_list(index);
            return None;
        }
        if members.capacity() > SHRINK_FROM.max(4 * members.len()) {
            members.shrink_to(2 * members.len());
        }
        members.get(position as usize).copied()
    }

    fn find(&self, key: u64) -> Option<u32> {
        let same = |index: &u32| self.lists[*index as usize].key == key;
        self.by_key.find(self.hasher.hash_one(key), same).copied()
    }

    fn add(&mut self, key: u64) -> u32 {
        let index = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        self.lists.push(NetworkList { key, members: Vec::new() });
        let (lists, hasher) = (&self.lists, &self.hasher);
        let hash = |index: &u32| hasher.hash_one(lists[*index as usize].key);
        self.by_key.insert_new(hash(&index), index, hash);
        index
    }

    /// Removes an empty list. The last list moves into its place.
    fn drop_list(&mut self, index: u32) {
        let hash = |list: &NetworkList| self.hasher.hash_one(list.key);
        let last = u32::try_from(self.lists.len() - 1).unwrap_or(u32::MAX);
        self.by_key.remove(hash(&self.lists[index as usize]), |other| *other == index);
        if index != last
            && let Some(moved) =
                self.by_key.find_mut(hash(&self.lists[last as usize]), |other| *other == last)
        {
            *moved = index;
        }
        self.lists.swap_remove(index as usize);
    }

    /// The members of the network of a source.
    #[cfg(test)]
    pub(crate) fn members(&self, source: PackedSource) -> &[u32] {
        self.find(key_of(source)).map_or(&[], |index| self.at(index))
    }

    /// The members of every network.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.lists.iter().map(|list| list.members.as_slice())
    }
}

fn key_of(source: PackedSource) -> u64 {
    source.unpack().wide_network().key()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aurora_discovery_registry::Source;

    use super::*;

    #[test]
    fn the_members_of_each_network_are_found_under_churn() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut networks = NetworkLists::new();
        let mut model: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        let source =
            |network: u8| PackedSource::new(Source::V4([10, network, third_byte(network), 1].into()));
        for step in 0..20_000_u32 {
            let network = rng.u8(..20);
            let members = model.entry(network).or_default();
            // The size rises and falls repeatedly, so that networks appear and disappear.
            if (step / 500) % 2 == 0 && rng.u32(..4) > 0 {
                let position = networks.push(source(network), step);
                assert_eq!(position as usize, members.len());
                members.push(step);
            } else if !members.is_empty() {
                let position = rng.usize(..members.len());
                members.swap_remove(position);
                let moved = networks.remove(source(network), u32::try_from(position).unwrap());
                assert_eq!(moved, members.get(position).copied());
            }
            assert_eq!(networks.members(source(network)), members.as_slice());
            assert_eq!(networks.len(), model.values().filter(|members| !members.is_empty()).count());
        }
    }

    /// The third byte of an address. Any value would do, because it does not affect the /16.
    fn third_byte(network: u8) -> u8 {
        network.wrapping_mul(7)
    }
}
