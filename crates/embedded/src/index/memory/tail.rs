//! The data of a peer that is not in its slot.

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Holder, Source, TokenHash};

use super::super::membership::Memberships;
use super::slot::Slot;

/// Data that changes of a peer read. Most listings do not read it.
pub(crate) struct Tail {
    pub(crate) holder: Holder,
    pub(crate) registered_at: Timestamp,
    /// The time of the peer's entry in the schedule. The lease of a live peer may end later by now.
    pub(crate) scheduled: Timestamp,
    /// The key of the published address if it differs from the source; otherwise 0.
    pub(crate) address_key: u64,
    pub(crate) memberships: Memberships,
    /// The text, if it does not fit into the slot; otherwise empty.
    pub(crate) long_text: Box<[u8]>,
    /// The peer's position among all live peers.
    pub(crate) position: u32,
}

impl Tail {
    pub(crate) fn vacant() -> Self {
        Self {
            holder: Holder { source: Source::V6(0), token: TokenHash::from_bytes([0; TokenHash::LEN]) },
            registered_at: Timestamp::default(),
            scheduled: Timestamp::default(),
            address_key: 0,
            memberships: Memberships::None,
            long_text: Box::default(),
            position: 0,
        }
    }

    pub(crate) fn has_archetype(&self, archetype: u32) -> bool {
        self.memberships.as_slice().iter().any(|membership| membership.archetype == archetype)
    }

    /// Bytes that the peer counts against the limit.
    pub(crate) fn cost(&self) -> u64 {
        cost(self.long_text.len(), self.memberships.as_slice().len())
    }

    /// Prefetches the data that a query by archetype reads.
    pub(crate) fn touch(&self) -> usize {
        self.memberships.as_slice().len()
    }
}

/// Bytes that a peer counts against the limit, from the length of its text and the number of
/// archetypes. A text counts for what exceeds a slot, as in release 890211c: the same peers must
/// fit the same limit after an upgrade.
pub(crate) fn cost(text: usize, archetypes: usize) -> u64 {
    /// The slot, the tail, and the entries in the tables, the dense array and the schedule.
    const PEER: u64 = 448;
    const ARCHETYPE: u64 = 24;
    PEER + text.saturating_sub(Slot::INLINE) as u64 + archetypes as u64 * ARCHETYPE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_cost_covers_its_slot_and_tail() {
        assert!(size_of::<Slot>() + size_of::<Tail>() < usize::try_from(cost(0, 0)).unwrap());
        assert_eq!(size_of::<Tail>(), 104);
    }
}
