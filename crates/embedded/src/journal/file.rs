//! The journal file that is being written: where it ends, and the zero-filled space after the end.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::file_name;
use super::format::{FRAMES_OFFSET, FileHeader, FrameBuffer, Kind, VERSION};
use crate::disk::{Disk, DiskFile};

/// Free space, in bytes, that a failed journal needs before it counts as healed. It is more than an
/// empty frame takes: such a frame fits on almost any full disk, and the next registration would
/// then fail again.
const HEAL_SPACE: u64 = 256 << 10;

/// The smallest preallocation in bytes. On a disk that is too full for it, frames are written
/// without preallocation.
const MIN_PREALLOCATION: u64 = 64 << 10;

const ZEROS: &[u8] = &[0; 64 << 10];

/// A journal file open for appending.
pub(crate) struct JournalFile {
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) generation: u64,
    salt: u64,
    /// The offset of the next frame. Everything before it is durable.
    end: u64,
    /// The file is known to have allocated blocks up to here, so a sync need not write metadata.
    allocated_end: u64,
    /// Bytes that are preallocated at once.
    preallocate: u64,
}

impl JournalFile {
    /// Continues a file whose frames end at `end`.
    pub(crate) fn resume(file: Box<dyn DiskFile>, header: FileHeader, end: u64, preallocate: u64) -> Self {
        Self { file, generation: header.generation, salt: header.salt, end, allocated_end: end, preallocate }
    }

    /// Creates a new file, and returns when it is durable, so that its first frame may be
    /// acknowledged. The file gets its name when its header is complete, so a file that has the
    /// name and no header is damaged.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        generation: u64,
        sequence: u64,
        preallocate: u64,
    ) -> io::Result<Self> {
        let salt = getrandom::u64().map_err(io::Error::other)?;
        let header = FileHeader { version: VERSION, kind: Kind::Journal, generation, salt, sequence };
        let unfinished = file_name::unfinished_journal(generation);
        let file = disk.create(&unfinished)?;
        file.write_at(&header.encode(), 0)?;
        let mut journal = Self::resume(file, header, FRAMES_OFFSET, preallocate);
        journal.preallocate_after(FRAMES_OFFSET);
        journal.file.sync_data()?;
        disk.rename(&unfinished, &file_name::journal(generation))?;
        // Without this, a power loss could remove the new name together with synced frames.
        disk.sync_dir()?;
        Ok(journal)
    }

    /// Writes a frame at the end and makes it durable. Returns its length and the duration of the
    /// sync. The next frame replaces it, unless [`JournalFile::advance`] moves the end.
    pub(crate) fn append(&mut self, frame: &mut FrameBuffer, sequence: u64) -> io::Result<(u64, Duration)> {
        let bytes = frame.seal(sequence, self.salt);
        let end = self.end + bytes.len() as u64;
        self.file.write_at(bytes, self.end)?;
        // The zeros are written with the frame that needs them, so the same sync covers both and
        // allocates the blocks of the next frames.
        if end > self.allocated_end {
            self.preallocate_after(end);
        }
        // Only this sync is measured: the writes above go to the page cache.
        let started = Instant::now();
        self.file.sync_data()?;
        Ok((bytes.len() as u64, started.elapsed()))
    }

    /// Moves the end behind a frame of this length that is durable.
    pub(crate) fn advance(&mut self, len: u64) {
        self.end += len;
    }

    /// Overwrites the remains of a failed batch with an empty frame. Success proves that there is
    /// space and that syncs work.
    pub(crate) fn heal(&mut self, sequence: u64) -> io::Result<()> {
        let mut empty = FrameBuffer::new();
        let bytes = empty.seal(sequence, self.salt);
        let end = self.end + bytes.len() as u64;
        self.file.write_at(bytes, self.end)?;
        // The zeros claim the space. Without them, the disk could be full again at the next frame.
        let space = HEAL_SPACE.min(self.preallocate);
        self.write_zeros(end, space)?;
        self.file.sync_data()?;
        self.end = end;
        self.allocated_end = end + space;
        Ok(())
    }

    /// Releases preallocated space that was not used. If this fails, the space stays allocated
    /// until later frames use it or the file is removed.
    pub(crate) fn trim(&self) {
        if self.allocated_end > self.end
            && let Err(error) = self.file.set_len(self.end)
        {
            tracing::debug!(%error, "could not release the unused space of the journal");
        }
    }

    /// Fills the space after `end` with zeros, so that later syncs write only data. A full disk is
    /// not an error here: the frames may still fit, because they can use the blocks that the
    /// attempt has already filled.
    fn preallocate_after(&mut self, end: u64) {
        self.allocated_end = end;
        if self.preallocate == 0 {
            return;
        }
        match self.write_zeros(end, self.preallocate) {
            Ok(()) => self.allocated_end = end + self.preallocate,
            Err(error) => {
                tracing::debug!(%error, bytes = self.preallocate, "could not preallocate space for the journal");
                // A smaller preallocation may fit next time.
                self.preallocate = (self.preallocate / 2).max(MIN_PREALLOCATION.min(self.preallocate));
            }
        }
    }

    fn write_zeros(&self, from: u64, len: u64) -> io::Result<()> {
        let mut written = 0;
        while written < len {
            let piece = usize::try_from(len - written).unwrap_or(usize::MAX).min(ZEROS.len());
            self.file.write_at(&ZEROS[..piece], from + written)?;
            written += piece as u64;
        }
        Ok(())
    }
}
