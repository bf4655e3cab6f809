//! Where one peer lies: what listing and renewing it reads, side by side.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aurora_protocol::{PeerParts, Timestamp, Ttl};

use super::introduced::Listed;
use super::text::{IdPlace, Text};

/// One peer, or none: all that listing and renewing it reads, in lines of the cache that follow each other. A text that is too long
/// goes on in the slot's [`Tail`](super::tail::Tail).
///
/// Four lines aligned as four: what costs a listing its time is how many lines of the memory it waits for.
#[repr(C, align(256))]
pub(crate) struct Slot {
    /// When the lease ends, in milliseconds. Heartbeats raise it while others read.
    expires_at: AtomicU64,
    last_seen: AtomicU64,
    pub(crate) ttl: Ttl,
    /// How long the whole of each part is.
    front_len: u16,
    back_len: u16,
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
    /// Four lines of the cache: a peer like the seed's, of some 280 bytes of JSON, is whole in them.
    const BYTES: usize = 256;
    const HEAD: usize = 28;
    /// So many bytes of a text lie in the slot.
    pub(crate) const INLINE: usize = Self::BYTES - Self::HEAD;

    pub(super) fn vacant() -> Self {
        Self {
            expires_at: AtomicU64::new(0),
            last_seen: AtomicU64::new(0),
            ttl: Ttl::from_secs(0),
            front_len: 0,
            back_len: 0,
            listed: Listed::default(),
            id_place: IdPlace::default(),
            state: State::Vacant,
            text: [0; Self::INLINE],
        }
    }

    /// Puts a text in; answers what of it has no room.
    pub(super) fn write(&mut self, text: &Text) -> Box<[u8]> {
        let (mut at, mut rest) = (0, Vec::new());
        for piece in text.pieces() {
            let (here, beyond) = piece.split_at(piece.len().min(Self::INLINE - at));
            self.text[at..at + here.len()].copy_from_slice(here);
            at += here.len();
            rest.extend_from_slice(beyond);
        }
        // The longest parts are a small share of what this can say: `PeerJson` bounds them.
        [self.front_len, self.back_len] =
            text.part_lens().map(|length| u16::try_from(length).unwrap_or(u16::MAX));
        self.id_place = text.id_place();
        self.listed = Listed::default();
        rest.into()
    }

    pub(crate) fn peer_id(&self) -> &[u8] {
        self.id_place.id(&self.text)
    }

    /// The parts of the JSON, where all of them is here.
    #[inline]
    pub(crate) fn parts(&self) -> Option<PeerParts<'_>> {
        let front_at = self.id_place.before();
        let back_at = front_at + usize::from(self.front_len);
        let front = self.text.get(front_at..back_at)?;
        let back = self.text.get(back_at..back_at + usize::from(self.back_len))?;
        Some(PeerParts { front: [front, &[]], back: [back, &[]] })
    }

    /// The parts of the JSON, of which `rest` is what lies elsewhere.
    pub(crate) fn parts_with<'a>(&'a self, rest: &'a [u8]) -> PeerParts<'a> {
        let here = &self.text[self.id_place.before()..];
        let front_len = usize::from(self.front_len);
        let (front, back) = here.split_at(front_len.min(here.len()));
        let (more_front, more_back) = rest.split_at((front_len - front.len()).min(rest.len()));
        PeerParts { front: [front, more_front], back: [back, more_back] }
    }

    /// How long the whole JSON is.
    pub(crate) fn json_len(&self) -> usize {
        PeerParts::json_len_of(usize::from(self.front_len) + usize::from(self.back_len))
    }

    /// One byte of each line: reading them fetches them into the cache. Always as many, so that the processor guesses no length
    /// wrong and runs ahead.
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

    /// Renews the lease. Needs no exclusive access; an older `now` changes nothing.
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
    fn a_slot_is_four_lines_of_the_cache_without_a_gap() {
        assert_eq!((size_of::<Slot>(), offset_of!(Slot, text)), (Slot::BYTES, Slot::HEAD));
    }

    #[test]
    fn a_touch_reads_every_line() {
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
