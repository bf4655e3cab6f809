//! Enumerates all matching peers, page by page, in the order of their slots. A peer keeps its slot
//! while others come and go.

use std::iter::Peekable;

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Enumeration, Page, Position, Query, Total};

use super::Index;
use super::listing::Scope;
use super::members::Ordered;

/// The position at which an enumeration continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SlotPosition {
    incarnation: u64,
    slot: u32,
}

impl Index {
    /// A page of the live peers that match. The index must be up to `now`.
    pub(crate) fn enumerate(&self, query: &Query, after: Option<&Position>, now: Timestamp) -> Enumeration {
        let from = match after.map(SlotPosition::decode) {
            None => 0,
            Some(None) => return Enumeration::Foreign,
            Some(Some(next)) if next.incarnation != self.incarnation => return Enumeration::Expired,
            Some(Some(next)) => next.slot,
        };
        let scope = self.scope(query);
        let excluded = self.excluded(query, &scope);
        let mut matching = SlotUnion::new(&scope, excluded, from);
        // Takes one slot more than the page may list, to learn whether another page follows.
        let mut slots: Vec<u32> = matching.by_ref().take(query.limit.saturating_add(1)).collect();
        let extra = (slots.len() > query.limit).then(|| slots.pop()).flatten();
        self.touch(&slots, &scope);
        let peers = self.list(&slots, query, now);
        let next = slots.get(peers.len()).copied().or(extra);
        // A first page that lists everything gives the exact total, without an estimate.
        let is_complete = from == 0 && next.is_none();
        let total = if is_complete { Total::Exact(slots.len() as u64) } else { self.total(&scope, excluded) };
        let next = next.map(|slot| SlotPosition { incarnation: self.incarnation, slot }.encode());
        Enumeration::Page(Page { peers, total }, next)
    }
}

impl SlotPosition {
    const VERSION: u8 = 1;

    fn encode(self) -> Position {
        let mut bytes = vec![Self::VERSION];
        bytes.extend_from_slice(&self.incarnation.to_be_bytes());
        bytes.extend_from_slice(&self.slot.to_be_bytes());
        Position(bytes)
    }

    fn decode(position: &Position) -> Option<Self> {
        let (&version, rest) = position.0.split_first()?;
        let (incarnation, slot) = rest.split_first_chunk()?;
        let (slot, []) = slot.split_first_chunk()? else { return None };
        let next = Self { incarnation: u64::from_be_bytes(*incarnation), slot: u32::from_be_bytes(*slot) };
        (version == Self::VERSION).then_some(next)
    }
}

/// The union of several sets of slots, in order and without duplicates.
struct SlotUnion<'a> {
    sets: Vec<Peekable<Ordered<'a>>>,
    excluded: Option<u32>,
}

impl<'a> SlotUnion<'a> {
    fn new(scope: &Scope<'a>, excluded: Option<u32>, from: u32) -> Self {
        let sets = scope.members.iter().map(|members| members.ordered(from).peekable()).collect();
        Self { sets, excluded }
    }
}

impl Iterator for SlotUnion<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            let least = self.sets.iter_mut().filter_map(|set| set.peek().copied()).min()?;
            // A peer in several sets is listed once: every set that has it moves past it.
            for set in &mut self.sets {
                set.next_if_eq(&least);
            }
            if self.excluded != Some(least) {
                return Some(least);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_positions_decode() {
        let decoded = SlotPosition { incarnation: 7, slot: 9 };
        let position = decoded.encode();
        assert_eq!(SlotPosition::decode(&position), Some(decoded));
        for cut in 0..position.0.len() {
            assert_eq!(SlotPosition::decode(&Position(position.0[..cut].to_vec())), None);
        }
        assert_eq!(SlotPosition::decode(&Position([position.0, vec![0]].concat())), None);
        assert_eq!(SlotPosition::decode(&Position(vec![2; 13])), None);
    }
}
