//! Random histories, checked against a reference model. The model is a map from each peer to the
//! range in which its lease ends.

use std::collections::HashMap;

use aurora_discovery_protocol::{Archetype, PeerId, Timestamp};
use fastrand::Rng;

use super::harness::{
    Harness, Listing, PutRequestBuilder as _, WINDOW, all_peers, at, claim_from, id, ids_of, peer, token,
};
use super::{Restart, Subject};
use crate::{Claim, Holder, Limits, PutRequest, PutResult, Query, Removal, Renewal};

const IDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const ARCHETYPES: [&str; 4] = ["w", "x", "y", "z"];
/// The last two addresses belong to one source.
const SOURCES: [&str; 4] = ["203.0.113.1", "198.51.100.7", "2001:db8:1:2::3", "2001:db8:1:2::4"];
const TTLS: [u32; 4] = [30, 60, 300, 3_600];

pub async fn random_histories_agree_with_the_reference_model(subject: &dyn Subject) {
    history(subject, subject.guarantees().scale.steps, 7).await;
}

/// Runs `steps` random calls. Each result must be among those that the model allows. The same seed
/// gives the same history.
pub async fn history(subject: &dyn Subject, steps: u32, seed: u64) {
    let mut history = History {
        subject,
        harness: Harness::open(subject).await,
        rng: Rng::with_seed(seed),
        now: at(0),
        model: Model::default(),
    };
    for step in 0..steps {
        let context = Context { seed, step };
        history.step().await;
        drop(context);
    }
}

/// Prints the seed and the step when a history fails.
struct Context {
    seed: u64,
    step: u32,
}

impl Drop for Context {
    #[allow(clippy::print_stderr, reason = "a failing test says how to run it again")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the history of seed {} failed at step {}", self.seed, self.step);
        }
    }
}

struct History<'s> {
    subject: &'s dyn Subject,
    harness: Harness,
    rng: Rng,
    now: Timestamp,
    model: Model,
}

impl History<'_> {
    async fn step(&mut self) {
        self.advance_time();
        match self.rng.u32(..100) {
            0..30 => self.register().await,
            30..60 => self.heartbeat().await,
            60..72 => self.deregister().await,
            72..90 => self.sample().await,
            90..95 => self.enumerate().await,
            95..97 => self.census().await,
            97..99 => drop(self.harness.sweep(self.now).await),
            _ => self.restart().await,
        }
    }

    /// Usually advances a little, sometimes beyond leases and the revival window, and often to the
    /// exact end of a lease.
    fn advance_time(&mut self) {
        let millis = match self.rng.u32(..1_000) {
            0..300 => 0,
            300..700 => self.rng.u64(..5_000),
            700..850 => return self.advance_to_the_end_of_a_lease(),
            850..950 => self.rng.u64(..120_000),
            950..990 => self.rng.u64(..600_000),
            990..998 => self.rng.u64(..WINDOW * 1_000),
            _ => 2 * WINDOW * 1_000,
        };
        self.now = self.now.plus_millis(millis);
    }

    fn advance_to_the_end_of_a_lease(&mut self) {
        let name = self.any_id();
        if let Some(known) = self.model.peers.get(&id(name)) {
            let end = if self.rng.bool() { known.lease_end.earliest } else { known.lease_end.latest };
            let window = if self.rng.u8(..20) == 0 { WINDOW * 1_000 } else { 0 };
            self.now = self.now.max(end.plus_millis(window).minus_millis(self.rng.u64(..2)));
        }
    }

    async fn register(&mut self) {
        let carried: Vec<_> = ARCHETYPES.into_iter().filter(|_| self.rng.bool()).collect();
        let name = self.any_id();
        let mut put =
            peer(name).with_archetypes(&carried).with_metadata(&format!("{{\"n\":{}}}", self.rng.u64(..)));
        put = put
            .with_source(self.any(&SOURCES))
            .with_ttl(self.any(&TTLS))
            .with_new_token(token(self.rng.u8(..)));
        put.claim = self.claim(name, put.claim);
        let placement = self.harness.put(&put, self.now).await;
        self.model.registered(put, placement, self.now);
    }

    async fn heartbeat(&mut self) {
        let name = self.any_id();
        let renewal = self.harness.renew(name, self.now).await;
        self.model.renewed(&id(name), renewal, self.now);
    }

    async fn deregister(&mut self) {
        let name = self.any_id();
        let source = self.any(&SOURCES);
        let claim = self.claim(name, claim_from(source));
        let removal = self.harness.remove(name, &claim, self.now).await;
        self.model.deregistered(&id(name), &claim, removal, self.now);
    }

    async fn sample(&mut self) {
        let query = self.query();
        let listing = self.harness.sample(&query, self.now).await;
        let whole = listing.peers.len() < query.limit;
        self.model.listed(&query, &[listing], whole, self.now);
    }

    async fn enumerate(&mut self) {
        let query = self.query();
        let pages = self.harness.pages(&query, self.now).await;
        let mut ids = ids_of(&pages);
        ids.dedup();
        assert_eq!(ids, ids_of(&pages), "an enumeration lists each peer once");
        self.model.listed(&query, &pages, true, self.now);
    }

    async fn census(&mut self) {
        if self.harness.guarantees.exact_census {
            let census = self.harness.census(0, self.now).await;
            self.model.counted(census.live, census.dormant, self.now);
        }
    }

    async fn restart(&mut self) {
        let restart = self.harness.guarantees.restart;
        if restart == Restart::Empty {
            return;
        }
        self.harness.store.close().await.expect("close does not fail");
        let stopped = self.now;
        self.now = stopped.plus_millis(self.rng.u64(..4_000_000));
        self.harness.store = self.subject.open(&Limits::default(), self.now).await;
        if restart == Restart::LeasesRenewed {
            self.model.restarted(stopped, self.now);
        }
    }

    fn query(&mut self) -> Query {
        let mut archetypes: Vec<_> =
            ARCHETYPES.into_iter().filter(|_| self.rng.u8(..3) == 0).map(super::harness::archetype).collect();
        archetypes.sort();
        let exclude = self.rng.bool().then(|| id(self.any_id()));
        let limit = if self.rng.bool() { 100 } else { self.rng.usize(1..=8) };
        Query { archetypes, exclude, limit, ..all_peers() }
    }

    /// Presents no token, the right token, or a random one.
    fn claim(&mut self, name: &str, claim: Claim) -> Claim {
        let right = self.model.peers.get(&id(name)).map(|known| known.holder.token);
        let token = match self.rng.u8(..4) {
            0 => right,
            1 => Some(token(self.rng.u8(..))),
            _ => None,
        };
        Claim { token, holder_rule_disabled: self.rng.u8(..40) == 0, ..claim }
    }

    fn any_id(&mut self) -> &'static str {
        self.any(&IDS)
    }

    fn any<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(..from.len())]
    }
}

