//! What went wrong between the store and DynamoDB, and what the caller may do about it.

use aurora_registry::StoreError;

use crate::client::CallError;

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

/// The store's error for a call that failed for good: the client has tried again what may be. The log gets all that the
/// service said; the reason, which `/health` shows to anybody, names no account and no role.
pub(crate) fn store_error(action: &str, error: &CallError) -> StoreError {
    let kind = kind(error);
    tracing::warn!(action, kind, said = %error, "DynamoDB {action} failed: {kind}");
    let reason = format!("DynamoDB {action} failed: {kind}");
    if OPERATORS.contains(&error.code()) || matches!(error, CallError::Unmade(_)) {
        return StoreError::Unavailable { reason, retry_after_seconds: RETRY_LATER_SECONDS };
    }
    if error.passes() { unavailable(reason) } else { StoreError::Internal(reason) }
}

fn kind(error: &CallError) -> &str {
    match error {
        CallError::Unmade(_) => "the call could not be made",
        CallError::TimedOut => "no answer in time",
        CallError::Unreachable(_) => "no connection",
        CallError::Garbled(_) => "an answer that is none",
        CallError::Refused(refusal) if refusal.code.is_empty() => "an unknown error",
        CallError::Refused(refusal) => &refusal.code,
    }
}

/// A failure that passes by itself.
pub(crate) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { reason: reason.into(), retry_after_seconds: RETRY_SOON_SECONDS }
}
