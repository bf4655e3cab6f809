//! A store that is simple enough to verify by reading, and the faults that can be built into it.

mod admission;
mod fault;
mod mail;
mod proof;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aurora_discovery_protocol::{
    Archetype, FullView, PeerId, PeerJson, PeerList, PublicKey, Subject as Evictee, Timestamp, View,
};
use aurora_discovery_registry::conformance::{Guarantees, Restart, Scale, Subject};
use aurora_discovery_registry::{
    BlockList, Census, Claim, Enumeration, Evicted, Holder, Limits, Lock, Mailbox, Mailboxes, Page, Position,
    Proof, PutRequest, PutResult, Query, Removal, Renewal, SignedPeer, Source, Standing, Store, StoreError,
    Swept, Total, choose_diverse, is_subject,
};
use tokio::sync::Barrier;
use tokio::time::timeout;

pub(crate) use fault::Fault;

/// How long a put with the fault `ChecksThenActs` waits for a second put between its check and its
/// change. It is longer than any machine needs to start two concurrent calls.
const CONCURRENT_PUT_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Entry {
    put: PutRequest,
    holder: Holder,
    registered: Timestamp,
    last_seen: Timestamp,
    expires: Timestamp,
    proven_at: Timestamp,
    /// The source whose unproven heartbeats keep the peer alive.
    kept_by: Option<Source>,
    signed: Option<SignedPeer>,
    old_archetypes: Vec<Archetype>,
}

impl Entry {
    fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires
    }

    fn standing(&self) -> Standing {
        Standing {
            holder: self.holder,
            proven_at: self.proven_at,
            ttl: self.put.ttl,
            expires_at: self.expires,
            lock: self.signed.as_ref().map(|signed| signed.lock),
        }
    }
}

type Peers = BTreeMap<PeerId, Entry>;

/// Peers in a map, optionally with a fault. The content survives closing, as if it were on disk.
#[derive(Clone)]
pub(crate) struct Reference {
    fault: Option<Fault>,
    limits: Limits,
    peers: Arc<Mutex<Peers>>,
    closed: Arc<Mutex<bool>>,
    blocks: Arc<Mutex<BlockList>>,
    mailboxes: Arc<Mutex<BTreeMap<PeerId, Mailbox>>>,
    /// Whether it claims that other processes share the peers.
    shared: bool,
    /// Two puts with the fault `ChecksThenActs` wait here for each other after their checks.
    checked: Arc<Barrier>,
}

impl Reference {
    pub(crate) fn correct() -> Self {
        Self {
            fault: None,
            limits: Limits::default(),
            peers: Arc::default(),
            closed: Arc::default(),
            blocks: Arc::default(),
            mailboxes: Arc::default(),
            shared: false,
            checked: Arc::new(Barrier::new(2)),
        }
    }

