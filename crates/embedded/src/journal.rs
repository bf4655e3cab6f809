//! The journal: records appended in order, made durable many at a time, and read back at the next start.
//!
//! It knows nothing of what a record says. The store appends while it holds its own lock, so the order of records is
//! the order of changes; whoever asked for the change waits for the [`Commit`], outside the lock.
//!
//! ```text
//! append ──> filling batch ──(the thread swaps it)──> one frame, one sync ──> every Commit resolves
//!                                                        └─ failed: undo, refuse, heal
//! ```
//!
//! `docs/decisions/0002-own-journal.md` says why this is written here and how the bytes lie.

mod batch;
mod checkpoint;
mod figures;
pub(crate) mod file;
pub(crate) mod format;
pub(crate) mod name;
mod queue;
pub(crate) mod reader;
mod recovery;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use parking_lot::Mutex;

pub use batch::{Commit, Unavailable};
pub use checkpoint::{CheckpointError, CheckpointReport, CheckpointWriter};
pub use figures::JournalFigures;
pub(crate) use figures::SYNC_BUCKETS_MICROS;
pub use recovery::{OpenError, Recovered, Recovery};

use crate::disk::Disk;
use checkpoint::CheckpointStart;
use queue::{Queue, Request};

/// How a journal is opened and kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalOptions {
    /// Go on without what is damaged, counting it, where otherwise the opening is refused. For one start, by hand.
    pub drop_damaged: bool,
    /// How much space behind the journal's end is filled with zeros at once, in bytes, so that a sync writes only data.
    pub preallocate: u64,
    /// How long a failed journal waits between attempts to heal.
    pub heal_interval: Duration,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { drop_damaged: false, preallocate: 4 << 20, heal_interval: Duration::from_millis(250) }
    }
}

/// What the store does when the disk fails and when it is back. Called on the journal's thread, which holds no lock.
pub trait Hooks<U>: Send + 'static {
    /// The disk failed: revert these changes, which are in the order to revert them (newest first). Nobody was told
    /// that they happened; those who wait are told the opposite when this returns.
    fn failed(&self, undos: Vec<U>);

    /// The disk is back. Records that nobody waited for may be missing from it: take a checkpoint soon.
    fn healed(&self);
}

/// A journal in use. `U` is what the store needs to revert one change.
///
/// Dropping it is [`Journal::close`].
pub struct Journal<U> {
    queue: Arc<Queue<U>>,
    disk: Arc<dyn Disk>,
    checkpointing: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal<()> {
    /// Reads back what is on `disk`, handing each record to `replay` in order, the checkpoint's before the journal's.
    ///
    /// A record may be handed over twice, and older than one that the checkpoint had: each must carry the full state
    /// that it leaves. The directory is locked from here on. A torn end is cut off and reported; damage is refused
    /// with its place, unless `options` say to drop it.
    pub fn recover(
        disk: Arc<dyn Disk>,
        options: JournalOptions,
        replay: impl FnMut(&[u8]),
    ) -> Result<(Recovered, Recovery), OpenError> {
        recovery::recover(disk, options, replay)
    }
}

impl<U: Send + 'static> Journal<U> {
    /// Appends a record, in the order of calls, and answers what to wait for. Never blocks on the disk.
    ///
    /// With an `undo`, a failure of the disk reverts the change. Without one the change stands and the record is
    /// counted as lost: for what nobody waits for (evictions, revivals).
    ///
    /// # Errors
    /// While the disk fails, or lags 32 MiB behind, or if the record is over 1 MiB: then nothing was appended.
    pub fn append(&self, record: &[u8], undo: Option<U>) -> Result<Commit, Unavailable> {
        self.queue.append(record, undo)
    }

    /// Whether records are taken; cheap enough for every request.
    pub fn health(&self) -> Result<(), Unavailable> {
        self.queue.health()
    }

    /// The figures for metrics.
    pub fn figures(&self) -> JournalFigures {
        self.queue.counters.figures()
    }

    /// How much room the disk has left, in bytes.
    ///
    /// # Errors
    /// If the disk does not say.
    pub fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free()
    }

    /// Begins a checkpoint: everything appended from here on goes to a new file, and the old ones go when the answer is finished.
    ///
    /// The store then writes its whole state to the answer, piece by piece and while it changes: what a piece misses is in
    /// the new file. Blocks for about one sync: hold no lock that [`Hooks::failed`] takes, neither here nor in
    /// [`CheckpointWriter::finish`].
    ///
    /// # Errors
    /// While the disk fails, and while another checkpoint is being written.
    pub fn begin_checkpoint(&self) -> Result<CheckpointWriter, CheckpointError> {
        let turn = Turn::take(&self.checkpointing)?;
        let rotation = self.queue.ask(Request::Rotate)?;
        let queue = Arc::clone(&self.queue);
        let settle = move || match queue.ask(Request::Barrier)? {
            failures if failures == rotation.failures => Ok(()),
            _ => Err(Unavailable::new("the journal failed while the checkpoint was written")),
        };
        let queue = Arc::clone(&self.queue);
        let done = move || {
            queue.counters.checkpointed(rotation.journal_bytes);
            drop(turn);
        };
        let start = CheckpointStart {
            disk: Arc::clone(&self.disk),
            generation: rotation.generation,
            sequence: rotation.sequence,
            settle: Box::new(settle),
            done: Box::new(done),
        };
        CheckpointWriter::create(start)
    }
}

impl<U> Journal<U> {
    /// Refuses what comes from here on, makes everything that was appended durable, and ends. A disk that fails is not waited for.
    pub fn close(&self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread ended by a panic");
        }
    }
}

impl<U> Drop for Journal<U> {
    fn drop(&mut self) {
        self.close();
    }
}

/// One checkpoint at a time; dropped, the next may begin.
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(taken: &Arc<AtomicBool>) -> Result<Self, Unavailable> {
        if taken.swap(true, Ordering::AcqRel) {
            return Err(Unavailable::new("a checkpoint is being written already"));
        }
        Ok(Self(Arc::clone(taken)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Recovered {
    /// Begins to take records. A disk that takes no writes now is no error: the journal starts as failing, and heals.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start<U: Send + 'static>(self, hooks: impl Hooks<U>) -> io::Result<Journal<U>> {
        let disk = Arc::clone(&self.disk);
        let queue = Arc::new(Queue::new(figures::Counters::replayed(self.journal_bytes)));
        let mut writer = self.into_writer(Arc::clone(&queue), Box::new(hooks));
        if let Err(error) = writer.try_heal() {
            let refusal = writer::unwritable(&error);
            tracing::error!(%error, directory = disk.location(), "the journal can't be written yet; registrations are refused");
            drop(queue.fail(&refusal));
        }
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run())?;
        Ok(Journal { queue, disk, checkpointing: Arc::default(), thread: Mutex::new(Some(thread)) })
    }
}
