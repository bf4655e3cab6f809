//! Maps failures to the message for the client and the message for the log.

use std::borrow::Cow;
use std::time::Duration;

use aurora_discovery_protocol::{Code, ErrorBody, Invalid, Refusal, Timestamp};
use aurora_discovery_registry::{Error, ExceededLimit, Held, StoreError};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::origin::UnknownClient;

/// After how many seconds to try again if a limit of the registry is reached. The response states a
/// random time from this to twice as long. In that time, some peers have probably deregistered, or
/// their leases have ended.
const FULL_RETRY_SECONDS: u32 = 30;
/// After how many seconds to try again if a mailbox is full. The time is short, because most
/// receivers wait for messages and fetch them at once.
const MAILBOX_RETRY_SECONDS: u32 = 5;
/// After how many seconds to try again if no better value is known. A short overload has usually
/// passed by then.
const SOON_SECONDS: u32 = 1;

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The message for the client.
    pub(crate) refusal: Refusal,
    /// After how many seconds the client may try again.
    pub(crate) retry_after_seconds: Option<u32>,
    /// Additional information for the log, which is never sent.
    pub(crate) cause: Option<Cow<'static, str>>,
    /// The status, if it is not the one that `status` gives for the code.
    pub(crate) status: Option<StatusCode>,
    /// What the client needs to sign its registration or its message again.
    pub(crate) resign: Option<Box<Resign>>,
}

/// What a client needs to sign a registration or a message again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resign {
    /// The `seq` of the new registration must be above this number, the highest that the service
    /// knows for this peer.
    Above { seq: u64 },
    /// The current time of the service. For a registration, also a nonce that the client may sign
    /// instead of a time.
    Now { timestamp: Timestamp, nonce: Option<String> },
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Refusal::new(code, message).into()
    }

    /// An internal error.
    pub(crate) fn internal(cause: impl Into<Cow<'static, str>>) -> Self {
        Self { cause: Some(cause.into()), ..Self::new(Code::Internal, "Internal server error") }
    }

    /// The service is temporarily unable to handle the request.
    pub(crate) fn unavailable(message: &'static str) -> Self {
        Self { cause: Some(message.into()), ..Self::new(Code::Unavailable, message) }
    }

    /// A source or one of its networks sends too many requests. There will be room after `wait`.
    pub(crate) fn rate_limited(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX).max(SOON_SECONDS);
        Self {
            retry_after_seconds: Some(seconds),
            ..Self::new(
                Code::RateLimited,
                "too many requests from this address or its network; wait for Retry-After seconds, \
                 and send fewer",
            )
        }
    }

    /// The body of the response.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = ErrorBody::from(self.refusal.clone());
        match self.resign.as_deref() {
            Some(Resign::Above { seq }) => body.seq = Some(*seq),
            Some(Resign::Now { timestamp, nonce }) => {
                (body.timestamp, body.nonce) = (Some(*timestamp), nonce.clone());
            }
            None => {}
        }
        // Serializing strings and numbers never fails.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// The failure also goes into the extensions of the response, from which the service counts and
