//! The bytes that all streams together may send.
//!
//! A change is sent once to each watcher, so a few kilobytes a second of changes can become
//! megabytes. Each stream pays for a frame before it reads the next one. A stream that can't pay
//! waits. Meanwhile it holds only its position, and changes of the same peer collapse. The streams
//! that have been behind for longest are sent away, so that the others can keep up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::rate::Rate;
use crate::rate::bucket::Buckets;

/// What a payment is counted in. A frame costs at least this much, because each write has a cost of
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
    /// Bytes of frames that streams sent last, and did not pay for before they ended. Otherwise
    /// clients that reconnect all the time would get them for free.
    unpaid: AtomicUsize,
}

impl ByteBudget {
    /// A budget of so many bytes per second; with 0, without limit.
    pub(super) fn new(bytes_per_second: u32) -> Self {
        let unit = u32::try_from(UNIT_BYTES).unwrap_or(u32::MAX);
        let per_second = bytes_per_second.div_ceil(unit);
        let rate = Rate { per_second, burst: per_second.max(MIN_BURST) };
        Self { bytes: Buckets::new(rate, 1), unpaid: AtomicUsize::new(0) }
    }

    /// Takes over up to `most` of the unpaid bytes.
    fn take_unpaid(&self, most: usize) -> usize {
        let rest = |unpaid: usize| Some(unpaid.saturating_sub(most));
        self.unpaid.fetch_update(Relaxed, Relaxed, rest).map_or(0, |unpaid| unpaid.min(most))
    }
}

/// What one stream owes to the budget.
pub(super) struct Account {
    budget: Arc<ByteBudget>,
    owed_bytes: usize,
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

impl Account {
    pub(super) fn new(budget: Arc<ByteBudget>) -> Self {
        let patience = Duration::from_millis(PATIENCE_MILLIS + fastrand::u64(..=2 * PATIENCE_MILLIS));
        Self { budget, owed_bytes: 0, failures: 0, caught_up_at: Instant::now(), patience }
    }

    /// Records that there is no change left to send.
    pub(super) fn caught_up(&mut self) {
        self.caught_up_at = Instant::now();
    }

    /// Records a frame that is about to be sent.
    pub(super) fn owe(&mut self, bytes: usize) {
        if self.budget.bytes.is_some() {
            self.owed_bytes += bytes;
        }
    }

    /// Pays for the frames so far. An error means that the budget is used up.
    pub(super) fn pay(&mut self) -> Result<(), OverBudget> {
        if self.failures == 0 {
            // At most as much again, so that small frames stay cheap.
            self.owed_bytes += self.budget.take_unpaid(self.owed_bytes);
        }
        let units = u32::try_from(self.owed_bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let (Some(buckets), Ok(units)) = (&self.budget.bytes, units.try_into()) else { return Ok(()) };
        let Err(wait) = buckets.take(&(), units) else {
            (self.owed_bytes, self.failures) = (0, 0);
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

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.unpaid.fetch_add(self.owed_bytes, Relaxed);
    }
}
