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

pub async fn of_strangers_that_register_one_free_id_at_once_one_wins(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for round in 0..ROUNDS {
        let name = format!("p{round}");
        let strangers: Vec<_> =
            (0..CALLERS).map(|n| rival(&name, n).from_source(&format!("192.0.2.{n}"))).collect();
        let placements = put_at_once(&harness, &strangers, round).await;
        let winners: Vec<_> = (0..strangers.len()).filter(|n| is_placed(placements[*n])).collect();
        assert_eq!(winners.len(), 1, "{placements:?}");
        assert!(placements.iter().all(|p| is_placed(*p) || matches!(p, PutResult::Held { .. })));
        assert_whole(&harness, &strangers, &strangers[winners[0]], round).await;
    }
}

pub async fn registrations_at_once_leave_one_of_them_whole(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for round in 0..ROUNDS {
        let rivals: Vec<_> = (0..CALLERS).map(|n| rival("p", n)).collect();
        let placements = put_at_once(&harness, &rivals, round).await;
        assert!(placements.into_iter().all(is_placed), "the holder is never refused");
        let listed = harness.find("p", at(round)).await.expect("it is listed");
        let last = &rivals[usize::from(listed.port)];
        assert_whole(&harness, &rivals, last, round).await;
    }
    assert_eq!(harness.sample(&all_peers(), at(ROUNDS)).await.total.value(), 1);
}

pub async fn a_heartbeat_at_once_with_a_deregistration_brings_nobody_back(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for round in 0..ROUNDS {
        harness.register(&peer("p").with_archetypes(&["a"]), at(round)).await;
        let mut beats = JoinSet::new();
        for _ in 0..CALLERS {
            let store = Arc::clone(&harness.store);
            beats.spawn(async move { store.renew(&id("p"), at(round)).await });
        }
        assert_eq!(
            harness.remove("p", &claim_from(HOLDER_SOURCE), at(round)).await,
            Removal::Removed { was_live: true }
        );
        for beat in beats.join_all().await {
            beat.expect("renew does not fail");
        }
        assert_eq!(harness.live(at(round)).await, [""; 0]);
        assert_eq!(harness.renew("p", at(round)).await, Renewal::Unknown);
        assert_eq!(harness.sample(&peers_with_any(&["a"]), at(round)).await.total.value(), 0);
    }
}

pub async fn registering_and_deregistering_at_once_leave_one_or_nothing(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for round in 0..ROUNDS {
        harness.register(&rival("p", 0), at(round)).await;
        let rivals: Vec<_> = (0..4).map(|n| rival("p", n)).collect();
        let (store, now) = (Arc::clone(&harness.store), at(round));
        let removal =
            tokio::spawn(async move { store.remove(&id("p"), &claim_from(HOLDER_SOURCE), now).await });
        let placements = put_at_once(&harness, &rivals, round).await;
        assert!(placements.into_iter().all(is_placed));
        removal.await.expect("the task ends").expect("remove does not fail");
        match harness.find("p", at(round)).await {
            Some(listed) => assert_whole(&harness, &rivals, &rivals[usize::from(listed.port)], round).await,
            None => assert_eq!(harness.renew("p", at(round)).await, Renewal::Unknown),
        }
    }
}

pub async fn peers_that_register_at_once_are_all_there(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let mut names: Vec<_> = (0..64).map(|n| format!("p{n}")).collect();
    let peers: Vec<_> = names.iter().map(|name| peer(name).with_archetypes(&["a"])).collect();
    assert!(put_at_once(&harness, &peers, 0).await.into_iter().all(is_placed));
    names.sort();
    assert_eq!(harness.live(at(0)).await, names);
    assert_eq!(harness.sample(&peers_with_any(&["a"]), at(TTL - 1)).await.ids(), names);
}

pub async fn newcomers_at_once_do_not_exceed_the_bound(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers: 5, ..Limits::default() }).await;
    let bounds = harness.guarantees.bounds;
    if !(bounds.peers && bounds.exact_in_races) {
        return;
    }
    let newcomers: Vec<_> = (0..30).map(|n| peer(&format!("p{n}"))).collect();
    let placements = put_at_once(&harness, &newcomers, 0).await;
    assert_eq!(placements.into_iter().filter(|p| is_placed(*p)).count(), 5);
    assert_eq!(harness.live(at(0)).await.len(), 5);
}

/// The `n`th registration of one peer. All its values differ from those of the other registrations.
fn rival(name: &str, n: u8) -> PutRequest {
    peer(name)
        .with_address(HOLDER_SOURCE, u16::from(n))
        .with_archetypes(&[format!("a{n}")])
        .with_metadata(&format!("{{\"n\":{n}}}"))
}

async fn put_at_once(harness: &Harness, puts: &[PutRequest], second: u64) -> Vec<PutResult> {
    let calls: Vec<_> = puts
        .iter()
        .map(|put| {
            let (store, put): (Arc<dyn Store>, PutRequest) = (Arc::clone(&harness.store), put.clone());
            tokio::spawn(async move { store.put(put, at(second)).await })
        })
        .collect();
    let mut placements = Vec::new();
    for call in calls {
        placements.push(call.await.expect("the task ends").expect("put does not fail"));
    }
    placements
}

fn is_placed(placement: PutResult) -> bool {
    matches!(placement, PutResult::Stored { .. })
}

/// Asserts that `winner`, one of the `rivals`, is listed with all its values, and is found only by
/// its own archetypes.
async fn assert_whole(harness: &Harness, rivals: &[PutRequest], winner: &PutRequest, second: u64) {
    let winner = &winner.registration;
    let listed = harness.find(winner.peer_id.as_str(), at(second)).await.expect("it is listed");
    assert_eq!((&listed.address, listed.port), (&winner.address, winner.port));
    assert_eq!((&listed.archetypes, &listed.metadata), (&winner.archetypes, &winner.metadata));
    for rival in rivals {
        let carried = &rival.registration.archetypes;
        let found =
            harness.sample(&peers_with_any(&[carried.as_slice()[0].as_str()]), at(second)).await.ids();
        let expected = carried == &winner.archetypes;
        assert_eq!(found.contains(&winner.peer_id.to_string()), expected, "{carried:?}");
    }
}
