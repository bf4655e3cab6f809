//! Data directories of released versions open without loss. `scripts/make-fixture` adds those of
//! the next release.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a directory that does not open fails the test")]

mod fixture;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_protocol::{LeaseToken, PeerId, Registration, Timestamp, Ttl, View};
use aurora_discovery_registry::{
    Claim, Enumeration, PutRequest, PutResult, Query, Removal, Renewal, Source, Store, TokenHash,
};
use fixture::{ExpectedPeer, Fixture};
use serde_json::{Value, json};

/// The address that all peers of a fixture registered from, and an address that none used.
const HOME: &str = "127.0.0.1";
const ELSEWHERE: &str = "198.51.100.8";

#[tokio::test]
async fn data_directories_of_earlier_releases_open_without_loss_or_damage() {
    for fixture in Fixture::all() {
        let store = fixture.open(fixture.now);
        let restored = store.restored();
        let counted = (restored.live, restored.dormant);
        assert_eq!(counted, (fixture.live().count() as u64, fixture.dormant().count() as u64), "{fixture}");
        assert_eq!(restored.skipped_records, 0, "{fixture}");
        assert_eq!((restored.journal.torn_bytes, restored.journal.dropped_ranges), (0, 0), "{fixture}");
        assert_eq!(restored.journal.checkpoint_records > 0, fixture.has_checkpoint(), "{fixture}");
        assert!(restored.journal.journal_records > 0, "{fixture}");
        assert_eq!(listed(&store, fixture.now).await, fixture.listed(), "{fixture}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_was_upgraded_and_changed_opens_again() {
    for fixture in Fixture::all() {
        let store = fixture.open(fixture.now);
        let newcomer = Registration { peer_id: id("newcomer"), ..fixture.peers[0].registration() };
        let put = put(newcomer, 300, claim(HOME, None));
        assert!(matches!(store.put(put, fixture.now).await.unwrap(), PutResult::Stored { .. }));
        store.checkpoint().unwrap();
        store.close().await.unwrap();
        drop(store);

        let store = fixture.open(fixture.now);
        let restored = store.restored();
        let counted = (restored.live, restored.dormant);
        assert_eq!(counted, (fixture.live().count() as u64 + 1, fixture.dormant().count() as u64));
        assert!(listed(&store, fixture.now).await.iter().any(|peer| peer["peer_id"] == "newcomer"));
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn every_live_peer_gets_a_full_lease() {
    for fixture in Fixture::all() {
        let store = fixture.open(fixture.now);
        let ttls: BTreeSet<_> = fixture.live().map(|peer| u64::from(peer.ttl_seconds) * 1_000).collect();
        // In ascending order, so that time does not run backwards. A lease may be up to a third
        // longer than its ttl.
        for ttl in ttls {
            let of_this_ttl = |peer: &ExpectedPeer| peer.live && u64::from(peer.ttl_seconds) * 1_000 == ttl;
            let expected = fixture.listed_if(of_this_ttl);
            let before = listed(&store, fixture.now.plus_millis(ttl - 1)).await;
            assert!(expected.iter().all(|peer| before.contains(peer)), "{fixture}: {ttl} ms");
            let after = listed(&store, fixture.now.plus_millis(ttl * 4 / 3 + 1)).await;
            assert!(!expected.iter().any(|peer| after.contains(peer)), "{fixture}: {ttl} ms");
        }
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_heartbeat_renews_live_peers_and_revives_dormant_ones() {
    for fixture in Fixture::all() {
        let store = fixture.open(fixture.now);
        for peer in &fixture.peers {
            let renewal = store.renew(&id(&peer.peer_id), fixture.now).await.unwrap();
            let Renewal::Renewed { ttl, revived, registered_at } = renewal else {
                panic!("{fixture}: {} is unknown", peer.peer_id)
            };
            assert_eq!(
                (ttl.as_secs(), revived),
                (peer.ttl_seconds, !peer.live),
                "{fixture}: {}",
                peer.peer_id
            );
            // The script read its clock right after the response.
            let late = i128::from(peer.registered_at) - i128::from(registered_at.as_millis() / 1_000);
            assert!((0..=1).contains(&late), "{fixture}: {} by {late} s", peer.peer_id);
        }
        assert_eq!(listed(&store, fixture.now).await, fixture.listed_if(|_| true), "{fixture}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_deregistered_peer_stays_unknown() {
    for fixture in Fixture::all() {
        let store = fixture.open(fixture.now);
        assert!(!fixture.deregistered.is_empty(), "{fixture}");
        for peer in &fixture.deregistered {
            let renewal = store.renew(&id(peer), fixture.now).await.unwrap();
            assert_eq!(renewal, Renewal::Unknown, "{fixture}: {peer}");
        }
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_token_and_an_address_still_prove_the_holder_of_a_live_peer() {
    for fixture in Fixture::all() {
        let store = fixture.open(fixture.now);
        for peer in fixture.live() {
            let register = |claim| store.put(put(peer.registration(), peer.ttl_seconds, claim), fixture.now);
            let stranger = register(claim(ELSEWHERE, None)).await.unwrap();
            assert!(matches!(stranger, PutResult::Held { .. }), "{fixture}: {}", peer.peer_id);
            let token = TokenHash::of(&LeaseToken::parse(&peer.lease_token).unwrap());
            let proven = register(claim(ELSEWHERE, Some(token))).await.unwrap();
            assert_eq!(proven, PutResult::Stored { token_kept: true }, "{fixture}: {}", peer.peer_id);
        }
        store.close().await.unwrap();
        drop(store);

        let store = fixture.fresh().open(fixture.now);
        for peer in fixture.live() {
            let removal = store.remove(&id(&peer.peer_id), &claim(HOME, None), fixture.now).await.unwrap();
            assert_eq!(removal, Removal::Removed { was_live: true }, "{fixture}: {}", peer.peer_id);
        }
        store.close().await.unwrap();
    }
}

fn id(text: &str) -> PeerId {
    PeerId::parse(text).unwrap()
}

fn claim(source: &str, token: Option<TokenHash>) -> Claim {
    Claim { source: Source::of(source.parse::<IpAddr>().unwrap()), token, holder_rule_disabled: false }
}

fn put(registration: Registration, ttl: u32, claim: Claim) -> PutRequest {
    let new_token = TokenHash::of(&LeaseToken::from_random([7; 16]));
    PutRequest { registration, ttl: Ttl::from_secs(ttl), claim, new_token }
}

/// The listed fields of every live peer that depend on its registration only, ordered by id.
async fn listed(store: &Arc<EmbeddedStore>, now: Timestamp) -> Vec<Value> {
    let query = Query {
        archetypes: Vec::new(),
        exclude: None,
        view: View::Legacy,
        limit: 1_000,
        page_bytes: 1 << 20,
        fill: false,
    };
    let page = match store.enumerate(&query, None, now).await.unwrap() {
        Enumeration::Page(page, None) => page,
        other => panic!("{other:?}"),
    };
    let peers: Vec<Value> = serde_json::from_slice(&page.peers.to_array()).unwrap();
    let mut peers: Vec<Value> = peers
        .into_iter()
        .map(|peer| {
            let [id, address, port] = ["peer_id", "address", "port"].map(|key| &peer[key]);
            json!({
                "peer_id": id, "address": address, "port": port,
                "archetypes": peer["archetypes"], "metadata": peer["metadata"],
            })
        })
        .collect();
    peers.sort_by_key(|peer| peer["peer_id"].to_string());
    peers
}
