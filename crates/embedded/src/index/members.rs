//! The live peers of one archetype, or of all: a dense array to sample from, and an ordered set to
//! enumerate.

use roaring::RoaringBitmap;

/// A set of slots. In many networks, each peer has an archetype of its own, so a set with one
/// member needs no allocation.
#[derive(Default)]
pub(crate) enum Members {
    #[default]
    None,
    One(u32),
    Many(Box<MemberSet>),
}

/// Two or more members.
pub(crate) struct MemberSet {
    /// The members, unordered. The tail of each member stores its position here.
    dense: Vec<u32>,
    /// The same members, ordered. Present only if sorting a copy for each page would cost more.
    ordered: Option<RoaringBitmap>,
}

/// Members in the order of their slots.
pub(crate) enum Ordered<'a> {
    Sorted(std::vec::IntoIter<u32>),
    Bitmap(roaring::bitmap::Iter<'a>),
}

/// Number of members at which the bitmap is built, which keeps the members ordered.
const ORDERED_FROM: usize = 128;
/// Number of members below which the bitmap is dropped. Lower than `ORDERED_FROM`, so that changes
/// around one size do not rebuild the bitmap repeatedly.
const ORDERED_UNTIL: usize = 64;
/// Below this capacity it is not worth releasing memory.
const SHRINK_FROM: usize = 256;

impl Members {
    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(many) => &many.dense,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Adds a slot that is not in the set. Returns its position.
    pub(crate) fn push(&mut self, slot: u32) -> u32 {
        match self {
            Self::None => {
                *self = Self::One(slot);
                0
            }
            Self::One(first) => {
                *self = Self::Many(Box::new(MemberSet { dense: vec![*first, slot], ordered: None }));
                1
            }
            Self::Many(many) => many.push(slot),
        }
    }

    /// Removes the slot at a position. Returns the slot that moved into its place, if any.
    pub(crate) fn swap_remove(&mut self, position: u32) -> Option<u32> {
        match self {
            Self::None => None,
            Self::One(_) => {
                *self = Self::None;
                None
            }
            Self::Many(many) => {
                let moved = many.swap_remove(position as usize);
                // Back to the form without an allocation.
                if let [last] = *many.dense {
                    *self = Self::One(last);
                }
                moved
            }
        }
    }

    /// The members from slot `from` on, in order.
    pub(crate) fn ordered(&self, from: u32) -> Ordered<'_> {
        if let Self::Many(many) = self
            && let Some(ordered) = &many.ordered
        {
            return Ordered::Bitmap(ordered.range(from..));
        }
        // Sorting a small set for each page costs less than keeping it ordered at each change.
        let mut sorted: Vec<u32> = self.as_slice().iter().copied().filter(|slot| *slot >= from).collect();
        sorted.sort_unstable();
        Ordered::Sorted(sorted.into_iter())
    }
}

impl MemberSet {
    fn push(&mut self, slot: u32) -> u32 {
        let position = u32::try_from(self.dense.len()).unwrap_or(u32::MAX);
        self.dense.push(slot);
        match &mut self.ordered {
            Some(ordered) => drop(ordered.insert(slot)),
            None if self.dense.len() >= ORDERED_FROM => {
                self.ordered = Some(self.dense.iter().copied().collect());
            }
            None => {}
        }
        position
    }

    fn swap_remove(&mut self, position: usize) -> Option<u32> {
        let removed = self.dense.swap_remove(position);
        if self.dense.len() < ORDERED_UNTIL {
            self.ordered = None;
        } else if let Some(ordered) = &mut self.ordered {
            ordered.remove(removed);
        }
        // Releases memory when three quarters are unused, and keeps a margin, so that changes
        // around one size do not reallocate repeatedly.
        if self.dense.capacity() > SHRINK_FROM.max(4 * self.dense.len()) {
            self.dense.shrink_to(2 * self.dense.len());
        }
        self.dense.get(position).copied()
    }
}

impl Iterator for Ordered<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match self {
            Self::Sorted(slots) => slots.next(),
            Self::Bitmap(slots) => slots.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn members_stay_dense_and_ordered_under_churn() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut members = Members::default();
        let mut model = BTreeSet::new();
        for step in 0..20_000_u32 {
            // The size rises and falls repeatedly, so that it often crosses the thresholds at which
            // the representation changes.
            let growing = (step / 500) % 2 == 0;
            if rng.u32(..4) == 0 || !growing {
                if let Some(position) = (members.len() > 0).then(|| rng.usize(..members.len())) {
                    let slot = members.as_slice()[position];
                    let moved = members.swap_remove(u32::try_from(position).unwrap());
                    assert_eq!(moved, members.as_slice().get(position).copied());
                    assert!(model.remove(&slot));
                }
            } else {
                let slot = rng.u32(..100_000);
                if model.insert(slot) {
                    let position = members.push(slot);
                    assert_eq!(members.as_slice()[position as usize], slot);
                }
            }
            assert_eq!(members.len(), model.len());
            if step % 97 == 0 {
                let from = rng.u32(..100_000);
                assert!(members.ordered(from).eq(model.range(from..).copied()));
            }
        }
    }
}