    pub(crate) fn with(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::correct() }
    }

    /// The same store, claiming that other processes share its peers. Clones have the same peers.
    pub(crate) fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// The standing of a peer. `None` if the peer was deleted.
    pub(crate) fn standing_of(&self, id: &PeerId) -> Option<Standing> {
        self.peers().get(id).map(Entry::standing)
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peers, after removing those that have become unknown.
    fn known(&self, now: Timestamp) -> Result<MutexGuard<'_, Peers>, StoreError> {
        if *self.closed.lock().unwrap() && !self.is(Fault::WorksWhenClosed) {
            return Err(StoreError::Unavailable { reason: "closed".to_owned(), retry_after_seconds: 1 });
        }
        let window = self.limits.revival_window_millis;
        let mut peers = self.peers();
        if !self.is(Fault::RevivesForever) {
            peers.retain(|_, entry| now < entry.standing().known_until(window));
        }
        if self.is(Fault::LeaseEndEvicts) {
            self.evict_excess_dormant(&mut peers, now);
        }
        Ok(peers)
    }

    fn key(&self, id: &PeerId) -> PeerId {
        let folded = if self.is(Fault::IgnoresCase) { id.as_str().to_lowercase() } else { id.to_string() };
        PeerId::parse(&folded).unwrap()
    }

    fn lease(&self, put: &PutRequest, now: Timestamp) -> Timestamp {
        match self.fault {
            Some(Fault::NeverExpires) => now.plus_millis(u64::MAX / 2),
            Some(Fault::ExpiresEarly) => now.plus_millis(put.ttl.as_millis() - 1),
            // With a longer lease, some heartbeats need not write the lease.
            Some(Fault::StoresProofsWithLeases) => now.plus_millis(put.ttl.as_millis() * 4 / 3),
            _ => now + put.ttl,
        }
    }

    fn put_entry(&self, peers: &mut Peers, put: PutRequest, now: Timestamp) -> PutResult {
        let id = self.key(&put.registration.peer_id);
        let lease = self.lease(&put, now);
        let known = peers.get_mut(&id);
        let mut token_kept = false;
        let mut old_archetypes = Vec::new();
        if let Some(entry) = known {
            if let Err(refusal) = self.check_registration(entry, &put, now) {
                if self.is(Fault::RefusedPutRenews) {
                    entry.expires = lease;
                }
                return refusal;
            }
            token_kept = put.keeps_token_of(&entry.holder) && !self.is(Fault::TokenAlwaysNew);
            token_kept |= self.is(Fault::TokenNeverNew);
            if self.is(Fault::KeepsOldArchetypes) {
                old_archetypes = entry.put.registration.archetypes.as_slice().to_vec();
            }
        }
        if let Some(exceeded_limit) = self.exceeded_limit(peers, &put, now) {
            return PutResult::Full(exceeded_limit);
        }
        let token = peers.get(&id).filter(|_| token_kept).map_or(put.new_token, |entry| entry.holder.token);
        self.make_room(peers, &id, put.claim.source, now);
        let holder = self.holder(&put, token);
        let before = peers.get(&id).map(Entry::standing).filter(|_| !self.is(Fault::ForgetsHowLongHeld));
        let signature = put.signing.signature().filter(|_| !self.is(Fault::KeepsNoSignatures));
        let signed = signature.map(|signature| Standing::sign(before.as_ref(), signature, now));
        let replaced = peers.get(&id).filter(|_| self.is(Fault::RegistrationReleasesNothing));
        let kept_by = replaced.and_then(|entry| entry.kept_by);
        let entry = Entry {
            put,
            holder,
            registered: now,
            last_seen: now,
            expires: lease,
            proven_at: now,
            kept_by,
            signed,
            old_archetypes,
        };
        peers.insert(id, entry);
        PutResult::Stored { token_kept }
    }

    fn matching(&self, peers: &Peers, query: &Query, now: Timestamp) -> Vec<Entry> {
        let carries = |entry: &Entry, wanted: &Archetype| {
            entry.put.registration.archetypes.as_slice().contains(wanted)
                || entry.old_archetypes.contains(wanted)
        };
        let mut found = Vec::new();
        for (id, entry) in peers {
            let carried = query.archetypes.iter().filter(|wanted| carries(entry, wanted)).count();
            let wanted = query.archetypes.is_empty() || carried > 0;
            let excluded = query.exclude.as_ref() == Some(id) && !self.is(Fault::IgnoresExclude);
            let shown = entry.is_live(now) || self.is(Fault::SamplesDormant);
            if wanted && !excluded && shown {
                let copies = if self.is(Fault::FavoursSeveralArchetypes) { carried.max(1) } else { 1 };
                found.extend(std::iter::repeat_n(entry.clone(), copies));
            }
        }
        found
    }

    /// The entries that fit into a page, in order.
    fn page<'e>(&self, entries: impl Iterator<Item = &'e Entry>, query: &Query, now: Timestamp) -> PeerList {
        let mut list = PeerList::default();
        let mut listed = BTreeSet::new();
        for entry in entries.filter(|entry| entry.is_live(now)) {
            let (json, registered_ago) = (self.json(entry), now.millis_since(entry.registered) / 1_000);
            let signed = entry.signed.as_ref().map(|signed| &*signed.record);
            let signed = signed.filter(|_| query.view == View::Full);
            let signed_len = signed.map_or(0, |record| FullView::signed_len(record.len()));
            let fits =
                list.bytes() + 1 + json.encoded().max_listed_len(query.view) + signed_len <= query.page_bytes;
            if list.len() == query.limit || (!fits && !list.is_empty() && !self.is(Fault::IgnoresPageBytes)) {
                break;
            }
            if listed.insert(entry.put.registration.peer_id.clone()) {
                let expires_in = entry.expires.millis_since(now) / 1_000;
                let full = || FullView { expires_in, registered_ago, signed };
                list.push_in_view(query.view, json.encoded(), entry.last_seen, full);
            }
        }
        list
    }

    fn json(&self, entry: &Entry) -> PeerJson {
        let mut registration = entry.put.registration.clone();
        if self.is(Fault::ReserializesMetadata) {
            let parsed: serde_json::Value =
                serde_json::from_str(registration.metadata.as_str()).unwrap_or_default();
            registration.metadata =
                aurora_discovery_protocol::Metadata::parse(&parsed.to_string()).unwrap_or_default();
        }
        PeerJson::new(&registration)
    }
}

