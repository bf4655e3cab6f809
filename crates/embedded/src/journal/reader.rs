//! Reads the frames of one file from start to end, and distinguishes a torn tail from damage.

use std::io;

use super::format::{FRAME_HEADER, FRAME_MAGIC, FRAMES_OFFSET, FrameHeader};
use crate::disk::DiskFile;

/// Bytes per read. Large, because a restart reads the whole journal and does little else.
const WINDOW: usize = 1 << 20;

/// A position in a file, with a buffer of the bytes after it.
pub(crate) struct FrameReader<'a> {
    file: &'a dyn DiskFile,
    salt: u64,
    len: u64,
    buffer: Vec<u8>,
    /// The index of the position in `buffer`.
    start: usize,
    /// The position in the file.
    position: u64,
}

/// A frame whose checksums were verified.
pub(crate) struct Frame<'b> {
    pub(crate) sequence: u64,
    pub(crate) payload: &'b [u8],
}

impl<'a> FrameReader<'a> {
    /// Reads the frames of `file`, whose header is valid and has this `salt`.
    pub(crate) fn new(file: &'a dyn DiskFile, salt: u64) -> io::Result<Self> {
        Ok(Self { file, salt, len: file.len()?, buffer: Vec::new(), start: 0, position: FRAMES_OFFSET })
    }

    /// The file offset that [`FrameReader::next`] reads from.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Moves to an offset.
    pub(crate) fn seek(&mut self, position: u64) {
        self.buffer.clear();
        self.start = 0;
        self.position = position;
    }

    /// Reads the frame at the position and moves past it. Returns `None`, without moving, if there
    /// is no valid frame.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        self.fill(FRAME_HEADER)?;
        let Some(header) = FrameHeader::parse(&self.buffer[self.start..], self.salt) else { return Ok(None) };
        let whole = FRAME_HEADER + header.payload_len;
        // A damaged length must not make the reader allocate memory for bytes that do not exist.
        if self.len.saturating_sub(self.position) < whole as u64 {
            return Ok(None);
        }
        self.fill(whole)?;
        let Some(payload) = self.buffer.get(self.start + FRAME_HEADER..self.start + whole) else {
            return Ok(None);
        };
        if !header.matches(payload, self.salt) {
            return Ok(None);
        }
        self.start += whole;
        self.position += whole as u64;
        Ok(Some(Frame {
            sequence: header.sequence,
            payload: &self.buffer[self.start - header.payload_len..self.start],
        }))
    }

    /// The first offset after `after` with a valid frame header whose sequence is at least
    /// `min_sequence`.
    ///
    /// A frame is written only after the previous one was synced. So such a header proves that the
    /// bytes at `after` were durable once and were damaged since. Each byte is examined once,
    /// regardless of the contents, so the cost is linear in the length of the file.
    pub(crate) fn find(&self, after: u64, min_sequence: u64) -> io::Result<Option<u64>> {
        // The overlap finds a header that lies across the border of two windows.
        scan(self.file, after + 1, FRAME_HEADER - 1, |offset, window| {
            let mut from = 0;
            while let Some(found) = find_byte(FRAME_MAGIC[0], &window[from..]) {
                let at = from + found;
                let header = FrameHeader::parse(&window[at..], self.salt);
                if header.is_some_and(|header| header.sequence >= min_sequence) {
                    return Some(offset + at as u64);
                }
                from = at + 1;
            }
            None
        })
    }

    /// Fills the buffer with at least `needed` bytes after the position, unless the file ends
    /// before.
    fn fill(&mut self, needed: usize) -> io::Result<()> {
        if self.buffer.len() - self.start >= needed {
            return Ok(());
        }
        // Moves the unread rest to the front, and reads at least a whole window after it.
        self.buffer.drain(..self.start);
        self.start = 0;
        let have = self.buffer.len();
        let rest = self.len.saturating_sub(self.position + have as u64);
        let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(needed.max(WINDOW));
        self.buffer.resize(have + wanted, 0);
        let read = self.file.read_at(&mut self.buffer[have..], self.position + have as u64)?;
        self.buffer.truncate(have + read);
        Ok(())
    }
}

/// The number of bytes of a file from `offset` to the last byte that is not zero. Preallocated
/// space is zero, so after the last frame this is the length of the torn tail.
pub(crate) fn used_bytes(file: &dyn DiskFile, offset: u64) -> io::Result<u64> {
    let mut end = offset;
    scan(file, offset, 0, |offset, window| {
        if let Some(last) = window.iter().rposition(|byte| *byte != 0) {
            end = offset + last as u64 + 1;
        }
        None::<()>
    })?;
    Ok(end - offset)
}

/// Passes the file from `offset` on to `visit`, window by window. Each window begins with the last
/// `overlap` bytes of the previous one.
fn scan<T>(
    file: &dyn DiskFile,
    mut offset: u64,
    overlap: usize,
    mut visit: impl FnMut(u64, &[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut window = vec![0; WINDOW];
    loop {
        let read = file.read_at(&mut window, offset)?;
        if let Some(found) = visit(offset, &window[..read]) {
            return Ok(Some(found));
        }
        if read < WINDOW {
            return Ok(None);
        }
        offset += (read - overlap) as u64;
    }
}

fn find_byte(byte: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|candidate| *candidate == byte)
}
