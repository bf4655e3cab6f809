//! The registry: applies the rules of the API to requests, and calls the store.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use aurora_discovery_protocol::{
    DiscoverRequest, Fill, HeartbeatEntries, HeartbeatEntry, LeaseToken, Order, PageInfo, PeerId, PeerList,
    PublicKey, RegisterRequest, Registration, Subject, Timestamp, Ttl,
};

use crate::nonce::Nonces;
use crate::operator::BlockCopy;
use crate::{
    Claim, Cursor, Enumeration, Error, Held, InvalidLimits, Limits, Page, PutRequest, PutResult, Query,
    Removal, Renewal, Signing, Source, Store, StoreError, TokenHash, Total, WebOrigin, Writes,
};

/// A registry of peers: the rules of the API on top of any store.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    limits: Limits,
    /// The number of milliseconds that is added to a time when a response contains it.
    time_offset: Arc<AtomicI64>,
    pub(crate) nonces: Nonces,
    pub(crate) blocks: Arc<BlockCopy>,
    random_below: RandomBelow,
}

/// Draws a uniform random number below its argument.
type RandomBelow = Arc<dyn Fn(u32) -> u32 + Send + Sync>;

/// The sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The source address of the request.
    pub address: IpAddr,
    /// The web page that sent the request, if one did.
    pub page: WebOrigin,
}

/// The result of a successful registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The registered peer.
    pub peer_id: PeerId,
    /// The lease.
    pub lease: GrantedLease,
    /// The lease token. A client that presents it is recognized as the holder from any address.
    /// `None` if the client of a signed registration chose the token.
    pub lease_token: Option<LeaseToken>,
    /// The key that the name is locked to, if the registration is signed.
    pub signed_by: Option<PublicKey>,
    /// Whether the peer has a mailbox.
    pub has_mailbox: bool,
}

/// The result of acquiring or renewing a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantedLease {
    /// The time at which the lease ends if no request renews or ends it before. A pause of the
    /// service can make it end later.
    pub ttl_expires: Timestamp,
    /// The duration of the lease.
    pub ttl: Ttl,
    /// The time after which the service expects the next heartbeat, in seconds.
    pub heartbeat_interval_seconds: u32,
    /// Whether the heartbeat revived a dormant peer.
    pub revived: bool,
}

/// The result of a discover request.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovered {
    /// The peers.
    pub peers: PeerList,
    /// Data about the list.
    pub info: PageInfo,
}

impl Registry {
    /// Creates a registry over `store`, which must have been opened with the same limits.
    ///
    /// # Errors
    /// [`InvalidLimits`] if the limits contradict each other.
    pub fn new(store: Arc<dyn Store>, limits: Limits) -> Result<Self, InvalidLimits> {
        limits.check()?;
        Ok(Self {
            store,
            limits,
            time_offset: Arc::default(),
            nonces: Nonces::default(),
            blocks: Arc::default(),
            random_below: Arc::new(|below| fastrand::u32(..below)),
        })
    }

    /// Replaces the source of randomness, for tests. `random_below` returns a number below its
    /// argument, which is at least 1.
    #[must_use]
    pub fn with_random(self, random_below: impl Fn(u32) -> u32 + Send + Sync + 'static) -> Self {
        Self { random_below: Arc::new(random_below), ..self }
    }

    /// The limits of the registry.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The store. Its methods that involve no rule, such as [`Store::census`], [`Store::sweep`] and
    /// [`Store::health`], are called directly.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Sets the number of milliseconds that is added to a time when a response contains it; see
    /// [`Store::set_time_offset`].
    pub fn set_time_offset(&self, millis: i64) {
        self.time_offset.store(millis, Relaxed);
        self.store.set_time_offset(millis);
    }

    /// The time as responses contain it: with the offset added.
    pub fn shown(&self, time: Timestamp) -> Timestamp {
        time.shifted_by_millis(self.time_offset.load(Relaxed))
    }

