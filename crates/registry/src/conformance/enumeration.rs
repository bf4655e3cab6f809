//! Enumerations: each peer is listed once, even while other peers come and go.

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, PutRequestBuilder as _, TTL_AND_A_THIRD, all_peers, at, claim_from, id, ids_of,
    peer, peers_with_any,
};
use crate::{Enumeration, Position, Query, Removal, Total};

pub async fn an_enumeration_lists_each_peer_once(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let all = harness.register_many("p", harness.guarantees.scale.peers, &["a"], at(0)).await;
    for limit in [1, 7, all.len() / 2, all.len(), all.len() + 1] {
        for query in [all_peers(), peers_with_any(&["a"])] {
            let pages = harness.pages(&Query { limit, ..query }, at(0)).await;
            assert_eq!(ids_of(&pages), all);
            for page in pages {
                assert!(page.peers.len() <= limit);
                let exact = harness.guarantees.exact_totals || matches!(page.total, Total::Exact(_));
                assert!(!exact || page.total.value() == u64::from(harness.guarantees.scale.peers));
            }
        }
    }
}

pub async fn an_enumeration_is_complete_under_churn(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for query in [all_peers(), peers_with_any(&["a"]), peers_with_any(&["a", "b"])] {
        let steady = harness.register_many("steady", 60, &["a"], at(0)).await;
        harness.register_many("leaving", 60, &["a"], at(0)).await;
        let query = Query { limit: 7, ..query };
        let mut listed = Vec::new();
        let mut after = None;
        for round in 0.. {
            let (page, next) = harness.enumerate(&query, after.as_ref(), at(1)).await;
            listed.extend(page.ids());
            churn(&harness, round).await;
            let Some(position) = next else { break };
            after = Some(position);
            assert!(round < 200, "the enumeration does not end");
        }
        listed.retain(|id| id.starts_with("steady"));
        listed.sort();
        assert_eq!(listed, steady);
    }
}

/// One peer joins and one leaves. Of the remaining peers, one sends a heartbeat and one registers
/// again.
async fn churn(harness: &Harness, round: u32) {
    harness.register(&peer(&format!("joining{round}")).with_archetypes(&["a", "b"]), at(1)).await;
    harness.remove(&format!("leaving{}", round % 60), &claim_from(HOLDER_SOURCE), at(1)).await;
    harness.heartbeat(&format!("steady{}", round * 7 % 60), at(1)).await;
    harness.register(&peer(&format!("steady{}", round * 11 % 60)).with_archetypes(&["a", "c"]), at(1)).await;
}

pub async fn an_enumeration_lists_peers_with_any_of_the_archetypes(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let mut expected = harness.register_many("a", 10, &["a"], at(0)).await;
    expected.extend(harness.register_many("ab", 10, &["a", "b"], at(0)).await);
    expected.extend(harness.register_many("b", 10, &["b"], at(0)).await);
    harness.register_many("c", 10, &["c"], at(0)).await;
    expected.sort();
    let pages = harness.pages(&Query { limit: 4, ..peers_with_any(&["a", "b", "unknown"]) }, at(0)).await;
    assert_eq!(ids_of(&pages), expected);
}

pub async fn an_enumeration_continues_after_a_page_that_page_bytes_cut(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let all = harness.register_many("p", 30, &["a"], at(0)).await;
    let whole = harness.sample(&all_peers(), at(0)).await.bytes;
    for query in [all_peers(), peers_with_any(&["a"])] {
        for page_bytes in [1, whole / 4, whole] {
            let pages = harness.pages(&Query { page_bytes, ..query.clone() }, at(0)).await;
            assert_eq!(ids_of(&pages), all);
            assert!(pages.iter().all(|page| page.bytes <= page_bytes || page.peers.len() == 1));
        }
    }
}

pub async fn an_enumeration_omits_the_excluded_peer(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", 9, &["a"], at(0)).await;
    let query = Query { limit: 2, exclude: Some(id("p3")), ..peers_with_any(&["a"]) };
    let listed = ids_of(&harness.pages(&query, at(0)).await);
    assert_eq!(listed.len(), 8);
    assert!(!listed.contains(&"p3".to_owned()));
}

pub async fn a_peer_that_expires_between_pages_is_not_listed(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", 20, &[], at(0)).await;
    let query = Query { limit: 5, ..all_peers() };
    let (_, next) = harness.enumerate(&query, None, at(0)).await;
    let (page, _) = harness.enumerate(&query, next.as_ref(), at(TTL_AND_A_THIRD)).await;
    assert_eq!(page.ids(), [""; 0]);
}

pub async fn an_empty_enumeration_ends(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    assert_eq!(ids_of(&harness.pages(&all_peers(), at(0)).await), [""; 0]);
    harness.register(&peer("p").with_archetypes(&["a"]), at(0)).await;
    assert_eq!(ids_of(&harness.pages(&peers_with_any(&["unknown"]), at(0)).await), [""; 0]);
    assert_eq!(
        harness.remove("p", &claim_from(HOLDER_SOURCE), at(0)).await,
        Removal::Removed { was_live: true }
    );
    assert_eq!(ids_of(&harness.pages(&all_peers(), at(0)).await), [""; 0]);
}

pub async fn a_foreign_position_is_refused(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register_many("p", 3, &["a"], at(0)).await;
    for query in [all_peers(), peers_with_any(&["a"])] {
        for bytes in [vec![], vec![0; 300], vec![0xff; 300]] {
            let result = harness.store.enumerate(&query, Some(&Position(bytes)), at(0)).await;
            assert_eq!(result, Ok(Enumeration::Foreign));
        }
        // Bytes that no store issued may look like a position of this store. They may be accepted
        // or refused, but must not cause a failure.
        for length in 1..40 {
            for byte in [0, 1, 0x7f, 0xff] {
                let position = Position(vec![byte; length]);
                harness
                    .store
                    .enumerate(&query, Some(&position), at(0))
                    .await
                    .expect("enumerate does not fail");
            }
        }
    }
}
