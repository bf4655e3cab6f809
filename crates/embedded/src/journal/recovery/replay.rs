//! Reads a checkpoint and the journal files after it, frame by frame, and tells a torn tail from
//! damage.
//!
//! A frame is written only after the previous one was synced, so at most one frame was not durable
//! when the process stopped: the last one. An invalid frame with no valid frame after it is
//! therefore treated as a *torn tail*: its batch was not acknowledged, so cutting it off loses
//! nothing. (Damage to the very last frame looks the same and cannot be distinguished.) An invalid
//! frame with a later valid frame after it was durable once, so it is *damage*: acknowledged
//! registrations are lost, and opening is refused unless the options say to drop them.
//!
//! Sequences decide what "later" means. A new epoch begins with every start and every healing. The
//! remains of failed batches thus have sequences below the expected one, and are not mistaken for
//! proof of damage.
//!
//! A checkpoint gets its name only after it was synced completely, so every missing part of a
//! checkpoint is damage. A journal file gets its name after its header was synced, so one without a
//! header is damaged too.

use super::RecoveryReport;
use super::error::{Errors, OpenError};
use crate::disk::{Disk, DiskFile};
use crate::journal::JournalOptions;
use crate::journal::file_name::{self, DirectoryListing};
use crate::journal::format::{
    CHECKPOINT_END, FileHeader, HEADER_BLOCK, Kind, ParsedHeader, VERSION, follows, records,
};
use crate::journal::needed::NeededFiles;
use crate::journal::reader::{FrameReader, used_bytes};

/// A recovery in progress.
pub(super) struct Replay<'a, F> {
    disk: &'a dyn Disk,
    needed: &'a NeededFiles,
    options: &'a JournalOptions,
    errors: &'a Errors,
    replay: F,
    /// The sequence of the next frame if no frame is missing.
    pub(super) expected: u64,
    /// Whether damage was dropped. Then the next frame may have any later sequence.
    gap: bool,
    /// Bytes of the frames read from journal files.
    pub(super) journal_bytes: u64,
    pub(super) recovery: RecoveryReport,
}

/// Where the journal continues.
pub(super) enum ResumePoint {
    Continue(OpenFile),
    Create(u64),
}

/// A journal file whose frames were read up to `end`.
pub(super) struct OpenFile {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) header: FileHeader,
    pub(super) end: u64,
}

impl<'a, F: FnMut(&[u8])> Replay<'a, F> {
    pub(super) fn new(
        disk: &'a dyn Disk,
        needed: &'a NeededFiles,
        options: &'a JournalOptions,
        errors: &'a Errors,
        replay: F,
    ) -> Self {
        let recovery = RecoveryReport::default();
        Self { disk, needed, options, errors, replay, expected: 0, gap: false, journal_bytes: 0, recovery }
    }

