//! Limits the bytes per second that all streams together may send.
//!
//! A change is sent once to each watcher, so a few kilobytes of changes a second can become
//! megabytes. All streams therefore share one token bucket. A stream reads its changes in *frames*:
//! the changes that it sends at once, about 16 KiB at most. Each frame is charged when it is read
//! from the change log.
//!
//! A stream may read a frame only if the bucket has as many tokens as the stream's previous frame
//! has cost. A stream that has caught up needs only one token. A stream that continues at an
//! earlier position may read its first frame only if there are enough tokens for a frame of maximum
//! size, so that clients gain nothing by reconnecting.
//!
//! A stream that may not read waits. Meanwhile it holds only its position in the change log, and
//! changes of the same peer collapse into one. A stream that may not read although it has been
//! behind for several seconds is ended, so that the others can catch up.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::stream::FRAME_BYTES;
use crate::rate::Rate;
use crate::rate::bucket::Buckets;

/// The number of bytes for which a frame costs one token. A frame costs at least one, because each
/// write has a cost of its own.
const UNIT_BYTES: usize = 1024;
/// The minimum size of the bucket, in tokens: enough for a frame with a change of maximum size.
const MIN_BURST: u32 = 64;
/// A stream that may not read waits until the bucket has enough tokens, and then for a random time
/// up to a bound. The bound is `FIRST_WAIT` at first and doubles with each failed attempt, up to
/// `LONGEST_WAIT`, so that thousands of waiting streams cost little.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The minimum time for which a stream may be behind before it is ended, in milliseconds. The time
/// is drawn for each stream, from this to three times as long, so that not all of them end at once:
/// each stream that ends makes it easier for the others to catch up.
const PATIENCE_MILLIS: u64 = 5_000;

/// The budget of all streams.
pub(super) struct ByteBudget {
    bytes: Option<Buckets<()>>,
}

impl ByteBudget {
    /// A budget of this many bytes per second. With 0, there is no limit.
    pub(super) fn new(bytes_per_second: u32) -> Self {
        let unit = u32::try_from(UNIT_BYTES).unwrap_or(u32::MAX);
        let per_second = bytes_per_second.div_ceil(unit);
        let rate = Rate { per_second, burst: per_second.max(MIN_BURST) };
        Self { bytes: Buckets::new(rate, 1) }
    }
}

/// One stream's access to the budget.
pub(super) struct StreamBudget {
    budget: Arc<ByteBudget>,
    /// What the next frame will probably cost, in tokens.
    expected: NonZeroU32,
    /// How many attempts to read have failed in a row.
    failures: u32,
    /// When the stream had last sent all changes.
    caught_up_at: Instant,
    /// How long the stream may be behind before it is ended.
    patience: Duration,
}

/// Why a stream must not read more changes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OverBudget {
    /// It may try again after this time.
    Wait(Duration),
    /// It has been behind for too long and must end.
    Leave,
}

impl StreamBudget {
    pub(super) fn new(budget: Arc<ByteBudget>) -> Self {
        let patience = Duration::from_millis(PATIENCE_MILLIS + fastrand::u64(..=2 * PATIENCE_MILLIS));
        Self { budget, expected: units(FRAME_BYTES), failures: 0, caught_up_at: Instant::now(), patience }
    }

    /// Records that there is no change left to send. The next frame will have only new changes,
    /// which are probably few. A stream that keeps up therefore does not wait for those that are
    /// behind.
    pub(super) fn caught_up(&mut self) {
        self.caught_up_at = Instant::now();
        self.expected = NonZeroU32::MIN;
    }

    /// Charges a frame that was read. If the bucket has too few tokens, it gets a debt.
    pub(super) fn charge(&mut self, bytes: usize) {
        self.expected = units(bytes);
        if let Some(buckets) = &self.budget.bytes {
            buckets.charge(&(), self.expected.get());
        }
    }

    /// Checks whether the stream may read a frame. Fails if the bucket has too few tokens for the
    /// expected cost.
    pub(super) fn may_read(&mut self) -> Result<(), OverBudget> {
        let Some(buckets) = &self.budget.bytes else { return Ok(()) };
        let Err(wait) = buckets.check(&(), self.expected) else {
            self.failures = 0;
            return Ok(());
        };
        if self.caught_up_at.elapsed() >= self.patience {
            return Err(OverBudget::Leave);
        }
        // The random time keeps the streams that wait for the same tokens from trying all at once.
        let highest = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(LONGEST_WAIT);
        self.failures += 1;
        Err(OverBudget::Wait(wait + highest.mul_f64(fastrand::f64())))
    }
}

fn units(bytes: usize) -> NonZeroU32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}
