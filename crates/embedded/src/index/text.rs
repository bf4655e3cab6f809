//! A peer's JSON and id as the index keeps them.

use aurora_protocol::{PeerId, PeerJson};

/// A peer's JSON and id, kept as one sequence of bytes that begins with the id: its own, and behind it the parts of the JSON, the first of
/// which mostly is what begins with the id.
pub(crate) struct Text {
    json: PeerJson,
    /// The id, where the JSON writes it with escapes.
    escaped: Option<PeerId>,
    id_place: IdPlace,
}

/// Where a peer's id stands: at the beginning of its JSON's front where that writes it without escapes, as it almost always does, else before
/// it. The length less one, and a mark.
#[derive(Clone, Copy, Default)]
pub(super) struct IdPlace(u8);

impl Text {
    pub(crate) fn new(peer: PeerId, json: PeerJson) -> Self {
        let id = peer.as_str().as_bytes();
        let inside = json.parts().front[0].starts_with(id);
        let id_place = IdPlace::new(id.len(), inside);
        Self { json, escaped: (!inside).then_some(peer), id_place }
    }

    /// What is kept, piece by piece.
    pub(super) fn pieces(&self) -> [&[u8]; 3] {
        let parts = self.json.parts();
        let id = self.escaped.as_ref().map_or(&[][..], |id| id.as_str().as_bytes());
        [id, parts.front[0], parts.back[0]]
    }

    /// How long each part is.
    pub(super) fn part_lens(&self) -> [usize; 2] {
        let parts = self.json.parts();
        [parts.front[0].len(), parts.back[0].len()]
    }

    pub(super) fn id_place(&self) -> IdPlace {
        self.id_place
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces().map(<[u8]>::len).iter().sum()
    }

    pub(crate) fn peer_id(&self) -> &[u8] {
        let [id, front, _] = self.pieces();
        self.id_place.id(if id.is_empty() { front } else { id })
    }

    pub(crate) fn json(&self) -> &str {
        self.json.as_str()
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
        &text[..self.len()]
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
        Text::new(peer, json)
    }

    #[test]
    fn an_id_is_read_back_whatever_the_json_makes_of_it() {
        for id in ["p", "quote\"d", "back\\slash", "\\", &"x".repeat(128), &"\"".repeat(128)] {
            let (peer, json) = given(id, 0);
            let text = Text::new(peer, json.clone());
            assert_eq!((text.peer_id(), text.json()), (id.as_bytes(), json.as_str()));
        }
    }

    #[test]
    fn an_id_is_whole_in_what_of_a_text_lies_in_its_slot() {
        for id in ["x".repeat(128), "\"".repeat(128)] {
            let text = text(&id, 4_000);
            assert_eq!(text.id_place.id(&text.pieces().concat()[..Slot::INLINE]), id.as_bytes());
        }
    }
}
