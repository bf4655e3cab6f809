//! Proven and unproven heartbeats, and peers whose holder has not proved itself for twelve leases.

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, NEIGHBOUR_SOURCE, OTHER_SOURCE, PutRequestBuilder as _, TTL, TTL_AND_A_THIRD,
    WINDOW, at, at_millis, claim_from, claim_with, id, on_page, peer, renewed, token,
};
use crate::{Claim, Held, PutRequest, PutResult, Removal, Renewal};

/// The time without proof after which any client may replace a peer, in seconds.
const UNPROVEN: u64 = 12 * TTL;
/// The interval of heartbeats in these cases, in seconds. It is so long that a store has to write
/// the lease each time.
const INTERVAL: usize = 150;
/// A client that tries to take names over.
const TAKER: &str = "192.0.2.200";

impl Harness {
    /// Sends unproven heartbeats until `until`, and one at that time. The peer must be live
    /// throughout.
    async fn keep_alive(&self, name: &str, from: u64, until: u64) {
        for second in (from..until).step_by(INTERVAL).chain([until]) {
            let renewal = self.renew_as(name, &claim_from(OTHER_SOURCE), at(second)).await;
            assert!(matches!(renewal, Renewal::Renewed { revived: false, .. }), "{name}: {renewal:?}");
        }
    }

    /// Asserts that any client may replace a live peer from `second` on, and not earlier.
    async fn assert_free_from(&self, name: &str, second: u64) {
        let attempt = peer(name).with_source(TAKER);
        let early = self.put(&attempt, at_millis(second * 1_000 - 1)).await;
        assert!(matches!(early, PutResult::Held(_)), "{name} was replaced too early: {early:?}");
        assert!(self.find(name, at(second)).await.is_some(), "{name} stays listed");
        let in_time = self.put(&attempt, at(second)).await;
        assert!(matches!(in_time, PutResult::Stored { .. }), "{name} was not replaced: {in_time:?}");
    }

    /// Registers a peer at `start` and keeps it alive by unproven heartbeats, among which one
    /// heartbeat with `claim` is sent. Asserts that this one is proven if `proven` is set, and
    /// unproven otherwise.
    async fn assert_proof(&self, start: u64, put: &PutRequest, claim: &Claim, proven: bool) {
        let name = put.registration.peer_id.as_str();
        let heartbeat = start + 3_000;
        self.register(put, at(start)).await;
        self.keep_alive(name, start + 100, heartbeat - 1).await;
        let renewal = self.renew_as(name, claim, at(heartbeat)).await;
        assert_eq!(renewal, renewed(300, false, at(start)), "{name}");
        let free_from = UNPROVEN + if proven { heartbeat } else { start };
        self.keep_alive(name, heartbeat + 100, free_from - 1).await;
        self.assert_free_from(name, free_from).await;
    }
}

pub async fn a_wrong_token_is_refused_in_any_heartbeat(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    let end = harness.lease_end("p", at(0)).await;
    let dormant_until = end.plus_millis(WINDOW * 1_000);
    for (now, until) in [(at(200), end), (end, dormant_until)] {
        for source in [HOLDER_SOURCE, NEIGHBOUR_SOURCE, OTHER_SOURCE] {
            let wrong = claim_with(token(2), source);
            for claim in [wrong, Claim { holder_rule_disabled: true, ..wrong }] {
                let renewal = harness.renew_as("p", &claim, now).await;
                assert_eq!(renewal, Renewal::Held(Held { until }), "{claim:?}");
            }
        }
    }
}

pub async fn a_refused_heartbeat_changes_nothing(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    let (before, end) = (harness.find("p", at(200)).await, harness.lease_end("p", at(200)).await);
    let wrong = claim_with(token(2), HOLDER_SOURCE);
    assert!(matches!(harness.renew_as("p", &wrong, at(200)).await, Renewal::Held(_)));
    assert_eq!(harness.find("p", at(200)).await, before);
    assert_eq!(harness.lease_end("p", at(200)).await, end);
    assert!(matches!(harness.renew_as("p", &wrong, end).await, Renewal::Held(_)));
    assert_eq!(harness.live(end).await, [""; 0], "a refused heartbeat revives no peer");
    assert_eq!(harness.renew("p", end).await, renewed(300, true, at(0)));
}

