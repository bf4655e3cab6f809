//! Tests of the bound on the live peers of one source.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/stand_in.rs"]
mod support;

use std::sync::Arc;

use aurora_discovery_dynamodb::{DynamoOptions, DynamoStore};
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{ExceededLimit, Limits, PutRequest, PutResult, Removal, Renewal, Store};
use futures_util::future::join_all;

use support::{at, claim, fresh_table, id, items, listed, open_within, put};

const SOURCE: &str = "203.0.113.7";
const OTHER: &str = "198.51.100.1";
/// Another source in the wide network of `SOURCE`. The range key of a peer contains the class of
/// its wide network, so a peer that moves there keeps its index keys.
const NEARBY: &str = "203.0.200.9";
const STORED: PutResult = PutResult::Stored { token_kept: false };
const REFUSED: PutResult = PutResult::Full(ExceededLimit::Source);
/// The keys of source markers begin with two spaces.
const SOURCE_MARKER: &str = "  ";

async fn open_bounded(options: &DynamoOptions, max_peers_per_source: u32) -> Arc<DynamoStore> {
    open_within(options, &Limits { max_peers_per_source, ..Limits::default() }).await
}

fn peers(count: u16) -> Vec<PutRequest> {
    (0..count).map(|n| put(&format!("p{n}"), &["a"], SOURCE, 1)).collect()
}

async fn keys(options: &DynamoOptions, prefix: &str) -> Vec<String> {
    let mut keys: Vec<_> =
        items(options, prefix).await.iter().map(|item| item["peer_id"].as_s().unwrap().clone()).collect();
    keys.sort();
    keys
}

/// The write units of one operation.
async fn writes(store: &DynamoStore, operation: impl Future<Output = ()>) -> f64 {
    let before = store.units().write;
    operation.await;
    store.units().write - before
}

#[tokio::test]
async fn the_bound_costs_at_most_two_write_units_a_registration() {
    // The bound, and the write units for registering a new peer, registering it again, moving it to
    // a near source and to a far one, and deregistering it. A move to another wide network changes
    // the index keys of the peer and of its archetypes.
    let of_bound = [(0, [6.0, 3.0, 3.0, 9.0, 6.0]), (10, [8.0, 4.0, 5.0, 11.0, 8.0])];
    for (bound, [new, again, moved, moved_far, removed]) in of_bound {
        let options = fresh_table().await;
        let store = open_bounded(&options, bound).await;
        store.health().await.unwrap();
        let register = async |source: &str, second| {
            let mut put = put("p", &["a", "b"], source, 1);
            put.claim.token = Some(put.new_token);
            assert!(matches!(store.put(put, at(second)).await, Ok(PutResult::Stored { .. })));
        };
        assert_eq!(writes(&store, register(SOURCE, 0)).await, new, "{bound}");
        assert_eq!(writes(&store, register(SOURCE, 1)).await, again, "{bound}");
        assert_eq!(writes(&store, register(NEARBY, 2)).await, moved, "{bound}");
        assert_eq!(writes(&store, register(OTHER, 3)).await, moved_far, "{bound}");
        let markers = if bound > 0 { 3 } else { 0 };
        assert_eq!(keys(&options, SOURCE_MARKER).await.len(), markers, "those of former sources expire");
        let deregister = async {
            let gone = store.remove(&id("p"), &claim(OTHER), at(4)).await;
            assert_eq!(gone, Ok(Removal::Removed { was_live: true }));
        };
        assert_eq!(writes(&store, deregister).await, removed, "{bound}");
        let former = ["  203.0.113.7 p", "  203.0.200.9 p"];
        let left = [if bound > 0 { &former[..] } else { &[] }, &[" table"]].concat();
        assert_eq!(keys(&options, " ").await, left, "{bound}");
    }
}

/// Registers these peers from one source, all at the same time.
async fn put_all(store: &DynamoStore, peers: &[PutRequest], now: Timestamp) -> Vec<PutResult> {
    join_all(peers.iter().map(|peer| async move { store.put(peer.clone(), now).await.unwrap() })).await
}

fn stored(results: &[PutResult]) -> usize {
    assert!(results.iter().all(|result| [STORED, REFUSED].contains(result)), "{results:?}");
    results.iter().filter(|result| **result == STORED).count()
}