    /// Reads a checkpoint. It was complete before it got its name, so any missing part is damage.
    pub(super) fn checkpoint(&mut self, generation: u64) -> Result<(), OpenError> {
        let name = file_name::checkpoint(generation);
        let file = self.open(&name)?;
        let Some(header) = self.read_header(file.as_ref(), &name, Kind::Checkpoint, generation)? else {
            return Ok(());
        };
        self.expected = header.sequence;
        let io = |error| self.errors.io("read", &name, error);
        self.needed.add_checkpoint(generation, file.as_ref()).map_err(io)?;
        let mut reader = FrameReader::new(file.as_ref(), header.salt).map_err(io)?;
        let mut next = 0;
        loop {
            let offset = reader.position();
            match reader.next().map_err(|error| self.errors.io("read", &name, error))? {
                Some(frame) if frame.sequence == CHECKPOINT_END => {
                    return self.end_marker(&name, offset, frame.payload);
                }
                // The frames of a checkpoint are numbered from zero. After dropped damage, any
                // later number is accepted.
                Some(frame) if frame.sequence == next || (self.gap && frame.sequence > next) => {
                    next = frame.sequence.saturating_add(1);
                    self.recovery.checkpoint_records += self.replay_records(&name, offset, frame.payload)?;
                }
                _ => {
                    // Dropping the damage means to continue at the next valid frame. Its bytes are
                    // counted up to there, or up to the end of the file.
                    let later =
                        reader.find(offset, next).map_err(|error| self.errors.io("read", &name, error))?;
                    let rest = used_bytes(file.as_ref(), offset)
                        .map_err(|error| self.errors.io("read", &name, error))?;
                    let bytes = later.map_or(rest, |later| later - offset);
                    self.damaged(&name, offset, bytes, "a part of the checkpoint is missing at this offset")?;
                    match later {
                        Some(later) => reader.seek(later),
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    /// Reads the journal files starting with the checkpoint's generation, or all of them if there
    /// is no checkpoint.
    pub(super) fn journals(
        &mut self,
        listing: &DirectoryListing,
        checkpoint: Option<u64>,
    ) -> Result<ResumePoint, OpenError> {
        let first = checkpoint.unwrap_or(1);
        let mut expected = first;
        let mut end = None;
        let last = listing.journals.last().copied();
        // The name and the end of the previous file, to report frames that are missing between two
        // files.
        let mut before = (file_name::journal(first), 0);
        for generation in listing.journals.range(first..).copied() {
            if generation != expected {
                self.damaged(&file_name::journal(expected), 0, 0, "the file is missing")?;
            }
            expected = generation.saturating_add(1);
            match self.journal(generation, &before)? {
                Some(open) => {
                    before = (file_name::journal(generation), open.end);
                    end = Some(open);
                }
                None if last == Some(generation) => return Ok(ResumePoint::Create(expected)),
                None => {}
            }
        }
        // A checkpoint begins a new journal file, so if there is a checkpoint, that file must
        // exist.
        if checkpoint.is_some() && expected == first {
            self.damaged(&file_name::journal(first), 0, 0, "the file is missing")?;
        }
        let Some(open) = end else { return Ok(ResumePoint::Create(first)) };
        if self.recovery.torn_bytes > 0 {
            // The new epoch makes the torn bytes invalid in any case. Cutting them off keeps the
            // next start from reporting them again.
            open.file.set_len(open.end).map_err(|error| self.errors.io("cut off", &before.0, error))?;
        }
        // A file of an earlier format is not continued. An earlier release would read it, and skip
        // records that it does not know.
        if open.header.version < VERSION {
            Ok(ResumePoint::Create(expected))
        } else {
            Ok(ResumePoint::Continue(open))
        }
    }

    /// Reads one journal file. Returns `None` if it is damaged and dropped as a whole.
    fn journal(&mut self, generation: u64, before: &(String, u64)) -> Result<Option<OpenFile>, OpenError> {
        let name = file_name::journal(generation);
        let file = self.open(&name)?;
        let Some(header) = self.read_header(file.as_ref(), &name, Kind::Journal, generation)? else {
            return Ok(None);
        };
        self.needed
            .add_journal(generation, file.as_ref())
            .map_err(|error| self.errors.io("read", &name, error))?;
        // The file begins after the expected frame, so the previous file has lost its end. This
        // includes a previous file with a torn last frame: the next file is begun only after a
        // sync, so the torn frame was durable once.
        if header.sequence > self.expected && !self.gap {
            self.damaged(&before.0, before.1, 0, "the batches between this file and the next are missing")?;
        }
        // A failed rotation may have left a file that begins with an older sequence. It has no
        // frames, and the journal can continue in it.
        let end = self.frames(file.as_ref(), &name, header)?;
        self.report_torn_tail(file.as_ref(), &name, end)?;
        Ok(Some(OpenFile { file, header, end }))
    }

    /// Replays the frames of a journal file. Returns the offset where they end.
    fn frames(&mut self, file: &dyn DiskFile, name: &str, header: FileHeader) -> Result<u64, OpenError> {
        let errors = self.errors;
        let io = |error| errors.io("read", name, error);
        let mut reader = FrameReader::new(file, header.salt).map_err(io)?;
        loop {
            let offset = reader.position();
            match reader.next().map_err(io)? {
                Some(frame)
                    // The expected frame, or the first frame of a new epoch.
                    if follows(self.expected, frame.sequence)
                        || (self.gap && frame.sequence > self.expected) =>
                {
                    self.expected = frame.sequence.saturating_add(1);
                    let records = self.replay_records(name, offset, frame.payload)?;
                    self.recovery.journal_records += records;
                    self.journal_bytes += reader.position() - offset;
                }
                // A valid frame with a later sequence: frames before it are missing. `damaged` has
                // set `gap`, so reading the frame a second time accepts it.
                Some(frame) if frame.sequence > self.expected => {
                    self.damaged(name, offset, 0, "the batch before this offset is missing")?;
                    reader.seek(offset);
                }
                // An invalid frame, or a frame with an old sequence, which a failed batch left
                // behind. A later valid frame after it proves damage. Without one it is the torn
                // tail, and the journal ends here.
                _ => match reader.find(offset, self.expected).map_err(io)? {
                    Some(later) => {
                        self.damaged(
                            name,
                            offset,
                            later - offset,
                            "the batch at this offset is damaged",
                        )?;
                        reader.seek(later);
                    }
                    None => return Ok(offset),
                },
            }
        }
    }

    /// Reports what is left of a batch after the last frame of a journal file.
    fn report_torn_tail(&mut self, file: &dyn DiskFile, name: &str, end: u64) -> Result<(), OpenError> {
        let io = |error| self.errors.io("read", name, error);
        let bytes = used_bytes(file, end).map_err(io)?;
        if bytes > 0 {
            let last_batch = self.expected.checked_sub(1);
            self.recovery.torn_bytes += bytes;
            self.recovery.last_batch = last_batch;
            tracing::warn!(
                name,
                offset = end,
                bytes,
                last_batch,
                "the journal ends in an incomplete batch, which is cut off; a crash or a power loss leaves one that was never acknowledged, and otherwise the file was truncated or damaged"
            );
        }
        Ok(())
    }

    fn open(&self, name: &str) -> Result<Box<dyn DiskFile>, OpenError> {
        self.disk.open(name).map_err(|error| self.errors.io("open", name, error))
    }

    fn read_header(
        &mut self,
        file: &dyn DiskFile,
        name: &str,
        kind: Kind,
        generation: u64,
    ) -> Result<Option<FileHeader>, OpenError> {
        let io = |error| self.errors.io("read", name, error);
        let mut bytes = vec![0; HEADER_BLOCK];
        let read = file.read_at(&mut bytes, 0).map_err(io)?;
        bytes.truncate(read);
        let detail = match FileHeader::parse(&bytes) {
            ParsedHeader::OtherVersion(version) => return Err(self.errors.other_version(name, version)),
            ParsedHeader::Valid(header) if header.kind != kind || header.generation != generation => {
                "its header belongs to another file"
            }
            // A file gets its name only when its whole header is durable, so this file was
            // truncated.
            ParsedHeader::Valid(_) if read < HEADER_BLOCK => "it ends within its header",
            ParsedHeader::Valid(header) => return Ok(Some(header)),
            ParsedHeader::Invalid if bytes.is_empty() => "it is empty",
            ParsedHeader::Invalid => "its header is damaged",
        };
        let dropped = used_bytes(file, 0).map_err(io)?;
        self.damaged(name, 0, dropped, detail).map(|()| None)
    }

    fn replay_records(&mut self, name: &str, offset: u64, payload: &[u8]) -> Result<u64, OpenError> {
        let mut count = 0;
        for record in records(payload) {
            match record {
                Some(record) => (self.replay)(record),
                None => {
                    self.damaged(
                        name,
                        offset,
                        payload.len() as u64,
                        "the lengths of its records are inconsistent",
                    )?;
                    break;
                }
            }
            count += 1;
        }
        Ok(count)
    }

    fn end_marker(&mut self, name: &str, offset: u64, payload: &[u8]) -> Result<(), OpenError> {
        let count = payload.get(4..).and_then(|count| count.try_into().ok()).map(u64::from_le_bytes);
        if count == Some(self.recovery.checkpoint_records) || self.gap {
            return Ok(());
        }
        self.damaged(name, offset, 0, "its number of records differs from the one in its end marker")
    }

    /// Refuses to continue. If the options say to drop damage, counts it instead and continues.
    fn damaged(&mut self, name: &str, offset: u64, bytes: u64, detail: &str) -> Result<(), OpenError> {
        if !self.options.drop_damaged {
            return Err(self.errors.damaged(name, offset, detail));
        }
        tracing::warn!(name, offset, bytes, detail, "dropped a damaged range of the journal");
        self.gap = true;
        self.recovery.dropped_ranges += 1;
        self.recovery.dropped_bytes += bytes;
        Ok(())
    }
}
