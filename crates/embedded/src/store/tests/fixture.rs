//! Helpers for the tests of the store.

use std::collections::BTreeSet;
use std::future::Future;

use aurora_discovery_protocol::{
    Address, Archetype, Archetypes, LeaseToken, Metadata, Peer, PeerId, Registration, Timestamp, Ttl, View,
};
use aurora_discovery_registry::{
    Claim, Page, PutRequest, PutResult, Query, Removal, Renewal, Signing, Source, Store, TokenHash, WebOrigin,
};

use crate::EmbeddedStore;

/// The source of heartbeats, unless a test says otherwise. It is in the same /24 as the sources of
/// most peers, so that these heartbeats are proven.
const HEARTBEAT_SOURCE: &str = "203.0.113.99";

/// The time this many seconds after the start of a test.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_759_406_400 + seconds)
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn id(text: &str) -> PeerId {
    PeerId::parse(text).unwrap()
}

pub(crate) fn token(n: u8) -> TokenHash {
    TokenHash::of(&LeaseToken::from_random([n; 16]))
}

/// The registration of a peer whose address is also the source of the request.
pub(crate) fn put(peer: &str, source: &str, archetypes: &[&str]) -> PutRequest {
    put_at(peer, source, source, archetypes)
}

/// The registration of a peer whose address differs from the source of the request.
pub(crate) fn put_at(peer: &str, source: &str, address: &str, archetypes: &[&str]) -> PutRequest {
    PutRequest {
        registration: Registration {
            peer_id: id(peer),
            address: Address::parse(address).unwrap().unwrap(),
            port: 9_000,
            archetypes: Archetypes::parse(archetypes).unwrap(),
            metadata: Metadata::default(),
        },
        ttl: Ttl::from_secs(300),
        claim: claim(source, None),
        token_only: false,
        new_token: token(0),
        signing: Signing::Unsigned,
    }
}

pub(crate) fn claim(source: &str, token: Option<TokenHash>) -> Claim {
    let source = Source::of(source.parse().unwrap());
    Claim { source, page: WebOrigin::None, token, holder_rule_disabled: false }
}

pub(crate) fn query(archetypes: &[&str], limit: usize) -> Query {
    let mut archetypes: Vec<_> = archetypes.iter().map(|name| Archetype::parse(name).unwrap()).collect();
    archetypes.sort();
    archetypes.dedup();
    Query {
        archetypes,
        exclude: None,
        view: View::Legacy,
        limit,
        page_bytes: 1 << 20,
        diverse: false,
        fill: false,
    }
}

/// The ids of a page. Fails if an id appears twice.
pub(crate) fn ids(page: &Page) -> BTreeSet<String> {
    let peers: Vec<Peer> = serde_json::from_slice(&page.peers.to_array()).unwrap();
    let ids: BTreeSet<_> = peers.iter().map(|peer| peer.peer_id.to_string()).collect();
    assert_eq!(ids.len(), peers.len(), "a peer is listed once");
    assert_eq!(page.peers.len(), peers.len());
    ids
}

impl EmbeddedStore {
    pub(crate) fn put_now(&self, put: PutRequest, now: Timestamp) -> PutResult {
        block_on(self.put(put, now)).unwrap()
    }

    /// Sends a heartbeat from a source that has no peers in these tests.
    pub(crate) fn renew_now(&self, peer: &str, now: Timestamp) -> Renewal {
        self.renew_as(peer, &claim(HEARTBEAT_SOURCE, None), now)
    }

    pub(crate) fn renew_as(&self, peer: &str, claim: &Claim, now: Timestamp) -> Renewal {
        block_on(self.renew(&id(peer), claim, now)).unwrap()
    }

    pub(crate) fn remove_now(&self, peer: &str, claim: &Claim, now: Timestamp) -> Removal {
        block_on(self.remove(&id(peer), claim, now)).unwrap()
    }

    pub(crate) fn check(&self) {
        self.shared.index.write().check_invariants();
    }
}
