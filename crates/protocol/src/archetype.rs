//! Archetypes: the tags by which peers are found.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use crate::Invalid;

/// One archetype: 1 to 64 characters of any script, without control characters and without white
/// space at the ends. A registration must also contain no invisible characters, which make
/// different names look alike.
///
/// Archetypes are compared in Unicode normalization form C, so that `é` is the same whether
/// it was entered as one character or as two. They are listed as the peer wrote them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Archetype {
    written: Box<str>,
    /// The normal form, if it differs.
    normalized: Option<Box<str>>,
}

impl Archetype {
    /// The maximum length of an archetype, in characters (not bytes).
    pub const MAX_CHARS: usize = 64;

    /// Parses an archetype that a peer registers with.
    ///
    /// # Errors
    /// [`Invalid`] if the text breaks a rule for archetypes in registrations.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.chars().any(is_invisible) {
            return Err(Invalid::rule(
                "must not contain invisible characters: bidirectional controls, soft hyphens, zero-width spaces",
            ));
        }
        // Some scripts need joiners within a word, so joiners are refused only at the ends of an
        // archetype.
        if text.starts_with(JOINERS) || text.ends_with(JOINERS) {
            return Err(Invalid::rule("must not begin or end with a zero-width joiner"));
        }
        Self::parse_stored(text)
    }

    /// Parses an archetype that a store or a service has kept, or that a query names. It accepts
    /// invisible characters, because earlier versions accepted them in registrations, and the peers
    /// with such archetypes must still be listed and found.
    ///
    /// # Errors
    /// [`Invalid`] if the text breaks a rule that all versions have had.
    pub fn parse_stored(text: &str) -> Result<Self, Invalid> {
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
        let may_differ = !text.is_ascii() && is_nfc_quick(text.chars()) != IsNormalized::Yes;
        let normalized = may_differ.then(|| text.nfc().collect::<String>()).filter(|normal| normal != text);
        Ok(Self { written: text.into(), normalized: normalized.map(Into::into) })
    }

    /// The archetype as the peer wrote it.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The normal form, by which archetypes are compared. Stores use it as a key.
    pub fn key(&self) -> &str {
        self.normalized.as_deref().unwrap_or(&self.written)
    }
}

/// The zero-width non-joiner and the zero-width joiner.
const JOINERS: [char; 2] = ['\u{200C}', '\u{200D}'];

/// Whether a character is in a list of common characters that are not shown, or that change the
/// order in which other characters are shown. [`JOINERS`] are not in the list, because some scripts
/// need them within a word.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        // Bidirectional controls (Unicode property Bidi_Control).
        '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        // Soft hyphen, zero-width space, word joiner, zero-width no-break space.
        | '\u{00AD}' | '\u{200B}' | '\u{2060}' | '\u{FEFF}'
    )
}

impl PartialEq for Archetype {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Archetype {}

impl PartialOrd for Archetype {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Archetype {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

impl Hash for Archetype {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for Archetype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl TryFrom<String> for Archetype {
    type Error = Invalid;

    /// Accepts invisible characters, as [`Archetype::parse_stored`] does. Otherwise one stored peer
    /// could make a whole list unreadable.
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse_stored(&text)
    }
}

impl From<Archetype> for String {
    fn from(archetype: Archetype) -> Self {
        archetype.written.into()
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
        Self::parse_each(texts, Archetype::parse)
    }

    /// Parses archetypes that a store or a service has kept, as [`Archetype::parse_stored`] does.
    ///
    /// # Errors
    /// [`Invalid`] if [`Archetype::parse_stored`] refuses one of them, or if together they exceed a
    /// bound.
    pub fn parse_stored<T: AsRef<str>>(texts: &[T]) -> Result<Self, Invalid> {
        Self::parse_each(texts, Archetype::parse_stored)
    }

    fn parse_each<T: AsRef<str>>(
        texts: &[T],
        parse: impl Fn(&str) -> Result<Archetype, Invalid>,
    ) -> Result<Self, Invalid> {
        if texts.len() > Self::MAX_COUNT {
            return Err(Invalid::rule("must contain at most 32 archetypes"));
        }
        if texts.iter().map(|text| text.as_ref().len()).sum::<usize>() > Self::MAX_BYTES {
            return Err(Invalid::rule("must contain at most 1024 bytes in total"));
        }
        let mut distinct = Vec::with_capacity(texts.len());
        for text in texts {
            let archetype = parse(text.as_ref())?;
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
        Self::parse_stored(&texts)
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
    fn archetypes_are_compared_in_normal_form_and_kept_as_written() {
        let [composed, decomposed] =
            ["\u{e9}tica", "e\u{301}tica"].map(|text| Archetype::parse(text).unwrap());
        assert_eq!(composed, decomposed);
        assert_eq!(decomposed.as_str(), "e\u{301}tica");
        assert_eq!((composed.key(), decomposed.key()), ("\u{e9}tica", "\u{e9}tica"));
        let both = Archetypes::parse(&["e\u{301}tica", "\u{e9}tica"]).unwrap();
        assert_eq!(both.as_slice().len(), 1);
        assert_ne!(Archetype::parse("a").unwrap(), Archetype::parse("A").unwrap());
    }

    #[test]
    fn invisible_characters_are_refused_and_still_read_from_a_store() {
        for invisible in
            "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{ad}\u{200b}\u{2060}\u{feff}".chars()
        {
            let text = format!("a{invisible}b");
            assert!(Archetype::parse(&text).is_err(), "{}", text.escape_unicode());
            assert_eq!(Archetype::parse_stored(&text).unwrap().as_str(), text);
            assert!(serde_json::from_value::<Archetypes>(serde_json::json!([text])).is_ok());
        }
        for text in ["\u{200d}a", "a\u{200c}"] {
            assert!(Archetype::parse(text).is_err(), "{}", text.escape_unicode());
        }
        assert!(Archetype::parse("\u{1f468}\u{200d}\u{1f469}").is_ok(), "a joiner within an emoji");
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
