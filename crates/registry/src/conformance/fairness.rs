//! Whether samples are fair while peers come and go: a trial of many draws, and the judge of what was drawn.
//!
//! A trial is for a store's own tests: it is too long for the suite. Its churn follows from a seed; the store's own chance does
//! not, so a fair store is found guilty less than once in a million trials.

mod crowd;
mod judge;
mod pair;

use crate::{Query, Store, StoreError};
use crowd::Crowd;
use judge::Judge;
pub use judge::{Bias, Unevenness};

use super::world::{carriers_of, everybody};

/// A trial: rounds of samples between which peers register, register again, deregister, expire and revive.
#[derive(Clone, Debug)]
pub struct Trial {
    /// How often the crowd changes; at most [`Trial::MAX_ROUNDS`].
    pub rounds: u32,
    /// Samples of each kind of query in a round.
    pub samples: u32,
    /// Peers asked for in a sample of everybody.
    pub limit: usize,
    /// Peers that stay from the first round to the last.
    pub stayers: u32,
    /// Peers that register for long in a round, and of those before as many that deregister; as many more register for this round
    /// only.
    pub movers: u32,
    /// How a sample's peers may hang together.
    pub pairs: Pairs,
    /// What the churn follows from.
    pub seed: u64,
}

/// How the peers of one sample hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// Any two are listed together as often as any other two. Every store promises it of what it reads whole.
    Alike,
    /// Some are listed together more often than others, so that pairs are not judged, and counts scatter further.
    Clustered,
}

impl Trial {
    /// Longer than this, and leases that are to last would end.
    pub const MAX_ROUNDS: u32 = 30;
}

impl Default for Trial {
    /// A million draws from a hundred peers.
    fn default() -> Self {
        Self { rounds: 30, samples: 750, limit: 20, stayers: 40, movers: 20, pairs: Pairs::Alike, seed: 1 }
    }
}

/// Why a trial ended without acquittal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failed {
    /// The samples are not fair.
    #[error(transparent)]
    Biased(#[from] Bias),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is asked in a trial, each judged by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Everybody,
    EitherArchetype,
    RareArchetype,
}

impl Asked {
    const ALL: [Self; 3] = [Self::Everybody, Self::EitherArchetype, Self::RareArchetype];

    /// Of no archetype: anybody.
    fn archetypes(self) -> &'static [&'static str] {
        match self {
            Self::Everybody => &[],
            Self::EitherArchetype => &["a", "b"],
            Self::RareArchetype => &["rare"],
        }
    }

    /// A rare archetype has fewer carriers, and is asked for fewer.
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

/// Tries a store, which is empty: every caller is left out of its sample, and everybody else who matches must be drawn alike.
/// Answers how many peers were drawn.
///
/// # Errors
/// [`Failed::Biased`] says what gave the store away.
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
