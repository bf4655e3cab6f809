//! The contract of a store.

use std::fmt;

use async_trait::async_trait;
use aurora_discovery_protocol::{Archetype, PeerId, PublicKey, Registration, Subject, Timestamp, Ttl};

use crate::{
    Changes, Claim, ExportPage, Held, Holder, Import, Mailboxes, Page, PeerState, Position, Query,
    Replacement, Signing, StoreMetric, TokenHash,
};

/// Keeps registrations and their leases.
///
/// # What a store keeps for each peer
/// A store keeps the registration, the lease, the holder, and the times at which the peer
/// registered and was last seen. `expires_at` alone decides whether the peer is live. A peer is
/// *live* while `now < expires_at`, *dormant* from then until [`Standing::known_until`], and
/// *unknown* otherwise. A store may delete an unknown peer later, but no method may show the
/// difference: every method decides by `now`.
///
/// For a peer that signed, a store also keeps a [`SignedPeer`]. When such a peer deregisters, its
/// lock stays until [`Standing::known_until`], as a *tombstone*: the peer is unknown, but counts
/// against the bounds of its source and of all peers.
///
/// [`Standing::known_until`]: crate::Standing::known_until
/// [`SignedPeer`]: crate::SignedPeer
///
/// # Time
/// `now` comes from the caller. It may step backwards, as clocks do. A store must not fail or lose
/// data because of that, and a renewal with an older `now` never shortens a lease.
///
/// # Atomicity and order
/// Each method is atomic for each peer. Concurrent callers observe one order of `put`, `renew` and
/// `remove` for a `peer_id`. If two clients with different sources register an unused id at the
/// same time, exactly one of them succeeds. A caller reads its own writes: immediately in the same
/// process, and from other processes within the staleness that the store documents.
///
/// # Durability
/// When `put` or `remove` returns success, the change survives a crash of the process and a power
/// failure, unless the store keeps everything in memory. The effect of `renew` may be lost with the
/// process. If a store cannot receive heartbeats while it is stopped, its next start gives one
/// whole lease to every peer that was live when it stopped. If the future of a call is dropped, or
/// if it returns `Err`, the change may or may not have taken effect, but never in part. A call that
/// returns `Unavailable` because nothing can be written has had no effect.
///
/// # Bounds
/// A store that several processes share may leave out some of the bounds, and documents which. When
/// a bound of `Limits` is reached, `put` rejects newcomers but never members. Before it rejects a
/// newcomer, it deletes dormant peers to make room. A source may have twice `max_peers_per_source`
/// peers in the store, live and dormant. A newcomer beyond that evicts the peer of its source that
/// has been dormant for longest.
///
/// A *member* is a live peer whose holder makes the request, as decided by the claim in the
/// request. A member may always keep or reduce what it has. What it adds is checked like a
/// newcomer: another source, another address, more bytes, or an archetype that the store does not
/// have yet.
///
/// No bound refuses a proven renewal or revival. An unproven one may be refused; see
/// [`Renewal::UnprovenLimit`]. If a store is opened with lower bounds than before, it keeps all
/// peers that it has.
///
/// # Cost
/// The cost of `sample`, `enumerate` and `census` depends on what they return, not on the size of
/// the network.
///
/// # Reading
/// A record that cannot be parsed is skipped, counted and logged. No stored data can make a read
/// fail.
///
/// # Failure
/// Expected refusals are variants of the result. `Err` means failure.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Registers a peer. If it is known, the whole registration is replaced and a new lease of
    /// `put.ttl` starts.
    ///
    /// Refused if [`Standing::check_registration`] does not permit it, or if it would exceed a
    /// bound. A caller that presents the current token keeps it, unless the registration is signed.
    /// In all other cases `put.new_token` becomes the token.
    ///
    /// [`Standing::check_registration`]: crate::Standing::check_registration
    async fn put(&self, put: PutRequest, now: Timestamp) -> Result<PutResult, StoreError>;

    /// Renews the lease of a live peer, or revives a dormant peer, for the duration that was
    /// granted at registration. Never creates a peer.
    ///
    /// The lease then ends no earlier than `now + ttl`, and no later than a third of `ttl` after
    /// that. [`Standing::check_renewal`] decides what `claim` proves. A proven renewal stores the
    /// time of the proof when [`Standing::proof_is_due`], and no bound refuses it.
    ///
    /// [`Standing::check_renewal`]: crate::Standing::check_renewal
    /// [`Standing::proof_is_due`]: crate::Standing::proof_is_due
    async fn renew(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Renewal, StoreError>;

    /// Renews the leases of several peers, each as [`Store::renew`] does. `peers` contains no
    /// duplicates. The results are in the order of `peers`, so that the failure of one does not
    /// hide the success of another.
    async fn renew_many(
        &self,
        peers: &[(PeerId, Claim)],
        now: Timestamp,
    ) -> Vec<Result<Renewal, StoreError>> {
        let mut renewals = Vec::with_capacity(peers.len());
        for (peer, claim) in peers {
            renewals.push(self.renew(peer, claim, now).await);
        }
        renewals
    }

    /// Deregisters a peer, live or dormant, if [`Standing::check_removal`] permits it.
    ///
    /// [`Standing::check_removal`]: crate::Standing::check_removal
    async fn remove(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Removal, StoreError>;

    /// Deletes the live and dormant peers of all `subjects`, as decided by [`is_subject`], and the
    /// locks of their names. Tombstones are deleted as well. The names are then free. Returns the
    /// number of deleted peers, without tombstones. The holder rules do not apply, because an
    /// operator makes the request.
    ///
    /// It may read all peers, so that its cost grows with the network.
    ///
    /// [`is_subject`]: crate::is_subject
    async fn evict(&self, subjects: &[Subject], now: Timestamp) -> Result<Evicted, StoreError>;

    /// The keys that lock the names of these peers, in the same order. A name stays locked after
    /// the end of the lease, and after a deregistration, until [`Standing::known_until`].
    ///
    /// [`Standing::known_until`]: crate::Standing::known_until
    async fn locking_keys(
        &self,
        peers: &[PeerId],
        now: Timestamp,
    ) -> Result<Vec<Option<PublicKey>>, StoreError>;

    /// The list of blocks, which is empty at first. It is durable, and the same for all processes
    /// that share the store.
    async fn blocks(&self) -> Result<BlockList, StoreError>;

    /// Replaces the list of blocks by `text`, if its version is still `version`, and gives it
    /// another version. Returns whether the list was replaced. The new list is durable when this
    /// returns. The store does not interpret the text, which has at most 128 KiB.
    async fn replace_blocks(&self, text: &str, version: u64) -> Result<bool, StoreError>;

    /// Lists a uniform random sample of the live peers that match, without repetition. For each
    /// call, every subset of these peers that has the size of the sample is equally likely,
    /// independently of earlier calls and of the archetypes and ages of the peers. A store that
    /// does not read all matching peers need only draw each of them with the same probability: it
    /// may list some pairs of peers together more often than other pairs. If both bounds (`limit`
    /// and `page_bytes`) allow it, all matching peers are listed, in unspecified order, and `total`
    /// is exact.
    ///
    /// A query for several archetypes samples the union of their peers. A store usually keeps one
    /// list per archetype, and a peer with several of the archetypes is in several of these lists.
    /// The store must nevertheless draw it with the same probability as any other peer, and list
    /// and count it once.
    ///
    /// If `query.fill` is set and archetypes are given, and fewer than `limit` peers match, the
    /// list continues with a uniform random sample of the other live peers, up to `limit` and as
    /// far as `page_bytes` allows. `total` counts only the peers that match.
    ///
    /// # Diverse samples
    /// If `query.diverse` is set, half of the list (rounded up) is uniform as above, and the rest
    /// comes from different wide networks ([`Source::wide_network`]) of the peers that match. The
    /// networks are drawn uniformly, and one peer is drawn from each. A network is skipped if all
    /// its matching peers are in the uniform half already. If there are not enough networks, the
    /// rest of the list is drawn uniformly, so that a diverse sample is never shorter than a
    /// uniform one.
    ///
    /// A store that can't draw from the networks of all matching peers draws a uniform sample of
    /// candidates, uses the networks of these, and documents the number of candidates
    /// ([`choose_diverse`](crate::choose_diverse)).
    ///
    /// [`Source::wide_network`]: crate::Source::wide_network
    async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError>;

    /// Lists one page of an enumeration of the live peers that match, from the start or from
    /// `after`.
    ///
    /// Over all pages, each peer that is live and matches from the first page to the last is listed
    /// exactly once, even while other peers come and go. A page may be shorter than its bounds and
    /// even empty; a next position means that more may follow.
    async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError>;

    /// Counts the peers, and the peers of the `archetypes` most frequent archetypes. A store may
    /// return estimates if the network is large.
    async fn census(&self, archetypes: usize, now: Timestamp) -> Result<Census, StoreError>;

    /// Does the store's periodic work, such as ending leases and evicting dormant peers. The owner
    /// of the clock calls it about once a second. The result of no other method depends on it.
    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError>;

    /// Whether the store can keep its guarantees. `Err` gives the reason; reading may still work.
    async fn health(&self) -> Result<(), StoreError>;

    /// Whether the store can be reached, so that requests are worth sending. A store that still
    /// reads and renews is ready, even if it is not healthy.
    async fn ready(&self) -> Result<(), StoreError> {
        self.health().await
    }

    /// Whether every change goes through this process, so that the counters of the process describe
    /// the whole network. This is not the case if several processes share the peers.
    fn sees_every_change(&self) -> bool {
        true
    }

    /// The ratio of live peers, from 0 to 1, that no page has listed during their last lease. It is
    /// an estimate at bounded cost. `None` if maintaining it would make listing peers more
    /// expensive.
    fn undiscovered_ratio(&self, _now: Timestamp) -> Option<f64> {
        None
    }

    /// The number of live peers of one archetype, and whether they come from several sources.
    /// `None` if the store can't determine this at a bounded cost.
    fn archetype_census(&self, _archetype: &Archetype, _now: Timestamp) -> Option<ArchetypeCensus> {
        None
    }

    /// One page of an export of everything that the store keeps: live peers, dormant peers and
    /// tombstones. The page begins at the start or after `after`. A peer that changes during an
    /// export may be missing from it, or be in its earlier state. The [`Store::import`] of another
    /// store takes the exported peers.
    ///
    /// # Errors
    /// The store's failure, or that the store can't export and import peers.
    async fn export(&self, _after: Option<&Position>, _now: Timestamp) -> Result<ExportPage, StoreError> {
        Err(StoreError::cannot_move())
    }

    /// Stores a peer as [`Store::export`] returned it, unless the store knows a peer of this name.
    /// The checks of `put` do not apply. An import is durable and atomic like a `put`.
    ///
    /// # Errors
    /// As for [`Store::export`].
    async fn import(&self, _peer: PeerState, _now: Timestamp) -> Result<Import, StoreError> {
        Err(StoreError::cannot_move())
    }

    /// The metrics that the store reports about its own work.
    fn metrics(&self) -> Vec<StoreMetric> {
        Vec::new()
    }

    /// The store's change log, if it has one.
    fn changes(&self) -> Option<&dyn Changes> {
        None
    }

    /// The mailboxes of the store's peers, if it keeps any.
    fn mailboxes(&self) -> Option<&dyn Mailboxes> {
        None
    }

    /// A secret that is the same in all processes that share the store, so that each process
    /// accepts the nonces of the others. `None` if no other process shares the store.
    ///
    /// # Errors
    /// The store's failure.
    async fn shared_secret(&self) -> Result<Option<[u8; 32]>, StoreError> {
        Ok(None)
    }

    /// Sets the number of milliseconds that the store adds to `last_seen` when it lists a peer.
    /// `now` may come from a clock that leaves out pauses, and that therefore falls behind the wall
    /// clock. Clients compare `last_seen` with the wall clock. A store that is always given the
    /// time of the wall clock need not do anything.
    fn set_time_offset(&self, _millis: i64) {}

    /// Makes everything durable and ends the store's background work. Later calls fail as
    /// unavailable.
    async fn close(&self) -> Result<(), StoreError>;
}

/// A registration to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRequest {
    /// The content of the registration.
    pub registration: Registration,
    /// The granted duration of the lease.
    pub ttl: Ttl,
    /// What the caller presents to prove that it is the holder.
    pub claim: Claim,
    /// Whether only the token may change, renew or end the registration from now on.
    pub token_only: bool,
    /// The token of the peer, unless the caller presents the current one.
    pub new_token: TokenHash,
    /// Whether the registration is signed. If it is, `token_only` is set, and `new_token` always
    /// becomes the token.
    pub signing: Signing,
}

