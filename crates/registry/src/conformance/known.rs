//! The bound on the peers of one source that a store knows, live and dormant.

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, OTHER_SOURCE, PutRequestBuilder as _, TTL_AND_A_THIRD, at, claim_from, peer,
    renewed,
};
use crate::{Limits, Renewal};

/// Opens a store that allows one source two live peers. Together with dormant peers, the source may
/// then have four.
async fn with_two_live_peers_per_source(subject: &dyn Subject) -> Option<Harness> {
    let harness = Harness::within(subject, &Limits { max_peers_per_source: 2, ..Limits::default() }).await;
    harness.guarantees.bounds.known.then_some(harness)
}

/// The peers among `names` that a heartbeat of their holder revives.
async fn revivable(harness: &Harness, names: &[&str], second: u64) -> Vec<String> {
    let mut revived = Vec::new();
    for name in names {
        match harness.renew(name, at(second)).await {
            Renewal::Renewed { revived: true, .. } => revived.push((*name).to_owned()),
            other => assert_eq!(other, Renewal::Unknown, "{name}"),
        }
    }
    revived
}

pub async fn at_most_twice_the_source_bound_of_peers_is_known(subject: &dyn Subject) {
    let Some(harness) = with_two_live_peers_per_source(subject).await else { return };
    let names = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"];
    let mut second = 0;
    for pair in names.chunks(2) {
        for (n, name) in (0..).zip(pair) {
            harness.register(&peer(name), at(second + n)).await;
        }
        second += 1 + TTL_AND_A_THIRD;
    }
    assert_eq!(revivable(&harness, &names, second).await, names[4..]);
}

pub async fn a_newcomer_evicts_the_longest_dormant_peer_of_its_own_source(subject: &dyn Subject) {
    let Some(harness) = with_two_live_peers_per_source(subject).await else { return };
    harness.register(&peer("elsewhere").with_source(OTHER_SOURCE).with_ttl(30), at(0)).await;
    // The leases do not end in the order in which the peers registered.
    harness.register(&peer("p0").with_ttl(600), at(0)).await;
    harness.register(&peer("p1").with_ttl(100), at(1)).await;
    for name in ["p2", "p3"] {
        harness.register(&peer(name), at(1_000)).await;
    }
    harness.register(&peer("newcomer"), at(2_000)).await;
    assert_eq!(revivable(&harness, &["p0", "p1", "p2", "p3"], 2_000).await, ["p0", "p2", "p3"]);
    let elsewhere = harness.renew_as("elsewhere", &claim_from(OTHER_SOURCE), at(2_000)).await;
    assert_eq!(elsewhere, renewed(30, true, at(0)), "peers of other sources are kept");
}

pub async fn registering_a_known_peer_again_evicts_no_peer(subject: &dyn Subject) {
    let Some(harness) = with_two_live_peers_per_source(subject).await else { return };
    for (second, pair) in [(0, ["p0", "p1"]), (500, ["p2", "p3"])] {
        for name in pair {
            harness.register(&peer(name), at(second)).await;
        }
    }
    for name in ["p2", "p3"] {
        harness.register(&peer(name), at(600)).await;
        harness.register(&peer(name), at(1_100)).await;
    }
    assert_eq!(revivable(&harness, &["p0", "p1"], 1_101).await, ["p0", "p1"]);
}

/// Another client at the peer's address registers peers, until their source has its maximum number
/// of live and dormant peers.
pub async fn the_end_of_a_lease_evicts_no_peer(subject: &dyn Subject) {
    let Some(harness) = with_two_live_peers_per_source(subject).await else { return };
    for (second, pair) in [(0, ["victim", "n0"]), (500, ["n1", "n2"])] {
        for name in pair {
            harness.register(&peer(name), at(second)).await;
        }
    }
    for second in [400, 1_000] {
        harness.sweep(at(second)).await;
    }
    assert_eq!(harness.live(at(1_000)).await, [""; 0]);
    let renewal = harness.renew_as("victim", &claim_from(HOLDER_SOURCE), at(1_000)).await;
    assert_eq!(renewal, renewed(300, true, at(0)));
    assert_eq!(revivable(&harness, &["n0", "n1", "n2"], 1_000).await, ["n0", "n1", "n2"]);
}

pub async fn loopback_is_exempt_from_the_bound_on_known_peers(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers_per_source: 1, ..Limits::default() }).await;
    let loopback = "127.0.0.1";
    for n in 0..5 {
        harness.register(&peer(&format!("p{n}")).with_source(loopback), at(0)).await;
    }
    harness.register(&peer("newcomer").with_source(loopback), at(TTL_AND_A_THIRD)).await;
    for n in 0..5 {
        let name = format!("p{n}");
        let renewal = harness.renew_as(&name, &claim_from(loopback), at(TTL_AND_A_THIRD)).await;
        assert_eq!(renewal, renewed(300, true, at(0)), "{name}");
    }
}
