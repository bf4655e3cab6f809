//! Concurrent callers: each method is atomic for each peer.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, PutRequestBuilder as _, TTL, all_peers, at, claim_from, id, peer, peers_with_any,
};
use crate::{Limits, PutRequest, PutResult, Removal, Renewal, Store};

/// The number of repetitions of each race, because its outcome is random.
const ROUNDS: u64 = 20;
const CALLERS: u8 = 8;

pub async fn one_of_several_concurrent_registrations_of_an_unused_id_succeeds(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for round in 0..ROUNDS {
        let name = format!("p{round}");
        let clients: Vec<_> =
            (0..CALLERS).map(|n| candidate(&name, n).with_source(&format!("192.0.2.{n}"))).collect();
        let results = put_concurrently(&harness, &clients, round).await;
        let winners: Vec<_> = (0..clients.len()).filter(|n| is_stored(results[*n])).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        assert!(results.iter().all(|p| is_stored(*p) || matches!(p, PutResult::Held(_))));
        assert_complete(&harness, &clients, &clients[winners[0]], round).await;
    }
}

pub async fn concurrent_registrations_leave_exactly_one_of_them_complete(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for round in 0..ROUNDS {
        let candidates: Vec<_> = (0..CALLERS).map(|n| candidate("p", n)).collect();
        let results = put_concurrently(&harness, &candidates, round).await;
        assert!(results.into_iter().all(is_stored), "the holder is never refused");
        let listed = harness.find("p", at(round)).await.expect("the peer is listed");
        let last = &candidates[usize::from(listed.port)];
        assert_complete(&harness, &candidates, last, round).await;
    }
    assert_eq!(harness.sample(&all_peers(), at(ROUNDS)).await.total.value(), 1);
}

pub async fn a_concurrent_heartbeat_does_not_restore_a_deregistered_peer(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for round in 0..ROUNDS {
        harness.register(&peer("p").with_archetypes(&["a"]), at(round)).await;
        let mut heartbeats = JoinSet::new();
        for _ in 0..CALLERS {
            let store = Arc::clone(&harness.store);
            heartbeats
                .spawn(async move { store.renew(&id("p"), &claim_from(HOLDER_SOURCE), at(round)).await });
        }
        assert_eq!(
            harness.remove("p", &claim_from(HOLDER_SOURCE), at(round)).await,
            Removal::Removed { was_live: true }
        );
        for renewal in heartbeats.join_all().await {
            renewal.expect("renew does not fail");
        }
        assert_eq!(harness.live(at(round)).await, [""; 0]);
        assert_eq!(harness.renew("p", at(round)).await, Renewal::Unknown);
        assert_eq!(harness.sample(&peers_with_any(&["a"]), at(round)).await.total.value(), 0);
    }
}

pub async fn concurrent_registration_and_deregistration_leave_one_peer_or_none(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for round in 0..ROUNDS {
        harness.register(&candidate("p", 0), at(round)).await;
        let candidates: Vec<_> = (0..4).map(|n| candidate("p", n)).collect();
        let (store, now) = (Arc::clone(&harness.store), at(round));
        let removal =
            tokio::spawn(async move { store.remove(&id("p"), &claim_from(HOLDER_SOURCE), now).await });
        let results = put_concurrently(&harness, &candidates, round).await;
        assert!(results.into_iter().all(is_stored));
        removal.await.expect("the task ends").expect("remove does not fail");
        match harness.find("p", at(round)).await {
            Some(listed) => {
                assert_complete(&harness, &candidates, &candidates[usize::from(listed.port)], round).await;
            }
            None => assert_eq!(harness.renew("p", at(round)).await, Renewal::Unknown),
        }
    }
}

pub async fn concurrently_registered_peers_are_all_listed(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let mut names: Vec<_> = (0..64).map(|n| format!("p{n}")).collect();
    let peers: Vec<_> = names.iter().map(|name| peer(name).with_archetypes(&["a"])).collect();
    assert!(put_concurrently(&harness, &peers, 0).await.into_iter().all(is_stored));
    names.sort();
    assert_eq!(harness.live(at(0)).await, names);
    assert_eq!(harness.sample(&peers_with_any(&["a"]), at(TTL - 1)).await.ids(), names);
}

pub async fn concurrent_newcomers_do_not_exceed_the_bound(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers: 5, ..Limits::default() }).await;
    let bounds = harness.guarantees.bounds;
    if !(bounds.peers && bounds.exact_in_races) {
        return;
    }
    let newcomers: Vec<_> = (0..30).map(|n| peer(&format!("p{n}"))).collect();
    let results = put_concurrently(&harness, &newcomers, 0).await;
    assert_eq!(results.into_iter().filter(|p| is_stored(*p)).count(), 5);
    assert_eq!(harness.live(at(0)).await.len(), 5);
}

/// The `n`th registration of one peer. All its values differ from those of the other registrations.
fn candidate(name: &str, n: u8) -> PutRequest {
    peer(name)
        .with_address(HOLDER_SOURCE, u16::from(n))
        .with_archetypes(&[format!("a{n}")])
        .with_metadata(&format!("{{\"n\":{n}}}"))
}

pub(super) async fn put_concurrently(harness: &Harness, puts: &[PutRequest], second: u64) -> Vec<PutResult> {
    let calls: Vec<_> = puts
        .iter()
        .map(|put| {
            let (store, put): (Arc<dyn Store>, PutRequest) = (Arc::clone(&harness.store), put.clone());
            tokio::spawn(async move { store.put(put, at(second)).await })
        })
        .collect();
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.expect("the task ends").expect("put does not fail"));
    }
    results
}

fn is_stored(result: PutResult) -> bool {
    matches!(result, PutResult::Stored { .. })
}

/// Asserts that `winner`, one of the `candidates`, is listed with all its values, and is found only
/// by its own archetypes.
async fn assert_complete(harness: &Harness, candidates: &[PutRequest], winner: &PutRequest, second: u64) {
    let winner = &winner.registration;
    let listed = harness.find(winner.peer_id.as_str(), at(second)).await.expect("the peer is listed");
    assert_eq!((&listed.address, listed.port), (&winner.address, winner.port));
    assert_eq!((&listed.archetypes, &listed.metadata), (&winner.archetypes, &winner.metadata));
    for candidate in candidates {
        let carried = &candidate.registration.archetypes;
        let found =
            harness.sample(&peers_with_any(&[carried.as_slice()[0].as_str()]), at(second)).await.ids();
        let expected = carried == &winner.archetypes;
        assert_eq!(found.contains(&winner.peer_id.to_string()), expected, "{carried:?}");
    }
}
