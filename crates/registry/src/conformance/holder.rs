//! The holder rule: who may change a registration.

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, NEIGHBOUR_SOURCE, OTHER_SOURCE, PutRequestBuilder as _, TTL, TTL_AND_A_THIRD,
    WINDOW, at, claim_from, claim_with, peer, peers_with_any, token,
};
use crate::{Claim, Held, PutRequest, PutResult, Removal, Renewal};

pub async fn another_client_can_neither_replace_nor_deregister_a_live_peer(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_archetypes(&["mine"]).with_new_token(token(1)), at(0)).await;
    let before = harness.find("p", at(200)).await;
    let other_client = peer("p").with_source(OTHER_SOURCE).with_archetypes(&["theirs"]);
    for attempt in [other_client.clone(), other_client.clone().with_token(token(2))] {
        assert!(matches!(harness.put(&attempt, at(200)).await, PutResult::Held(_)));
        assert!(matches!(harness.remove("p", &attempt.claim, at(200)).await, Removal::Held(_)));
    }
    assert_eq!(harness.find("p", at(200)).await, before);
    assert_eq!(harness.sample(&peers_with_any(&["theirs"]), at(200)).await.ids(), [""; 0]);
    assert_eq!(harness.live(at(TTL_AND_A_THIRD)).await, [""; 0], "a refused registration renews no lease");
}

pub async fn a_refusal_reports_the_end_of_the_lease(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p"), at(0)).await;
    harness.heartbeat("p", at(100)).await;
    let PutResult::Held(held) = harness.put(&peer("p").with_source(OTHER_SOURCE), at(110)).await else {
        panic!("the other client was not refused");
    };
    assert!((at(100 + TTL)..=at(100 + TTL_AND_A_THIRD)).contains(&held.until));
    assert_eq!(harness.remove("p", &claim_from(OTHER_SOURCE), at(110)).await, Removal::Held(held));
}

pub async fn the_holder_is_recognized_by_its_source_address(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_address("192.0.2.50", 80), at(0)).await;
    let from_the_published_address = peer("p").with_source("192.0.2.50");
    assert!(matches!(harness.put(&from_the_published_address, at(1)).await, PutResult::Held(_)));
    harness.register(&peer("p"), at(1)).await;
}

pub async fn an_ipv6_holder_is_recognized_by_its_64(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_source("2001:db8:1:2::3"), at(0)).await;
    let next_network = peer("p").with_source("2001:db8:1:3::3");
    assert!(matches!(harness.put(&next_network, at(1)).await, PutResult::Held(_)));
    harness.register(&peer("p").with_source("2001:db8:1:2:aaaa:bbbb:cccc:dddd"), at(1)).await;
}

pub async fn the_holder_is_recognized_by_its_token_from_any_source(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    let roaming = peer("p").with_source(OTHER_SOURCE).with_token(token(1)).with_archetypes(&["moved"]);
    harness.register(&roaming, at(1)).await;
    assert_eq!(harness.sample(&peers_with_any(&["moved"]), at(1)).await.ids(), ["p"]);
}

pub async fn the_holder_can_deregister_by_source_or_token(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let with_token = Claim { token: Some(token(1)), ..claim_from(OTHER_SOURCE) };
    for claim in [claim_from(HOLDER_SOURCE), with_token] {
        harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
        assert_eq!(harness.remove("p", &claim, at(1)).await, Removal::Removed { was_live: true });
    }
}

pub async fn a_presented_token_remains_valid(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    let proven = peer("p").with_token(token(1));
    assert!(harness.register(&proven.clone().with_new_token(token(2)), at(1)).await);
    assert!(harness.register(&proven.with_source(OTHER_SOURCE).with_new_token(token(3)), at(2)).await);
    let never_given = peer("p").with_source("192.0.2.1").with_token(token(2));
    assert!(matches!(harness.put(&never_given, at(3)).await, PutResult::Held(_)));
}

pub async fn registering_without_the_token_replaces_the_token(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    assert!(!harness.register(&peer("p").with_new_token(token(1)), at(0)).await);
    assert!(!harness.register(&peer("p").with_new_token(token(2)), at(1)).await);
    let elsewhere = peer("p").with_source(OTHER_SOURCE);
    assert!(matches!(harness.put(&elsewhere.clone().with_token(token(1)), at(2)).await, PutResult::Held(_)));
    assert!(harness.register(&elsewhere.with_token(token(2)), at(2)).await);
}

pub async fn a_wrong_token_counts_as_none_in_a_registration(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    assert!(!harness.register(&peer("p").with_token(token(9)).with_new_token(token(2)), at(1)).await);
    assert!(harness.register(&peer("p").with_source(OTHER_SOURCE).with_token(token(2)), at(2)).await);
    let stranger = peer("p").with_source("192.0.2.1").with_token(token(9));
    assert!(!harness.register(&stranger, at(2 + TTL_AND_A_THIRD)).await, "a dormant peer");
}

pub async fn the_latest_registration_determines_the_source_of_the_holder(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    harness.register(&peer("p").with_source(OTHER_SOURCE).with_token(token(1)), at(1)).await;
    assert!(matches!(harness.put(&peer("p"), at(2)).await, PutResult::Held(_)));
    harness.register(&peer("p").with_source(OTHER_SOURCE), at(2)).await;
}

pub async fn a_dormant_peer_keeps_its_token(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    let woken = peer("p").with_source(OTHER_SOURCE).with_token(token(1)).with_new_token(token(2));
    assert!(harness.register(&woken, at(TTL_AND_A_THIRD)).await);
}

pub async fn a_client_that_replaces_a_dormant_peer_becomes_its_holder(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    let now = at(TTL_AND_A_THIRD);
    harness.register(&peer("p").with_source(OTHER_SOURCE).with_new_token(token(2)), now).await;
    for former in [peer("p"), peer("p").with_source("192.0.2.1").with_token(token(1))] {
        assert!(matches!(harness.put(&former, now).await, PutResult::Held(_)));
    }
}

pub async fn deregistering_a_dormant_peer_needs_proof(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let peers = [("p", claim_from(HOLDER_SOURCE)), ("q", claim_with(token(1), OTHER_SOURCE))];
    for (name, _) in peers {
        harness.register(&peer(name).with_new_token(token(1)), at(0)).await;
    }
    let strangers =
        [claim_from(OTHER_SOURCE), claim_with(token(2), OTHER_SOURCE), claim_from(NEIGHBOUR_SOURCE)];
    let (end, now) = (harness.lease_end("p", at(0)).await, at(TTL_AND_A_THIRD));
    for stranger in strangers {
        let held = Held { until: end.plus_millis(WINDOW * 1_000) };
        assert_eq!(harness.remove("p", &stranger, now).await, Removal::Held(held), "{stranger:?}");
    }
    for (name, holder) in peers {
        assert_eq!(harness.remove(name, &holder, now).await, Removal::Removed { was_live: false });
        assert_eq!(harness.renew(name, now).await, Renewal::Unknown);
    }
}

pub async fn any_caller_counts_as_the_holder_if_the_holder_rule_is_disabled(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    let other_client = peer("p").with_source(OTHER_SOURCE);
    let holder_rule_disabled = Claim { holder_rule_disabled: true, ..other_client.claim };
    assert!(!harness.register(&PutRequest { claim: holder_rule_disabled, ..other_client }, at(1)).await);
    let another = Claim { holder_rule_disabled: true, ..claim_from("192.0.2.1") };
    assert_eq!(harness.remove("p", &another, at(2)).await, Removal::Removed { was_live: true });
}
