//! Draws a uniform sample from a ring that can only be read in contiguous ranges.
//!
//! # The problem
//!
//! The hash places peers at random, so some parts of the ring are crowded and others are sparse.
//! The simple ways to sample are therefore biased. A sample that starts at a random position and
//! takes the next peers prefers peers that follow a gap. A sample that reads ranges of fixed width
//! and drops surplus peers prefers peers in sparse parts.
//!
//! # The method
//!
//! This module uses rejection sampling:
//!
//! 1. It chooses a lane at random, and places a window of fixed width at a random position in it.
//! 2. It reads the index entries in the window. Their number is `held`.
//! 3. It accepts the window with the probability `held / max_held`, and otherwise picks nothing.
//! 4. From an accepted window, it picks `picks` entries at random. This number is fixed.
//!
//! # Why the sample is uniform
//!
//! Every position of the ring is covered by a window with the same probability, because the start
//! of a window is uniform, and a window that reaches the end of its lane continues at the lane's
//! start. A peer is picked if a window covers it, the window is accepted, and the peer is among the
//! picks. The probability is the product
//!
//! `P(covered) · (held / max_held) · (picks / held) = P(covered) · picks / max_held`.
//!
//! `held` cancels out, so crowded and sparse windows pick each of their peers with the same
//! probability.
//!
//! # When it is not exact
//!
//! The equation requires `picks <= held <= max_held`. A window with more than `max_held` peers
//! would need a probability above one. It is accepted with probability one, so its peers are picked
//! too rarely. A window with fewer than `picks` peers yields only the peers that it has, so these
//! are picked too rarely as well. [`SamplingPlan::new`] chooses the constants so that both cases
//! are rare.

use std::future::Future;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::estimate::to_u64;
use crate::lane::{Lane, RingPosition};

/// The average number of peers in a window. About 50 entries of 75 bytes fit into half a read unit
/// (4 KiB), so most windows cost no more than that. With fewer peers per window, the relative
/// variation of their number would be larger, and more windows would be rejected.
const MEAN: u64 = 40;
/// The average number of peers in a window if the limit of the sample is large. Such a window costs
/// about one read unit, and the sample needs fewer windows.
const LARGE_MEAN: u64 = 100;
/// The limit of a query from which on `LARGE_MEAN` applies.
const LARGE_FROM: usize = 200;
/// An accepted window yields at most the limit of the sample divided by this number, rounded up.
/// The picks of a large sample therefore come from about this many windows or more. The picks of
/// one window are neighbours on the ring, so samples from few windows would often list the same
/// peers together.
const MIN_ACCEPTED_WINDOWS: usize = 7;
/// Number of windows that are read concurrently.
const CONCURRENT_READS: usize = 16;

/// A range of the ring, with both ends included.
pub(crate) type RingRange = (RingPosition, RingPosition);

/// The result of reading random windows.
#[derive(Debug)]
pub(crate) struct Drawn<T> {
    /// The picks of the accepted windows. Every entry of the ring is picked with the same
    /// probability.
    pub(crate) picks: Vec<T>,
    /// All other entries: those of accepted windows that were not picked, and all of rejected
    /// windows.
    pub(crate) others: Vec<T>,
    /// The number of entries in all windows, accepted or rejected.
    pub(crate) entries: u64,
}

/// The parameters of a sample, for a given limit and size of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SamplingPlan {
    /// The number of positions in a window. At most the width of a lane.
    width: u64,
    /// The average number of peers in a window.
    mean: u64,
    /// The assumed maximum number of peers in a window: three standard deviations above the
    /// average. The hash places peers like a Poisson process, so the standard deviation is the
    /// square root of the average.
    max_held: u64,
    /// The number of picks from an accepted window.
    picks: usize,
}

