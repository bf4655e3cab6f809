//! A store that is correct, except that its samples are biased.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aurora_discovery_protocol::{
    Peer, PeerId, PeerJson, PeerList, PublicKey, Registration, Subject, Timestamp, View,
};
use aurora_discovery_registry::{
    BlockList, Census, Claim, Enumeration, Evicted, Page, Position, PutRequest, PutResult, Query, Removal,
    Renewal, Store, StoreError, Swept, Total,
};

use crate::reference::Reference;

/// The bias of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SamplerBias {
    None,
    NewestFirst,
    /// The newer half of the matching peers has 20 percent more weight.
    SlightlyFavoursNewer,
    RunFromRandomStart,
    /// Each peer has a hash. Repeatedly picks a random hash and lists the peer with the next higher
    /// one. Peers after large gaps are more likely.
    AfterHashGaps,
    /// Picks a random slot. If it is empty, lists the next peer after it.
    AfterEmptySlots,
    /// Returns each sample twice.
    RepeatsSamples,
    DoubleWeightForTwoArchetypes,
    ListsTheCaller,
    /// Draws three times as many peers as requested from all peers, and lists those that match.
    MissesRareArchetypes,
    /// Lists the peers that were live in the previous round.
    ListsRemovedPeers,
    ListsTwice,
}

/// The reference store, except for its samples.
pub(crate) struct Biased {
    bias: SamplerBias,
    inner: Reference,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Peers by slot. A slot becomes free when its peer deregisters, and is then used again.
    slots: Vec<Option<PeerId>>,
    /// Peers in order of registration.
    registrations: Vec<PeerId>,
    /// The live peers at one time. They are cached, because no request changes a peer between the
    /// samples of a round.
    live: Option<(Timestamp, Arc<Vec<Known>>)>,
    /// The live peers at the time of the previous round.
    previous: Arc<Vec<Known>>,
    /// A sample to be returned once more.
    again: Option<Vec<PeerId>>,
}

/// A live peer with its positions in the orders that biased samplers use.
#[derive(Clone)]
struct Known {
    registration: Registration,
    last_seen: Timestamp,
    slot: usize,
    registered: usize,
    hash: u64,
}

impl Biased {
    pub(crate) fn new(bias: SamplerBias) -> Self {
        Self { bias, inner: Reference::correct(), memory: Mutex::default() }
    }

    async fn live(&self, now: Timestamp) -> Result<Arc<Vec<Known>>, StoreError> {
        if let Some((at, live)) = &self.memory.lock().unwrap().live
            && *at == now
        {
            return Ok(Arc::clone(live));
        }
        let whole = Query {
            archetypes: Vec::new(),
            exclude: None,
            view: View::Legacy,
            limit: usize::MAX,
            page_bytes: usize::MAX,
            diverse: false,
            fill: false,
        };
        let page = self.inner.sample(&whole, now).await?;
        let peers: Vec<Peer> = serde_json::from_slice(&page.peers.to_array()).unwrap();
        let mut memory = self.memory.lock().unwrap();
        let mut live: Vec<Known> = peers.into_iter().map(|peer| memory.known(peer)).collect();
        live.sort_by_key(|known| known.slot);
        let live = Arc::new(live);
        if let Some((_, before)) = memory.live.replace((now, Arc::clone(&live))) {
            memory.previous = before;
        }
        Ok(live)
    }

    fn choose(&self, live: &[Known], query: &Query) -> Vec<Known> {
        let matching: Vec<&Known> = live.iter().filter(|known| known.matches(query)).collect();
        let newer = |known: &Known| known.registered >= matching[matching.len() / 2].registered;
        let chosen = match self.bias {
            SamplerBias::None | SamplerBias::RepeatsSamples | SamplerBias::ListsRemovedPeers => {
                weighted(&matching, |_| 1.0)
            }
            SamplerBias::NewestFirst => sorted(&matching, |known| Reverse(known.registered)),
            SamplerBias::SlightlyFavoursNewer => {
                weighted(&matching, |known| if newer(known) { 1.2 } else { 1.0 })
            }
            SamplerBias::RunFromRandomStart => {
                let mut rotated = sorted(&matching, |known| known.hash);
                rotated.rotate_left(fastrand::usize(..matching.len()));
                rotated
            }
            SamplerBias::AfterHashGaps => {
                next_after_random_points(&matching, |known| known.hash, || fastrand::u64(..), query)
            }
            SamplerBias::AfterEmptySlots => {
                let slots = self.memory.lock().unwrap().slots.len();
                next_after_random_points(&matching, |known| known.slot, || fastrand::usize(..slots), query)
            }
            SamplerBias::DoubleWeightForTwoArchetypes => weighted(&matching, |known| known.weight(query)),
            SamplerBias::ListsTheCaller => {
                let including_caller = Query { exclude: None, ..query.clone() };
                weighted(
                    &live.iter().filter(|known| known.matches(&including_caller)).collect::<Vec<_>>(),
                    |_| 1.0,
                )
            }
            SamplerBias::MissesRareArchetypes => {
                let mut few = weighted(&live.iter().collect::<Vec<_>>(), |_| 1.0);
                few.truncate(3 * query.limit);
                few.retain(|known| known.matches(query));
                few
            }
            SamplerBias::ListsTwice => {
                let mut twice = weighted(&matching, |_| 1.0);
                twice[1] = twice[0].clone();
                twice
            }
        };
        chosen.into_iter().take(query.limit).collect()
    }
}

/// A random order in which each peer's weight determines how early it comes.
fn weighted(matching: &[&Known], weight: impl Fn(&Known) -> f64) -> Vec<Known> {
    let mut keyed: Vec<_> =
        matching.iter().map(|known| (fastrand::f64().powf(1.0 / weight(known)), *known)).collect();
    keyed.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    keyed.into_iter().map(|(_, known)| known.clone()).collect()
}

