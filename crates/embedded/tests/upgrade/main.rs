//! Tests that data directories of released versions open without loss. `scripts/make-fixture` adds
//! a directory for the next release.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a directory that does not open fails the test")]

mod fixture;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_protocol::{LeaseToken, PeerId, Registration, Timestamp, Ttl, View};
use aurora_discovery_registry::{
    Claim, Enumeration, Limits, PutRequest, PutResult, Query, Removal, Renewal, Signing, Source, Store,
    TokenHash, WebOrigin,
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
            let renewal =
                store.renew(&id(&peer.peer_id), &claim(ELSEWHERE, None), fixture.now).await.unwrap();
            let Renewal::Renewed { ttl, revived, registered_at } = renewal else {
                panic!("{fixture}: {} is unknown", peer.peer_id)
            };
            assert_eq!(
                (ttl.as_secs(), revived),
                (peer.ttl_seconds, !peer.live),
                "{fixture}: {}",
                peer.peer_id
            );
            // `scripts/make-fixture` read the recorded time from its own clock right after the
            // response, so it may be slightly later.
            let late = i128::from(peer.registered_at) - i128::from(registered_at.as_millis() / 1_000);
            assert!((0..=1).contains(&late), "{fixture}: {} by {late} s", peer.peer_id);
        }
        assert_eq!(listed(&store, fixture.now).await, fixture.listed_if(|_| true), "{fixture}");
        store.close().await.unwrap();
    }
}

/// Old records do not say that a peer is token-only, or that a page registered it. Such a peer is
/// therefore held by its address.
#[tokio::test]
async fn a_peer_of_an_earlier_release_is_held_by_address_before_and_after_it_is_written_again() {
    for fixture in Fixture::all() {
        let store = fixture.open(fixture.now);
        assert_held_by_address(&store, &fixture).await;
        // The checkpoint writes the peers in the current encoding.
        store.checkpoint().unwrap();
        store.close().await.unwrap();
        drop(store);
        let store = fixture.open(fixture.now);
        assert!(store.restored().journal.checkpoint_records > 0, "{fixture}");
        assert_held_by_address(&store, &fixture).await;
        store.close().await.unwrap();
    }
}

async fn assert_held_by_address(store: &Arc<EmbeddedStore>, fixture: &Fixture) {
    let page = WebOrigin::of_header(b"https://page.example");
    for peer in &fixture.peers {
        let id = id(&peer.peer_id);
        let from_page = Claim { page, ..claim(HOME, None) };
        let removal = store.remove(&id, &from_page, fixture.now).await.unwrap();
        assert!(matches!(removal, Removal::Held(_)), "{fixture}: {id}");
        let renewal = store.renew(&id, &claim(HOME, None), fixture.now).await.unwrap();
        assert!(matches!(renewal, Renewal::Renewed { .. }), "{fixture}: {id}: not token-only");
    }
}

/// Opening counts as proof. Otherwise any client could replace peers that registered long ago.
#[tokio::test]
async fn opening_counts_as_proof_of_every_holder() {
    for fixture in Fixture::all() {
        let week = 7 * 24 * 3_600_000;
        let now = fixture.now.plus_millis(week);
        let store = fixture.open(now);
        for peer in fixture.live() {
            let stranger = put(peer.registration(), peer.ttl_seconds, claim(ELSEWHERE, None));
            let placement = store.put(stranger, now).await.unwrap();
            assert!(matches!(placement, PutResult::Held(_)), "{fixture}: {}", peer.peer_id);
        }
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_exceeds_the_limits_opens_whole() {
    for fixture in Fixture::all() {
        let limits = Limits {
            max_peers: 1,
            max_bytes: 1,
            max_archetypes: 1,
            max_peers_per_source: 1,
            ..Limits::default()
        };
        let store = fixture.open_within(limits, fixture.now);
        let restored = store.restored();
        let counted = (restored.live, restored.dormant);
        assert_eq!(counted, (fixture.live().count() as u64, fixture.dormant().count() as u64), "{fixture}");
        // A member keeps what it has.
        let member = fixture.live().next().unwrap();
        let again = put(member.registration(), member.ttl_seconds, claim(HOME, None));
        let placement = store.put(again, fixture.now).await.unwrap();
        assert!(matches!(placement, PutResult::Stored { .. }), "{fixture}: {placement:?}");
        assert_eq!(store.census(0, fixture.now).await.unwrap().dormant, restored.dormant, "{fixture}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_deregistered_peer_stays_unknown() {
    for fixture in Fixture::all() {
        let store = fixture.open(fixture.now);
        assert!(!fixture.deregistered.is_empty(), "{fixture}");
        for peer in &fixture.deregistered {
            let renewal = store.renew(&id(peer), &claim(HOME, None), fixture.now).await.unwrap();
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
            assert!(matches!(stranger, PutResult::Held(_)), "{fixture}: {}", peer.peer_id);
            let token = TokenHash::of(&LeaseToken::parse(&peer.lease_token).unwrap());
            let proven = register(claim(ELSEWHERE, Some(token))).await.unwrap();
            assert_eq!(proven, PutResult::Stored { token_kept: true }, "{fixture}: {}", peer.peer_id);
        }
        store.close().await.unwrap();
        drop(store);

        let fresh = fixture.fresh();
        let store = fresh.open(fixture.now);
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
    let source = Source::of(source.parse::<IpAddr>().unwrap());
    Claim { source, page: WebOrigin::None, token, holder_rule_disabled: false }
}

fn put(registration: Registration, ttl: u32, claim: Claim) -> PutRequest {
    let new_token = TokenHash::of(&LeaseToken::from_random([7; 16]));
    PutRequest {
        registration,
        ttl: Ttl::from_secs(ttl),
        claim,
        token_only: false,
        new_token,
        signing: Signing::Unsigned,
    }
}

/// The listed fields of every live peer that depend on its registration only, ordered by id.
async fn listed(store: &Arc<EmbeddedStore>, now: Timestamp) -> Vec<Value> {
    let query = Query {
        archetypes: Vec::new(),
        exclude: None,
        view: View::Legacy,
        limit: 1_000,
        page_bytes: 1 << 20,
        diverse: false,
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
