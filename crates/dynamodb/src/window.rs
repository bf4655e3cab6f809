//! How a uniform sample is drawn from a ring that can only be read in stretches.
//!
//! A random stretch holds more peers where the ring is crowded, so whatever takes "the peers of a stretch until there are
//! enough" lists crowded peers less or lonely ones more. Here a window of fixed width is placed at random in a lane, is
//! accepted with a chance in proportion to how many peers it holds, and gives the same number of picks whenever it is.
//! A peer is then listed with the chance `P(covered) · (held / most) · (picks / held)`, which is the same for all.

use crate::lane::{Lane, Place};

/// Peers in a window on average: what half a read unit holds with some room (4 KiB of entries of about 75 bytes), many enough that
/// their number varies little.
const MEAN: u64 = 40;
/// The same where many are asked for: one read unit, so that fewer calls do.
const LARGE_MEAN: u64 = 100;
/// From this many asked for, windows are large.
const LARGE_FROM: usize = 200;
/// In how many accepted windows, at least, the picks lie apart.
const APART: usize = 7;

/// How a sample of one size is drawn from a network of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The width of a window, at most a lane.
    width: u64,
    /// How many peers one window holds on average.
    mean: u64,
    /// How many peers a window is taken to hold at most: three deviations above the average.
    most: u64,
    /// How many peers an accepted window gives.
    picks: usize,
}

impl Plan {
    /// The plan for `limit` of about `entries` on the ring.
    pub(crate) fn new(entries: u64, limit: usize) -> Self {
        let entries = u128::from(entries.max(1));
        let asked_mean = u128::from(if limit < LARGE_FROM { MEAN } else { LARGE_MEAN });
        let width = (asked_mean << 64).div_ceil(entries).min(u128::from(Lane::WIDTH));
        let mean = u64::try_from((entries * width) >> 64).unwrap_or(u64::MAX).max(1);
        let most_picks = usize::try_from(mean / 3).unwrap_or(usize::MAX).max(1);
        Self {
            width: u64::try_from(width).unwrap_or(Lane::WIDTH),
            mean,
            most: mean + 3 * mean.isqrt(),
            picks: limit.div_ceil(APART).clamp(1, most_picks),
        }
    }

    /// How much of the ring a window covers.
    pub(crate) fn covered(&self) -> u128 {
        u128::from(self.width)
    }

    /// How many windows will give about so many picks.
    pub(crate) fn windows_for(&self, wanted: usize) -> usize {
        let mean = usize::try_from(self.mean.max(1)).unwrap_or(usize::MAX);
        let most = usize::try_from(self.most).unwrap_or(usize::MAX);
        wanted.saturating_mul(most).div_ceil(self.picks.saturating_mul(mean))
    }

    /// A window placed at random: one stretch, or two where it goes over the end of its lane to the beginning.
    pub(crate) fn window(&self) -> Vec<(Place, Place)> {
        let lane = Lane::random();
        let (first, last) = (lane.first().0, lane.last().0);
        if self.width == Lane::WIDTH {
            return vec![(lane.first(), lane.last())];
        }
        let start = first + fastrand::u64(..Lane::WIDTH);
        let end = start.wrapping_add(self.width - 1);
        if (start..=last).contains(&end) {
            return vec![(Place(start), Place(end))];
        }
        let over = (self.width - 1) - (last - start);
        vec![(Place(start), lane.last()), (lane.first(), Place(first + over - 1))]
    }

    /// The picks of a window, or nothing if it is not accepted.
    pub(crate) fn pick<T>(&self, mut held: Vec<T>) -> Vec<T> {
        let count = u64::try_from(held.len()).unwrap_or(u64::MAX);
        if fastrand::u64(..self.most.max(1)) >= count {
            return Vec::new();
        }
        let picks = self.picks.min(held.len());
        for n in 0..picks {
            let chosen = fastrand::usize(n..held.len());
            held.swap(n, chosen);
        }
        held.truncate(picks);
        held
    }
}

#[cfg(test)]
mod tests {
    use aurora_protocol::PeerId;

    use super::*;
    use crate::lane::Secret;

    #[test]
    fn a_window_stays_in_its_lane_and_has_its_width() {
        for entries in [1, 600, 5_000, 1_000_000] {
            let plan = Plan::new(entries, 20);
            for _ in 0..2_000 {
                let window = plan.window();
                let width: u128 = window.iter().map(|(from, to)| u128::from(to.0 - from.0) + 1).sum();
                assert_eq!(width, plan.covered());
                let lane = window[0].0.lane();
                assert!(window.iter().all(|(from, to)| from.lane() == lane && to.lane() == lane));
            }
        }
    }

    #[test]
    fn a_sample_of_twenty_reads_a_dozen_windows() {
        for entries in [10_000, 1_000_000] {
            let plan = Plan::new(entries, 20);
            assert_eq!((plan.mean, plan.picks), (40, 3));
            assert!(plan.windows_for(20) <= 11, "{}", plan.windows_for(20));
        }
    }

    /// 100,000 samples of 20, drawn as the store draws them, from rings of several sizes.
    #[test]
    fn every_peer_is_sampled_alike_however_crowded_its_stretch_is() {
        for (peers, seed) in [(1_000_usize, 1), (3_000, 2), (20_000, 3)] {
            let secret = Secret::from_bytes([seed; Secret::LEN]);
            let mut ring: Vec<(Place, usize)> =
                (0..peers).map(|n| (secret.place(&PeerId::parse(&format!("p{n}")).unwrap()), n)).collect();
            ring.sort_unstable();
            let plan = Plan::new(u64::try_from(peers).unwrap(), 20);
            let mut listed = vec![0_u64; peers];
            for _ in 0..100_000 {
                let mut sample: Vec<usize> = Vec::new();
                while sample.len() < 20 {
                    let held = plan.window().into_iter().flat_map(|(from, to)| {
                        let start = ring.partition_point(|(place, _)| *place < from);
                        let end = ring.partition_point(|(place, _)| *place <= to);
                        ring[start..end].iter().map(|(_, n)| *n)
                    });
                    for n in plan.pick(held.collect()) {
                        if sample.len() < 20 && !sample.contains(&n) {
                            sample.push(n);
                        }
                    }
                }
                sample.iter().for_each(|n| listed[*n] += 1);
            }
            let expected = 100_000.0 * 20.0 / f64::from(u32::try_from(peers).unwrap());
            let chi_square: f64 = listed
                .iter()
                .map(|count| (f64::from(u32::try_from(*count).unwrap()) - expected).powi(2) / expected)
                .sum();
            let freedom = f64::from(u32::try_from(peers - 1).unwrap());
            // Within five deviations of what a uniform sample gives.
            let deviation = (chi_square - freedom) / (2.0 * freedom).sqrt();
            assert!(deviation < 5.0, "{peers} peers: {deviation:.1} deviations");
        }
    }
}
