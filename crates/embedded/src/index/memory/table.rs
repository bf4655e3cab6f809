//! A hash table in pieces, so that growing never moves more than a small part at once.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A [`HashTable`] that is split by hash. A single table of a million entries would stall every
/// caller for milliseconds when it grows.
pub(crate) struct Table<T> {
    pieces: Box<[HashTable<T>]>,
}

/// Number of pieces. With a million entries, a piece has a few thousand, and grows in a tenth of a
/// millisecond.
pub(crate) const PIECES: u64 = 256;
/// hashbrown uses the lowest and the seven highest bits of a hash, so the piece is selected by
/// sixteen bits in between.
const PIECE_SHIFT: u32 = 40;

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Self { pieces: (0..PIECES).map(|_| HashTable::new()).collect() }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(HashTable::len).sum()
    }

    pub(crate) fn find(&self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<&T> {
        self.pieces[piece(hash)].find(hash, same)
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
        match self.pieces[piece(hash)].entry(hash, same, rehash) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(make()).into_mut(),
        }
    }

    /// Inserts an entry that is known to be absent.
    pub(crate) fn insert_new(&mut self, hash: u64, value: T, rehash: impl Fn(&T) -> u64) {
        self.pieces[piece(hash)].insert_unique(hash, value, rehash);
    }

    pub(crate) fn remove(&mut self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<T> {
        let piece = &mut self.pieces[piece(hash)];
        Some(piece.find_entry(hash, same).ok()?.remove().0)
    }
}

/// The piece of a hash. The first pieces get half as many entries as the last ones. If all pieces
/// had the same size, they would all grow at the same time, and be half empty afterwards.
pub(crate) fn piece(hash: u64) -> usize {
    const ONE: u64 = 1 << 16;
    let x = (hash >> PIECE_SHIFT) % ONE;
    // Maps x in 0..1 to 0..1, with half the slope at the end.
    let share = x * (4 * ONE - x) / 3;
    usize::try_from(share * PIECES / (ONE * ONE)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_shard_gets_twice_as_many_entries_as_the_smallest() {
        let mut counts = vec![0_u32; 256];
        for x in 0..1_u64 << 16 {
            counts[piece(x << PIECE_SHIFT)] += 1;
        }
        let (least, most) = (counts[0], counts[255]);
        assert!(least.abs_diff(192) < 8 && most.abs_diff(384) < 8, "{least} {most}");
        assert!(counts.is_sorted_by(|a, b| a <= &(b + 2)));
    }
}
