//! The file format of journals and checkpoints. `docs/decisions/0002-own-journal.md` has a diagram.
//!
//! All integers are little-endian. A file consists of a header, written twice, and frames. A frame
//! holds one batch of records.

use crc32fast::Hasher;

/// The version of the whole format. Releases before signed registrations wrote version 1. The
/// number was raised so that they refuse newer files. Otherwise they would skip the records of
/// signed peers in them.
pub(crate) const VERSION: u32 = 2;

/// The earliest version that is read. The first byte of each record determines how the record is
/// encoded, so that files of both versions are read in the same way.
const FIRST_VERSION: u32 = 1;

/// The offset of the first frame. The two copies of the file header before it are in different
/// sectors.
pub(crate) const FRAMES_OFFSET: u64 = HEADER_BLOCK as u64;

/// Bytes before the first frame.
pub(crate) const HEADER_BLOCK: usize = 1024;

/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER: usize = 24;

/// Maximum bytes of a frame's payload. It bounds the memory that a damaged length field can
/// request.
pub(crate) const MAX_PAYLOAD: usize = 32 << 20;

/// Maximum bytes of one record. This is far above any registration, so a larger record is a bug.
pub(crate) const MAX_RECORD: usize = 1 << 20;

/// The sequence of the frame that ends a checkpoint.
pub(crate) const CHECKPOINT_END: u64 = u64::MAX;

/// The first bytes of every frame. None of these bytes is zero or ASCII, and 0xF5 and 0xC0 never
/// occur in UTF-8, so payloads rarely contain this sequence.
pub(crate) const FRAME_MAGIC: [u8; 4] = [0xF5, 0xA7, 0xC0, 0x9E];

const FILE_MAGIC: [u8; 8] = *b"AURORA\xF5\xA7";
const FILE_HEADER: usize = 44;
const COPY_OFFSETS: [usize; 2] = [0, 512];
const RECORD_HEADER: usize = 4;

/// The kind of a file.
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

/// The header at the start of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// The version of the format. Records are appended only to files of the current one.
    pub(crate) version: u32,
    pub(crate) kind: Kind,
    /// The files are ordered by this number. A checkpoint holds everything before the journal file
    /// of its own generation.
    pub(crate) generation: u64,
    /// A random number that is part of every frame's checksums, so that a frame of another file is
    /// not accepted as one of this file.
    pub(crate) salt: u64,
    /// The sequence of the next frame at the time the file was created. It shows whether the end of
    /// the previous file was lost.
    pub(crate) sequence: u64,
}

/// The result of parsing the first [`FRAMES_OFFSET`] bytes of a file.
pub(crate) enum ParsedHeader {
    Valid(FileHeader),
    OtherVersion(u32),
    Invalid,
}

impl FileHeader {
    /// All bytes before the first frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(FILE_HEADER);
        copy.extend_from_slice(&FILE_MAGIC);
        copy.extend_from_slice(&self.version.to_le_bytes());
        copy.extend_from_slice(&self.kind.code().to_le_bytes());
        copy.extend_from_slice(&self.generation.to_le_bytes());
        copy.extend_from_slice(&self.salt.to_le_bytes());
        copy.extend_from_slice(&self.sequence.to_le_bytes());
        let checksum = checksum(0, &[&copy]);
        copy.extend_from_slice(&checksum.to_le_bytes());
        let mut encoded = vec![0; HEADER_BLOCK];
        for at in COPY_OFFSETS {
            encoded[at..at + copy.len()].copy_from_slice(&copy);
        }
        encoded
    }

    /// Reads a header from the start of a file. If the first copy is damaged, the second one is
    /// used.
    pub(crate) fn parse(start: &[u8]) -> ParsedHeader {
        let copies = COPY_OFFSETS.map(|at| Self::parse_copy(start.get(at..at + FILE_HEADER)));
        let mut best = ParsedHeader::Invalid;
        // In reverse, so that the first valid copy wins.
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
        let version = u32_at(fields, 8);
        if !(FIRST_VERSION..=VERSION).contains(&version) {
            return ParsedHeader::OtherVersion(version);
        }
        let kind =
            [Kind::Journal, Kind::Checkpoint].into_iter().find(|kind| kind.code() == u32_at(fields, 12));
        let Some(kind) = kind else { return ParsedHeader::Invalid };
        let [generation, salt, sequence] = [16, 24, 32].map(|at| u64_at(fields, at));
        ParsedHeader::Valid(Self { version, kind, generation, salt, sequence })
    }
}

