//! The bytes of a journal or checkpoint file; `docs/decisions/0002-own-journal.md` draws them.
//!
//! All integers are little-endian. A file is a header, written twice, and frames. A frame holds one batch of records.

use crc32fast::Hasher;

/// The version of the whole format; a file of another one is refused.
pub(crate) const VERSION: u32 = 1;

/// Where frames begin. The copies of the file header lie in different sectors before it.
pub(crate) const FRAMES_AT: u64 = HEADER_BLOCK as u64;

/// Bytes before the first frame.
pub(crate) const HEADER_BLOCK: usize = 1024;

/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER: usize = 24;

/// What a frame may hold, in bytes; so a damaged length can't ask for more memory than this.
pub(crate) const MAX_PAYLOAD: usize = 32 << 20;

/// What one record may have, in bytes: far over any registration, so that a larger one is a bug.
pub(crate) const MAX_RECORD: usize = 1 << 20;

/// The sequence of the frame that ends a checkpoint.
pub(crate) const CHECKPOINT_END: u64 = u64::MAX;

/// The first bytes of every frame. No byte of it is zero, ASCII or valid UTF-8, so payloads rarely look like it.
pub(crate) const FRAME_MAGIC: [u8; 4] = [0xF5, 0xA7, 0xC0, 0x9E];

const FILE_MAGIC: [u8; 8] = *b"AURORA\xF5\xA7";
const FILE_HEADER: usize = 44;
const COPIES_AT: [usize; 2] = [0, 512];
const RECORD_HEADER: usize = 4;

/// What kind of file this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Journal,
    Checkpoint,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Self::Journal => 1,
            Self::Checkpoint => 2,
        }
    }
}

/// What stands at the start of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) kind: Kind,
    /// Which journal follows which: a checkpoint holds everything before the journal of its own generation.
    pub(crate) generation: u64,
    /// Random; part of every checksum, so that no frame of another file is ever taken for one of this.
    pub(crate) salt: u64,
    /// The sequence that the next frame had when the file was made, so that a lost end of the file before shows.
    pub(crate) sequence: u64,
}

/// What the first [`FRAMES_AT`] bytes of a file turn out to be.
pub(crate) enum ParsedHeader {
    Valid(FileHeader),
    OtherVersion(u32),
    Invalid,
}

impl FileHeader {
    /// Everything before the first frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(FILE_HEADER);
        copy.extend_from_slice(&FILE_MAGIC);
        copy.extend_from_slice(&VERSION.to_le_bytes());
        copy.extend_from_slice(&self.kind.code().to_le_bytes());
        copy.extend_from_slice(&self.generation.to_le_bytes());
        copy.extend_from_slice(&self.salt.to_le_bytes());
        copy.extend_from_slice(&self.sequence.to_le_bytes());
        let checksum = checksum(0, &[&copy]);
        copy.extend_from_slice(&checksum.to_le_bytes());
        let mut encoded = vec![0; HEADER_BLOCK];
        for at in COPIES_AT {
            encoded[at..at + copy.len()].copy_from_slice(&copy);
        }
        encoded
    }

    /// Reads a header from the start of a file; the second copy counts where the first is damaged.
    pub(crate) fn parse(start: &[u8]) -> ParsedHeader {
        let copies = COPIES_AT.map(|at| Self::parse_copy(start.get(at..at + FILE_HEADER)));
        let mut best = ParsedHeader::Invalid;
        for copy in copies.into_iter().rev() {
            if !matches!(copy, ParsedHeader::Invalid) {
                best = copy;
            }
        }
        best
    }

    fn parse_copy(copy: Option<&[u8]>) -> ParsedHeader {
        let Some(copy) = copy else { return ParsedHeader::Invalid };
        let (fields, stored) = copy.split_at(FILE_HEADER - 4);
        if fields[..8] != FILE_MAGIC || u32_at(stored, 0) != checksum(0, &[fields]) {
            return ParsedHeader::Invalid;
        }
        if u32_at(fields, 8) != VERSION {
            return ParsedHeader::OtherVersion(u32_at(fields, 8));
        }
        let kind =
            [Kind::Journal, Kind::Checkpoint].into_iter().find(|kind| kind.code() == u32_at(fields, 12));
        let Some(kind) = kind else { return ParsedHeader::Invalid };
        let [generation, salt, sequence] = [16, 24, 32].map(|at| u64_at(fields, at));
        ParsedHeader::Valid(Self { kind, generation, salt, sequence })
    }
}

