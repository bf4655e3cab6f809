//! What becomes of a call that did not succeed.

use std::error::Error;

use http::StatusCode;
use serde::Deserialize;

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

/// Refusals that pass by themselves.
const PASSING: [&str; 8] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "InternalServerError",
    "ServiceUnavailable",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
];

impl Refusal {
    /// Reads the answer to a call that failed.
    pub(super) fn read(status: StatusCode, answer: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        struct Answered {
            #[serde(default, rename = "__type")]
            kind: String,
            #[serde(default, alias = "Message")]
            message: String,
            #[serde(default, rename = "Item")]
            item: Option<Item>,
        }
        let Answered { kind, message, item } = serde_json::from_slice(answer).unwrap_or_default();
        // `com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException`
        let code = kind.rsplit('#').next().unwrap_or_default().to_owned();
        Self { status: status.as_u16(), code, message, item }
    }
}

impl CallError {
    /// Whether the same call may succeed a moment later.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::TimedOut | Self::Unreachable(_) | Self::Garbled(_) => true,
            Self::Refused(refusal) => refusal.status >= 500 || PASSING.contains(&refusal.code.as_str()),
            Self::Unmade(_) => false,
        }
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
        let read =
            |status, answer: &str| Refusal::read(StatusCode::from_u16(status).unwrap(), answer.as_bytes());
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
        for answer in ["", "<html>", "[]", r#"{"__type":7}"#] {
            let broken = read(503, answer);
            assert_eq!((broken.status, broken.code.as_str()), (503, ""), "{answer}");
            assert!(CallError::Refused(broken).passes());
        }
    }
}
