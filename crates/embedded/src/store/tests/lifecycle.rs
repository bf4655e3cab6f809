//! How the life cycle of peers affects the index.

use std::sync::Arc;

use aurora_discovery_protocol::{Peer, PublicKey, Timestamp};
use aurora_discovery_registry::{
    Census, Enumeration, Limits, PeerState, PutRequest, PutResult, Renewal, Signature, Signing, Store,
    StoreError, Swept,
};

use super::fixture::{at, block_on, claim, id, put, query};
use crate::disk::LossyDisk;
use crate::{EmbeddedOptions, EmbeddedStore};

const WEEK: u64 = 7 * 24 * 3_600;

#[test]
fn a_live_peer_is_renewed_while_a_reader_holds_the_index() {
    let store = EmbeddedStore::in_memory(Limits::default());
    store.put_now(put("p", "203.0.113.1", &[]), at(0));
    let reader = store.shared.index.read();
    // `reader` holds the index, so this call would deadlock if it needed exclusive access to it.
    assert!(matches!(store.renew_now("p", at(10)), Renewal::Renewed { revived: false, .. }));
    drop(reader);
}

#[test]
fn a_heartbeat_of_an_unknown_peer_is_answered_while_a_reader_holds_the_index() {
    let store = EmbeddedStore::in_memory(Limits::default());
    store.put_now(put("p", "203.0.113.1", &[]), at(0));
    let reader = store.shared.index.read();
    // This call would deadlock if it needed exclusive access to the index, even when work is due.
    assert_eq!(store.renew_now("unknown", at(400)), Renewal::Unknown);
    assert!(reader.is_due(at(400)));
}

#[test]
fn heartbeats_do_not_change_the_schedule_until_the_old_end_is_due() {
    let store = EmbeddedStore::in_memory(Limits::default());
    store.put_now(put("p", "203.0.113.1", &[]), at(0));
    for second in 1..300 {
        store.renew_now("p", at(second));
        assert!(!store.shared.index.read().is_due(at(299)));
    }
    assert!(store.shared.index.read().is_due(at(300)));
    assert_eq!(block_on(store.sweep(at(300))).unwrap().expired, 0);
    assert!(!store.shared.index.read().is_due(at(598)));
    assert_eq!(block_on(store.sweep(at(599))).unwrap().expired, 1);
    store.check();
}

#[test]
fn a_sweep_reports_expiries_that_other_operations_processed() {
    let store = EmbeddedStore::in_memory(Limits::default());
    store.put_now(put("p", "203.0.113.1", &[]), at(0));
    assert_eq!(block_on(store.census(1, at(300))).unwrap().live, 0);
    assert_eq!(block_on(store.sweep(at(300))).unwrap(), Swept { expired: 1, evicted: 0 });
    assert_eq!(store.renew_now("p", at(WEEK)), Renewal::Unknown);
    assert_eq!(block_on(store.sweep(at(WEEK))).unwrap(), Swept { expired: 0, evicted: 1 });
    assert_eq!(block_on(store.sweep(at(WEEK))).unwrap(), Swept::default());
}

#[test]
fn a_time_offset_shifts_last_seen_and_no_lease() {
    let store = EmbeddedStore::in_memory(Limits::default());
    store.put_now(put("p", "203.0.113.1", &[]), at(0));
    store.set_time_offset(3_600_000);
    let page = block_on(store.sample(&query(&[], 10), at(299))).unwrap();
    let peers: Vec<Peer> = serde_json::from_slice(&page.peers.to_array()).unwrap();
    assert_eq!(peers[0].last_seen.map(Timestamp::as_secs), Some(at(3_600).as_secs()));
    assert_eq!(store.shared.index.read().expires_at(&id("p")), Some(at(300)));
}

#[test]
fn a_pause_does_not_count_against_a_dormant_peer_after_a_restart() {
    const PAUSE: u64 = 2 * 24 * 3_600;
    for checkpoint in [false, true] {
        let disk = LossyDisk::new(1);
        let open = |now| {
            EmbeddedStore::open_on(Arc::new(disk.clone()), EmbeddedOptions::default(), at(now)).unwrap()
        };
        let store = open(0);
        store.put_now(put("p", "203.0.113.1", &[]), at(0));
        store.set_time_offset(i64::try_from(PAUSE * 1_000).unwrap());
        block_on(store.sweep(at(300))).unwrap();
        if checkpoint {
            store.checkpoint().unwrap();
        }
        block_on(store.close()).unwrap();
        // The wall clock of the next process includes the pause, which is longer than the revival
        // window. The peer is revived nevertheless.
        let store = open(PAUSE + 400);
        let renewal = store.renew_now("p", at(PAUSE + 400));
        assert!(matches!(renewal, Renewal::Renewed { revived: true, .. }), "{checkpoint}: {renewal:?}");
    }
}

