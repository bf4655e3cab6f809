//! A peer on its way into the index, made ready before anything is locked.

use std::hash::{BuildHasher, RandomState};

use aurora_protocol::{Address, Archetypes, Invalid, PeerId, PeerJson, Registration, Timestamp, Ttl};
use aurora_registry::{Holder, Source};

use super::slot::{self, Content};
use crate::record::{Record, Registered};

/// The secrets under which peers and addresses are hashed, so that nobody can make them collide. Copies agree.
#[derive(Clone)]
pub(crate) struct Keys {
    peers: RandomState,
    addresses: RandomState,
}

/// Everything that is kept of a peer.
pub(crate) struct Entry {
    pub(crate) peer: PeerId,
    pub(crate) hash: u64,
    pub(crate) archetypes: Archetypes,
    pub(crate) dormant: bool,
    pub(crate) content: Content,
}

/// A lease, and when its peer registered.
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

    pub(crate) fn peer(&self, id: &[u8]) -> u64 {
        self.peers.hash_one(id)
    }

    /// The key of the address and port that a registration publishes without coming from there; 0 if it does, or can't be dialled.
    fn published(&self, registration: &Registration, source: Source) -> u64 {
        let Registration { address, port, .. } = registration;
        let own = matches!(address, Address::Ip(ip) if source.contains(*ip));
        if own || *port == 0 {
            return 0;
        }
        // A DNS name means the same in any case, and with the root's dot behind it.
        let name = address.to_string().to_ascii_lowercase();
        self.addresses.hash_one((name.trim_end_matches('.'), port)).max(1)
    }
}

impl Lease {
    /// A new lease from `now` on.
    pub(crate) fn begin(ttl: Ttl, now: Timestamp) -> Self {
        Self { ttl, registered_at: now, last_seen: now, expires_at: now + ttl }
    }
}

impl Entry {
    /// A live peer.
    pub(crate) fn new(registration: Registration, holder: Holder, lease: Lease, keys: &Keys) -> Self {
        let json = PeerJson::new(&registration);
        Self::of(registration, &json, holder, lease, keys)
    }

    /// A peer as a record keeps it.
    pub(crate) fn recorded(record: &Registered<'_>, keys: &Keys) -> Result<Self, Invalid> {
        let (json, registration) = PeerJson::parse(record.json)?;
        let Registered { dormant, holder, ttl, registered_at, last_seen, expires_at, .. } = *record;
        let lease = Lease { ttl, registered_at, last_seen, expires_at };
        Ok(Self { dormant, ..Self::of(registration, &json, holder, lease, keys) })
    }

    fn of(registration: Registration, json: &PeerJson, holder: Holder, lease: Lease, keys: &Keys) -> Self {
        let published = keys.published(&registration, holder.source);
        let Registration { peer_id: peer, archetypes, .. } = registration;
        let id = peer.as_str().as_bytes();
        let content = Content {
            blob: [id, json.as_str().as_bytes()].concat().into(),
            // An id has at most 128 bytes.
            id_len: u8::try_from(id.len()).unwrap_or(u8::MAX),
            last_seen_at: json.last_seen_at(),
            holder,
            ttl: lease.ttl,
            registered_at: lease.registered_at,
            last_seen: lease.last_seen,
            expires_at: lease.expires_at,
            published,
        };
        Self { hash: keys.peer(id), peer, archetypes, dormant: false, content }
    }

    /// What it will count against the bound on bytes.
    pub(crate) fn cost(&self) -> u64 {
        slot::cost(self.content.blob.len(), self.archetypes.as_slice().len())
    }

    /// How long its record is.
    pub(crate) fn record_len(&self) -> usize {
        Record::HEAD + self.content.blob.len() - usize::from(self.content.id_len)
    }

    /// Appends its record.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let content = &self.content;
        let json = &content.blob[usize::from(content.id_len)..];
        let registered = Registered {
            dormant: self.dormant,
            holder: content.holder,
            ttl: content.ttl,
            registered_at: content.registered_at,
            last_seen: content.last_seen,
            expires_at: content.expires_at,
            json: text(json),
        };
        Record::Registered(registered).encode(out);
    }
}

/// Text that was text when it was put where it is.
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
