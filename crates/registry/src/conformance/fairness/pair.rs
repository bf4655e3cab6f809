//! PairDistribution of peers: whether any two are listed together equally often.

use std::collections::HashMap;

use super::super::statistics::LEAST_EXPECTED;

/// Measures for each pair of watched peers whether their listings are correlated.
///
/// A peer that is listed in a share `p` of the samples deviates by `1 - p` from the mean in a
/// sample that lists it and by `-p` in any other. For each pair, the products of both deviations
/// are added up. The individual frequencies of the two peers cancel out of this sum, so that the
/// sums of different pairs vary like independent counts. The plain number of common listings would
/// not do: pairs that share a peer rise and fall together with its frequency.
pub(super) struct PairCounts {
    /// The watched peers with their indices.
    places: HashMap<String, usize>,
    round: Round,
    /// The sums over all rounds, in the order of [`pairs`].
    cells: Vec<Cell>,
}

/// The counts of one round, by the indices of the watched peers.
struct Round {
    /// The number of samples that the peer requested. It cannot be in them, so that they do not
    /// count.
    asked: Vec<u64>,
    /// The number of samples that the first peer requested and that listed the second.
    told: Vec<Vec<u64>>,
    /// The number of samples that listed both. On the diagonal, the number that listed the peer.
    together: Vec<Vec<u64>>,
}

/// The sum of the products minus its expectation, and its variance.
#[derive(Clone, Copy, Default)]
struct Cell {
    distance: f64,
    variance: f64,
    /// The expected number of samples that list both peers.
    together: f64,
}

/// A sample of `listed` peers from `others`, which are all matching peers except the caller.
#[derive(Clone, Copy)]
pub(super) struct Draw {
    pub(super) listed: f64,
    pub(super) others: f64,
}

impl Draw {
    /// The probability that a sample lists a given peer.
    pub(super) fn chance(self) -> f64 {
        self.listed / self.others
    }

    fn chance_of_both(self) -> f64 {
        self.chance() * (self.listed - 1.0) / (self.others - 1.0)
    }

    /// The mean and the variance of the product of the deviations of two peers.
    fn product(self) -> (f64, f64) {
        let (one, both) = (self.chance(), self.chance_of_both());
        let mean = both - one * one;
        // The square of a deviation is `one²`, plus `1 - 2 one` if the peer is listed.
        let more = 1.0 - 2.0 * one;
        let of_squares = more * more * both + 2.0 * more * one.powi(3) + one.powi(4);
        (mean, of_squares - mean * mean)
    }
}

impl PairCounts {
    pub(super) fn of(watched: Vec<String>) -> Self {
        let count = watched.len();
        Self {
            places: watched.into_iter().enumerate().map(|(place, name)| (name, place)).collect(),
            round: Round::of(count),
            cells: vec![Cell::default(); count * count.saturating_sub(1) / 2],
        }
    }

    pub(super) fn saw(&mut self, caller: &str, listed: &[String]) {
        let places: Vec<_> = listed.iter().filter_map(|name| self.places.get(name).copied()).collect();
        for place in &places {
            for other in &places {
                self.round.together[*place][*other] += 1;
            }
        }
        if let Some(caller) = self.places.get(caller) {
            self.round.asked[*caller] += 1;
            places.iter().for_each(|place| self.round.told[*caller][*place] += 1);
        }
    }

    /// Ends a round of `samples` samples.
    pub(super) fn close(&mut self, samples: u64, draw: Draw) {
        let round = std::mem::replace(&mut self.round, Round::of(self.places.len()));
        let (mean, variance) = draw.product();
        for ((left, right), cell) in pairs(self.places.len()).zip(&mut self.cells) {
            let trials = (samples - round.asked[left] - round.asked[right]) as f64;
            cell.distance += round.product(left, right, trials, draw.chance()) - trials * mean;
            cell.variance += trials * variance;
            cell.together += trials * draw.chance_of_both();
        }
    }

    /// The chi-square statistic and its degrees of freedom. PairDistribution with too small an expectation, or
    /// whose result is certain, are left out.
    pub(super) fn statistic(&self) -> (f64, f64) {
        let judged = self.cells.iter().filter(|cell| cell.together >= LEAST_EXPECTED && cell.variance > 0.0);
        judged
            .fold((0.0, 0.0), |(sum, count), cell| (sum + cell.distance.powi(2) / cell.variance, count + 1.0))
    }
}

impl Round {
    fn of(count: usize) -> Self {
        Self {
            asked: vec![0; count],
            told: vec![vec![0; count]; count],
            together: vec![vec![0; count]; count],
        }
    }

    /// The sum of the products of both deviations over the `trials` in which neither peer is the
    /// caller. `chance` is the probability that a sample lists a given peer.
    fn product(&self, left: usize, right: usize, trials: f64, chance: f64) -> f64 {
        // The number of samples that listed `one` and were not requested by `other`.
        let listed = |one: usize, other: usize| (self.together[one][one] - self.told[other][one]) as f64;
        let together = self.together[left][right] as f64;
        together - chance * (listed(left, right) + listed(right, left)) + chance * chance * trials
    }
}

/// All pairs of `count` indices.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |left| (left + 1..count).map(move |right| (left, right)))
}
