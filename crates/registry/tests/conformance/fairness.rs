//! Tests of the judge: it accepts a fair sampler and detects each kind of bias.

use aurora_discovery_registry::conformance::fairness::{
    Bias, FairnessError, FairnessTest, run_fairness_test,
};

use crate::biased::{Biased, Leaning};

async fn tried(leaning: Leaning) -> Result<u64, FairnessError> {
    let store = Biased::new(leaning);
    run_fairness_test(&store, &FairnessTest { rounds: rounds(leaning), ..FairnessTest::default() }).await
}

/// Enough rounds that the statistic of a biased sampler exceeds the bound by at least six of its
/// own standard deviations.
fn rounds(leaning: Leaning) -> u32 {
    match leaning {
        Leaning::NewerSomewhatMore | Leaning::RepeatsAnswers => 10,
        _ => 3,
    }
}

/// The bias that the judge detects in a sampler.
async fn bias(leaning: Leaning) -> Bias {
    match tried(leaning).await {
        Err(FairnessError::Biased(bias)) => bias,
        other => panic!("{leaning:?} was not found guilty: {other:?}"),
    }
}

/// Asserts that the judge detects a bias in these counts, among others.
async fn gives_away(leaning: Leaning, what: &str) {
    match bias(leaning).await {
        Bias::Uneven(found) if found.iter().any(|uneven| uneven.what == what) => {}
        other => panic!("{leaning:?}: {other}"),
    }
}

#[tokio::test]
async fn a_fair_sampler_is_acquitted() {
    assert_eq!(tried(Leaning::None).await, Ok(3 * 750 * (20 + 20 + 5)));
}

#[tokio::test]
async fn a_fair_sampler_of_large_shares_is_acquitted() {
    let store = Biased::new(Leaning::None);
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
async fn the_newest_first_are_found() {
    gives_away(Leaning::NewestFirst, "peers of one round").await;
}

#[tokio::test]
async fn a_slight_preference_for_the_newer_half_is_found() {
    gives_away(Leaning::NewerSomewhatMore, "peers of one round").await;
}

#[tokio::test]
async fn a_random_start_and_the_next_are_found_by_their_pairs() {
    gives_away(Leaning::RandomStartAndTheNext, "pairs of peers that stayed").await;
}

#[tokio::test]
async fn a_preference_for_whoever_stands_behind_a_gap_of_hashes_is_found() {
    gives_away(Leaning::BehindGapsOfHashes, "peers of one round").await;
}

#[tokio::test]
async fn a_preference_for_whoever_stands_behind_a_slot_that_churn_left_empty_is_found() {
    gives_away(Leaning::BehindEmptySlots, "peers of one round").await;
}

#[tokio::test]
async fn an_answer_that_is_given_several_times_is_found() {
    gives_away(Leaning::RepeatsAnswers, "peers of one round").await;
}

#[tokio::test]
async fn double_weight_for_carriers_of_two_archetypes_is_found() {
    gives_away(Leaning::TwiceForTwoArchetypes, "peers of one round").await;
}

#[tokio::test]
async fn the_caller_in_the_list_is_found() {
    assert!(matches!(bias(Leaning::ListsTheCaller).await, Bias::CallerListed(_)));
}

#[tokio::test]
async fn a_rare_archetype_that_is_looked_for_among_a_few_is_found() {
    assert!(matches!(bias(Leaning::LooksAmongAFew).await, Bias::Short { .. }));
}

#[tokio::test]
async fn a_peer_that_is_gone_is_found() {
    assert!(matches!(bias(Leaning::ListsTheGone).await, Bias::NotMatching(_)));
}

#[tokio::test]
async fn a_peer_that_is_listed_twice_is_found() {
    assert!(matches!(bias(Leaning::ListsTwice).await, Bias::Duplicate(_)));
}
