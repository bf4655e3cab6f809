//! Tests of the fairness test: it accepts a fair sampler and detects each kind of bias.

use aurora_discovery_registry::conformance::fairness::{
    Bias, FairnessError, FairnessTest, run_fairness_test,
};

use crate::biased::{Biased, SamplerBias};

async fn run(bias: SamplerBias) -> Result<u64, FairnessError> {
    let store = Biased::new(bias);
    run_fairness_test(&store, &FairnessTest { rounds: rounds(bias), ..FairnessTest::default() }).await
}

/// Enough rounds that the statistic of a biased sampler exceeds the bound by at least six of its
/// own standard deviations.
fn rounds(bias: SamplerBias) -> u32 {
    match bias {
        SamplerBias::SlightlyFavoursNewer | SamplerBias::RepeatsSamples => 10,
        _ => 3,
    }
}

/// The bias that the test detects in a sampler.
async fn detected_bias(bias: SamplerBias) -> Bias {
    match run(bias).await {
        Err(FairnessError::Biased(bias)) => bias,
        other => panic!("{bias:?} was not detected: {other:?}"),
    }
}

/// Asserts that the test detects a bias in these counts, among others.
async fn assert_uneven(bias: SamplerBias, what: &str) {
    match detected_bias(bias).await {
        Bias::Uneven(found) if found.iter().any(|deviation| deviation.what == what) => {}
        other => panic!("{bias:?}: {other}"),
    }
}

#[tokio::test]
async fn a_fair_sampler_passes() {
    assert_eq!(run(SamplerBias::None).await, Ok(3 * 750 * (20 + 20 + 5)));
}

#[tokio::test]
async fn a_fair_sampler_of_large_samples_passes() {
    let store = Biased::new(SamplerBias::None);
    let large = FairnessTest {
        rounds: 3,
        samples: 80,
        limit: 200,
        stable_peers: 360,
        churn: 40,
        ..FairnessTest::default()
    };
    assert!(run_fairness_test(&store, &large).await.is_ok());
}

#[tokio::test]
async fn a_sampler_that_lists_the_newest_first_is_detected() {
    assert_uneven(SamplerBias::NewestFirst, "peers of one round").await;
}

#[tokio::test]
async fn a_slight_preference_for_the_newer_half_is_detected() {
    assert_uneven(SamplerBias::SlightlyFavoursNewer, "peers of one round").await;
}

#[tokio::test]
async fn runs_from_a_random_start_are_detected_by_their_pairs() {
    assert_uneven(SamplerBias::RunFromRandomStart, "pairs of stable peers").await;
}

#[tokio::test]
async fn a_preference_for_peers_after_a_gap_of_hashes_is_detected() {
    assert_uneven(SamplerBias::AfterHashGaps, "peers of one round").await;
}

#[tokio::test]
async fn a_preference_for_peers_after_an_empty_slot_is_detected() {
    assert_uneven(SamplerBias::AfterEmptySlots, "peers of one round").await;
}

#[tokio::test]
async fn a_sample_that_is_returned_twice_is_detected() {
    assert_uneven(SamplerBias::RepeatsSamples, "peers of one round").await;
}

#[tokio::test]
async fn double_weight_for_peers_with_two_archetypes_is_detected() {
    assert_uneven(SamplerBias::DoubleWeightForTwoArchetypes, "peers of one round").await;
}

#[tokio::test]
async fn a_listed_caller_is_detected() {
    assert!(matches!(detected_bias(SamplerBias::ListsTheCaller).await, Bias::CallerListed(_)));
}

#[tokio::test]
async fn a_sampler_that_misses_peers_of_a_rare_archetype_is_detected() {
    assert!(matches!(detected_bias(SamplerBias::MissesRareArchetypes).await, Bias::Short { .. }));
}

#[tokio::test]
async fn a_removed_peer_in_a_sample_is_detected() {
    assert!(matches!(detected_bias(SamplerBias::ListsRemovedPeers).await, Bias::NotMatching(_)));
}

#[tokio::test]
async fn a_duplicate_peer_in_a_sample_is_detected() {
    assert!(matches!(detected_bias(SamplerBias::ListsTwice).await, Bias::Duplicate(_)));
}