/// The states that the contract allows.
#[derive(Default)]
struct Model {
    peers: HashMap<PeerId, KnownPeer>,
}

struct KnownPeer {
    put: PutRequest,
    holder: Holder,
    lease_end: LeaseEnd,
}

/// The range in which a lease ends, inclusive. A store may extend a lease by up to a third, so that
/// the model does not know the exact end. Each result of the store narrows the range.
#[derive(Clone, Copy, Debug)]
struct LeaseEnd {
    earliest: Timestamp,
    latest: Timestamp,
}

impl LeaseEnd {
    fn of_lease(put: &PutRequest, now: Timestamp) -> Self {
        let earliest = now + put.ttl;
        Self { earliest, latest: earliest.plus_millis(put.ttl.as_millis() / 3) }
    }

    fn observed_live(&mut self, now: Timestamp) {
        assert!(now < self.latest, "live at {now:?}, but its lease ended: {self:?}");
        self.earliest = self.earliest.max(now.plus_millis(1));
    }

    fn observed_not_live(&mut self, now: Timestamp) {
        assert!(now >= self.earliest, "not live at {now:?}, but its lease runs: {self:?}");
        self.latest = self.latest.min(now);
    }

    fn observed_known(&mut self, now: Timestamp) {
        assert!(now < revival_end(self.latest), "revived at {now:?}, after the window: {self:?}");
    }

    fn observed_unknown(&mut self, now: Timestamp) {
        assert!(now >= revival_end(self.earliest), "unknown at {now:?}, within the window: {self:?}");
    }

    fn reported_end(&mut self, until: Timestamp, now: Timestamp) {
        self.observed_live(now);
        assert!((self.earliest..=self.latest).contains(&until), "until {until:?}: {self:?}");
        *self = Self { earliest: until, latest: until };
    }
}

fn revival_end(lease_end: Timestamp) -> Timestamp {
    lease_end.plus_millis(WINDOW * 1_000)
}

impl Model {
    fn registered(&mut self, put: PutRequest, placement: PutResult, now: Timestamp) {
        let known = self.peers.get_mut(&put.registration.peer_id);
        let mut token = put.new_token;
        match (placement, known) {
            (PutResult::Stored { token_kept }, None) => {
                assert!(!token_kept, "an unknown peer has no token to keep");
            }
            (PutResult::Stored { token_kept }, Some(known)) => {
                if !put.claim.matches(&known.holder) {
                    known.lease_end.observed_not_live(now);
                }
                if token_kept {
                    known.lease_end.observed_known(now);
                    assert!(
                        put.claim.has_token_of(&known.holder),
                        "the store kept a token that the caller did not present"
                    );
                    token = known.holder.token;
                } else if put.claim.has_token_of(&known.holder) {
                    known.lease_end.observed_unknown(now);
                }
            }
            (PutResult::Held { until }, Some(known)) if !put.claim.matches(&known.holder) => {
                return known.lease_end.reported_end(until, now);
            }
            (refused, _) => panic!("{put:?} was refused: {refused:?}"),
        }
        let holder = Holder { source: put.claim.source, token };
        let lease_end = LeaseEnd::of_lease(&put, now);
        self.peers.insert(put.registration.peer_id.clone(), KnownPeer { put, holder, lease_end });
    }

