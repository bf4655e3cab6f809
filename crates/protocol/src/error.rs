//! The errors of the API.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The API's error codes. The crate `aurora-discovery-http` maps each code to an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The body is not a JSON object in UTF-8, repeats a key, or does not have exactly one of
    /// several alternative keys.
    InvalidBody,
    /// A key of the body breaks its rule.
    InvalidField,
    /// A query parameter breaks its rule.
    InvalidParameter,
    /// The cursor was not issued by this service for this query.
    InvalidCursor,
    /// The cursor was valid once but has expired. The client must enumerate the peers again.
    CursorExpired,
    /// The request needs an API key. It has none, or one that the service does not know.
    Unauthorized,
    /// A signature is missing or not accepted. For example, a registration is not signed by the key
    /// that it names, is for another service, or is unsigned although this service accepts only
    /// signed registrations. Or a message names another key than that of its sender's registration.
    InvalidSignature,
    /// The signature does not prove that it was made recently. Its time differs too much from the
    /// service's time, its nonce is not valid, or the `seq` of a registration is too far ahead of
    /// the service's time. The response contains the service's time and, for a registration, a
    /// nonce that the client can sign instead of its own time.
    StaleSignature,
    /// The id is registered, and the caller has not proved that it is the holder.
    NotHolder,
    /// The peer's name is locked to a key, and the registration is not signed by that key.
    NameLocked,
    /// An operator has blocked the peer, the key of its registration, or the source of the request.
    Blocked,
    /// The API key of the request does not permit it.
    Forbidden,
    /// The path does not exist.
    NotFound,
    /// The registry does not know the peer, so that the client must register it. For messages,
    /// also: the sender or the receiver is not live.
    PeerNotRegistered,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// The service already has a signed registration of the peer with the same `seq` or a higher
    /// one.
    StaleRecord,
    /// The peer has no mailbox: its registration is unsigned, or does not request one.
    NoMailbox,
    /// The receiver was recently sent this message, or another one of the same session by the same
    /// sender.
    RepeatedMessage,
    /// The body is larger than the API allows (`MAX_BODY_BYTES`).
    BodyTooLarge,
    /// The caller exceeds a rate limit, keeps too many peers alive by heartbeats that do not prove,
    /// by a token or by the source address, that it is their holder, or has sent too many messages
    /// that still wait for their receivers.
    RateLimited,
    /// The receiver's mailbox has no room for another message of this sender.
    MailboxFull,
    /// An internal error. The log contains the cause.
    Internal,
    /// This deployment of the service does not support the request.
    NotAvailableHere,
    /// A limit of the registry is reached, so that it does not accept the registration.
    RegistryFull,
    /// The service cannot currently carry out the request reliably, for example because its store
    /// does not respond.
    Unavailable,
}

impl Code {
    /// All codes, in the order in which they are declared.
    pub const ALL: [Self; 25] = [
        Self::InvalidBody,
        Self::InvalidField,
        Self::InvalidParameter,
        Self::InvalidCursor,
        Self::CursorExpired,
        Self::Unauthorized,
        Self::InvalidSignature,
        Self::StaleSignature,
        Self::NotHolder,
        Self::NameLocked,
        Self::Blocked,
        Self::Forbidden,
        Self::NotFound,
        Self::PeerNotRegistered,
        Self::MethodNotAllowed,
        Self::StaleRecord,
        Self::NoMailbox,
        Self::RepeatedMessage,
        Self::BodyTooLarge,
        Self::RateLimited,
        Self::MailboxFull,
        Self::Internal,
        Self::NotAvailableHere,
        Self::RegistryFull,
        Self::Unavailable,
    ];

    /// The code as it appears on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidBody => "invalid_body",
            Self::InvalidField => "invalid_field",
            Self::InvalidParameter => "invalid_parameter",
            Self::InvalidCursor => "invalid_cursor",
            Self::CursorExpired => "cursor_expired",
            Self::Unauthorized => "unauthorized",
            Self::InvalidSignature => "invalid_signature",
            Self::StaleSignature => "stale_signature",
            Self::NotHolder => "not_holder",
            Self::NameLocked => "name_locked",
            Self::Blocked => "blocked",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::PeerNotRegistered => "peer_not_registered",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::StaleRecord => "stale_record",
            Self::NoMailbox => "no_mailbox",
            Self::RepeatedMessage => "repeated_message",
            Self::BodyTooLarge => "body_too_large",
            Self::RateLimited => "rate_limited",
            Self::MailboxFull => "mailbox_full",
            Self::Internal => "internal",
            Self::NotAvailableHere => "not_available_here",
            Self::RegistryFull => "registry_full",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The rule that a value breaks, worded so that it can follow the name of the key: "must be an
/// integer from 0 to 65535".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub Cow<'static, str>);

impl Invalid {
    /// A rule whose text is a constant.
    pub const fn rule(rule: &'static str) -> Self {
        Self(Cow::Borrowed(rule))
    }

    /// Converts the rule into the refusal of a body in which `field` breaks it.
    pub fn in_field(self, field: impl Into<Cow<'static, str>>) -> Refusal {
        self.refuse(Code::InvalidField, field.into())
    }

    /// Converts the rule into the refusal of a query in which `parameter` breaks it.
    pub fn in_parameter(self, parameter: impl Into<Cow<'static, str>>) -> Refusal {
        self.refuse(Code::InvalidParameter, parameter.into())
    }

    fn refuse(self, code: Code, field: Cow<'static, str>) -> Refusal {
        Refusal { code, message: format!("{field} {}", self.0).into(), field: Some(field) }
    }
}

/// A refusal that the caller can act on. It is the content of the API's error body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The error code.
    pub code: Code,
    /// One sentence that a person can act on.
    pub message: Cow<'static, str>,
    /// The key or parameter that caused the refusal, if there is one.
    pub field: Option<Cow<'static, str>>,
}

impl Refusal {
    /// A refusal that is not caused by a single key.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    pub(crate) fn body(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidBody, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_and_as_str_write_the_same_code() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn a_refusal_names_the_key_and_the_rule() {
        let refusal = Invalid::rule("must be an integer").in_field("port");
        assert_eq!(refusal.to_string(), "port must be an integer");
        assert_eq!(refusal.field.as_deref(), Some("port"));
    }
}