impl PutRequest {
    /// The properties that decide whether it may replace another registration.
    pub fn replacement(&self) -> Replacement<'_> {
        Replacement { claim: &self.claim, token_only: self.token_only, signing: &self.signing }
    }

    /// Whether the token that the caller presents remains the token of the peer. `before` is the
    /// holder of the registration that is replaced.
    pub fn keeps_token_of(&self, before: &Holder) -> bool {
        self.replacement().keeps_token_of(before)
    }
}

impl Replacement<'_> {
    /// Like [`PutRequest::keeps_token_of`].
    pub fn keeps_token_of(&self, before: &Holder) -> bool {
        self.signing.signature().is_none() && self.claim.has_token_of(before)
    }
}

/// The result of a [`PutRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutResult {
    /// The peer is registered.
    Stored {
        /// Whether the current token, which the caller presented, remains valid. Otherwise
        /// `new_token` is valid.
        token_kept: bool,
    },
    /// The caller did not prove to be the holder.
    Held(Held),
    /// The name is locked to this key, which did not sign the registration.
    Locked {
        /// The key.
        key: PublicKey,
    },
    /// The store already has a record of the name, whose sequence number is not lower than that of
    /// the new record.
    Stale {
        /// The sequence number that the store has.
        seq: u64,
    },
    /// A bound is reached, so that the store does not accept the registration.
    Full(ExceededLimit),
}

