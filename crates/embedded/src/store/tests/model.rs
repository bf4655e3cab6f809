//! Compares random histories with a small reference model. Unlike in the conformance suite, the
//! clock may also go back, the power may fail, and the invariants of the index are checked.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aurora_discovery_protocol::{Timestamp, Ttl};
use aurora_discovery_registry::{
    Claim, Enumeration, Held, Holder, Limits, Proof, PutRequest, PutResult, Query, Removal, Renewal, Signing,
    Source, Standing, Store, Total, WebOrigin,
};
use fastrand::Rng;

use super::fixture::{at, block_on, claim, id, ids, put, query, token};
use crate::disk::LossyDisk;
use crate::{EmbeddedOptions, EmbeddedStore};

const WINDOW: u64 = 3_600_000;
const ARCHETYPES: [&str; 6] = ["pepino", "ethics", "research", "ética", "research 2", "rare"];
const SOURCES: [&str; 5] = ["203.0.113.1", "203.0.113.2", "198.51.100.1", "2001:db8::1", "127.0.0.1"];

/// The reference: the state of each peer, evaluated at the latest time that the store was given.
#[derive(Default)]
struct Model {
    peers: HashMap<String, KnownPeer>,
    latest: u64,
}

#[derive(Clone)]
struct KnownPeer {
    expires: u64,
    ttl: Ttl,
    holder: Holder,
    proven_at: Timestamp,
    kept_by: Option<Source>,
    archetypes: Vec<&'static str>,
}

impl Model {
    fn advance(&mut self, now: Timestamp) {
        self.latest = self.latest.max(now.as_millis());
        self.peers.retain(|_, peer| self.latest < peer.expires + WINDOW);
    }

    fn live(&self, peer: &KnownPeer) -> bool {
        self.latest < peer.expires
    }

    /// The standing of a peer. A dormant one is dormant even if the clock went back.
    fn standing(&self, peer: &KnownPeer, now: Timestamp) -> Standing {
        let expires = if self.live(peer) { peer.expires } else { peer.expires.min(now.as_millis()) };
        let KnownPeer { holder, proven_at, ttl, .. } = *peer;
        Standing { holder, proven_at, ttl, expires_at: Timestamp::from_millis(expires), lock: None }
    }

    /// Whether a registration is permitted, and whether it keeps the token.
    fn replaces(&self, peer: &str, claim: &Claim, token_only: bool, now: Timestamp) -> Result<bool, Held> {
        let Some(known) = self.peers.get(peer) else { return Ok(false) };
        self.standing(known, now).check_replacement(claim, token_only, now)?;
        Ok(claim.has_token_of(&known.holder))
    }

    /// Whether a heartbeat needs no exclusive access to the index. It then does not advance the
    /// index.
    fn is_shared(&self, peer: &str, claim: &Claim, now: Timestamp) -> bool {
        let Some(known) = self.peers.get(peer) else { return true };
        let live = self.latest.max(now.as_millis()) < known.expires;
        let proof = self.standing(known, now).check_renewal(claim, WINDOW, now);
        live && proof.map_or(true, |proof| keeper(claim, proof) == known.kept_by)
    }

    fn matching(&self, archetypes: &[&str], exclude: Option<&str>) -> BTreeSet<String> {
        let carries = |peer: &KnownPeer| {
            archetypes.is_empty() || archetypes.iter().any(|name| peer.archetypes.contains(name))
        };
        let matching = self
            .peers
            .iter()
            .filter(|(name, peer)| self.live(peer) && carries(peer) && Some(name.as_str()) != exclude);
        matching.map(|(name, _)| name.clone()).collect()
    }
}

/// The source that keeps a peer alive after a heartbeat.
fn keeper(claim: &Claim, proof: Proof) -> Option<Source> {
    (proof == Proof::Unproven && !claim.source.is_loopback()).then_some(claim.source)
}

struct History {
    rng: Rng,
    now: u64,
    model: Model,
    store: Arc<EmbeddedStore>,
    disk: Option<Arc<LossyDisk>>,
}

impl History {
    fn step(&mut self) {
        let now = self.pass_time();
        match self.rng.u32(..100) {
            0..30 => self.register(now),
            30..60 => self.heartbeat(now),
            60..70 => self.deregister(now),
            70..90 => self.discover(now),
            90..94 => self.enumerate(now),
            94..96 => self.count(now),
            96..99 => drop(block_on(self.store.sweep(now)).unwrap()),
            _ => self.restart(now),
        }
    }

