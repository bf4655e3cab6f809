//! Checkpoints of the store: they bound the size of the journal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{EmbeddedStore, Shared};
use crate::index::Undo;
use crate::journal::{CheckpointError, CheckpointReport, Journal, Unavailable};

/// Growth of the journal, in bytes, that triggers a checkpoint. A start reads this much in about a
/// second. If the index is larger, the journal must grow by more than the size of the index.
const MAX_JOURNAL_BYTES: u64 = 64 << 20;

/// Growth of the journal, in bytes, that triggers a checkpoint on a disk whose free space is
/// smaller than the growth. On such a disk, the space could otherwise become too small for a
/// checkpoint before the journal has grown by [`MAX_JOURNAL_BYTES`]. A checkpoint for less growth
/// would not be worth its cost. Here too, the journal must grow by more than the size of the index.
const SMALL_DISK_JOURNAL_BYTES: u64 = 4 << 20;

/// The pause after a failed checkpoint. Each further failure doubles it. On a disk that is too
/// small, an attempt fills the disk, and registrations are refused meanwhile.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of doublings. The pause is then about a minute, in which an operator may have
/// freed space.
const MAX_DOUBLINGS: u32 = 6;

/// The number of slots that are encoded while the index is locked once: about a tenth of a
/// millisecond of work.
const SLOTS_PER_LOCK: u32 = 512;

/// Takes checkpoints in a separate thread, one at a time.
#[derive(Default)]
pub(super) struct Checkpointer {
    thread: Mutex<Option<JoinHandle<()>>>,
    figures: Arc<Mutex<CheckpointFigures>>,
}

/// Counts of the checkpoints so far, and the size and the duration of the latest one that
/// succeeded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CheckpointFigures {
    pub(super) taken: u64,
    pub(super) failed: u64,
    pub(super) bytes: u64,
    pub(super) duration: Duration,
    /// Failures since the last successful checkpoint.
    failed_in_a_row: u32,
    /// After a failure, a sweep starts no checkpoint before this time.
    paused_until: Option<Instant>,
}

impl CheckpointFigures {
    fn succeeded(&mut self, report: &CheckpointReport, duration: Duration) {
        self.taken += 1;
        self.bytes = report.bytes;
        self.duration = duration;
        (self.failed_in_a_row, self.paused_until) = (0, None);
    }

    fn failed(&mut self, now: Instant) {
        self.failed += 1;
        self.paused_until = Some(now + FIRST_PAUSE * (1 << self.failed_in_a_row.min(MAX_DOUBLINGS)));
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }
}

impl EmbeddedStore {
    /// Takes a checkpoint now and waits for it. Blocks on the disk.
    ///
    /// # Errors
    /// [`CheckpointError`] says why no checkpoint was taken. The journal still has all changes. A
    /// store without a disk always returns [`CheckpointError::Journal`].
    pub fn checkpoint(&self) -> Result<CheckpointReport, CheckpointError> {
        let Some(journal) = &self.journal else {
            return Err(Unavailable::new("the store is in memory only and has no checkpoints").into());
        };
        take_checkpoint(&self.shared, journal, &self.checkpointer.figures)
    }

    pub(super) fn checkpoint_figures(&self) -> CheckpointFigures {
        *self.checkpointer.figures.lock()
    }

    /// Starts a checkpoint if the journal has grown enough or `checkpoint_wanted` is set. Starts
    /// none while the journal fails, during the pause after a failed checkpoint, or while another
    /// checkpoint that a sweep started is running.
    pub(super) fn checkpoint_if_wanted(&self) {
        let Some(journal) = &self.journal else { return };
        if journal.health().is_err() || self.checkpointer.figures.lock().is_paused(Instant::now()) {
            return;
        }
        if !self.has_grown(journal) && !self.shared.checkpoint_wanted.load(Ordering::Relaxed) {
            return;
        }
        let mut running = self.checkpointer.thread.lock();
        if running.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let (shared, journal) = (Arc::clone(&self.shared), Arc::clone(journal));
        let figures = Arc::clone(&self.checkpointer.figures);
        let work = move || {
            if let Err(error) = take_checkpoint(&shared, &journal, &figures) {
                tracing::warn!(%error, "a checkpoint failed; the journal keeps all changes until the next one succeeds");
            }
        };
        match thread::Builder::new().name("checkpoint".to_owned()).spawn(work) {
            Ok(thread) => *running = Some(thread),
            Err(error) => tracing::warn!(%error, "could not start the checkpoint thread"),
        }
    }
}

