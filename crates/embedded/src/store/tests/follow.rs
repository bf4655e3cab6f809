//! Tests that a client that follows the changes always knows the live peers, with random histories
//! and with threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::thread::JoinHandle;

use aurora_discovery_protocol::{ChangeKind, Metadata, Timestamp, Ttl};
use aurora_discovery_registry::{
    Changes, Claim, Enumeration, Limits, Position, PositionLookup, PutRequest, Query, Store, Watch, WatchRead,
};
use fastrand::Rng;
use serde_json::Value;

use super::fixture::{at, block_on, claim, id, put, query};
use crate::EmbeddedStore;

const ARCHETYPES: [&str; 4] = ["a", "b", "c", "d"];
const SOURCE: &str = "10.0.0.1";

/// What a peer published: everything except `last_seen`.
type Content = Value;

/// A client that tracks the live peers by following changes.
struct Follower {
    query: Query,
    peers: BTreeMap<String, Content>,
    position: Position,
    watch: Box<dyn Watch>,
    /// The peers as the watch reports them.
    watched: BTreeMap<String, Content>,
    /// Whether each read takes all available changes. If it does not, a page may end between two
    /// changes that were merged, and a peer that the client knows may then be reported as joined.
    whole: bool,
    /// Whether `whole` is set and the client has read the changes that were made during its
    /// enumeration. From then on, only peers that it does not know may be reported as joined, and
    /// only peers that it knows as changed.
    exact: bool,
}

impl Follower {
    /// Takes the current position, and then enumerates the peers. The API documentation prescribes
    /// this order. `between` runs between pages, and changes peers.
    fn begin(
        store: &EmbeddedStore,
        archetypes: &[&str],
        whole: bool,
        now: Timestamp,
        mut between: impl FnMut(),
    ) -> Self {
        let query = query(archetypes, 7);
        let (position, watch) = loop {
            let position = store.head(now).unwrap();
            match store.watch(&query, Some(&position), now).unwrap() {
                PositionLookup::Known(watch) => break (position, watch),
                // While this thread waits for its turn, other threads may make more changes than
                // the log keeps. The position has then expired, and another one is taken.
                PositionLookup::Expired => {}
                PositionLookup::Foreign => panic!("the position belongs to this store"),
            }
        };
        let mut peers = BTreeMap::new();
        let mut after = None;
        loop {
            let Enumeration::Page(page, next) =
                block_on(store.enumerate(&query, after.as_ref(), now)).unwrap()
            else {
                panic!("the enumeration position is valid")
            };
            peers.extend(contents(&page.peers.to_array()));
            after = next;
            if after.is_none() {
                break;
            }
            between();
        }
        let watched = peers.clone();
        Self { query, peers, position, watch, watched, whole, exact: false }
    }

    /// Reads all changes, page by page. Returns `false` if the client must start again.
    fn catch_up(&mut self, store: &EmbeddedStore, limit: usize, now: Timestamp) -> bool {
        loop {
            let query = Query { limit, ..self.query.clone() };
            let delta = match store.delta(&query, &self.position, now).unwrap() {
                PositionLookup::Known(delta) => delta,
                PositionLookup::Expired => return false,
                PositionLookup::Foreign => panic!("the position belongs to this store"),
            };
            assert!(delta.joined.len() + delta.changed.len() + delta.left.len() <= limit);
            for (peer, content) in contents(&delta.joined.to_array()) {
                let known = self.peers.insert(peer, content).is_some();
                assert!(!(known && self.exact), "a peer that joins was not known");
            }
            for (peer, content) in contents(&delta.changed.to_array()) {
                let known = self.peers.insert(peer, content).is_some();
                assert!(known || !self.exact, "a peer that changes was known");
            }
            for peer in delta.left {
                // The client does not know a peer that joined and left within the page: it is
                // reported only as having left.
                self.peers.remove(peer.as_str());
            }
            self.position = delta.next;
            if !delta.more {
                self.exact = self.whole;
                return true;
            }
        }
    }

