//! Bounds on the peers that publish one address. Without them, one client could register many peers
//! with the address of a victim, and the whole network would then contact the victim.

use super::Subject;
use super::harness::{Harness, PutRequestBuilder as _, at, claim_from, peer, renewed};
use crate::{ExceededLimit, Limits, PutRequest, PutResult};

/// The address of a victim. The peers that publish it register from other addresses.
const VICTIM: &str = "192.0.2.80";
const PORT: u16 = 80;
/// Small bounds per address and port, and per address.
const LIMITS: fn() -> Limits =
    || Limits { max_peers_per_address: 2, max_peers_per_host: 4, ..Limits::default() };

/// A peer from source `203.0.113.<n>` that publishes `address`.
fn publisher(n: u8, address: &str, port: u16) -> PutRequest {
    peer(&format!("p{n}-{address}-{port}")).with_source(&format!("203.0.113.{n}")).with_address(address, port)
}

async fn within_address_bounds(subject: &dyn Subject) -> Option<Harness> {
    let harness = Harness::within(subject, &LIMITS()).await;
    harness.guarantees.bounds.addresses.then_some(harness)
}

pub async fn a_host_is_bounded_whatever_the_port(subject: &dyn Subject) {
    let harness = Harness::within(subject, &LIMITS()).await;
    if !harness.guarantees.bounds.hosts {
        return;
    }
    for n in 1..=4 {
        harness.register(&publisher(n, VICTIM, u16::from(n)), at(0)).await;
    }
    let newcomer = publisher(5, VICTIM, 5);
    assert_eq!(harness.put(&newcomer, at(1)).await, PutResult::Full(ExceededLimit::Host));
    harness.register(&publisher(1, VICTIM, 1).with_archetypes(&["member"]), at(1)).await;
    harness.register(&publisher(5, "192.0.2.81", 5), at(1)).await;
    harness.remove("p1-192.0.2.80-1", &claim_from("203.0.113.1"), at(2)).await;
    harness.register(&newcomer, at(2)).await;
}

pub async fn one_source_takes_at_most_half_of_an_address_bound(subject: &dyn Subject) {
    let limits = Limits { max_peers_per_address: 4, ..Limits::default() };
    let harness = Harness::within(subject, &limits).await;
    if !harness.guarantees.bounds.addresses {
        return;
    }
    let named = |name: &str, n| {
        let publisher = publisher(n, VICTIM, PORT);
        PutRequest { registration: peer(name).with_address(VICTIM, PORT).registration, ..publisher }
    };
    for (name, n) in [("a0", 1), ("a1", 1), ("b0", 2), ("b1", 2)] {
        if name == "b0" {
            let third = harness.put(&named("a2", 1), at(0)).await;
            assert_eq!(third, PutResult::Full(ExceededLimit::Address));
        }
        harness.register(&named(name, n), at(0)).await;
    }
    assert_eq!(harness.put(&named("c0", 3), at(1)).await, PutResult::Full(ExceededLimit::Address));
}

pub async fn one_source_takes_at_most_half_of_a_host_bound(subject: &dyn Subject) {
    let harness = Harness::within(subject, &LIMITS()).await;
    if !harness.guarantees.bounds.hosts {
        return;
    }
    for port in [1, 2] {
        harness.register(&publisher(1, VICTIM, port), at(0)).await;
    }
    assert_eq!(harness.put(&publisher(1, VICTIM, 3), at(1)).await, PutResult::Full(ExceededLimit::Host));
    harness.register(&publisher(2, VICTIM, 3), at(1)).await;
}

pub async fn local_addresses_are_not_counted(subject: &dyn Subject) {
    let Some(harness) = within_address_bounds(subject).await else { return };
    let local = [
        "10.0.0.1",
        "172.17.0.2",
        "192.168.1.1",
        "127.0.0.1",
        "100.64.0.1",
        "100.127.255.254",
        "fd00::1",
        "::1",
        "::ffff:10.0.0.2",
    ];
    for address in local {
        for n in 0..5 {
            let put = publisher(1, address, PORT);
            let name = peer(&format!("{n}-{address}")).with_address(address, PORT);
            harness.register(&PutRequest { registration: name.registration, ..put }, at(0)).await;
        }
    }
}

pub async fn peers_that_cannot_be_dialled_are_not_counted_at_their_address(subject: &dyn Subject) {
    let Some(harness) = within_address_bounds(subject).await else { return };
    for n in 1..=6 {
        harness.register(&publisher(n, VICTIM, 0), at(0)).await;
    }
}

pub async fn a_peer_that_publishes_the_address_it_comes_from_is_never_refused_for_it(subject: &dyn Subject) {
    let Some(harness) = within_address_bounds(subject).await else { return };
    for (start, victim) in [(0, VICTIM), (2_000, "2001:db8:1:2::80")] {
        for n in 1..=2 {
            harness.register(&publisher(n, victim, PORT), at(start)).await;
        }
        let full = harness.put(&publisher(3, victim, PORT), at(start)).await;
        assert_eq!(full, PutResult::Full(ExceededLimit::Address));
        for n in 0..5 {
            let itself = peer(&format!("{n}-{victim}")).with_source(victim).with_address(victim, PORT);
            harness.register(&itself, at(start)).await;
        }
        let renewal = harness.renew_as(&format!("0-{victim}"), &claim_from(victim), at(start + 1_000)).await;
        assert_eq!(renewal, renewed(300, true, at(start)));
    }
}

pub async fn all_forms_of_one_address_count_together(subject: &dyn Subject) {
    let Some(harness) = within_address_bounds(subject).await else { return };
    for n in 1..=2 {
        harness.register(&publisher(n, VICTIM, PORT), at(0)).await;
        harness.register(&publisher(n, "peer.example.org", PORT), at(0)).await;
    }
    let forms = [
        "::ffff:192.0.2.80",
        "::192.0.2.80",
        "64:ff9b::192.0.2.80",
        "64:ff9b:1::192.0.2.80",
        "64:ff9b:1:c000:2:5000::",
        "2001:0:1:2:3:4:3fff:fdaf",
        "2002:c000:250::1",
        "192.0.2.80.nip.example",
        "192-0-2-80.sslip.example",
        "app-192-0-2-80.sslip.example",
        "Peer.Example.Org",
        "peer.example.org.",
    ];
    for form in forms {
        let full = harness.put(&publisher(3, form, PORT), at(1)).await;
        assert_eq!(full, PutResult::Full(ExceededLimit::Address), "{form}");
    }
    for other in ["192.0.2.81", "64:ff9b::192.0.2.82", "192-0-2-83.sslip.example", "other.example.org"] {
        harness.register(&publisher(3, other, PORT), at(1)).await;
    }
}
