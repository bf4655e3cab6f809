//! A peer's JSON and id as the index keeps them.

use aurora_protocol::{PeerId, PeerJson};

/// A peer's JSON and id, in one sequence of bytes whose beginning holds the whole id.
pub(crate) struct Text {
    bytes: Box<[u8]>,
    id_place: IdPlace,
    last_seen_at: u16,
}

/// Where a peer's id stands: inside its JSON where that writes it without escapes, as it almost always does, else before it.
/// The length less one, and a mark.
#[derive(Clone, Copy, Default)]
pub(super) struct IdPlace(u8);

/// Where a peer's JSON begins to write its id.
const ID_AT: usize = r#"{"peer_id":""#.len();

impl Text {
    pub(crate) fn new(peer: &PeerId, json: PeerJson) -> Self {
        let (id, last_seen_at) = (peer.as_str().as_bytes(), json.last_seen_at());
        let text = json.into_text().into_boxed_bytes();
        let inside = text.get(ID_AT..ID_AT + id.len()) == Some(id);
        let id_place = IdPlace::new(id.len(), inside);
        let bytes = if inside { text } else { [id, &text].concat().into() };
        Self { bytes, id_place, last_seen_at }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn id_place(&self) -> IdPlace {
        self.id_place
    }

    pub(super) fn last_seen_at(&self) -> u16 {
        self.last_seen_at
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn peer_id(&self) -> &[u8] {
        self.id_place.id(&self.bytes)
    }

    pub(crate) fn json(&self) -> &[u8] {
        &self.bytes[self.id_place.before()..]
    }
}

impl IdPlace {
    const INSIDE: u8 = 0x80;

    /// An id has 1 to 128 bytes, so one less fits beside the mark.
    fn new(len: usize, inside: bool) -> Self {
        let mark = if inside { Self::INSIDE } else { 0 };
        Self(u8::try_from(len.saturating_sub(1)).unwrap_or(u8::MAX) & !Self::INSIDE | mark)
    }

    /// The id in a text, or in its beginning.
    pub(super) fn id(self, text: &[u8]) -> &[u8] {
        let at = if self.is_inside() { ID_AT } else { 0 };
        &text[at..at + self.len()]
    }

    /// How many bytes stand before the JSON.
    pub(super) fn before(self) -> usize {
        if self.is_inside() { 0 } else { self.len() }
    }

    fn is_inside(self) -> bool {
        self.0 & Self::INSIDE != 0
    }

    fn len(self) -> usize {
        usize::from(self.0 & !Self::INSIDE) + 1
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aurora_protocol::{Address, Archetypes, Metadata, Registration};

    use super::super::slot::Slot;
    use super::*;

    /// A peer's id and its JSON, with a word of so many bytes in its metadata.
    pub(in super::super) fn given(id: &str, metadata: usize) -> (PeerId, PeerJson) {
        let peer = PeerId::parse(id).unwrap();
        let registration = Registration {
            peer_id: peer.clone(),
            address: Address::parse("10.0.0.1").unwrap().unwrap(),
            port: 1,
            archetypes: Archetypes::default(),
            metadata: Metadata::parse(&format!(r#"{{"m":"{}"}}"#, "x".repeat(metadata))).unwrap(),
        };
        (peer, PeerJson::new(&registration))
    }

    pub(in super::super) fn text(id: &str, metadata: usize) -> Text {
        let (peer, json) = given(id, metadata);
        Text::new(&peer, json)
    }

    #[test]
    fn an_id_is_read_back_whatever_the_json_makes_of_it() {
        for id in ["p", "quote\"d", "back\\slash", "\\", &"x".repeat(128), &"\"".repeat(128)] {
            let (peer, json) = given(id, 0);
            let text = Text::new(&peer, json.clone());
            assert_eq!((text.peer_id(), text.json()), (id.as_bytes(), json.as_str().as_bytes()));
        }
    }

    #[test]
    fn an_id_is_whole_in_what_of_a_text_lies_in_its_slot() {
        for id in ["x".repeat(128), "\"".repeat(128)] {
            let text = text(&id, 4_000);
            assert_eq!(text.id_place.id(&text.bytes[..Slot::INLINE]), id.as_bytes());
        }
    }
}
