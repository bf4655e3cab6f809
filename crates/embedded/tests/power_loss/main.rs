//! The store's guarantees under power loss, tested through the operations that the service uses: no
//! acknowledged registration is lost, no deregistered peer comes back, and every start succeeds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_embedded::testing::{LossyDisk, open_on};
use aurora_discovery_embedded::{EmbeddedOptions, EmbeddedStore};
use aurora_discovery_protocol::{
    Address, Archetypes, LeaseToken, Metadata, Peer, PeerId, Registration, Timestamp, Ttl, View,
};
use aurora_discovery_registry::{
    Claim, PutRequest, PutResult, Query, Removal, Renewal, Signing, Source, Store, StoreError, Swept,
    TokenHash, WebOrigin,
};
use fastrand::Rng;
use tokio::task::JoinSet;

/// Number of power losses that the tests simulate.
const LOSSES: u64 = 1_000;

/// Few peers, so that each registers and deregisters often.
const PEERS: usize = 12;

/// The state of a peer in the model: the port of its latest registration, or `None` if it is not
/// registered. Ports are random, so that they tell registrations apart.
type State = Option<u16>;

/// The states in which a peer may be found after a power loss.
#[derive(Clone, Debug, Default)]
struct Expected {
    acknowledged: State,
    /// The states from later requests that were never acknowledged. Each of these requests may have
    /// taken effect or not.
    possible: Vec<State>,
}

impl Expected {
    fn acknowledge(&mut self, state: State) {
        *self = Self { acknowledged: state, possible: Vec::new() };
    }

    fn allows(&self, found: State) -> bool {
        found == self.acknowledged || self.possible.contains(&found)
    }
}

#[derive(Debug, Default)]
struct Counts {
    losses: u64,
    losses_while_opening: u64,
    registered: u64,
    deregistered: u64,
    heartbeats: u64,
    expired: u64,
    refused: u64,
    checkpoints: u64,
    torn_tails: u64,
    acknowledged_lost: u64,
    deregistered_restored: u64,
    unclean_starts: u64,
}

impl Counts {
    fn violations(&self) -> u64 {
        self.acknowledged_lost + self.deregistered_restored + self.unclean_starts
    }
}

struct Simulation {
    rng: Rng,
    now: Timestamp,
    disk: LossyDisk,
    peers: Vec<Expected>,
    counts: Counts,
}

/// The result of one operation.
enum Outcome {
    Registered(usize, u16, Result<PutResult, StoreError>),
    Deregistered(usize, Result<Removal, StoreError>),
    Renewed(usize, Result<Renewal, StoreError>),
}

impl Simulation {
    fn new(seed: u64, disk: LossyDisk) -> Self {
        let (rng, now) = (Rng::with_seed(seed), Timestamp::from_secs(1_759_406_400));
        Self { rng, now, disk, peers: vec![Expected::default(); PEERS], counts: Counts::default() }
    }

    /// Runs and loses power until this has happened `losses` times, or a guarantee is violated.
    async fn run(mut self, losses: u64) -> Counts {
        while self.counts.losses < losses && self.counts.violations() == 0 {
            let Some(store) = self.open() else { continue };
            self.verify(&store).await;
            self.disk.lose_power_after(self.rng.u64(..150));
            while !self.disk.has_lost_power() {
                self.round(&store).await;
            }
            self.lose_power();
        }
        self.counts
    }

    fn lose_power(&mut self) {
        self.disk = self.disk.lose_power();
        self.counts.losses += 1;
    }

    /// Opens the store. The power may fail while it opens.
    fn open(&mut self) -> Option<Arc<EmbeddedStore>> {
        if self.rng.u8(..8) == 0 {
            self.disk.lose_power_after(self.rng.u64(..40));
            drop(open_on(Arc::new(self.disk.clone()), options(), self.now));
            self.counts.losses_while_opening += 1;
            self.lose_power();
        }
        let opened = open_on(Arc::new(self.disk.clone()), options(), self.now);
        let clean = |store: &Arc<EmbeddedStore>| store.restored().skipped_records == 0;
        let store = opened.ok().filter(clean);
        match &store {
            Some(store) => self.counts.torn_tails += u64::from(store.restored().journal.torn_bytes > 0),
            None => self.counts.unclean_starts += 1,
        }
        store
    }