#[async_trait]
impl Subject for Reference {
    async fn open(&self, limits: &Limits, now: Timestamp) -> Arc<dyn Store> {
        for entry in self.peers().values_mut() {
            if !self.is(Fault::RestartLosesLease) && !entry.standing().is_tombstone() {
                entry.expires = self.lease(&entry.put, now);
            }
            if !self.is(Fault::RestartKeepsProof) {
                entry.proven_at = now;
            }
            if self.is(Fault::RestartUnlocks) {
                entry.signed = None;
            }
            if self.is(Fault::RestartForgetsTokens) {
                entry.holder.token = aurora_discovery_registry::TokenHash::from_bytes([0xee; 16]);
            }
        }
        if self.is(Fault::RestartForgetsBlocks) {
            *self.blocks.lock().unwrap() = BlockList::default();
        }
        *self.closed.lock().unwrap() = false;
        Arc::new(Self { limits: limits.clone(), ..self.clone() })
    }

    fn guarantees(&self) -> Guarantees {
        // If one peer in six has double weight, the statistic of this many draws exceeds the bound
        // by seven of its own standard deviations.
        let scale = Scale { draws: 1_200, ..Scale::default() };
        Guarantees { restart: Restart::LeasesRenewed, scale, ..Guarantees::default() }
    }
}

#[async_trait]
impl Store for Reference {
    async fn put(&self, put: PutRequest, now: Timestamp) -> Result<PutResult, StoreError> {
        if self.is(Fault::ChecksThenActs) {
            let mut seen = self.known(now)?.clone();
            // Sequential calls never meet a second put, so that the fault has no effect on them.
            let _ = timeout(CONCURRENT_PUT_TIMEOUT, self.checked.wait()).await;
            let placement = self.put_entry(&mut seen, put.clone(), now);
            if let (PutResult::Stored { .. }, Some(entry)) =
                (placement, seen.remove(&put.registration.peer_id))
            {
                self.peers().insert(put.registration.peer_id, entry);
            }
            return Ok(placement);
        }
        Ok(self.put_entry(&mut *self.known(now)?, put, now))
    }

