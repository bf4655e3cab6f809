//! The journal: appends records in order, makes many durable with one sync, and reads them back at
//! the next start.
//!
//! It does not interpret records. The store appends while it holds the lock of its index, so the
//! order of records is the order of changes. After it has released that lock, the request that made
//! the change waits for the [`Commit`].
//!
//! ```text
//! append ──> filling batch ──(the thread swaps it)──> one frame, one sync ──> every Commit resolves
//!                                                        └─ failed: undo, refuse, heal
//! ```
//!
//! `docs/decisions/0002-own-journal.md` explains why the project has its own journal, and the file
//! format.

mod batch;
mod checkpoint;
mod figures;
pub(crate) mod file;
pub(crate) mod file_name;
pub(crate) mod format;
mod needed;
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
pub use recovery::{OpenError, RecoveredJournal, RecoveryReport};

use crate::disk::Disk;
use checkpoint::CheckpointStart;
use needed::NeededFiles;
use queue::{Queue, Request};

/// The options of a journal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JournalOptions {
    /// Skip and count damaged parts instead of refusing to open. An operator sets this for a single
    /// start.
    pub drop_damaged: bool,
    /// How many bytes after the end of the journal are filled with zeros at once. A sync of a frame
    /// within these bytes writes only data, and no metadata of the file.
    pub preallocate: u64,
    /// How long a journal that has failed waits between two attempts to heal, that is, to write
    /// again.
    pub heal_interval: Duration,
    /// How long opening waits for another process to release the directory. A process that was
    /// killed holds its lock until the system has freed its memory.
    pub lock_wait: Duration,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            drop_damaged: false,
            preallocate: 4 << 20,
            heal_interval: Duration::from_millis(250),
            lock_wait: Duration::from_secs(5),
        }
    }
}

/// The store's callbacks for a failing and a recovered disk. They run on the journal's thread,
/// which holds no lock.
pub trait Hooks<U>: Send + 'static {
    /// The disk failed: revert these changes in the given order, which is newest first. None of
    /// them was acknowledged. The waiting requests get the error after this returns.
    fn failed(&self, undos: Vec<U>);

    /// The disk works again. Background records may be missing from the journal, so take a
    /// checkpoint soon.
    fn healed(&self);
}

/// A running journal. `U` is the data that the store needs to revert one change.
///
/// Dropping the journal calls [`Journal::close`].
pub struct Journal<U> {
    queue: Arc<Queue<U>>,
    disk: Arc<dyn Disk>,
    needed: Arc<NeededFiles>,
    checkpointing: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal<()> {
    /// Reads back the contents of `disk` and passes each record to `replay` in order, the
    /// checkpoint's records before the journal's.
    ///
    /// A record may be replayed twice, and the checkpoint may contain the effects of later records.
    /// Replaying all records in order must end in the same state nevertheless. If another process
    /// holds the lock of the directory, this blocks for at most `options.lock_wait`. On success,
    /// the directory stays locked. A torn tail (the last batch, if a crash left it incomplete) is
    /// cut off and reported. Damage is an error that contains its offset, unless
    /// `options.drop_damaged` is set.
    pub fn recover(
        disk: Arc<dyn Disk>,
        options: JournalOptions,
        replay: impl FnMut(&[u8]),
    ) -> Result<(RecoveredJournal, RecoveryReport), OpenError> {
        recovery::recover(disk, options, replay)
    }
}

impl<U: Send + 'static> Journal<U> {
    /// Appends a record in the order of calls and returns a future that resolves when it is
    /// durable. Never blocks on the disk.
    ///
    /// With an `undo`, a failure of the disk reverts the change. Without one, the change stays and
    /// the record is counted as lost. The store appends the records of expirations, revivals and
    /// its own evictions without an `undo`, because no request waits for them. They are called
    /// *background records*.
    ///
    /// # Errors
    /// While the disk fails, if 32 MiB of records are waiting for the disk, if the record is larger
    /// than 1 MiB, or after [`Journal::close`]. The record is not appended then.
    pub fn append(&self, record: &[u8], undo: Option<U>) -> Result<Commit, Unavailable> {
        self.queue.append(record, undo)
    }