/// logs it.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.status.unwrap_or_else(|| status(self.refusal.code));
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, retry_after(seconds));
        }
        if self.refusal.code == Code::Unauthorized {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The value of `Retry-After`, drawn from `seconds` to twice as long, so that clients that were
/// refused in the same second do not all return in the same second.
pub(crate) fn retry_after(seconds: u32) -> HeaderValue {
    seconds.saturating_add(fastrand::u32(..=seconds)).into()
}

/// The status of each of the API's codes.
const fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidBody
        | Code::InvalidField
        | Code::InvalidParameter
        | Code::InvalidCursor
        | Code::CursorExpired => StatusCode::BAD_REQUEST,
        Code::Unauthorized | Code::InvalidSignature | Code::StaleSignature => StatusCode::UNAUTHORIZED,
        Code::NotHolder | Code::NameLocked | Code::Blocked | Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound | Code::PeerNotRegistered => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::StaleRecord | Code::NoMailbox | Code::RepeatedMessage => StatusCode::CONFLICT,
        Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::RateLimited | Code::MailboxFull => StatusCode::TOO_MANY_REQUESTS,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::NotAvailableHere => StatusCode::NOT_IMPLEMENTED,
        Code::RegistryFull | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let retry_after_seconds = match refusal.code {
            Code::RegistryFull => Some(FULL_RETRY_SECONDS),
            Code::MailboxFull => Some(MAILBOX_RETRY_SECONDS),
            Code::RateLimited | Code::Unavailable => Some(SOON_SECONDS),
            _ => None,
        };
        Self { refusal, retry_after_seconds, cause: None, status: None, resign: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotHolder(held) => not_holder(held),
            Error::NameLocked(key) => Self::new(
                Code::NameLocked,
                format!("the name is locked to {key}; sign the registration with it, or use another peer_id"),
            ),
            Error::StaleRecord { seq } => Self {
                resign: Some(Box::new(Resign::Above { seq })),
                ..Self::new(
                    Code::StaleRecord,
                    format!("seq must be above {seq}; sign the registration again"),
                )
            },
            Error::StaleSignature { timestamp, nonce } => Self {
                resign: Some(Box::new(Resign::Now { timestamp, nonce: Some(nonce) })),
                ..Self::new(
                    Code::StaleSignature,
                    format!(
                        "the registration must be signed within 300 s of {timestamp} UTC, and its seq must \
                         be at most that time in milliseconds and 300 s more; sign it again, with the \
                         nonce instead of iat if the clock can't be set"
                    ),
                )
            },
            Error::SignatureRequired => Self::new(
                Code::InvalidSignature,
                "this service accepts signed registrations only; send {\"signed\": \"<JWS>\"}",
            ),
            Error::OtherAudience => in_field(
                "signed.aud",
                Code::InvalidSignature,
                "signed.aud must be the name of this service, or left out if it has none",
            ),
            Error::InvalidRecord(refusal) => refusal.into(),
            Error::TooManyUnproven => Self {
                retry_after_seconds: Some(FULL_RETRY_SECONDS),
                ..Self::new(
                    Code::RateLimited,
                    "too many peers of other networks are kept alive from this address; send the \
                     lease_token of each peer with its heartbeat",
                )
            },
            Error::SourceIsLinkLocal => Invalid::rule(
                "must be sent, because the request came from a link-local address, which other networks \
                 can't reach: send an IP address or a DNS name at which other peers reach this one",
            )
            .in_field("address")
            .into(),
            Error::AddressNotPublic => Invalid::rule(
                "must be public on this service: send an IP address or a DNS name at which hosts in \
                 other networks reach this peer",
            )
            .in_field("address")
            .into(),
            Error::TooManyArchetypes { max } => {
                Invalid(format!("must have at most {max} archetypes on this service; send fewer").into())
                    .in_field("archetypes")
                    .into()
            }
            Error::Blocked { until } => Self::new(
                Code::Blocked,
                format!(
                    "an operator has blocked this peer, its key or this address until {until} UTC; ask the \
                     operator"
                ),
            ),
            Error::NotBlocked => Self::new(
                Code::NotFound,
                "no block of exactly this subject is in force; GET /admin/blocks lists all",
            ),
            Error::TooManyBlocks => Self::new(
                Code::RegistryFull,
                "the list of blocks has its maximum size; unblock others first, or block larger prefixes",
            ),
            Error::NotRegistered => {
                Self::new(Code::PeerNotRegistered, "no such peer is registered here; register it first")
            }
            Error::TtlOutOfBounds { min, max } => {
                Invalid(format!("must be an integer from {} to {}", min.as_secs(), max.as_secs()).into())
                    .in_field("ttl_seconds")
                    .into()
            }
            Error::Full(limit) => Self::new(Code::RegistryFull, format!("{limit}; {}", remedy(limit))),
            Error::InvalidCursor => in_field(
                "cursor",
                Code::InvalidCursor,
                "cursor must be the next_cursor of an earlier page of the same query",
            ),
            Error::CursorExpired => in_field(
                "cursor",
                Code::CursorExpired,
                "the cursor has expired; restart the enumeration without a cursor",
            ),
            Error::InvalidSince => in_field(
                "since",
                Code::InvalidCursor,
                "since must be empty, now, or the since of an earlier response to the same query",
            ),
            Error::SinceExpired => in_field(
                "since",
                Code::CursorExpired,
                "the changes after since are no longer available; start over: request since=now, \
                 enumerate with order=all, and continue from the since of the first response",
            ),
            Error::NoChangeLog => Self::new(
                Code::NotAvailableHere,
                "a service with a shared registry keeps no change log; request samples \
                 periodically, or enumerate with order=all",
            ),
            Error::ReceiverNotLive => in_field(
                "to",
                Code::PeerNotRegistered,
                "the receiver is not live; try again once /discover lists it",
            ),
            Error::NoMailbox { is_receiver: true } => in_field(
                "to",
                Code::NoMailbox,
                "the receiver has no mailbox: its registration is not signed, or does not have mail set to true",
            ),
            Error::NoMailbox { is_receiver: false } => Self::new(
                Code::NoMailbox,
                "the peer has no mailbox; sign its registration, with mail set to true",
            ),
            Error::StaleMessage { timestamp } => Self {
                resign: Some(Box::new(Resign::Now { timestamp, nonce: None })),
                ..in_field(
                    "message.iat",
                    Code::StaleSignature,
                    "message.iat must be within 300 s of the timestamp of this response; sign the message again",
                )
            },
            Error::RepeatedMessage => in_field(
                "message.sid",
                Code::RepeatedMessage,
                "the receiver was sent this message, or another with its sid, within the last 120 s",
            ),
            Error::MailboxFull => Self::new(
                Code::MailboxFull,
                "the receiver has not fetched earlier messages, of which two may be of one sender; try again",
            ),
            Error::TooMuchMail => Self {
                retry_after_seconds: Some(MAILBOX_RETRY_SECONDS),
                ..Self::new(
                    Code::RateLimited,
                    "too many messages from this address wait for their receivers; try again later",
                )
            },
            Error::NoMailboxes => {
                Self::new(Code::NotAvailableHere, "this service keeps no mailboxes for its peers")
            }
            Error::Store(error) => error.into(),
        }
    }
}

