//! A JSON object of a request, read key by key so that each refusal names the key and its rule.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Invalid, Refusal, malformed};

/// The keys of one JSON object, each with its value as unparsed JSON text.
pub(crate) struct Object<'a> {
    entries: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// The prefix of a key's name in a refusal, for example `discover.` in a nested object. Empty
    /// in the body itself.
    path: &'static str,
}

impl<'a> Object<'a> {
    /// Reads the body of a request. Refuses repeated keys, and numbers that do not fit a double.
    pub(crate) fn from_body(body: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(body).map_err(|error| malformed::refuse(body, error))?;
        let object = Self::read(text, "").map_err(|error| malformed::refuse(body, error))?;
        if let Some(key) = object.repeated() {
            return Err(Refusal::body(format!("the body must not repeat the key {}", excerpt(key))));
        }
        // The numbers in unknown keys are checked too, because a later version may give these keys
        // a meaning.
        match object.entries.iter().find(|(_, value)| !numbers_fit(value.get())) {
            Some((key, _)) => Err(NUMBER_RULE.in_field(key.chars().take(EXCERPT_CHARS).collect::<String>())),
            None => Ok(object),
        }
    }

    /// Reads an object that is the value of a key. `path` is that key followed by a dot.
    pub(crate) fn nested(value: &'a RawValue, path: &'static str) -> Result<Self, Refusal> {
        let field = path.trim_end_matches('.');
        let object = Self::read(value.get(), path)
            .map_err(|_| Invalid::rule("must be a JSON object").in_field(field))?;
        match object.repeated() {
            Some(key) => {
                Err(Invalid(format!("must not repeat the key {}", excerpt(key)).into()).in_field(field))
            }
            None => Ok(object),
        }
    }

    /// Reads an object from the text that another value contains, such as the payload of a JWS.
    /// `path` is the name of that value in a refusal. If it ends with a dot, refusals also name the
    /// key within the object, as in `signed.seq`.
    pub(crate) fn in_text(text: &'a str, path: &'static str) -> Result<Self, Refusal> {
        let field = path.trim_end_matches('.');
        let object = Self::read(text, path)
            .map_err(|_| Invalid::rule("must contain a JSON object").in_field(field))?;
        if let Some(key) = object.repeated() {
            return Err(Invalid(format!("must not repeat the key {}", excerpt(key)).into()).in_field(field));
        }
        if numbers_fit(text) { Ok(object) } else { Err(NUMBER_RULE.in_field(field)) }
    }

    fn read(text: &'a str, path: &'static str) -> Result<Self, serde_json::Error> {
        let Entries(entries) = serde_json::from_str(text)?;
        Ok(Self { entries, path })
    }

    fn repeated(&self) -> Option<&str> {
        // Sorting brings equal keys next to each other. It allocates once and does no hashing.
        let mut keys: Vec<&str> = self.entries.iter().map(|(key, _)| key.as_ref()).collect();
        keys.sort_unstable();
        keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    }

    /// The value of `key` as JSON text. A `null` is equivalent to leaving the key out.
    pub(crate) fn raw(&self, key: &str) -> Option<&'a RawValue> {
        let value = self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| *value)?;
        (value.get() != "null").then_some(value)
    }

    /// Whether there is a value for `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// The value of `key`, parsed by `parse`. A refusal repeats the rule that `parse` reports.
    pub(crate) fn optional<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&'a RawValue) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Refusal> {
        self.raw(key).map(parse).transpose().map_err(|invalid| self.refuse(key, invalid))
    }

    /// Like [`Object::optional`], for a key that must be present.
    pub(crate) fn required<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&'a RawValue) -> Result<T, Invalid>,
    ) -> Result<T, Refusal> {
        self.optional(key, parse)?.ok_or_else(|| self.refuse(key, Invalid::rule("is required")))
    }

    /// The refusal of this object because the value of `key` is invalid.
    pub(crate) fn refuse(&self, key: &'static str, invalid: Invalid) -> Refusal {
        if self.path.is_empty() {
            invalid.in_field(key)
        } else {
            invalid.in_field(format!("{}{key}", self.path))
        }
    }
}

