//! Errors of the registry.

use aurora_discovery_protocol::{PublicKey, Refusal, Timestamp, Ttl};

use crate::{ExceededLimit, Held, StoreError};

/// A refusal or a failure. The caller of the registry decides the status and the text of the
/// response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller did not prove to be the holder of the registration.
    #[error("the registration belongs to another client until {}", .0.until)]
    NotHolder(Held),
    /// The name is locked to this key.
    #[error("the name is locked to {0}")]
    NameLocked(PublicKey),
    /// The registry already has a signed registration of the peer, whose sequence number is not
    /// lower than that of the new one.
    #[error("the registry has record {seq} of the peer")]
    StaleRecord {
        /// The sequence number that the registry has.
        seq: u64,
    },
    /// The signed registration does not prove that it was made recently. Its time is too far from
    /// the time of the service's clock, its nonce is not valid, or its sequence number is too far
    /// ahead of that clock.
    #[error("the signed registration is not recent")]
    StaleSignature {
        /// The time of the service.
        timestamp: Timestamp,
        /// A nonce that the client may sign instead of the time.
        nonce: String,
    },
    /// The registration is not signed, and the operator requires signatures.
    #[error("the registration is not signed")]
    SignatureRequired,
    /// The signed registration is for another service.
    #[error("the signed registration is for another service")]
    OtherAudience,
    /// The signature or the content of the signed registration is not valid, or a message names
    /// another key than that of its sender's registration.
    #[error(transparent)]
    InvalidRecord(Refusal),
    /// The source of the request already keeps its maximum number of peers alive by unproven
    /// heartbeats.
    #[error("too many peers are kept alive from this address without proof")]
    TooManyUnproven,
    /// The peer would be listed with the source address of the request, which is link-local, so
    /// that no other network can reach it.
    #[error("the request came from a link-local address")]
    SourceIsLinkLocal,
    /// The address of the registration is one that no host in another network can reach, and the
    /// operator lists only public addresses.
    #[error("the address is not public")]
    AddressNotPublic,
    /// The registration has more archetypes than the operator allows.
    #[error("a peer may have at most {max} archetypes")]
    TooManyArchetypes {
        /// The maximum number of archetypes of one peer.
        max: u32,
    },
    /// An operator has blocked the peer, the key of its registration, or the source of the request.
    #[error("the peer, its key or its address is blocked until {until}")]
    Blocked {
        /// When the block ends.
        until: Timestamp,
    },
    /// The subject is not blocked.
    #[error("the subject is not blocked")]
    NotBlocked,
    /// The new block would make the list of blocks larger than its maximum size.
    #[error("the list of blocks is full")]
    TooManyBlocks,
    /// The registry does not know the peer, or the peer is dormant and wants to send or receive
    /// messages.
    #[error("the peer is not registered")]
    NotRegistered,
    /// The requested duration is outside the operator's bounds.
    #[error("the duration of the lease must be from {} to {} seconds", .min.as_secs(), .max.as_secs())]
    TtlOutOfBounds {
        /// The minimum duration of a lease.
        min: Ttl,
        /// The maximum duration of a lease.
        max: Ttl,
    },
    /// A bound is reached, so that the registry does not accept the registration.
    #[error("the registry is full: {0}")]
    Full(ExceededLimit),
    /// The cursor was not issued for this query.
    #[error("the cursor was not issued for this query")]
    InvalidCursor,
    /// The cursor was valid once but has expired.
    #[error("the cursor has expired")]
    CursorExpired,
    /// The cursor in the change log was not issued for this query.
    #[error("the cursor in the change log was not issued for this query")]
    InvalidSince,
    /// The change log no longer contains the changes after the cursor.
    #[error("the change log no longer contains the changes after the cursor")]
    SinceExpired,
    /// The store has no change log.
    #[error("the store has no change log")]
    NoChangeLog,
    /// The receiver of a message is not live.
    #[error("the receiver of the message is not live")]
    ReceiverNotLive,
    /// The peer has no mailbox: its registration is not signed, or does not ask for one.
    #[error("the peer has no mailbox")]
    NoMailbox {
        /// Whether the peer is the receiver of a message, and not the caller.
        is_receiver: bool,
    },
    /// The time in the message is too far from the time of the service's clock.
    #[error("the message was not signed recently")]
    StaleMessage {
        /// The time of the service.
        timestamp: Timestamp,
    },
    /// The sender has sent the receiver a message of the same session before.
    #[error("the receiver was sent this message before")]
    RepeatedMessage,
    /// The mailbox of the receiver has no room for the message.
    #[error("the mailbox is full")]
    MailboxFull,
    /// The source of the sender has its maximum of waiting messages in the receiver's mailbox, or
    /// in all mailboxes together.
    #[error("too many messages from this address wait for their receivers")]
    TooMuchMail,
    /// The store keeps no messages.
    #[error("the store has no mailboxes")]
    NoMailboxes,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