fn not_holder(Held { until }: Held) -> Failure {
    let message = format!(
        "the registration is held until {until} UTC, and longer if it is renewed; send its lease_token, \
         use another peer_id, or wait until then"
    );
    Failure::new(Code::NotHolder, message)
}

/// What a client can do about a limit that its registration would exceed.
const fn remedy(limit: ExceededLimit) -> &'static str {
    match limit {
        ExceededLimit::Peers => "try again later",
        ExceededLimit::Bytes => "publish less metadata and fewer archetypes, or try again later",
        ExceededLimit::Source | ExceededLimit::Network | ExceededLimit::Site => {
            "deregister peers that have ended, or try again later"
        }
        ExceededLimit::Address | ExceededLimit::Host => {
            "register from the address that the peer publishes, publish another one, or try again later"
        }
        ExceededLimit::Archetypes => "use archetypes that other peers have, or try again later",
    }
}

fn in_field(field: &'static str, code: Code, message: &'static str) -> Failure {
    Refusal { field: Some(field.into()), ..Refusal::new(code, message) }.into()
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { reason, retry_after_seconds } => Self {
                retry_after_seconds: Some(retry_after_seconds.max(SOON_SECONDS)),
                cause: Some(reason.into()),
                ..Self::new(
                    Code::Unavailable,
                    "the service is temporarily unable to handle this request; try again later",
                )
            },
            StoreError::Internal(cause) => Self::internal(cause),
        }
    }
}

