//! Counts per key.

use std::hash::{BuildHasher, RandomState};

use super::table::ShardedTable;

/// Counts per key. A count that falls to zero is removed. Otherwise the table would grow without
/// bound, because over time there are more keys than peers.
pub(crate) struct CountTable {
    hasher: RandomState,
    counts: ShardedTable<Count>,
}

/// Packed into 12 bytes instead of 16, because each peer adds up to eight counts.
#[repr(Rust, packed(4))]
struct Count {
    key: u64,
    count: u32,
}

impl CountTable {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), counts: ShardedTable::new() }
    }

    pub(crate) fn get(&self, key: u64) -> u32 {
        self.counts.find(self.hasher.hash_one(key), |entry| entry.key == key).map_or(0, |entry| entry.count)
    }

    pub(crate) fn increment(&mut self, key: u64) {
        let hasher = &self.hasher;
        let entry = self.counts.find_or_insert(
            hasher.hash_one(key),
            |entry| entry.key == key,
            |entry| hasher.hash_one(entry.key),
            || Count { key, count: 0 },
        );
        entry.count += 1;
    }

    /// Reverses one [`CountTable::increment`].
    pub(crate) fn decrement(&mut self, key: u64) {
        let hash = self.hasher.hash_one(key);
        let Some(entry) = self.counts.find_mut(hash, |entry| entry.key == key) else { return };
        entry.count -= 1;
        if entry.count == 0 {
            self.counts.remove(hash, |entry| entry.key == key);
        }
    }

    /// Number of keys with a count.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.counts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_takes_12_bytes() {
        assert_eq!(size_of::<Count>(), 12);
    }

    #[test]
    fn a_count_of_zero_takes_no_memory() {
        let mut counts = CountTable::new();
        for key in [1, 2, 2] {
            counts.increment(key);
        }
        assert_eq!(([1, 2, 3].map(|key| counts.get(key)), counts.len()), ([1, 2, 0], 2));
        for key in [1, 2, 3] {
            counts.decrement(key);
        }
        assert_eq!(([1, 2, 3].map(|key| counts.get(key)), counts.len()), ([0, 1, 0], 1));
    }
}
