//! The journal file that is being written: where it ends, and the zero-filled space after the end.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::format::{FRAMES_AT, FileHeader, FrameBuffer, Kind};
use super::name;
use crate::disk::{Disk, DiskFile};

/// Free space, in bytes, that a failed journal needs before it counts as healed. An empty frame
/// alone fits on almost any full disk, and the next registration would fail again.
const HEALING_ROOM: u64 = 256 << 10;

/// The smallest preallocation in bytes. On a disk that is too full for it, frames are written
/// without.
const LEAST_CHUNK: u64 = 64 << 10;

const ZEROS: &[u8] = &[0; 64 << 10];

/// A journal file open for appending.
pub(crate) struct JournalFile {
    file: Box<dyn DiskFile>,
    pub(crate) generation: u64,
    salt: u64,
    /// The offset of the next frame. Everything before it is durable.
    end: u64,
    /// The file is known to have allocated blocks up to here, so a sync need not write metadata.
    ready: u64,
    /// Bytes that are preallocated at once.
    chunk: u64,
}

impl JournalFile {
    /// Continues a file whose frames end at `end`.
    pub(crate) fn resume(file: Box<dyn DiskFile>, header: FileHeader, end: u64, chunk: u64) -> Self {
        Self { file, generation: header.generation, salt: header.salt, end, ready: end, chunk }
    }

    /// Creates a new file durably, so that its first frame may be acknowledged.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        generation: u64,
        sequence: u64,
        chunk: u64,
    ) -> io::Result<Self> {
        let salt = getrandom::u64().map_err(io::Error::other)?;
        let header = FileHeader { kind: Kind::Journal, generation, salt, sequence };
        let file = disk.create(&name::journal(generation))?;
        file.write_at(&header.encode(), 0)?;
        let mut journal = Self::resume(file, header, FRAMES_AT, chunk);
        journal.make_ready(FRAMES_AT);
        journal.file.sync_data()?;
        disk.sync_dir()?;
        Ok(journal)
    }

    /// Appends a frame and makes it durable. Returns its length and the duration of the sync. After
    /// an error the end has not moved.
    pub(crate) fn append(&mut self, frame: &mut FrameBuffer, sequence: u64) -> io::Result<(u64, Duration)> {
        let bytes = frame.seal(sequence, self.salt);
        let end = self.end + bytes.len() as u64;
        self.file.write_at(bytes, self.end)?;
        if end > self.ready {
            self.make_ready(end);
        }
        let started = Instant::now();
        self.file.sync_data()?;
        self.end = end;
        Ok((bytes.len() as u64, started.elapsed()))
    }

    /// Overwrites the remains of a failed batch with an empty frame. Success proves that there is
    /// space and that syncs work.
    pub(crate) fn heal(&mut self, sequence: u64) -> io::Result<()> {
        let mut empty = FrameBuffer::new();
        let bytes = empty.seal(sequence, self.salt);
        let end = self.end + bytes.len() as u64;
        self.file.write_at(bytes, self.end)?;
        let room = HEALING_ROOM.min(self.chunk);
        self.write_zeros(end, room)?;
        self.file.sync_data()?;
        self.end = end;
        self.ready = end + room;
        Ok(())
    }

    /// Releases preallocated space that was not used. A failure only wastes the space until the
    /// next start.
    pub(crate) fn trim(&self) {
        if self.ready > self.end
            && let Err(error) = self.file.set_len(self.end)
        {
            tracing::debug!(%error, "the journal's unused space was not given back");
        }
    }

    /// Fills the space after `end` with zeros, so that later syncs write only data. A full disk is
    /// not an error here: the frames may still fit, because they can use the blocks that the
    /// attempt has already filled.
    fn make_ready(&mut self, end: u64) {
        self.ready = end;
        if self.chunk == 0 {
            return;
        }
        match self.write_zeros(end, self.chunk) {
            Ok(()) => self.ready = end + self.chunk,
            Err(error) => {
                tracing::debug!(%error, chunk_bytes = self.chunk, "no space was made ready for the journal");
                self.chunk = (self.chunk / 2).max(LEAST_CHUNK.min(self.chunk));
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
