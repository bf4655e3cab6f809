//! The requests and responses of the `/admin` routes, with which operators evict and block peers.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::object::{Object, integer, string};
use crate::request::peer_id;
use crate::{Invalid, PeerId, PublicKey, Refusal, SourcePrefix, Ttl};

/// What an operator evicts or blocks. In JSON it is one key: `peer_id`, `key` or `source`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// The peer with this id.
    #[serde(rename = "peer_id")]
    Peer(PeerId),
    /// The peers whose registrations this key signed, and the peer whose name is this key.
    #[serde(rename = "key")]
    Key(PublicKey),
    /// The peers that registered from these addresses.
    #[serde(rename = "source")]
    Source(SourcePrefix),
}

impl Subject {
    /// The name of the subject's kind, which is also its key in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Peer(_) => "peer_id",
            Self::Key(_) => "key",
            Self::Source(_) => "source",
        }
    }

    /// Parses a subject of a kind.
    ///
    /// # Errors
    /// [`Invalid`] if the kind is unknown, or if the text breaks a rule of the kind.
    pub fn parse(kind: &str, text: &str) -> Result<Self, Invalid> {
        match kind {
            "peer_id" => PeerId::parse(text).map(Self::Peer),
            "key" => PublicKey::parse(text).map(Self::Key),
            "source" => SourcePrefix::parse(text).map(Self::Source),
            _ => Err(Invalid::rule("must be a peer_id, a key or a source")),
        }
    }

    fn from_object(object: &Object<'_>) -> Result<Self, Refusal> {
        let subjects = [
            object.optional("peer_id", peer_id)?.map(Self::Peer),
            object.optional("key", |value| PublicKey::parse(&string(value)?))?.map(Self::Key),
            object.optional("source", |value| SourcePrefix::parse(&string(value)?))?.map(Self::Source),
        ];
        let mut given = subjects.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(subject), None) => Ok(subject),
            (None, _) => Err(Refusal::body("the body must have one of peer_id, key and source")),
            (Some(_), Some(_)) => {
                Err(Refusal::body("the body must have only one of peer_id, key and source"))
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => write!(f, "{peer}"),
            Self::Key(key) => write!(f, "{key}"),
            Self::Source(prefix) => write!(f, "{prefix}"),
        }
    }
}

/// The body of `/admin/evict` and `/admin/unblock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubjectRequest {
    /// The subject to evict or to unblock.
    #[serde(flatten)]
    pub subject: Subject,
}

impl SubjectRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// A [`Refusal`] that names the key and the rule it breaks, or that says that the body does not
    /// have exactly one subject.
    pub fn from_body(body: &[u8]) -> Result<Self, Refusal> {
        Ok(Self { subject: Subject::from_object(&Object::from_body(body)?)? })
    }
}

/// The body of `/admin/block`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockRequest {
    /// The subject to block.
    #[serde(flatten)]
    pub subject: Subject,
    /// The reason, which other operators can read.
    pub reason: BlockReason,
    /// The duration of the block, in seconds.
    #[serde(rename = "duration_seconds")]
    pub duration: Ttl,
}

impl BlockRequest {
    /// The longest block: ten years, in seconds. Every block ends. The list of blocks therefore
    /// does not grow forever, and an address that gets a new owner is served again.
    pub const MAX_SECONDS: u32 = 315_360_000;

    /// Reads a body.
    ///
    /// # Errors
    /// A [`Refusal`] that names the key and the rule it breaks, or that says that the body does not
    /// have exactly one subject.
    pub fn from_body(body: &[u8]) -> Result<Self, Refusal> {
        let object = Object::from_body(body)?;
        Ok(Self {
            subject: Subject::from_object(&object)?,
            reason: object.required("reason", |value: &RawValue| BlockReason::parse(&string(value)?))?,
            duration: object
                .required("duration_seconds", |value| integer(value, 1, Self::MAX_SECONDS))
                .map(Ttl::from_secs)?,
        })
    }
}

/// The reason for a block: 1 to 200 characters, without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlockReason(Box<str>);

impl BlockReason {
    /// The maximum length in characters.
    pub const MAX_CHARS: usize = 200;

    /// Parses a reason. White space at its ends is removed.
    ///
    /// # Errors
    /// [`Invalid`] if it is empty, too long or has control characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let fits = (1..=Self::MAX_CHARS).contains(&text.chars().count());
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::rule("must be 1 to 200 characters, without control characters"))
        }
    }

    /// The reason as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BlockReason {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<BlockReason> for String {
    fn from(reason: BlockReason) -> Self {
        reason.0.into()
    }
}

