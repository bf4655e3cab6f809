//! The id of a peer.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// A peer's id: 1 to 128 visible ASCII characters (0x21 to 0x7E).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerId(Box<str>);

impl PeerId {
    /// The maximum length of an id, in characters.
    pub const MAX_LEN: usize = 128;

    /// Parses an id.
    ///
    /// # Errors
    /// [`Invalid`] if the id is empty, too long, or contains characters other than visible ASCII.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (1..=Self::MAX_LEN).contains(&text.len()) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::rule("must be 1 to 128 visible ASCII characters, without spaces"))
        }
    }

    /// The id as the peer wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PeerId {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<PeerId> for String {
    fn from(id: PeerId) -> Self {
        id.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_visible_ascii_of_bounded_length() {
        for good in ["a", "!", "~", "uuid-or-identifier", &"x".repeat(128)] {
            assert_eq!(PeerId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a\n", "\u{7f}", "é", &"x".repeat(129)] {
            assert!(PeerId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
