//! Errors: at the start, for an operator; and later, as those of the store.

use aurora_discovery_registry::StoreError;
use redis::RedisError;

/// After how many seconds a client may retry when the server is away: about as long as a failover
/// takes.
const RETRY_AFTER_SECONDS: u32 = 2;

/// Why a store can't be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub(crate) String);

impl From<RedisError> for OpenError {
    fn from(error: RedisError) -> Self {
        Self(format!("Valkey can't be used: {error}"))
    }
}

/// A failure that ends by itself.
pub(crate) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { reason: reason.into(), retry_after_seconds: RETRY_AFTER_SECONDS }
}

/// The failure of a change that had no effect.
pub(crate) fn had_no_effect(error: &RedisError) -> StoreError {
    unavailable(format!("Valkey accepted no change: {error}"))
}

/// The failure of a change whose effect is not known.
pub(crate) fn may_have_taken_effect(cause: &str) -> StoreError {
    unavailable(format!("the change may have taken effect, but is not confirmed: {cause}"))
}

/// Whether the server responded that it did not execute a command, so that the command had no effect.
pub(crate) fn is_refusal(error: &RedisError) -> bool {
    matches!(error.kind(), redis::ErrorKind::Server(_) | redis::ErrorKind::Extension)
}

/// The reason why a value that the server returned can't be used.
pub(crate) fn unexpected(what: &'static str) -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, what))
}