/// For each exported peer: when it registered, when it was last seen, and when its name was locked.
fn times(store: &EmbeddedStore, now: Timestamp) -> Vec<(Timestamp, Timestamp, Option<Timestamp>)> {
    let peers = block_on(store.export(None, now)).unwrap().peers;
    let lock = |peer: &PeerState| peer.signed.as_ref().map(|signed| signed.lock.since);
    let mut times: Vec<_> =
        peers.iter().map(|peer| (peer.registered_at, peer.last_seen, lock(peer))).collect();
    times.sort();
    times
}

fn signed(peer: &str, source: &str) -> PutRequest {
    let key = PublicKey::from_bytes([1; PublicKey::LEN]);
    let signature = Signature { key, seq: 1, replaces: None, record: "a.b.c".into() };
    PutRequest { signing: Signing::Signed(signature), ..put(peer, source, &[]) }
}

#[test]
fn a_restart_after_a_pause_keeps_the_times_of_peers() {
    const PAUSE: u64 = 2 * 24 * 3_600;
    const LATER: u64 = 1_400;
    let disks = [LossyDisk::new(1), LossyDisk::new(2)];
    let open = |disk: &LossyDisk, now| {
        EmbeddedStore::open_on(Arc::new(disk.clone()), EmbeddedOptions::default(), at(now)).unwrap()
    };
    let resumed = |store: &EmbeddedStore| store.set_time_offset(i64::try_from(PAUSE * 1_000).unwrap());
    let store = open(&disks[0], 0);
    resumed(&store);
    store.put_now(put("p", "203.0.113.1", &[]), at(10));
    store.put_now(signed("q", "203.0.113.2"), at(1_000));
    // The lease of `p` ends, a heartbeat revives it, and its lease ends again.
    block_on(store.sweep(at(500))).unwrap();
    assert!(matches!(store.renew_now("p", at(600)), Renewal::Renewed { revived: true, .. }));
    block_on(store.sweep(at(LATER))).unwrap();
    // Exported times include the pause, like those of the wall clock.
    let wall = |seconds| at(PAUSE + seconds);
    let expected = [(wall(10), wall(600), None), (wall(1_000), wall(1_000), Some(wall(1_000)))];
    assert_eq!(times(&store, at(LATER)), expected);

    let imported = open(&disks[1], 0);
    resumed(&imported);
    for peer in block_on(store.export(None, at(LATER))).unwrap().peers {
        block_on(imported.import(peer, at(LATER))).unwrap();
    }
    for (store, disk) in [store, imported].into_iter().zip(&disks) {
        assert_eq!(times(&store, at(LATER)), expected);
        block_on(store.close()).unwrap();
        drop(store);
        assert_eq!(times(&open(disk, PAUSE + LATER), wall(LATER)), expected);
    }
}

#[test]
fn a_restart_after_the_clock_was_set_back_leaves_no_time_in_the_future() {
    let disk = LossyDisk::new(1);
    let open =
        |now| EmbeddedStore::open_on(Arc::new(disk.clone()), EmbeddedOptions::default(), at(now)).unwrap();
    let store = open(WEEK);
    store.put_now(signed("p", "203.0.113.1"), at(WEEK));
    block_on(store.close()).unwrap();
    drop(store);
    assert_eq!(times(&open(10), at(10)), [(at(10), at(10), Some(at(10)))]);
}

#[test]
fn a_dormant_peer_stays_dormant_if_the_clock_was_set_back_before_a_restart() {
    let disk = LossyDisk::new(1);
    let open =
        |now| EmbeddedStore::open_on(Arc::new(disk.clone()), EmbeddedOptions::default(), at(now)).unwrap();
    let store = open(WEEK);
    store.put_now(put("p", "203.0.113.1", &[]), at(WEEK));
    block_on(store.sweep(at(WEEK + 300))).unwrap();
    block_on(store.close()).unwrap();
    let store = open(0);
    let census = block_on(store.census(1, at(0))).unwrap();
    assert_eq!((census.live, census.dormant), (0, 1));
    // The lease of the peer has ended, although the clock went back. Any client may therefore
    // register under its name.
    let replaced = store.put_now(put("p", "198.51.100.7", &[]), at(1));
    assert_eq!(replaced, PutResult::Stored { token_kept: false });
    store.check();
}

#[test]
fn a_heartbeat_with_an_older_time_does_not_shorten_the_lease() {
    let store = EmbeddedStore::in_memory(Limits::default());
    store.put_now(put("p", "203.0.113.1", &[]), at(10));
    store.renew_now("p", at(0));
    assert_eq!(store.shared.index.read().expires_at(&id("p")), Some(at(310)));
}