    /// Advances the clock: mostly a little, sometimes by a week. Sometimes it goes back.
    fn pass_time(&mut self) -> Timestamp {
        self.now += match self.rng.u32(..100) {
            0..60 => self.rng.u64(..1_000),
            60..90 => self.rng.u64(..30_000),
            90..98 => self.rng.u64(..400_000),
            98 => self.rng.u64(..2 * WINDOW),
            _ => self.rng.u64(..7 * 24 * 3_600_000),
        };
        let back = if self.rng.u32(..10) == 0 { self.rng.u64(..2_000) } else { 0 };
        at(0).plus_millis(self.now - back.min(self.now))
    }

    fn peer(&mut self) -> String {
        format!("peer-{}", self.rng.u32(..40))
    }

    fn archetypes(&mut self, most: usize) -> Vec<&'static str> {
        let mut all = ARCHETYPES;
        self.rng.shuffle(&mut all);
        all[..self.rng.usize(..=most)].to_vec()
    }

    fn claim(&mut self) -> Claim {
        let token = self.rng.bool().then(|| token(self.rng.u8(..4)));
        let page = match self.rng.u8(..8) {
            0 => WebOrigin::of_header(b"https://one.example"),
            1 => WebOrigin::of_header(b"https://two.example"),
            2 => WebOrigin::Opaque,
            _ => WebOrigin::None,
        };
        Claim { page, ..claim(SOURCES[self.rng.usize(..SOURCES.len())], token) }
    }

    fn register(&mut self, now: Timestamp) {
        self.model.advance(now);
        let (peer, archetypes, claim) = (self.peer(), self.archetypes(4), self.claim());
        let (ttl, new_token) = (Ttl::from_secs(self.rng.u32(30..600)), token(self.rng.u8(..4)));
        let token_only = self.rng.u8(..5) == 0;
        let registration = put(&peer, SOURCES[0], &archetypes).registration;
        let put = PutRequest { registration, ttl, claim, token_only, new_token, signing: Signing::Unsigned };
        let placement = self.store.put_now(put, now);
        match self.model.replaces(&peer, &claim, token_only, now) {
            Err(held) => assert_eq!(placement, PutResult::Held(held)),
            Ok(token_kept) => {
                assert_eq!(placement, PutResult::Stored { token_kept });
                let token = claim.token.filter(|_| token_kept).unwrap_or(new_token);
                let holder = Holder { source: claim.source, token, page: claim.page.page(), token_only };
                let expires = (now + ttl).as_millis();
                let known = KnownPeer { expires, ttl, holder, proven_at: now, kept_by: None, archetypes };
                self.model.peers.insert(peer, known);
            }
        }
    }

    fn heartbeat(&mut self, now: Timestamp) {
        let (peer, claim) = (self.peer(), self.claim());
        let renewal = self.store.renew_as(&peer, &claim, now);
        if !self.model.is_shared(&peer, &claim, now) {
            self.model.advance(now);
        }
        let Some(known) = self.model.peers.get(&peer) else {
            return assert_eq!(renewal, Renewal::Unknown);
        };
        let standing = self.model.standing(known, now);
        let revived = !self.model.live(known);
        let proof = match standing.check_renewal(&claim, WINDOW, now) {
            Ok(proof) => proof,
            Err(held) => return assert_eq!(renewal, Renewal::Held(held)),
        };
        let Renewal::Renewed { ttl, revived: was_dormant, .. } = renewal else { panic!("{renewal:?}") };
        assert_eq!((ttl, was_dormant), (known.ttl, revived));
        let ends = (now + known.ttl).as_millis();
        let known = self.model.peers.get_mut(&peer).unwrap();
        known.expires = if revived { ends } else { ends.max(known.expires) };
        known.kept_by = keeper(&claim, proof);
        if proof == Proof::Proven && standing.proof_is_due(now) {
            known.proven_at = now;
        }
    }

    fn deregister(&mut self, now: Timestamp) {
        self.model.advance(now);
        let (peer, claim) = (self.peer(), self.claim());
        let expected = self.model.peers.get(&peer).map_or(Removal::Unknown, |known| {
            let removal = self.model.standing(known, now).check_removal(&claim, WINDOW, now);
            let was_live = self.model.live(known);
            removal.map_or_else(Removal::Held, |()| Removal::Removed { was_live })
        });
        assert_eq!(self.store.remove_now(&peer, &claim, now), expected);
        if matches!(expected, Removal::Removed { .. }) {
            self.model.peers.remove(&peer);
        }
    }

    fn discover(&mut self, now: Timestamp) {
        self.model.advance(now);
        let archetypes = self.archetypes(3);
        let exclude = self.rng.bool().then(|| self.peer());
        let limit = self.rng.usize(1..50);
        let query = Query { exclude: exclude.as_deref().map(id), ..query(&archetypes, limit) };
        let page = block_on(self.store.sample(&query, now)).unwrap();
        let (listed, matching) = (ids(&page), self.model.matching(&archetypes, exclude.as_deref()));
        assert!(listed.is_subset(&matching), "{listed:?} of {matching:?}");
        assert_eq!(listed.len(), matching.len().min(limit));
        if matching.len() <= limit || archetypes.len() < 2 {
            assert_eq!(page.total, Total::Exact(matching.len() as u64));
        }
        assert!(page.total.value() >= listed.len() as u64);
    }

    fn enumerate(&mut self, now: Timestamp) {
        self.model.advance(now);
        let archetypes = self.archetypes(3);
        let query = query(&archetypes, self.rng.usize(1..20));
        let (mut listed, mut after) = (BTreeSet::new(), None);
        loop {
            let response = block_on(self.store.enumerate(&query, after.as_ref(), now)).unwrap();
            let Enumeration::Page(page, next) = response else { panic!("{response:?}") };
            for peer in ids(&page) {
                assert!(listed.insert(peer), "a peer is listed once");
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(listed, self.model.matching(&archetypes, None));
    }

    fn count(&mut self, now: Timestamp) {
        self.model.advance(now);
        let census = block_on(self.store.census(10, now)).unwrap();
        let live = self.model.matching(&[], None).len();
        assert_eq!((census.live, census.dormant), (live as u64, (self.model.peers.len() - live) as u64));
        assert_eq!(census.archetypes, census.by_archetype.len() as u64);
        assert!(census.by_archetype.is_sorted_by(|a, b| a.1 >= b.1));
        for (archetype, count) in census.by_archetype {
            let carriers = self.model.matching(&[archetype.as_str()], None);
            assert_eq!(count, carriers.len() as u64);
        }
        self.store.check();
    }

    fn restart(&mut self, now: Timestamp) {
        let Some(disk) = &self.disk else { return };
        self.model.advance(now);
        block_on(self.store.sweep(now)).unwrap();
        if self.rng.bool() {
            self.store.checkpoint().unwrap();
        }
        block_on(self.store.close()).unwrap();
        let disk = Arc::new(disk.lose_power());
        self.store = open(&disk, now);
        self.disk = Some(disk);
        let restored = self.store.restored();
        let live = self.model.matching(&[], None);
        assert_eq!(restored.live, live.len() as u64);
        assert_eq!(restored.dormant, (self.model.peers.len() - live.len()) as u64);
        assert_eq!(restored.skipped_records, 0);
        for (name, known) in &mut self.model.peers {
            let expires = self.store.shared.index.read().expires_at(&id(name)).unwrap();
            if live.contains(name) {
                let full = now + known.ttl;
                assert!((full..=full.plus_millis(known.ttl.as_millis() / 3)).contains(&expires));
                known.expires = expires.as_millis();
            }
            assert_eq!(expires.as_millis(), known.expires);
            (known.proven_at, known.kept_by) = (now, None);
        }
        self.store.check();
    }
}

fn limits() -> Limits {
    Limits { revival_window_millis: WINDOW, ..Limits::default() }
}

fn open(disk: &Arc<LossyDisk>, now: Timestamp) -> Arc<EmbeddedStore> {
    let options = EmbeddedOptions { limits: limits(), ..EmbeddedOptions::default() };
    EmbeddedStore::open_on(disk.clone(), options, now).unwrap()
}

fn run(seed: u64, steps: usize, disk: Option<Arc<LossyDisk>>) {
    let store = match &disk {
        Some(disk) => open(disk, at(0)),
        None => EmbeddedStore::in_memory(limits()),
    };
    let mut history = History { rng: Rng::with_seed(seed), now: 0, model: Model::default(), store, disk };
    for _ in 0..steps {
        history.step();
    }
    history.store.check();
}

#[test]
fn random_histories_agree_with_the_model() {
    for seed in 0..20 {
        run(seed, 5_000, None);
    }
}

#[test]
fn random_histories_agree_with_the_model_across_restarts() {
    for seed in 0..10 {
        run(seed, 1_500, Some(Arc::new(LossyDisk::new(seed))));
    }
}