    /// Takes all changes from the watch. Returns `false` if the client must start again.
    fn read_watch(&mut self, exact: bool, max_bytes: usize) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        while self.watch.poll_changes(&mut context).is_ready() {
            let WatchRead::Changes { changes, .. } = self.watch.read(max_bytes) else { return false };
            for change in changes {
                let peer: Value = serde_json::from_slice(&change.json).unwrap();
                let (peer, content) = named(peer);
                let known = match change.kind {
                    // The client may not know the peer: if it joined and left within a second, it
                    // is reported only as having left.
                    ChangeKind::Left => {
                        self.watched.remove(&peer);
                        continue;
                    }
                    _ => self.watched.insert(peer, content).is_some(),
                };
                assert!(
                    !exact || known != (change.kind == ChangeKind::Joined),
                    "each change is reported once"
                );
            }
        }
        true
    }

    /// Compares the client's view with an enumeration.
    fn check(&self, store: &EmbeddedStore, now: Timestamp) {
        let query = Query { limit: 10_000, ..self.query.clone() };
        let Enumeration::Page(page, None) = block_on(store.enumerate(&query, None, now)).unwrap() else {
            panic!("one page lists all peers")
        };
        let live: BTreeMap<_, _> = contents(&page.peers.to_array()).collect();
        assert_eq!(self.peers, live, "by reading changes");
        assert_eq!(self.watched, live, "by watching");
    }
}

fn contents(array: &[u8]) -> impl Iterator<Item = (String, Content)> + use<> {
    let peers: Vec<Value> = serde_json::from_slice(array).unwrap();
    peers.into_iter().map(named)
}

fn named(mut peer: Value) -> (String, Content) {
    let object = peer.as_object_mut().unwrap();
    object.remove("last_seen");
    (object["peer_id"].as_str().unwrap().to_owned(), peer)
}

