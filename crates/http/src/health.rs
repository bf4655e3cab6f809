//! `GET /health`

use aurora_protocol::HealthResponse;
use aurora_registry::StoreError;

use crate::answer::Answer;
use crate::call::Call;
use crate::error::Failure;

pub(crate) async fn health(call: Call<'_>) -> Result<Answer, Failure> {
    match call.registry.health().await {
        Ok(()) => Answer::json(&HealthResponse { status: "healthy".to_owned(), reason: None }),
        Err(StoreError::Unavailable { reason, retry_after_seconds }) => {
            Answer::unhealthy(&reason, retry_after_seconds)
        }
        Err(StoreError::Internal(cause)) => {
            tracing::error!(cause, "the store is broken");
            Answer::unhealthy("the store is broken; the log has the cause", 1)
        }
    }
}
