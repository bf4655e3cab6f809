//! The errors of opening a store, which an operator reads, and those of its operations.

use aurora_discovery_registry::StoreError;
use redis::RedisError;

/// After how many seconds a client may retry a request that failed as unavailable. A failover takes
/// about this long.
const RETRY_AFTER_SECONDS: u32 = 2;

/// Why a store can't be opened, as a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub(crate) String);

impl From<RedisError> for OpenError {
    fn from(error: RedisError) -> Self {
        Self(format!("Valkey can't be used: {error}"))
    }
}

/// A transient failure: the client may send the same request again.
pub(crate) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { reason: reason.into(), retry_after_seconds: RETRY_AFTER_SECONDS }
}

/// The failure of a change that had no effect.
pub(crate) fn had_no_effect(error: &RedisError) -> StoreError {
    unavailable(format!("Valkey accepted no change: {error}"))
}

/// The failure of a change if the store does not know whether the server has executed it, or
/// whether the server will keep it.
pub(crate) fn may_have_taken_effect(cause: &str) -> StoreError {
    unavailable(format!("the change may have taken effect, but is not confirmed: {cause}"))
}

/// Whether the error is a response of the server, which then has not executed the command. Any
/// other error comes from the connection, and the server may have executed the command.
pub(crate) fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), redis::ErrorKind::Server(_) | redis::ErrorKind::Extension)
}

/// The error for a response of the server that does not have the expected form.
pub(crate) fn unexpected(what: &'static str) -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, what))
}
