//! Helpers for the cases.

use std::sync::Arc;

use aurora_discovery_protocol::{Peer, Timestamp, Ttl, View};

use super::{Guarantees, Subject};
use crate::{
    Census, Claim, Enumeration, Limits, Page, Position, PutRequest, PutResult, Query, Removal, Renewal,
    Store, Swept, Total,
};

mod request;

pub(super) use request::{
    PutRequestBuilder, archetype, claim_from, claim_with, id, key_of, on_page, peer, token,
};

/// The time at which each case starts. It is not a whole second. It is in the year 2100, so that it
/// is in the future even for a store that also reads the wall clock.
const START_MILLIS: u64 = 4_102_444_800_123;
/// The source of peers, unless a case says otherwise.
pub(super) const HOLDER_SOURCE: &str = "203.0.113.1";
/// The source of other clients.
pub(super) const OTHER_SOURCE: &str = "198.51.100.7";
/// Another source in the network of [`HOLDER_SOURCE`].
pub(super) const NEIGHBOUR_SOURCE: &str = "203.0.113.200";
/// The duration of leases in seconds, unless a case says otherwise.
pub(super) const TTL: u64 = 300;
/// The maximum time for which a lease of `TTL` may run, because a store may extend a lease by up to
/// a third.
pub(super) const TTL_AND_A_THIRD: u64 = 400;
/// The default revival window, in seconds.
pub(super) const WINDOW: u64 = 24 * 3_600;
/// More pages than any enumeration in the suite has, so that an endless enumeration is detected.
const MAX_PAGES: usize = 5_000;

/// The time `seconds` after the start.
pub(super) fn at(seconds: u64) -> Timestamp {
    at_millis(seconds * 1_000)
}

/// The time `millis` after the start.
pub(super) fn at_millis(millis: u64) -> Timestamp {
    Timestamp::from_millis(START_MILLIS + millis)
}

/// The result of renewing a lease of `seconds`.
pub(super) fn renewed(seconds: u32, revived: bool, registered_at: Timestamp) -> Renewal {
    Renewal::Renewed { ttl: Ttl::from_secs(seconds), revived, registered_at }
}

/// A query for all peers, with bounds that no case reaches.
pub(super) fn all_peers() -> Query {
    Query {
        archetypes: Vec::new(),
        exclude: None,
        view: View::Legacy,
        limit: 10_000,
        page_bytes: 16 << 20,
        diverse: false,
        fill: false,
    }
}

/// A query for all peers that carry any of `archetypes`.
pub(super) fn peers_with_any(archetypes: &[&str]) -> Query {
    let mut archetypes: Vec<_> = archetypes.iter().map(|text| archetype(text)).collect();
    archetypes.sort();
    Query { archetypes, ..all_peers() }
}

/// A page of the store, parsed as a client would.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) peers: Vec<Peer>,
    pub(super) total: Total,
    pub(super) bytes: usize,
    pub(super) json: Vec<u8>,
}

impl Listing {
    fn read(page: &Page) -> Self {
        let json = page.peers.to_array();
        let peers: Vec<Peer> = serde_json::from_slice(&json).expect("a list of peers");
        assert_eq!(peers.len(), page.peers.len(), "the length of the list is the number of its peers");
        Self { peers, total: page.total, bytes: page.peers.bytes(), json }
    }

    /// The ids, sorted.
    pub(super) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.peers.iter().map(|peer| peer.peer_id.to_string()).collect();
        ids.sort();
        ids
    }
}

/// An open store, with methods that panic on failure.
pub(super) struct Harness {
    pub(super) store: Arc<dyn Store>,
    pub(super) guarantees: Guarantees,
}

impl Harness {
    /// Opens the subject's store, empty and with the default limits.
    pub(super) async fn open(subject: &dyn Subject) -> Self {
        Self::within(subject, &Limits::default()).await
    }

    /// Opens the subject's store, empty and within `limits`.
    pub(super) async fn within(subject: &dyn Subject, limits: &Limits) -> Self {
        Self { store: subject.open(limits, at(0)).await, guarantees: subject.guarantees() }
    }

    pub(super) async fn put(&self, put: &PutRequest, now: Timestamp) -> PutResult {
        self.store.put(put.clone(), now).await.expect("put does not fail")
    }

