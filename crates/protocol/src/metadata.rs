//! The metadata that a peer publishes, kept as the peer wrote it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Invalid;
use crate::object::{NUMBER_RULE, Text, numbers_fit, string_width};

/// A JSON object of at most 4 KiB as written. It is returned byte for byte: all digits of numbers,
/// the order of keys and white space stay as they are.
///
/// In a request, metadata must also have at most 16 levels, no object in it may repeat a key, every
/// string must be valid Unicode, and every number must fit a double. All parsers then accept it,
/// and read the same keys and strings. Metadata from a store or a response is not checked for this
/// again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata(Box<str>);

impl Metadata {
    /// The maximum size, in bytes as written.
    pub const MAX_BYTES: usize = 4_096;
    /// The maximum depth of objects and lists, including the outermost object.
    pub const MAX_LEVELS: usize = 16;

    /// Parses the metadata of a request.
    ///
    /// # Errors
    /// [`Invalid`] if the text is not a JSON object, or if it breaks a rule for metadata in
    /// requests.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let value: &RawValue =
            serde_json::from_str(text).map_err(|_| Invalid::rule("must be a JSON object"))?;
        let metadata = Self::from_raw(value)?;
        if numbers_fit(text) { Ok(metadata) } else { Err(NUMBER_RULE) }
    }

    /// Reads the metadata in a request. `Object::from_body` or `Object::in_text` has already
    /// checked the numbers.
    pub(crate) fn from_raw(value: &RawValue) -> Result<Self, Invalid> {
        let text = value.get();
        if !text.starts_with('{') {
            return Err(Invalid::rule("must be a JSON object"));
        }
        if text.len() > Self::MAX_BYTES {
            return Err(Invalid::rule("must be at most 4096 bytes of JSON"));
        }
        check_structure(text)?;
        Ok(Self(text.into()))
    }

    /// Accepts metadata from a store or a service without checking the depth and the keys again.
    /// They were checked when the peer registered, perhaps by a version that allowed more.
    pub(crate) fn from_stored(value: &RawValue) -> Result<Self, Invalid> {
        let text = value.get();
        if !text.starts_with('{') || text.len() > Self::MAX_BYTES {
            return Err(Invalid::rule("must be a JSON object of at most 4096 bytes"));
        }
        Ok(Self(text.into()))
    }

    /// The JSON object as the peer wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Converts the metadata into a value of the caller's type. The conversion fails if a number
    /// does not fit that type, as `1e999` does not fit a `serde_json::Value`. `as_str` still
    /// returns the text.
    ///
    /// # Errors
    /// The errors of `serde_json`, if the metadata does not have the form of the type.
    pub fn to_value<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self("{}".into())
    }
}

impl Serialize for Metadata {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The structure is not checked again, so that one peer with unusual metadata cannot make a
        // whole list unreadable.
        Self::from_stored(&Box::<RawValue>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Checks rules that go beyond the syntax of JSON: the depth, and that there are no repeated keys
/// and no lone surrogates. The syntax of `text` has already been checked.
fn check_structure(text: &str) -> Result<(), Invalid> {
    /// An open object, with its keys so far, or an open list.
    enum Open<'a> {
        Object(BTreeSet<Cow<'a, str>>),
        List,
    }
    let mut open: Vec<Open<'_>> = Vec::new();
    // A string is a key if it follows `{` or `,` in an object. In a list the flag has no effect.
    let mut key_follows = false;
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let mut width = 1;
        match first {
            b'{' | b'[' if open.len() == Metadata::MAX_LEVELS => {
                return Err(Invalid::rule("must be nested at most 16 levels deep"));
            }
            b'{' => open.push(Open::Object(BTreeSet::new())),
            b'[' => open.push(Open::List),
            b'}' | b']' => drop(open.pop()),
            // A string is consumed as a whole, so that brackets inside it do not count.
            b'"' => {
                width = string_width(rest);
                let Text(string) = serde_json::from_str(&rest[..width])
                    .map_err(|_| Invalid::rule("must be valid Unicode, without lone surrogates"))?;
                if let (true, Some(Open::Object(keys))) = (key_follows, open.last_mut())
                    && !keys.insert(string)
                {
                    return Err(Invalid::rule("must not repeat a key within one object"));
                }
            }
            _ => width = rest.chars().next().map_or(1, char::len_utf8),
        }
        key_follows = match first {
            b'{' | b',' => true,
            b' ' | b'\t' | b'\n' | b'\r' => key_follows,
            _ => false,
        };
        rest = &rest[width..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_that_fits_no_double_is_refused_but_kept_where_it_is_stored() {
        for number in ["1e999", "-1e999", "1.8e308", &"9".repeat(400), "1e+400"] {
            for text in [format!("{{\"n\":{number}}}"), format!("{{\"a\":[\"1\",{{\"n\": {number} }}]}}")] {
                assert!(Metadata::parse(&text).is_err(), "{text}");
                assert_eq!(serde_json::from_str::<Metadata>(&text).unwrap().as_str(), text);
            }
        }
        for text in [r#"{"1e999":"1e999"}"#, r#"{"n":1.7e308}"#, r#"{"n":-0.0e-999}"#, r#"{"s":"\"1e999"}"#] {
            assert!(Metadata::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn metadata_is_returned_unchanged() {
        for text in [
            "{}",
            r#"{ "n" : 123456789012345678901234567890, "e": 1e308, "z": 0.1e-9999, "s": "\ud83d\udc39 \u00e9 é" }"#,
            r#"{"a":{"x":1},"b":{"x":1},"c":["x","x",{"x":"x"}]}"#,
            r#"{"quote\"":"\\","quote":"\\\""}"#,
        ] {
            assert_eq!(Metadata::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn ambiguous_metadata_is_refused() {
        for text in [
            "[]",
            "1",
            "\"{}\"",
            "null",
            "{",
            "{}{}",
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1 , "\u0062":2}}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"\udc00":1}"#,
        ] {
            assert!(Metadata::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn metadata_is_bounded_in_levels_and_bytes() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(Metadata::parse(&nested(16)).is_ok());
        assert!(Metadata::parse(&nested(17)).is_err());
        let wide = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        assert!(Metadata::parse(&wide(4_096)).is_ok());
        assert!(Metadata::parse(&wide(4_097)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_kept_unchanged_or_refused(text in r#"[{}\[\]",:\\a1é \u{0}-\u{10ffff}]{0,40}"#) {
            if let Ok(metadata) = Metadata::parse(&text) {
                prop_assert_eq!(metadata.as_str(), text.trim());
            }
        }
    }
}
