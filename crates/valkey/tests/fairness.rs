//! Draws a million samples while peers register and leave, and checks that every peer is equally
//! likely to be drawn.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod support;

use aurora_discovery_registry::Limits;
use aurora_discovery_registry::conformance::fairness::{FairnessTest, run_fairness_test};
use aurora_discovery_valkey::ValkeyStore;

#[tokio::test]
async fn a_million_draws_are_fair() {
    let store =
        ValkeyStore::open(support::fresh_registry(), Limits::default()).await.expect("the server is up");
    let draws = run_fairness_test(&store, &FairnessTest::default()).await.expect("samples are fair");
    assert!(draws > 1_000_000, "{draws}");
}
