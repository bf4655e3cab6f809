//! The judge of samples is put to the test: he acquits a fair sampler and finds each kind of bias.

use aurora_registry::conformance::fairness::{Bias, Failed, Trial, trial};

use crate::biased::{Biased, Leaning};

/// A tenth of the draws that a store in memory is tried with.
const SHORT: u32 = 3;

async fn tried(leaning: Leaning) -> Result<u64, Failed> {
    let store = Biased::new(leaning);
    trial(&store, &Trial { rounds: SHORT, ..Trial::default() }).await
}

/// Which bias a sampler is found guilty of.
async fn bias(leaning: Leaning) -> Bias {
    match tried(leaning).await {
        Err(Failed::Biased(bias)) => bias,
        other => panic!("{leaning:?} was not found guilty: {other:?}"),
    }
}

async fn unevenness(leaning: Leaning) -> &'static str {
    match bias(leaning).await {
        Bias::Uneven { what, .. } => what,
        other => panic!("{leaning:?}: {other}"),
    }
}

#[tokio::test]
async fn a_fair_sampler_is_acquitted() {
    assert_eq!(tried(Leaning::None).await, Ok(u64::from(SHORT) * 750 * (20 + 20 + 5)));
}

#[tokio::test]
async fn the_newest_first_are_found() {
    assert_eq!(unevenness(Leaning::NewestFirst).await, "peers of one round");
}

#[tokio::test]
async fn a_slight_preference_for_the_newer_half_is_found() {
    assert_eq!(unevenness(Leaning::NewerSomewhatMore).await, "peers of one round");
}

#[tokio::test]
async fn a_random_start_and_the_next_are_found_by_their_pairs() {
    assert_eq!(unevenness(Leaning::RandomStartAndTheNext).await, "pairs of peers that stayed");
}

#[tokio::test]
async fn a_preference_for_whoever_stands_behind_a_gap_of_hashes_is_found() {
    assert_eq!(unevenness(Leaning::BehindGapsOfHashes).await, "peers of one round");
}

#[tokio::test]
async fn a_preference_for_whoever_stands_behind_a_slot_that_churn_left_empty_is_found() {
    assert_eq!(unevenness(Leaning::BehindEmptySlots).await, "peers of one round");
}

#[tokio::test]
async fn an_answer_that_is_given_several_times_is_found() {
    // Peers of one round mostly show it, and pairs where by chance they don't.
    assert!(matches!(bias(Leaning::RepeatsAnswers).await, Bias::Uneven { .. }));
}

#[tokio::test]
async fn double_weight_for_carriers_of_two_archetypes_is_found() {
    assert_eq!(unevenness(Leaning::TwiceForTwoArchetypes).await, "peers of one round");
}

#[tokio::test]
async fn the_caller_in_the_list_is_found() {
    assert!(matches!(bias(Leaning::ListsTheCaller).await, Bias::Caller(_)));
}

#[tokio::test]
async fn a_rare_archetype_that_is_looked_for_among_a_few_is_found() {
    assert!(matches!(bias(Leaning::LooksAmongAFew).await, Bias::Short { .. }));
}

#[tokio::test]
async fn a_peer_that_is_gone_is_found() {
    assert!(matches!(bias(Leaning::ListsTheGone).await, Bias::Stranger(_)));
}

#[tokio::test]
async fn a_peer_that_is_listed_twice_is_found() {
    assert!(matches!(bias(Leaning::ListsTwice).await, Bias::Twice(_)));
}
