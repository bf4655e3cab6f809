//! `GET /health`, `GET /livez` and `GET /readyz`

use aurora_discovery_protocol::HealthResponse;
use aurora_discovery_registry::StoreError;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;

use super::context::Context;
use crate::error::{Failure, retry_after};
use crate::response::json;

/// `GET /health`: whether the store keeps its guarantees.
pub(crate) async fn health(context: Context) -> Result<Response, Failure> {
    report(context.registry().store().health().await)
}

/// `GET /livez`: whether the process responds to requests at all. Nothing else is checked.
pub(crate) async fn livez() -> Result<Response, Failure> {
    report(Ok(()))
}

/// `GET /readyz`: whether a load balancer should send clients to this process. It should not during
/// a shutdown, or while the store can't be used.
pub(crate) async fn readyz(context: Context) -> Result<Response, Failure> {
    if context.service.shutdown.is_draining() {
        return unhealthy("the service is shutting down".to_owned(), 1);
    }
    report(context.registry().store().ready().await)
}

fn report(state: Result<(), StoreError>) -> Result<Response, Failure> {
    match state {
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