impl EmbeddedStore {
    /// Whether a checkpoint would shorten the journal by enough.
    fn has_grown(&self, journal: &Journal<Undo>) -> bool {
        let grown = journal.figures().bytes_since_checkpoint;
        let index_bytes = self.shared.index.read().bytes();
        if grown <= index_bytes.max(SMALL_DISK_JOURNAL_BYTES) {
            return false;
        }
        grown > index_bytes.max(MAX_JOURNAL_BYTES) || journal.free_bytes().is_ok_and(|free| free < grown)
    }
}

impl Checkpointer {
    /// Waits for the running checkpoint, if any. The store must be marked as closed first, so that
    /// the checkpoint stops soon and no other one starts.
    pub(super) fn join(&self) {
        let running = self.thread.lock().take();
        if let Some(thread) = running
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

fn take_checkpoint(
    shared: &Shared,
    journal: &Journal<Undo>,
    figures: &Mutex<CheckpointFigures>,
) -> Result<CheckpointReport, CheckpointError> {
    let started = Instant::now();
    // Cleared before writing, so that a record lost from here on triggers the next checkpoint.
    shared.checkpoint_wanted.store(false, Ordering::Relaxed);
    let outcome = write_checkpoint(shared, journal);
    let mut figures = figures.lock();
    match &outcome {
        Ok(report) => figures.succeeded(report, started.elapsed()),
        Err(_) => {
            figures.failed(Instant::now());
            shared.checkpoint_wanted.store(true, Ordering::Relaxed);
        }
    }
    outcome
}

fn write_checkpoint(shared: &Shared, journal: &Journal<Undo>) -> Result<CheckpointReport, CheckpointError> {
    let mut checkpoint = journal.begin_checkpoint()?;
    let (mut bytes, mut ends, mut from) = (Vec::new(), Vec::new(), 0);
    loop {
        if shared.closed.load(Ordering::Acquire) {
            return Err(Unavailable::new("the store is being closed").into());
        }
        // The index is unlocked after each range of slots, so a peer may change after its slot was
        // written. It does not matter which of its states the checkpoint has: all changes since the
        // checkpoint began are in the new journal file, and replaying them after the checkpoint
        // ends in the latest state.
        let index = shared.index.read();
        let until = index.slot_count().min(from + SLOTS_PER_LOCK);
        if from == until {
            break;
        }
        for slot in from..until {
            index.record(slot, index.time_offset(), &mut bytes);
            ends.push(bytes.len());
        }
        drop(index);
        let mut start = 0;
        for end in ends.drain(..) {
            if start < end {
                checkpoint.push(&bytes[start..end])?;
            }
            start = end;
        }
        bytes.clear();
        from = until;
    }
    checkpoint.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_checkpoints_doubles_with_each_failure_in_a_row() {
        let mut figures = CheckpointFigures::default();
        let now = Instant::now();
        for seconds in [1, 2, 4, 8, 16, 32, 64, 64] {
            figures.failed(now);
            assert!(figures.is_paused(now + Duration::from_millis(seconds * 1_000 - 1)), "{seconds}");
            assert!(!figures.is_paused(now + Duration::from_secs(seconds)), "{seconds}");
        }
        figures.succeeded(&CheckpointReport { records: 0, bytes: 0 }, Duration::ZERO);
        assert!(!figures.is_paused(now));
        figures.failed(now);
        assert!(!figures.is_paused(now + FIRST_PAUSE));
    }
}
