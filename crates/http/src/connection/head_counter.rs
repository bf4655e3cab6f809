//! Counts the requests that a client begins on HTTP/2, before the HTTP library has decoded them.
//!
//! The library refuses some requests by itself, such as those with too many headers, and does not
//! tell the service. Each of them costs as much processor time as a request that the library passes
//! to the service.

/// What an HTTP/2 client sends first (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The length of the fields before the payload of each frame: length, type, flags and stream.
const FRAME_HEADER_BYTES: usize = 9;
/// The type of the frame that begins a request.
const HEADERS: u8 = 1;

/// How far the frames of one connection have been read, and the highest stream id so far.
#[derive(Debug, Default)]
pub(super) struct HeadCounter {
    /// Whether the first bytes from the client were not the preface, so that it does not speak
    /// HTTP/2.
    is_http_1: bool,
    /// How many bytes of the preface have arrived.
    preface_bytes: usize,
    /// The header of the next frame, as far as it has arrived.
    frame: [u8; FRAME_HEADER_BYTES],
    /// How many bytes of that header have arrived.
    frame_bytes: usize,
    /// How many bytes of the payload of the current frame are missing.
    payload: usize,
    /// The highest stream id so far. `HEADERS` on a known stream are trailers.
    last_stream: u32,
}

impl HeadCounter {
    /// The number of requests that begin in `bytes`, which follow those of the previous call.
    pub(super) fn count(&mut self, bytes: &[u8]) -> usize {
        let expected = &PREFACE[self.preface_bytes..];
        let (preface, frames) = bytes.split_at(expected.len().min(bytes.len()));
        self.is_http_1 |= !expected.starts_with(preface);
        if self.is_http_1 {
            return 0;
        }
        self.preface_bytes += preface.len();
        self.frames(frames)
    }

    fn frames(&mut self, mut bytes: &[u8]) -> usize {
        let mut heads = 0;
        while !bytes.is_empty() {
            // Skips the rest of the current payload, and then collects the header of the next
            // frame.
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = &bytes[skipped..];
            let length = (FRAME_HEADER_BYTES - self.frame_bytes).min(bytes.len());
            self.frame[self.frame_bytes..self.frame_bytes + length].copy_from_slice(&bytes[..length]);
            self.frame_bytes += length;
            bytes = &bytes[length..];
            if self.frame_bytes == FRAME_HEADER_BYTES {
                self.frame_bytes = 0;
                heads += usize::from(self.begins_stream());
            }
        }
        heads
    }

    /// Whether the frame whose header is complete begins a stream.
    fn begins_stream(&mut self) -> bool {
        let [high, middle, low, kind, _, stream @ ..] = self.frame;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let stream = u32::from_be_bytes(stream);
        let is_new = kind == HEADERS && stream > self.last_stream;
        if is_new {
            self.last_stream = stream;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u8, payload: usize) -> Vec<u8> {
        let length = u16::try_from(payload).unwrap().to_be_bytes();
        [&[0, length[0], length[1], kind, 0, 0, 0, 0, stream][..], &vec![HEADERS; payload]].concat()
    }

    #[test]
    fn the_heads_of_new_streams_are_counted_however_they_arrive() {
        let frames = [
            frame(4, 0, 18),
            frame(HEADERS, 1, 300),
            frame(0, 1, 1_000),
            frame(HEADERS, 1, 5), // trailers
            frame(HEADERS, 3, 0),
            frame(9, 3, 40),
            frame(HEADERS, 5, 1),
        ];
        let bytes = [PREFACE, &frames.concat()].concat();
        for size in [1, 2, 7, 24, 25, 100, bytes.len()] {
            let mut counter = HeadCounter::default();
            assert_eq!(bytes.chunks(size).map(|piece| counter.count(piece)).sum::<usize>(), 3, "{size}");
        }
    }

    #[test]
    fn requests_of_http_1_are_not_counted() {
        let mut counter = HeadCounter::default();
        assert_eq!(counter.count(b"PRI * HTTP/1.1\r\n\r\n"), 0);
        assert_eq!(counter.count(&[PREFACE, &frame(HEADERS, 1, 1)].concat()), 0);
    }
}
