//! A minimal store in memory, and a registry that uses it.
//!
//! It shows the shape of a store. To stay short, it leaves out parts of the contract. For example,
//! it enforces no bounds, its revival window is 0, and it lists every enumeration as one page.
//!
//! ```sh
//! cargo run -p aurora-discovery-registry --example minimal_store
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use aurora_discovery_protocol::{
    DiscoverRequest, PeerId, PeerJson, PeerList, PublicKey, RegisterRequest, Subject, Timestamp, Ttl,
};
use aurora_discovery_registry::{
    BlockList, Caller, Census, Claim, Enumeration, Evicted, Holder, Limits, Page, Position, Proof,
    PutRequest, PutResult, Query, Registry, Removal, Renewal, SignedPeer, Standing, Store, StoreError, Swept,
    Total, WebOrigin, choose_diverse, is_subject,
};

/// With a window of 0, the next sweep deletes every dormant peer whose name is not locked.
const REVIVAL_WINDOW_MILLIS: u64 = 0;

struct Entry {
    json: PeerJson,
    archetypes: aurora_discovery_protocol::Archetypes,
    holder: Holder,
    ttl: Ttl,
    registered_at: Timestamp,
    last_seen: Timestamp,
    proven_at: Timestamp,
    expires_at: Timestamp,
    signed: Option<SignedPeer>,
}

impl Entry {
    /// The data from which the rules decide which client may change the peer.
    fn standing(&self) -> Standing {
        let Self { holder, proven_at, ttl, expires_at, .. } = *self;
        let lock = self.signed.as_ref().map(|signed| signed.lock);
        Standing { holder, proven_at, ttl, expires_at, lock }
    }
}

#[derive(Default)]
struct MemoryStore {
    peers: Mutex<BTreeMap<PeerId, Entry>>,
    blocks: Mutex<BlockList>,
}

