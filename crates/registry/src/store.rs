//! The contract of a store.

use std::fmt;

use async_trait::async_trait;
use aurora_protocol::{Archetype, PeerId, Registration, Timestamp, Ttl};

use crate::{Changes, Claim, Figure, Page, Position, Query, TokenHash};

/// Keeps registrations and their leases.
///
/// # What a store holds of a peer
/// A registration, its lease (`expires_at`, the sole truth about life), the holder, and when it registered and was last seen.
/// A peer is *live* while `now < expires_at`; *dormant* from then until `expires_at + revival_window`; *unknown* otherwise.
/// What the store has still to delete makes no difference: every verb judges by `now`.
///
/// # Time
/// `now` comes from the caller and does not run backwards by more than clocks do: a store never fails or loses anything because
/// it did, and a renewal with an older `now` never shortens a lease.
///
/// # Atomicity and order
/// Each verb is atomic for its peer: two callers of one `peer_id` see one order of `put`, `renew` and `remove`, and of two strangers
/// that register one free id at once, one wins. What a caller was answered, its next call sees (read your own writes), in this
/// process at once, from other processes within the staleness that the store states.
///
/// # Durability
/// When `put` and `remove` return success, the change survives a crash of the process and a loss of power. `renew` may be lost with
/// the process; a store that was away gives every peer that was live when it stopped one whole lease from its start. A call
/// whose future is dropped, or that returns `Err`, may or may not have taken effect, but never in part; one that says
/// `Unavailable` because nothing can be written has not.
///
/// # Bounds
/// `put` refuses newcomers, never members, when the bounds of `Limits` are reached, and drops dormant peers before it refuses: a
/// *member* is a live peer whose claim admits the caller. A member whose new registration publishes another address is a newcomer
/// at that address. `sample`, `enumerate` and `census` cost what they return, not what the network holds.
///
/// # Reading
/// What can't be parsed back is skipped, counted and logged: nothing stored can break a read.
///
/// # Failure
/// Expected refusals are variants of the result. `Err` is for failure.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Registers a peer, or registers it anew: the whole registration is replaced, and a new lease of `put.ttl` begins.
    ///
    /// Refused as [`Placement::Held`] while the peer is live and `put.claim` doesn't admit the caller. A caller that proves itself
    /// by the present token keeps it; otherwise `put.new_token` takes its place.
    async fn put(&self, put: Put, now: Timestamp) -> Result<Placement, StoreError>;

    /// Renews the lease of a live peer for the duration it was granted, or revives a dormant peer for as long. Never makes one.
    ///
    /// The lease then lasts at least until `now + ttl`, and at most a third of `ttl` longer.
    async fn renew(&self, peer: &PeerId, now: Timestamp) -> Result<Renewal, StoreError>;

    /// Renews the leases of many peers, none named twice: each as [`Store::renew`] does, and answered for itself in the order of
    /// `peers`, so that one's failure hides no other's success.
    async fn renew_many(&self, peers: &[PeerId], now: Timestamp) -> Vec<Result<Renewal, StoreError>> {
        let mut renewals = Vec::with_capacity(peers.len());
        for peer in peers {
            renewals.push(self.renew(peer, now).await);
        }
        renewals
    }

    /// Deregisters a peer: live, if `claim` admits the caller, or dormant, whoever asks.
    async fn remove(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Removal, StoreError>;

    /// A uniform random sample, without repetition, of the live peers that match: every subset of the size is equally likely, on
    /// every call anew, whatever archetypes or ages its peers have. All of them, in no order to rely on, where both bounds
    /// (`limit` and `page_bytes`) hold all; then `total` is exact.
    ///
    /// Where `query.fill` asks for it and archetypes are named, what is missing of `limit` behind all that match is made up by a uniform
    /// random sample of the live peers that don't, as far as `page_bytes` holds them. `total` counts those that match.
    async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError>;

    /// One page of an enumeration of the live peers that match, from its start or from `after`.
    ///
    /// Over all its pages, each peer that was live and matching from the first page to the last is listed exactly once, whatever else
    /// comes and goes. A page may be shorter than its bounds, even empty, while a next position says that more may follow.
    async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError>;

    /// How many peers there are, and of the `archetypes` most frequent archetypes how many each.
    async fn census(&self, archetypes: usize, now: Timestamp) -> Result<Census, StoreError>;

    /// Ends leases and evicts dormant peers that are due. Whoever owns the clock calls it about once a second; no verb's answer
    /// depends on it.
    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError>;

    /// Whether the store can keep what it would promise. `Err` says why not; reading may still work.
    async fn health(&self) -> Result<(), StoreError>;

    /// Whether whatever changes goes through this process, so that what the process counts is what the network does. Not so where
    /// several processes share the peers.
    fn sees_every_change(&self) -> bool {
        true
    }

    /// Which share of the live peers, from 0 to 1, no list has named during their last lease: an estimate, for a bounded cost. `None` where
    /// knowing it would cost the lists something.
    fn undiscovered_ratio(&self, _now: Timestamp) -> Option<f64> {
        None
    }

    /// What the store counts about its own work.
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }

    /// Its memory of what changed, if it has one.
    fn changes(&self) -> Option<&dyn Changes> {
        None
    }

    /// Makes everything durable and ends the store's background work. Calls that come after it fail as unavailable.
    async fn close(&self) -> Result<(), StoreError>;
}

