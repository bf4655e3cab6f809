//! What the contract answers when it does not answer with success.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The contract's error codes. How each becomes an HTTP status is the HTTP crate's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The body is not a UTF-8 JSON object with each key once.
    InvalidBody,
    /// A key of the body breaks its rule.
    InvalidField,
    /// A parameter of the query breaks its rule.
    InvalidParameter,
    /// The cursor was not made by this service for this query.
    InvalidCursor,
    /// The cursor was good once; the enumeration has to start anew.
    CursorExpired,
    /// The peer is held by somebody else, and its lease still runs.
    NotHolder,
    /// No such path.
    NotFound,
    /// The registry has nothing of this peer; it has to register.
    PeerNotRegistered,
    /// The path exists, the method on it doesn't.
    MethodNotAllowed,
    /// The body is larger than the contract allows.
    BodyTooLarge,
    /// The caller asks more often than it may.
    RateLimited,
    /// Something broke inside; the log has the cause.
    Internal,
    /// This way of running the service does not offer the call.
    NotAvailableHere,
    /// There is no room for a newcomer.
    RegistryFull,
    /// The service can't keep what it would promise just now.
    Unavailable,
}

impl Code {
    /// Every code, in the contract's order.
    pub const ALL: [Self; 15] = [
        Self::InvalidBody,
        Self::InvalidField,
        Self::InvalidParameter,
        Self::InvalidCursor,
        Self::CursorExpired,
        Self::NotHolder,
        Self::NotFound,
        Self::PeerNotRegistered,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::RateLimited,
        Self::Internal,
        Self::NotAvailableHere,
        Self::RegistryFull,
        Self::Unavailable,
    ];

    /// The code as it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidBody => "invalid_body",
            Self::InvalidField => "invalid_field",
            Self::InvalidParameter => "invalid_parameter",
            Self::InvalidCursor => "invalid_cursor",
            Self::CursorExpired => "cursor_expired",
            Self::NotHolder => "not_holder",
            Self::NotFound => "not_found",
            Self::PeerNotRegistered => "peer_not_registered",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::RateLimited => "rate_limited",
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

/// The rule that a value breaks, worded to follow the name of its key: "must be an integer from 0 to 65535".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub Cow<'static, str>);

impl Invalid {
    /// A rule that is known when the code is written.
    pub const fn rule(rule: &'static str) -> Self {
        Self(Cow::Borrowed(rule))
    }

    /// The refusal of a body whose `field` breaks this rule.
    pub fn in_field(self, field: impl Into<Cow<'static, str>>) -> Refusal {
        self.refuse(Code::InvalidField, field.into())
    }

    /// The refusal of a query whose `parameter` breaks this rule.
    pub fn in_parameter(self, parameter: impl Into<Cow<'static, str>>) -> Refusal {
        self.refuse(Code::InvalidParameter, parameter.into())
    }

    fn refuse(self, code: Code, field: Cow<'static, str>) -> Refusal {
        Refusal { code, message: format!("{field} {}", self.0).into(), field: Some(field) }
    }
}

/// A refusal that the caller can act on: what the contract's error body says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The contract's code.
    pub code: Code,
    /// One sentence a person can act on.
    pub message: Cow<'static, str>,
    /// The key or parameter at fault, if one is.
    pub field: Option<Cow<'static, str>>,
}

impl Refusal {
    /// A refusal that no single key is to blame for.
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
    fn a_code_is_written_the_same_by_serde_and_by_hand() {
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