/// The bound that a registration would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExceededLimit {
    /// `max_peers`.
    Peers,
    /// `max_bytes`.
    Bytes,
    /// `max_peers_per_source`.
    Source,
    /// `max_peers_per_network`.
    Network,
    /// `max_peers_per_site`.
    Site,
    /// `max_peers_per_address`.
    Address,
    /// `max_peers_per_host`.
    Host,
    /// `max_archetypes`.
    Archetypes,
}

impl fmt::Display for ExceededLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peers => "the maximum number of peers is reached",
            Self::Bytes => "the maximum total size of all registrations is reached",
            Self::Source => "the maximum number of peers that registered from this address is reached",
            Self::Network => {
                "the maximum number of peers that registered from this network (/24, or /56 of IPv6) is reached"
            }
            Self::Site => "the maximum number of peers that registered from this IPv6 /48 is reached",
            Self::Host => "the maximum number of peers that publish this address from other addresses is reached",
            Self::Address => "the maximum number of peers that publish this address and port from other addresses is reached",
            Self::Archetypes => "the maximum number of different archetypes is reached",
        })
    }
}

/// The result of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease runs for at least `ttl` from now.
    Renewed {
        /// The duration that was granted at registration.
        ttl: Ttl,
        /// Whether the peer was dormant.
        revived: bool,
        /// When the peer registered.
        registered_at: Timestamp,
    },
    /// The claim does not permit renewing the lease; see [`Store::renew`].
    Held(Held),
    /// The heartbeat proves nothing, and its source already keeps its maximum number of peers alive
    /// by such heartbeats. A store that several processes share need not enforce this limit.
    UnprovenLimit,
    /// The store does not know the peer.
    Unknown,
}

