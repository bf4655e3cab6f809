//! How a uniform sample is drawn from a ring that can only be read in stretches.
//!
//! A random stretch holds more peers where the ring is crowded, so whatever takes "the peers of a stretch until there are
//! enough" lists crowded peers less or lonely ones more. Here a window of fixed width is placed at random in a lane, is
//! accepted with a chance in proportion to how many peers it holds, and gives the same number of picks whenever it is.
//! A peer is then listed with the chance `P(covered) · (held / most) · (picks / held)`, which is the same for all.

use std::future::Future;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

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
/// Windows that are read at once.
const AT_ONCE: usize = 16;

/// From one place to another, both included.
pub(crate) type Stretch = (Place, Place);

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

    /// The picks of so many windows placed at random, and how many entries these held.
    ///
    /// Picks come in the order in which windows were placed, not in the order of their answers: whoever needs fewer cuts the last
    /// ones, and must not cut what was slow to read, such as the windows that go over the end of a lane.
    pub(crate) async fn draw<T, E, R>(
        &self,
        windows: usize,
        read: impl Fn(Vec<Stretch>) -> R,
    ) -> Result<(Vec<T>, u64), E>
    where
        R: Future<Output = Result<Vec<T>, E>>,
    {
        let reads = (0..windows).map(|_| read(self.window()));
        let held: Vec<Vec<T>> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
        let entries: usize = held.iter().map(Vec::len).sum();
        let picks = held.into_iter().flat_map(|held| self.pick(held)).collect();
        Ok((picks, u64::try_from(entries).unwrap_or(u64::MAX)))
    }

    /// A window placed at random: one stretch, or two where it goes over the end of its lane to the beginning.
    fn window(&self) -> Vec<Stretch> {
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
    fn pick<T>(&self, mut held: Vec<T>) -> Vec<T> {
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

    /// Samples drawn as the store draws them, from rings of several sizes, where a window that goes over the end of its lane takes
    /// longer to read.
    #[tokio::test]
    async fn every_peer_is_sampled_alike_however_crowded_its_stretch_and_however_slow_its_window_is() {
        fastrand::seed(7);
        for (peers, limit, samples) in [(1_000, 20, 40_000), (1_180, 100, 8_000), (20_000, 20, 40_000)] {
            let ring = ring_of(peers);
            let plan = Plan::new(u64::try_from(peers).unwrap(), limit);
            let mut listed = vec![0_u32; peers];
            for _ in 0..samples {
                sample(&plan, &ring, limit).await.iter().for_each(|n| listed[*n] += 1);
            }
            let share = to_f64(limit) / to_f64(peers);
            let expected = f64::from(samples) * share;
            let distances = listed.iter().map(|count| (f64::from(*count) - expected).powi(2));
            let chi_square = distances.sum::<f64>() / (expected * (1.0 - share));
            let freedom = to_f64(peers - 1);
            // Picks of one window come together, so that a fair sample of 100 scatters by 1.8 deviations; with slow windows cut, the first
            // ring is at 110.
            let deviation = (chi_square - freedom) / (2.0 * freedom).sqrt();
            assert!(deviation < 9.0, "{limit} of {peers} peers: {deviation:.1} deviations");
        }
    }

    async fn sample(plan: &Plan, ring: &[(Place, usize)], limit: usize) -> Vec<usize> {
        let read = async |window: Vec<Stretch>| {
            let mut held = Vec::new();
            for (nth, (from, to)) in window.into_iter().enumerate() {
                if nth > 0 {
                    tokio::task::yield_now().await;
                }
                let start = ring.partition_point(|(place, _)| *place < from);
                let end = ring.partition_point(|(place, _)| *place <= to);
                held.extend(ring[start..end].iter().map(|(_, n)| *n));
            }
            Ok::<_, ()>(held)
        };
        let mut sample: Vec<usize> = Vec::new();
        while sample.len() < limit {
            let (picks, _) = plan.draw(plan.windows_for(limit - sample.len()) + 2, read).await.unwrap();
            for n in picks {
                if sample.len() < limit && !sample.contains(&n) {
                    sample.push(n);
                }
            }
        }
        sample
    }

    fn ring_of(peers: usize) -> Vec<(Place, usize)> {
        let secret = Secret::from_bytes([1; Secret::LEN]);
        let placed = (0..peers).map(|n| (secret.place(&PeerId::parse(&format!("p{n}")).unwrap()), n));
        let mut ring: Vec<_> = placed.collect();
        ring.sort_unstable();
        ring
    }

    fn to_f64(count: usize) -> f64 {
        f64::from(u32::try_from(count).unwrap())
    }
}