    /// Compares the peers that a start found with the expected ones.
    async fn verify(&mut self, store: &EmbeddedStore) {
        let mut known = [false; PEERS];
        for (peer, known) in known.iter_mut().enumerate() {
            // Revives dormant peers, so that all known peers are listed.
            *known = store.renew(&id(peer), &claim(), self.now).await.unwrap() != Renewal::Unknown;
        }
        let listed = listed(store, self.now).await;
        for (peer, expected) in self.peers.iter_mut().enumerate() {
            let found = listed.get(&id(peer)).copied();
            assert_eq!(known[peer], found.is_some(), "a heartbeat and a listing disagree");
            if !expected.allows(found) {
                match expected.acknowledged {
                    Some(_) => self.counts.acknowledged_lost += 1,
                    None => self.counts.deregistered_restored += 1,
                }
            }
            expected.acknowledge(found);
        }
    }

    /// A few concurrent operations on different peers. Sometimes the disk fails meanwhile, or a
    /// checkpoint is taken.
    async fn round(&mut self, store: &Arc<EmbeddedStore>) {
        self.now = self.now.plus_millis(self.rng.u64(..60_000));
        let Swept { expired, .. } = store.sweep(self.now).await.unwrap();
        self.counts.expired += expired;
        let fault = self.rng.u8(..12);
        match fault {
            0 => self.disk.set_sync_fails(true),
            1 => self.disk.set_capacity(Some(self.disk.used())),
            _ => {}
        }
        let mut operations = JoinSet::new();
        let first = self.rng.usize(..PEERS);
        for next in 0..self.rng.usize(1..PEERS) {
            self.start_operation(store, (first + next) % PEERS, &mut operations);
        }
        let checkpoint = (self.rng.u8(..10) == 0).then(|| {
            let store = Arc::clone(store);
            tokio::task::spawn_blocking(move || store.checkpoint())
        });
        while let Some(outcome) = operations.join_next().await {
            self.record_outcome(outcome.unwrap());
        }
        if let Some(checkpoint) = checkpoint {
            self.counts.checkpoints += u64::from(checkpoint.await.unwrap().is_ok());
        }
        self.disk.set_sync_fails(false);
        self.disk.set_capacity(None);
        while store.health().await.is_err() && !self.disk.has_lost_power() {
            tokio::task::yield_now().await;
        }
        if !self.disk.has_lost_power() {
            // Once the journal has healed, it is certain that refused changes did not take effect.
            self.peers.iter_mut().for_each(|peer| peer.possible.clear());
        }
    }

    fn start_operation(
        &mut self,
        store: &Arc<EmbeddedStore>,
        peer: usize,
        operations: &mut JoinSet<Outcome>,
    ) {
        let (store, now) = (Arc::clone(store), self.now);
        match self.rng.u8(..4) {
            0 | 1 => {
                let port = self.rng.u16(1..);
                operations.spawn(async move {
                    Outcome::Registered(peer, port, store.put(put(peer, port), now).await)
                });
            }
            2 => {
                operations.spawn(async move {
                    Outcome::Deregistered(peer, store.remove(&id(peer), &claim(), now).await)
                });
            }
            _ => {
                operations.spawn(async move {
                    Outcome::Renewed(peer, store.renew(&id(peer), &claim(), now).await)
                });
            }
        }
    }

