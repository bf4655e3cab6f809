//! Why a call failed.

use std::time::Duration;

use aurora_protocol::{Code, ErrorBody};

/// Why a call failed, as a sentence that a person can act on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client can't be made as asked.
    #[error("{0}")]
    Options(String),
    /// The service refused, with its reason.
    #[error("{}", refusal(*status, body))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the service said.
        body: ErrorBody,
        /// When it wants to be asked again, if it said so.
        retry_after: Option<Duration>,
    },
    /// No connection, or one that broke before the answer was whole.
    #[error("{endpoint} can't be reached ({cause}); check the endpoint, and that the service runs")]
    Unreachable {
        /// The endpoint that was tried.
        endpoint: String,
        /// What went wrong underneath.
        cause: String,
    },
    /// No answer in time.
    #[error(
        "{endpoint} did not answer within {timeout:?}; the service may be overloaded, or the network slow"
    )]
    TimedOut {
        /// The endpoint that was tried.
        endpoint: String,
        /// How long one attempt was given.
        timeout: Duration,
    },
    /// An answer that the contract does not know: something else answers at the endpoint, or stands in front of it.
    #[error(
        "{endpoint} answered with HTTP {status} and {cause}; check that it is the endpoint of Aurora Discovery"
    )]
    Protocol {
        /// The endpoint that answered.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with the answer.
        cause: String,
        /// When it wants to be asked again, if it said so.
        retry_after: Option<Duration>,
    },
}

impl Error {
    /// Whether the same call may succeed later without a change: no connection, no time, no room.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Options(_) => false,
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Refused { status, .. } | Self::Protocol { status, .. } => {
                matches!(status, 429 | 500 | 502 | 503 | 504)
            }
        }
    }

    /// The contract's code, if the service gave one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { body, .. } => Some(body.code),
            _ => None,
        }
    }

    /// When the service wants to be asked again, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Protocol { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn refusal(status: u16, body: &ErrorBody) -> String {
    format!("the service refused: {} ({}, HTTP {status})", body.error, body.code)
}
