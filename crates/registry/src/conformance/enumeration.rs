//! Enumerations: each peer is listed once, whatever other peers come and go.

use super::Subject;
use super::world::{
    Differing as _, HOME, TTL_AND_A_THIRD, World, at, carriers_of, everybody, from, id, ids_of, peer,
};
use crate::{Enumeration, Position, Query, Removal, Total};

pub async fn an_enumeration_lists_each_peer_once(subject: &dyn Subject) {
    let world = World::open(subject).await;
    let all = world.fill("p", world.promises.scale.peers, &["a"], at(0)).await;
    for limit in [1, 7, all.len() / 2, all.len(), all.len() + 1] {
        for query in [everybody(), carriers_of(&["a"])] {
            let pages = world.pages(&Query { limit, ..query }, at(0)).await;
            assert_eq!(ids_of(&pages), all);
            for page in pages {
                assert!(page.peers.len() <= limit);
                let exact = world.promises.exact_totals || matches!(page.total, Total::Exact(_));
                assert!(!exact || page.total.value() == u64::from(world.promises.scale.peers));
            }
        }
    }
}

pub async fn an_enumeration_is_unmoved_by_what_comes_and_goes(subject: &dyn Subject) {
    let world = World::open(subject).await;
    for query in [everybody(), carriers_of(&["a"]), carriers_of(&["a", "b"])] {
        let steady = world.fill("steady", 60, &["a"], at(0)).await;
        world.fill("leaving", 60, &["a"], at(0)).await;
        let query = Query { limit: 7, ..query };
        let mut listed = Vec::new();
        let mut after = None;
        for round in 0.. {
            let (page, next) = world.enumerate(&query, after.as_ref(), at(1)).await;
            listed.extend(page.ids());
            churn(&world, round).await;
            let Some(position) = next else { break };
            after = Some(position);
            assert!(round < 200, "the enumeration has no end");
        }
        listed.retain(|id| id.starts_with("steady"));
        listed.sort();
        assert_eq!(listed, steady);
    }
}

/// One peer joins and one leaves. Of the remaining peers, one sends a heartbeat and one registers
/// again.
async fn churn(world: &World, round: u32) {
    world.place(&peer(&format!("joining{round}")).carrying(&["a", "b"]), at(1)).await;
    world.remove(&format!("leaving{}", round % 60), &from(HOME), at(1)).await;
    world.beat(&format!("steady{}", round * 7 % 60), at(1)).await;
    world.place(&peer(&format!("steady{}", round * 11 % 60)).carrying(&["a", "c"]), at(1)).await;
}

pub async fn an_enumeration_lists_what_matches_any_of_the_archetypes(subject: &dyn Subject) {
    let world = World::open(subject).await;
    let mut expected = world.fill("a", 10, &["a"], at(0)).await;
    expected.extend(world.fill("ab", 10, &["a", "b"], at(0)).await);
    expected.extend(world.fill("b", 10, &["b"], at(0)).await);
    world.fill("c", 10, &["c"], at(0)).await;
    expected.sort();
    let pages = world.pages(&Query { limit: 4, ..carriers_of(&["a", "b", "unknown"]) }, at(0)).await;
    assert_eq!(ids_of(&pages), expected);
}

pub async fn a_page_cut_by_its_bytes_goes_on(subject: &dyn Subject) {
    let world = World::open(subject).await;
    let all = world.fill("p", 30, &["a"], at(0)).await;
    let whole = world.sample(&everybody(), at(0)).await.bytes;
    for query in [everybody(), carriers_of(&["a"])] {
        for page_bytes in [1, whole / 4, whole] {
            let pages = world.pages(&Query { page_bytes, ..query.clone() }, at(0)).await;
            assert_eq!(ids_of(&pages), all);
            assert!(pages.iter().all(|page| page.bytes <= page_bytes || page.peers.len() == 1));
        }
    }
}

pub async fn an_enumeration_leaves_the_excluded_peer_out(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.fill("p", 9, &["a"], at(0)).await;
    let query = Query { limit: 2, exclude: Some(id("p3")), ..carriers_of(&["a"]) };
    let listed = ids_of(&world.pages(&query, at(0)).await);
    assert_eq!(listed.len(), 8);
    assert!(!listed.contains(&"p3".to_owned()));
}

pub async fn a_peer_whose_lease_ends_between_pages_is_listed_no_more(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.fill("p", 20, &[], at(0)).await;
    let query = Query { limit: 5, ..everybody() };
    let (_, next) = world.enumerate(&query, None, at(0)).await;
    let (page, _) = world.enumerate(&query, next.as_ref(), at(TTL_AND_A_THIRD)).await;
    assert_eq!(page.ids(), [""; 0]);
}

pub async fn an_enumeration_of_nobody_ends(subject: &dyn Subject) {
    let world = World::open(subject).await;
    assert_eq!(ids_of(&world.pages(&everybody(), at(0)).await), [""; 0]);
    world.place(&peer("p").carrying(&["a"]), at(0)).await;
    assert_eq!(ids_of(&world.pages(&carriers_of(&["unknown"]), at(0)).await), [""; 0]);
    assert_eq!(world.remove("p", &from(HOME), at(0)).await, Removal::Removed { was_live: true });
    assert_eq!(ids_of(&world.pages(&everybody(), at(0)).await), [""; 0]);
}

pub async fn a_position_of_no_store_is_refused(subject: &dyn Subject) {
    let world = World::open(subject).await;
    world.fill("p", 3, &["a"], at(0)).await;
    for query in [everybody(), carriers_of(&["a"])] {
        for bytes in [vec![], vec![0; 300], vec![0xff; 300]] {
            let answer = world.store.enumerate(&query, Some(&Position(bytes)), at(0)).await;
            assert_eq!(answer, Ok(Enumeration::Foreign));
        }
        // Bytes of the right length may be a valid position. They must not cause a failure.
        for length in 1..40 {
            for byte in [0, 1, 0x7f, 0xff] {
                let position = Position(vec![byte; length]);
                world.store.enumerate(&query, Some(&position), at(0)).await.expect("enumerate does not fail");
            }
        }
    }
}