#[tokio::test]
async fn newcomers_that_register_at_the_same_time_fill_their_source_up_to_its_bound() {
    for (bound, live, dormant) in [(10, 0, 0), (10, 7, 0), (10, 3, 8), (120, 115, 0)] {
        let options = fresh_table().await;
        let store = open_bounded(&options, bound).await;
        store.write_unchecked(&peers_named("dormant", dormant), at(0)).await.unwrap();
        store.write_unchecked(&peers_named("live", live), at(1_000)).await.unwrap();
        let results = put_all(&store, &peers_named("new", 30), at(1_000)).await;
        let room = usize::try_from(bound).unwrap() - usize::from(live);
        assert_eq!(stored(&results), room, "{bound}, {live}, {dormant}");
        assert_eq!(put_newcomer(&store, "late", at(1_001)).await, REFUSED);
        // When a peer deregisters, a newcomer is admitted at once.
        let first = results.iter().position(|result| *result == STORED).unwrap();
        store.remove(&id(&format!("new{first}")), &claim(SOURCE), at(1_001)).await.unwrap();
        assert_eq!(put_newcomer(&store, "later", at(1_001)).await, STORED);
    }
}

#[tokio::test]
async fn peers_that_have_moved_away_do_not_fill_their_former_source() {
    let options = fresh_table().await;
    let store = open_bounded(&options, 20).await;
    for n in 0..60 {
        let mut peer = put(&format!("p{n}"), &[], SOURCE, 1);
        assert_eq!(store.put(peer.clone(), at(0)).await, Ok(STORED), "{n}");
        peer.claim = claim(&format!("198.51.100.{}", n / 20));
        peer.claim.token = Some(peer.new_token);
        assert_eq!(store.put(peer, at(1)).await, Ok(PutResult::Stored { token_kept: true }), "{n}");
    }
    assert_eq!(keys(&options, "  203.0.113.7 ").await.len(), 60);
    assert_eq!(stored(&put_all(&store, &peers_named("q", 25), at(2)).await), 20);
}

fn peers_named(prefix: &str, count: u16) -> Vec<PutRequest> {
    (0..count).map(|n| put(&format!("{prefix}{n}"), &[], SOURCE, 1)).collect()
}

#[tokio::test]
async fn a_member_that_comes_from_another_source_is_a_newcomer_there() {
    let options = fresh_table().await;
    let store = open_bounded(&options, 1).await;
    store.put(put("p", &[], SOURCE, 1), at(0)).await.unwrap();
    let mut roaming = put("q", &[], OTHER, 2);
    store.put(roaming.clone(), at(0)).await.unwrap();
    roaming.claim.token = Some(roaming.new_token);
    roaming.claim.source = claim(SOURCE).source;
    assert_eq!(store.put(roaming.clone(), at(1)).await, Ok(REFUSED));
    store.remove(&id("p"), &claim(SOURCE), at(2)).await.unwrap();
    assert_eq!(store.put(roaming, at(3)).await, Ok(PutResult::Stored { token_kept: true }));
    assert_eq!(store.put(put("r", &[], OTHER, 3), at(4)).await, Ok(STORED), "its former source has room");
}

#[tokio::test]
async fn a_peer_without_a_marker_is_not_counted_until_it_registers_again() {
    let options = fresh_table().await;
    // Without the bound, no source marker is written. Earlier releases did not write one either.
    let unbounded = open_bounded(&options, 0).await;
    unbounded.put(put("old", &[], SOURCE, 1), at(0)).await.unwrap();
    let store = open_bounded(&options, 1).await;
    assert_eq!(store.put(put("p", &[], SOURCE, 1), at(1)).await, Ok(STORED));
    assert_eq!(store.put(put("old", &[], SOURCE, 1), at(1)).await, Ok(STORED), "a member");
    assert_eq!(keys(&options, SOURCE_MARKER).await.len(), 2);
    assert_eq!(store.put(put("q", &[], SOURCE, 1), at(1)).await, Ok(REFUSED));
}

/// A store with a source whose peers registered at 0, for leases of 300 s.
async fn filled(options: &DynamoOptions, bound: u32, peers_of_source: u16) -> Arc<DynamoStore> {
    let store = open_bounded(options, bound).await;
    store.write_unchecked(&peers(peers_of_source), at(0)).await.unwrap();
    store
}

async fn put_newcomer(store: &DynamoStore, name: &str, now: Timestamp) -> PutResult {
    store.put(put(name, &[], SOURCE, 1), now).await.unwrap()
}

#[tokio::test]
async fn the_live_peers_of_a_large_source_are_estimated_from_a_hundred_of_them() {
    let options = fresh_table().await;
    let store = filled(&options, 150, 150).await;
    assert_eq!(put_newcomer(&store, "new", at(299)).await, REFUSED);
    let before = store.units().read;
    assert_eq!(put_newcomer(&store, "new", at(299)).await, REFUSED);
    let read = store.units().read - before;
    assert!(read < 60.0, "{read} read units: one for the peer, and the rest for at most a hundred others");
    assert_eq!(put_newcomer(&store, "new", at(300)).await, STORED, "all others are dormant");
}

