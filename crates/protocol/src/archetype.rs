//! Archetypes: the tags by which peers are found.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// One archetype: 1 to 64 characters of any script, without control characters and without leading
/// or trailing white space. Archetypes are compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Archetype(Box<str>);

impl Archetype {
    /// The maximum length of an archetype, in characters (not bytes).
    pub const MAX_CHARS: usize = 64;

    /// Parses an archetype.
    ///
    /// # Errors
    /// [`Invalid`] if the text breaks the rule above.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // A character has at most four bytes, so the length in bytes rejects long texts without
        // counting their characters.
        let length_fits = text.len() <= 4 * Self::MAX_CHARS && text.chars().count() <= Self::MAX_CHARS;
        if text.is_empty() || !length_fits {
            return Err(Invalid::rule("must contain archetypes of 1 to 64 characters"));
        }
        if text.chars().any(char::is_control) {
            return Err(Invalid::rule("must not contain control characters"));
        }
        if text.trim().len() != text.len() {
            return Err(Invalid::rule("must not begin or end with white space"));
        }
        Ok(Self(text.into()))
    }

    /// The archetype as the peer wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Archetype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Archetype {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<Archetype> for String {
    fn from(archetype: Archetype) -> Self {
        archetype.0.into()
    }
}

/// The archetypes of one peer, without duplicates and in the order in which the peer wrote them.
/// There are at most 32, of at most 1 KiB in total.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<Archetype>")]
pub struct Archetypes(Vec<Archetype>);

impl Archetypes {
    /// The maximum number of archetypes of one peer.
    pub const MAX_COUNT: usize = 32;
    /// The maximum total size of the archetypes of one peer, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 1_024;

    /// Parses the archetypes of a peer and drops duplicates.
    ///
    /// # Errors
    /// [`Invalid`] if one archetype is invalid, or if together they exceed a bound.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, Invalid> {
        if texts.len() > Self::MAX_COUNT {
            return Err(Invalid::rule("must contain at most 32 archetypes"));
        }
        if texts.iter().map(|text| text.as_ref().len()).sum::<usize>() > Self::MAX_BYTES {
            return Err(Invalid::rule("must contain at most 1024 bytes in total"));
        }
        let mut distinct = Vec::with_capacity(texts.len());
        for text in texts {
            let archetype = Archetype::parse(text.as_ref())?;
            if !distinct.contains(&archetype) {
                distinct.push(archetype);
            }
        }
        Ok(Self(distinct))
    }

    /// The archetypes, in the order in which the peer wrote them.
    pub fn as_slice(&self) -> &[Archetype] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Archetypes {
    type Error = Invalid;

    fn try_from(texts: Vec<String>) -> Result<Self, Invalid> {
        Self::parse(&texts)
    }
}

impl From<Archetypes> for Vec<Archetype> {
    fn from(archetypes: Archetypes) -> Self {
        archetypes.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archetype_can_use_any_script() {
        for good in ["pepino", "ética", "研究", "🐹", "two words", &"é".repeat(64)] {
            assert_eq!(Archetype::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " a", "a ", "\u{a0}a", "a\tb", "\u{85}", &"é".repeat(65)] {
            assert!(Archetype::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn duplicate_archetypes_are_dropped_and_the_order_is_kept() {
        let archetypes = Archetypes::parse(&["b", "a", "b"]).unwrap();
        let names: Vec<_> = archetypes.as_slice().iter().map(Archetype::as_str).collect();
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn archetypes_are_bounded_in_count_and_bytes() {
        let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert!(Archetypes::parse(&many(32)).is_ok());
        assert!(Archetypes::parse(&many(33)).is_err());
        let wide = |count: usize| (0..count).map(|n| format!("{n:064}")).collect::<Vec<_>>();
        assert!(Archetypes::parse(&wide(16)).is_ok());
        assert!(Archetypes::parse(&wide(17)).is_err());
    }
}