/// A frame's header, parsed from where one might be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes of the payload; at most [`MAX_PAYLOAD`].
    pub(crate) payload_len: usize,
    pub(crate) sequence: u64,
    payload_checksum: u32,
}

impl FrameHeader {
    /// `None` unless these bytes start with an undamaged header of the file with this salt.
    pub(crate) fn parse(bytes: &[u8], salt: u64) -> Option<Self> {
        let header = bytes.get(..FRAME_HEADER)?;
        let (fields, stored) = header.split_at(FRAME_HEADER - 4);
        if fields[..4] != FRAME_MAGIC || u32_at(stored, 0) != checksum(salt, &[fields]) {
            return None;
        }
        let payload_len = usize::try_from(u32_at(fields, 4)).ok().filter(|len| *len <= MAX_PAYLOAD)?;
        Some(Self { payload_len, sequence: u64_at(fields, 8), payload_checksum: u32_at(fields, 16) })
    }

    /// Whether this payload is the one that was written with the header.
    pub(crate) fn fits(&self, payload: &[u8], salt: u64) -> bool {
        payload.len() == self.payload_len && self.payload_checksum == checksum(salt, &[payload])
    }
}

/// A frame that is being filled: the room for its header and the records so far, so that sealing copies nothing.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
}

impl Default for FrameBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; FRAME_HEADER] }
    }

    /// Whether it holds no record.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == FRAME_HEADER
    }

    /// Bytes of the payload so far.
    pub(crate) fn payload_len(&self) -> usize {
        self.bytes.len() - FRAME_HEADER
    }

    /// Adds a record; `false`, and nothing added, where it does not fit.
    pub(crate) fn push(&mut self, record: &[u8]) -> bool {
        let Ok(len) = u32::try_from(record.len()) else { return false };
        if record.len() > MAX_RECORD || self.payload_len() + RECORD_HEADER + record.len() > MAX_PAYLOAD {
            return false;
        }
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(record);
        true
    }

    /// Writes the header and answers the whole frame.
    pub(crate) fn seal(&mut self, sequence: u64, salt: u64) -> &[u8] {
        let (header, payload) = self.bytes.split_at_mut(FRAME_HEADER);
        // `push` keeps the payload under MAX_PAYLOAD, which fits.
        let payload_len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        header[..4].copy_from_slice(&FRAME_MAGIC);
        header[4..8].copy_from_slice(&payload_len.to_le_bytes());
        header[8..16].copy_from_slice(&sequence.to_le_bytes());
        header[16..20].copy_from_slice(&checksum(salt, &[payload]).to_le_bytes());
        let header_checksum = checksum(salt, &[&header[..20]]);
        header[20..].copy_from_slice(&header_checksum.to_le_bytes());
        &self.bytes
    }

    /// Empties it and keeps its memory, unless a burst made that large.
    pub(crate) fn clear(&mut self) {
        const KEPT: usize = 1 << 20;
        self.bytes.truncate(FRAME_HEADER);
        self.bytes.shrink_to(KEPT);
    }
}

/// The records of a payload whose checksum held; `None` in place of the first whose length does not add up.
pub(crate) fn records(payload: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = split_record(rest);
        rest = record.map_or(&[], |(_, later)| later);
        Some(record.map(|(record, _)| record))
    })
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_at_checked(RECORD_HEADER)?;
    rest.split_at_checked(usize::try_from(u32_at(len, 0)).ok()?)
}

/// Sequences count batches in the low half; the high half is the epoch, which grows with every opening and healing,
/// so that what a failed batch left on the disk is always older than what was expected in its place.
pub(crate) fn next_epoch(sequence: u64) -> u64 {
    (sequence | u64::from(u32::MAX)).saturating_add(1)
}

/// Whether a frame with `sequence` may stand where `expected` would be next.
pub(crate) fn follows(expected: u64, sequence: u64) -> bool {
    let begins_epoch = sequence & u64::from(u32::MAX) == 0;
    sequence == expected || (sequence > expected && begins_epoch)
}

fn checksum(salt: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// The callers have checked the length; zero is never reached.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|field| field.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|field| field.try_into().ok()).map_or(0, u64::from_le_bytes)
}
