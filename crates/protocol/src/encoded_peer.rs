//! The compact form of a peer's JSON, in which stores keep peers.

use std::borrow::Cow;

use crate::{PeerId, Timestamp, View};

/// A peer's JSON without the 59 bytes that the JSON of every peer has in common, which are about a
/// fifth of a typical peer's JSON.
///
/// The JSON of a peer is `{"peer_id":"` *front* `,"last_seen":"YYYY-MM-DDTHH:MM:SS","metadata":`
/// *back* `}`.
///
/// - The *front* is the peer's id, escaped as JSON requires, its closing quote, the address, the
///   port and the archetypes.
/// - The *back* is the metadata.
///
/// A store keeps the front, the back and the length of the front. To list the peer, it hands them
/// to a [`PeerList`](crate::PeerList) together with the time at which the peer was last seen.
/// [`PeerJson::encoded`](crate::PeerJson::encoded) creates this form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodedPeer<'a> {
    front: &'a [u8],
    back: &'a [u8],
}

impl<'a> EncodedPeer<'a> {
    pub(crate) const PREFIX: &'static str = "{\"peer_id\":\"";
    pub(crate) const LAST_SEEN: &'static str = ",\"last_seen\":\"1970-01-01T00:00:00\",\"metadata\":";
    pub(crate) const SUFFIX: &'static str = "}";
    /// The offset of the value of `last_seen` in [`EncodedPeer::LAST_SEEN`], in bytes.
    pub(crate) const LAST_SEEN_AT: usize = ",\"last_seen\":\"".len();

    /// Combines the front and the back that a store has kept.
    pub const fn new(front: &'a [u8], back: &'a [u8]) -> Self {
        Self { front, back }
    }

    /// The compact form of a complete JSON whose front has `front_len` bytes.
    pub(crate) fn of_json(json: &'a str, front_len: usize) -> Self {
        let json = json.as_bytes();
        let front_end = Self::PREFIX.len() + front_len;
        let back = front_end + Self::LAST_SEEN.len()..json.len().saturating_sub(Self::SUFFIX.len());
        Self {
            front: json.get(Self::PREFIX.len()..front_end).unwrap_or_default(),
            back: json.get(back).unwrap_or_default(),
        }
    }

    /// The front.
    pub const fn front(&self) -> &'a [u8] {
        self.front
    }

    /// The back.
    pub const fn back(&self) -> &'a [u8] {
        self.back
    }

    /// The length of the complete JSON, in bytes.
    pub const fn json_len(&self) -> usize {
        Self::PREFIX.len() + self.front.len() + Self::LAST_SEEN.len() + self.back.len() + Self::SUFFIX.len()
    }

    /// An upper bound of the number of bytes that the peer takes in a list, without the comma
    /// before it and without a signed registration.
    pub const fn max_listed_len(&self, view: View) -> usize {
        Self::max_listed_len_of(self.front.len(), self.back.len(), view)
    }

    /// Like [`EncodedPeer::max_listed_len`], for a peer whose front and back have these lengths in
    /// bytes.
    pub const fn max_listed_len_of(front: usize, back: usize, view: View) -> usize {
        /// The maximum size of the keys `expires_in_seconds` and `registered_seconds_ago` with
        /// their values.
        const FULL_VIEW: usize = 96;
        let contact = Self::PREFIX.len() + front + Self::SUFFIX.len();
        match view {
            View::Legacy => contact + Self::LAST_SEEN.len() + back,
            View::Full | View::Observer => contact + Self::LAST_SEEN.len() + back + FULL_VIEW,
            View::Contact => contact,
        }
    }

    /// The part of the front before the archetypes: the id, the address and the port.
    pub(crate) fn contact(&self) -> &'a [u8] {
        // JSON escapes quotes within a string, so these bytes can only be the key itself.
        const ARCHETYPES: &[u8] = b",\"archetypes\":";
        let end = self.front.windows(ARCHETYPES.len()).position(|window| window == ARCHETYPES);
        &self.front[..end.unwrap_or(self.front.len())]
    }

    /// The complete JSON, as [`PeerJson`](crate::PeerJson) has it.
    pub fn to_json(&self) -> Vec<u8> {
        let (prefix, last_seen, suffix) =
            (Self::PREFIX.as_bytes(), Self::LAST_SEEN.as_bytes(), Self::SUFFIX.as_bytes());
        [prefix, self.front, last_seen, self.back, suffix].concat()
    }

    /// Whether the peer has this id.
    pub fn has_id(&self, id: &PeerId) -> bool {
        let id = id.as_str().as_bytes();
        // For almost every id, comparing bytes suffices. An id with characters that JSON escapes
        // has to be decoded first.
        if id.contains(&b'"') || id.contains(&b'\\') {
            return *self.peer_id() == *id;
        }
        self.front.strip_prefix(id).is_some_and(|rest| rest.first() == Some(&b'"'))
    }

    /// The peer's id. An id is visible ASCII, so that JSON escapes only the quote and the backslash
    /// in it.
    pub fn peer_id(&self) -> Cow<'a, [u8]> {
        // If a quote comes before any backslash, the id contains no escapes and ends at the quote.
        match self.front.iter().position(|byte| is_escaped(*byte)) {
            Some(end) if self.front[end] == b'"' => Cow::Borrowed(&self.front[..end]),
            _ => Cow::Owned(unescape(self.front)),
        }
    }
}

const fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\')
}

/// Removes the escapes from the text up to its closing quote.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut characters = text.iter().copied();
    let mut unescaped = Vec::new();
    while let Some(byte) = characters.next().filter(|byte| *byte != b'"') {
        unescaped.extend(if byte == b'\\' { characters.next() } else { Some(byte) });
    }
    unescaped
}

const _: () = assert!(
    EncodedPeer::LAST_SEEN.len()
        == EncodedPeer::LAST_SEEN_AT + Timestamp::WIRE_LEN + "\",\"metadata\":".len()
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Archetypes, Metadata, PeerJson, Registration};

    #[test]
    fn a_peer_is_recognized_by_its_id_even_if_json_escapes_it() {
        let long = ["x".repeat(128), "\"".repeat(128), "\\".repeat(128)];
        let short = ["p", "pp", "q\"d", "q", "q\\", "q\\\"d", "\\", "\"", "p\",\"address"];
        let ids: Vec<PeerId> = short.into_iter().chain(long.iter().map(String::as_str)).map(id).collect();
        for own in &ids {
            let json = PeerJson::new(&Registration {
                peer_id: own.clone(),
                address: Address::parse("10.0.0.1").unwrap().unwrap(),
                port: 1,
                archetypes: Archetypes::default(),
                metadata: Metadata::default(),
            });
            assert_eq!(json.encoded().peer_id(), own.as_str().as_bytes());
            for other in &ids {
                assert_eq!(json.encoded().has_id(other), own == other, "{own} {other}");
            }
        }
    }

    fn id(text: &str) -> PeerId {
        PeerId::parse(text).unwrap()
    }
}
