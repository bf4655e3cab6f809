//! Pairs of peers: whether any two are listed together as often as any other two.

use std::collections::HashMap;

use super::super::chance::LEAST_EXPECTED;

/// How much the listings of any two of the watched peers go together.
///
/// What is added up is the product of both deviations: of a peer that is listed in a share `p` of samples, `1 - p` where it is and
/// `-p` where it is not. How often either is listed cancels out of it, so that these sums scatter as independent counts do. How
/// often two are listed together does not: pairs that share a peer come and go together.
pub(super) struct PairCounts {
    /// The watched peers and their places.
    places: HashMap<String, usize>,
    round: Round,
    /// Over all rounds, in the order of [`pairs`].
    cells: Vec<Cell>,
}

/// What a round counts, by places.
struct Round {
    /// How often it asked; then it is in no list and deviates from nothing.
    asked: Vec<u64>,
    /// How often the second was listed where the first asked.
    told: Vec<Vec<u64>>,
    /// How often both were listed, itself with itself too.
    together: Vec<Vec<u64>>,
}

/// A sum of products, less what is expected of it.
#[derive(Clone, Copy, Default)]
struct Cell {
    distance: f64,
    variance: f64,
    /// How often both were expected to be listed.
    together: f64,
}

/// Samples in which so many are listed of `others`, who are all but the caller.
#[derive(Clone, Copy)]
pub(super) struct Draw {
    pub(super) listed: f64,
    pub(super) others: f64,
}

impl Draw {
    /// The chance of a peer.
    pub(super) fn chance(self) -> f64 {
        self.listed / self.others
    }

    fn chance_of_both(self) -> f64 {
        self.chance() * (self.listed - 1.0) / (self.others - 1.0)
    }

    /// The mean of the product of two peers' deviations, and its variance.
    fn product(self) -> (f64, f64) {
        let (one, both) = (self.chance(), self.chance_of_both());
        let mean = both - one * one;
        // A deviation's square is `one²`, and `1 - 2 one` more where the peer is listed.
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

    /// A round of so many samples ends.
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

    /// The chi-square statistic and its degrees of freedom, of the pairs in which chance has a say.
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

    /// The sum of both deviations' products over the `trials` in which neither asked, where each is listed by `chance`.
    fn product(&self, left: usize, right: usize, trials: f64, chance: f64) -> f64 {
        // How often `one` was listed where `other` did not ask.
        let listed = |one: usize, other: usize| (self.together[one][one] - self.told[other][one]) as f64;
        let together = self.together[left][right] as f64;
        together - chance * (listed(left, right) + listed(right, left)) + chance * chance * trials
    }
}

/// Any two of so many places.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |left| (left + 1..count).map(move |right| (left, right)))
}
