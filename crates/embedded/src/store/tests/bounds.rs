//! Tests of the bounds: what a registration may add, and which dormant peers are evicted for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use aurora_discovery_protocol::Metadata;
use aurora_discovery_registry::{ExceededLimit, Limits, PutRequest, PutResult, Renewal, Store};

use super::fixture::{at, block_on, claim, ids, put, put_at, query, token};
use crate::disk::LossyDisk;
use crate::{EmbeddedOptions, EmbeddedStore};

const HOME: &str = "203.0.113.1";
const OTHER: &str = "198.51.100.1";
const VICTIM: &str = "192.0.2.80";

fn within(limits: Limits) -> Arc<EmbeddedStore> {
    EmbeddedStore::in_memory(limits)
}

/// The limit that refuses a registration at `now`, if one does.
fn refusal(store: &EmbeddedStore, put: PutRequest, now: u64) -> Option<ExceededLimit> {
    let placement = store.put_now(put, at(now));
    store.check();
    match placement {
        PutResult::Stored { .. } => None,
        PutResult::Full(limit) => Some(limit),
        refusal => panic!("{refusal:?}"),
    }
}

fn with_metadata(put: PutRequest, bytes: usize) -> PutRequest {
    let mut put = put;
    put.registration.metadata = Metadata::parse(&format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes))).unwrap();
    put
}

/// The peers that a heartbeat of their holder still finds.
fn known(store: &EmbeddedStore, peers: &[&str], now: u64) -> BTreeSet<String> {
    for peer in peers {
        store.renew_as(peer, &claim(HOME, None), at(now));
    }
    ids(&block_on(store.sample(&query(&[], 100), at(now))).unwrap())
}

#[test]
fn a_newcomer_beyond_twice_the_limit_evicts_the_longest_dormant_peer_of_its_source() {
    let store = within(Limits { max_peers_per_source: 2, ..Limits::default() });
    store.put_now(put("other", OTHER, &[]), at(0));
    for (n, peer) in (0..).zip(["d", "c", "b", "a"]) {
        store.put_now(put(peer, HOME, &[]), at(n / 2 * 301 + n));
    }
    block_on(store.sweep(at(700))).unwrap();
    let census = block_on(store.census(0, at(700))).unwrap();
    assert_eq!((census.live, census.dormant), (0, 5), "nothing is evicted when a lease ends");
    assert_eq!(refusal(&store, put("c", HOME, &[]), 700), None, "a known peer takes no further place");
    assert_eq!(store.shared.index.read().counts().evicted_for_source, 0);
    assert_eq!(refusal(&store, put("e", HOME, &[]), 700), None);
    assert_eq!(store.shared.index.read().counts().evicted_for_source, 1);
    let expected = ["a", "b", "c", "e"].map(str::to_owned).into();
    assert_eq!(known(&store, &["a", "b", "c", "d", "e"], 700), expected);
}

#[test]
fn a_limit_of_zero_per_source_network_or_address_is_off() {
    let limits = Limits {
        max_peers_per_source: 0,
        max_peers_per_network: 0,
        max_peers_per_site: 0,
        max_peers_per_address: 0,
        max_peers_per_host: 0,
        ..Limits::default()
    };
    let store = within(limits);
    for (n, source) in [HOME, HOME, "2001:db8::1", "2001:db8::1"].iter().enumerate() {
        assert_eq!(refusal(&store, put_at(&n.to_string(), source, VICTIM, &[]), 0), None, "{source}");
    }
}

#[test]
fn a_source_without_a_limit_and_loopback_keep_all_their_dormant_peers() {
    for (max, source) in [(0, HOME), (1, "127.0.0.1")] {
        let store = within(Limits { max_peers_per_source: max, ..Limits::default() });
        for n in 0..10 {
            assert_eq!(refusal(&store, put(&n.to_string(), source, &[]), n * 301), None);
        }
        assert_eq!(block_on(store.census(0, at(3_000))).unwrap().dormant, 9, "{source}");
    }
}

#[test]
fn a_peer_that_moves_to_another_source_is_a_newcomer_there() {
    let store = within(Limits { max_peers_per_source: 1, ..Limits::default() });
    store.put_now(put("local", OTHER, &[]), at(0));
    store.put_now(put("roaming", HOME, &[]), at(0));
    let moved = PutRequest { claim: claim(OTHER, Some(token(0))), ..put("roaming", HOME, &[]) };
    assert_eq!(refusal(&store, moved.clone(), 1), Some(ExceededLimit::Source));
    store.remove_now("local", &claim(OTHER, None), at(2));
    assert_eq!(refusal(&store, moved, 2), None);
}

