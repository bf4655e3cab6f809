//! Limits around each handler.

use std::any::Any;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::error::Failure;
use crate::origin::Origin;
use crate::service::Service;

/// What a request gets when as many as may be are in flight.
pub(crate) async fn shed(service: Arc<Service>) -> Failure {
    service.metrics.requests_shed.inc();
    Failure::unavailable("too many requests are in flight; try again")
}

/// The layer that bounds how long a handler may take. tower-http's `TimeoutLayer` has one time for
/// all requests; a transport may have less left for this one.
pub(crate) async fn deadline(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let _in_flight = service.metrics.request_in_flight();
    let longest = service.options.request_timeout;
    let left = Origin::of_request(&request).and_then(|origin| origin.time_left);
    let limit = left.map_or(longest, |left| left.min(longest));
    let late = |_| Failure::unavailable("the answer took too long; try again");
    timeout(limit, next.run(request)).await.map_err(late)
}

/// The response of a handler that panicked: one request's bug must not end the process.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let message = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    Failure::internal(format!("panicked: {message}")).into_response()
}
