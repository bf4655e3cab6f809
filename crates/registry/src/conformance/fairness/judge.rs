//! The judge: what was drawn against what a uniform sampler draws.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::super::chance::{LEAST_EXPECTED, chi_square_bound};
use super::Pairs;
use super::pair::{Draw, PairCounts};

/// Standard deviations that a fair sampler exceeds less than once in a hundred thousand million times: each statistic is normal by then,
/// with a deviation of one (seen: 0.9 to 1.1, in hundreds of trials of each kind).
const DEVIATIONS: f64 = 7.0;
/// The same where samples are clustered: in a hundred thousand simulated trials of a fair sample of a hundred, thirteen from each window of
/// about forty, the statistic scattered by 1.7 of these deviations and was above 8 of them twice in a hundred thousand, five times less often
/// for each further one, so that it passes this bound about once in ten thousand million trials.
const DEVIATIONS_OF_CLUSTERS: f64 = 16.0;

/// What gives a biased sampler away.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Bias {
    /// A list was not as long as it could have been.
    #[error("{listed} peers were listed where {possible} could be")]
    Short {
        /// How many were listed.
        listed: usize,
        /// How many could have been.
        possible: usize,
    },
    /// A peer was listed twice.
    #[error("{0} was listed twice")]
    Twice(String),
    /// Who asked was listed.
    #[error("{0} asked and was listed")]
    Caller(String),
    /// Somebody was listed who does not match: gone, expired, or of another archetype.
    #[error("{0} was listed and does not match")]
    Stranger(String),
    /// Some were drawn more often than others: all that shows it.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Uneven(Vec<Unevenness>),
}

/// Counts that chance does not explain.
#[derive(Clone, Debug, PartialEq)]
pub struct Unevenness {
    /// What was counted.
    pub what: &'static str,
    /// Their statistic.
    pub statistic: f64,
    /// What chance does not reach.
    pub bound: f64,
}

impl fmt::Display for Unevenness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, statistic, bound } = self;
        write!(f, "{what}: {statistic:.0} by chi-square, where chance stays below {bound:.0}")
    }
}

/// Counts what is drawn by one kind of query.
pub(super) struct Judge {
    limit: usize,
    round: Round,
    /// By peer, over all rounds.
    peers: HashMap<String, Cell>,
    pairs: PairCounts,
    /// The rounds' statistics and their degrees of freedom, added up.
    within: (f64, f64),
    drawn: u64,
}

/// What a round counts, in which the matching peers stay the same.
#[derive(Default)]
struct Round {
    /// By peer: how often it was listed, and how often it asked.
    counts: HashMap<String, (u64, u64)>,
    samples: u64,
}

/// A count, what is expected of it, and how much it may scatter.
#[derive(Clone, Copy, Default)]
struct Cell {
    seen: f64,
    expected: f64,
    variance: f64,
}

impl Cell {
    /// A count of so many trials of one chance.
    fn of(seen: u64, trials: u64, chance: f64) -> Self {
        let expected = trials as f64 * chance;
        Self { seen: seen as f64, expected, variance: expected * (1.0 - chance) }
    }

    fn add(&mut self, other: Self) {
        self.seen += other.seen;
        self.expected += other.expected;
        self.variance += other.variance;
    }

    /// The square of its distance from what is expected, in deviations; `None` where chance has no say.
    fn distance(self) -> Option<f64> {
        let judged = self.expected >= LEAST_EXPECTED && self.variance > 0.0;
        judged.then(|| (self.seen - self.expected).powi(2) / self.variance)
    }
}

impl Judge {
    /// A judge of samples of so many, and of the pairs of those who are watched.
    pub(super) fn new(limit: usize, watched: Vec<String>) -> Self {
        let pairs = PairCounts::of(watched);
        Self { limit, round: Round::default(), peers: HashMap::new(), pairs, within: (0.0, 0.0), drawn: 0 }
    }

    /// A round begins in which these match.
    pub(super) fn open(&mut self, matching: &[String]) {
        let counts = matching.iter().map(|name| (name.clone(), (0, 0))).collect();
        self.round = Round { counts, ..Round::default() };
    }

    /// What `caller`, who matches, was told.
    pub(super) fn saw(&mut self, caller: &str, listed: &[String]) -> Result<(), Bias> {
        let possible = self.limit.min(self.round.counts.len() - 1);
        if listed.len() != possible {
            return Err(Bias::Short { listed: listed.len(), possible });
        }
        let mut met = HashSet::new();
        for name in listed {
            if name == caller {
                return Err(Bias::Caller(name.clone()));
            }
            if !met.insert(name) {
                return Err(Bias::Twice(name.clone()));
            }
            let counts = self.round.counts.get_mut(name).ok_or_else(|| Bias::Stranger(name.clone()))?;
            counts.0 += 1;
        }
        if let Some(counts) = self.round.counts.get_mut(caller) {
            counts.1 += 1;
        }
        self.pairs.saw(caller, listed);
        self.round.samples += 1;
        self.drawn += listed.len() as u64;
        Ok(())
    }

    /// The round ends: its counts are set against what a uniform sampler is expected to draw.
    pub(super) fn close(&mut self) {
        let round = std::mem::take(&mut self.round);
        let others = round.counts.len() as f64 - 1.0;
        let draw = Draw { listed: (self.limit as f64).min(others), others };
        let chance = draw.chance();
        let mut cells = 0.0;
        for (name, (seen, asked)) in &round.counts {
            let cell = Cell::of(*seen, round.samples - asked, chance);
            if let Some(distance) = cell.distance() {
                // The counts of a round add up, so they scatter by one degree of freedom less.
                self.within.0 += distance * others / (others + 1.0);
                cells += 1.0;
            }
            self.peers.entry(name.clone()).or_default().add(cell);
        }
        self.within.1 += f64::max(cells - 1.0, 0.0);
        self.pairs.close(round.samples, draw);
    }

    /// Acquits, and says how many peers were drawn; or says what gave the sampler away.
    pub(super) fn verdict(self, kind: Pairs) -> Result<u64, Bias> {
        let (deviations, pairs) = match kind {
            Pairs::Alike => (DEVIATIONS, Some(self.pairs.statistic())),
            Pairs::Clustered => (DEVIATIONS_OF_CLUSTERS, None),
        };
        let found: Vec<_> = [
            ("peers of one round", Some(self.within)),
            ("peers over all rounds", Some(sum(self.peers.values()))),
            ("pairs of peers that stayed", pairs),
        ]
        .into_iter()
        .filter_map(|(what, counted)| unevenness(what, counted?, deviations))
        .collect();
        if found.is_empty() { Ok(self.drawn) } else { Err(Bias::Uneven(found)) }
    }
}

fn sum<'c>(cells: impl Iterator<Item = &'c Cell>) -> (f64, f64) {
    cells.filter_map(|cell| cell.distance()).fold((0.0, 0.0), |(sum, count), far| (sum + far, count + 1.0))
}

fn unevenness(what: &'static str, (statistic, freedom): (f64, f64), deviations: f64) -> Option<Unevenness> {
    let bound = chi_square_bound(freedom.max(1.0), deviations);
    (statistic >= bound).then_some(Unevenness { what, statistic, bound })
}
