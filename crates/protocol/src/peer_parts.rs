//! What of a peer's JSON is its own, and what every peer's has.

use crate::Timestamp;

/// A peer's JSON without what is the same in every peer's: a fifth of it, which a store of many peers need neither keep nor read.
///
/// Each part is in two pieces, as a store may keep it in two places; most second pieces are empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeerParts<'a> {
    /// The peer's id, escaped as JSON wants it, and what follows up to `last_seen`.
    pub front: [&'a [u8]; 2],
    /// The metadata.
    pub back: [&'a [u8]; 2],
}

impl<'a> PeerParts<'a> {
    pub(crate) const HEAD: &'static str = "{\"peer_id\":\"";
    pub(crate) const MIDDLE: &'static str = ",\"last_seen\":\"1970-01-01T00:00:00\",\"metadata\":";
    pub(crate) const END: &'static str = "}";
    /// Where in the middle `last_seen` stands.
    pub(crate) const LAST_SEEN_AT: usize = ",\"last_seen\":\"".len();

    /// The parts of a JSON whose front has so many bytes.
    pub(crate) fn of(json: &'a str, front: usize) -> Self {
        let json = json.as_bytes();
        let back = Self::HEAD.len() + front + Self::MIDDLE.len();
        Self {
            front: [json.get(Self::HEAD.len()..Self::HEAD.len() + front).unwrap_or_default(), &[]],
            back: [json.get(back..json.len() - Self::END.len()).unwrap_or_default(), &[]],
        }
    }

    /// How many bytes of JSON they make.
    pub const fn json_len(&self) -> usize {
        let [front, more_front] = self.front;
        let [back, more_back] = self.back;
        Self::json_len_of(front.len() + more_front.len() + back.len() + more_back.len())
    }

    /// How many bytes of JSON parts of so many bytes make.
    pub const fn json_len_of(parts: usize) -> usize {
        Self::HEAD.len() + Self::MIDDLE.len() + Self::END.len() + parts
    }

    /// The JSON, as [`crate::PeerJson`] has it.
    pub fn to_json(&self) -> Vec<u8> {
        let [[front, more_front], [back, more_back]] = [self.front, self.back];
        let (head, middle, end) = (Self::HEAD.as_bytes(), Self::MIDDLE.as_bytes(), Self::END.as_bytes());
        [head, front, more_front, middle, back, more_back, end].concat()
    }
}

const _: () = assert!(
    PeerParts::MIDDLE.len() == PeerParts::LAST_SEEN_AT + Timestamp::WRITTEN_LEN + "\",\"metadata\":".len()
);