/// With this bound, a hundred markers are listed, and the peers of all these are read. The chance that
/// so few of them are live that the estimate is below the bound is less than one in ten million.
#[tokio::test]
async fn the_live_peers_are_also_estimated_if_not_all_markers_are_listed() {
    let options = fresh_table().await;
    let store = filled(&options, 25, 800).await;
    store.write_unchecked(&peers_named("live", 200), at(400)).await.unwrap();
    assert_eq!(put_newcomer(&store, "new", at(500)).await, REFUSED);
}

#[tokio::test]
async fn a_newcomer_evicts_a_dormant_peer_if_its_source_has_twice_as_many_as_may_be_live() {
    let options = fresh_table().await;
    let store = filled(&options, 60, 119).await;
    assert_eq!(put_newcomer(&store, "n0", at(300)).await, STORED);
    assert_eq!(keys(&options, "p").await.len(), 119, "120 are known");
    assert_eq!(put_newcomer(&store, "n1", at(300)).await, STORED);
    assert_eq!(keys(&options, "p").await.len(), 118);
    assert_eq!(keys(&options, SOURCE_MARKER).await.len(), 120, "its marker has gone as well");
    assert_eq!(keys(&options, "n").await, ["n0", "n1"]);
}

#[tokio::test]
async fn the_longest_dormant_peer_of_a_small_source_is_evicted() {
    let options = fresh_table().await;
    let store = open_bounded(&options, 1).await;
    for (name, second) in [("young", 400), ("old", 0)] {
        store.write_unchecked(&[put(name, &[], SOURCE, 1)], at(second)).await.unwrap();
    }
    assert_eq!(put_newcomer(&store, "new", at(1_000)).await, STORED);
    assert_eq!(keys(&options, "old").await, [""; 0]);
    assert_eq!(keys(&options, "young").await, ["young"]);
}

/// A store with a source of 30 peers, which became dormant and were removed from the index.
async fn delisted(options: &DynamoOptions, bound: u32) -> Arc<DynamoStore> {
    filled(options, bound, 30).await;
    let mut from_index = options.clone();
    from_index.snapshot_items = 0;
    let store = open_bounded(&from_index, bound).await;
    assert_eq!(listed(&store, &["a"], at(2_000)).await, []);
    for _ in 0..2 {
        store.sweep(at(2_000)).await.unwrap();
    }
    assert_eq!(keys(options, " a p").await, [""; 0], "all were removed from the index");
    store
}

#[tokio::test]
async fn peers_that_are_removed_from_the_index_still_count_as_known() {
    let options = fresh_table().await;
    let store = delisted(&options, 15).await;
    for (name, second) in [("n0", 2_001), ("n1", 2_002)] {
        assert_eq!(put_newcomer(&store, name, at(second)).await, STORED);
    }
    // 30 peers are twice the bound, so each newcomer evicted one.
    assert_eq!(keys(&options, "p").await.len(), 28);
    assert_eq!(keys(&options, SOURCE_MARKER).await.len(), 30, "an evicted peer has no marker");
    for peer in keys(&options, "p").await.iter().take(15) {
        let revived = store.renew(&id(peer), &claim(SOURCE), at(2_003)).await;
        assert!(matches!(revived, Ok(Renewal::Renewed { revived: true, .. })), "{revived:?}");
    }
    assert_eq!(put_newcomer(&store, "n2", at(2_004)).await, REFUSED, "17 are live");
}

#[tokio::test]
async fn a_peer_that_was_removed_from_the_index_leaves_no_marker_when_it_is_deregistered() {
    let options = fresh_table().await;
    let store = delisted(&options, 100).await;
    let removed = store.remove(&id("p0"), &claim(SOURCE), at(2_001)).await;
    assert_eq!(removed, Ok(Removal::Removed { was_live: false }));
    let revived = store.renew(&id("p1"), &claim(SOURCE), at(2_001)).await;
    assert!(matches!(revived, Ok(Renewal::Renewed { revived: true, .. })), "{revived:?}");
    let removed = store.remove(&id("p1"), &claim(SOURCE), at(2_002)).await;
    assert_eq!(removed, Ok(Removal::Removed { was_live: true }));
    assert_eq!(keys(&options, SOURCE_MARKER).await.len(), 28);
    assert_eq!(keys(&options, " a p").await, [""; 0]);
}

#[tokio::test]
async fn loopback_is_exempt_and_has_no_markers() {
    let options = fresh_table().await;
    let store = open_bounded(&options, 1).await;
    for name in ["a", "b", "c"] {
        assert_eq!(store.put(put(name, &[], "127.0.0.1", 1), at(0)).await, Ok(STORED));
    }
    assert_eq!(keys(&options, SOURCE_MARKER).await, [""; 0]);
}