/// A random peer registers, sends a heartbeat, deregisters, or its lease ends.
fn step(store: &EmbeddedStore, rng: &mut Rng, peers: u32, now: Timestamp) {
    let peer = format!("peer-{}", rng.u32(..peers));
    match rng.u32(..10) {
        0..4 => {
            let mut all = ARCHETYPES;
            rng.shuffle(&mut all);
            let mut put = put(&peer, SOURCE, &all[..rng.usize(..=2)]);
            put.registration.metadata = Metadata::parse(&format!(r#"{{"v":{}}}"#, rng.u8(..3))).unwrap();
            let claim = Claim { holder_rule_disabled: true, ..put.claim };
            let ttl = Ttl::from_secs(rng.u32(30..300));
            store.put_now(PutRequest { ttl, claim, ..put }, now);
        }
        4..8 => {
            store.renew_now(&peer, now);
        }
        8 => {
            store.remove_now(&peer, &Claim { holder_rule_disabled: true, ..claim(SOURCE, None) }, now);
        }
        _ => {
            block_on(store.sweep(now)).unwrap();
        }
    }
}

fn run(seed: u64, steps: usize, limits: Limits, whole: bool) -> usize {
    let mut rng = Rng::with_seed(seed);
    let store = EmbeddedStore::in_memory(limits);
    let filters: [&[&str]; 3] = [&[], &["a"], &["b", "c"]];
    let mut now = 0;
    let mut followers: Vec<_> =
        filters.iter().map(|filter| Follower::begin(&store, filter, whole, at(0), || ())).collect();
    let mut restarts = 0;
    for _ in 0..steps {
        now += if rng.u32(..20) == 0 { rng.u64(..200) } else { rng.u64(..3) };
        step(&store, &mut rng, 40, at(now));
        let which = rng.usize(..filters.len());
        if rng.u32(..6) > 0 {
            continue;
        }
        let follower = &mut followers[which];
        let exact = follower.exact;
        let (limit, max_bytes) =
            if whole { (10_000, usize::MAX) } else { (rng.usize(1..20), rng.usize(1..2_000)) };
        let caught_up = follower.catch_up(&store, limit, at(now)) && follower.read_watch(exact, max_bytes);
        if caught_up {
            follower.check(&store, at(now));
        } else {
            restarts += 1;
            let mut between = Rng::with_seed(rng.u64(..));
            *follower = Follower::begin(&store, filters[which], whole, at(now), || {
                step(&store, &mut between, 40, at(now));
            });
        }
    }
    store.check();
    restarts
}

#[test]
fn a_follower_always_knows_the_live_peers() {
    for seed in 0..20 {
        let whole = seed % 2 == 0;
        assert_eq!(run(seed, 5_000, Limits::default(), whole), 0, "no change was dropped");
    }
}

#[test]
fn a_follower_of_a_short_log_restarts_and_still_knows_the_live_peers() {
    let restarts: usize = (0..10)
        .map(|seed| run(seed, 6_000, Limits { max_changes: 24, ..Limits::default() }, seed % 2 == 0))
        .sum();
    assert!(restarts > 100, "{restarts}");
}

#[test]
fn renewals_and_identical_registrations_are_not_changes() {
    let store = EmbeddedStore::in_memory(Limits::default());
    let start = store.head(at(0)).unwrap();
    store.put_now(put("p", SOURCE, &["a"]), at(0));
    let PositionLookup::Known(joined) = store.delta(&query(&[], 9), &start, at(1)).unwrap() else { panic!() };
    assert_eq!((joined.joined.len(), joined.changed.len(), joined.left.len()), (1, 0, 0));
    store.renew_now("p", at(5));
    store.put_now(put("p", SOURCE, &["a"]), at(6));
    let PositionLookup::Known(nothing) = store.delta(&query(&[], 9), &joined.next, at(7)).unwrap() else {
        panic!()
    };
    assert_eq!(nothing.next, joined.next);
    store.put_now(put("p", SOURCE, &["b"]), at(8));
    for (filter, expected) in
        [(&[][..], (0, 1, 0)), (&["a"], (0, 0, 1)), (&["b"], (1, 0, 0)), (&["c"], (0, 0, 0))]
    {
        let PositionLookup::Known(delta) = store.delta(&query(filter, 9), &joined.next, at(9)).unwrap()
        else {
            panic!()
        };
        assert_eq!((delta.joined.len(), delta.changed.len(), delta.left.len()), expected, "{filter:?}");
    }
}

#[test]
fn an_expired_peer_is_reported_as_left_and_a_revived_peer_as_joined() {
    let store = EmbeddedStore::in_memory(Limits::default());
    store.put_now(put("p", SOURCE, &[]), at(0));
    let start = store.head(at(1)).unwrap();
    let PositionLookup::Known(left) = store.delta(&query(&[], 9), &start, at(301)).unwrap() else { panic!() };
    assert_eq!(left.left, [id("p")], "an expired peer is reported without a sweep");
    store.renew_now("p", at(400));
    let PositionLookup::Known(back) = store.delta(&query(&[], 9), &left.next, at(401)).unwrap() else {
        panic!()
    };
    assert_eq!(back.joined.len(), 1);
    let PositionLookup::Known(all) = store.delta(&query(&[], 9), &start, at(402)).unwrap() else { panic!() };
    assert_eq!(
        (all.joined.len(), all.changed.len(), all.left.len()),
        (0, 1, 0),
        "the net change is reported"
    );
}

const FOLLOWED: [&[&str]; 4] = [&[], &["a"], &["b", "c"], &[]];
const CHANGERS: usize = 3;
const CHANGES: u32 = 10_000;

#[test]
fn followers_agree_with_the_store_under_concurrent_changes() {
    let store = EmbeddedStore::in_memory(Limits { max_changes: 2_000, ..Limits::default() });
    let done = Arc::new(AtomicBool::new(false));
    let running = Arc::new(AtomicUsize::new(0));
    let mut followers = Vec::new();
    for filter in FOLLOWED {
        let (store, done, running) = (store.clone(), done.clone(), running.clone());
        followers.push(std::thread::spawn(move || {
            let mut follower = Follower::begin(&store, filter, false, at(0), || ());
            let mut rounds = 0;
            loop {
                let last = done.load(SeqCst);
                let exact = follower.exact;
                if !(follower.catch_up(&store, 50, at(0)) && follower.read_watch(exact, 4_096)) {
                    follower = Follower::begin(&store, filter, false, at(0), || ());
                } else if last {
                    follower.check(&store, at(0));
                    return rounds;
                }
                rounds += 1;
                running.fetch_add(usize::from(rounds == 1), SeqCst);
            }
        }));
    }
    std::thread::scope(|scope| {
        for seed in 0..CHANGERS {
            let (store, running, followers) = (&store, &running, &followers);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed as u64);
                for n in 0..CHANGES {
                    // The second half of the changes starts only when all followers are running,
                    // even if the system starts a thread late. If a follower has failed, the wait
                    // ends too, because it may never have run.
                    while n == CHANGES / 2
                        && running.load(SeqCst) < FOLLOWED.len()
                        && !followers.iter().any(JoinHandle::is_finished)
                    {
                        std::thread::yield_now();
                    }
                    step(store, &mut rng, 60, at(0));
                }
            });
        }
    });
    done.store(true, SeqCst);
    for follower in followers {
        assert!(follower.join().unwrap() > 0);
    }
}
