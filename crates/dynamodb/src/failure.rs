//! What went wrong between the store and DynamoDB, and what the caller may do about it.

use std::fmt::Debug;

use aurora_registry::StoreError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

/// After how long a caller may try again what was throttled or timed out, in seconds: throttling ends within one.
pub(crate) const RETRY_SOON_SECONDS: u32 = 1;
/// After how long a caller may try again what an operator has to mend first, in seconds.
const RETRY_LATER_SECONDS: u32 = 30;

/// Errors that only an operator mends; until then the service is unavailable, not broken.
const OPERATORS: [&str; 6] = [
    "ResourceNotFoundException",
    "AccessDeniedException",
    "UnrecognizedClientException",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
];

/// The store's error for a call that failed for good: the SDK has tried again what may be. The log gets all that the
/// service said; the reason, which `/health` shows to anybody, names no account and no role.
pub(crate) fn store_error<E>(action: &str, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: std::error::Error + ProvideErrorMetadata + Debug + 'static,
{
    let code = error.code().unwrap_or_default();
    let kind = kind(error, code);
    let said = error.message().unwrap_or_default();
    match error {
        SdkError::ServiceError(_) => tracing::warn!(action, kind, said, "DynamoDB {action} failed: {kind}"),
        _ => {
            let cause = DisplayErrorContext(error).to_string();
            tracing::warn!(action, kind, cause, "DynamoDB {action} failed: {kind}");
        }
    }
    let reason = format!("DynamoDB {action} failed: {kind}");
    if OPERATORS.contains(&code) || matches!(error, SdkError::ConstructionFailure(_)) {
        return StoreError::Unavailable { reason, retry_after_seconds: RETRY_LATER_SECONDS };
    }
    if passes(error, code) { unavailable(reason) } else { StoreError::Internal(reason) }
}

fn kind<'c, E>(error: &SdkError<E, HttpResponse>, code: &'c str) -> &'c str {
    match error {
        SdkError::ConstructionFailure(_) => "the call could not be made",
        SdkError::TimeoutError(_) => "no answer in time",
        SdkError::DispatchFailure(_) => "no connection or no credentials",
        SdkError::ResponseError(_) => "an answer that is none",
        SdkError::ServiceError(_) if !code.is_empty() => code,
        _ => "an unknown error",
    }
}

/// A failure that passes by itself.
pub(crate) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { reason: reason.into(), retry_after_seconds: RETRY_SOON_SECONDS }
}

fn passes<E>(error: &SdkError<E, HttpResponse>, code: &str) -> bool {
    const THROTTLES: [&str; 8] = [
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "InternalServerError",
        "ServiceUnavailable",
        "TransactionInProgressException",
        "ReplicatedWriteConflictException",
    ];
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
        SdkError::ServiceError(refused) => {
            THROTTLES.contains(&code) || refused.raw().status().as_u16() >= 500
        }
        _ => false,
    }
}
