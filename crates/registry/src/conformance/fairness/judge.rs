//! The judge: what was drawn against what a uniform sampler draws.

use std::collections::{HashMap, HashSet};

use super::super::chance::chi_square_bound;
use super::Pairs;

/// A cell that is expected less often is left out: the bound takes counts for normal.
const LEAST_EXPECTED: f64 = 5.0;
/// Standard deviations beyond which cells that are not independent count as biased: pairs that share a peer scatter by a fifth more
/// together than independent ones.
const DEVIATIONS: f64 = 8.0;
/// The same where samples are clustered: the statistic of a fair sample of a hundred, thirteen from each window of about forty, was seen
/// to scatter by 1.8 of these deviations and never by more than 7.4 in 300 trials.
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
    /// Some peers were drawn more often than others.
    #[error("{what}: {statistic:.0} by chi-square, where chance stays below {bound:.0}")]
    Uneven {
        /// What was counted.
        what: &'static str,
        /// The statistic.
        statistic: f64,
        /// What chance does not reach.
        bound: f64,
    },
}

/// Counts what is drawn by one kind of query.
pub(super) struct Judge {
    limit: usize,
    /// The peers whose pairs are counted, and their places in `pairs`.
    watched: HashMap<String, usize>,
    round: Round,
    /// By peer, over all rounds.
    peers: HashMap<String, Cell>,
    /// By the two places, over all rounds.
    pairs: Vec<Cell>,
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
    /// By the two places: how often both were listed, and how often one of them asked.
    pairs: HashMap<(usize, usize), u64>,
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
    pub(super) fn new(limit: usize, watched: Vec<String>) -> Self {
        let pairs = vec![Cell::default(); watched.len() * watched.len()];
        let watched = watched.into_iter().enumerate().map(|(place, name)| (name, place)).collect();
        Self {
            limit,
            watched,
            round: Round::default(),
            peers: HashMap::new(),
            pairs,
            within: (0.0, 0.0),
            drawn: 0,
        }
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
        self.count_pairs(listed);
        self.round.samples += 1;
        self.drawn += listed.len() as u64;
        Ok(())
    }

    fn count_pairs(&mut self, listed: &[String]) {
        let mut places: Vec<_> = listed.iter().filter_map(|name| self.watched.get(name).copied()).collect();
        places.sort_unstable();
        for (nth, left) in places.iter().enumerate() {
            for right in &places[nth + 1..] {
                *self.round.pairs.entry((*left, *right)).or_default() += 1;
            }
        }
    }

    /// The round ends: its counts are set against what a uniform sampler is expected to draw.
    pub(super) fn close(&mut self) {
        let round = std::mem::take(&mut self.round);
        let others = round.counts.len() as f64 - 1.0;
        let listed = (self.limit as f64).min(others);
        let chance = listed / others;
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
        self.close_pairs(&round, chance * (listed - 1.0) / (others - 1.0));
    }

    fn close_pairs(&mut self, round: &Round, chance: f64) {
        let asked = |name: &str| round.counts.get(name).map(|(_, asked)| *asked);
        let watched: Vec<_> =
            self.watched.iter().filter_map(|(name, place)| Some((*place, asked(name)?))).collect();
        for (left, left_asked) in &watched {
            for (right, right_asked) in watched.iter().filter(|(right, _)| left < right) {
                let seen = round.pairs.get(&(*left, *right)).copied().unwrap_or(0);
                let trials = round.samples - left_asked - right_asked;
                self.pairs[left * self.watched.len() + right].add(Cell::of(seen, trials, chance));
            }
        }
    }

    /// Acquits, and says how many peers were drawn; or says what gave the sampler away.
    pub(super) fn verdict(self, kind: Pairs) -> Result<u64, Bias> {
        let deviations = match kind {
            Pairs::Alike => DEVIATIONS,
            Pairs::Clustered => DEVIATIONS_OF_CLUSTERS,
        };
        acquit("peers of one round", self.within, deviations)?;
        acquit("peers over all rounds", sum(self.peers.values()), deviations)?;
        if kind == Pairs::Alike {
            acquit("pairs of peers that stayed", sum(self.pairs.iter()), deviations)?;
        }
        Ok(self.drawn)
    }
}

fn sum<'c>(cells: impl Iterator<Item = &'c Cell>) -> (f64, f64) {
    cells.filter_map(|cell| cell.distance()).fold((0.0, 0.0), |(sum, count), far| (sum + far, count + 1.0))
}

fn acquit(what: &'static str, (statistic, freedom): (f64, f64), deviations: f64) -> Result<(), Bias> {
    let bound = chi_square_bound(freedom.max(1.0), deviations);
    if statistic < bound { Ok(()) } else { Err(Bias::Uneven { what, statistic, bound }) }
}
