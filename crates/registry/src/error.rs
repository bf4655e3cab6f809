//! Why the registry does not do what it is asked for.

use aurora_protocol::{Timestamp, Ttl};

use crate::{Shortage, StoreError};

/// A refusal or a failure. What the caller is told of it, and with which status, is the outer layer's to say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Somebody else holds the peer's lease.
    #[error("the peer is held by somebody else until {until}")]
    NotHolder {
        /// When the lease ends, if it is not renewed.
        until: Timestamp,
    },
    /// The registry has nothing of the peer.
    #[error("the peer is not registered")]
    NotRegistered,
    /// The lease asked for lies outside the operator's bounds.
    #[error("the lease must last from {} to {} seconds", .min.as_secs(), .max.as_secs())]
    TtlOutOfBounds {
        /// The shortest lease.
        min: Ttl,
        /// The longest lease.
        max: Ttl,
    },
    /// There is no room for a newcomer.
    #[error("the registry is full: {0}")]
    Full(Shortage),
    /// The cursor was not made for this query.
    #[error("the cursor was not made for this query")]
    InvalidCursor,
    /// The cursor was good once.
    #[error("the cursor has expired")]
    CursorExpired,
    /// The cursor of changes was not made for this query.
    #[error("the cursor of changes was not made for this query")]
    InvalidSince,
    /// What came behind the cursor is not remembered any more.
    #[error("the cursor of changes has expired")]
    SinceExpired,
    /// The store has no memory of changes.
    #[error("the store does not remember changes")]
    NotRemembered,
    /// The store could not do its work.
    #[error(transparent)]
    Store(#[from] StoreError),
}
