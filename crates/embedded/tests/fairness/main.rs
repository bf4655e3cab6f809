//! Tests of a million draws while peers come and go. No peer and no pair of peers may be drawn more
//! often than others.
#![allow(clippy::unwrap_used, reason = "an unfair sample fails the test")]

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_registry::Limits;
use aurora_discovery_registry::conformance::fairness::{FairnessTest, run_fairness_test};

#[tokio::test]
async fn a_million_draws_under_churn_are_fair() {
    let store = EmbeddedStore::in_memory(Limits::default());
    let drawn = run_fairness_test(&*store, &FairnessTest::default()).await.unwrap();
    assert!(drawn >= 1_000_000, "{drawn}");
}

#[tokio::test]
async fn draws_from_a_network_that_is_replaced_repeatedly_are_fair() {
    let store = EmbeddedStore::in_memory(Limits::default());
    let replaced =
        FairnessTest { stable_peers: 20, churn: 200, samples: 200, seed: 2, ..FairnessTest::default() };
    run_fairness_test(&*store, &replaced).await.unwrap();
}
