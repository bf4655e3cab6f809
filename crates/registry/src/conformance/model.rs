//! Random histories, checked against a reference model. A store may extend a lease, and need not
//! store every proof, so the model can't know exact times. For each peer, it has a range of times
//! for the end of the lease, and another for the last proof of the holder. As in a store,
//! [`crate::Standing`] decides in the model which client may change a peer.

use aurora_discovery_protocol::Timestamp;
use fastrand::Rng;

use super::harness::{
    Harness, PutRequestBuilder as _, WINDOW, all_peers, at, claim_from, id, ids_of, on_page, peer, token,
};
use super::{Restart, Subject};
use crate::{Claim, Limits, Query};

mod state;

use state::Model;

const IDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const ARCHETYPES: [&str; 4] = ["w", "x", "y", "z"];
/// Two sources in one IPv4 network, two addresses of one IPv6 source, another source in their
/// network, and two sources outside these networks.
const SOURCES: [&str; 7] = [
    "203.0.113.1",
    "203.0.113.200",
    "2001:db8:1:2::3",
    "2001:db8:1:2::4",
    "2001:db8:1:3::1",
    "198.51.100.7",
    STRANGER,
];
/// The source of the heartbeats in [`History::outlive_the_proof`]. No peer registers while they are
/// sent.
const STRANGER: &str = "192.0.2.9";
/// The `Origin` headers of pages.
const ORIGINS: [&str; 3] = ["https://one.example", "https://two.example", "null"];
const TTLS: [u32; 4] = [30, 60, 300, 3_600];

pub async fn random_histories_agree_with_the_reference_model(subject: &dyn Subject) {
    history(subject, subject.guarantees().scale.steps, 9).await;
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
            30..58 => self.heartbeat().await,
            58..60 => self.outlive_the_proof().await,
            60..72 => self.deregister().await,
            72..90 => self.sample().await,
            90..95 => self.enumerate().await,
            95..97 => self.census().await,
            97..99 => drop(self.harness.sweep(self.now).await),
            _ => self.restart().await,
        }
    }

    /// Usually advances a little, sometimes beyond leases and the revival window, and often to the
    /// end of a lease or to one millisecond before it.
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
        if let Some((earliest, latest)) = self.model.lease_end_of(&id(name)) {
            let end = if self.rng.bool() { earliest } else { latest };
            let ttl_millis =
                self.model.ttl_of(&id(name)).map_or(0, aurora_discovery_protocol::Ttl::as_millis);
            let after = match self.rng.u8(..20) {
                0 => WINDOW * 1_000,
                1..4 => 3 * ttl_millis,
                _ => 0,
            };
            self.now = self.now.max(end.plus_millis(after).minus_millis(self.rng.u64(..2)));
        }
    }

    async fn register(&mut self) {
        let name = self.any_id();
        self.register_as(name).await;
    }

    async fn register_as(&mut self, name: &str) {
        let carried: Vec<_> = ARCHETYPES.into_iter().filter(|_| self.rng.bool()).collect();
        let mut put =
            peer(name).with_archetypes(&carried).with_metadata(&format!("{{\"n\":{}}}", self.rng.u64(..)));
        put = put
            .with_source(&self.source(name))
            .with_ttl(self.any(&TTLS))
            .with_new_token(token(self.rng.u8(..)));
        put.token_only = self.rng.u8(..6) == 0;
        if self.rng.u8(..4) == 0 {
            put = put.signed_by(self.rng.u8(1..3), self.rng.u64(..40));
        }
        put.claim = self.claim(name, put.claim);
        let placement = self.harness.put(&put, self.now).await;
        self.model.registered(put, placement, self.now);
    }

    async fn heartbeat(&mut self) {
        let name = self.any_id();
        let source = self.source(name);
        let claim = self.claim(name, claim_from(&source));
        self.send_heartbeat(name, &claim).await;
    }

    async fn send_heartbeat(&mut self, name: &str, claim: &Claim) {
        let renewal = self.harness.renew_as(name, claim, self.now).await;
        self.model.renewed(&id(name), claim, renewal, self.now);
    }

    /// A stranger keeps a peer alive while its holder is silent for 11 to 13 leases. Then a client
    /// tries to replace the peer. This is permitted after twelve leases without proof, so the
    /// attempt succeeds in some cases only.
    async fn outlive_the_proof(&mut self) {
        let name = self.any_id();
        let Some(ttl) = self.model.ttl_of(&id(name)) else { return };
        for _ in 0..self.rng.u64(22..27) {
            self.now = self.now.plus_millis(ttl.as_millis() / 2);
            self.send_heartbeat(name, &claim_from(STRANGER)).await;
        }
        self.register_as(name).await;
    }

    async fn deregister(&mut self) {
        let name = self.any_id();
        let source = self.source(name);
        let claim = self.claim(name, claim_from(&source));
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

    /// Half of the time the source that the peer registered from, otherwise any.
    fn source(&mut self, name: &str) -> String {
        let any = self.any(&SOURCES).to_owned();
        let known = self.model.address_of(&id(name));
        known.filter(|_| self.rng.bool()).unwrap_or(any)
    }

    /// Presents no token, the right token, or a random one. The request comes from a web page or
    /// not.
    fn claim(&mut self, name: &str, claim: Claim) -> Claim {
        let right = self.model.token_of(&id(name));
        let claim = if self.rng.bool() { on_page(self.any(&ORIGINS), claim) } else { claim };
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
