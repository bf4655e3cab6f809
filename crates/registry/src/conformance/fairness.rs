//! Trials of whether samples are fair while peers come and go: many samples are drawn, and a judge
//! compares them with what a uniform sampler would draw.
//!
//! A trial is too long for the conformance suite. It is meant for a store's own tests. The churn is
//! determined by a seed, but the store's random choices are not. A fair store is rejected less than
//! once in a million trials.

mod pair;
mod population;
mod uniformity;

use crate::{Query, Store, StoreError};
use population::Population;
use uniformity::UniformityCheck;
pub use uniformity::{Bias, Deviation};

use super::harness::{all_peers, peers_with_any};

/// The parameters of a trial. It consists of rounds of samples. Between two rounds, peers register,
/// register again, deregister, expire and are revived.
#[derive(Clone, Debug)]
pub struct FairnessTest {
    /// The number of rounds, at most [`FairnessTest::MAX_ROUNDS`].
    pub rounds: u32,
    /// The number of samples per round and kind of query.
    pub samples: u32,
    /// The limit of a sample of all peers.
    pub limit: usize,
    /// The number of peers that stay from the first round to the last.
    pub stable_peers: u32,
    /// The number of peers that register for longer in each round. Equally many of the earlier ones
    /// deregister, and equally many register for this round only.
    pub churn: u32,
    /// Whether the peers of one sample may be correlated.
    pub pairs: PairDistribution,
    /// The seed of the churn.
    pub seed: u64,
}

/// Whether the peers of one sample are correlated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairDistribution {
    /// Any two peers are listed together equally often. Every store guarantees this for lists that
    /// it reads completely.
    Uniform,
    /// Some pairs are listed together more often than others. PairDistribution are then not judged, and counts
    /// of single peers may deviate further.
    Clustered,
}

impl FairnessTest {
    /// In a longer trial, the leases that must outlast it would end.
    pub const MAX_ROUNDS: u32 = 30;
}

impl Default for FairnessTest {
    /// A million draws from a hundred peers.
    fn default() -> Self {
        Self {
            rounds: 30,
            samples: 750,
            limit: 20,
            stable_peers: 40,
            churn: 20,
            pairs: PairDistribution::Uniform,
            seed: 1,
        }
    }
}

/// The reason why a trial failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FairnessError {
    /// The samples are not fair.
    #[error(transparent)]
    Biased(#[from] Bias),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The kinds of query in a trial. Each kind has a separate judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueryKind {
    AllPeers,
    /// The union of two archetypes that overlap. Peers with both must not be listed more often than
    /// peers with one, although a store that keeps one list per archetype finds them in two lists.
    EitherArchetype,
    RareArchetype,
}

impl QueryKind {
    const ALL: [Self; 3] = [Self::AllPeers, Self::EitherArchetype, Self::RareArchetype];

    /// The archetypes of the query. Empty means all peers.
    fn archetypes(self) -> &'static [&'static str] {
        match self {
            Self::AllPeers => &[],
            Self::EitherArchetype => &["a", "b"],
            Self::RareArchetype => &["rare"],
        }
    }

    /// The limit of the query. It is smaller for the rare archetype, which few peers carry.
    fn limit(self, trial: &FairnessTest) -> usize {
        match self {
            Self::AllPeers | Self::EitherArchetype => trial.limit,
            Self::RareArchetype => (trial.limit / 4).max(1),
        }
    }

    fn query(self, trial: &FairnessTest) -> Query {
        let query = match self {
            Self::AllPeers => all_peers(),
            Self::EitherArchetype | Self::RareArchetype => peers_with_any(self.archetypes()),
        };
        Query { limit: self.limit(trial), ..query }
    }
}

/// Runs a trial on a store, which must be empty. Each sample excludes the peer that requests it,
/// and all other matching peers must be drawn with equal probability. Returns the number of peers
/// that were drawn.
///
/// # Errors
/// [`FairnessError::Biased`] describes the bias that was found.
pub async fn run_fairness_test(store: &dyn Store, trial: &FairnessTest) -> Result<u64, FairnessError> {
    assert!(
        trial.rounds <= FairnessTest::MAX_ROUNDS,
        "a trial of more than {} rounds",
        FairnessTest::MAX_ROUNDS
    );
    let mut population = Population::gather(store, trial).await?;
    let mut judges = QueryKind::ALL
        .map(|asked| (asked, UniformityCheck::new(asked.limit(trial), population.watched(asked))));
    for _ in 0..trial.rounds {
        population.move_on().await?;
        for (asked, judge) in &mut judges {
            let matching = population.matching(*asked);
            judge.open(&matching);
            for _ in 0..trial.samples {
                let caller = population.any_of(&matching);
                let listed = population.sample(&asked.query(trial), &caller).await?;
                judge.saw(&caller, &listed)?;
            }
            judge.close();
        }
    }
    let mut drawn = 0;
    for (_, judge) in judges {
        drawn += judge.verdict(trial.pairs)?;
    }
    Ok(drawn)
}