    async fn renew(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Renewal, StoreError> {
        let mut peers = self.known(now)?;
        let id = self.key(peer);
        if peers.get(&id).is_some_and(|entry| entry.standing().is_tombstone()) {
            return Ok(Renewal::Unknown);
        }
        let Some(entry) = peers.get(&id) else {
            let created =
                Renewal::Renewed { ttl: self.limits.ttl_default, revived: false, registered_at: now };
            return Ok(if self.is(Fault::HeartbeatCreates) { created } else { Renewal::Unknown });
        };
        let revived = !entry.is_live(now);
        if revived && self.is(Fault::HeartbeatNeverRevives) {
            return Ok(Renewal::Unknown);
        }
        if revived && self.is(Fault::BoundsRevivals) && self.exceeded_limit(&peers, &entry.put, now).is_some()
        {
            return Ok(Renewal::Unknown);
        }
        let proof = match self.check_renewal(entry, claim, now) {
            Ok(proof) => proof,
            Err(held) => {
                if let (true, Some(entry)) = (self.is(Fault::RefusedHeartbeatRenews), peers.get_mut(&id)) {
                    entry.expires = self.lease(&entry.put, now);
                }
                return Ok(Renewal::Held(held));
            }
        };
        let is_bounded = proof == Proof::Unproven || self.is(Fault::EveryHeartbeatIsBounded);
        if is_bounded && self.exceeds_unproven_bound(&peers, &id, claim.source, now) {
            return Ok(Renewal::UnprovenLimit);
        }
        let Some(entry) = peers.get_mut(&id) else { return Ok(Renewal::Unknown) };
        if self.is(Fault::StoresProofsWithLeases) && now + entry.put.ttl <= entry.expires {
            return Ok(Renewal::Renewed { ttl: entry.put.ttl, revived, registered_at: entry.registered });
        }
        self.note_proof(entry, proof, claim, now);
        let lease = self.lease(&entry.put, now);
        let longer = if self.is(Fault::RenewsForLong) { lease + entry.put.ttl } else { lease };
        entry.expires = if self.is(Fault::OlderTimeShortens) { longer } else { longer.max(entry.expires) };
        if !self.is(Fault::LastSeenNeverMoves) {
            entry.last_seen = now;
        }
        Ok(Renewal::Renewed { ttl: entry.put.ttl, revived, registered_at: entry.registered })
    }

    async fn remove(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Removal, StoreError> {
        let mut peers = self.known(now)?;
        let id = self.key(peer);
        match peers.get_mut(&id) {
            None => Ok(Removal::Unknown),
            Some(entry) if entry.standing().is_tombstone() => Ok(Removal::Unknown),
            Some(entry) => {
                if let Err(held) = self.check_removal(entry, claim, now) {
                    return Ok(Removal::Held(held));
                }
                let was_live = entry.is_live(now) || self.is(Fault::DormantRemovedAsLive);
                match entry.signed.take().filter(|_| !self.is(Fault::LeavesNoTombstone)) {
                    Some(signed) => {
                        entry.signed = Some(signed.left(now));
                        entry.expires = entry.expires.min(now);
                    }
                    None => drop(peers.remove(&id)),
                }
                Ok(Removal::Removed { was_live })
            }
        }
    }

    async fn evict(&self, subjects: &[Evictee], now: Timestamp) -> Result<Evicted, StoreError> {
        // Yields once, so that a test can drop the request before the peers are deleted.
        tokio::task::yield_now().await;
        let mut peers = self.known(now)?;
        let mut evicted = Evicted::default();
        peers.retain(|id, entry| {
            let key = entry.signed.as_ref().map(|signed| signed.lock.key);
            let key = key.filter(|_| !self.is(Fault::EvictsNoKeys));
            let is_live = entry.is_live(now);
            let is_kept = !subjects.iter().any(|one| is_subject(one, id, key.as_ref(), entry.holder.source));
            if is_kept || (self.is(Fault::EvictsLiveOnly) && !is_live) {
                return true;
            }
            if self.is(Fault::EvictsFirstOnly) && evicted.total() > 0 {
                return true;
            }
            if !entry.standing().is_tombstone() {
                *(if is_live { &mut evicted.live } else { &mut evicted.dormant }) += 1;
            }
            false
        });
        Ok(evicted)
    }

    async fn locking_keys(
        &self,
        peers: &[PeerId],
        now: Timestamp,
    ) -> Result<Vec<Option<PublicKey>>, StoreError> {
        let known = self.known(now)?;
        let lock = |peer| known.get(peer).and_then(|entry| entry.standing().lock);
        let is_named = |lock: &Lock| !(self.is(Fault::NamesNoLeftKeys) && lock.is_tombstone());
        Ok(peers.iter().map(|peer| lock(peer).filter(is_named).map(|lock| lock.key)).collect())
    }

    async fn blocks(&self) -> Result<BlockList, StoreError> {
        Ok(self.blocks.lock().unwrap().clone())
    }

    async fn replace_blocks(&self, text: &str, version: u64) -> Result<bool, StoreError> {
        let mut blocks = self.blocks.lock().unwrap();
        if blocks.version != version && !self.is(Fault::ReplacesAnyBlocks) {
            return Ok(false);
        }
        *blocks = BlockList { version: version + 1, text: text.to_owned() };
        Ok(true)
    }

    async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        // Without a fault, each peer is in `matching` once, however many of the requested
        // archetypes it carries. Shuffling this union and taking its first entries gives every
        // subset the same probability.
        let mut matching = self.matching(&*self.known(now)?, query, now);
        let distinct: BTreeSet<_> =
            matching.iter().map(|entry| entry.put.registration.peer_id.clone()).collect();
        match self.fault {
            Some(Fault::AlwaysFirstPage) => {}
            Some(Fault::ConsecutivePeers) if !matching.is_empty() => {
                let start = fastrand::usize(..matching.len());
                matching.rotate_left(start);
            }
            _ => fastrand::shuffle(&mut matching),
        }
        if query.diverse && !self.is(Fault::NeverDiverse) {
            let network = |entry: Entry| (entry.put.claim.source.wide_network(), entry);
            let networks = matching.into_iter().map(network);
            let mut candidates: Vec<_> = networks.map(|(network, entry)| (entry, network)).collect();
            if self.is(Fault::OnlyNetworks) {
                let mut seen = BTreeSet::new();
                candidates.retain(|(_, network)| seen.insert(*network));
            }
            matching = choose_diverse(candidates, query.limit, &mut |below| fastrand::u32(..below));
        }
        if self.is(Fault::SamplesDormant) {
            matching.truncate(query.limit);
        }
        if query.fill && !query.archetypes.is_empty() && !self.is(Fault::NeverFills) {
            matching.extend(self.others(&*self.known(now)?, query, now));
        }
        let counted = if self.is(Fault::FillIsCounted) { matching.len() } else { distinct.len() };
        let total = Total::Exact(u64::try_from(counted).unwrap());
        Ok(Page { peers: self.page(matching.iter(), query, now), total })
    }

    async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError> {
        let mut matching = self.matching(&*self.known(now)?, query, now);
        matching.dedup_by_key(|entry| entry.put.registration.peer_id.clone());
        let total = Total::Exact(u64::try_from(matching.len()).unwrap());
        let start = match after {
            None => 0,
            Some(Position(bytes)) => match self.start_after(bytes, &matching) {
                Some(start) => start,
                None => return Ok(Enumeration::Foreign),
            },
        };
        let rest = matching.get(start..).unwrap_or_default();
        let peers = self.page(rest.iter(), query, now);
        let next = start + peers.len();
        let more = next < matching.len();
        let last = matching.get(next.saturating_sub(1)).map(|entry| entry.put.registration.peer_id.as_str());
        // The position is the last listed id, not an offset. Peers that come or go before it then
        // do not shift the rest of the enumeration.
        let position = match last {
            _ if self.is(Fault::OffsetPositions) => format!("={next}").into_bytes(),
            last => format!("={}", last.unwrap_or_default()).into_bytes(),
        };
        Ok(Enumeration::Page(Page { peers, total }, more.then_some(Position(position))))
    }

    async fn census(&self, archetypes: usize, now: Timestamp) -> Result<Census, StoreError> {
        let peers = self.known(now)?;
        let known = peers.values().filter(|entry| !entry.standing().is_tombstone());
        let (live, dormant): (Vec<_>, Vec<_>) = known.partition(|entry| entry.is_live(now));
        let mut counts = BTreeMap::new();
        for archetype in live.iter().flat_map(|entry| entry.put.registration.archetypes.as_slice()) {
            *counts.entry(archetype.clone()).or_insert(0) += 1;
        }
        let different = u64::try_from(counts.len()).unwrap();
        let mut by_archetype: Vec<_> = counts.into_iter().collect();
        by_archetype.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        by_archetype.truncate(archetypes);
        let uncounted = if self.is(Fault::CountsDormant) { dormant.len() } else { 0 };
        let (live, dormant) = (live.len() + uncounted, dormant.len());
        Ok(Census {
            live: u64::try_from(live).unwrap(),
            dormant: u64::try_from(dormant).unwrap(),
            archetypes: different,
            by_archetype,
        })
    }

    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        let mut peers = self.known(now)?;
        if self.is(Fault::SweepEvictsDormant) {
            peers.retain(|_, entry| entry.is_live(now));
        }
        Ok(Swept::default())
    }

