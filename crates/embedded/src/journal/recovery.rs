//! Recovery of a directory at start: what is read, what is cut off, and what is refused.

mod error;
mod replay;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub use error::OpenError;

use super::file::JournalFile;
use super::file_name::{self, DirectoryListing};
use super::needed::NeededFiles;
use super::queue::Queue;
use super::writer::Writer;
use super::{Hooks, JournalOptions};
use crate::disk::{Disk, DiskLock};
use error::Errors;
use replay::Replay;

/// The result of a recovery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Number of records in the checkpoint.
    pub checkpoint_records: u64,
    /// Number of records in the journal files after the checkpoint.
    pub journal_records: u64,
    /// Bytes of an incomplete batch that were cut off. After a crash or a power loss, the batch was
    /// never acknowledged. If there was neither, the end of the file was truncated or damaged.
    pub torn_bytes: u64,
    /// The number of the last complete batch before the bytes that were cut off, if any: the epoch
    /// in the high half, and the batch within the epoch in the low half.
    pub last_batch: Option<u64>,
    /// Damaged ranges that were skipped because the options said so. If there are any, take a
    /// checkpoint at once: until then every start finds them again.
    pub dropped_ranges: u64,
    /// Bytes in those ranges.
    pub dropped_bytes: u64,
    /// Duration of the recovery.
    pub duration: Duration,
}

/// A directory that was read back and is locked. [`RecoveredJournal::start`] turns it into a
/// journal.
pub struct RecoveredJournal {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) journal_bytes: u64,
    options: JournalOptions,
    pub(super) needed: Arc<NeededFiles>,
    lock: Box<dyn DiskLock>,
    file: JournalFile,
    sequence: u64,
}

/// The pause between two attempts to lock the directory.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) fn recover(
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    replay: impl FnMut(&[u8]),
) -> Result<(RecoveredJournal, RecoveryReport), OpenError> {
    let started = Instant::now();
    let errors = Errors::new(&disk);
    // The lock comes first, so that no other process changes the files while they are read.
    let lock = lock(disk.as_ref(), options.lock_wait, &errors)?;
    let names = disk.list().map_err(|error| errors.io("list", "the directory", error))?;
    let listing = DirectoryListing::of(names);

    let needed = Arc::new(NeededFiles::new(Arc::clone(&disk)));
    let mut replay = Replay::new(disk.as_ref(), &needed, &options, &errors, replay);
    let checkpoint = listing.checkpoints.last().copied();
    if let Some(generation) = checkpoint {
        replay.checkpoint(generation)?;
    }
    let last = replay.journals(&listing, checkpoint)?;
    let (sequence, journal_bytes, mut recovery) = (replay.expected, replay.journal_bytes, replay.recovery);

    let file = match last {
        replay::ResumePoint::Continue(end) => {
            JournalFile::resume(end.file, end.header, end.end, options.preallocate)
        }
        replay::ResumePoint::Create(generation) => {
            let name = file_name::journal(generation);
            let io = |error| errors.io("create", &name, error);
            let file = JournalFile::create(&disk, generation, sequence, options.preallocate).map_err(io)?;
            needed.add_journal(generation, file.file.as_ref()).map_err(io)?;
            file
        }
    };
    // Files are deleted only now, when it is certain that the journal can continue.
    let older = checkpoint.map(|generation| listing.older_than(generation)).unwrap_or_default();
    remove(disk.as_ref(), listing.unfinished.iter().chain(&older));
    recovery.duration = started.elapsed();
    Ok((RecoveredJournal { disk, journal_bytes, options, needed, lock, file, sequence }, recovery))
}

/// Locks the directory, which a process that is ending may still hold for a moment.
fn lock(disk: &dyn Disk, wait: Duration, errors: &Errors) -> Result<Box<dyn DiskLock>, OpenError> {
    let until = Instant::now() + wait;
    let mut is_waiting = false;
    loop {
        if let Some(lock) = disk.lock().map_err(|error| errors.io("lock", "the directory", error))? {
            return Ok(lock);
        }
        if Instant::now() >= until {
            return Err(errors.locked());
        }
        if !std::mem::replace(&mut is_waiting, true) {
            tracing::warn!(
                directory = disk.location(),
                max_seconds = wait.as_secs(),
                "another process uses the data directory; waiting for it to end"
            );
        }
        thread::sleep(LOCK_INTERVAL);
    }
}

/// Removes unfinished files, and files that a checkpoint made obsolete. A file that cannot be
/// removed is only logged.
fn remove<'a>(disk: &dyn Disk, names: impl Iterator<Item = &'a String>) {
    for name in names {
        if let Err(error) = disk.remove(name) {
            tracing::warn!(%error, name, "could not remove an obsolete journal file");
        }
    }
}

impl RecoveredJournal {
    pub(super) fn into_writer<U>(self, queue: Arc<Queue<U>>, hooks: Box<dyn Hooks<U>>) -> Writer<U> {
        Writer {
            queue,
            disk: self.disk,
            file: self.file,
            needed: self.needed,
            sequence: self.sequence,
            hooks,
            preallocate: self.options.preallocate,
            heal_interval: self.options.heal_interval,
            _lock: self.lock,
        }
    }
}
