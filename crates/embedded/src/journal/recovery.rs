//! Recovery of a directory at start: what is read, what is cut off, and what is refused.

mod error;
mod replay;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::OpenError;

use super::file::JournalFile;
use super::file_name::{self, DirectoryListing};
use super::queue::Queue;
use super::writer::Writer;
use super::{Hooks, JournalOptions};
use crate::disk::{Disk, DiskLock};
use replay::Replay;

/// The result of a recovery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Number of records in the checkpoint.
    pub checkpoint_records: u64,
    /// Number of records in the journal files after it.
    pub journal_records: u64,
    /// Bytes of an incomplete batch that were cut off. The batch was never acknowledged.
    pub torn_bytes: u64,
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
    lock: Box<dyn DiskLock>,
    file: JournalFile,
    sequence: u64,
}

pub(super) fn recover(
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    replay: impl FnMut(&[u8]),
) -> Result<(RecoveredJournal, RecoveryReport), OpenError> {
    let started = Instant::now();
    let errors = error::Errors::new(&disk);
    // The lock comes first, so that no other process changes the files while they are read.
    let lock = disk.lock().map_err(|error| errors.io("lock", "the directory", error))?;
    let lock = lock.ok_or_else(|| errors.locked())?;
    let names = disk.list().map_err(|error| errors.io("list", "the directory", error))?;
    let listing = DirectoryListing::of(names);

    let mut replay = Replay::new(disk.as_ref(), &options, &errors, replay);
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
            JournalFile::create(&disk, generation, sequence, options.preallocate)
                .map_err(|error| errors.io("create", &name, error))?
        }
    };
    // Only after the journal is known to continue: until then nothing is deleted.
    let older = checkpoint.map(|generation| listing.older_than(generation)).unwrap_or_default();
    remove(disk.as_ref(), listing.unfinished.iter().chain(&older));
    recovery.duration = started.elapsed();
    Ok((RecoveredJournal { disk, journal_bytes, options, lock, file, sequence }, recovery))
}

/// Removes files that a checkpoint made obsolete or that an unfinished checkpoint left. A file that
/// cannot be removed does no harm.
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
            sequence: self.sequence,
            hooks,
            preallocate: self.options.preallocate,
            heal_interval: self.options.heal_interval,
            _lock: self.lock,
        }
    }
}
