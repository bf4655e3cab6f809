//! Where each known peer lies, under one number for as long as it is known.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aurora_protocol::{Timestamp, Ttl};
use aurora_registry::{Holder, Source, TokenHash};

use super::membership::Memberships;
use super::text::{IdPlace, Text};

/// One peer, or none: all that listing and renewing it reads, in one cache line. The rest is its [`Tail`], which lies elsewhere so
/// that the slots of a large network stay in the cache.
#[repr(align(64))]
pub(crate) struct Slot {
    /// The peer's JSON, and behind it its id unless that can be read out of the JSON.
    text: Box<[u8]>,
    /// When the lease ends, in milliseconds. Heartbeats raise it while others read.
    expires_at: AtomicU64,
    last_seen: AtomicU64,
    pub(crate) memberships: Memberships,
    pub(crate) ttl: Ttl,
    last_seen_at: u16,
    id_place: IdPlace,
    pub(crate) state: State,
}

/// What only changes of a peer read.
pub(crate) struct Tail {
    pub(crate) holder: Holder,
    pub(crate) registered_at: Timestamp,
    /// The key under which the schedule has it; a live peer's lease may end later by now.
    pub(crate) scheduled: Timestamp,
    /// The key of the address that it publishes without coming from there; 0 if it does.
    pub(crate) published: u64,
    /// Its position among all live peers.
    pub(crate) position: u32,
}

/// Whether a slot's peer is listed, may come back, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Vacant,
    Live,
    Dormant,
}

/// What a slot is filled with.
pub(crate) struct Content {
    pub(crate) text: Text,
    pub(crate) holder: Holder,
    pub(crate) ttl: Ttl,
    pub(crate) registered_at: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) published: u64,
}

impl Slot {
    /// What a peer costs beside its text, for the bound on bytes: the slot, its places in the tables and in the schedule.
    pub(crate) const COST: u64 = 224;
    /// What each archetype of a peer adds.
    pub(crate) const MEMBERSHIP_COST: u64 = 24;

    fn vacant() -> Self {
        Self {
            text: Box::default(),
            expires_at: AtomicU64::new(0),
            last_seen: AtomicU64::new(0),
            memberships: Memberships::None,
            ttl: Ttl::from_secs(0),
            last_seen_at: 0,
            id_place: IdPlace::default(),
            state: State::Vacant,
        }
    }

    pub(crate) fn peer_id(&self) -> &[u8] {
        self.id_place.split(&self.text).0
    }

    pub(crate) fn json(&self) -> &[u8] {
        self.id_place.split(&self.text).1
    }

    pub(crate) fn last_seen_at(&self) -> usize {
        self.last_seen_at.into()
    }

    /// Reading this fetches the slot into the cache.
    pub(crate) fn touch_head(&self) -> u8 {
        self.last_seen_at.to_ne_bytes()[0]
    }

    /// One byte of each of the text's first cache lines, which hold all of most texts: reading them fetches them into the cache.
    /// Always as many, so that the processor guesses no length wrong and runs ahead.
    pub(crate) fn touch(&self) -> u8 {
        const CACHE_LINES: [usize; 6] = [0, 64, 128, 192, 256, 320];
        let last = self.text.len().saturating_sub(1);
        CACHE_LINES.iter().fold(0, |all, at| all ^ self.text.get(*at.min(&last)).copied().unwrap_or_default())
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.expires_at.load(Relaxed))
    }

    pub(crate) fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(self.last_seen.load(Relaxed))
    }

    pub(crate) fn is_live_at(&self, now: Timestamp) -> bool {
        self.state == State::Live && now < self.expires_at()
    }

    /// Renews the lease. Needs no exclusive access; an older `now` changes nothing.
    pub(crate) fn renew(&self, now: Timestamp) {
        self.expires_at.fetch_max((now + self.ttl).as_millis(), Relaxed);
        self.last_seen.fetch_max(now.as_millis(), Relaxed);
    }

    pub(crate) fn set_lease(&mut self, last_seen: Timestamp, expires_at: Timestamp) {
        *self.last_seen.get_mut() = last_seen.as_millis();
        *self.expires_at.get_mut() = expires_at.as_millis();
    }

    pub(crate) fn carries(&self, archetype: u32) -> bool {
        self.memberships.as_slice().iter().any(|membership| membership.archetype == archetype)
    }

    /// What it counts against the bound on bytes.
    pub(crate) fn cost(&self) -> u64 {
        cost(self.text.len(), self.memberships.as_slice().len())
    }
}

impl Tail {
    fn vacant() -> Self {
        Self {
            holder: Holder { source: Source::V6(0), token: TokenHash::from_bytes([0; TokenHash::LEN]) },
            registered_at: Timestamp::default(),
            scheduled: Timestamp::default(),
            published: 0,
            position: 0,
        }
    }
}

