//! Pairs of peers: whether any two are listed together equally often.

use std::collections::HashMap;

use super::super::statistics::LEAST_EXPECTED;

/// Measures for each pair of watched peers whether their listings are correlated.
///
/// In each sample, a peer has the value 1 if the sample lists it, and 0 otherwise. If the peer is
/// listed in a share `p` of the samples, its mean is `p`. Its deviation from the mean is then
/// `1 - p` in a sample that lists it, and `-p` in any other sample. For each pair of peers, the
/// products of their two deviations are added up. The individual frequencies of the two peers
/// cancel out of this sum, so that the sums of different pairs vary like independent counts. A
/// plain count of common listings is not independent: if a peer is listed often, the counts of all
/// its pairs are high.
pub(super) struct PairCounts {
    /// The watched peers with their indices.
    indices: HashMap<String, usize>,
    round: Round,
    /// The sums over all rounds, in the order of [`pairs`].
    cells: Vec<Cell>,
}

/// The counts of one round, by the indices of the watched peers.
struct Round {
    /// The number of samples that the peer requested. They cannot list the peer, so they do not
    /// count for its pairs.
    requested: Vec<u64>,
    /// The number of samples that the first peer requested and that listed the second.
    requested_and_listed: Vec<Vec<u64>>,
    /// The number of samples that listed both. On the diagonal, the number that listed the peer.
    both: Vec<Vec<u64>>,
}

/// For one pair: the difference between the sum of the products and its expectation, and the
/// variance of the sum.
#[derive(Clone, Copy, Default)]
struct Cell {
    distance: f64,
    variance: f64,
    /// The expected number of samples that list both peers.
    expected: f64,
}

/// A sample of `listed` peers from `others`, which are all matching peers except the caller.
#[derive(Clone, Copy)]
pub(super) struct UniformSample {
    pub(super) listed: f64,
    pub(super) others: f64,
}

impl UniformSample {
    /// The probability that a sample lists a given peer.
    pub(super) fn probability(self) -> f64 {
        self.listed / self.others
    }

    fn probability_of_both(self) -> f64 {
        self.probability() * (self.listed - 1.0) / (self.others - 1.0)
    }

    /// The mean and the variance of the product of the deviations of two peers.
    fn product(self) -> (f64, f64) {
        let (one, both) = (self.probability(), self.probability_of_both());
        let mean = both - one * one;
        // The square of a peer's deviation is `one²` if the peer is not listed. If it is listed,
        // the square is larger by `1 - 2 one`.
        let extra = 1.0 - 2.0 * one;
        let of_squares = extra * extra * both + 2.0 * extra * one.powi(3) + one.powi(4);
        (mean, of_squares - mean * mean)
    }
}

impl PairCounts {
    pub(super) fn of(watched: Vec<String>) -> Self {
        let count = watched.len();
        Self {
            indices: watched.into_iter().enumerate().map(|(index, name)| (name, index)).collect(),
            round: Round::of(count),
            cells: vec![Cell::default(); count * count.saturating_sub(1) / 2],
        }
    }

    pub(super) fn record(&mut self, caller: &str, listed: &[String]) {
        let indices: Vec<_> = listed.iter().filter_map(|name| self.indices.get(name).copied()).collect();
        for first in &indices {
            for second in &indices {
                self.round.both[*first][*second] += 1;
            }
        }
        if let Some(caller) = self.indices.get(caller) {
            self.round.requested[*caller] += 1;
            indices.iter().for_each(|index| self.round.requested_and_listed[*caller][*index] += 1);
        }
    }

    /// Ends a round of `samples` samples.
    pub(super) fn end_round(&mut self, samples: u64, model: UniformSample) {
        let round = std::mem::replace(&mut self.round, Round::of(self.indices.len()));
        let (mean, variance) = model.product();
        for ((left, right), cell) in pairs(self.indices.len()).zip(&mut self.cells) {
            let trials = (samples - round.requested[left] - round.requested[right]) as f64;
            cell.distance += round.product(left, right, trials, model.probability()) - trials * mean;
            cell.variance += trials * variance;
            cell.expected += trials * model.probability_of_both();
        }
    }

    /// The chi-square statistic and its degrees of freedom. Pairs with too small an expectation, or
    /// whose result is certain, are left out.
    pub(super) fn statistic(&self) -> (f64, f64) {
        let usable = self.cells.iter().filter(|cell| cell.expected >= LEAST_EXPECTED && cell.variance > 0.0);
        usable
            .fold((0.0, 0.0), |(sum, count), cell| (sum + cell.distance.powi(2) / cell.variance, count + 1.0))
    }
}

impl Round {
    fn of(count: usize) -> Self {
        Self {
            requested: vec![0; count],
            requested_and_listed: vec![vec![0; count]; count],
            both: vec![vec![0; count]; count],
        }
    }

    /// The sum of the products of both deviations over the `trials` in which neither peer is the
    /// caller. `probability` is the probability that a sample lists a given peer.
    fn product(&self, left: usize, right: usize, trials: f64, probability: f64) -> f64 {
        // The number of samples that listed `one` and were not requested by `other`.
        let listed =
            |one: usize, other: usize| (self.both[one][one] - self.requested_and_listed[other][one]) as f64;
        let both = self.both[left][right] as f64;
        both - probability * (listed(left, right) + listed(right, left)) + probability * probability * trials
    }
}

/// All pairs of `count` indices.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |left| (left + 1..count).map(move |right| (left, right)))
}
