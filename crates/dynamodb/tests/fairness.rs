//! Tests that every peer is equally likely to be sampled, with a hundred thousand draws for each of
//! the three ways to draw a sample. Meanwhile other peers register and leave.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/stand_in.rs"]
mod support;

use std::time::Duration;

use aurora_discovery_registry::conformance::fairness::{FairnessTest, PairDistribution, run_fairness_test};

/// Reads a small network from a snapshot of the table.
#[tokio::test]
async fn a_hundred_thousand_draws_from_a_snapshot_are_fair() {
    let few = FairnessTest { rounds: 10, samples: 250, ..FairnessTest::default() };
    assert!(run(few, u16::MAX).await > 100_000);
}

/// Lists all lanes of a network, and then reads its peers in random order.
#[tokio::test]
async fn a_hundred_thousand_draws_from_a_listed_index_are_fair() {
    let listed = FairnessTest {
        rounds: 3,
        samples: 80,
        limit: 200,
        stable_peers: 360,
        churn: 40,
        ..FairnessTest::default()
    };
    assert!(run(listed, 0).await > 100_000);
}

/// Samples a network from windows of the ring. Neighbours on the ring are in the same sample
/// somewhat more often than other peers (decision 3), so the distribution of pairs is not tested.
/// The test also samples a rare archetype, whose few index entries are listed completely.
#[tokio::test]
async fn a_hundred_thousand_draws_from_windows_of_the_index_are_fair() {
    let windows = FairnessTest {
        rounds: 3,
        samples: 150,
        limit: 100,
        stable_peers: 1_000,
        churn: 60,
        pairs: PairDistribution::Clustered,
        ..FairnessTest::default()
    };
    assert!(run(windows, 0).await > 100_000);
}

async fn run(parameters: FairnessTest, snapshot_items: u16) -> u64 {
    let mut options = support::fresh_table().await;
    options.deadline = Duration::from_secs(60);
    options.attempt_timeout = Duration::from_secs(20);
    options.snapshot_items = snapshot_items;
    let store = support::open(&options).await;
    run_fairness_test(&*store, &parameters).await.expect("samples are fair")
}