pub async fn a_batch_renewal_checks_the_claim_of_each_peer(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for name in ["right", "wrong", "none"] {
        harness.register(&peer(name).with_new_token(token(1)), at(0)).await;
    }
    let claims = [
        ("right", claim_with(token(1), OTHER_SOURCE)),
        ("wrong", claim_with(token(2), HOLDER_SOURCE)),
        ("none", claim_from(OTHER_SOURCE)),
    ];
    let peers = claims.map(|(name, claim)| (id(name), claim));
    let held = Renewal::Held(Held { until: harness.lease_end("wrong", at(0)).await });
    let renewals = harness.store.renew_many(&peers, at(200)).await;
    let renewed = Ok(renewed(300, false, at(0)));
    assert_eq!(renewals, [renewed.clone(), Ok(held), renewed]);
    assert_eq!(harness.live(at(TTL_AND_A_THIRD)).await, ["none", "right"]);
}

pub async fn anyone_may_replace_a_peer_after_12_leases_without_proof(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let names = ["p", "left", "token-only"];
    for name in names {
        harness.register(&peer(name), at(0)).await;
    }
    for second in (100..UNPROVEN).step_by(INTERVAL).chain([UNPROVEN - 1]) {
        for name in names {
            harness.keep_alive(name, second, second).await;
        }
    }
    harness.assert_free_from("p", UNPROVEN).await;
    assert!(matches!(harness.put(&peer("p"), at(UNPROVEN)).await, PutResult::Held(_)));
    let removal = harness.remove("left", &claim_from(TAKER), at(UNPROVEN)).await;
    assert!(matches!(removal, Removal::Held(_)), "it can be replaced, not deregistered: {removal:?}");
    harness.register(&peer("token-only").with_source(TAKER).with_token_only(), at(UNPROVEN)).await;
}

pub async fn a_proven_heartbeat_protects_a_peer_for_another_12_leases(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.assert_proof(0, &peer("p"), &claim_from(HOLDER_SOURCE), true).await;
}

pub async fn a_proven_heartbeat_protects_a_peer_again_if_it_was_not_replaced(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p"), at(0)).await;
    let late = UNPROVEN + 100;
    harness.keep_alive("p", 100, late - 1).await;
    harness.heartbeat("p", at(late)).await;
    harness.keep_alive("p", late + 100, late + UNPROVEN - 1).await;
    harness.assert_free_from("p", late + UNPROVEN).await;
}

pub async fn the_token_proves_a_heartbeat_from_any_source(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let holder = claim_with(token(1), OTHER_SOURCE);
    harness.assert_proof(0, &peer("p").with_new_token(token(1)), &holder, true).await;
}

pub async fn a_heartbeat_from_the_24_or_48_of_the_holder_is_proven(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let cases = [
        ("203.0.113.1", "203.0.113.254", true),
        ("203.0.113.1", "203.0.114.1", false),
        ("2001:db8:1:2::3", "2001:db8:1:ffff::1", true),
        ("2001:db8:1:2::3", "2001:db8:2:2::3", false),
    ];
    for (n, (home, from, proven)) in (0..).zip(cases) {
        let put = peer(&format!("p{n}")).with_source(home);
        harness.assert_proof(n * 10_000, &put, &claim_from(from), proven).await;
    }
}

pub async fn a_heartbeat_of_a_page_is_proven_only_for_its_own_registration(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let page = "https://app.example";
    let heartbeat = on_page(page, claim_from(HOLDER_SOURCE));
    harness.assert_proof(0, &peer("own").with_page(page), &heartbeat, true).await;
    harness.assert_proof(10_000, &peer("other"), &heartbeat, false).await;
}

/// Another client always sends its heartbeat just before the holder, so that the holder's heartbeat
/// finds the lease renewed.
pub async fn a_proof_is_stored_even_if_the_lease_needs_no_write(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let ttl = 30;
    harness.register(&peer("p").with_ttl(30), at(0)).await;
    for second in (0..14 * ttl).step_by(7) {
        for (claim, millis) in [(claim_from(OTHER_SOURCE), 0), (claim_from(HOLDER_SOURCE), 1)] {
            let renewal = harness.renew_as("p", &claim, at_millis(second * 1_000 + millis)).await;
            assert_eq!(renewal, renewed(30, false, at(0)));
        }
    }
    let attempt = harness.put(&peer("p").with_source(TAKER), at(14 * ttl)).await;
    assert!(matches!(attempt, PutResult::Held(_)), "{attempt:?}");
}
