//! Slots turned into the list that goes out.

use std::hint::black_box;

use aurora_protocol::{PeerList, Timestamp, View};
use aurora_registry::Query;

use super::entry::IdHash;
use super::members::Members;
use super::undiscovered::Step;
use super::{Index, State};

/// Which members a query is about.
pub(super) struct Scope<'a> {
    /// The archetypes asked for, as far as anybody carries them; empty where all peers are.
    pub(super) archetypes: Vec<u32>,
    /// The members of each of these, or all live peers.
    pub(super) members: Vec<&'a Members>,
    /// The hash of the id of the peer to leave out, if one is named.
    pub(super) excluded: Option<IdHash>,
}

impl Scope<'_> {
    /// Places of all the dense arrays together: few archetypes, each with fewer members than there are numbers of slots.
    pub(super) fn places(&self) -> u32 {
        let places: usize = self.members.iter().map(|members| members.len()).sum();
        u32::try_from(places).unwrap_or(u32::MAX)
    }
}

impl Index {
    pub(super) fn scope(&self, query: &Query) -> Scope<'_> {
        let excluded = query.exclude.as_ref().map(|peer| self.keys.peer(peer.as_str().as_bytes()));
        let archetypes: Vec<u32> = query
            .archetypes
            .iter()
            .filter_map(|archetype| self.archetypes.find(archetype.as_str()))
            .collect();
        let members = match query.archetypes.is_empty() {
            true => vec![&self.live],
            false => archetypes.iter().map(|archetype| self.archetypes.members(*archetype)).collect(),
        };
        Scope { archetypes, members, excluded }
    }

    /// The slot to leave out, if its peer matches.
    pub(super) fn excluded(&self, query: &Query, scope: &Scope<'_>) -> Option<u32> {
        let slot = self.find(query.exclude.as_ref()?, scope.excluded?)?;
        let (head, tail) = self.slots.pair(slot);
        let mut archetypes = scope.archetypes.iter();
        let matches = query.archetypes.is_empty() || archetypes.any(|archetype| tail.carries(*archetype));
        (head.state == State::Live && matches).then_some(slot)
    }

    /// Asks the memory for what [`Index::excluded`] and [`Index::list`] are going to read. It lies apart, and to wait for one after the
    /// other is what a listing would spend its time with; asked for at once, it comes at once. What leads to the excluded peer is asked for
    /// amid the rest, a third of it ahead of what it leads to: at either end it would be waited for alone.
    pub(super) fn touch(&self, slots: &[u32], scope: &Scope<'_>) {
        black_box(scope.excluded.map(|hash| self.by_id.touch(hash)));
        black_box(slots.iter().fold(0, |all, slot| all ^ self.slots[*slot].touch()));
    }

    /// Lists slots in their order until the page has no room for the next.
    pub(super) fn list(&self, slots: &[u32], query: &Query, now: Timestamp) -> PeerList {
        let listed_len = |slot: &u32| self.slots.encoded(*slot).listed_len(query.view) + 1;
        let bytes: usize = slots.iter().map(listed_len).sum();
        let mut list = PeerList::with_capacity(bytes.min(query.page_bytes));
        let step = Step::of(now);
        for number in slots {
            let (slot, peer) = (&self.slots[*number], self.slots.encoded(*number));
            if !list.is_empty() && list.bytes() + peer.listed_len(query.view) + 1 > query.page_bytes {
                break;
            }
            slot.listed.mark(step);
            match query.view {
                View::Legacy => list.push(peer, slot.last_seen()),
                View::Full => {
                    let left = slot.expires_at().millis_since(now) / 1_000;
                    let age = now.millis_since(self.slots.tail(*number).registered_at) / 1_000;
                    list.push_full(peer, slot.last_seen(), left, age);
                }
            }
        }
        list
    }
}
