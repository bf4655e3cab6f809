//! Errors of the client.

use std::path::PathBuf;
use std::time::Duration;

use aurora_discovery_protocol::{Code, ErrorBody, Refusal};

/// The reason why an operation of this crate failed, as a sentence that a person can act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is invalid, or a client, a signer or a request cannot be created.
    #[error("{0}")]
    Options(String),
    /// A value of the request is invalid, so the request was not sent.
    #[error(transparent)]
    Invalid(#[from] Refusal),
    /// The service refused the request.
    #[error("{}", refusal(*status, body))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The reason that the service gave.
        body: Box<ErrorBody>,
        /// When to retry, if the service said so.
        retry_after: Option<Duration>,
    },
    /// The connection could not be established, or broke before the response was complete.
    #[error("{endpoint} can't be reached ({cause}); check the endpoint, and that the service runs")]
    Unreachable {
        /// The endpoint of the request.
        endpoint: String,
        /// The underlying error.
        cause: String,
    },
    /// The server's certificate was rejected.
    #[error("{endpoint} sent a certificate that can't be accepted: {cause}; {remedy}")]
    Certificate {
        /// The endpoint of the request.
        endpoint: String,
        /// Why the certificate was rejected.
        cause: String,
        /// What the user can do, as a clause.
        remedy: String,
    },
    /// There was no complete response in time.
    #[error(
        "{endpoint} did not respond within {timeout:?}; the service may be overloaded, or the network slow"
    )]
    TimedOut {
        /// The endpoint of the request.
        endpoint: String,
        /// The time limit of one attempt.
        timeout: Duration,
    },
    /// The response does not conform to the API. Probably another program runs at the endpoint, or
    /// a proxy in front of the service sent the response.
    #[error(
        "{endpoint} responded with HTTP {status} and {cause}; check that it is the endpoint of Aurora Discovery"
    )]
    Protocol {
        /// The endpoint of the request.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with the response.
        cause: String,
        /// How long to wait before a retry, if the response has `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// A token file cannot be read or written.
    #[error("the token file {} {cause}", path.display())]
    TokenFile {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The file of a peer's private key or of an API key cannot be read or created.
    #[error("the key file {} {cause}", path.display())]
    KeyFile {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The event handler of a lease keeper panicked, so that the keeper stopped. The keeper's task
    /// may also have ended because its runtime was shut down.
    #[error("the lease keeper stopped because of a panic in its event handler: {message}")]
    HandlerPanicked {
        /// The message of the panic.
        message: String,
    },
}

impl Error {
    /// Whether the same request may succeed later: the reason was the connection, the server's
    /// certificate, the time limit, or a failure or an overload of the service.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Options(_)
            | Self::Invalid(_)
            | Self::TokenFile { .. }
            | Self::KeyFile { .. }
            | Self::HandlerPanicked { .. } => false,
            // A rejected certificate is transient, because the operator may replace it.
            Self::Unreachable { .. } | Self::Certificate { .. } | Self::TimedOut { .. } => true,
            Self::Refused { status, .. } | Self::Protocol { status, .. } => {
                matches!(status, 429 | 500 | 502 | 503 | 504)
            }
        }
    }

    /// The error code, if the service sent one or the request was not valid.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { body, .. } => Some(body.code),
            Self::Invalid(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    /// The HTTP status of the response, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::Protocol { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// When to retry, if the service said so.
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