impl SamplingPlan {
    /// The plan for a sample of `limit` peers from a ring with about `entries` entries.
    pub(crate) fn new(entries: u64, limit: usize) -> Self {
        let entries = u128::from(entries.max(1));
        let target_mean = u128::from(if limit < LARGE_FROM { MEAN } else { LARGE_MEAN });
        // The ring has 2^64 positions and `entries` entries, so this many positions hold
        // `target_mean` entries on average. The width is rounded up to a multiple of the range keys
        // of one position, so that a window contains all of them or none.
        let width = (target_mean << 64).div_ceil(entries).next_multiple_of(RingPosition::KEYS);
        let width = width.min(u128::from(Lane::WIDTH));
        let mean = u64::try_from((entries * width) >> 64).unwrap_or(u64::MAX).max(1);
        // At most a third of the average is picked, because almost every accepted window has at
        // least that many peers.
        let max_picks = usize::try_from(mean / 3).unwrap_or(usize::MAX).max(1);
        Self {
            width: u64::try_from(width).unwrap_or(Lane::WIDTH),
            mean,
            max_held: mean + 3 * mean.isqrt(),
            picks: limit.div_ceil(MIN_ACCEPTED_WINDOWS).clamp(1, max_picks),
        }
    }

    /// The number of positions of the ring that a window covers.
    pub(crate) fn covered(&self) -> u128 {
        u128::from(self.width)
    }

    /// The number of windows that yield `wanted` picks on average. A window is accepted with the
    /// average probability `mean / max_held`, and an accepted window yields `picks`.
    pub(crate) fn windows_for(&self, wanted: usize) -> usize {
        let mean = usize::try_from(self.mean.max(1)).unwrap_or(usize::MAX);
        let max_held = usize::try_from(self.max_held).unwrap_or(usize::MAX);
        wanted.saturating_mul(max_held).div_ceil(self.picks.saturating_mul(mean))
    }

    /// Places `windows` random windows and reads them with `read`. `read` gets one or two ranges
    /// and returns the entries in them.
    ///
    /// The picks are in the order in which the windows were placed, not in that of the responses. A
    /// caller that needs fewer picks drops the last ones. In the order of the responses, the last
    /// picks would come from slow windows, such as those that wrap around and need two reads.
    /// Dropping these picks would bias the sample.
    ///
    /// # Errors
    /// The first error of `read`.
    pub(crate) async fn draw<T, E, R>(
        &self,
        windows: usize,
        read: impl Fn(Vec<RingRange>) -> R,
    ) -> Result<Drawn<T>, E>
    where
        R: Future<Output = Result<Vec<T>, E>>,
    {
        let reads = (0..windows).map(|_| read(self.window()));
        let held: Vec<Vec<T>> = stream::iter(reads).buffered(CONCURRENT_READS).try_collect().await?;
        let entries: usize = held.iter().map(Vec::len).sum();
        let mut drawn = Drawn { picks: Vec::new(), others: Vec::new(), entries: to_u64(entries) };
        for mut held in held {
            let picks = self.pick(&mut held);
            drawn.others.extend(held.split_off(picks));
            drawn.picks.append(&mut held);
        }
        Ok(drawn)
    }

    /// A random window: one range, or two if it wraps around at the end of its lane.
    fn window(&self) -> Vec<RingRange> {
        let lane = Lane::random();
        let (first, last) = (lane.first().0, lane.last().0);
        if self.width == Lane::WIDTH {
            return vec![(lane.first(), lane.last())];
        }
        // The start is rounded down to the first range key of its position.
        let start = RingPosition::split(first + fastrand::u64(..Lane::WIDTH)).0.0;
        // In the last lane the sum may overflow. `end` is then less than `start`, so the check
        // below finds it outside the lane.
        let end = start.wrapping_add(self.width - 1);
        if (start..=last).contains(&end) {
            return vec![(RingPosition(start), RingPosition(end))];
        }
        // The window extends beyond the end of its lane, and continues at the lane's start. `over`
        // is the number of positions that are left for the second range.
        let over = (self.width - 1) - (last - start);
        vec![(RingPosition(start), lane.last()), (lane.first(), RingPosition(first + over - 1))]
    }

