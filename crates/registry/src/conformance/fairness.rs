//! A statistical test of whether samples stay uniform under churn. It draws many samples and
//! compares their counts with the expectation for a uniform sampler.
//!
//! The test takes too long for the conformance suite. It is meant for a store's own tests. The
//! churn is determined by a seed, but the store's random choices are not. The test rejects a fair
//! store less than once in a million runs.

mod pair;
mod population;
mod uniformity;

use crate::{Query, Store, StoreError};
use population::Population;
use uniformity::UniformityCheck;
pub use uniformity::{Bias, Deviation};

use super::harness::{all_peers, peers_with_any};

/// The parameters of a fairness test. It consists of rounds of samples. Between two rounds, peers
/// register, register again, deregister, expire and are revived.
#[derive(Clone, Debug)]
pub struct FairnessTest {
    /// The number of rounds, at most [`FairnessTest::MAX_ROUNDS`].
    pub rounds: u32,
    /// The number of samples per round and kind of query.
    pub samples: u32,
    /// The limit of a sample of all peers.
    pub limit: usize,
    /// The number of peers that are live from the first round to the last.
    pub stable_peers: u32,
    /// The number of peers that register with a long lease in each round. In the same round, as
    /// many peers with a long lease deregister, and as many peers register with a lease that ends
    /// before the next round.
    pub churn: u32,
    /// Whether the peers of one sample may be correlated.
    pub pairs: PairDistribution,
    /// The seed of the churn.
    pub seed: u64,
}

/// Whether the peers of one sample are correlated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairDistribution {
    /// Any two peers are listed together equally often. Every store guarantees this if it reads all
    /// matching peers.
    Uniform,
    /// Some pairs are listed together more often than others. Pairs are then not tested, and counts
    /// of single peers may deviate further.
    Clustered,
}

impl FairnessTest {
    /// The maximum number of rounds. A longer test would take longer than the leases of the stable
    /// peers.
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

/// The reason why a fairness test failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FairnessError {
    /// The samples are not fair.
    #[error(transparent)]
    Biased(#[from] Bias),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The kinds of query in a fairness test. Each kind is checked separately.
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
    fn limit(self, test: &FairnessTest) -> usize {
        match self {
            Self::AllPeers | Self::EitherArchetype => test.limit,
            Self::RareArchetype => (test.limit / 4).max(1),
        }
    }

    fn query(self, test: &FairnessTest) -> Query {
        let query = match self {
            Self::AllPeers => all_peers(),
            Self::EitherArchetype | Self::RareArchetype => peers_with_any(self.archetypes()),
        };
        Query { limit: self.limit(test), ..query }
    }
}

/// Runs a fairness test on a store, which must be empty. Each sample excludes the peer that
/// requests it, and all other matching peers must be drawn with equal probability. Returns the
/// number of peers that were drawn.
///
/// # Errors
/// [`FairnessError::Biased`] describes the bias that was found. [`FairnessError::Store`] if the
/// store failed.
pub async fn run_fairness_test(store: &dyn Store, test: &FairnessTest) -> Result<u64, FairnessError> {
    assert!(
        test.rounds <= FairnessTest::MAX_ROUNDS,
        "a fairness test has at most {} rounds",
        FairnessTest::MAX_ROUNDS
    );
    let mut population = Population::new(store, test).await?;
    let mut checks =
        QueryKind::ALL.map(|kind| (kind, UniformityCheck::new(kind.limit(test), population.watched(kind))));
    for _ in 0..test.rounds {
        population.advance().await?;
        for (kind, check) in &mut checks {
            let matching = population.matching(*kind);
            check.start_round(&matching);
            for _ in 0..test.samples {
                let caller = population.random(&matching);
                let listed = population.sample(&kind.query(test), &caller).await?;
                check.record(&caller, &listed)?;
            }
            check.end_round();
        }
    }
    let mut drawn = 0;
    for (_, check) in checks {
        drawn += check.finish(test.pairs)?;
    }
    Ok(drawn)
}
