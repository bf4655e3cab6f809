//! A peer that is prepared for the index before the index is locked.

use std::hash::{BuildHasher, RandomState};

use aurora_discovery_protocol::{Archetypes, Host, Invalid, PeerId, PeerJson, Registration, Timestamp, Ttl};
use aurora_discovery_registry::{Holder, SignedPeer, Source};

use super::memory::arena::Content;
use super::memory::slot::Slot;
use super::memory::tail;
use crate::record::{Record, Registered};
use crate::signature::{self, StoredSignature};

/// The secret keys that ids and addresses are hashed with, so that clients cannot construct
/// collisions. Clones produce the same hashes.
#[derive(Clone)]
pub(crate) struct Keys {
    peers: RandomState,
    addresses: RandomState,
}

/// The hash of a peer's id. The table of ids stores it for every peer, so that it can grow without
/// reading the ids. The hash has only 32 bits to save memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdHash(u32);

/// All data of a peer.
pub(crate) struct Entry {
    pub(crate) peer_id: PeerId,
    pub(crate) hash: IdHash,
    pub(crate) archetypes: Archetypes,
    pub(crate) dormant: bool,
    pub(crate) content: Content,
}

/// A lease, and the time at which its peer registered.
#[derive(Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) ttl: Ttl,
    pub(crate) registered_at: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self { peers: RandomState::new(), addresses: RandomState::new() }
    }

    pub(crate) fn peer(&self, id: &[u8]) -> IdHash {
        // Any 32 of the 64 bits are equally good.
        let [a, b, c, d, ..] = self.peers.hash_one(id).to_ne_bytes();
        IdHash(u32::from_ne_bytes([a, b, c, d]))
    }

    /// The key of the published host. It is zero if no limit applies to the address. That is so if
    /// the address is local (it means a different host in each network), if it is the source's own,
    /// or if the port is zero.
    fn host_key(&self, registration: &Registration, source: Source) -> u64 {
        let host = registration.address.host();
        let is_own = matches!(host, Host::Ip(ip) if source.contains(ip));
        if is_own || host.is_local() || registration.port == 0 {
            return 0;
        }
        self.addresses.hash_one(host).max(1)
    }
}

impl IdHash {
    /// A placeholder hash.
    pub(super) const ZERO: Self = Self(0);

    #[cfg(test)]
    pub(super) fn of_number(number: u32) -> Self {
        Self(number)
    }

    /// The hash expanded to 64 bits, for hash tables.
    pub(crate) fn spread(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)
    }
}

impl Lease {
    /// A new lease that starts at `now`.
    pub(crate) fn begin(ttl: Ttl, now: Timestamp) -> Self {
        Self { ttl, registered_at: now, last_seen: now, expires_at: now + ttl }
    }
}

impl Entry {
    /// A live peer.
    pub(crate) fn new(registration: Registration, holder: Holder, lease: Lease, keys: &Keys) -> Self {
        let json = PeerJson::new(&registration);
        Self::build(registration, json, holder, lease, keys)
    }

    /// A peer as stored in a record.
    pub(crate) fn from_record(record: &Registered<'_>, keys: &Keys) -> Result<Self, Invalid> {
        let (json, registration) = PeerJson::parse(record.json)?;
        let Registered { dormant, holder, ttl, registered_at, last_seen, expires_at, .. } = *record;
        let lease = Lease { ttl, registered_at, last_seen, expires_at };
        let mut entry = Self::build(registration, json, holder, lease, keys);
        entry.content.signed = record.signed.map(SignedPeer::from);
        Ok(Self { dormant, ..entry })
    }

    fn build(registration: Registration, json: PeerJson, holder: Holder, lease: Lease, keys: &Keys) -> Self {
        let host_key = keys.host_key(&registration, holder.source);
        let Registration { peer_id, port, archetypes, .. } = registration;
        let hash = keys.peer(peer_id.as_str().as_bytes());
        let content = Content {
            json,
            holder,
            signed: None,
            ttl: lease.ttl,
            registered_at: lease.registered_at,
            last_seen: lease.last_seen,
            expires_at: lease.expires_at,
            // A registration counts as a proof. A record does not contain the time of the last
            // proof, so the callers that build a peer from a record replace this value.
            proven_at: lease.last_seen,
            host_key,
            port,
        };
        Self { peer_id, hash, archetypes, dormant: false, content }
    }

    /// The size of the peer in bytes, as it will count against `max_bytes`. The archetypes
    /// themselves count in addition, once for all peers, in the table of archetypes.
    pub(crate) fn cost(&self) -> u64 {
        let peer = self.content.json.encoded();
        let text = Slot::allocated(peer.front().len() + peer.back().len());
        let signature = self.content.signed.as_ref().map_or(0, signature::len);
        tail::cost(text + signature, self.archetypes.as_slice().len(), self.content.host_key)
    }

    /// An upper bound of the length of its record.
    pub(crate) fn record_len(&self) -> usize {
        let signature = self.content.signed.as_ref().map_or(0, |signed| signed.record.len());
        Record::HEAD + signature + self.content.json.as_str().len()
    }

    /// Appends its record. `offset`, in milliseconds, is added to its times, as in
    /// [`Index::record`](super::Index::record).
    pub(crate) fn encode(&self, offset: i64, out: &mut Vec<u8>) {
        let content = &self.content;
        let registered = Registered {
            dormant: self.dormant,
            holder: content.holder,
            signed: content.signed.as_ref().map(StoredSignature::from),
            ttl: content.ttl,
            registered_at: content.registered_at,
            last_seen: content.last_seen,
            expires_at: content.expires_at,
            json: content.json.as_str(),
        };
        Record::Registered(registered.shifted_by_millis(offset)).encode(out);
    }
}

/// Bytes that were validated as UTF-8 on write.
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
