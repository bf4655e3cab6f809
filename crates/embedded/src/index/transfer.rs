//! Moving peers to and from another store.

use aurora_discovery_protocol::{PeerJson, Timestamp};
use aurora_discovery_registry::{PeerState, SignedPeer};

use super::Index;
use super::entry::{Entry, Keys, Lease};
use crate::record::Record;

impl Index {
    /// The state of the peer in a slot, with the times of the wall clock. `None` if the slot is
    /// vacant.
    ///
    /// # Errors
    /// A sentence that says why the stored data cannot be parsed.
    pub(crate) fn export(&self, number: u32) -> Result<Option<PeerState>, String> {
        let mut bytes = Vec::new();
        self.record(number, self.time_offset(), &mut bytes);
        if bytes.is_empty() {
            return Ok(None);
        }
        let Some(Record::Registered(registered)) = Record::decode(&bytes) else {
            return Err("it is not the record of a peer".to_owned());
        };
        let (_, registration) = PeerJson::parse(registered.json).map_err(|error| error.to_string())?;
        let proven_at = self.slots.slot_and_tail(number).1.proven_at();
        Ok(Some(PeerState {
            registration,
            ttl: registered.ttl,
            registered_at: registered.registered_at,
            last_seen: registered.last_seen,
            proven_at: proven_at.shifted_by_millis(self.time_offset()),
            expires_at: registered.expires_at,
            holder: registered.holder,
            signed: registered.signed.map(Into::into),
        }))
    }
}

impl Entry {
    /// A peer from another store, with `offset` milliseconds added to all its times.
    pub(crate) fn import(state: PeerState, offset: i64, now: Timestamp, keys: &Keys) -> Self {
        let lease = Lease {
            ttl: state.ttl,
            registered_at: state.registered_at.shifted_by_millis(offset),
            last_seen: state.last_seen.shifted_by_millis(offset),
            expires_at: state.expires_at.shifted_by_millis(offset),
        };
        let mut entry = Self::new(state.registration, state.holder, lease, keys);
        entry.content.proven_at = state.proven_at.shifted_by_millis(offset);
        entry.content.signed =
            state.signed.map(|signed| SignedPeer { lock: signed.lock.shifted_by_millis(offset), ..signed });
        entry.dormant = lease.expires_at <= now;
        entry
    }
}
