//! The bytes that all streams together may send.
//!
//! A change is sent once to each watcher, so a few kilobytes a second of changes can become
//! megabytes. Each frame is charged when it is read. A stream reads only if the budget has room for
//! as much as the stream read last. A stream that resumes reads only if there is room for a whole
//! frame, so that clients gain nothing by reconnecting. A stream that may not read waits. Meanwhile it holds
//! only its position, and changes of the same peer collapse. The streams that have been behind for
//! longest are sent away, so that the others can keep up.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::stream::FRAME_BYTES;
use crate::rate::Rate;
use crate::rate::bucket::Buckets;

/// What the budget is counted in. A frame costs at least this much, because each write has a cost of
/// its own.
const UNIT_BYTES: usize = 1024;
/// The minimum of what may be sent at once, in units: a frame with a change of maximum size.
const MIN_BURST: u32 = 64;
/// The first and the longest wait between two attempts to pay. The wait doubles, so that thousands
/// of waiting streams cost little.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long a stream may be behind before it is sent away, in milliseconds. The value is drawn for
/// each stream, from this to three times as long, so that not all are sent away at once: the more
/// have left, the sooner the others catch up.
const PATIENCE_MILLIS: u64 = 5_000;

/// The budget of all streams.
pub(super) struct ByteBudget {
    bytes: Option<Buckets<()>>,
}

impl ByteBudget {
    /// A budget of so many bytes per second; with 0, without limit.
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
    /// What the next frame will probably cost, in units.
    expected: NonZeroU32,
    failures: u32,
    /// When the stream last had sent all changes.
    caught_up_at: Instant,
    patience: Duration,
}

/// Why a stream must not read more changes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OverBudget {
    /// It may try again after this time.
    Wait(Duration),
    /// It has been behind for too long.
    Leave,
}

impl StreamBudget {
    pub(super) fn new(budget: Arc<ByteBudget>) -> Self {
        let patience = Duration::from_millis(PATIENCE_MILLIS + fastrand::u64(..=2 * PATIENCE_MILLIS));
        Self { budget, expected: units(FRAME_BYTES), failures: 0, caught_up_at: Instant::now(), patience }
    }

    /// Records that there is no change left to send. The next frame then has only new changes, which
    /// are probably few, so that a stream that keeps up need not wait for those that are behind.
    pub(super) fn caught_up(&mut self) {
        self.caught_up_at = Instant::now();
        self.expected = NonZeroU32::MIN;
    }

    /// Charges a frame that was read.
    pub(super) fn charge(&mut self, bytes: usize) {
        self.expected = units(bytes);
        if let Some(buckets) = &self.budget.bytes {
            buckets.charge(&(), self.expected.get());
        }
    }

    /// Asks whether the stream may read a frame. An error means that the budget is used up.
    pub(super) fn may_read(&mut self) -> Result<(), OverBudget> {
        let Some(buckets) = &self.budget.bytes else { return Ok(()) };
        let Err(wait) = buckets.check(&(), self.expected) else {
            self.failures = 0;
            return Ok(());
        };
        if self.caught_up_at.elapsed() >= self.patience {
            return Err(OverBudget::Leave);
        }
        // Other streams wait for the same bytes.
        let highest = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(LONGEST_WAIT);
        self.failures += 1;
        Err(OverBudget::Wait(wait + highest.mul_f64(fastrand::f64())))
    }
}

fn units(bytes: usize) -> NonZeroU32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}
