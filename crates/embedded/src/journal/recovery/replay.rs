//! Reads a checkpoint and the journals after it, frame by frame, and decides about everything that is not one.

use super::Recovery;
use super::error::{Errors, OpenError};
use crate::disk::{Disk, DiskFile};
use crate::journal::JournalOptions;
use crate::journal::format::{
    CHECKPOINT_END, FRAMES_AT, FileHeader, HEADER_BLOCK, Kind, ParsedHeader, follows, records,
};
use crate::journal::name::{self, Listing};
use crate::journal::reader::FrameReader;

pub(super) struct Replay<'a, F> {
    disk: &'a dyn Disk,
    options: &'a JournalOptions,
    errors: &'a Errors,
    replay: F,
    /// The sequence that comes next if nothing is missing.
    pub(super) expected: u64,
    /// Something was dropped, so any later sequence may come next.
    gap: bool,
    /// Bytes of frames read from journals.
    pub(super) journal_bytes: u64,
    pub(super) recovery: Recovery,
}

/// Where appending goes on.
pub(super) enum End {
    Resume(OpenFile),
    Create(u64),
}

/// A journal file whose frames were read up to `end`.
pub(super) struct OpenFile {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) header: FileHeader,
    pub(super) end: u64,
}

/// What the start of a file says.
enum Start {
    Header(FileHeader),
    /// Its making was not finished: there is nothing in it, and never was.
    Unfinished,
    /// It is damaged, and dropped.
    Dropped,
}

impl<'a, F: FnMut(&[u8])> Replay<'a, F> {
    pub(super) fn new(
        disk: &'a dyn Disk,
        options: &'a JournalOptions,
        errors: &'a Errors,
        replay: F,
    ) -> Self {
        let recovery = Recovery::default();
        Self { disk, options, errors, replay, expected: 0, gap: false, journal_bytes: 0, recovery }
    }