    /// Registers a peer, which must succeed. Returns whether the presented token remains valid.
    pub(super) async fn register(&self, put: &PutRequest, now: Timestamp) -> bool {
        match self.put(put, now).await {
            PutResult::Stored { token_kept } => token_kept,
            refused => panic!("the registration of {} was refused: {refused:?}", put.registration.peer_id),
        }
    }

    /// Registers `count` peers that carry `archetypes`, named `<prefix><number>`. Returns their
    /// names, sorted.
    pub(super) async fn register_many(
        &self,
        prefix: &str,
        count: u32,
        archetypes: &[&str],
        now: Timestamp,
    ) -> Vec<String> {
        let mut names: Vec<_> = (0..count).map(|n| format!("{prefix}{n}")).collect();
        for name in &names {
            self.register(&peer(name).with_archetypes(archetypes), now).await;
        }
        names.sort();
        names
    }

    /// Sends a heartbeat from [`HOLDER_SOURCE`] without a token.
    pub(super) async fn renew(&self, name: &str, now: Timestamp) -> Renewal {
        self.renew_as(name, &claim_from(HOLDER_SOURCE), now).await
    }

    pub(super) async fn renew_as(&self, name: &str, claim: &Claim, now: Timestamp) -> Renewal {
        self.store.renew(&id(name), claim, now).await.expect("renew does not fail")
    }

    /// Renews the lease of a peer, which must be live, from [`HOLDER_SOURCE`].
    pub(super) async fn heartbeat(&self, name: &str, now: Timestamp) {
        let renewal = self.renew(name, now).await;
        assert!(matches!(renewal, Renewal::Renewed { revived: false, .. }), "{name}: {renewal:?}");
    }

    pub(super) async fn remove(&self, name: &str, claim: &Claim, now: Timestamp) -> Removal {
        self.store.remove(&id(name), claim, now).await.expect("remove does not fail")
    }

    pub(super) async fn sample(&self, query: &Query, now: Timestamp) -> Listing {
        Listing::read(&self.store.sample(query, now).await.expect("sample does not fail"))
    }

    /// The ids of all live peers, sorted.
    pub(super) async fn live(&self, now: Timestamp) -> Vec<String> {
        self.sample(&all_peers(), now).await.ids()
    }

    /// The live peer with this name.
    pub(super) async fn find(&self, name: &str, now: Timestamp) -> Option<Peer> {
        let mut peers = self.sample(&all_peers(), now).await.peers;
        peers.retain(|peer| peer.peer_id.as_str() == name);
        assert!(peers.len() <= 1, "{name} is listed twice");
        peers.pop()
    }

    /// The end of a live peer's lease. Another client tries to deregister the peer, and the refusal
    /// of the store contains the end.
    pub(super) async fn lease_end(&self, name: &str, now: Timestamp) -> Timestamp {
        match self.remove(name, &claim_from("192.0.2.99"), now).await {
            Removal::Held(held) => held.until,
            other => panic!("{name} is not held: {other:?}"),
        }
    }

    pub(super) async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> (Listing, Option<Position>) {
        match self.store.enumerate(query, after, now).await.expect("enumerate does not fail") {
            Enumeration::Page(page, next) => (Listing::read(&page), next),
            other => panic!("the store refused its own position: {other:?}"),
        }
    }

    /// All pages of an enumeration.
    pub(super) async fn pages(&self, query: &Query, now: Timestamp) -> Vec<Listing> {
        let mut pages = Vec::new();
        let mut after = None;
        loop {
            let (page, next) = self.enumerate(query, after.as_ref(), now).await;
            pages.push(page);
            assert!(pages.len() < MAX_PAGES, "the enumeration does not end");
            match next {
                Some(position) => after = Some(position),
                None => return pages,
            }
        }
    }

    pub(super) async fn census(&self, archetypes: usize, now: Timestamp) -> Census {
        self.store.census(archetypes, now).await.expect("census does not fail")
    }

    pub(super) async fn sweep(&self, now: Timestamp) -> Swept {
        self.store.sweep(now).await.expect("sweep does not fail")
    }
}

/// The ids in all pages, sorted. An id that was listed several times is repeated.
pub(super) fn ids_of(pages: &[Listing]) -> Vec<String> {
    let mut ids: Vec<_> = pages.iter().flat_map(Listing::ids).collect();
    ids.sort();
    ids
}
