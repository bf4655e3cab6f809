//! The journal's counters, for metrics and for deciding when to take a checkpoint.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the histogram buckets for sync durations, in microseconds. The last bucket has
/// no upper bound.
pub(crate) const SYNC_BUCKETS_MICROS: [u64; 12] =
    [50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 51_200, 204_800, 1_000_000];

/// A snapshot of the journal's figures. All except `bytes_since_checkpoint` are zero when the
/// journal is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalFigures {
    /// Bytes of journal that a restart would read in addition to the checkpoint.
    pub bytes_since_checkpoint: u64,
    /// Batches made durable.
    pub batches: u64,
    /// Records made durable.
    pub records: u64,
    /// Bytes made durable, frame headers included.
    pub bytes: u64,
    /// Successful syncs of the journal, one for each batch.
    pub syncs: u64,
    /// Total duration of the syncs.
    pub sync_total: Duration,
    /// Duration of the longest sync.
    pub sync_max: Duration,
    /// Number of syncs per bucket, not cumulative. The bounds are [`SYNC_BUCKETS_MICROS`]. One more
    /// bucket counts all longer syncs.
    pub sync_buckets: [u64; SYNC_BUCKETS_MICROS.len() + 1],
    /// Batches that failed.
    pub failures: u64,
    /// Background records that were lost because the disk failed. The next checkpoint contains
    /// their effects.
    pub lost_records: u64,
}

/// The counters behind [`JournalFigures`], updated concurrently.
#[derive(Default)]
pub(crate) struct Counters {
    /// Bytes of the frames that recovery read from journal files, and of those appended since.
    journal_bytes: AtomicU64,
    /// The value of `journal_bytes` when the newest checkpoint began.
    checkpointed_bytes: AtomicU64,
    batches: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    sync_nanos: AtomicU64,
    sync_max_nanos: AtomicU64,
    sync_buckets: [AtomicU64; SYNC_BUCKETS_MICROS.len() + 1],
    failures: AtomicU64,
    lost_records: AtomicU64,
}

impl Counters {
    pub(crate) fn after_replay(bytes: u64) -> Self {
        Self { journal_bytes: AtomicU64::new(bytes), ..Self::default() }
    }

    pub(crate) fn add_batch(&self, records: u64, bytes: u64, sync: Duration) {
        let nanos = u64::try_from(sync.as_nanos()).unwrap_or(u64::MAX);
        let micros = nanos / 1_000;
        let bucket = SYNC_BUCKETS_MICROS.iter().position(|bound| micros <= *bound);
        self.sync_buckets[bucket.unwrap_or(SYNC_BUCKETS_MICROS.len())].fetch_add(1, Relaxed);
        self.sync_nanos.fetch_add(nanos, Relaxed);
        self.sync_max_nanos.fetch_max(nanos, Relaxed);
        self.records.fetch_add(records, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.batches.fetch_add(1, Relaxed);
        self.journal_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn add_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(crate) fn add_lost(&self, records: u64) {
        self.lost_records.fetch_add(records, Relaxed);
    }

    pub(crate) fn journal_bytes(&self) -> u64 {
        self.journal_bytes.load(Relaxed)
    }

    /// The checkpoint that began at `journal_bytes` is complete.
    pub(crate) fn checkpoint_completed(&self, journal_bytes: u64) {
        self.checkpointed_bytes.fetch_max(journal_bytes, Relaxed);
    }

    pub(crate) fn figures(&self) -> JournalFigures {
        let batches = self.batches.load(Relaxed);
        let checkpointed = self.checkpointed_bytes.load(Relaxed);
        JournalFigures {
            bytes_since_checkpoint: self.journal_bytes().saturating_sub(checkpointed),
            batches,
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            syncs: batches,
            sync_total: Duration::from_nanos(self.sync_nanos.load(Relaxed)),
            sync_max: Duration::from_nanos(self.sync_max_nanos.load(Relaxed)),
            sync_buckets: std::array::from_fn(|bucket| self.sync_buckets[bucket].load(Relaxed)),
            failures: self.failures.load(Relaxed),
            lost_records: self.lost_records.load(Relaxed),
        }
    }
}