    /// Registers a peer. The peer is listed with the address of the caller if the request contains
    /// no address, or if the operator lists only the addresses of callers.
    ///
    /// # Errors
    /// [`Error::SignatureRequired`], [`Error::NameLocked`], [`Error::TtlOutOfBounds`],
    /// [`Error::TooManyArchetypes`], [`Error::SourceIsLinkLocal`], [`Error::AddressNotPublic`],
    /// [`Error::NotHolder`], [`Error::Blocked`], [`Error::Full`], or the store's failure. Unless
    /// the store failed, the new registration is not stored.
    pub async fn register(
        &self,
        mut request: RegisterRequest,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Registered, Error> {
        let signing = self.unsigned(&request.peer_id)?;
        let new_token = random_token()?;
        let token = request.lease_token.take();
        let claim = self.claim(caller, token.as_ref());
        let put = self.put_request(request, claim, TokenHash::of(&new_token), signing, caller)?;
        let (registered, token_kept) = self.store_registration(put, now).await?;
        // The store has only the hash of the token. If the current token remains valid, the
        // response therefore repeats the token from the request.
        let lease_token = if token_kept { token.unwrap_or(new_token) } else { new_token };
        Ok(Registered { lease_token: Some(lease_token), ..registered })
    }

    /// Builds the registration to store. Checks every rule that does not depend on the contents of
    /// the store.
    pub(crate) fn put_request(
        &self,
        request: RegisterRequest,
        claim: Claim,
        new_token: TokenHash,
        signing: Signing,
        caller: &Caller,
    ) -> Result<PutRequest, Error> {
        let ttl = self.granted_ttl(request.ttl)?;
        let max = self.limits.max_archetypes_per_peer;
        if request.archetypes.as_slice().len() > max as usize {
            return Err(Error::TooManyArchetypes { max });
        }
        let address = self.limits.addresses.address(request.address, caller.address)?;
        let registration = Registration {
            peer_id: request.peer_id,
            address,
            port: request.port,
            archetypes: request.archetypes,
            metadata: request.metadata,
        };
        Ok(PutRequest { registration, ttl, claim, token_only: request.token_only, new_token, signing })
    }

    /// Stores a registration. Returns it without a token, and whether the token that the caller
    /// presented remains valid.
    pub(crate) async fn store_registration(
        &self,
        put: PutRequest,
        now: Timestamp,
    ) -> Result<(Registered, bool), Error> {
        let (peer_id, ttl) = (put.registration.peer_id.clone(), put.ttl);
        let signed_by = put.signing.signature().map(|signature| signature.key);
        let source = put.claim.source;
        self.check_block(&peer_id, signed_by.as_ref(), source, now).await?;
        match self.store.put(put, now).await? {
            PutResult::Stored { token_kept } => {
                // While the store was storing this peer, an operator may have blocked it. The
                // deletion of the blocked peers may have missed this peer, so it is deleted now.
                if let Err(blocked) = self.check_known_block(&peer_id, signed_by.as_ref(), source, now) {
                    self.evict(&Subject::Peer(peer_id), now).await?;
                    return Err(blocked);
                }
                let heartbeat_interval_seconds = self.limits.heartbeat_interval_seconds(ttl);
                let lease = GrantedLease {
                    ttl_expires: self.shown(now + ttl),
                    ttl,
                    heartbeat_interval_seconds,
                    revived: false,
                };
                let registered =
                    Registered { peer_id, lease, lease_token: None, signed_by, has_mailbox: false };
                Ok((registered, token_kept))
            }
            PutResult::Held(held) => Err(self.not_holder(held)),
            PutResult::Locked { key } => Err(Error::NameLocked(key)),
            PutResult::Stale { seq } => Err(Error::StaleRecord { seq }),
            PutResult::Full(shortage) => Err(Error::Full(shortage)),
        }
    }

    /// Renews a peer's lease, or revives a dormant peer.
    ///
    /// # Errors
    /// [`Error::NotRegistered`] if the registry does not know the peer, [`Error::NotHolder`] if the
    /// token is wrong or missing where it is needed, [`Error::TooManyUnproven`],
    /// [`Error::Blocked`], or the store's failure.
    pub async fn heartbeat(
        &self,
        peer_id: &PeerId,
        token: Option<&LeaseToken>,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<GrantedLease, Error> {
        let claim = self.claim(caller, token);
        self.check_block_of_known(peer_id, claim.source, now).await?;
        self.granted_lease(self.store.renew(peer_id, &claim, now).await, now)
    }

    /// Renews the leases of several peers. The results are in the order of `entries`, each as
    /// [`Registry::heartbeat`] would return it.
    pub async fn heartbeats(
        &self,
        entries: &HeartbeatEntries,
        caller: &Caller,
        now: Timestamp,
    ) -> Vec<Result<GrantedLease, Error>> {
        let claim = |entry: &HeartbeatEntry| self.claim(caller, entry.lease_token.as_ref());
        let peers: Vec<_> =
            entries.as_slice().iter().map(|entry| (entry.peer_id.clone(), claim(entry))).collect();
        let blocked = self.check_blocks_of_known(&peers, now).await;
        let may_renew = |refusal: &Option<Error>| refusal.is_none();
        // Usually no peer is blocked, and the list is passed on without copying it.
        let permitted: Vec<_> = if blocked.iter().all(may_renew) {
            peers
        } else {
            let with_refusals = peers.into_iter().zip(&blocked);
            with_refusals.filter(|(_, refusal)| may_renew(refusal)).map(|(peer, _)| peer).collect()
        };
        let renewals = self.store.renew_many(&permitted, now).await;
        let mut leases = renewals.into_iter().map(|renewal| self.granted_lease(renewal, now));
        let result = |refusal: Option<Error>| match refusal {
            Some(refusal) => Err(refusal),
            // The store returns one renewal for each peer in `permitted`, so there is always a next
            // one.
            None => leases.next().unwrap_or(Err(Error::NotRegistered)),
        };
        blocked.into_iter().map(result).collect()
    }

    /// Deregisters a peer. Returns whether it was live.
    ///
    /// # Errors
    /// [`Error::NotHolder`], [`Error::NotRegistered`], [`Error::Blocked`], or the store's failure.
    pub async fn deregister(
        &self,
        peer_id: &PeerId,
        token: Option<&LeaseToken>,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let claim = self.claim(caller, token);
        self.check_block_of_known(peer_id, claim.source, now).await?;
        match self.store.remove(peer_id, &claim, now).await? {
            Removal::Removed { was_live } => Ok(was_live),
            Removal::Held(held) => Err(self.not_holder(held)),
            Removal::Unknown => Err(Error::NotRegistered),
        }
    }

    /// Lists live peers: a uniform or diverse random sample, or a page of an enumeration.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`], [`Error::CursorExpired`], or the store's failure.
    pub async fn discover(&self, request: DiscoverRequest, now: Timestamp) -> Result<Discovered, Error> {
        self.discover_beside(Writes::Renewals(0), request, now).await
    }

    /// Like [`Registry::discover`], for a page in the response to a request that also makes these
    /// writes; see [`Limits::page_bytes_beside`].
    ///
    /// # Errors
    /// As [`Registry::discover`].
    pub async fn discover_beside(
        &self,
        writes: Writes,
        request: DiscoverRequest,
        now: Timestamp,
    ) -> Result<Discovered, Error> {
        let DiscoverRequest { archetypes, limit, exclude, order, cursor, view, fill } = request;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let fill = fill == Some(Fill::Any);
        let (page_bytes, diverse) = (self.limits.page_bytes_beside(writes), order == Order::Diverse);
        let query = Query { archetypes, exclude, view, limit, page_bytes, diverse, fill };
        match order {
            Order::Sample | Order::Diverse => Ok(discovered(self.store.sample(&query, now).await?, None)),
            Order::All => self.enumerate(&query, cursor.as_deref(), now).await,
        }
    }

    async fn enumerate(
        &self,
        query: &Query,
        cursor: Option<&str>,
        now: Timestamp,
    ) -> Result<Discovered, Error> {
        let position = cursor
            .map(|text| Cursor::decode(text, &query.archetypes).ok_or(Error::InvalidCursor))
            .transpose()?;
        match self.store.enumerate(query, position.as_ref(), now).await? {
            Enumeration::Page(page, next) => {
                let next_cursor = next.map(|position| Cursor::encode(&position, &query.archetypes));
                Ok(discovered(page, next_cursor))
            }
            Enumeration::Expired => Err(Error::CursorExpired),
            Enumeration::Foreign => Err(Error::InvalidCursor),
        }
    }

    fn granted_ttl(&self, requested: Option<Ttl>) -> Result<Ttl, Error> {
        let Limits { ttl_min: min, ttl_max: max, ttl_default, .. } = self.limits;
        let ttl = requested.unwrap_or(ttl_default);
        if (min..=max).contains(&ttl) { Ok(ttl) } else { Err(Error::TtlOutOfBounds { min, max }) }
    }

    fn not_holder(&self, Held { until }: Held) -> Error {
        Error::NotHolder(Held { until: self.shown(until) })
    }

    pub(crate) fn claim(&self, caller: &Caller, token: Option<&LeaseToken>) -> Claim {
        Claim {
            source: Source::of(caller.address),
            page: caller.page,
            token: token.map(TokenHash::of),
            holder_rule_disabled: !self.limits.holder_rule,
        }
    }

    fn granted_lease(
        &self,
        renewal: Result<Renewal, StoreError>,
        now: Timestamp,
    ) -> Result<GrantedLease, Error> {
        match renewal? {
            Renewal::Renewed { ttl, revived, registered_at } => {
                // A revived peer missed its heartbeats recently, so it does not count as steady,
                // however long ago it registered.
                let steady = !revived && Limits::is_steady(ttl, registered_at, now);
                let cadence = self.limits.heartbeat_cadence(ttl, steady);
                let spread = cadence.end() - cadence.start();
                let heartbeat_interval_seconds =
                    cadence.start() + (self.random_below)(spread.saturating_add(1));
                let ttl_expires = self.shown(now + ttl);
                Ok(GrantedLease { ttl_expires, ttl, heartbeat_interval_seconds, revived })
            }
            Renewal::Held(held) => Err(self.not_holder(held)),
            Renewal::UnprovenLimit => Err(Error::TooManyUnproven),
            Renewal::Unknown => Err(Error::NotRegistered),
        }
    }
}

fn discovered(Page { peers, total }: Page, next_cursor: Option<String>) -> Discovered {
    let info = PageInfo {
        count: peers.len(),
        total: total.value(),
        total_is_estimate: matches!(total, Total::Estimate(_)),
        next_cursor,
    };
    Discovered { peers, info }
}

fn random_token() -> Result<LeaseToken, StoreError> {
    let mut bytes = [0; LeaseToken::RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        StoreError::Internal(format!("the operating system returned no random bytes: {error}"))
    })?;
    Ok(LeaseToken::from_random(bytes))
}
