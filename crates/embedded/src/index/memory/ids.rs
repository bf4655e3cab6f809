//! Maps the hash of a peer's id to its slot.
//!
//! Every heartbeat does at least one look-up here, and so does every sample that excludes a peer.
//! The hash is stored next to the slot, so a look-up reads one place in memory. A table with its
//! control bytes in a separate array would need two dependent reads.
//!
//! - At most three quarters of a shard are occupied, so a search soon reaches an empty bucket.
//! - An entry is in the bucket that its hash selects, or after it with no empty bucket in between.
//!   Removing an entry closes the gap.

use super::super::entry::IdHash;
use super::table::{SHARDS, shard};

/// Slots by the hash of their peers' ids, in shards that grow independently.
pub(crate) struct IdTable {
    shards: Box<[Shard]>,
}

#[derive(Default)]
struct Shard {
    /// The length is a power of two, or zero.
    buckets: Box<[Bucket]>,
    occupied: usize,
}

/// The slot of a known peer, or [`Bucket::EMPTY`].
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bucket {
    hash: IdHash,
    slot: u32,
}

impl IdTable {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.occupied).sum()
    }

    /// The slot with this hash that satisfies `same`.
    pub(crate) fn find(&self, hash: IdHash, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        self.shard(hash)
            .probe(hash)
            .map(|(_, bucket)| bucket)
            .find(|bucket| bucket.hash == hash && same(bucket.slot))
            .map(|bucket| bucket.slot)
    }

    /// Prefetches the bucket that [`IdTable::find`] reads.
    pub(crate) fn touch(&self, hash: IdHash) -> u32 {
        self.shard(hash).probe(hash).next().map_or(0, |(_, bucket)| bucket.slot)
    }

    /// Inserts a slot that is not in the table.
    pub(crate) fn insert(&mut self, hash: IdHash, slot: u32) {
        self.shards[shard(hash.spread())].insert(Bucket { hash, slot });
    }

    pub(crate) fn remove(&mut self, hash: IdHash, slot: u32) {
        self.shards[shard(hash.spread())].remove(Bucket { hash, slot });
    }

    fn shard(&self, hash: IdHash) -> &Shard {
        &self.shards[shard(hash.spread())]
    }
}

impl Shard {
    const MIN_BUCKETS: usize = 8;

    /// The entries from the bucket that a hash selects up to the next empty bucket, with their
    /// indices.
    fn probe(&self, hash: IdHash) -> impl Iterator<Item = (usize, Bucket)> {
        let mask = self.mask();
        let indices = (0..self.buckets.len()).map(move |step| (home(hash, mask) + step) & mask);
        indices.map(|index| (index, self.buckets[index])).take_while(|(_, bucket)| *bucket != Bucket::EMPTY)
    }

    fn insert(&mut self, bucket: Bucket) {
        if (self.occupied + 1) * 4 > self.buckets.len() * 3 {
            self.grow();
        }
        self.occupied += 1;
        self.insert_unchecked(bucket);
    }

    fn remove(&mut self, bucket: Bucket) {
        let Some((mut gap, _)) = self.probe(bucket.hash).find(|(_, at)| *at == bucket) else { return };
        let mask = self.mask();
        let mut index = gap;
        loop {
            index = (index + 1) & mask;
            let next = self.buckets[index];
            if next == Bucket::EMPTY {
                break;
            }
            // The entry may move into the gap if it is at least as far from its home bucket as
            // from the gap, because the gap is then not before its home bucket.
            let (from_home, from_gap) =
                (index.wrapping_sub(home(next.hash, mask)) & mask, index.wrapping_sub(gap) & mask);
            if from_home >= from_gap {
                self.buckets[gap] = next;
                gap = index;
            }
        }
        self.buckets[gap] = Bucket::EMPTY;
        self.occupied -= 1;
    }

    fn insert_unchecked(&mut self, bucket: Bucket) {
        let mask = self.mask();
        let mut index = home(bucket.hash, mask);
        while self.buckets[index] != Bucket::EMPTY {
            index = (index + 1) & mask;
        }
        self.buckets[index] = bucket;
    }

    fn grow(&mut self) {
        let doubled = (self.buckets.len() * 2).max(Self::MIN_BUCKETS);
        let before = std::mem::replace(&mut self.buckets, vec![Bucket::EMPTY; doubled].into());
        for bucket in before.into_iter().filter(|bucket| *bucket != Bucket::EMPTY) {
            self.insert_unchecked(bucket);
        }
    }

    fn mask(&self) -> usize {
        self.buckets.len().wrapping_sub(1)
    }
}

impl Bucket {
    /// An empty bucket. The arena never has this many slots.
    const EMPTY: Self = Self { hash: IdHash::ZERO, slot: u32::MAX };
}

/// The index of the bucket that a hash selects. It uses the lower bits, and [`shard`] uses others.
fn home(hash: IdHash, mask: usize) -> usize {
    usize::try_from(hash.spread() & u64::from(u32::MAX)).unwrap_or(0) & mask
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn slots_are_found_under_churn() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut table = IdTable::new();
        let mut model = BTreeMap::new();
        for step in 0..200_000_u32 {
            // The size rises and falls repeatedly. There are few different hashes, so that they
            // collide, and some belong to several slots.
            let growing = (step / 20_000) % 2 == 0;
            let slot = rng.u32(..20_000);
            let hash = IdHash::of_number(slot % 15_000 / 3);
            if rng.u32(..4) == 0 || !growing {
                table.remove(hash, slot);
                model.remove(&slot);
            } else if model.insert(slot, hash).is_none() {
                table.insert(hash, slot);
            }
            let queried = rng.u32(..20_000);
            let hash = IdHash::of_number(queried % 15_000 / 3);
            assert_eq!(table.find(hash, |slot| slot == queried).is_some(), model.contains_key(&queried));
        }
        assert_eq!(table.len(), model.len());
        assert!(model.iter().all(|(slot, hash)| table.find(*hash, |other| other == *slot) == Some(*slot)));
    }

    #[test]
    fn a_lookup_of_an_absent_slot_terminates() {
        let mut table = IdTable::new();
        let hash = IdHash::of_number(1);
        assert_eq!((table.find(hash, |_| true), table.touch(hash)), (None, 0));
        (0..1_000).for_each(|slot| table.insert(hash, slot));
        assert_eq!(table.find(hash, |slot| slot == 1_000), None);
        (0..1_000).for_each(|slot| table.remove(hash, slot));
        assert_eq!((table.find(hash, |_| true), table.len()), (None, 0));
    }
}
