//! Requests that web pages send. Any page that a user visits can make the user's browser send
//! requests, so the address of such a request does not prove who made it. The address counts only
//! if the same page made the registration.

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, OTHER_SOURCE, PutRequestBuilder as _, TTL_AND_A_THIRD, at, claim_from, on_page,
    peer, token,
};
use crate::{PutResult, Removal};

const PAGE: &str = "https://app.example";
const OTHER_PAGE: &str = "https://other.example";
const OPAQUE: &str = "null";

pub async fn a_page_proves_nothing_by_its_address(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(1)), at(0)).await;
    let pages = [PAGE, OPAQUE].map(|origin| peer("p").with_page(origin));
    for attempt in &pages {
        assert!(matches!(harness.put(attempt, at(1)).await, PutResult::Held(_)), "{attempt:?}");
        assert!(matches!(harness.remove("p", &attempt.claim, at(1)).await, Removal::Held(_)));
    }
    for attempt in &pages {
        let removal = harness.remove("p", &attempt.claim, at(TTL_AND_A_THIRD)).await;
        assert!(matches!(removal, Removal::Held(_)), "dormant: {attempt:?}");
    }
    let page = peer("p").with_page(PAGE).with_token(token(1));
    assert!(harness.register(&page, at(TTL_AND_A_THIRD)).await, "a page proves itself by the token");
}

pub async fn a_page_is_the_holder_of_what_it_registered(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for name in ["p", "left", "taken"] {
        harness.register(&peer(name).with_page(PAGE), at(0)).await;
    }
    for origin in [OTHER_PAGE, OPAQUE] {
        let attempt = peer("p").with_page(origin);
        assert!(matches!(harness.put(&attempt, at(1)).await, PutResult::Held(_)), "{origin}");
        assert!(matches!(harness.remove("p", &attempt.claim, at(1)).await, Removal::Held(_)), "{origin}");
    }
    let elsewhere = peer("p").with_source(OTHER_SOURCE).with_page(PAGE);
    assert!(matches!(harness.put(&elsewhere, at(1)).await, PutResult::Held(_)), "another address");
    harness.register(&peer("p").with_page(PAGE), at(1)).await;
    let same_page = on_page(PAGE, claim_from(HOLDER_SOURCE));
    assert_eq!(harness.remove("left", &same_page, at(1)).await, Removal::Removed { was_live: true });
    harness.register(&peer("taken"), at(1)).await;
    let former = harness.put(&peer("taken").with_page(PAGE), at(2)).await;
    assert!(matches!(former, PutResult::Held(_)), "the latest registration did not come from the page");
}

pub async fn a_page_that_hides_its_origin_is_never_recognized(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_page(OPAQUE), at(0)).await;
    assert!(matches!(harness.put(&peer("p").with_page(OPAQUE), at(1)).await, PutResult::Held(_)));
}
