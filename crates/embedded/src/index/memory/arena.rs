//! The memory in which all peers are stored. Each peer has a fixed slot for as long as it is known.
//!
//! A sample reads one random place per listed peer, and spends its time waiting for memory. So each
//! peer is stored in one place: the slot number determines the address without a look-up table, and
//! the slot has the lease and the encoded JSON in adjacent cache lines. The JSON omits the parts
//! that are the same for all peers. Data that most listings do not read is in the [`Tail`] with the
//! same number, in separate chunks.
//!
//! - A slot never moves: chunks are added, but never grown. So slot numbers in dense arrays and
//!   cursors stay valid.
//! - All slots have the same size. A text that does not fit is in the tail as a whole. So no text
//!   takes the space of another peer, and a peer that registers again with a longer text keeps its
//!   slot.
//! - Vacant slots are reused before the arena grows, so the number of slots is the largest number
//!   of peers that were ever known at the same time.
//! - Only [`Slot::renew`], [`Tail::prove`] and listings (`Slot::last_listed`) modify data without
//!   exclusive access.

use aurora_discovery_protocol::{EncodedPeer, PeerJson, Timestamp, Ttl};
use aurora_discovery_registry::{Holder, SignedPeer};

use super::slot::{Slot, State};
use super::tail::{Protection, Tail};
use crate::signature::{self, StoredSignature};

/// All slots and tails.
#[derive(Default)]
pub(crate) struct Arena {
    slots: Vec<Vec<Slot>>,
    tails: Vec<Vec<Tail>>,
    free: Vec<u32>,
}

/// The contents of a slot and its tail.
pub(crate) struct Content {
    pub(crate) json: PeerJson,
    pub(crate) holder: Holder,
    pub(crate) signed: Option<SignedPeer>,
    pub(crate) ttl: Ttl,
    pub(crate) registered_at: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// When the holder last proved itself.
    pub(crate) proven_at: Timestamp,
    /// The key of the published host; see [`Tail::host_key`].
    pub(crate) host_key: u64,
    pub(crate) port: u16,
}

impl Arena {
    /// The number of slots per chunk. A chunk of slots takes 1 MiB, which the operating system
    /// commits page by page when it is first written.
    const CHUNK: usize = 1 << Self::CHUNK_BITS;
    const CHUNK_BITS: u32 = 12;

    /// Number of slots, including vacant ones. All slot numbers are below it.
    pub(crate) fn slot_count(&self) -> u32 {
        let full = self.slots.len().saturating_sub(1) * Self::CHUNK;
        u32::try_from(full + self.slots.last().map_or(0, Vec::len)).unwrap_or(u32::MAX)
    }

    /// Number of slots that hold a peer.
    pub(crate) fn occupied(&self) -> usize {
        self.slot_count() as usize - self.free.len()
    }

    /// Takes a vacant slot, which counts as occupied from here on.
    pub(crate) fn allocate(&mut self) -> u32 {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        let number = self.slot_count();
        push(&mut self.slots, Slot::vacant());
        push(&mut self.tails, Tail::vacant());
        number
    }

    /// Makes a slot vacant.
    pub(crate) fn release(&mut self, slot: u32) {
        let (head, tail) = self.slot_and_tail_mut(slot);
        head.state = State::Vacant;
        *tail = Tail::vacant();
        self.free.push(slot);
    }

    /// Stores the content of a peer in a slot and its tail. The slot's state, and the tail's
    /// memberships, links, keeper and scheduled time stay as they are.
    pub(crate) fn write(&mut self, slot: u32, content: &Content) {
        let (slot, tail) = self.slot_and_tail_mut(slot);
        tail.long_text = slot.write(content.json.encoded());
        slot.ttl = content.ttl;
        slot.set_lease(content.last_seen, content.expires_at);
        tail.set_holder(&content.holder);
        tail.registered_at = content.registered_at;
        tail.set_proven_at(content.proven_at);
        tail.host_key = content.host_key;
        tail.port = content.port;
        if let Some(signed) = &content.signed {
            tail.protection = Protection::Signed;
            tail.long_text = signature::append(&tail.long_text, signed);
        }
    }

