//! The archetypes of all known peers, and the live members of each. Archetypes are named by their
//! normal form.

use std::collections::BTreeSet;
#[cfg(test)]
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use aurora_discovery_protocol::Archetype;

use super::members::Members;
use super::membership::Membership;
use super::memory::table::ShardedTable;
use super::memory::tail::ALLOCATION;

/// Archetypes by name. Each has a number for as long as any known peer, live or dormant, has it.
pub(crate) struct ArchetypeTable {
    hasher: RandomState,
    by_name: ShardedTable<u32>,
    entries: Vec<ArchetypeEntry>,
    free: Vec<u32>,
    /// Archetypes with live members, ordered by the number of members.
    ranking: BTreeSet<(u32, u32)>,
    /// The size of all archetypes in bytes, as it counts against `max_bytes`.
    bytes: u64,
    /// The part of `bytes` that belongs to archetypes with live members.
    live_bytes: u64,
}

/// The size of an archetype in bytes, as it counts against `max_bytes`. It is not a part of the
/// size of any peer, so that the size of a peer does not depend on which archetypes other peers
/// have.
fn cost(name: &str) -> u64 {
    /// The memory of an archetype besides its name, in bytes: its entry, its place in the table of
    /// names and in the ranking, and the allocation of a short list of members.
    const ENTRY: u64 = 160;
    ENTRY + name.len() as u64 + ALLOCATION
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
            bytes: 0,
            live_bytes: 0,
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
        let number = match self.find(archetype.key()) {
            Some(number) => number,
            None => self.add(archetype.key()),
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
            self.bytes -= cost(&name);
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
        // The last member moves into the gap, so the cost of a removal does not depend on the
        // number of members.
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

    /// The size of all archetypes in bytes, as it counts against `max_bytes`.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The size of the archetypes with live members in bytes, as it counts against `max_bytes`.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// The number of these archetypes that have no live members, and their size in bytes.
    pub(crate) fn new_among(&self, archetypes: &[Archetype]) -> (usize, u64) {
        let is_new = |name: &&str| self.find(name).is_none_or(|number| self.members(number).len() == 0);
        let new = archetypes.iter().map(Archetype::key).filter(is_new);
        new.fold((0, 0), |(count, bytes), name| (count + 1, bytes + cost(name)))
    }

    /// The number of archetypes that no other live peer has and that this live peer gives up, and
    /// their size in bytes. `kept` are the archetypes of its new registration.
    pub(crate) fn only_of(&self, memberships: &[Membership], kept: &[Archetype]) -> (usize, u64) {
        let alone = memberships.iter().filter(|membership| self.members(membership.archetype).len() == 1);
        let names = alone.map(|membership| self.name(membership.archetype));
        let given_up = names.filter(|name| !kept.iter().any(|archetype| archetype.key() == *name));
        given_up.fold((0, 0), |(count, bytes), name| (count + 1, bytes + cost(name)))
    }

    /// The archetypes with the most live members, in descending order.
    pub(crate) fn most_frequent(&self, count: usize) -> Vec<(Archetype, u64)> {
        let ranked = self.ranking.iter().rev().take(count);
        ranked
            .filter_map(|(members, number)| {
                let name = Archetype::parse_stored(&self.entries[*number as usize].name).ok()?;
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
        self.bytes += cost(name);
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash = |number: &u32| hasher.hash_one(&*entries[*number as usize].name);
        self.by_name.insert_new(hash(&number), number, hash);
        number
    }

    /// Panics if the counted bytes are not those of the archetypes in `known` and in `live`.
    #[cfg(test)]
    pub(crate) fn check_bytes(&self, known: &HashSet<u32>, live: &HashSet<u32>) {
        let sum = |numbers: &HashSet<u32>| numbers.iter().map(|number| cost(self.name(*number))).sum::<u64>();
        assert_eq!((self.by_name.len(), self.live()), (known.len(), live.len()));
        assert_eq!((self.bytes, self.live_bytes), (sum(known), sum(live)));
    }

    fn update_ranking(&mut self, number: u32, before: u32, after: u32) {
        // The ranking has no entry for an archetype without live members.
        if before > 0 {
            self.ranking.remove(&(before, number));
            self.live_bytes -= cost(self.name(number));
        }
        if after > 0 {
            self.ranking.insert((after, number));
            self.live_bytes += cost(self.name(number));
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

    #[test]
    fn an_archetype_counts_its_bytes_once_however_many_peers_have_it() {
        let mut table = ArchetypeTable::new();
        let names = ["a", "long-name"].map(|name| Archetype::parse(name).unwrap());
        assert_eq!(table.new_among(&names), (2, cost("a") + cost("long-name")));
        let number = table.acquire(&names[0]);
        assert_eq!((table.bytes(), table.live_bytes()), (cost("a"), 0), "without live members");
        for slot in 0..3 {
            table.acquire(&names[0]);
            table.add_member(number, slot);
            assert_eq!((table.bytes(), table.live_bytes()), (cost("a"), cost("a")));
        }
        assert_eq!(table.new_among(&names), (1, cost("long-name")));
        for position in (0..3).rev() {
            table.remove_member(number, position);
            table.release(number);
        }
        assert_eq!((table.bytes(), table.live_bytes(), table.new_among(&names).0), (cost("a"), 0, 2));
        table.release(number);
        assert_eq!(table.bytes(), 0);
    }
}