#[test]
fn the_dormant_peers_of_a_source_are_in_the_order_of_their_leases_after_a_restart() {
    let disk = LossyDisk::new(1);
    let limits = Limits { max_peers_per_source: 2, ..Limits::default() };
    let open = |disk: &LossyDisk, now| {
        let options = EmbeddedOptions { limits: limits.clone(), ..EmbeddedOptions::default() };
        EmbeddedStore::open_on(Arc::new(disk.clone()), options, at(now)).unwrap()
    };
    let store = open(&disk, 0);
    // The order of the slots, and so of the records in a checkpoint, is not the order in which the
    // leases end.
    for (n, peer) in [(0, "a"), (1, "b"), (301, "c"), (302, "d")] {
        store.put_now(put(peer, HOME, &[]), at(n));
    }
    store.renew_as("a", &claim(HOME, None), at(602));
    block_on(store.sweep(at(1_000))).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    let store = open(&disk.lose_power(), 1_000);
    store.check();
    assert_eq!(refusal(&store, put("e", HOME, &[]), 1_000), None);
    let expected = ["a", "c", "d", "e"].map(str::to_owned).into();
    assert_eq!(known(&store, &["a", "b", "c", "d", "e"], 1_000), expected);
}

#[test]
fn a_source_takes_at_most_half_of_the_limits_of_an_address() {
    let store = within(Limits { max_peers_per_address: 4, max_peers_per_host: 6, ..Limits::default() });
    let publish = |peer: &str, source: &str, port: u16| {
        let mut put = put_at(peer, source, VICTIM, &[]);
        put.registration.port = port;
        put
    };
    for (peer, port) in [("a", 1), ("b", 1), ("c", 2)] {
        assert_eq!(refusal(&store, publish(peer, HOME, port), 0), None);
    }
    assert_eq!(refusal(&store, publish("d", HOME, 1), 0), Some(ExceededLimit::Address));
    assert_eq!(refusal(&store, publish("d", HOME, 2), 0), Some(ExceededLimit::Host));
    for (peer, port) in [("d", 1), ("e", 1), ("f", 3)] {
        assert_eq!(refusal(&store, publish(peer, OTHER, port), 0), None);
    }
    let third = "2001:db8::1";
    assert_eq!(refusal(&store, publish("g", third, 1), 0), Some(ExceededLimit::Address));
    assert_eq!(refusal(&store, publish("g", third, 4), 0), Some(ExceededLimit::Host));
    assert_eq!(refusal(&store, publish("a", HOME, 1), 0), None, "a member keeps its place");
    assert_eq!(refusal(&store, publish("a", HOME, 2), 0), None, "and moves to another port");
    assert_eq!(refusal(&store, publish("own", VICTIM, 1), 0), None, "the address is its own");
}

#[test]
fn an_address_that_differs_from_reader_to_reader_is_not_counted_and_other_forms_of_one_are() {
    let limits = Limits { max_peers_per_address: 2, max_peers_per_host: 2, ..Limits::default() };
    let store = within(limits);
    for (n, address) in (0..).zip(["172.17.0.2"; 5].iter().chain(&["fd00::1"; 5])) {
        assert_eq!(refusal(&store, put_at(&format!("local-{n}"), HOME, address, &[]), 0), None, "{address}");
    }
    assert_eq!(refusal(&store, put_at("first", HOME, VICTIM, &[]), 0), None);
    for form in ["64:ff9b::192.0.2.80", "2002:c000:250::1", "192-0-2-80.sslip.io", "192.0.2.80.nip.io"] {
        assert_eq!(refusal(&store, put_at("p", HOME, form, &[]), 0), Some(ExceededLimit::Address), "{form}");
    }
}

