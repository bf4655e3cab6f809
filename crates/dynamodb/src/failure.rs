//! Maps errors of DynamoDB to errors of the store, which tell a client when it may retry.

use std::error::Error;
use std::iter;

use aurora_discovery_registry::StoreError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::client::is_transient_response;

/// After how many seconds a client may retry after a transient error. Throttling, for example, ends
/// within a second.
pub(crate) const RETRY_SOON_SECONDS: u32 = 1;
/// After how many seconds a client may retry if an operator has to fix the problem first.
const RETRY_LATER_SECONDS: u32 = 30;

/// Errors that an operator has to fix. Clients get 503, because they may retry later.
const NEEDS_OPERATOR: [&str; 6] = [
    "ResourceNotFoundException",
    "AccessDeniedException",
    "UnrecognizedClientException",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
];

/// Errors that are transient, whatever their HTTP status is.
const TRANSIENT: [&str; 6] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
];

/// Logs a call that failed despite the client's retries, and returns the store's error for it.
///
/// The log gets the error and its causes, but not the response itself, which may contain stored
/// data. The reason in the store's error has only the action and the kind of the error. It must not
/// contain an account or a role, because `/health` shows it to every caller.
pub(crate) fn store_error<E>(action: &str, error: &SdkError<E>) -> StoreError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let kind = kind(error);
    let causes = iter::successors(Some(error as &dyn Error), |&error| error.source());
    let causes = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    tracing::warn!(action, kind, causes, "DynamoDB {action} failed: {kind}");
    let reason = format!("DynamoDB {action} failed: {kind}");
    if NEEDS_OPERATOR.contains(&kind) || kind == NOT_SENT {
        return StoreError::Unavailable { reason, retry_after_seconds: RETRY_LATER_SECONDS };
    }
    if is_transient(error) { unavailable(reason) } else { StoreError::Internal(reason) }
}

/// The request was not sent, for example because there are no credentials.
const NOT_SENT: &str = "the request could not be sent";
const TIMED_OUT: &str = "no response in time";
const NO_CONNECTION: &str = "no connection";
const MALFORMED: &str = "a malformed response";

/// The kind of an error: DynamoDB's code for it, or a short description.
fn kind<E: ProvideErrorMetadata>(error: &SdkError<E>) -> &str {
    match error {
        SdkError::TimeoutError(_) => TIMED_OUT,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => TIMED_OUT,
        SdkError::DispatchFailure(failure) if failure.is_io() => NO_CONNECTION,
        // The connection ended before the whole response had arrived.
        SdkError::DispatchFailure(failure) if failure.as_other().is_some() => NO_CONNECTION,
        SdkError::ResponseError(_) => MALFORMED,
        SdkError::ServiceError(rejected) => match error.code() {
            Some(code) if !code.is_empty() => code,
            _ if rejected.raw().status().is_success() => MALFORMED,
            _ => "an unknown error",
        },
        _ => NOT_SENT,
    }
}

fn is_transient<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::ServiceError(rejected) => {
            is_transient_response(rejected.raw())
                || error.code().is_some_and(|code| TRANSIENT.contains(&code))
        }
        _ => true,
    }
}

/// The store's error for a transient failure.
pub(crate) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { reason: reason.into(), retry_after_seconds: RETRY_SOON_SECONDS }
}
