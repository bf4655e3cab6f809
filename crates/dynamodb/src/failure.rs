//! What went wrong between the store and DynamoDB, and what the caller may do about it.

use std::error::Error;

use aurora_registry::StoreError;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::client::is_transient_response;

/// After how many seconds a caller may retry what was throttled or timed out: throttling ends
/// within one.
pub(crate) const RETRY_SOON_SECONDS: u32 = 1;
/// After how many seconds a caller may retry what an operator has to fix first.
const RETRY_LATER_SECONDS: u32 = 30;

/// Errors that only an operator fixes; until then the service is unavailable, not broken.
const OPERATORS: [&str; 6] = [
    "ResourceNotFoundException",
    "AccessDeniedException",
    "UnrecognizedClientException",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
];

/// Errors that pass by themselves, whatever their HTTP status.
const TRANSIENT: [&str; 6] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
];

/// The store's error for a call that failed after the client's retries. The log gets all that the
/// service said; the reason, which `/health` shows to anybody, names no account and no role.
pub(crate) fn store_error<E>(action: &str, error: &SdkError<E>) -> StoreError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let kind = kind(error);
    let said = DisplayErrorContext(error);
    tracing::warn!(action, kind, %said, "DynamoDB {action} failed: {kind}");
    let reason = format!("DynamoDB {action} failed: {kind}");
    if OPERATORS.contains(&kind) || kind == NOT_SENT {
        return StoreError::Unavailable { reason, retry_after_seconds: RETRY_LATER_SECONDS };
    }
    if is_transient(error) { unavailable(reason) } else { StoreError::Internal(reason) }
}

/// The request could not be made: there are no credentials, say.
const NOT_SENT: &str = "the call could not be made";
const TIMED_OUT: &str = "no answer in time";
const NO_CONNECTION: &str = "no connection";
const MALFORMED: &str = "a malformed response";

/// What went wrong: DynamoDB's name of its error, or a few words.
fn kind<E: ProvideErrorMetadata>(error: &SdkError<E>) -> &str {
    match error {
        SdkError::TimeoutError(_) => TIMED_OUT,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => TIMED_OUT,
        SdkError::DispatchFailure(failure) if failure.is_io() => NO_CONNECTION,
        // The connection ended before the response did.
        SdkError::DispatchFailure(failure) if failure.as_other().is_some() => NO_CONNECTION,
        SdkError::ResponseError(_) => MALFORMED,
        SdkError::ServiceError(refused) => match error.code() {
            Some(code) if !code.is_empty() => code,
            _ if refused.raw().status().is_success() => MALFORMED,
            _ => "an unknown error",
        },
        _ => NOT_SENT,
    }
}

fn is_transient<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::ServiceError(refused) => {
            is_transient_response(refused.raw()) || error.code().is_some_and(|code| TRANSIENT.contains(&code))
        }
        _ => true,
    }
}

/// A failure that passes by itself.
pub(crate) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { reason: reason.into(), retry_after_seconds: RETRY_SOON_SECONDS }
}
