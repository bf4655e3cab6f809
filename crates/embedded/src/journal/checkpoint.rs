//! Checkpoints: the whole state, written while the store keeps running, so that older journal files
//! can be deleted.

use std::io;
use std::sync::Arc;

use super::batch::Unavailable;
use super::file_name::{self, DirectoryListing};
use super::format::{CHECKPOINT_END, FRAMES_OFFSET, FileHeader, FrameBuffer, Kind, VERSION};
use super::needed::NeededFiles;
use crate::disk::{Disk, DiskFile};

/// Bytes of records per frame. One damaged bit makes one frame unreadable, that is, some tens of
/// peers.
const FRAME_BYTES: usize = 8 << 10;

/// Bytes per write: small, so that the journal's own writes are not delayed.
const WRITE_BYTES: usize = 256 << 10;

/// Bytes between syncs. With a single sync at the end, the kernel would write everything at once,
/// and the journal's syncs would stall.
const SYNC_EVERY: u64 = 4 << 20;

/// Why a checkpoint was not taken. The journal continues and keeps all records until a later
/// checkpoint succeeds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The journal failed, so the checkpoint may include changes that were reverted. This variant
    /// also reports that the store has no journal or is being closed, that another checkpoint is
    /// being written, or that the data directory was removed or replaced.
    #[error(transparent)]
    Journal(#[from] Unavailable),
    /// A disk operation failed.
    #[error("cannot write the checkpoint: {0}")]
    Io(#[from] io::Error),
}

/// The contents of a finished checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Number of records written.
    pub records: u64,
    /// Length of the file in bytes.
    pub bytes: u64,
}

/// A checkpoint that is being written. Dropping it before [`CheckpointWriter::finish`] abandons it.
pub struct CheckpointWriter {
    disk: Arc<dyn Disk>,
    needed: Arc<NeededFiles>,
    file: Box<dyn DiskFile>,
    generation: u64,
    salt: u64,
    frame: FrameBuffer,
    /// Complete frames that are not written yet.
    unwritten: Vec<u8>,
    frames: u64,
    records: u64,
    end: u64,
    synced: u64,
    finished: bool,
    wait_durable: Option<WaitDurable>,
    on_complete: Option<OnComplete>,
}

/// Waits until all records appended so far are durable. Fails if the journal failed after the
/// checkpoint began.
type WaitDurable = Box<dyn FnOnce() -> Result<(), Unavailable> + Send>;

/// Called when the checkpoint is complete.
type OnComplete = Box<dyn FnOnce() + Send>;

/// The start of a checkpoint. The journal file of its generation exists and receives the changes
/// that the checkpoint may miss.
pub(crate) struct CheckpointStart {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) needed: Arc<NeededFiles>,
    pub(crate) generation: u64,
    /// The sequence of the first frame in that journal file.
    pub(crate) sequence: u64,
    pub(crate) wait_durable: WaitDurable,
    pub(crate) on_complete: OnComplete,
}

impl CheckpointWriter {
    pub(crate) fn create(start: CheckpointStart) -> Result<Self, CheckpointError> {
        let CheckpointStart { disk, needed, generation, sequence, wait_durable, on_complete } = start;
        let salt = getrandom::u64().map_err(io::Error::other)?;
        let header = FileHeader { version: VERSION, kind: Kind::Checkpoint, generation, salt, sequence };
        let file = disk.create(&file_name::unfinished_checkpoint(generation))?;
        file.write_at(&header.encode(), 0)?;
        Ok(Self {
            disk,
            needed,
            file,
            generation,
            salt,
            frame: FrameBuffer::new(),
            unwritten: Vec::new(),
            frames: 0,
            records: 0,
            end: FRAMES_OFFSET,
            synced: FRAMES_OFFSET,
            finished: false,
            wait_durable: Some(wait_durable),
            on_complete: Some(on_complete),
        })
    }

    /// Adds a record. Blocks on the disk at times, so call it without holding a lock that requests
    /// need.
    pub fn push(&mut self, record: &[u8]) -> Result<(), CheckpointError> {
        if !self.frame.push(record) {
            let reason = format!("a record of {} bytes exceeds the maximum size of a record", record.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason).into());
        }
        self.records += 1;
        if self.frame.payload_len() >= FRAME_BYTES {
            self.end_frame(self.frames);
            self.frames += 1;
        }
        if self.unwritten.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// Completes the checkpoint and removes the files that it replaces. Blocks on the disk.
    ///
    /// # Errors
    /// If a disk operation fails, if the journal failed after the checkpoint began or is closed, or
    /// if the next start would not find the checkpoint. No older file has been removed then.
    pub fn finish(mut self) -> Result<CheckpointReport, CheckpointError> {
        if !self.frame.is_empty() {
            self.end_frame(self.frames);
        }
        // The end marker holds the number of records, so that a start detects a missing part.
        self.frame.push(&self.records.to_le_bytes());
        self.end_frame(CHECKPOINT_END);
        self.write()?;
        self.file.sync_data()?;
        // The records may include changes that are not durable yet. Before the checkpoint may
        // replace the journal, these must be durable. If they have failed, they were reverted, and
        // the checkpoint is abandoned.
        if let Some(wait_durable) = self.wait_durable.take() {
            wait_durable()?;
        }
        self.disk.rename(
            &file_name::unfinished_checkpoint(self.generation),
            &file_name::checkpoint(self.generation),
        )?;
        self.finished = true;
        self.disk.sync_dir()?;
        self.needed.add_checkpoint(self.generation, self.file.as_ref())?;
        // The older files stay if the next start would not find the checkpoint.
        self.needed.check()?;
        self.needed.forget_before(self.generation);
        if let Some(on_complete) = self.on_complete.take() {
            on_complete();
        }
        self.remove_older();
        Ok(CheckpointReport { records: self.records, bytes: self.end })
    }

    fn end_frame(&mut self, sequence: u64) {
        self.unwritten.extend_from_slice(self.frame.seal(sequence, self.salt));
        self.frame.clear();
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_at(&self.unwritten, self.end)?;
        self.end += self.unwritten.len() as u64;
        self.unwritten.clear();
        if self.end - self.synced >= SYNC_EVERY {
            self.file.sync_data()?;
            self.synced = self.end;
        }
        Ok(())
    }

    /// Removes the files that this checkpoint replaces. If one cannot be removed, the next
    /// checkpoint or start removes it.
    fn remove_older(&self) {
        let names = self
            .disk
            .list()
            .map(|names| DirectoryListing::of(names).older_than(self.generation))
            .unwrap_or_default();
        for name in names {
            if let Err(error) = self.disk.remove(&name) {
                tracing::warn!(%error, name, "could not remove an obsolete journal file");
            }
        }
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Err(error) = self.disk.remove(&file_name::unfinished_checkpoint(self.generation)) {
            tracing::debug!(%error, "could not remove an unfinished checkpoint; the next start removes it");
        }
    }
}