impl From<UnknownClient> for Failure {
    fn from(error: UnknownClient) -> Self {
        let refusal = Refusal::new(Code::InvalidParameter, error.to_string());
        Refusal { field: Some("X-Forwarded-For".into()), ..refusal }.into()
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(format!("the response could not be written: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use aurora_discovery_protocol::{PublicKey, Ttl};
    use aurora_discovery_registry::ExceededLimit;

    use super::*;

    #[test]
    fn only_failures_that_can_be_retried_have_a_retry_time() {
        for code in Code::ALL {
            let may_retry = matches!(
                code,
                Code::RateLimited | Code::MailboxFull | Code::RegistryFull | Code::Unavailable
            );
            assert_eq!(Failure::new(code, "").retry_after_seconds.is_some(), may_retry, "{code}");
        }
    }

    #[test]
    fn the_cause_of_a_store_failure_is_not_in_the_message_for_the_client() {
        let failure = Failure::from(StoreError::Internal("slot 7 is torn".to_owned()));
        assert_eq!(failure.refusal.message, "Internal server error");
        assert_eq!(failure.cause.as_deref(), Some("slot 7 is torn"));
        let reason = "disk full at /var/lib/x".to_owned();
        let failure = Failure::from(StoreError::Unavailable { reason, retry_after_seconds: 0 });
        assert!(!failure.refusal.message.contains("disk"));
        assert_eq!(failure.retry_after_seconds, Some(1));
    }

    #[test]
    fn each_registry_error_maps_to_a_code_a_field_and_a_message() {
        let until = Timestamp::from_secs(1_759_406_400);
        let (min, max) = (Ttl::from_secs(30), Ttl::from_secs(3_600));
        for (error, code, field, text) in [
            (Error::NotHolder(Held { until }), Code::NotHolder, None, "until 2025-10-02T12:00:00 UTC"),
            (Error::NameLocked(PublicKey::from_bytes([7; 32])), Code::NameLocked, None, "did:key:z6Mk"),
            (Error::StaleRecord { seq: 7 }, Code::StaleRecord, None, "above 7"),
            (Error::ReceiverNotLive, Code::PeerNotRegistered, Some("to"), "not live"),
            (Error::NoMailbox { is_receiver: true }, Code::NoMailbox, Some("to"), "the receiver"),
            (Error::NoMailbox { is_receiver: false }, Code::NoMailbox, None, "sign its registration"),
            (Error::StaleMessage { timestamp: until }, Code::StaleSignature, Some("message.iat"), "300 s"),
            (Error::RepeatedMessage, Code::RepeatedMessage, Some("message.sid"), "120 s"),
            (Error::MailboxFull, Code::MailboxFull, None, "two"),
            (Error::TooMuchMail, Code::RateLimited, None, "from this address"),
            (Error::NoMailboxes, Code::NotAvailableHere, None, "no mailboxes"),
            (
                Error::StaleSignature { timestamp: until, nonce: "n".to_owned() },
                Code::StaleSignature,
                None,
                "within 300 s of 2025-10-02T12:00:00 UTC",
            ),
            (Error::SignatureRequired, Code::InvalidSignature, None, "signed registrations only"),
            (Error::OtherAudience, Code::InvalidSignature, Some("signed.aud"), "name of this service"),
            (Error::TooManyUnproven, Code::RateLimited, None, "send the lease_token"),
            (Error::SourceIsLinkLocal, Code::InvalidField, Some("address"), "address must be sent"),
            (Error::AddressNotPublic, Code::InvalidField, Some("address"), "address must be public"),
            (Error::TooManyArchetypes { max: 8 }, Code::InvalidField, Some("archetypes"), "at most 8"),
            (Error::Blocked { until }, Code::Blocked, None, "until 2025-10-02T12:00:00 UTC"),
            (Error::NotBlocked, Code::NotFound, None, "no block"),
            (Error::TooManyBlocks, Code::RegistryFull, None, "maximum size"),
            (Error::NotRegistered, Code::PeerNotRegistered, None, "register"),
            (Error::TtlOutOfBounds { min, max }, Code::InvalidField, Some("ttl_seconds"), "from 30 to 3600"),
            (Error::Full(ExceededLimit::Site), Code::RegistryFull, None, "IPv6 /48 is reached; deregister"),
            (Error::InvalidCursor, Code::InvalidCursor, Some("cursor"), "next_cursor"),
            (Error::CursorExpired, Code::CursorExpired, Some("cursor"), "restart the enumeration"),
            (Error::InvalidSince, Code::InvalidCursor, Some("since"), "same query"),
            (Error::SinceExpired, Code::CursorExpired, Some("since"), "since=now, enumerate with order=all"),
            (Error::NoChangeLog, Code::NotAvailableHere, None, "order=all"),
        ] {
            let Refusal { code: actual_code, message, field: actual_field } = Failure::from(error).refusal;
            assert_eq!((actual_code, actual_field.as_deref()), (code, field), "{message}");
            assert!(message.contains(text), "{message}");
        }
    }
}