/// A registration to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// What the peer publishes.
    pub registration: Registration,
    /// The lease it is granted.
    pub ttl: Ttl,
    /// Who asks.
    pub claim: Claim,
    /// The token that the peer gets, unless it proves that it has the present one.
    pub new_token: TokenHash,
}

/// What became of a [`Put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// It is registered.
    Placed {
        /// Whether the token that the caller presented goes on; otherwise `new_token` holds.
        token_kept: bool,
    },
    /// Somebody else holds the peer.
    Held {
        /// When the lease ends, if it isn't renewed.
        until: Timestamp,
    },
    /// There is no room for a newcomer.
    Full(Shortage),
}

/// Which bound a newcomer ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortage {
    /// `max_peers`.
    Peers,
    /// `max_bytes`.
    Bytes,
    /// `max_peers_per_source`.
    Source,
    /// `max_peers_per_address`.
    Address,
    /// `max_archetypes`.
    Archetypes,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peers => "it holds as many peers as it may",
            Self::Bytes => "its registrations take as many bytes as they may",
            Self::Source => "as many peers as may registered from this address",
            Self::Address => "as many peers as may publish this address and port without coming from it",
            Self::Archetypes => "its peers carry as many different archetypes as they may",
        })
    }
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease runs for `ttl` from now.
    Renewed {
        /// The duration that was granted at registration.
        ttl: Ttl,
        /// Whether the peer was dormant.
        revived: bool,
        /// When its registration was made.
        registered_at: Timestamp,
    },
    /// The store has nothing of the peer.
    Unknown,
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The peer is gone.
    Removed {
        /// Whether it was live until then; a dormant one had left the lists before.
        was_live: bool,
    },
    /// Somebody else holds it.
    Held {
        /// When the lease ends, if it isn't renewed.
        until: Timestamp,
    },
    /// The store has nothing of the peer.
    Unknown,
}

/// What became of the request for a page of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enumeration {
    /// The page, and where the next one begins; `None` after the last.
    Page(Page, Option<Position>),
    /// The position was good once (before a restart, say): the caller starts anew.
    Expired,
    /// No position of this store.
    Foreign,
}

/// The store's peers, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Live peers.
    pub live: u64,
    /// Dormant peers.
    pub dormant: u64,
    /// Different archetypes that live peers carry.
    pub archetypes: u64,
    /// The most frequent archetypes and how many live peers carry each, the most frequent first.
    pub by_archetype: Vec<(Archetype, u64)>,
}

/// What ended since the sweep before: by the sweep itself, or on the way of another call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Leases that ended.
    pub expired: u64,
    /// Dormant peers that were deleted.
    pub evicted: u64,
}

/// A failure of the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It can't do this now, but may later: a full disk, a throttled table, a deadline.
    #[error("{reason}")]
    Unavailable {
        /// What is wrong, for the log and for `/health`.
        reason: String,
        /// When to try again, in seconds, at least 1.
        retry_after_seconds: u32,
    },
    /// It broke in a way that nobody planned for.
    #[error("{0}")]
    Internal(String),
}
