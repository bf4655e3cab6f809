//! Token-only names: only the token replaces, renews and deregisters them.

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, OTHER_SOURCE, PutRequestBuilder as _, TTL, TTL_AND_A_THIRD, WINDOW, at,
    claim_from, claim_with, peer, renewed, token,
};
use crate::{Claim, Held, PutRequest, PutResult, Removal, Renewal};

/// The time for which a name with a lease of [`TTL`] stays reserved, in milliseconds.
const RESERVED_MILLIS: u64 = 3 * TTL * 1_000;

/// The claims of clients that do not have the token of a [`token_only`] registration.
fn other_clients() -> [Claim; 4] {
    [
        claim_from(HOLDER_SOURCE),
        claim_with(token(9), HOLDER_SOURCE),
        claim_from(OTHER_SOURCE),
        claim_with(token(9), OTHER_SOURCE),
    ]
}

fn token_only(name: &str) -> PutRequest {
    peer(name).with_new_token(token(1)).with_token_only()
}

fn with_claim(put: PutRequest, claim: Claim) -> PutRequest {
    PutRequest { claim, ..put }
}

pub async fn only_its_token_replaces_renews_or_deregisters_a_live_token_only_peer(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&token_only("p").with_archetypes(&["mine"]), at(0)).await;
    let held = Held { until: harness.lease_end("p", at(0)).await };
    let before = harness.find("p", at(200)).await;
    for claim in other_clients() {
        for attempt in [peer("p"), token_only("p")] {
            assert_eq!(harness.put(&with_claim(attempt, claim), at(200)).await, PutResult::Held(held));
        }
        assert_eq!(harness.renew_as("p", &claim, at(200)).await, Renewal::Held(held));
        assert_eq!(harness.remove("p", &claim, at(200)).await, Removal::Held(held));
    }
    assert_eq!(harness.find("p", at(200)).await, before);
    let holder = claim_with(token(1), OTHER_SOURCE);
    assert_eq!(harness.renew_as("p", &holder, at(200)).await, renewed(300, false, at(0)));
    assert!(harness.register(&with_claim(token_only("p"), holder), at(210)).await, "the token is kept");
    assert_eq!(harness.remove("p", &holder, at(220)).await, Removal::Removed { was_live: true });
}

pub async fn a_token_only_name_is_reserved_for_three_leases_after_its_lease(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for name in ["p", "revived", "again", "left", "free"] {
        harness.register(&token_only(name), at(0)).await;
    }
    let end = harness.lease_end("p", at(0)).await;
    let reserved_until = end.plus_millis(RESERVED_MILLIS);
    let held = Held { until: reserved_until };
    for now in [end, reserved_until.minus_millis(1)] {
        for claim in other_clients() {
            assert_eq!(harness.put(&with_claim(peer("p"), claim), now).await, PutResult::Held(held));
            assert_eq!(harness.renew_as("p", &claim, now).await, Renewal::Held(held));
            assert_eq!(harness.remove("p", &claim, now).await, Removal::Held(held));
        }
    }
    let (holder, last) = (claim_with(token(1), OTHER_SOURCE), reserved_until.minus_millis(1));
    assert_eq!(harness.renew_as("revived", &holder, last).await, renewed(300, true, at(0)));
    assert!(harness.register(&with_claim(peer("again"), holder), last).await);
    assert_eq!(harness.remove("left", &holder, last).await, Removal::Removed { was_live: false });
    harness.register(&peer("free").with_source(OTHER_SOURCE), reserved_until).await;
}

pub async fn renewing_a_token_only_peer_needs_its_token_for_the_whole_revival_window(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for name in ["p", "left"] {
        harness.register(&token_only(name), at(0)).await;
    }
    let end = harness.lease_end("p", at(0)).await;
    let now = end.plus_millis(RESERVED_MILLIS);
    let held = Held { until: end.plus_millis(WINDOW * 1_000) };
    for claim in other_clients() {
        assert_eq!(harness.renew_as("p", &claim, now).await, Renewal::Held(held));
    }
    let removal = harness.remove("left", &claim_from(OTHER_SOURCE), now).await;
    assert_eq!(removal, Removal::Held(held), "deregistering needs proof after the reservation too");
    let removal = harness.remove("left", &claim_from(HOLDER_SOURCE), now).await;
    assert_eq!(removal, Removal::Removed { was_live: false });
    let renewal = harness.renew_as("p", &claim_with(token(1), OTHER_SOURCE), now).await;
    assert_eq!(renewal, renewed(300, true, at(0)));
}

pub async fn only_the_token_makes_a_live_registration_token_only(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    for claim in other_clients() {
        let attempt = with_claim(token_only("p"), claim);
        assert!(matches!(harness.put(&attempt, at(1)).await, PutResult::Held(_)), "{claim:?}");
    }
    assert!(harness.register(&token_only("p").with_token(token(1)), at(2)).await);
    assert!(matches!(harness.put(&peer("p"), at(3)).await, PutResult::Held(_)));
}

pub async fn a_free_name_can_be_registered_token_only(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p"), at(0)).await;
    harness.register(&token_only("p").with_source(OTHER_SOURCE), at(TTL_AND_A_THIRD)).await;
    let former = harness.put(&peer("p"), at(TTL_AND_A_THIRD)).await;
    assert!(matches!(former, PutResult::Held(_)), "{former:?}");
}

pub async fn a_registration_with_the_token_can_end_token_only(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&token_only("p"), at(0)).await;
    harness.register(&peer("p").with_token(token(1)), at(1)).await;
    harness.register(&peer("p"), at(2)).await;
}
