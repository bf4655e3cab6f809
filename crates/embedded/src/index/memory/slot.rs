//! The slot of a peer: all data that a listing in the legacy view reads, side by side.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aurora_discovery_protocol::{EncodedPeer, Timestamp, Ttl, View};

use super::super::undiscovered::LastListed;

/// The slot of a peer, or a vacant slot. It has all data that a listing in the legacy view reads,
/// in adjacent cache lines. A text that is too long is stored in the slot's
/// [`Tail`](super::tail::Tail).
///
/// Aligned to four cache lines, because the time of a listing depends on the number of cache lines
/// that it waits for.
#[repr(C, align(256))]
pub(crate) struct Slot {
    /// When the lease ends, in milliseconds. Heartbeats raise it concurrently with reads.
    expires_at: AtomicU64,
    last_seen: AtomicU64,
    pub(crate) ttl: Ttl,
    /// The lengths of the front and the back of the peer's [`EncodedPeer`], whether these are
    /// stored in `text` or in the tail.
    front_len: u16,
    back_len: u16,
    /// When the peer was last listed.
    pub(crate) last_listed: LastListed,
    pub(crate) state: State,
    /// The front and the back, if both fit.
    text: [u8; Slot::INLINE],
}

/// Whether a slot is vacant, or its peer is live or dormant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Vacant,
    Live,
    Dormant,
}

impl Slot {
    /// Four cache lines. A peer as legacy clients publish it, with about 280 bytes of JSON, fits
    /// completely.
    const BYTES: usize = 256;
    const HEAD: usize = 27;
    /// Maximum length of a text that is stored in the slot.
    pub(crate) const INLINE: usize = Self::BYTES - Self::HEAD;

    pub(crate) fn vacant() -> Self {
        Self {
            expires_at: AtomicU64::new(0),
            last_seen: AtomicU64::new(0),
            ttl: Ttl::from_secs(0),
            front_len: 0,
            back_len: 0,
            last_listed: LastListed::default(),
            state: State::Vacant,
            text: [0; Self::INLINE],
        }
    }

    /// Stores a text. Returns the text if it does not fit, and nothing otherwise.
    pub(crate) fn write(&mut self, peer: EncodedPeer<'_>) -> Box<[u8]> {
        let (front, back) = (peer.front(), peer.back());
        // `PeerJson` limits both to far less than 64 KiB, so their lengths fit into 16 bits.
        [self.front_len, self.back_len] =
            [front, back].map(|part| u16::try_from(part.len()).unwrap_or(u16::MAX));
        self.last_listed = LastListed::default();
        let Some(text) = self.text.get_mut(..front.len() + back.len()) else {
            return [front, back].concat().into();
        };
        let (front_text, back_text) = text.split_at_mut(front.len());
        front_text.copy_from_slice(front);
        back_text.copy_from_slice(back);
        Box::default()
    }

    /// An upper bound of the bytes that the peer takes in a list, not counting the comma before it.
    #[inline]
    pub(crate) fn max_listed_len(&self, view: View) -> usize {
        EncodedPeer::max_listed_len_of(self.front_len.into(), self.back_len.into(), view)
    }

    /// The peer's JSON, if it is stored in the slot.
    #[inline]
    pub(crate) fn encoded(&self) -> Option<EncodedPeer<'_>> {
        self.text.get(..self.text_len()).map(|text| self.encoded_in(text))
    }

    /// The length of the front and the back, wherever they are stored.
    #[inline]
    fn text_len(&self) -> usize {
        usize::from(self.front_len) + usize::from(self.back_len)
    }

    /// How many bytes of the text are in the tail: all or none.
    pub(crate) fn len_in_tail(&self) -> usize {
        Self::allocated(self.text_len())
    }

    /// How many bytes of a text of this length are stored in the tail.
    pub(crate) const fn allocated(text_len: usize) -> usize {
        if text_len > Self::INLINE { text_len } else { 0 }
    }

    /// The peer's JSON, whose front and back are in `text`.
    #[inline]
    pub(crate) fn encoded_in<'a>(&self, text: &'a [u8]) -> EncodedPeer<'a> {
        let (front, back) = text.split_at_checked(self.front_len.into()).unwrap_or_default();
        EncodedPeer::new(front, back)
    }

    /// Reads one byte of each cache line, which fetches the slot into the cache. The number of
    /// reads is constant, so that no mispredicted branch keeps the processor from requesting the
    /// next slots early.
    pub(crate) fn touch(&self) -> u8 {
        const LINE: usize = 64;
        const SECOND: usize = LINE - Slot::HEAD;
        let [b, c, d] = [0, 1, 2].map(|line| self.text[SECOND + line * LINE]);
        self.front_len.to_ne_bytes()[0] ^ b ^ c ^ d
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.expires_at.load(Relaxed))
    }

    pub(crate) fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(self.last_seen.load(Relaxed))
    }

    pub(crate) fn is_live_at(&self, now: Timestamp) -> bool {
        self.state == State::Live && now < self.expires_at()
    }

    /// Renews the lease. Does not need exclusive access. An older `now` changes nothing.
    pub(crate) fn renew(&self, now: Timestamp) {
        self.expires_at.fetch_max((now + self.ttl).as_millis(), Relaxed);
        self.last_seen.fetch_max(now.as_millis(), Relaxed);
    }

    pub(crate) fn set_lease(&mut self, last_seen: Timestamp, expires_at: Timestamp) {
        *self.last_seen.get_mut() = last_seen.as_millis();
        *self.expires_at.get_mut() = expires_at.as_millis();
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn a_slot_fills_four_cache_lines_without_padding() {
        assert_eq!((size_of::<Slot>(), offset_of!(Slot, text)), (Slot::BYTES, Slot::HEAD));
    }

    #[test]
    fn a_touch_reads_every_cache_line() {
        let slot = Slot::vacant();
        for line in 0..Slot::BYTES / 64 {
            let mut marked = Slot::vacant();
            match line.checked_sub(1) {
                None => marked.front_len = u16::MAX,
                Some(line) => marked.text[64 - Slot::HEAD + line * 64] = u8::MAX,
            }
            assert_ne!(marked.touch(), slot.touch(), "line {line}");
        }
    }
}