    /// Reads a checkpoint, which was complete before it got its name: whatever is missing from it is damage.
    pub(super) fn checkpoint(&mut self, generation: u64) -> Result<(), OpenError> {
        let name = name::checkpoint(generation);
        let file = self.open(&name)?;
        let header = match self.start(file.as_ref(), &name, Kind::Checkpoint, generation)? {
            Start::Header(header) => header,
            Start::Unfinished => return self.damaged(&name, 0, 0, "its header is missing"),
            Start::Dropped => return Ok(()),
        };
        self.expected = header.sequence;
        let io = |error| self.errors.io("read", &name, error);
        let mut reader = FrameReader::new(file.as_ref(), header.salt).map_err(io)?;
        let mut next = 0;
        loop {
            let offset = reader.position();
            match reader.next().map_err(|error| self.errors.io("read", &name, error))? {
                Some(frame) if frame.sequence == CHECKPOINT_END => {
                    return self.end_marker(&name, offset, frame.payload);
                }
                Some(frame) if frame.sequence == next || (self.gap && frame.sequence > next) => {
                    next = frame.sequence.saturating_add(1);
                    self.recovery.checkpoint_records += self.hand_over(&name, offset, frame.payload)?;
                }
                _ => {
                    let later =
                        reader.find(offset, next).map_err(|error| self.errors.io("read", &name, error))?;
                    reader.seek(offset);
                    let rest = reader.torn_bytes().map_err(|error| self.errors.io("read", &name, error))?;
                    let bytes = later.map_or(rest, |later| later - offset);
                    self.damaged(&name, offset, bytes, "a part of the checkpoint is missing there")?;
                    match later {
                        Some(later) => reader.seek(later),
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    /// Reads the journals from the checkpoint's on, or all of them where there is none.
    pub(super) fn journals(&mut self, listing: &Listing, checkpoint: Option<u64>) -> Result<End, OpenError> {
        let first = checkpoint.unwrap_or(1);
        let mut wanted = first;
        let mut end = None;
        let last = listing.journals.last().copied();
        // Where the file before ended, for what turns out to be missing between two.
        let mut before = (name::journal(first), 0);
        for generation in listing.journals.range(first..).copied() {
            if generation != wanted {
                self.damaged(&name::journal(wanted), 0, 0, "the file is missing")?;
            }
            wanted = generation.saturating_add(1);
            match self.journal(generation, last == Some(generation), &before)? {
                Some(open) => {
                    before = (name::journal(generation), open.end);
                    end = Some(open);
                }
                None if last == Some(generation) && self.gap => return Ok(End::Create(wanted)),
                None => {}
            }
        }
        if end.is_none() && checkpoint.is_some() && wanted == first {
            self.damaged(&name::journal(first), 0, 0, "the file is missing")?;
        }
        match end {
            Some(open) => self.cut(open),
            None => Ok(End::Create(first)),
        }
    }

    /// Reads one journal; `None` where nothing is in it that counts.
    fn journal(
        &mut self,
        generation: u64,
        last: bool,
        before: &(String, u64),
    ) -> Result<Option<OpenFile>, OpenError> {
        let name = name::journal(generation);
        let file = self.open(&name)?;
        let header = match self.start(file.as_ref(), &name, Kind::Journal, generation)? {
            Start::Header(header) => header,
            Start::Unfinished if last => return Ok(None),
            Start::Unfinished => return self.damaged(&name, 0, 0, "its header is missing").map(|()| None),
            Start::Dropped => return Ok(None),
        };
        if header.sequence > self.expected && !self.gap {
            self.damaged(&before.0, before.1, 0, "the batches up to the next file are missing")?;
        }
        // A rotation that failed may have left a file that begins with an older sequence: it has no frames, and can go on from here.
        let end = self.frames(file.as_ref(), &name, header)?;
        Ok(Some(OpenFile { file, header, end }))
    }

    /// Hands over a journal's frames; answers where they end.
    fn frames(&mut self, file: &dyn DiskFile, name: &str, header: FileHeader) -> Result<u64, OpenError> {
        let errors = self.errors;
        let io = |error| errors.io("read", name, error);
        let mut reader = FrameReader::new(file, header.salt).map_err(io)?;
        loop {
            let offset = reader.position();
            match reader.next().map_err(io)? {
                Some(frame)
                    if follows(self.expected, frame.sequence)
                        || (self.gap && frame.sequence > self.expected) =>
                {
                    self.expected = frame.sequence.saturating_add(1);
                    let records = self.hand_over(name, offset, frame.payload)?;
                    self.recovery.journal_records += records;
                    self.journal_bytes += reader.position() - offset;
                }
                Some(frame) if frame.sequence > self.expected => {
                    self.damaged(name, offset, 0, "the batch before is missing")?;
                    reader.seek(offset);
                }
                _ => match reader.find(offset, self.expected).map_err(io)? {
                    Some(later) => {
                        self.damaged(
                            name,
                            offset,
                            later - offset,
                            "the batch there is not what was written",
                        )?;
                        reader.seek(later);
                    }
                    None => return Ok(offset),
                },
            }
        }
    }

    /// Cuts off what stands behind the last frame of the last journal.
    fn cut(&mut self, open: OpenFile) -> Result<End, OpenError> {
        let name = name::journal(open.header.generation);
        let mut reader = FrameReader::new(open.file.as_ref(), open.header.salt)
            .map_err(|error| self.errors.io("read", &name, error))?;
        reader.seek(open.end);
        self.recovery.torn_bytes =
            reader.torn_bytes().map_err(|error| self.errors.io("read", &name, error))?;
        if self.recovery.torn_bytes > 0 {
            // The new epoch makes the torn bytes invalid in any case; this keeps them from being reported again.
            open.file.set_len(open.end).map_err(|error| self.errors.io("cut off", &name, error))?;
        }
        Ok(End::Resume(open))
    }

    fn open(&self, name: &str) -> Result<Box<dyn DiskFile>, OpenError> {
        self.disk.open(name).map_err(|error| self.errors.io("open", name, error))
    }

    fn start(
        &mut self,
        file: &dyn DiskFile,
        name: &str,
        kind: Kind,
        generation: u64,
    ) -> Result<Start, OpenError> {
        let io = |error| self.errors.io("read", name, error);
        let mut bytes = vec![0; HEADER_BLOCK];
        let read = file.read_at(&mut bytes, 0).map_err(io)?;
        bytes.truncate(read);
        match FileHeader::parse(&bytes) {
            ParsedHeader::Valid(header) if header.kind == kind && header.generation == generation => {
                Ok(Start::Header(header))
            }
            ParsedHeader::Valid(_) => {
                self.damaged(name, 0, 0, "its header is another file's").map(|()| Start::Dropped)
            }
            ParsedHeader::OtherVersion(version) => Err(self.errors.other_version(name, version)),
            ParsedHeader::Invalid => {
                let frames = FrameReader::new(file, 0).map_err(io)?.torn_bytes().map_err(io)?;
                match frames {
                    0 => Ok(Start::Unfinished),
                    frames => {
                        let detail = "its header is not what was written";
                        self.damaged(name, 0, FRAMES_AT + frames, detail).map(|()| Start::Dropped)
                    }
                }
            }
        }
    }

    fn hand_over(&mut self, name: &str, offset: u64, payload: &[u8]) -> Result<u64, OpenError> {
        let mut count = 0;
        for record in records(payload) {
            match record {
                Some(record) => (self.replay)(record),
                None => {
                    self.damaged(name, offset, payload.len() as u64, "its records do not add up")?;
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
        self.damaged(name, offset, 0, "it does not have as many records as were written")
    }

    /// Refuses, or where the options say so counts it and goes on.
    fn damaged(&mut self, name: &str, offset: u64, bytes: u64, detail: &str) -> Result<(), OpenError> {
        if !self.options.drop_damaged {
            return Err(self.errors.damaged(name, offset, detail));
        }
        tracing::warn!(name, offset, bytes, detail, "damage in the journal was dropped");
        self.gap = true;
        self.recovery.dropped_places += 1;
        self.recovery.dropped_bytes += bytes;
        Ok(())
    }
}
