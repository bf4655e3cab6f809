//! Trials of whether samples are fair while peers come and go: many samples are drawn, and a judge
//! compares them with what a uniform sampler would draw.
//!
//! A trial is too long for the conformance suite. It is meant for a store's own tests. The churn is
//! determined by a seed, but the store's random choices are not. A fair store is rejected less than
//! once in a million trials.

mod crowd;
mod judge;
mod pair;

use crate::{Query, Store, StoreError};
use crowd::Crowd;
use judge::Judge;
pub use judge::{Bias, Unevenness};

use super::world::{carriers_of, everybody};

/// The parameters of a trial. It consists of rounds of samples. Between two rounds, peers register,
/// register again, deregister, expire and are revived.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The number of rounds, at most [`Trial::MAX_ROUNDS`].
    pub rounds: u32,
    /// The number of samples per round and kind of query.
    pub samples: u32,
    /// The limit of a sample of all peers.
    pub limit: usize,
    /// The number of peers that stay from the first round to the last.
    pub stayers: u32,
    /// The number of peers that register for longer in each round. Equally many of the earlier ones
    /// deregister, and equally many register for this round only.
    pub movers: u32,
    /// Whether the peers of one sample may be correlated.
    pub pairs: Pairs,
    /// The seed of the churn.
    pub seed: u64,
}

/// Whether the peers of one sample are correlated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// Any two peers are listed together equally often. Every store guarantees this for lists that
    /// it reads completely.
    Alike,
    /// Some pairs are listed together more often than others. Pairs are then not judged, and counts
    /// of single peers may deviate further.
    Clustered,
}

impl Trial {
    /// In a longer trial, the leases that must outlast it would end.
    pub const MAX_ROUNDS: u32 = 30;
}

impl Default for Trial {
    /// A million draws from a hundred peers.
    fn default() -> Self {
        Self { rounds: 30, samples: 750, limit: 20, stayers: 40, movers: 20, pairs: Pairs::Alike, seed: 1 }
    }
}

/// The reason why a trial failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failed {
    /// The samples are not fair.
    #[error(transparent)]
    Biased(#[from] Bias),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The kinds of query in a trial. Each kind has a separate judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Everybody,
    /// The union of two archetypes that overlap. Peers with both must not be listed more often than
    /// peers with one, although a store that keeps one list per archetype finds them in two lists.
    EitherArchetype,
    RareArchetype,
}

impl Asked {
    const ALL: [Self; 3] = [Self::Everybody, Self::EitherArchetype, Self::RareArchetype];

    /// The archetypes of the query. Empty means all peers.
    fn archetypes(self) -> &'static [&'static str] {
        match self {
            Self::Everybody => &[],
            Self::EitherArchetype => &["a", "b"],
            Self::RareArchetype => &["rare"],
        }
    }

    /// The limit of the query. It is smaller for the rare archetype, which few peers carry.
    fn limit(self, trial: &Trial) -> usize {
        match self {
            Self::Everybody | Self::EitherArchetype => trial.limit,
            Self::RareArchetype => (trial.limit / 4).max(1),
        }
    }

    fn query(self, trial: &Trial) -> Query {
        let query = match self {
            Self::Everybody => everybody(),
            Self::EitherArchetype | Self::RareArchetype => carriers_of(self.archetypes()),
        };
        Query { limit: self.limit(trial), ..query }
    }
}

/// Runs a trial on a store, which must be empty. Each sample excludes the peer that requests it,
/// and all other matching peers must be drawn with equal probability. Returns the number of peers
/// that were drawn.
///
/// # Errors
/// [`Failed::Biased`] describes the bias that was found.
pub async fn trial(store: &dyn Store, trial: &Trial) -> Result<u64, Failed> {
    assert!(trial.rounds <= Trial::MAX_ROUNDS, "a trial of more than {} rounds", Trial::MAX_ROUNDS);
    let mut crowd = Crowd::gather(store, trial).await?;
    let mut judges = Asked::ALL.map(|asked| (asked, Judge::new(asked.limit(trial), crowd.watched(asked))));
    for _ in 0..trial.rounds {
        crowd.move_on().await?;
        for (asked, judge) in &mut judges {
            let matching = crowd.matching(*asked);
            judge.open(&matching);
            for _ in 0..trial.samples {
                let caller = crowd.any_of(&matching);
                let listed = crowd.sample(&asked.query(trial), &caller).await?;
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
