//! Tests of what proves the holder, and of the limit on peers that unproven heartbeats keep alive.

use std::sync::Arc;

use aurora_discovery_registry::{Claim, Limits, PutRequest, PutResult, Removal, Renewal, Store, WebOrigin};

use super::fixture::{at, block_on, claim, put, token};
use crate::disk::LossyDisk;
use crate::{EmbeddedOptions, EmbeddedStore};

const HOME: &str = "203.0.113.1";
const STRANGER: &str = "198.51.100.1";
const OTHER: &str = "192.0.2.1";

fn within(max_peers_per_source: u32) -> Arc<EmbeddedStore> {
    EmbeddedStore::in_memory(Limits { max_peers_per_source, ..Limits::default() })
}

/// Registers peers, each from a different source in one network.
fn register(store: &EmbeddedStore, peers: &[&str], now: u64) {
    for (n, peer) in (1..).zip(peers) {
        let placement = store.put_now(put(peer, &format!("203.0.113.{n}"), &[]), at(now));
        assert!(matches!(placement, PutResult::Stored { .. }), "{placement:?}");
    }
}

fn is_kept(store: &EmbeddedStore, peer: &str, from: &str, now: u64) -> bool {
    let renewal = store.renew_as(peer, &claim(from, None), at(now));
    store.check();
    match renewal {
        Renewal::Renewed { .. } => true,
        Renewal::UnprovenLimit => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_source_keeps_a_limited_number_of_peers_alive_without_proof() {
    let store = within(2);
    register(&store, &["a", "b", "c"], 0);
    assert!(is_kept(&store, "a", STRANGER, 1) && is_kept(&store, "b", STRANGER, 1));
    assert!(!is_kept(&store, "c", STRANGER, 1));
    assert!(is_kept(&store, "a", STRANGER, 2), "what it keeps it may go on keeping");
    assert!(is_kept(&store, "c", HOME, 2), "a proven heartbeat");
    assert!(is_kept(&store, "c", OTHER, 2), "another source");
}

#[test]
fn a_proven_heartbeat_a_registration_a_removal_and_the_end_of_the_lease_release_a_kept_peer() {
    let store = within(1);
    let renew = |source: &str| format!("{:?}", store.renew_as("a", &claim(source, None), at(2)));
    let released: [(&str, &dyn Fn() -> String); 5] = [
        ("a proven heartbeat", &|| renew(HOME)),
        ("a registration", &|| format!("{:?}", store.put_now(put("a", HOME, &[]), at(2)))),
        ("a removal", &|| format!("{:?}", store.remove_now("a", &claim(HOME, None), at(2)))),
        ("another keeper", &|| renew(OTHER)),
        ("loopback, which is exempt", &|| renew("127.0.0.1")),
    ];
    for (event, release) in released {
        register(&store, &["a", "b"], 0);
        assert!(is_kept(&store, "a", STRANGER, 1) && !is_kept(&store, "b", STRANGER, 1));
        let result = release();
        assert!(is_kept(&store, "b", STRANGER, 3), "{event}: {result}");
    }
    register(&store, &["a", "b"], 10);
    store.renew_as("b", &claim(HOME, None), at(200));
    assert!(is_kept(&store, "a", STRANGER, 11) && !is_kept(&store, "b", STRANGER, 310));
    assert!(is_kept(&store, "b", STRANGER, 311), "the lease of the other peer has ended");
}

#[test]
fn an_unproven_revival_counts_against_the_limit_and_a_proven_one_does_not() {
    let store = within(1);
    register(&store, &["a", "b"], 0);
    assert!(is_kept(&store, "a", STRANGER, 400) && !is_kept(&store, "b", STRANGER, 400));
    assert!(is_kept(&store, "b", HOME, 400));
}

#[test]
fn loopback_and_a_limit_of_zero_keep_any_number_of_peers_alive() {
    for (max, source) in [(1, "127.0.0.1"), (1, "::1"), (0, STRANGER)] {
        let store = within(max);
        register(&store, &["a", "b", "c"], 0);
        assert!(["a", "b", "c"].iter().all(|peer| is_kept(&store, peer, source, 1)), "{source}");
    }
}

#[test]
fn heartbeats_that_change_no_keeper_succeed_while_a_reader_holds_the_index() {
    let store = within(1);
    register(&store, &["a", "b", "c"], 0);
    assert!(is_kept(&store, "a", STRANGER, 1));
    let reader = store.shared.index.read();
    // `reader` holds the index, so these calls would deadlock if they needed exclusive access to
    // it.
    let renew = |peer: &str, claim: &Claim, now| store.renew_as(peer, claim, at(now));
    assert!(matches!(renew("a", &claim(STRANGER, None), 2), Renewal::Renewed { .. }));
    assert!(matches!(renew("b", &claim(HOME, None), 299), Renewal::Renewed { .. }));
    assert!(matches!(renew("b", &claim(HOME, None), 301), Renewal::Renewed { .. }), "a proof that is due");
    assert_eq!(renew("b", &claim(STRANGER, None), 299), Renewal::UnprovenLimit);
    assert!(matches!(renew("b", &claim(HOME, Some(token(9))), 299), Renewal::Held(_)));
    drop(reader);
}

#[test]
fn heartbeats_of_the_holder_keep_its_name_and_those_of_a_stranger_do_not() {
    let store = within(0);
    register(&store, &["held", "pinned"], 0);
    for lease in 1..=12 {
        store.renew_as("held", &claim(HOME, None), at(lease * 299));
        store.renew_as("pinned", &claim(STRANGER, None), at(lease * 299));
    }
    let replaced = |peer: &str| store.put_now(put(peer, OTHER, &[]), at(3_600));
    assert!(matches!(replaced("held"), PutResult::Held(_)));
    assert!(matches!(replaced("pinned"), PutResult::Stored { .. }));
    store.check();
}

#[test]
fn the_page_and_the_token_only_flag_of_a_peer_survive_a_restart_and_a_checkpoint() {
    let disk = LossyDisk::new(1);
    let open = |disk: &LossyDisk| {
        EmbeddedStore::open_on(Arc::new(disk.clone()), EmbeddedOptions::default(), at(0)).unwrap()
    };
    let store = open(&disk);
    let page = WebOrigin::of_header(b"https://own.example");
    let from_page = Claim { page, ..claim(HOME, None) };
    store.put_now(PutRequest { claim: from_page, ..put("on-page", HOME, &[]) }, at(0));
    store.put_now(PutRequest { token_only: true, ..put("locked", HOME, &[]) }, at(0));
    store.put_now(PutRequest { token_only: true, ..put("dormant", HOME, &[]) }, at(0));
    store.renew_as("on-page", &claim(HOME, None), at(290));
    store.renew_as("locked", &claim(HOME, Some(token(0))), at(290));
    block_on(store.sweep(at(301))).unwrap();
    let check = |store: &EmbeddedStore| {
        let other_page = Claim { page: WebOrigin::of_header(b"https://other.example"), ..from_page };
        assert!(matches!(store.remove_now("on-page", &other_page, at(301)), Removal::Held(_)));
        assert_eq!(
            store.put_now(PutRequest { claim: from_page, ..put("on-page", HOME, &[]) }, at(301)),
            PutResult::Stored { token_kept: false }
        );
        for peer in ["locked", "dormant"] {
            assert!(matches!(store.remove_now(peer, &claim(HOME, None), at(301)), Removal::Held(_)));
            assert!(matches!(store.renew_as(peer, &claim(HOME, None), at(301)), Renewal::Held(_)));
        }
        store.check();
    };
    check(&store);
    drop(store);
    let disk = disk.lose_power();
    let store = open(&disk);
    check(&store);
    store.checkpoint().unwrap();
    drop(store);
    let store = open(&disk.lose_power());
    assert!(store.restored().journal.checkpoint_records > 0);
    check(&store);
}