#[test]
fn networks_and_sites_are_bounded_and_loopback_is_exempt() {
    let limits = Limits { max_peers_per_network: 2, max_peers_per_site: 3, ..Limits::default() };
    let store = within(limits);
    let register = |peer: &str, source: &str| refusal(&store, put(peer, source, &[]), 0);
    assert_eq!([register("a", "203.0.113.1"), register("b", "203.0.113.2")], [None, None]);
    assert_eq!(register("c", "203.0.113.3"), Some(ExceededLimit::Network));
    assert_eq!(register("c", "203.0.114.3"), None);
    for (peer, source) in [("d", "2001:db8:1::1"), ("e", "2001:db8:1:1::1"), ("f", "2001:db8:1:100::1")] {
        assert_eq!(register(peer, source), None, "{source}");
    }
    assert_eq!(register("g", "2001:db8:1:2::1"), Some(ExceededLimit::Network));
    assert_eq!(register("g", "2001:db8:1:200::1"), Some(ExceededLimit::Site));
    for n in 0..5 {
        assert_eq!(
            [register(&format!("v4-{n}"), "127.0.0.1"), register(&format!("v6-{n}"), "::1")],
            [None; 2]
        );
    }
}

#[test]
fn a_member_grows_like_a_newcomer_and_keeps_and_shrinks_freely() {
    let large = |peer: &str, bytes| with_metadata(put(peer, HOME, &[]), bytes);
    let store = within(Limits { max_bytes: 13 << 10, ..Limits::default() });
    for peer in ["a", "b", "c"] {
        assert_eq!(refusal(&store, large(peer, 3_000), 0), None);
    }
    assert_eq!(refusal(&store, large("small", 0), 0), None);
    for peer in ["small", "newcomer"] {
        assert_eq!(refusal(&store, large(peer, 3_000), 1), Some(ExceededLimit::Bytes), "{peer}");
    }
    assert_eq!(refusal(&store, large("a", 3_000), 1), None, "keeps");
    assert_eq!(refusal(&store, large("a", 10), 1), None, "shrinks");
    assert_eq!(refusal(&store, large("small", 3_000), 1), None, "grows into the room");
}

#[test]
fn only_archetypes_that_no_live_peer_has_count_against_their_limit() {
    let store = within(Limits { max_archetypes: 2, ..Limits::default() });
    let register = |peer: &str, archetypes: &[&str]| refusal(&store, put(peer, HOME, archetypes), 0);
    assert_eq!([register("p", &["a"]), register("q", &["b"])], [None, None]);
    assert_eq!(register("r", &["c"]), Some(ExceededLimit::Archetypes), "a newcomer");
    assert_eq!(register("p", &["a", "c"]), Some(ExceededLimit::Archetypes), "a member");
    assert_eq!([register("r", &["a", "b"]), register("s", &[])], [None, None]);
    assert_eq!(register("p", &["c"]), Some(ExceededLimit::Archetypes), "another peer still has the first");
    assert_eq!([register("r", &[]), register("p", &["c"])], [None, None], "a member gives up its own");
}

#[test]
fn the_archetypes_of_dormant_peers_make_room_for_newcomers() {
    let store = within(Limits { max_bytes: 32 << 10, ..Limits::default() });
    let archetypes = |peer: u32| (0..30).map(|n| format!("archetype-{peer}-{n}")).collect::<Vec<_>>();
    let register = |peer: u32, now| {
        let archetypes = archetypes(peer);
        let archetypes: Vec<_> = archetypes.iter().map(String::as_str).collect();
        refusal(&store, put(&peer.to_string(), HOME, &archetypes), now)
    };
    let placed = (0..).take_while(|peer| register(*peer, 0).is_none()).count();
    assert!((2..6).contains(&placed), "{placed} peers with 30 archetypes each in 32 KiB");
    assert_eq!(register(100, 400), None);
    assert!(store.shared.index.read().counts().evicted_for_room > 0);
    assert!(store.shared.index.read().bytes() <= 32 << 10);
}

#[test]
fn a_revival_is_refused_by_no_bound() {
    let limits = Limits {
        max_peers_per_source: 1,
        max_peers_per_network: 1,
        max_peers_per_address: 1,
        max_peers_per_host: 1,
        max_archetypes: 1,
        ..Limits::default()
    };
    let store = within(limits);
    store.put_now(put_at("dormant", HOME, VICTIM, &["a"]), at(0));
    assert_eq!(refusal(&store, put_at("newcomer", HOME, VICTIM, &["b"]), 400), None);
    let revived = store.renew_as("dormant", &claim(HOME, None), at(400));
    assert!(matches!(revived, Renewal::Renewed { revived: true, .. }));
    store.check();
}
