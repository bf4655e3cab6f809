//! A hash table in pieces, so that growing it never moves more than a small part at once.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A [`HashTable`] split by hash. One table of a million entries would stall every caller for milliseconds when it grows.
pub(crate) struct Table<T> {
    pieces: Box<[HashTable<T>]>,
}

impl<T> Table<T> {
    /// How many pieces there are: a million entries make pieces of four thousand, which grow in a tenth of a millisecond.
    const PIECES: u64 = 256;
    /// hashbrown tells entries apart by the lowest and the seven highest bits, so the pieces go by bits between.
    const PIECE_SHIFT: u32 = 44;

    pub(crate) fn new() -> Self {
        Self { pieces: (0..Self::PIECES).map(|_| HashTable::new()).collect() }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(HashTable::len).sum()
    }

    pub(crate) fn find(&self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<&T> {
        self.pieces[Self::piece(hash)].find(hash, same)
    }

    /// The entry that is the `same`, or the one that `make` makes; `rehash` is the hash of any entry.
    pub(crate) fn find_or_insert(
        &mut self,
        hash: u64,
        same: impl FnMut(&T) -> bool,
        rehash: impl Fn(&T) -> u64,
        make: impl FnOnce() -> T,
    ) -> &mut T {
        match self.pieces[Self::piece(hash)].entry(hash, same, rehash) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(make()).into_mut(),
        }
    }

    /// Inserts what is known not to be there.
    pub(crate) fn insert_new(&mut self, hash: u64, value: T, rehash: impl Fn(&T) -> u64) {
        self.pieces[Self::piece(hash)].insert_unique(hash, value, rehash);
    }

    pub(crate) fn remove(&mut self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<T> {
        let piece = &mut self.pieces[Self::piece(hash)];
        Some(piece.find_entry(hash, same).ok()?.remove().0)
    }

    fn piece(hash: u64) -> usize {
        usize::try_from((hash >> Self::PIECE_SHIFT) % Self::PIECES).unwrap_or(0)
    }
}
