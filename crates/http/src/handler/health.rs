//! `GET /health`

use aurora_discovery_protocol::HealthResponse;
use aurora_discovery_registry::StoreError;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;

use super::context::Context;
use crate::error::{Failure, retry_after};
use crate::response::json;

pub(crate) async fn health(context: Context) -> Result<Response, Failure> {
    match context.registry().store().health().await {
        Ok(()) => json(&HealthResponse { status: "healthy".to_owned(), reason: None }),
        Err(StoreError::Unavailable { reason, retry_after_seconds }) => {
            unhealthy(reason, retry_after_seconds)
        }
        Err(StoreError::Internal(cause)) => {
            tracing::error!(cause, "the store is broken");
            unhealthy("the store is broken; the log has the cause".to_owned(), 1)
        }
    }
}

/// An unhealthy response. Its status is 503, but its body is not an error body of the API.
fn unhealthy(reason: String, retry_after_seconds: u32) -> Result<Response, Failure> {
    let body = json(&HealthResponse { status: "unhealthy".to_owned(), reason: Some(reason) })?;
    let retry_after = [(RETRY_AFTER, retry_after(retry_after_seconds.max(1)))];
    Ok((StatusCode::SERVICE_UNAVAILABLE, retry_after, body).into_response())
}