    /// The lock and the record of a peer, if it signed.
    #[inline]
    pub(crate) fn signature(&self, slot: u32) -> Option<StoredSignature<'_>> {
        let tail = self.tail(slot);
        if tail.protection != Protection::Signed {
            return None;
        }
        StoredSignature::parse(tail.long_text.get(self[slot].len_in_tail()..)?)
    }

    /// Whether only the lock of a deregistered peer remains.
    pub(crate) fn is_tombstone(&self, slot: u32) -> bool {
        self.signature(slot).is_some_and(|signed| signed.lock.is_tombstone())
    }

    /// Replaces the lock and the record of a peer.
    pub(crate) fn set_signature(&mut self, slot: u32, signed: &SignedPeer) {
        let (slot, tail) = self.slot_and_tail_mut(slot);
        tail.long_text = signature::append(&tail.long_text[..slot.len_in_tail()], signed);
    }

    pub(crate) fn tail(&self, slot: u32) -> &Tail {
        let (chunk, index) = locate(slot);
        &self.tails[chunk][index]
    }

    /// A slot and its tail.
    pub(crate) fn slot_and_tail(&self, slot: u32) -> (&Slot, &Tail) {
        (&self[slot], self.tail(slot))
    }

    /// A slot and its tail, mutable.
    pub(crate) fn slot_and_tail_mut(&mut self, slot: u32) -> (&mut Slot, &mut Tail) {
        let (chunk, index) = locate(slot);
        (&mut self.slots[chunk][index], &mut self.tails[chunk][index])
    }

    /// A peer's JSON in its compact form.
    pub(crate) fn encoded(&self, slot: u32) -> EncodedPeer<'_> {
        let head = &self[slot];
        // Few texts are long. The tail is read for these only, because it is a separate place in
        // memory.
        head.encoded().unwrap_or_else(|| {
            head.encoded_in(self.tail(slot).long_text.get(..head.len_in_tail()).unwrap_or_default())
        })
    }
}

/// Appends to the last chunk, or starts a new one.
fn push<T>(chunks: &mut Vec<Vec<T>>, item: T) {
    match chunks.last_mut() {
        Some(chunk) if chunk.len() < Arena::CHUNK => chunk.push(item),
        _ => {
            let mut chunk = Vec::with_capacity(Arena::CHUNK);
            chunk.push(item);
            chunks.push(chunk);
        }
    }
}

/// The chunk of a slot, and the slot's index in that chunk.
fn locate(slot: u32) -> (usize, usize) {
    ((slot >> Arena::CHUNK_BITS) as usize, slot as usize % Arena::CHUNK)
}

impl std::ops::Index<u32> for Arena {
    type Output = Slot;

    fn index(&self, slot: u32) -> &Slot {
        let (chunk, index) = locate(slot);
        &self.slots[chunk][index]
    }
}

impl std::ops::IndexMut<u32> for Arena {
    fn index_mut(&mut self, slot: u32) -> &mut Slot {
        let (chunk, index) = locate(slot);
        &mut self.slots[chunk][index]
    }
}

#[cfg(test)]
mod tests {
    use aurora_discovery_protocol::{Address, Archetypes, Metadata, PeerId, Registration};
    use aurora_discovery_registry::{Source, TokenHash};

    use super::*;

    /// A peer with this many bytes of text in its metadata.
    fn json(id: &str, metadata: usize) -> PeerJson {
        PeerJson::new(&Registration {
            peer_id: PeerId::parse(id).unwrap(),
            address: Address::parse("10.0.0.1").unwrap().unwrap(),
            port: 1,
            archetypes: Archetypes::default(),
            metadata: Metadata::parse(&format!(r#"{{"m":"{}"}}"#, "x".repeat(metadata))).unwrap(),
        })
    }

    fn content(json: PeerJson) -> Content {
        let token = TokenHash::from_bytes([0; TokenHash::LEN]);
        let holder = Holder { source: Source::V6(0), token, page: None, token_only: false };
        let at = Timestamp::from_secs(1);
        Content {
            json,
            holder,
            signed: None,
            ttl: Ttl::from_secs(60),
            registered_at: at,
            last_seen: at,
            expires_at: at,
            proven_at: at,
            host_key: 0,
            port: 1,
        }
    }

    #[test]
    fn a_released_slot_is_reused() {
        let mut arena = Arena::default();
        let allocated: Vec<_> = (0..10_000).map(|_| arena.allocate()).collect();
        assert!(allocated.iter().copied().eq(0..10_000));
        arena.release(5);
        arena.release(9_000);
        assert_eq!(arena.occupied(), 9_998);
        let mut again = [arena.allocate(), arena.allocate()];
        again.sort_unstable();
        assert_eq!((again, arena.slot_count()), ([5, 9_000], 10_000));
    }

    #[test]
    fn a_slot_does_not_move_while_the_arena_grows() {
        let mut arena = Arena::default();
        let first = arena.allocate();
        let before: *const Slot = &raw const arena[first];
        for _ in 0..3 * Arena::CHUNK {
            arena.allocate();
        }
        assert_eq!(before, &raw const arena[first]);
    }

    #[test]
    fn texts_of_every_length_read_back_in_the_same_slot() {
        let mut arena = Arena::default();
        let slots = [arena.allocate(), arena.allocate(), arena.allocate()];
        for slot in [slots[0], slots[2]] {
            arena.write(slot, &content(json("neighbour", 60)));
        }
        let around = Slot::INLINE - 20..Slot::INLINE + 20;
        let lengths = (0..Slot::INLINE).step_by(50).chain(around).chain([4_000, 0]);
        for (filled, id) in lengths.flat_map(|metadata| [(metadata, "p"), (metadata, "es\"caped")]) {
            let json = json(id, filled);
            arena.write(slots[1], &content(json.clone()));
            assert_eq!(arena.encoded(slots[1]), json.encoded());
        }
        for slot in [slots[0], slots[2]] {
            assert_eq!(arena.encoded(slot), json("neighbour", 60).encoded());
        }
    }
}