#[test]
fn expired_peers_are_evicted_without_any_sweep() {
    let store = EmbeddedStore::in_memory(Limits::default());
    for week in 0..50 {
        for n in 0..100 {
            let own = format!("own-{week}-{n}");
            store.put_now(put(&format!("{week}-{n}"), "203.0.113.1", &["all", &own]), at(week * WEEK));
        }
        let census = block_on(store.census(1, at(week * WEEK))).unwrap();
        assert_eq!((census.live, census.dormant, census.archetypes), (100, 0, 101));
    }
    assert_eq!(store.shared.index.read().slot_count(), 100, "slots are reused");
    assert_eq!(block_on(store.census(1, at(50 * WEEK))).unwrap(), Census::default());
    store.check();
}

#[test]
fn the_oldest_dormant_peer_is_evicted_first() {
    let store = EmbeddedStore::in_memory(Limits { max_peers: 3, ..Limits::default() });
    for (n, peer) in (0..).zip(["b", "a", "c"]) {
        store.put_now(put(peer, "203.0.113.1", &[]), at(n));
    }
    store.put_now(put("new", "203.0.113.1", &[]), at(400));
    assert_eq!(store.renew_now("b", at(400)), Renewal::Unknown);
    for peer in ["a", "c"] {
        assert!(matches!(store.renew_now(peer, at(400)), Renewal::Renewed { revived: true, .. }));
    }
}

#[test]
fn a_position_of_another_run_has_expired() {
    let [one, other] = [0, 1].map(|_| {
        let store = EmbeddedStore::in_memory(Limits::default());
        for n in 0..3 {
            store.put_now(put(&n.to_string(), "203.0.113.1", &[]), at(0));
        }
        store
    });
    let first = block_on(one.enumerate(&query(&[], 1), None, at(0))).unwrap();
    let Enumeration::Page(_, Some(next)) = first else { panic!("{first:?}") };
    let page = |store: &EmbeddedStore| block_on(store.enumerate(&query(&[], 1), Some(&next), at(0))).unwrap();
    assert!(matches!(page(&one), Enumeration::Page(..)));
    assert_eq!(page(&other), Enumeration::Expired);
}

#[test]
fn a_closed_store_rejects_every_operation() {
    let store = EmbeddedStore::in_memory(Limits::default());
    store.put_now(put("p", "203.0.113.1", &[]), at(0));
    block_on(store.close()).unwrap();
    let assert_rejected = |outcome: Option<StoreError>| {
        assert!(matches!(outcome, Some(StoreError::Unavailable { .. })), "{outcome:?}");
    };
    assert_rejected(block_on(store.put(put("q", "203.0.113.1", &[]), at(0))).err());
    assert_rejected(block_on(store.renew(&id("p"), &claim("203.0.113.1", None), at(0))).err());
    assert_rejected(block_on(store.remove(&id("p"), &claim("203.0.113.1", None), at(0))).err());
    assert_rejected(block_on(store.sample(&query(&[], 1), at(0))).err());
    assert_rejected(block_on(store.enumerate(&query(&[], 1), None, at(0))).err());
    assert_rejected(block_on(store.census(1, at(0))).err());
    assert_rejected(block_on(store.sweep(at(0))).err());
    assert_rejected(block_on(store.health()).err());
    assert_eq!(block_on(store.close()), Ok(()));
}

#[test]
fn a_peer_that_was_not_listed_for_a_lease_is_undiscovered() {
    let store = EmbeddedStore::in_memory(Limits::default());
    for n in 0..40 {
        store.put_now(put(&n.to_string(), "203.0.113.1", &[if n < 10 { "a" } else { "b" }]), at(0));
    }
    for n in 0..40 {
        store.renew_now(&n.to_string(), at(290));
    }
    let ratio = |seconds| store.undiscovered_ratio(at(seconds)).unwrap();
    assert_eq!(ratio(299), 0.0, "no peer has been registered for a whole lease");
    assert_eq!(ratio(300), 1.0);
    block_on(store.sample(&query(&["a"], 100), at(301))).unwrap();
    assert_eq!(ratio(302), 0.75);
    block_on(store.enumerate(&query(&[], 100), None, at(303))).unwrap();
    assert_eq!(ratio(304), 0.0);
}

#[test]
fn newcomers_do_not_count_as_undiscovered() {
    let store = EmbeddedStore::in_memory(Limits::default());
    store.put_now(put("old", "203.0.113.1", &[]), at(0));
    store.renew_now("old", at(290));
    for n in 0..9 {
        store.put_now(put(&n.to_string(), "203.0.113.1", &[]), at(295));
    }
    assert_eq!(store.undiscovered_ratio(at(301)), Some(0.1));
}

#[test]
fn a_revived_peer_does_not_count_as_undiscovered_for_one_lease() {
    let store = EmbeddedStore::in_memory(Limits::default());
    store.put_now(put("p", "203.0.113.1", &[]), at(0));
    store.renew_now("p", at(400));
    store.renew_now("p", at(690));
    assert_eq!(store.undiscovered_ratio(at(700)), Some(0.0));
    assert_eq!(store.undiscovered_ratio(at(720)), Some(1.0));
}
