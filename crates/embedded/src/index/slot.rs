//! Where one peer lies: what listing and renewing it reads, side by side.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aurora_protocol::{Timestamp, Ttl};

use super::introduced::Listed;
use super::text::{IdPlace, Text};

/// One peer, or none: all that listing and renewing it reads, in lines of the cache that follow each other. A text that is too long
/// goes on in the slot's [`Tail`](super::tail::Tail).
#[repr(C, align(64))]
pub(crate) struct Slot {
    /// When the lease ends, in milliseconds. Heartbeats raise it while others read.
    expires_at: AtomicU64,
    last_seen: AtomicU64,
    pub(crate) ttl: Ttl,
    /// How long the whole JSON is.
    json_len: u16,
    last_seen_at: u16,
    /// When a list last named the peer.
    pub(super) listed: Listed,
    id_place: IdPlace,
    pub(crate) state: State,
    /// As much of the text as has room.
    text: [u8; Slot::INLINE],
}

/// Whether a slot's peer is listed, may come back, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Vacant,
    Live,
    Dormant,
}

impl Slot {
    /// Five lines of the cache: a peer like the seed's, of some 280 bytes of JSON, is whole in them.
    const BYTES: usize = 320;
    const HEAD: usize = 28;
    /// So many bytes of a text lie in the slot.
    pub(crate) const INLINE: usize = Self::BYTES - Self::HEAD;

    pub(super) fn vacant() -> Self {
        Self {
            expires_at: AtomicU64::new(0),
            last_seen: AtomicU64::new(0),
            ttl: Ttl::from_secs(0),
            json_len: 0,
            last_seen_at: 0,
            listed: Listed::default(),
            id_place: IdPlace::default(),
            state: State::Vacant,
            text: [0; Self::INLINE],
        }
    }

    /// Puts a text in; answers what of it has no room.
    pub(super) fn write(&mut self, text: &Text) -> Box<[u8]> {
        let (inline, rest) = text.bytes().split_at(text.len().min(Self::INLINE));
        self.text[..inline.len()].copy_from_slice(inline);
        // The longest JSON is a small part of what this can say: `PeerJson` bounds it.
        self.json_len = u16::try_from(text.json().len()).unwrap_or(u16::MAX);
        self.last_seen_at = text.last_seen_at();
        self.id_place = text.id_place();
        self.listed = Listed::default();
        rest.into()
    }

    pub(crate) fn peer_id(&self) -> &[u8] {
        self.id_place.id(&self.text)
    }

    /// The JSON, as much of it as is here.
    pub(crate) fn json(&self) -> &[u8] {
        &self.text[self.id_place.before()..self.text_len().min(Self::INLINE)]
    }

    /// How long the whole JSON is.
    pub(crate) fn json_len(&self) -> usize {
        self.json_len.into()
    }

    /// How much of the text lies elsewhere.
    pub(crate) fn rest_len(&self) -> usize {
        self.text_len().saturating_sub(Self::INLINE)
    }

    pub(crate) fn last_seen_at(&self) -> usize {
        self.last_seen_at.into()
    }

    /// One byte of each line: reading them fetches them into the cache. Always as many, so that the processor guesses no length
    /// wrong and runs ahead.
    pub(crate) fn touch(&self) -> u8 {
        const LINE: usize = 64;
        const SECOND: usize = LINE - Slot::HEAD;
        let [b, c, d, e] = [0, 1, 2, 3].map(|line| self.text[SECOND + line * LINE]);
        self.last_seen_at.to_ne_bytes()[0] ^ b ^ c ^ d ^ e
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

    /// Renews the lease. Needs no exclusive access; an older `now` changes nothing.
    pub(crate) fn renew(&self, now: Timestamp) {
        self.expires_at.fetch_max((now + self.ttl).as_millis(), Relaxed);
        self.last_seen.fetch_max(now.as_millis(), Relaxed);
    }

    pub(crate) fn set_lease(&mut self, last_seen: Timestamp, expires_at: Timestamp) {
        *self.last_seen.get_mut() = last_seen.as_millis();
        *self.expires_at.get_mut() = expires_at.as_millis();
    }

    fn text_len(&self) -> usize {
        self.id_place.before() + self.json_len()
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn a_slot_is_five_lines_of_the_cache_without_a_gap() {
        assert_eq!((size_of::<Slot>(), offset_of!(Slot, text)), (Slot::BYTES, Slot::HEAD));
    }

    #[test]
    fn a_touch_reads_every_line() {
        let slot = Slot::vacant();
        for line in 0..Slot::BYTES / 64 {
            let mut marked = Slot::vacant();
            match line.checked_sub(1) {
                None => marked.last_seen_at = u16::MAX,
                Some(line) => marked.text[64 - Slot::HEAD + line * 64] = u8::MAX,
            }
            assert_ne!(marked.touch(), slot.touch(), "line {line}");
        }
    }
}
