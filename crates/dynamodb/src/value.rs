//! Attribute values, as DynamoDB speaks of them in JSON.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The value of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A string.
    S(String),
    /// A number, in digits.
    N(String),
    /// Bytes.
    B(Vec<u8>),
    /// Of a type that the store writes nowhere, kept as it came: whoever wrote it must not break a read.
    Other(serde_json::Value),
}

impl Value {
    pub(crate) fn as_s(&self) -> Option<&str> {
        if let Self::S(text) = self { Some(text) } else { None }
    }

    pub(crate) fn as_n(&self) -> Option<&str> {
        if let Self::N(digits) = self { Some(digits) } else { None }
    }

    pub(crate) fn as_b(&self) -> Option<&[u8]> {
        if let Self::B(bytes) = self { Some(bytes) } else { None }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::S(text) => serializer.serialize_newtype_variant("Value", 0, "S", text),
            Self::N(digits) => serializer.serialize_newtype_variant("Value", 1, "N", digits),
            Self::B(bytes) => serializer.serialize_newtype_variant("Value", 2, "B", &STANDARD.encode(bytes)),
            Self::Other(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a type's name and a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let kind =
            map.next_key::<Cow<'de, str>>()?.ok_or_else(|| A::Error::custom("a value without a type"))?;
        let value = match kind.as_ref() {
            "S" => Value::S(map.next_value()?),
            "N" => Value::N(map.next_value()?),
            "B" => {
                let text: Cow<'de, str> = map.next_value()?;
                Value::B(STANDARD.decode(text.as_ref()).map_err(A::Error::custom)?)
            }
            other => Value::Other(serde_json::json!({ other: map.next_value::<serde_json::Value>()? })),
        };
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_dynamodb_reads_and_writes_back_as_it_came() {
        for json in [
            r#"{"S":"é\n"}"#,
            r#"{"N":"-1.5E+9"}"#,
            r#"{"B":"AP8="}"#,
            r#"{"BOOL":true}"#,
            r#"{"NULL":true}"#,
            r#"{"SS":["a","b"]}"#,
            r#"{"M":{"a":{"L":[{"S":"x"}]}}}"#,
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
        }
        assert_eq!(serde_json::from_str::<Value>(r#"{"B":"AP8="}"#).unwrap(), Value::B(vec![0, 255]));
        for wrong in ["{}", "[]", r#"{"S":1}"#, r#"{"B":"?"}"#] {
            assert!(serde_json::from_str::<Value>(wrong).is_err(), "{wrong}");
        }
    }
}