    /// Checks that the journal is not failing. Cheap enough to call for every registration.
    ///
    /// # Errors
    /// While the disk fails, and after the journal's thread has ended.
    pub fn health(&self) -> Result<(), Unavailable> {
        self.queue.health()
    }

    /// The figures for metrics.
    pub fn figures(&self) -> JournalFigures {
        self.queue.counters.figures()
    }

    /// Free disk space in bytes.
    ///
    /// # Errors
    /// If the disk does not report it.
    pub fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free()
    }

    /// Begins a checkpoint: records appended from here on go to a new file, and finishing the
    /// returned writer removes the older files.
    ///
    /// The store then writes its whole state to the writer, piece by piece, while the state
    /// changes. Changes that a piece misses are in the new file. Blocks until the pending batch is
    /// durable and the new file exists: do not hold a lock that [`Hooks::failed`] takes, neither
    /// here nor in [`CheckpointWriter::finish`].
    ///
    /// # Errors
    /// While the disk fails, if a file cannot be created, while another checkpoint is being
    /// written, and after [`Journal::close`].
    pub fn begin_checkpoint(&self) -> Result<CheckpointWriter, CheckpointError> {
        let permit = CheckpointPermit::acquire(&self.checkpointing)?;
        // From here on, records go to the new file, so the checkpoint may miss their changes.
        let rotation = self.queue.request(Request::Rotate)?;
        let queue = Arc::clone(&self.queue);
        // The checkpoint contains changes as they are in memory, before they are durable. If the
        // journal fails meanwhile, some of them are reverted. The count of failures shows whether
        // this happened.
        let wait_durable = move || match queue.request(Request::Barrier)? {
            failures if failures == rotation.failures => Ok(()),
            _ => Err(Unavailable::new("the journal failed while the checkpoint was written")),
        };
        let queue = Arc::clone(&self.queue);
        let on_complete = move || {
            queue.counters.checkpoint_completed(rotation.journal_bytes);
            drop(permit);
        };
        let start = CheckpointStart {
            disk: Arc::clone(&self.disk),
            needed: Arc::clone(&self.needed),
            generation: rotation.generation,
            sequence: rotation.sequence,
            wait_durable: Box::new(wait_durable),
            on_complete: Box::new(on_complete),
        };
        CheckpointWriter::create(start)
    }
}

impl<U> Journal<U> {
    /// Refuses further records, makes all appended ones durable and ends the thread. Does not wait
    /// for a failing disk.
    pub fn close(&self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the journal thread panicked");
        }
    }
}

impl<U> Drop for Journal<U> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Permits one checkpoint at a time. Dropping it permits the next.
struct CheckpointPermit(Arc<AtomicBool>);

impl CheckpointPermit {
    fn acquire(taken: &Arc<AtomicBool>) -> Result<Self, Unavailable> {
        if taken.swap(true, Ordering::AcqRel) {
            return Err(Unavailable::new("another checkpoint is being written"));
        }
        Ok(Self(Arc::clone(taken)))
    }
}

impl Drop for CheckpointPermit {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl RecoveredJournal {
    /// Starts accepting records. A disk that rejects writes at this moment is not an error: the
    /// journal starts as failing, and heals later.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start<U: Send + 'static>(self, hooks: impl Hooks<U>) -> io::Result<Journal<U>> {
        let (disk, needed) = (Arc::clone(&self.disk), Arc::clone(&self.needed));
        let queue = Arc::new(Queue::new(figures::Counters::after_replay(self.journal_bytes)));
        let mut writer = self.into_writer(Arc::clone(&queue), Box::new(hooks));
        if let Err(error) = writer.try_heal() {
            tracing::error!(%error, directory = disk.location(), "cannot write to the journal yet; registrations are refused until the disk accepts writes");
            drop(queue.fail(&error));
        }
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run())?;
        Ok(Journal { queue, disk, needed, checkpointing: Arc::default(), thread: Mutex::new(Some(thread)) })
    }
}
