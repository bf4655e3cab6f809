//! A hash table in pieces, so that growing it never moves more than a small part at once.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A [`HashTable`] split by hash. One table of a million entries would stall every caller for milliseconds when it grows.
pub(crate) struct Table<T> {
    pieces: Box<[HashTable<T>]>,
}

/// How many pieces there are: a million entries make pieces of some thousands, which grow in a tenth of a millisecond.
pub(crate) const PIECES: u64 = 256;
/// hashbrown tells entries apart by the lowest and the seven highest bits, so the pieces go by sixteen bits between.
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

    /// The entry that is the `same`, or the one that `make` makes; `rehash` is the hash of any entry.
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

    /// Inserts what is known not to be there.
    pub(crate) fn insert_new(&mut self, hash: u64, value: T, rehash: impl Fn(&T) -> u64) {
        self.pieces[piece(hash)].insert_unique(hash, value, rehash);
    }

    pub(crate) fn remove(&mut self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<T> {
        let piece = &mut self.pieces[piece(hash)];
        Some(piece.find_entry(hash, same).ok()?.remove().0)
    }
}

/// The piece of a hash. The first pieces get half of what the last ones get: pieces of one size would all grow at the
/// same time, and be half empty after it.
pub(crate) fn piece(hash: u64) -> usize {
    const ONE: u64 = 1 << 16;
    let x = (hash >> PIECE_SHIFT) % ONE;
    // For x from 0 to 1 this goes from 0 to 1, and half as steeply at the end as at the start.
    let share = x * (4 * ONE - x) / 3;
    usize::try_from(share * PIECES / (ONE * ONE)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_get_between_one_and_two_shares() {
        let mut counts = vec![0_u32; 256];
        for x in 0..1_u64 << 16 {
            counts[piece(x << PIECE_SHIFT)] += 1;
        }
        let (least, most) = (counts[0], counts[255]);
        assert!(least.abs_diff(192) < 8 && most.abs_diff(384) < 8, "{least} {most}");
        assert!(counts.is_sorted_by(|a, b| a <= &(b + 2)));
    }
}
