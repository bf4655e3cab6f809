//! The data of a peer that is not in its slot.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Holder, OriginHash, TokenHash};

use super::super::membership::Memberships;
use super::source::{Keeper, PackedSource};

/// Data that heartbeats and changes of a peer read. Most listings do not read it.
///
/// It takes two cache lines. A heartbeat of a live peer reads the first one only, unless the peer
/// has signed. The lock of a signed peer is in `long_text`.
#[repr(C, align(64))]
pub(crate) struct Tail {
    pub(crate) source: PackedSource,
    pub(crate) registered_at: Timestamp,
    /// When the holder last proved itself, in milliseconds. Heartbeats raise it concurrently with
    /// reads.
    proven_at: AtomicU64,
    /// The source whose unproven heartbeats keep the live peer alive, if any.
    pub(crate) kept_by: Option<Keeper>,
    token: TokenHash,
    page: Option<OriginHash>,
    pub(crate) protection: Protection,
    /// The published port.
    pub(crate) port: u16,
    pub(crate) links: Links,
    /// The time of the peer's entry in the schedule. Heartbeats may have moved the end of a live
    /// peer's lease beyond it.
    pub(crate) scheduled: Timestamp,
    /// The key of the published host, or 0 if the peer does not count against the limits of the
    /// address.
    pub(crate) host_key: u64,
    pub(crate) memberships: Memberships,
    /// The text, if it does not fit into the slot. If the peer signed, its lock and its record
    /// follow. Empty if there is neither.
    pub(crate) long_text: Box<[u8]>,
}

/// What a client has to present to change a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Protection {
    /// The lease token, or a source address that proves that the client is the holder.
    Address,
    /// The lease token.
    TokenOnly,
    /// A signature to replace the registration, and the lease token to renew or deregister the
    /// peer.
    Signed,
}

/// The position of a peer in the lists for its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// The positions among all live peers, and among those of the same wide network.
    Live { position: u32, in_network: u32 },
    /// The neighbours in the list of the dormant peers of the same source (`index/dormant.rs`).
    Dormant { older: Option<SlotNumber>, newer: Option<SlotNumber> },
}

/// The number of a slot. `Option<SlotNumber>` takes no more space than the number itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotNumber(std::num::NonZeroU32);

impl SlotNumber {
    pub(crate) fn new(slot: u32) -> Option<Self> {
        // The number is stored plus one, so that it is never zero. The addition cannot overflow,
        // because the arena never has that many slots.
        slot.checked_add(1).and_then(std::num::NonZeroU32::new).map(Self)
    }

    pub(crate) fn get(self) -> u32 {
        self.0.get() - 1
    }
}

impl Tail {
    pub(crate) fn vacant() -> Self {
        Self {
            source: PackedSource::default(),
            registered_at: Timestamp::default(),
            proven_at: AtomicU64::new(0),
            kept_by: None,
            token: TokenHash::from_bytes([0; TokenHash::LEN]),
            page: None,
            protection: Protection::Address,
            port: 0,
            links: Links::Live { position: 0, in_network: 0 },
            scheduled: Timestamp::default(),
            host_key: 0,
            memberships: Memberships::None,
            long_text: Box::default(),
        }
    }

    pub(crate) fn holder(&self) -> Holder {
        let Self { source, token, page, protection, .. } = *self;
        let token_only = protection != Protection::Address;
        Holder { source: source.unpack(), token, page, token_only }
    }

    pub(crate) fn set_holder(&mut self, holder: &Holder) {
        self.source = PackedSource::new(holder.source);
        self.token = holder.token;
        self.page = holder.page;
        self.protection = if holder.token_only { Protection::TokenOnly } else { Protection::Address };
    }

    pub(crate) fn proven_at(&self) -> Timestamp {
        Timestamp::from_millis(self.proven_at.load(Relaxed))
    }

    /// Stores the time of a proof. Does not need exclusive access. An older time changes nothing.
    pub(crate) fn prove(&self, now: Timestamp) {
        self.proven_at.fetch_max(now.as_millis(), Relaxed);
    }

    pub(crate) fn set_proven_at(&mut self, at: Timestamp) {
        *self.proven_at.get_mut() = at.as_millis();
    }

    pub(crate) fn has_archetype(&self, archetype: u32) -> bool {
        self.memberships.as_slice().iter().any(|membership| membership.archetype == archetype)
    }

    /// The size of the peer in bytes, as it counts against `max_bytes`.
    pub(crate) fn cost(&self) -> u64 {
        cost(self.long_text.len(), self.memberships.as_slice().len(), self.host_key)
    }

    /// Prefetches the data that a query by archetype reads.
    pub(crate) fn touch(&self) -> usize {
        self.memberships.as_slice().len()
    }
}

/// Bytes that an allocation takes in addition to its contents: the allocator's header, and
/// rounding.
pub(crate) const ALLOCATION: u64 = 16;

/// The size of a peer in bytes, as it counts against `max_bytes`. `allocated` is the length of
/// `long_text`, `archetypes` the number of archetypes, and `host_key` the key of the published
/// host. The archetypes themselves count in addition, in the table of archetypes.
///
/// The constants are rounded from the memory that the store takes with a million peers.
pub(crate) fn cost(allocated: usize, archetypes: usize, host_key: u64) -> u64 {
    /// The memory of a peer in bytes, without `long_text`, its archetypes and its published
    /// address: the slot, the tail, and the entries in the table of ids, the dense arrays, the
    /// schedule, and the counts of its source and networks. The peer is assumed to be the only one
    /// of its source and its network, but not of its wide network.
    const PEER: u64 = 472;
    const ARCHETYPE: u64 = 24;
    /// The memory of the four counts of a published address that no other peer publishes, in bytes.
    const ADDRESS: u64 = 112;
    let long_text = if allocated > 0 { allocated as u64 + ALLOCATION } else { 0 };
    let address = if host_key == 0 { 0 } else { ADDRESS };
    PEER + long_text + archetypes as u64 * ARCHETYPE + address
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::super::slot::Slot;
    use super::*;

    #[test]
    fn a_peers_cost_covers_its_slot_and_tail() {
        assert!(size_of::<Slot>() + size_of::<Tail>() < usize::try_from(cost(0, 0, 0)).unwrap());
    }

    #[test]
    fn a_tail_fills_two_cache_lines_and_a_heartbeat_reads_the_first() {
        assert_eq!((size_of::<Tail>(), align_of::<Tail>()), (128, 64));
        assert_eq!(offset_of!(Tail, links), 60, "everything before it is in the first line");
    }

    #[test]
    fn what_the_tail_allocates_counts_whole() {
        assert_eq!(cost(1, 0, 0), cost(0, 0, 0) + 1 + ALLOCATION);
        assert_eq!(cost(0, 2, 1), cost(0, 0, 0) + 48 + 112);
    }

    #[test]
    fn the_time_of_a_proof_never_goes_back() {
        let tail = Tail::vacant();
        tail.prove(Timestamp::from_secs(20));
        tail.prove(Timestamp::from_secs(10));
        assert_eq!(tail.proven_at(), Timestamp::from_secs(20));
    }
}