/// The rule for numbers. Many JSON parsers fail on a number that does not fit a double, or read it
/// as infinity.
pub(crate) const NUMBER_RULE: Invalid =
    Invalid::rule("must not contain a number beyond the range of a double (about 1.8e308)");

/// Whether every number in a JSON text fits a double. The syntax of `text` was checked before.
pub(crate) fn numbers_fit(text: &str) -> bool {
    // Most values are strings, and a string contains no numbers.
    if text.starts_with('"') {
        return true;
    }
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let width = match first {
            b'"' => string_width(rest),
            b'-' | b'0'..=b'9' => {
                let end = rest
                    .bytes()
                    .position(|byte| !matches!(byte, b'+' | b'-' | b'.' | b'0'..=b'9' | b'e' | b'E'));
                let width = end.unwrap_or(rest.len());
                if !rest[..width].parse().is_ok_and(f64::is_finite) {
                    return false;
                }
                width
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        rest = &rest[width..];
    }
    true
}

/// The length in bytes of the JSON string at the start of `text`, including its quotes.
pub(crate) fn string_width(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |end| end + 2)
}

/// The maximum number of characters of an input that an error repeats.
const EXCERPT_CHARS: usize = 64;

/// The start of a text that the caller sent, quoted, for use in an error.
fn excerpt(text: &str) -> String {
    format!("{:?}", text.chars().take(EXCERPT_CHARS).collect::<String>())
}

/// The text of a JSON string.
pub(crate) fn string(value: &RawValue) -> Result<Cow<'_, str>, Invalid> {
    serde_json::from_str(value.get())
        .map(|Text(text)| text)
        .map_err(|_| Invalid::rule("must be a string of valid Unicode"))
}

/// The value of `true` or `false`.
pub(crate) fn boolean(value: &RawValue) -> Result<bool, Invalid> {
    value.get().parse().map_err(|_| Invalid::rule("must be true or false"))
}

/// The texts of a JSON list of strings.
pub(crate) fn strings(value: &RawValue) -> Result<Vec<Cow<'_, str>>, Invalid> {
    serde_json::from_str::<Vec<Text<'_>>>(value.get())
        .map(|texts| texts.into_iter().map(|Text(text)| text).collect())
        .map_err(|_| Invalid::rule("must be a list of strings"))
}

/// An integer from `min` to `max`. JSON has several notations for one number: 9000.0 and 9e3 are
/// the integer 9000.
pub(crate) fn integer(value: &RawValue, min: u32, max: u32) -> Result<u32, Invalid> {
    let text = value.get();
    text.parse()
        .ok()
        .or_else(|| whole_number(text))
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| Invalid(format!("must be an integer from {min} to {max}").into()))
}

/// An integer that is not written as plain digits, such as `9e3`.
fn whole_number(text: &str) -> Option<u32> {
    let number: f64 = serde_json::from_str(text).ok()?;
    // `f64` represents every `u32` exactly, so printing the number without a fraction loses
    // nothing.
    (number.fract() == 0.0)
        .then(|| format!("{:.0}", number.abs()).parse().ok())
        .flatten()
        .filter(|_| number >= 0.0)
}

struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, {…}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(8);
                while let Some(Text(key)) = map.next_key()? {
                    entries.push((key, map.next_value()?));
                }
                Ok(Entries(entries))
            }

            // Serde's default error would repeat the whole string to the caller and in the log.
            fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
                Err(E::custom("found a string"))
            }
        }

        deserializer.deserialize_any(EntriesVisitor)
    }
}

/// A string that is borrowed if it contains no escapes. `Cow`'s own implementation always copies.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}