/// The response to `/admin/evict`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvictResponse {
    /// "Peers evicted".
    pub message: String,
    /// The number of peers that were deleted, live and dormant.
    pub evicted: u64,
}

/// The response to `/admin/block`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockResponse {
    /// "Blocked".
    pub message: String,
    /// The number of peers that were deleted, live and dormant.
    pub evicted: u64,
}

/// The response to `/admin/unblock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnblockResponse {
    /// "Unblocked".
    pub message: String,
}

/// The response to `/admin/blocks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlocksResponse {
    /// The blocks in force, in the order in which they end.
    pub blocks: Vec<ListedBlock>,
    /// The number of blocks in the list.
    pub count: usize,
}

/// A block that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedBlock {
    /// The blocked subject.
    #[serde(flatten)]
    pub subject: Subject,
    /// The reason for the block.
    pub reason: BlockReason,
    /// The number of seconds until the block ends.
    pub expires_in_seconds: u64,
    /// The name of the API key that set the block.
    pub blocked_by: Cow<'static, str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    const KEY: &str = "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw";

    #[test]
    fn a_subject_is_one_key() {
        let key = format!(r#"{{"key":"{KEY}"}}"#);
        for (body, kind, text) in [
            (r#"{"peer_id":"p"}"#, "peer_id", "p"),
            (&key, "key", KEY),
            (r#"{"source":"203.0.113.7","peer_id":null}"#, "source", "203.0.113.7/32"),
        ] {
            let request = SubjectRequest::from_body(body.as_bytes()).unwrap();
            assert_eq!((request.subject.kind(), request.subject.to_string().as_str()), (kind, text));
            assert_eq!(Subject::parse(kind, text).unwrap(), request.subject);
            let written = serde_json::to_vec(&request).unwrap();
            assert_eq!(SubjectRequest::from_body(&written).unwrap(), request);
        }
        for body in [r#"{}"#, r#"{"peer_id":"p","source":"10.0.0.1"}"#] {
            assert_eq!(
                SubjectRequest::from_body(body.as_bytes()).unwrap_err().code,
                Code::InvalidBody,
                "{body}"
            );
        }
        for (body, field) in
            [(r#"{"peer_id":"a b"}"#, "peer_id"), (r#"{"key":"p"}"#, "key"), (r#"{"source":"p"}"#, "source")]
        {
            let refusal = SubjectRequest::from_body(body.as_bytes()).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(field));
        }
        assert!(Subject::parse("name", "p").is_err());
    }

    #[test]
    fn a_block_has_a_reason_and_an_end() {
        let body = |rest: &str| format!(r#"{{"peer_id":"p"{rest}}}"#);
        let good = body(r#","reason":" spam ","duration_seconds":3600"#);
        let request = BlockRequest::from_body(good.as_bytes()).unwrap();
        assert_eq!((request.reason.as_str(), request.duration.as_secs()), ("spam", 3_600));
        assert_eq!(BlockRequest::from_body(&serde_json::to_vec(&request).unwrap()).unwrap(), request);
        let long = "x".repeat(201);
        for (rest, field) in [
            (r#","duration_seconds":3600"#.to_owned(), "reason"),
            (r#","reason":"spam""#.to_owned(), "duration_seconds"),
            (r#","reason":"spam","duration_seconds":0"#.to_owned(), "duration_seconds"),
            (r#","reason":"spam","duration_seconds":315360001"#.to_owned(), "duration_seconds"),
            (r#","reason":" ","duration_seconds":1"#.to_owned(), "reason"),
            (r#","reason":"a\nb","duration_seconds":1"#.to_owned(), "reason"),
            (format!(r#","reason":"{long}","duration_seconds":1"#), "reason"),
        ] {
            let refusal = BlockRequest::from_body(body(&rest).as_bytes()).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(field), "{rest}");
        }
    }

    #[test]
    fn a_listed_block_names_its_subject_by_one_key() {
        let block = ListedBlock {
            subject: Subject::parse("source", "10.0.0.0/8").unwrap(),
            reason: BlockReason::parse("spam").unwrap(),
            expires_in_seconds: 7,
            blocked_by: "ops".into(),
        };
        let text = serde_json::to_string(&block).unwrap();
        assert_eq!(
            text,
            r#"{"source":"10.0.0.0/8","reason":"spam","expires_in_seconds":7,"blocked_by":"ops"}"#
        );
        assert_eq!(serde_json::from_str::<ListedBlock>(&text).unwrap(), block);
    }
}
