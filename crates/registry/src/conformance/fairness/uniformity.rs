//! Compares the peers that were drawn with the expectation for a uniform sampler.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::super::statistics::{LEAST_EXPECTED, chi_square_bound};
use super::PairDistribution;
use super::pair::{PairCounts, UniformSample};

/// The bound of each statistic, in standard deviations. A fair sampler exceeds it less than once in
/// a hundred billion runs. With as many draws as a test makes, each statistic is normally
/// distributed with a standard deviation of one (observed: 0.9 to 1.1, in hundreds of runs of each
/// kind).
const DEVIATIONS: f64 = 7.0;
/// The same bound for clustered samples. It was found by simulating a hundred thousand runs with a
/// fair sampler that lists a hundred peers: thirteen from each of several groups of about forty
/// peers. The statistic, in the same unit, then had a standard deviation of 1.7. It exceeded 8
/// twice in a hundred thousand runs. A value that is higher by one was exceeded only a fifth as
/// often. By extrapolation, a fair sampler exceeds this bound about once in ten billion runs.
const DEVIATIONS_OF_CLUSTERS: f64 = 16.0;

/// The evidence that a sampler is biased.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Bias {
    /// A list did not have as many peers as it should have.
    #[error("{listed} peers were listed, but {possible} could have been")]
    Short {
        /// The number of listed peers.
        listed: usize,
        /// The number of peers that could have been listed.
        possible: usize,
    },
    /// A peer was listed twice.
    #[error("{0} was listed twice")]
    Duplicate(String),
    /// The caller was listed, although it was excluded.
    #[error("{0} requested the sample and was listed")]
    CallerListed(String),
    /// A listed peer does not match: it has left, has expired, or carries other archetypes.
    #[error("{0} was listed but does not match")]
    NotMatching(String),
    /// Some peers or pairs were drawn more often than others. Contains every statistic that reached
    /// its bound.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Uneven(Vec<Deviation>),
}

/// Counts that are unlikely under a uniform sampler.
#[derive(Clone, Debug, PartialEq)]
pub struct Deviation {
    /// A description of the counts.
    pub what: &'static str,
    /// The statistic of the counts.
    pub statistic: f64,
    /// The bound that a uniform sampler almost never reaches.
    pub bound: f64,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, statistic, bound } = self;
        write!(
            f,
            "{what}: the chi-square statistic is {statistic:.0}, but a uniform sampler stays below {bound:.0}"
        )
    }
}

/// Counts the peers that one kind of query lists.
pub(super) struct UniformityCheck {
    limit: usize,
    round: Round,
    /// The counts by peer, over all rounds.
    peers: HashMap<String, Cell>,
    pairs: PairCounts,
    /// The sums of the statistics and of the degrees of freedom over all rounds.
    within: (f64, f64),
    drawn: u64,
}

/// The counts of one round, during which the set of matching peers does not change.
#[derive(Default)]
struct Round {
    /// By peer: the number of samples that listed it, and the number that it requested.
    counts: HashMap<String, (u64, u64)>,
    samples: u64,
}

/// A count with its expectation and its variance.
#[derive(Clone, Copy, Default)]
struct Cell {
    seen: f64,
    expected: f64,
    variance: f64,
}

impl Cell {
    /// The count of a number of trials that each succeed with the same probability.
    fn of(seen: u64, trials: u64, probability: f64) -> Self {
        let expected = trials as f64 * probability;
        Self { seen: seen as f64, expected, variance: expected * (1.0 - probability) }
    }

    fn add(&mut self, other: Self) {
        self.seen += other.seen;
        self.expected += other.expected;
        self.variance += other.variance;
    }

    /// The squared difference from the expectation, divided by the variance. `None` if the
    /// expectation is too small or the result is certain.
    fn distance(self) -> Option<f64> {
        let usable = self.expected >= LEAST_EXPECTED && self.variance > 0.0;
        usable.then(|| (self.seen - self.expected).powi(2) / self.variance)
    }
}

