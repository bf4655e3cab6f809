//! Turns slots into the list of a response.

use std::hint::black_box;
use std::sync::atomic::Ordering::Relaxed;

use aurora_discovery_protocol::{FullView, PeerList, Timestamp, View};
use aurora_discovery_registry::Query;

use super::entry::IdHash;
use super::members::Members;
use super::undiscovered::CoarseTime;
use super::{Index, State};

/// The members that a query refers to.
pub(super) struct Scope<'a> {
    /// The requested archetypes that any known peer has. Empty if the query is for all peers.
    pub(super) archetypes: Vec<u32>,
    /// The members of each of these archetypes, or all live peers.
    pub(super) members: Vec<&'a Members>,
    /// The hash of the excluded peer's id, if any.
    pub(super) excluded: Option<IdHash>,
}

impl Scope<'_> {
    /// Total length of the dense arrays. It fits into 32 bits: a query has at most eight
    /// archetypes, and a store in memory has far fewer than 500 million peers.
    pub(super) fn positions(&self) -> u32 {
        let positions: usize = self.members.iter().map(|members| members.len()).sum();
        u32::try_from(positions).unwrap_or(u32::MAX)
    }
}

impl Index {
    pub(super) fn scope(&self, query: &Query) -> Scope<'_> {
        let excluded = query.exclude.as_ref().map(|peer| self.keys.peer(peer.as_str().as_bytes()));
        let archetypes: Vec<u32> =
            query.archetypes.iter().filter_map(|archetype| self.archetypes.find(archetype.key())).collect();
        let members = match query.archetypes.is_empty() {
            true => vec![&self.live],
            false => archetypes.iter().map(|archetype| self.archetypes.members(*archetype)).collect(),
        };
        Scope { archetypes, members, excluded }
    }

    /// The slot of the excluded peer, if that peer matches.
    pub(super) fn excluded(&self, query: &Query, scope: &Scope<'_>) -> Option<u32> {
        let slot = self.find(query.exclude.as_ref()?, scope.excluded?)?;
        let (head, tail) = self.slots.slot_and_tail(slot);
        let mut archetypes = scope.archetypes.iter();
        let matches =
            query.archetypes.is_empty() || archetypes.any(|archetype| tail.has_archetype(*archetype));
        (head.state == State::Live && matches).then_some(slot)
    }

    /// Prefetches the memory that [`Index::excluded`] and [`Index::list`] are about to read. These
    /// places are far apart, and waiting for one after the other would take most of the time of a
    /// listing. When all are requested at once, the waits overlap. The excluded peer needs two
    /// reads, one after the other: first its entry in the table of ids, and then its slot. The
    /// entry is requested before all slots, and the excluded slot after half of the others, when
    /// the entry has probably arrived.
    pub(super) fn touch(&self, slots: &[u32], scope: &Scope<'_>) {
        let (before, after) = slots.split_at(slots.len() / 2);
        let touched = |slots: &[u32]| slots.iter().fold(0, |all, slot| all ^ self.slots[*slot].touch());
        black_box(scope.excluded.map(|hash| self.by_id.touch(hash)));
        black_box(touched(before));
        // The first slot with this hash is almost always that of the peer. If it is another slot,
        // reading it is harmless.
        let excluded = scope.excluded.and_then(|hash| self.by_id.find(hash, |_| true));
        black_box(excluded.map(|slot| (self.slots[slot].touch(), self.slots.tail(slot).touch())));
        black_box(touched(after));
    }

    /// Lists slots in order until the next one does not fit on the page.
    pub(super) fn list(&self, slots: &[u32], query: &Query, now: Timestamp) -> PeerList {
        let max_len =
            |slot: u32| self.slots[slot].max_listed_len(query.view) + self.max_signed_len(slot, query.view);
        let bytes: usize = slots.iter().map(|slot| max_len(*slot) + 1).sum();
        let all_fit = bytes <= query.page_bytes;
        let mut list = PeerList::with_capacity(bytes.min(query.page_bytes));
        let coarse_now = CoarseTime::of(now);
        let offset = self.time_offset.load(Relaxed);
        for number in slots {
            let slot = &self.slots[*number];
            // The first peer is always listed, so that each page makes progress.
            let fits = || list.bytes() + max_len(*number) < query.page_bytes;
            if !(all_fit || list.is_empty() || fits()) {
                break;
            }
            if query.view != View::Observer {
                slot.last_listed.set(coarse_now);
            }
            let last_seen = slot.last_seen().shifted_by_millis(offset);
            list.push_in_view(query.view, self.slots.encoded(*number), last_seen, || {
                let expires_in = slot.expires_at().millis_since(now) / 1_000;
                let registered_ago = now.millis_since(self.slots.tail(*number).registered_at) / 1_000;
                let signed = self.slots.signature(*number).map(|signed| signed.record);
                FullView { expires_in, registered_ago, signed }
            });
        }
        list
    }

    /// An upper bound of the bytes that a peer's signed registration takes in a list.
    fn max_signed_len(&self, number: u32, view: View) -> usize {
        // Only the full views list it. The others need not read the tail, which is stored in
        // another part of memory.
        if !view.is_full() {
            return 0;
        }
        self.slots.signature(number).map_or(0, |signed| FullView::signed_len(signed.record.len()))
    }
}
