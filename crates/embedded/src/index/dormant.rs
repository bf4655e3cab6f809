//! The dormant peers of each source, in the order in which they became dormant. After a restart,
//! they are in the order of their scheduled evictions.
//!
//! The links of each list are stored in the peers' tails (`memory/tail.rs`). The table has only the
//! ends of each list, so that a source without dormant peers takes no memory.

use std::hash::{BuildHasher, RandomState};

use super::Index;
use super::memory::source::PackedSource;
use super::memory::table::ShardedTable;
use super::memory::tail::{Links, SlotNumber};

/// The dormant peers of all sources.
pub(crate) struct DormantLists {
    hasher: RandomState,
    lists: ShardedTable<List>,
}

/// The dormant peers of one source.
#[derive(Clone, Copy)]
struct List {
    source: PackedSource,
    len: u32,
    oldest: u32,
    newest: u32,
}

impl DormantLists {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), lists: ShardedTable::new() }
    }

    /// Number of dormant peers of a source.
    pub(crate) fn len(&self, source: PackedSource) -> u32 {
        self.find(source).map_or(0, |list| list.len)
    }

    /// The slot of the first peer in the list of a source, which became dormant first.
    pub(crate) fn oldest(&self, source: PackedSource) -> Option<u32> {
        self.find(source).map(|list| list.oldest)
    }

    /// Number of sources with dormant peers.
    #[cfg(test)]
    pub(crate) fn sources(&self) -> usize {
        self.lists.len()
    }

    fn find(&self, source: PackedSource) -> Option<&List> {
        self.lists.find(self.hasher.hash_one(source), |list| list.source == source)
    }

    /// Appends a slot. Returns the slot before it.
    fn append(&mut self, source: PackedSource, slot: u32) -> Option<u32> {
        let hasher = &self.hasher;
        let list = self.lists.find_or_insert(
            hasher.hash_one(source),
            |list| list.source == source,
            |list| hasher.hash_one(list.source),
            || List { source, len: 0, oldest: slot, newest: slot },
        );
        let before = (list.len > 0).then_some(list.newest);
        list.newest = slot;
        list.len += 1;
        before
    }

    /// Removes a slot between its neighbours.
    fn remove(&mut self, source: PackedSource, older: Option<u32>, newer: Option<u32>) {
        let hash = self.hasher.hash_one(source);
        let Some(list) = self.lists.find_mut(hash, |list| list.source == source) else { return };
        list.len -= 1;
        match (older, newer) {
            (None, None) => drop(self.lists.remove(hash, |list| list.source == source)),
            (None, Some(newer)) => list.oldest = newer,
            (Some(older), None) => list.newest = older,
            (Some(_), Some(_)) => {}
        }
    }
}

impl Index {
    /// Adds a slot as the newest dormant peer of its source.
    pub(super) fn link_dormant(&mut self, number: u32) {
        let source = self.slots.tail(number).source;
        let older = self.dormant.append(source, number);
        if let Some(older) = older
            && let Links::Dormant { newer, .. } = &mut self.slots.slot_and_tail_mut(older).1.links
        {
            *newer = SlotNumber::new(number);
        }
        let links = Links::Dormant { older: older.and_then(SlotNumber::new), newer: None };
        self.slots.slot_and_tail_mut(number).1.links = links;
    }

    /// Removes a slot from the dormant peers of its source.
    pub(super) fn unlink_dormant(&mut self, number: u32) {
        let tail = self.slots.tail(number);
        let Links::Dormant { older, newer } = tail.links else { return };
        let source = tail.source;
        if let Some(slot) = older
            && let Links::Dormant { newer: link, .. } = &mut self.slots.slot_and_tail_mut(slot.get()).1.links
        {
            *link = newer;
        }
        if let Some(slot) = newer
            && let Links::Dormant { older: link, .. } = &mut self.slots.slot_and_tail_mut(slot.get()).1.links
        {
            *link = older;
        }
        self.dormant.remove(source, older.map(SlotNumber::get), newer.map(SlotNumber::get));
    }

    /// The dormant peers of a source, from the oldest to the newest.
    #[cfg(test)]
    pub(super) fn dormant_of(&self, source: PackedSource) -> Vec<u32> {
        let next = |slot: &u32| match self.slots.tail(*slot).links {
            Links::Dormant { newer, .. } => newer.map(SlotNumber::get),
            Links::Live { .. } => None,
        };
        std::iter::successors(self.dormant.oldest(source), next).collect()
    }

    /// Checks a list from both ends.
    #[cfg(test)]
    pub(super) fn check_dormant_list(&self, source: PackedSource) {
        let slots = self.dormant_of(source);
        assert_eq!(slots.len(), self.dormant.len(source) as usize, "the list has its length");
        assert_eq!(slots.last().copied(), self.dormant.find(source).map(|list| list.newest));
        let mut before = None;
        for slot in slots {
            let Links::Dormant { older, .. } = self.slots.tail(slot).links else {
                panic!("a live peer is in the list of dormant peers")
            };
            assert_eq!(older.map(SlotNumber::get), before, "the list is linked in both directions");
            before = Some(slot);
        }
    }
}