    fn record_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Registered(peer, port, Ok(placement)) => {
                assert!(matches!(placement, PutResult::Stored { .. }), "{placement:?}");
                self.peers[peer].acknowledge(Some(port));
                self.counts.registered += 1;
            }
            Outcome::Registered(peer, port, Err(_)) => self.refused(peer, Some(port)),
            Outcome::Deregistered(peer, Ok(removal)) => {
                let known = self.peers[peer].acknowledged.is_some();
                assert_eq!(matches!(removal, Removal::Removed { .. }), known, "{removal:?}");
                self.peers[peer].acknowledge(None);
                self.counts.deregistered += u64::from(known);
            }
            Outcome::Deregistered(peer, Err(_)) => self.refused(peer, None),
            Outcome::Renewed(peer, renewal) => {
                let known = self.peers[peer].acknowledged.is_some();
                assert_eq!(renewal.unwrap() != Renewal::Unknown, known, "a refused operation had an effect");
                self.counts.heartbeats += 1;
            }
        }
    }

    fn refused(&mut self, peer: usize, state: State) {
        self.peers[peer].possible.push(state);
        self.counts.refused += 1;
    }
}

fn options() -> EmbeddedOptions {
    EmbeddedOptions {
        heal_interval: Duration::from_millis(1),
        preallocate: 4096,
        ..EmbeddedOptions::default()
    }
}

fn id(peer: usize) -> PeerId {
    PeerId::parse(&format!("peer-{peer}")).unwrap()
}

fn claim() -> Claim {
    let source = Source::of("203.0.113.7".parse().unwrap());
    Claim { source, page: WebOrigin::None, token: None, holder_rule_disabled: false }
}

fn put(peer: usize, port: u16) -> PutRequest {
    PutRequest {
        registration: Registration {
            peer_id: id(peer),
            address: Address::parse("203.0.113.7").unwrap().unwrap(),
            port,
            archetypes: Archetypes::parse(&["pepino", "ethics"]).unwrap(),
            metadata: Metadata::default(),
        },
        ttl: Ttl::from_secs(60),
        claim: claim(),
        token_only: false,
        new_token: TokenHash::of(&LeaseToken::from_random([1; 16])),
        signing: Signing::Unsigned,
    }
}

/// The port of each live peer.
async fn listed(store: &EmbeddedStore, now: Timestamp) -> HashMap<PeerId, u16> {
    let query = Query {
        archetypes: Vec::new(),
        exclude: None,
        view: View::Legacy,
        limit: 1_000,
        page_bytes: 1 << 20,
        diverse: false,
        fill: false,
    };
    let page = store.sample(&query, now).await.unwrap();
    let peers: Vec<Peer> = serde_json::from_slice(&page.peers.to_array()).unwrap();
    peers.into_iter().map(|peer| (peer.peer_id, peer.port)).collect()
}

#[tokio::test]
async fn a_thousand_power_losses_lose_no_registration_and_restore_no_deregistered_peer() {
    let counts = Simulation::new(1, LossyDisk::new(1)).run(LOSSES).await;
    println!("{counts:#?}");
    // The last round may lose power twice (while the store opens, and after that), so there may be
    // more losses than requested.
    assert!(counts.losses >= LOSSES && counts.violations() == 0, "{counts:#?}");
    let enough_events = counts.registered.min(counts.deregistered).min(counts.expired) > LOSSES / 2;
    assert!(
        enough_events && counts.checkpoints > 100 && counts.torn_tails > 10,
        "too few events for a meaningful test: {counts:#?}"
    );
}

#[tokio::test]
async fn the_power_loss_test_detects_missing_syncs() {
    let (mut lost, mut restored, mut unclean) = (0, 0, 0);
    for seed in 0..100 {
        let counts = Simulation::new(seed, LossyDisk::new(seed).without_sync()).run(LOSSES).await;
        assert!(counts.violations() > 0, "{counts:#?}");
        lost += counts.acknowledged_lost;
        restored += counts.deregistered_restored;
        unclean += counts.unclean_starts;
    }
    println!(
        "100 runs: {lost} registrations lost, {restored} deregistered peers restored, {unclean} starts refused"
    );
    assert!(lost + restored > 0 && unclean > 0);
}
