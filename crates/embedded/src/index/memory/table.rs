//! A sharded hash table. Growing moves only the entries of one shard, a small part of the table.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A [`HashTable`] that is split by hash. A single table of a million entries would stall every
/// caller for milliseconds when it grows.
pub(crate) struct ShardedTable<T> {
    shards: Box<[HashTable<T>]>,
}

/// Number of shards. With a million entries, a shard has a few thousand, and grows in a tenth of a
/// millisecond.
pub(crate) const SHARDS: u64 = 256;
/// hashbrown uses the lowest and the seven highest bits of a hash, so the shard is selected by
/// sixteen bits in between.
const SHARD_SHIFT: u32 = 40;

impl<T> ShardedTable<T> {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| HashTable::new()).collect() }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }

    pub(crate) fn find(&self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<&T> {
        self.shards[shard(hash)].find(hash, same)
    }

    pub(crate) fn find_mut(&mut self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<&mut T> {
        self.shards[shard(hash)].find_mut(hash, same)
    }

    /// Returns the entry that satisfies `same`, or inserts the one that `make` creates. `rehash`
    /// computes the hash of an entry.
    pub(crate) fn find_or_insert(
        &mut self,
        hash: u64,
        same: impl FnMut(&T) -> bool,
        rehash: impl Fn(&T) -> u64,
        make: impl FnOnce() -> T,
    ) -> &mut T {
        match self.shards[shard(hash)].entry(hash, same, rehash) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(make()).into_mut(),
        }
    }

    /// Inserts an entry that is known to be absent.
    pub(crate) fn insert_new(&mut self, hash: u64, value: T, rehash: impl Fn(&T) -> u64) {
        self.shards[shard(hash)].insert_unique(hash, value, rehash);
    }

    pub(crate) fn remove(&mut self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<T> {
        let shard = &mut self.shards[shard(hash)];
        Some(shard.find_entry(hash, same).ok()?.remove().0)
    }
}

/// The shard of a hash. The first shards get half as many entries as the last ones. If all shards
/// had the same size, they would all grow at the same time, and be half empty afterwards.
pub(crate) fn shard(hash: u64) -> usize {
    const ONE: u64 = 1 << 16;
    let x = (hash >> SHARD_SHIFT) % ONE;
    // Maps x in 0..1 to 0..1. The slope at the end is half of the slope at the start.
    let share = x * (4 * ONE - x) / 3;
    usize::try_from(share * SHARDS / (ONE * ONE)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_shard_gets_twice_as_many_entries_as_the_smallest() {
        let mut counts = vec![0_u32; 256];
        for x in 0..1_u64 << 16 {
            counts[shard(x << SHARD_SHIFT)] += 1;
        }
        let (least, most) = (counts[0], counts[255]);
        assert!(least.abs_diff(192) < 8 && most.abs_diff(384) < 8, "{least} {most}");
        assert!(counts.is_sorted_by(|a, b| a <= &(b + 2)));
    }
}