    /// Accepts or rejects a window, and moves its picks to the front. Returns their number, which
    /// is zero if the window is rejected.
    fn pick<T>(&self, held: &mut [T]) -> usize {
        let count = u64::try_from(held.len()).unwrap_or(u64::MAX);
        // Accepts with the probability `count / max_held`.
        if fastrand::u64(..self.max_held.max(1)) >= count {
            return 0;
        }
        // Moves a uniform random subset to the front (a partial Fisher-Yates shuffle).
        let picks = self.picks.min(held.len());
        for n in 0..picks {
            let chosen = fastrand::usize(n..held.len());
            held.swap(n, chosen);
        }
        picks
    }
}

#[cfg(test)]
mod tests {
    use aurora_discovery_protocol::PeerId;

    use super::*;
    use crate::lane::Secret;

    #[test]
    fn a_window_stays_in_its_lane_and_has_its_width() {
        for entries in [1, 600, 5_000, 1_000_000] {
            let plan = SamplingPlan::new(entries, 20);
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
    fn a_sample_of_twenty_peers_needs_at_most_eleven_windows() {
        for entries in [10_000, 1_000_000] {
            let plan = SamplingPlan::new(entries, 20);
            assert_eq!((plan.mean, plan.picks), (40, 3));
            assert!(plan.windows_for(20) <= 11, "{}", plan.windows_for(20));
        }
    }

    /// Draws samples as the store does, from rings of several sizes. Windows that wrap around take
    /// longer to read.
    #[tokio::test]
    async fn every_peer_is_equally_likely_to_be_sampled() {
        fastrand::seed(7);
        for (peers, limit, samples) in [(1_000, 20, 40_000), (1_180, 100, 8_000), (20_000, 20, 40_000)] {
            let ring = ring_of(peers);
            let plan = SamplingPlan::new(u64::try_from(peers).unwrap(), limit);
            let mut listed = vec![0_u32; peers];
            for _ in 0..samples {
                sample(&plan, &ring, limit).await.iter().for_each(|n| listed[*n] += 1);
            }
            let share = to_f64(limit) / to_f64(peers);
            let expected = f64::from(samples) * share;
            let distances = listed.iter().map(|count| (f64::from(*count) - expected).powi(2));
            let chi_square = distances.sum::<f64>() / (expected * (1.0 - share));
            let freedom = to_f64(peers - 1);
            // The distance of chi-square from its expected value, in standard deviations. The picks
            // of one window are not independent of each other, so even a fair sample with the limit
            // 100 deviates by 1.8. If slow windows were dropped, the first ring would deviate by
            // 110.
            let deviation = (chi_square - freedom) / (2.0 * freedom).sqrt();
            assert!(deviation < 9.0, "{limit} of {peers} peers: {deviation:.1} deviations");
        }
    }

    async fn sample(plan: &SamplingPlan, ring: &[(RingPosition, usize)], limit: usize) -> Vec<usize> {
        let read = async |window: Vec<RingRange>| {
            let mut held = Vec::new();
            for (nth, (from, to)) in window.into_iter().enumerate() {
                if nth > 0 {
                    tokio::task::yield_now().await;
                }
                let start = ring.partition_point(|(position, _)| *position < from);
                let end = ring.partition_point(|(position, _)| *position <= to);
                held.extend(ring[start..end].iter().map(|(_, n)| *n));
            }
            Ok::<_, ()>(held)
        };
        let mut sample: Vec<usize> = Vec::new();
        while sample.len() < limit {
            let Drawn { picks, .. } =
                plan.draw(plan.windows_for(limit - sample.len()) + 2, read).await.unwrap();
            for n in picks {
                if sample.len() < limit && !sample.contains(&n) {
                    sample.push(n);
                }
            }
        }
        sample
    }

    fn ring_of(peers: usize) -> Vec<(RingPosition, usize)> {
        let secret = Secret::from_bytes([1; Secret::LEN]);
        let placed = (0..peers).map(|n| (secret.position(&PeerId::parse(&format!("p{n}")).unwrap()), n));
        let mut ring: Vec<_> = placed.collect();
        ring.sort_unstable();
        ring
    }

    fn to_f64(count: usize) -> f64 {
        f64::from(u32::try_from(count).unwrap())
    }
}