impl MemoryStore {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<PeerId, Entry>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists the matching peers, in random order or in the order of their ids.
    fn page(&self, query: &Query, now: Timestamp, random: bool) -> Page {
        let peers = self.peers();
        let mut matching: Vec<_> = peers
            .iter()
            .filter(|(id, entry)| now < entry.expires_at && query.exclude.as_ref() != Some(id))
            .map(|(_, entry)| entry)
            .filter(|entry| {
                let carried = entry.archetypes.as_slice();
                query.archetypes.is_empty() || query.archetypes.iter().any(|wanted| carried.contains(wanted))
            })
            .collect();
        let total = Total::Exact(matching.len() as u64);
        if random {
            // The first entries of a shuffled list are a uniform sample.
            fastrand::shuffle(&mut matching);
            if query.diverse {
                let candidates =
                    matching.into_iter().map(|entry| (entry, entry.holder.source.wide_network()));
                let mut random = |below| fastrand::u32(..below);
                matching = choose_diverse(candidates.collect(), query.limit, &mut random);
            }
            matching.truncate(query.limit);
        }
        let mut list = PeerList::default();
        for entry in matching {
            list.push(entry.json.encoded(), entry.last_seen);
        }
        Page { peers: list, total }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn put(&self, put: PutRequest, now: Timestamp) -> Result<PutResult, StoreError> {
        let mut peers = self.peers();
        let known = peers.get(&put.registration.peer_id);
        let before = known.map(Entry::standing);
        if let Some(Err(refusal)) = before.map(|before| before.check_registration(&put.replacement(), now)) {
            return Ok(refusal);
        }
        // A client that presents the current token keeps it.
        let kept = known.map(|entry| entry.holder).filter(|holder| put.keeps_token_of(holder));
        let signature = put.signing.signature();
        let signed = signature.map(|signature| Standing::sign(before.as_ref(), signature, now));
        let PutRequest { registration, ttl, claim, token_only, new_token, .. } = put;
        let token = kept.map_or(new_token, |holder| holder.token);
        let entry = Entry {
            json: PeerJson::new(&registration),
            archetypes: registration.archetypes,
            holder: Holder { source: claim.source, token, page: claim.page.page(), token_only },
            ttl,
            registered_at: now,
            last_seen: now,
            proven_at: now,
            expires_at: now + ttl,
            signed,
        };
        peers.insert(registration.peer_id, entry);
        Ok(PutResult::Stored { token_kept: kept.is_some() })
    }

    async fn renew(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Renewal, StoreError> {
        let mut peers = self.peers();
        let Some(entry) = peers.get_mut(peer) else { return Ok(Renewal::Unknown) };
        let standing = entry.standing();
        if standing.is_tombstone() {
            return Ok(Renewal::Unknown);
        }
        match standing.check_renewal(claim, REVIVAL_WINDOW_MILLIS, now) {
            Err(held) => return Ok(Renewal::Held(held)),
            Ok(Proof::Proven) if standing.proof_is_due(now) => entry.proven_at = now,
            Ok(Proof::Proven | Proof::Unproven) => {}
        }
        let revived = !standing.is_live(now);
        entry.last_seen = now;
        // An older `now` never shortens a lease.
        entry.expires_at = entry.expires_at.max(now + entry.ttl);
        Ok(Renewal::Renewed { ttl: entry.ttl, revived, registered_at: entry.registered_at })
    }

    async fn remove(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Removal, StoreError> {
        let mut peers = self.peers();
        let Some(entry) = peers.get_mut(peer) else { return Ok(Removal::Unknown) };
        let standing = entry.standing();
        if standing.is_tombstone() {
            return Ok(Removal::Unknown);
        }
        if let Err(held) = standing.check_removal(claim, REVIVAL_WINDOW_MILLIS, now) {
            return Ok(Removal::Held(held));
        }
        let was_live = standing.is_live(now);
        // A signed peer leaves the lock of its name behind. Because of the lock, no client can
        // register the peer again with one of its old records.
        match entry.signed.take() {
            Some(signed) => {
                entry.signed = Some(signed.left(now));
                entry.expires_at = entry.expires_at.min(now);
            }
            None => drop(peers.remove(peer)),
        }
        Ok(Removal::Removed { was_live })
    }

    async fn evict(&self, subjects: &[Subject], now: Timestamp) -> Result<Evicted, StoreError> {
        let mut evicted = Evicted::default();
        self.peers().retain(|id, entry| {
            let standing = entry.standing();
            let (key, source) = (standing.lock.map(|lock| lock.key), entry.holder.source);
            let is_kept = !subjects.iter().any(|subject| is_subject(subject, id, key.as_ref(), source));
            if !is_kept && standing.is_live(now) {
                evicted.live += 1;
            } else if !is_kept && !standing.is_tombstone() {
                evicted.dormant += 1;
            }
            is_kept
        });
        Ok(evicted)
    }

    async fn locking_keys(
        &self,
        peers: &[PeerId],
        now: Timestamp,
    ) -> Result<Vec<Option<PublicKey>>, StoreError> {
        let known = self.peers();
        let lock = |peer: &PeerId| {
            let standing = known.get(peer)?.standing();
            standing.lock.filter(|_| now < standing.known_until(REVIVAL_WINDOW_MILLIS))
        };
        Ok(peers.iter().map(|peer| lock(peer).map(|lock| lock.key)).collect())
    }

    async fn blocks(&self) -> Result<BlockList, StoreError> {
        Ok(self.blocks.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn replace_blocks(&self, text: &str, version: u64) -> Result<bool, StoreError> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.version != version {
            return Ok(false);
        }
        *blocks = BlockList { version: version + 1, text: text.to_owned() };
        Ok(true)
    }

    async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        Ok(self.page(query, now, true))
    }

    async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError> {
        // This store lists everything on one page and never issues a position. A position in a
        // request is therefore from another store.
        Ok(match after {
            None => Enumeration::Page(self.page(query, now, false), None),
            Some(_) => Enumeration::Foreign,
        })
    }

    async fn census(&self, _archetypes: usize, now: Timestamp) -> Result<Census, StoreError> {
        let peers = self.peers();
        let live = peers.values().filter(|entry| now < entry.expires_at).count() as u64;
        let gone = peers.values().filter(|entry| entry.standing().is_tombstone()).count() as u64;
        Ok(Census { live, dormant: peers.len() as u64 - live - gone, ..Census::default() })
    }

    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        let mut peers = self.peers();
        let before = peers.len();
        peers.retain(|_, entry| now < entry.standing().known_until(REVIVAL_WINDOW_MILLIS));
        let ended = (before - peers.len()) as u64;
        Ok(Swept { expired: ended, evicted: ended })
    }

    async fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = Registry::new(Arc::new(MemoryStore::default()), Limits::default())?;
    let caller = Caller { address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)), page: WebOrigin::None };
    let mut now = Timestamp::from_secs(1_800_000_000);

    for name in ["alice", "bob"] {
        let request = RegisterRequest { port: 9000, ..RegisterRequest::new(PeerId::parse(name)?) };
        let registered = registry.register(request, &caller, now).await?;
        println!("{name} is registered until {}", registered.lease.ttl_expires);
    }

    // Time is an argument: the example continues four minutes later without waiting.
    now = now.plus_millis(240_000);
    let alice = PeerId::parse("alice")?;
    let lease = registry.heartbeat(&alice, None, &caller, now).await?;
    println!("alice is renewed until {}", lease.ttl_expires);

    // Two minutes later the lease of bob has ended.
    now = now.plus_millis(120_000);
    let page = registry.discover(DiscoverRequest::new(10), now).await?;
    println!("{} live: {}", page.info.total, String::from_utf8(page.peers.to_array())?);

    let was_live = registry.deregister(&alice, None, &caller, now).await?;
    println!("alice is deregistered, was live: {was_live}");
    Ok(())
}