fn sorted<K: Ord>(matching: &[&Known], key: impl Fn(&Known) -> K) -> Vec<Known> {
    let mut sorted: Vec<Known> = matching.iter().map(|known| (*known).clone()).collect();
    sorted.sort_by_key(key);
    sorted
}

/// Picks random points and takes the next peer after each, until there are enough.
fn next_after_random_points<K: Ord + Copy>(
    matching: &[&Known],
    key: impl Fn(&Known) -> K,
    point: impl Fn() -> K,
    query: &Query,
) -> Vec<Known> {
    let sorted = sorted(matching, &key);
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < query.limit.min(sorted.len()) {
        let point = point();
        let index = sorted.partition_point(|known| key(known) < point) % sorted.len();
        if !chosen.contains(&index) {
            chosen.push(index);
        }
    }
    chosen.into_iter().map(|index| sorted[index].clone()).collect()
}

impl Known {
    fn matches(&self, query: &Query) -> bool {
        let wanted = query.archetypes.is_empty() || self.weight(query) > 0.0;
        wanted && query.exclude.as_ref() != Some(&self.registration.peer_id)
    }

    /// The number of requested archetypes that the peer carries, or 1 if none is requested. A
    /// sampler that draws from a concatenation of the archetypes' lists uses these as weights.
    fn weight(&self, query: &Query) -> f64 {
        let carried = self.registration.archetypes.as_slice();
        let weight = query.archetypes.iter().filter(|wanted| carried.contains(wanted)).count();
        if query.archetypes.is_empty() { 1.0 } else { weight as f64 }
    }
}

impl Memory {
    fn registered(&mut self, id: PeerId) {
        self.registrations.retain(|other| *other != id);
        self.registrations.push(id.clone());
        if self.slots.contains(&Some(id.clone())) {
            return;
        }
        match self.slots.iter_mut().find(|slot| slot.is_none()) {
            Some(free) => *free = Some(id),
            None => self.slots.push(Some(id)),
        }
    }

    fn deregistered(&mut self, id: &PeerId) {
        self.slots.iter_mut().filter(|slot| slot.as_ref() == Some(id)).for_each(|slot| *slot = None);
    }

    fn known(&self, peer: Peer) -> Known {
        let Peer { peer_id, address, port, archetypes, metadata, last_seen, .. } = peer;
        let last_seen = last_seen.unwrap();
        let slot = self.slots.iter().position(|slot| slot.as_ref() == Some(&peer_id)).unwrap();
        let registered = self.registrations.iter().position(|other| *other == peer_id).unwrap();
        let hash = fastrand::Rng::with_seed(registered as u64).u64(..);
        let registration = Registration { peer_id, address, port, archetypes, metadata };
        Known { registration, last_seen, slot, registered, hash }
    }
}

#[async_trait]
impl Store for Biased {
    async fn put(&self, put: PutRequest, now: Timestamp) -> Result<PutResult, StoreError> {
        self.memory.lock().unwrap().registered(put.registration.peer_id.clone());
        self.inner.put(put, now).await
    }

    async fn renew(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Renewal, StoreError> {
        self.inner.renew(peer, claim, now).await
    }

    async fn remove(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Removal, StoreError> {
        self.memory.lock().unwrap().deregistered(peer);
        self.inner.remove(peer, claim, now).await
    }

    async fn evict(&self, subjects: &[Subject], now: Timestamp) -> Result<Evicted, StoreError> {
        self.inner.evict(subjects, now).await
    }

    async fn locking_keys(
        &self,
        peers: &[PeerId],
        now: Timestamp,
    ) -> Result<Vec<Option<PublicKey>>, StoreError> {
        self.inner.locking_keys(peers, now).await
    }

    async fn blocks(&self) -> Result<BlockList, StoreError> {
        self.inner.blocks().await
    }

    async fn replace_blocks(&self, text: &str, version: u64) -> Result<bool, StoreError> {
        self.inner.replace_blocks(text, version).await
    }

    async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        let live = self.live(now).await?;
        let previous = Arc::clone(&self.memory.lock().unwrap().previous);
        let stale = self.bias == SamplerBias::ListsRemovedPeers && !previous.is_empty();
        let again = self.memory.lock().unwrap().again.take();
        let chosen = match again {
            Some(ids) if self.bias == SamplerBias::RepeatsSamples => {
                let repeated = live.iter().filter(|known| ids.contains(&known.registration.peer_id));
                let mut repeated: Vec<_> = repeated.filter(|known| known.matches(query)).cloned().collect();
                let fresh = self.choose(&live, query);
                let fresh = fresh.into_iter().filter(|known| !ids.contains(&known.registration.peer_id));
                repeated.extend(fresh);
                repeated.truncate(query.limit);
                repeated
            }
            _ => {
                let chosen = self.choose(if stale { &previous } else { &live }, query);
                let ids = chosen.iter().map(|known| known.registration.peer_id.clone()).collect();
                self.memory.lock().unwrap().again = Some(ids);
                chosen
            }
        };
        let mut peers = PeerList::default();
        for known in &chosen {
            let json = PeerJson::new(&known.registration);
            peers.push(json.encoded(), known.last_seen);
        }
        Ok(Page { peers, total: Total::Estimate(live.len() as u64) })
    }

    async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError> {
        self.inner.enumerate(query, after, now).await
    }

    async fn census(&self, archetypes: usize, now: Timestamp) -> Result<Census, StoreError> {
        self.inner.census(archetypes, now).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        self.inner.sweep(now).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.inner.health().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
