//! Maps the hash of a peer's id to its slot.
//!
//! Every heartbeat does one look-up here, and so does every sample that excludes a peer. The hash
//! is stored next to the slot, so a look-up reads one place in memory. A table with its control
//! bytes in a separate array would need two dependent reads.
//!
//! - At most three quarters of a piece are occupied, so a search soon reaches a free place.
//! - An entry is at the place that its hash selects, or after it with no free place in between.
//!   Removing an entry closes the gap.

use super::super::entry::IdHash;
use super::table::{PIECES, piece};

/// Slots by the hash of their peers' ids, in pieces that grow independently.
pub(crate) struct IdTable {
    pieces: Box<[Piece]>,
}

#[derive(Default)]
struct Piece {
    /// The length is a power of two, or zero.
    places: Box<[Located]>,
    taken: usize,
}

/// The slot of a known peer, or [`Located::FREE`].
#[derive(Clone, Copy, PartialEq, Eq)]
struct Located {
    hash: IdHash,
    slot: u32,
}

impl IdTable {
    pub(crate) fn new() -> Self {
        Self { pieces: (0..PIECES).map(|_| Piece::default()).collect() }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.taken).sum()
    }

    /// The slot with this hash that satisfies `same`.
    pub(crate) fn find(&self, hash: IdHash, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        self.of(hash)
            .run(hash)
            .map(|(_, at)| at)
            .find(|at| at.hash == hash && same(at.slot))
            .map(|at| at.slot)
    }

    /// Prefetches the place that [`IdTable::find`] reads.
    pub(crate) fn touch(&self, hash: IdHash) -> u32 {
        self.of(hash).run(hash).next().map_or(0, |(_, at)| at.slot)
    }

    /// Inserts a slot that is not in the table.
    pub(crate) fn insert(&mut self, hash: IdHash, slot: u32) {
        self.pieces[piece(hash.spread())].insert(Located { hash, slot });
    }

    pub(crate) fn remove(&mut self, hash: IdHash, slot: u32) {
        self.pieces[piece(hash.spread())].remove(Located { hash, slot });
    }

    fn of(&self, hash: IdHash) -> &Piece {
        &self.pieces[piece(hash.spread())]
    }
}

impl Piece {
    const FEWEST_PLACES: usize = 8;

    /// The entries from the place that a hash selects up to the next free place, with their places.
    fn run(&self, hash: IdHash) -> impl Iterator<Item = (usize, Located)> {
        let mask = self.mask();
        let places = (0..self.places.len()).map(move |step| (home(hash, mask) + step) & mask);
        places.map(|place| (place, self.places[place])).take_while(|(_, at)| *at != Located::FREE)
    }

    fn insert(&mut self, located: Located) {
        if (self.taken + 1) * 4 > self.places.len() * 3 {
            self.grow();
        }
        self.taken += 1;
        self.put(located);
    }

    fn remove(&mut self, located: Located) {
        let Some((mut gap, _)) = self.run(located.hash).find(|(_, at)| *at == located) else { return };
        let mask = self.mask();
        let mut place = gap;
        loop {
            place = (place + 1) & mask;
            let next = self.places[place];
            if next == Located::FREE {
                break;
            }
            // The entry may move into the gap if it is at least as far from its own place as from
            // the gap, because the gap is then not before its own place.
            let (strayed, back) =
                (place.wrapping_sub(home(next.hash, mask)) & mask, place.wrapping_sub(gap) & mask);
            if strayed >= back {
                self.places[gap] = next;
                gap = place;
            }
        }
        self.places[gap] = Located::FREE;
        self.taken -= 1;
    }

    fn put(&mut self, located: Located) {
        let mask = self.mask();
        let mut place = home(located.hash, mask);
        while self.places[place] != Located::FREE {
            place = (place + 1) & mask;
        }
        self.places[place] = located;
    }

    fn grow(&mut self) {
        let doubled = (self.places.len() * 2).max(Self::FEWEST_PLACES);
        let before = std::mem::replace(&mut self.places, vec![Located::FREE; doubled].into());
        for located in before.into_iter().filter(|located| *located != Located::FREE) {
            self.put(located);
        }
    }

    fn mask(&self) -> usize {
        self.places.len().wrapping_sub(1)
    }
}

impl Located {
    /// A free place. The arena never has this many slots.
    const FREE: Self = Self { hash: IdHash::ZERO, slot: u32::MAX };
}

/// The place that a hash selects. It uses the lower bits, and [`piece`] uses others.
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
            let asked = rng.u32(..20_000);
            let hash = IdHash::of_number(asked % 15_000 / 3);
            assert_eq!(table.find(hash, |slot| slot == asked).is_some(), model.contains_key(&asked));
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
