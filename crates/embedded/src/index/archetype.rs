//! The archetypes of all known peers, and the live members of each.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use aurora_discovery_protocol::Archetype;

use super::members::Members;
use super::memory::table::ShardedTable;

/// Archetypes by name. Each has a number for as long as any known peer, live or dormant, has it.
pub(crate) struct ArchetypeTable {
    hasher: RandomState,
    by_name: ShardedTable<u32>,
    entries: Vec<ArchetypeEntry>,
    free: Vec<u32>,
    /// Archetypes with live members, ordered by the number of members.
    ranking: BTreeSet<(u32, u32)>,
}

#[derive(Default)]
struct ArchetypeEntry {
    name: Box<str>,
    /// Number of known peers with this archetype.
    peers: u32,
    members: Members,
}

impl ArchetypeTable {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            by_name: ShardedTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            ranking: BTreeSet::new(),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.by_name.find(hash, |number| &*self.entries[*number as usize].name == name).copied()
    }

    /// The name of an archetype that is in use.
    pub(crate) fn name(&self, number: u32) -> &str {
        &self.entries[number as usize].name
    }

    /// Returns the number of an archetype and counts one more peer with it.
    pub(crate) fn acquire(&mut self, archetype: &Archetype) -> u32 {
        let number = match self.find(archetype.as_str()) {
            Some(number) => number,
            None => self.add(archetype.as_str()),
        };
        self.entries[number as usize].peers += 1;
        number
    }

    /// Counts one peer less with this archetype.
    pub(crate) fn release(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        entry.peers -= 1;
        // The number becomes free for another archetype. No slot refers to it any more.
        if entry.peers == 0 {
            let name = std::mem::take(entry).name;
            self.by_name.remove(self.hasher.hash_one(&*name), |other| *other == number);
            self.free.push(number);
        }
    }

    /// Adds a live member. Returns its position.
    pub(crate) fn add_member(&mut self, number: u32, slot: u32) -> u32 {
        let position = self.entries[number as usize].members.push(slot);
        self.update_ranking(number, position, position + 1);
        position
    }

    /// Removes the member at a position. Returns the slot that moved into its place, if any.
    pub(crate) fn remove_member(&mut self, number: u32, position: u32) -> Option<u32> {
        let members = &mut self.entries[number as usize].members;
        let before = u32::try_from(members.len()).unwrap_or(u32::MAX);
        // The last member moves into the gap, so removal does not depend on the number of members.
        let moved = members.swap_remove(position);
        self.update_ranking(number, before, before - 1);
        moved
    }

    pub(crate) fn members(&self, number: u32) -> &Members {
        &self.entries[number as usize].members
    }

    /// Number of archetypes with live members.
    pub(crate) fn live(&self) -> usize {
        self.ranking.len()
    }

    /// How many of these archetypes have no live members.
    pub(crate) fn new_among(&self, archetypes: &[Archetype]) -> usize {
        let is_live = |archetype: &&Archetype| {
            self.find(archetype.as_str()).is_some_and(|number| self.members(number).len() > 0)
        };
        archetypes.len() - archetypes.iter().filter(is_live).count()
    }

    /// The archetypes with the most live members, in descending order.
    pub(crate) fn most_frequent(&self, count: usize) -> Vec<(Archetype, u64)> {
        let ranked = self.ranking.iter().rev().take(count);
        ranked
            .filter_map(|(members, number)| {
                let name = Archetype::parse(&self.entries[*number as usize].name).ok()?;
                Some((name, u64::from(*members)))
            })
            .collect()
    }

    fn add(&mut self, name: &str) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(ArchetypeEntry::default());
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        self.entries[number as usize].name = name.into();
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash = |number: &u32| hasher.hash_one(&*entries[*number as usize].name);
        self.by_name.insert_new(hash(&number), number, hash);
        number
    }

    fn update_ranking(&mut self, number: u32, before: u32, after: u32) {
        // The ranking has no entry for an archetype without live members.
        if before > 0 {
            self.ranking.remove(&(before, number));
        }
        if after > 0 {
            self.ranking.insert((after, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archetype_without_peers_is_dropped_and_its_number_is_reused() {
        let mut table = ArchetypeTable::new();
        let name = |n: u32| Archetype::parse(&format!("a{n}")).unwrap();
        for round in 0..100 {
            let number = table.acquire(&name(round));
            let position = table.add_member(number, round);
            assert_eq!(table.find(name(round).as_str()), Some(number));
            table.remove_member(number, position);
            table.release(number);
            assert_eq!(table.find(name(round).as_str()), None);
        }
        assert_eq!((table.entries.len(), table.live(), table.by_name.len()), (1, 0, 0));
    }
}
