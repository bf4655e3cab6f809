//! Names that are locked to a key, because a registration of them was signed.

use std::sync::Arc;

use aurora_discovery_protocol::{PublicKey, Timestamp};

/// The longest time for which a name stays locked after its lease, in milliseconds: 30 days, so that
/// a name whose key is lost becomes free some day.
const MAX_LOCKED_MILLIS: u64 = 30 * 86_400_000;
/// How long the record of a deregistered peer is remembered, in milliseconds. A record is accepted
/// for 300 s after its `iat`, which may be 300 s ahead, so that a record that was accepted once
/// can't be accepted again after that time.
const TOMBSTONE_MILLIS: u64 = 600_000;

/// The lock of a name. A store keeps it with the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The key that locks the name.
    pub key: PublicKey,
    /// The highest number of a record that was accepted for the name.
    pub seq: u64,
    /// When the name was locked. A rotation does not change it.
    pub since: Timestamp,
    /// When the peer deregistered, if it did. The peer is then unknown, and only its lock remains.
    pub left_at: Option<Timestamp>,
}

impl Lock {
    /// When the lock ends, for a lease that ends at `expires_at`: after as long as the name was held,
    /// so that a name that was held for a moment is not blocked for long. Until then the peer is
    /// dormant.
    pub fn ends_at(&self, expires_at: Timestamp) -> Timestamp {
        match self.left_at {
            Some(left_at) => left_at.plus_millis(TOMBSTONE_MILLIS),
            None => {
                let held = expires_at.millis_since(self.since);
                expires_at.plus_millis(held.min(MAX_LOCKED_MILLIS))
            }
        }
    }

    /// Whether the peer has deregistered.
    pub fn is_tombstone(&self) -> bool {
        self.left_at.is_some()
    }
}

/// What a store keeps for a peer that signed, in addition to what it keeps for every peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPeer {
    /// The lock of its name.
    pub lock: Lock,
    /// The signed registration, a compact JWS. Empty once the peer has deregistered.
    pub record: Arc<str>,
}

impl SignedPeer {
    /// What remains of the peer when it deregisters.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> Self {
        Self { lock: Lock { left_at: Some(now), ..self.lock }, record: Arc::default() }
    }
}

/// A verified signature of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key that signed.
    pub key: PublicKey,
    /// The number of the record.
    pub seq: u64,
    /// The key that signed that `key` replaces it.
    pub replaces: Option<PublicKey>,
    /// The signed registration, a compact JWS.
    pub record: Arc<str>,
}

/// Whether a registration is signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// It is not.
    #[default]
    Unsigned,
    /// It is, and locks the name.
    Signed(Signature),
    /// The operator ignores signatures, and locks that earlier ones made.
    Ignored,
}

impl Signing {
    /// The signature, if there is one.
    pub fn signature(&self) -> Option<&Signature> {
        match self {
            Self::Signed(signature) => Some(signature),
            Self::Unsigned | Self::Ignored => None,
        }
    }
}