    async fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn sees_every_change(&self) -> bool {
        !self.shared
    }

    fn mailboxes(&self) -> Option<&dyn Mailboxes> {
        Some(self)
    }

    async fn close(&self) -> Result<(), StoreError> {
        *self.closed.lock().unwrap() = true;
        Ok(())
    }
}

impl Reference {
    /// The other live peers, with which a sample is filled.
    fn others(&self, peers: &Peers, query: &Query, now: Timestamp) -> Vec<Entry> {
        let exclude = query.exclude.clone().filter(|_| !self.is(Fault::FillsWithExcluded));
        let all_peers = Query { archetypes: Vec::new(), exclude, ..query.clone() };
        let mut others = self.matching(peers, &all_peers, now);
        let carries = |entry: &Entry| {
            query.archetypes.iter().any(|name| entry.put.registration.archetypes.as_slice().contains(name))
        };
        others.retain(|entry| !carries(entry));
        if !self.is(Fault::FillsInOrder) {
            fastrand::shuffle(&mut others);
        }
        others
    }

    /// The index of the first peer after a position.
    fn start_after(&self, position: &[u8], matching: &[Entry]) -> Option<usize> {
        let text = std::str::from_utf8(position).ok().and_then(|text| text.strip_prefix('='));
        match text {
            None if self.is(Fault::AcceptsAnyPosition) => Some(0),
            None => None,
            Some(text) if self.is(Fault::OffsetPositions) => text.parse().ok(),
            Some(text) => {
                Some(matching.partition_point(|entry| entry.put.registration.peer_id.as_str() <= text))
            }
        }
    }
}
