//! Locks: a signed registration locks the name of its peer to the key that signed it.

use std::sync::Arc;

use aurora_discovery_protocol::{PublicKey, Timestamp};

/// The longest time for which a name stays locked after its lease, in milliseconds: 30 days, so
/// that a name whose key is lost becomes free again.
const MAX_LOCKED_MILLIS: u64 = 30 * 86_400_000;
/// How long the lock of a deregistered peer remains, in milliseconds. The lock has the highest
/// `seq`, so that no client can register the peer again with one of its earlier records. After this
/// time, no earlier record is accepted anyway: a record is accepted until 300 s after its `iat`,
/// and its `iat` may be at most 300 s ahead of the service's clock.
const TOMBSTONE_MILLIS: u64 = 600_000;

/// The lock of a name. A store keeps it with the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The key that locks the name.
    pub key: PublicKey,
    /// The highest sequence number of a record that was accepted for the name.
    pub seq: u64,
    /// When the name was locked. A rotation does not change it.
    pub since: Timestamp,
    /// When the peer deregistered, if it did. The peer is then unknown, and only its lock remains.
    pub left_at: Option<Timestamp>,
}

impl Lock {
    /// When the lock ends, if the lease ends at `expires_at`. The lock outlasts the lease by the
    /// time for which the name was held, up to 30 days. A name that was held only for a moment is
    /// therefore not locked for long. Between the end of the lease and the end of the lock, the
    /// peer is dormant. If the peer has deregistered, the lock ends ten minutes after that.
    pub fn ends_at(&self, expires_at: Timestamp) -> Timestamp {
        match self.left_at {
            Some(left_at) => left_at.plus_millis(TOMBSTONE_MILLIS),
            None => {
                let held = expires_at.millis_since(self.since);
                expires_at.plus_millis(held.min(MAX_LOCKED_MILLIS))
            }
        }
    }

    /// The same lock with `offset` milliseconds added to its times.
    #[must_use]
    pub fn shifted_by_millis(&self, offset: i64) -> Self {
        let shifted = |at: Timestamp| at.shifted_by_millis(offset);
        Self { since: shifted(self.since), left_at: self.left_at.map(shifted), ..*self }
    }

    /// The same lock with times that are at most `now`.
    #[must_use]
    pub fn capped_at(&self, now: Timestamp) -> Self {
        Self { since: self.since.min(now), left_at: self.left_at.map(|at| at.min(now)), ..*self }
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
    /// The lock that remains when the peer deregisters at `now`.
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
    /// The sequence number of the record.
    pub seq: u64,
    /// The old key, if it has signed a statement that `key` replaces it.
    pub replaces: Option<PublicKey>,
    /// The signed registration, a compact JWS.
    pub record: Arc<str>,
}

/// Whether a registration is signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// The registration is not signed.
    #[default]
    Unsigned,
    /// The registration is signed, and locks the name.
    Signed(Signature),
    /// The operator ignores signatures, and also the locks that earlier signatures created.
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