/// The result of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The peer is removed.
    Removed {
        /// Whether it was live. A dormant peer was no longer listed.
        was_live: bool,
    },
    /// The caller did not prove to be the holder.
    Held(Held),
    /// The store does not know the peer.
    Unknown,
}

/// How many peers an operator's eviction deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Live peers.
    pub live: u64,
    /// Dormant peers.
    pub dormant: u64,
}

impl Evicted {
    /// The sum of both counts, live and dormant.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { live: self.live + other.live, dormant: self.dormant + other.dormant }
    }

    /// The number of all evicted peers.
    pub const fn total(self) -> u64 {
        self.live + self.dormant
    }
}

/// The list of blocks, as a store keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockList {
    /// Changes whenever the list is replaced.
    pub version: u64,
    /// The list, which only the registry interprets.
    pub text: String,
}

/// The result of requesting a page of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enumeration {
    /// The page and the position of the next one, or `None` after the last page.
    Page(Page, Option<Position>),
    /// The position was valid once, for example before a restart. The caller must restart the
    /// enumeration.
    Expired,
    /// The position is not from this store.
    Foreign,
}

/// The number of peers in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Live peers.
    pub live: u64,
    /// Dormant peers.
    pub dormant: u64,
    /// The number of different archetypes of live peers.
    pub archetypes: u64,
    /// The most frequent archetypes with their numbers of live peers, in descending order.
    pub by_archetype: Vec<(Archetype, u64)>,
}

/// The live peers of one archetype.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchetypeCensus {
    /// The number of live peers.
    pub peers: u64,
    /// Whether some of them are known to come from different sources. Peers on the service's own
    /// machine count as different sources. It may be `false` although there are several sources, if
    /// almost all peers come from one source.
    pub several_sources: bool,
}

/// The leases that ended and the peers that were evicted since the previous sweep, in this sweep or
/// during other calls. Both are 0 if the store does not notice these events.
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
    /// The store cannot do this now but may later, for example because of a full disk, a throttled
    /// table or a deadline.
    #[error("{reason}")]
    Unavailable {
        /// The reason, for the log and for `/health`.
        reason: String,
        /// How long the caller should wait before it retries, in seconds, at least 1.
        retry_after_seconds: u32,
    },
    /// An unexpected failure.
    #[error("{0}")]
    Internal(String),
}

impl StoreError {
    /// The error of a store that does not implement export and import.
    fn cannot_move() -> Self {
        Self::Internal("this store can neither export nor import peers".to_owned())
    }
}