/// What a peer with so many bytes of text and so many archetypes counts against the bound on bytes.
pub(crate) fn cost(text: usize, archetypes: usize) -> u64 {
    text as u64 + Slot::COST + archetypes as u64 * Slot::MEMBERSHIP_COST
}

/// All slots, in chunks, so that growing never moves one.
#[derive(Default)]
pub(crate) struct Slots {
    chunks: Vec<Vec<Slot>>,
    /// The tails of the slots, under the same numbers.
    tails: Vec<Vec<Tail>>,
    free: Vec<u32>,
}

impl Slots {
    /// Slots in one chunk: a quarter of a megabyte, and as much of tails.
    const CHUNK: usize = 1 << Self::CHUNK_BITS;
    const CHUNK_BITS: u32 = 12;

    /// How many slots there are, vacant ones included: all numbers below it are slots.
    pub(crate) fn end(&self) -> u32 {
        let full = self.chunks.len().saturating_sub(1) * Self::CHUNK;
        u32::try_from(full + self.chunks.last().map_or(0, Vec::len)).unwrap_or(u32::MAX)
    }

    /// How many slots hold a peer.
    pub(crate) fn occupied(&self) -> usize {
        self.end() as usize - self.free.len()
    }

    /// A vacant slot; it counts as occupied from here on.
    pub(crate) fn take(&mut self) -> u32 {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        let number = self.end();
        push(&mut self.chunks, Slot::vacant());
        push(&mut self.tails, Tail::vacant());
        number
    }

    /// Makes a slot vacant.
    pub(crate) fn give_back(&mut self, slot: u32) {
        let (head, tail) = self.pair_mut(slot);
        (*head, *tail) = (Slot::vacant(), Tail::vacant());
        self.free.push(slot);
    }

    /// Replaces everything in a slot but the state and the memberships.
    pub(crate) fn fill(&mut self, slot: u32, content: Content) {
        let (slot, tail) = self.pair_mut(slot);
        (slot.text, slot.id_place, slot.last_seen_at) = content.text.into_parts();
        slot.ttl = content.ttl;
        slot.set_lease(content.last_seen, content.expires_at);
        tail.holder = content.holder;
        tail.registered_at = content.registered_at;
        tail.published = content.published;
    }

    pub(crate) fn tail(&self, slot: u32) -> &Tail {
        let (chunk, place) = locate(slot);
        &self.tails[chunk][place]
    }

    /// A slot and its tail.
    pub(crate) fn pair(&self, slot: u32) -> (&Slot, &Tail) {
        (&self[slot], self.tail(slot))
    }

    /// A slot and its tail, to be changed.
    pub(crate) fn pair_mut(&mut self, slot: u32) -> (&mut Slot, &mut Tail) {
        let (chunk, place) = locate(slot);
        (&mut self.chunks[chunk][place], &mut self.tails[chunk][place])
    }
}

/// Appends to the last chunk, or begins one.
fn push<T>(chunks: &mut Vec<Vec<T>>, item: T) {
    match chunks.last_mut() {
        Some(chunk) if chunk.len() < Slots::CHUNK => chunk.push(item),
        _ => {
            let mut chunk = Vec::with_capacity(Slots::CHUNK);
            chunk.push(item);
            chunks.push(chunk);
        }
    }
}

/// In which chunk a slot lies, and where in it.
fn locate(slot: u32) -> (usize, usize) {
    ((slot >> Slots::CHUNK_BITS) as usize, slot as usize % Slots::CHUNK)
}

impl std::ops::Index<u32> for Slots {
    type Output = Slot;

    fn index(&self, slot: u32) -> &Slot {
        let (chunk, place) = locate(slot);
        &self.chunks[chunk][place]
    }
}

impl std::ops::IndexMut<u32> for Slots {
    fn index_mut(&mut self, slot: u32) -> &mut Slot {
        let (chunk, place) = locate(slot);
        &mut self.chunks[chunk][place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_takes_one_cache_line_and_its_tail_another() {
        assert_eq!((size_of::<Slot>(), size_of::<Tail>()), (64, 64));
    }

    #[test]
    fn a_slot_that_was_given_back_is_taken_again() {
        let mut slots = Slots::default();
        let taken: Vec<_> = (0..10_000).map(|_| slots.take()).collect();
        assert!(taken.iter().copied().eq(0..10_000));
        slots.give_back(5);
        slots.give_back(9_000);
        assert_eq!(slots.occupied(), 9_998);
        let mut again = [slots.take(), slots.take()];
        again.sort_unstable();
        assert_eq!((again, slots.end()), ([5, 9_000], 10_000));
    }
}