impl UniformityCheck {
    /// A check of samples of at most `limit` peers. For the peers in `watched`, it also checks whether
    /// any two of them are listed together as often as expected.
    pub(super) fn new(limit: usize, watched: Vec<String>) -> Self {
        let pairs = PairCounts::of(watched);
        Self { limit, round: Round::default(), peers: HashMap::new(), pairs, within: (0.0, 0.0), drawn: 0 }
    }

    /// Starts a round in which these peers match.
    pub(super) fn start_round(&mut self, matching: &[String]) {
        let counts = matching.iter().map(|name| (name.clone(), (0, 0))).collect();
        self.round = Round { counts, ..Round::default() };
    }

    /// Records the sample that `caller` requested. The caller itself matches the query.
    pub(super) fn record(&mut self, caller: &str, listed: &[String]) -> Result<(), Bias> {
        let possible = self.limit.min(self.round.counts.len() - 1);
        if listed.len() != possible {
            return Err(Bias::Short { listed: listed.len(), possible });
        }
        let mut seen = HashSet::new();
        for name in listed {
            if name == caller {
                return Err(Bias::CallerListed(name.clone()));
            }
            if !seen.insert(name) {
                return Err(Bias::Duplicate(name.clone()));
            }
            let counts = self.round.counts.get_mut(name).ok_or_else(|| Bias::NotMatching(name.clone()))?;
            counts.0 += 1;
        }
        if let Some(counts) = self.round.counts.get_mut(caller) {
            counts.1 += 1;
        }
        self.pairs.record(caller, listed);
        self.round.samples += 1;
        self.drawn += listed.len() as u64;
        Ok(())
    }

    /// Ends a round and compares its counts with the expectation for a uniform sampler.
    pub(super) fn end_round(&mut self) {
        let round = std::mem::take(&mut self.round);
        let others = round.counts.len() as f64 - 1.0;
        let model = UniformSample { listed: (self.limit as f64).min(others), others };
        let probability = model.probability();
        let mut cells = 0.0;
        for (name, (seen, requested)) in &round.counts {
            let cell = Cell::of(*seen, round.samples - requested, probability);
            if let Some(distance) = cell.distance() {
                // The counts of a round have a fixed sum, so that they are negatively correlated.
                // The factor corrects for that: the corrected sum has one degree of freedom less
                // than there are counts.
                self.within.0 += distance * others / (others + 1.0);
                cells += 1.0;
            }
            self.peers.entry(name.clone()).or_default().add(cell);
        }
        self.within.1 += f64::max(cells - 1.0, 0.0);
        self.pairs.end_round(round.samples, model);
    }

    /// Returns the number of drawn peers if the sampler is fair, or the evidence that it is biased.
    pub(super) fn finish(self, kind: PairDistribution) -> Result<u64, Bias> {
        let (deviations, pairs) = match kind {
            PairDistribution::Uniform => (DEVIATIONS, Some(self.pairs.statistic())),
            PairDistribution::Clustered => (DEVIATIONS_OF_CLUSTERS, None),
        };
        let found: Vec<_> = [
            ("peers of one round", Some(self.within)),
            ("peers over all rounds", Some(sum(self.peers.values()))),
            ("pairs of stable peers", pairs),
        ]
        .into_iter()
        .filter_map(|(what, statistic)| deviation(what, statistic?, deviations))
        .collect();
        if found.is_empty() { Ok(self.drawn) } else { Err(Bias::Uneven(found)) }
    }
}

fn sum<'c>(cells: impl Iterator<Item = &'c Cell>) -> (f64, f64) {
    cells
        .filter_map(|cell| cell.distance())
        .fold((0.0, 0.0), |(sum, count), distance| (sum + distance, count + 1.0))
}

fn deviation(what: &'static str, (statistic, freedom): (f64, f64), deviations: f64) -> Option<Deviation> {
    let bound = chi_square_bound(freedom.max(1.0), deviations);
    (statistic >= bound).then_some(Deviation { what, statistic, bound })
}
