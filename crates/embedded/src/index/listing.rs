//! Slots turned into the list that goes out.

use aurora_protocol::{PeerList, Timestamp, View};
use aurora_registry::Query;

use super::Index;
use super::members::Members;

/// Which members a query is about.
pub(super) struct Scope<'a> {
    /// The archetypes asked for, as far as anybody carries them; empty where all peers are.
    pub(super) archetypes: Vec<u32>,
    /// The members of each of these, or all live peers.
    pub(super) members: Vec<&'a Members>,
    /// The slot to leave out, if it matches.
    pub(super) excluded: Option<u32>,
}

/// What the two keys of the full view add to a peer, in bytes.
const FULL_VIEW_BYTES: usize = 96;

impl Scope<'_> {
    /// Places of all the dense arrays together.
    pub(super) fn places(&self) -> usize {
        self.members.iter().map(|members| members.len()).sum()
    }
}

impl Index {
    pub(super) fn scope(&self, query: &Query) -> Scope<'_> {
        let archetypes: Vec<u32> = query
            .archetypes
            .iter()
            .filter_map(|archetype| self.archetypes.find(archetype.as_str()))
            .collect();
        let members = match query.archetypes.is_empty() {
            true => vec![&self.live],
            false => archetypes.iter().map(|archetype| self.archetypes.members(*archetype)).collect(),
        };
        let excluded = query.exclude.as_ref().and_then(|peer| {
            let slot = self.find_peer(peer)?;
            let live = self.slots[slot].state == super::State::Live;
            let matches = query.archetypes.is_empty()
                || archetypes.iter().any(|archetype| self.slots[slot].carries(*archetype));
            (live && matches).then_some(slot)
        });
        Scope { archetypes, members, excluded }
    }

    /// Lists slots in their order until the page has no room for the next.
    pub(super) fn list(&self, slots: &[u32], query: &Query, now: Timestamp) -> PeerList {
        let slots: Vec<_> = slots.iter().map(|number| (*number, &self.slots[*number])).collect();
        let extra = if query.view == View::Full { FULL_VIEW_BYTES } else { 0 };
        let bytes: usize = slots.iter().map(|(_, slot)| slot.json().len() + extra + 1).sum();
        // The texts lie apart; asking for all of them before copying the first lets the memory answer at once.
        std::hint::black_box(slots.iter().fold(0, |all, (_, slot)| all ^ slot.touch()));
        let mut list = PeerList::with_capacity(bytes.min(query.page_bytes));
        for (number, slot) in slots {
            let (json, at, seen) = (slot.json(), slot.last_seen_at(), slot.last_seen());
            if !list.is_empty() && list.bytes() + json.len() + extra + 1 > query.page_bytes {
                break;
            }
            match query.view {
                View::Seed => list.push(json, at, seen),
                View::Full => {
                    let left = slot.expires_at().millis_since(now) / 1_000;
                    let age = now.millis_since(self.slots.tail(number).registered_at) / 1_000;
                    list.push_full(json, at, seen, left, age);
                }
            }
        }
        list
    }
}
