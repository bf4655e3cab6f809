//! What becomes of a call that did not succeed.

use std::error::Error;

use serde_json::Value;

use crate::item::Item;

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(pub(super) String);

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// DynamoDB answered that it did not carry it out.
    #[error("{0}")]
    Refused(Refusal),
    /// Nothing answered in time; it may have been carried out.
    #[error("no answer in time")]
    TimedOut,
    /// There was no connection, or it broke; the call may have been carried out.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// It could not even be made: no credentials, say.
    #[error("{0}")]
    Unmade(String),
    /// The answer can't be read.
    #[error("an answer that is none: {0}")]
    Garbled(String),
}

/// What DynamoDB answers instead of a result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct Refusal {
    /// HTTP's status.
    pub status: u16,
    /// DynamoDB's name of the error, such as `ThrottlingException`; empty if there was none.
    pub code: String,
    /// What it says to people.
    pub message: String,
    /// The item that stands where a condition did not hold.
    pub(crate) item: Option<Item>,
}

/// Refusals that pass by themselves, beside those of a status that says so.
const PASSING: [&str; 6] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
];

/// Refusals that other keys may not meet.
const ABOUT_KEYS: [&str; 2] = ["ExpiredTokenException", "UnrecognizedClientException"];

/// How a refusal begins of a call that was signed too long ago, as when the process was frozen in between, or too early.
const MISTIMED: [&str; 2] = ["Signature expired", "Signature not yet current"];

impl Refusal {
    /// Reads the answer to a call that failed.
    pub(super) fn read(status: u16, answer: &[u8]) -> Self {
        // Field by field, so that one that is odd does not hide the others.
        let mut answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let item = answer.get_mut("Item").map(Value::take);
        let text = |name: &str| answer[name].as_str().unwrap_or_default();
        // `com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException`
        let code = text("__type").rsplit('#').next().unwrap_or_default().to_owned();
        let message = if text("message").is_empty() { text("Message") } else { text("message") };
        let item = item.and_then(|item| serde_json::from_value(item).ok());
        Self { status, code, message: message.to_owned(), item }
    }
}

impl CallError {
    /// Whether the same call may succeed a moment later.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::TimedOut | Self::Unreachable(_) | Self::Garbled(_) => true,
            Self::Refused(refusal) => {
                // 408 and 429 are what proxies say on the way.
                matches!(refusal.status, 408 | 429 | 500..)
                    || PASSING.contains(&refusal.code.as_str())
                    || MISTIMED.iter().any(|start| refusal.message.starts_with(start))
            }
            Self::Unmade(_) => false,
        }
    }

    /// Whether the keys are not, or no longer, good.
    pub(super) fn is_about_keys(&self) -> bool {
        ABOUT_KEYS.contains(&self.code())
    }

    /// DynamoDB's name of the error, if it answered with one.
    pub fn code(&self) -> &str {
        if let Self::Refused(refusal) = self { &refusal.code } else { "" }
    }
}

/// An error and what caused it.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_whatever_it_says() {
        let read = |status, answer: &str| Refusal::read(status, answer.as_bytes());
        let lost = read(
            400,
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","Message":"The conditional request failed","Item":{"gen":{"B":"AA=="}}}"#,
        );
        assert_eq!(lost.code, "ConditionalCheckFailedException");
        assert_eq!(lost.message, "The conditional request failed");
        assert_eq!(lost.item.unwrap().len(), 1);
        let throttled = read(
            400,
            r#"{"__type":"com.amazon.coral.availability#ThrottlingException","message":"Rate exceeded"}"#,
        );
        assert!(CallError::Refused(throttled).passes());
        assert!(!CallError::Refused(read(403, r#"{"__type":"x#AccessDeniedException"}"#)).passes());
        for odd in [
            r#""message":null"#,
            r#""message":"a","Message":"b""#,
            r#""Message":{},"Item":{"gen":7}"#,
            r#""Item":null"#,
        ] {
            let throttled = read(400, &format!(r#"{{"__type":"x#ThrottlingException",{odd}}}"#));
            assert_eq!(throttled.code, "ThrottlingException", "{odd}");
        }
        for answer in ["", "<html>", "[]", r#"{"__type":7}"#] {
            for (status, passes) in [(408, true), (429, true), (500, true), (503, true), (404, false)] {
                let broken = read(status, answer);
                assert_eq!((broken.status, broken.code.as_str()), (status, ""), "{answer}");
                assert_eq!(CallError::Refused(broken).passes(), passes, "{status}");
            }
        }
    }

    #[test]
    fn what_was_signed_at_a_wrong_time_is_signed_again_and_what_was_signed_wrongly_is_not() {
        let passes = |message: &str| {
            let answer = format!(r#"{{"__type":"x#InvalidSignatureException","message":"{message}"}}"#);
            CallError::Refused(Refusal::read(400, answer.as_bytes())).passes()
        };
        assert!(passes("Signature expired: 20251002T115000Z is now earlier than 20251002T115500Z"));
        assert!(passes("Signature not yet current: 20251002T121000Z is still later than 20251002T120500Z"));
        assert!(!passes("The request signature we calculated does not match the signature you provided."));
    }
}
