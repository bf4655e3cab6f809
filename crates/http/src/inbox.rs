//! How much is held of request bodies whose rest is still to come.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Most bytes of unfinished bodies that are held at once: eight thousand of the longest. A body that comes in one piece is never
/// among them, so slow senders on many connections and streams can't keep heartbeats out.
const MAX_BYTES: usize = 128 << 20;

/// Counts the bytes of unfinished bodies.
#[derive(Debug, Default)]
pub(crate) struct Inbox(AtomicUsize);

impl Inbox {
    /// The share of one body, given back when it is dropped.
    pub(crate) fn share(&self) -> Share<'_> {
        Share { inbox: self, bytes: 0 }
    }
}

/// What one unfinished body holds.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    inbox: &'a Inbox,
    bytes: usize,
}

impl Share<'_> {
    /// Grows to `bytes` in all; whether there is room for it.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        self.bytes += more;
        self.inbox.0.fetch_add(more, Relaxed) + more <= MAX_BYTES
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.inbox.0.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_bodies_share_one_bound_and_give_back_what_they_held() {
        let inbox = Inbox::default();
        let mut long = inbox.share();
        assert!(long.grow_to(MAX_BYTES - 1));
        let mut short = inbox.share();
        assert!(short.grow_to(1) && !short.grow_to(2));
        drop(long);
        assert!(short.grow_to(3));
        drop(short);
        assert!(inbox.share().grow_to(MAX_BYTES));
    }
}