    fn renewed(&mut self, peer: &PeerId, renewal: Renewal, now: Timestamp) {
        let Some(known) = self.peers.get_mut(peer) else {
            return assert_eq!(renewal, Renewal::Unknown, "a heartbeat never creates a peer");
        };
        match renewal {
            Renewal::Renewed { ttl, revived, .. } => {
                assert_eq!(ttl, known.put.ttl);
                if revived {
                    known.lease_end.observed_not_live(now);
                    known.lease_end.observed_known(now);
                } else {
                    known.lease_end.observed_live(now);
                }
                known.lease_end = LeaseEnd::of_lease(&known.put, now);
            }
            Renewal::Unknown => {
                known.lease_end.observed_unknown(now);
                self.peers.remove(peer);
            }
        }
    }

    fn deregistered(&mut self, peer: &PeerId, claim: &Claim, removal: Removal, now: Timestamp) {
        let Some(known) = self.peers.get_mut(peer) else {
            return assert_eq!(removal, Removal::Unknown);
        };
        match removal {
            Removal::Held { until } => {
                assert!(!claim.matches(&known.holder), "the holder was refused");
                return known.lease_end.reported_end(until, now);
            }
            Removal::Removed { was_live: true } => {
                assert!(claim.matches(&known.holder), "another client deregistered a live peer");
                known.lease_end.observed_live(now);
            }
            Removal::Removed { was_live: false } => {
                known.lease_end.observed_not_live(now);
                known.lease_end.observed_known(now);
            }
            Removal::Unknown => known.lease_end.observed_unknown(now),
        }
        self.peers.remove(peer);
    }

    /// `whole` means that the pages are complete, so that a matching peer that they do not list is
    /// not live.
    fn listed(&mut self, query: &Query, pages: &[Listing], whole: bool, now: Timestamp) {
        let mut listed: HashMap<_, _> =
            pages.iter().flat_map(|page| &page.peers).map(|peer| (peer.peer_id.clone(), peer)).collect();
        for (id, known) in &mut self.peers {
            match listed.remove(id) {
                Some(peer) => {
                    let published = &known.put.registration;
                    assert_eq!(
                        (&peer.archetypes, &peer.metadata),
                        (&published.archetypes, &published.metadata)
                    );
                    assert!(matches(query, known), "{id} does not match");
                    known.lease_end.observed_live(now);
                }
                None if whole && matches(query, known) => known.lease_end.observed_not_live(now),
                None => {}
            }
        }
        assert!(listed.is_empty(), "listed, but not registered: {listed:?}");
    }

    fn counted(&self, live: u64, dormant: u64, now: Timestamp) {
        let count = |state: &dyn Fn(&LeaseEnd) -> bool| {
            self.peers.values().filter(|known| state(&known.lease_end)).map(|_| 1_u64).sum::<u64>()
        };
        let surely_live = count(&|end| now < end.earliest);
        let maybe_live = count(&|end| now < end.latest);
        assert!((surely_live..=maybe_live).contains(&live), "{live} live: {surely_live} to {maybe_live}");
        let surely_known = count(&|end| now < revival_end(end.earliest));
        let maybe_known = count(&|end| now < revival_end(end.latest));
        let known = live + dormant;
        assert!(
            (surely_known..=maybe_known).contains(&known),
            "{known} known: {surely_known} to {maybe_known}"
        );
    }

    /// Each peer that was live when the store stopped has one whole lease. A peer that was dormant
    /// may have one too.
    fn restarted(&mut self, stopped: Timestamp, now: Timestamp) {
        for known in self.peers.values_mut() {
            let whole = LeaseEnd::of_lease(&known.put, now);
            let surely_live = stopped < known.lease_end.earliest;
            let earliest = if surely_live { whole.earliest } else { known.lease_end.earliest };
            known.lease_end = LeaseEnd { earliest, latest: whole.latest };
        }
    }
}

fn matches(query: &Query, known: &KnownPeer) -> bool {
    let carried: &[Archetype] = known.put.registration.archetypes.as_slice();
    let excluded = query.exclude.as_ref() == Some(&known.put.registration.peer_id);
    let wanted = query.archetypes.is_empty() || query.archetypes.iter().any(|a| carried.contains(a));
    wanted && !excluded
}
