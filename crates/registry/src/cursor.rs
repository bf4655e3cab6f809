//! Cursors: stateless positions in an enumeration or in the change log.

use aurora_discovery_protocol::Archetype;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// A position from which a store continues. Only the store that created it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(pub Vec<u8>);

/// A position as clients carry it: base64url of a version byte, a checksum (`check`) and the
/// position.
///
/// The checksum covers the archetypes of the query and the position. A cursor is therefore valid
/// only for the archetypes that it was issued for, and a cursor that was truncated or altered in
/// transit is detected. The checksum is not a secret: a forged cursor gives access to nothing that
/// a plain request would not.
#[derive(Clone, Copy, Debug)]
pub struct Cursor;

impl Cursor {
    const VERSION: u8 = 1;
    const CHECK_LEN: usize = 6;
    /// Longer text is rejected without decoding it.
    const MAX_LEN: usize = 512;

    /// Encodes a position in the result of a query for peers that carry any of `archetypes`.
    pub fn encode(position: &Position, archetypes: &[Archetype]) -> String {
        let mut bytes = vec![Self::VERSION];
        bytes.extend_from_slice(&Self::check(&position.0, archetypes));
        bytes.extend_from_slice(&position.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes a cursor. `None` if it was not issued for these archetypes.
    pub fn decode(text: &str, archetypes: &[Archetype]) -> Option<Position> {
        if text.len() > Self::MAX_LEN {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (&version, rest) = bytes.split_first()?;
        let (check, position) = rest.split_at_checked(Self::CHECK_LEN)?;
        let valid = version == Self::VERSION && check == Self::check(position, archetypes);
        valid.then(|| Position(position.to_vec()))
    }

    fn check(position: &[u8], archetypes: &[Archetype]) -> [u8; Self::CHECK_LEN] {
        // The checksum is a truncated SHA-256 over the archetypes and the position. All state is in
        // the cursor, so any process can continue the enumeration, and no process stores anything
        // between two pages. `limit`, `view` and `exclude` are not covered: a client may change
        // them from page to page, because they do not change the order in which peers are
        // enumerated.
        let mut hash = Sha256::new();
        for archetype in archetypes {
            // No archetype contains a zero byte. With zero as the separator, two different sets of
            // archetypes therefore never give the same input to the hash.
            hash.update(archetype.as_str().as_bytes());
            hash.update([0]);
        }
        hash.update([0]);
        hash.update(position);
        let mut check = [0; Self::CHECK_LEN];
        check.copy_from_slice(&hash.finalize()[..Self::CHECK_LEN]);
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archetypes(names: &[&str]) -> Vec<Archetype> {
        names.iter().map(|name| Archetype::parse(name).unwrap()).collect()
    }

    #[test]
    fn a_cursor_is_valid_only_for_its_own_query() {
        let position = Position(vec![1, 2, 3]);
        let text = Cursor::encode(&position, &archetypes(&["a", "b"]));
        assert_eq!(Cursor::decode(&text, &archetypes(&["a", "b"])), Some(position));
        for other in [archetypes(&[]), archetypes(&["a"]), archetypes(&["ab"]), archetypes(&["a", "b", "c"])]
        {
            assert_eq!(Cursor::decode(&text, &other), None);
        }
    }

    #[test]
    fn an_altered_cursor_is_refused() {
        let text = Cursor::encode(&Position(vec![7; 9]), &[]);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(Cursor::decode(&String::from_utf8(changed).unwrap(), &[]), None, "{at}");
            assert_eq!(Cursor::decode(&text[..at], &[]), None, "{at}");
        }
        for text in ["", "!", "é", "AQ", &"A".repeat(600)] {
            assert_eq!(Cursor::decode(text, &[]), None, "{text}");
        }
    }
}
