//! Random histories against a small reference model. In addition to the conformance suite, the
//! clock goes back, power is lost, and the invariants of the index are checked.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aurora_discovery_protocol::{Timestamp, Ttl};
use aurora_discovery_registry::{
    Claim, Enumeration, Limits, PutRequest, PutResult, Query, Removal, Renewal, Store, TokenHash, Total,
};
use fastrand::Rng;

use super::fixture::{at, block_on, claim, id, ids, put, query, token};
use crate::disk::LossyDisk;
use crate::{EmbeddedOptions, EmbeddedStore};

const WINDOW: u64 = 3_600_000;
const ARCHETYPES: [&str; 6] = ["pepino", "ethics", "research", "ética", "research 2", "rare"];
const SOURCES: [&str; 4] = ["203.0.113.1", "203.0.113.2", "2001:db8::1", "127.0.0.1"];

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
    claim: Claim,
    token: TokenHash,
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

    fn holder(&self, peer: &str, claim: &Claim) -> Result<bool, u64> {
        let Some(known) = self.peers.get(peer) else { return Ok(false) };
        let proves = claim.token == Some(known.token);
        let admits = proves || claim.source == known.claim.source;
        if self.live(known) && !admits { Err(known.expires) } else { Ok(proves) }
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
        claim(SOURCES[self.rng.usize(..SOURCES.len())], token)
    }

    fn register(&mut self, now: Timestamp) {
        self.model.advance(now);
        let (peer, archetypes, claim) = (self.peer(), self.archetypes(4), self.claim());
        let (ttl, new_token) = (Ttl::from_secs(self.rng.u32(30..600)), token(self.rng.u8(..4)));
        let registration = put(&peer, SOURCES[0], &archetypes).registration;
        let placement = self.store.put_now(PutRequest { registration, ttl, claim, new_token }, now);
        match self.model.holder(&peer, &claim) {
            Err(until) => {
                assert_eq!(placement, PutResult::Held { until: Timestamp::from_millis(until) });
            }
            Ok(token_kept) => {
                assert_eq!(placement, PutResult::Stored { token_kept });
                let token = claim.token.filter(|_| token_kept).unwrap_or(new_token);
                let expires = (now + ttl).as_millis();
                self.model.peers.insert(peer, KnownPeer { expires, ttl, claim, token, archetypes });
            }
        }
    }

    fn heartbeat(&mut self, now: Timestamp) {
        let peer = self.peer();
        let renewal = self.store.renew_now(&peer, now);
        let latest = self.model.latest.max(now.as_millis());
        // A running lease is renewed without advancing the index.
        if self.model.peers.get(&peer).is_none_or(|known| latest >= known.expires) {
            self.model.advance(now);
        }
        match self.model.peers.get_mut(&peer) {
            None => assert_eq!(renewal, Renewal::Unknown),
            Some(known) => {
                let (revived, ends) = (latest >= known.expires, (now + known.ttl).as_millis());
                let Renewal::Renewed { ttl, revived: was_dormant, .. } = renewal else {
                    panic!("{renewal:?}")
                };
                assert_eq!((ttl, was_dormant), (known.ttl, revived));
                known.expires = if revived { ends } else { ends.max(known.expires) };
            }
        }
    }

    fn deregister(&mut self, now: Timestamp) {
        self.model.advance(now);
        let (peer, claim) = (self.peer(), self.claim());
        let expected = match (self.model.peers.contains_key(&peer), self.model.holder(&peer, &claim)) {
            (false, _) => Removal::Unknown,
            (true, Err(until)) => Removal::Held { until: Timestamp::from_millis(until) },
            (true, Ok(_)) => Removal::Removed { was_live: self.model.live(&self.model.peers[&peer]) },
        };
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