/// A frame header, parsed from an offset where a frame may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes of the payload, at most [`MAX_PAYLOAD`].
    pub(crate) payload_len: usize,
    pub(crate) sequence: u64,
    payload_checksum: u32,
}

impl FrameHeader {
    /// Parses a frame header. Returns `None` unless the bytes start with an undamaged header of the
    /// file with this salt.
    pub(crate) fn parse(bytes: &[u8], salt: u64) -> Option<Self> {
        let header = bytes.get(..FRAME_HEADER)?;
        let (fields, stored) = header.split_at(FRAME_HEADER - 4);
        if fields[..4] != FRAME_MAGIC || u32_at(stored, 0) != checksum(salt, &[fields]) {
            return None;
        }
        let payload_len = usize::try_from(u32_at(fields, 4)).ok().filter(|len| *len <= MAX_PAYLOAD)?;
        Some(Self { payload_len, sequence: u64_at(fields, 8), payload_checksum: u32_at(fields, 16) })
    }

    /// Whether the payload's length and checksum match this header.
    pub(crate) fn matches(&self, payload: &[u8], salt: u64) -> bool {
        payload.len() == self.payload_len && self.payload_checksum == checksum(salt, &[payload])
    }
}

/// A frame that is being filled. It reserves space for the header in front of the records, so that
/// sealing copies nothing.
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

    /// Whether it holds no records.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == FRAME_HEADER
    }

    /// Bytes of the payload so far.
    pub(crate) fn payload_len(&self) -> usize {
        self.bytes.len() - FRAME_HEADER
    }

    /// Adds a record. Returns `false`, and adds nothing, if it does not fit.
    pub(crate) fn push(&mut self, record: &[u8]) -> bool {
        let Ok(len) = u32::try_from(record.len()) else { return false };
        // A frame that exceeds these limits would be refused when it is read back.
        if record.len() > MAX_RECORD || self.payload_len() + RECORD_HEADER + record.len() > MAX_PAYLOAD {
            return false;
        }
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(record);
        true
    }

    /// Writes the header and returns the complete frame.
    pub(crate) fn seal(&mut self, sequence: u64, salt: u64) -> &[u8] {
        let (header, payload) = self.bytes.split_at_mut(FRAME_HEADER);
        // `push` keeps the payload below MAX_PAYLOAD, which fits into 32 bits.
        let payload_len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        header[..4].copy_from_slice(&FRAME_MAGIC);
        header[4..8].copy_from_slice(&payload_len.to_le_bytes());
        header[8..16].copy_from_slice(&sequence.to_le_bytes());
        header[16..20].copy_from_slice(&checksum(salt, &[payload]).to_le_bytes());
        let header_checksum = checksum(salt, &[&header[..20]]);
        header[20..].copy_from_slice(&header_checksum.to_le_bytes());
        &self.bytes
    }

    /// Empties the buffer. Keeps its memory, unless a burst made it large.
    pub(crate) fn clear(&mut self) {
        const MAX_RETAINED: usize = 1 << 20;
        self.bytes.truncate(FRAME_HEADER);
        self.bytes.shrink_to(MAX_RETAINED);
    }
}

/// The records of a payload whose checksum was verified. Yields `None` in place of the first record
/// with an inconsistent length, and ends there.
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

/// The first sequence of the next epoch. The low half of a sequence counts batches. The high half
/// is the epoch, which increases with every start and every healing. So the remains of a failed
/// batch always have a lower sequence than the frame that is expected in their place.
pub(crate) fn next_epoch(sequence: u64) -> u64 {
    (sequence | u64::from(u32::MAX)).saturating_add(1)
}

/// Whether a frame with `sequence` is valid where the frame `expected` would be next: it is that
/// frame, or the first one of a later epoch.
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

/// Reads a 32-bit integer. Callers have checked the length, so the default of zero is never used.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|field| field.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|field| field.try_into().ok()).map_or(0, u64::from_le_bytes)
}
